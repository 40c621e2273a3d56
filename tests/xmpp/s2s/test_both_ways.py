"""Streams that carry stanzas both ways: who may send what in them, and that one connection does for two servers.

spec: XEP-0288
"""

from pathlib import Path

import pytest

from tests.interop.peer import until
from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tests.xmpp.s2s.test_streams import (
    BIDI_FEATURE,
    EXTERNAL,
    SASL,
    TLS,
    answer,
    header,
    incoming,
    limits,
    outgoing,
    text_of,
)
from tripoint.xmpp.s2s.actions import Ask, Close, Failed, Proved, Ready, Send, Stanza
from tripoint.xmpp.s2s.incoming import IncomingStream
from tripoint.xmpp.s2s.links import IDLE_S
from tripoint.xmpp.s2s.outgoing import OutgoingStream, Question, State
from tripoint.xmpp.s2s.pairs import Terms

BIDI = b"<bidi xmlns='urn:xmpp:bidi'/>"
RESULT = b"<db:result from='sender.example' to='target.example'>key</db:result>"
BACK = b"<message from='a@target.example' to='b@sender.example'/>"


# -- streams of others


def test_external_both_ways() -> None:
    """spec: XEP-0288 example 3: stanzas may go back once the stream has begun anew"""
    stream = incoming(certified=frozenset({"sender.example"}))
    assert BIDI_FEATURE in text_of(stream.receive(header()))
    assert stream.receive(BIDI) == []
    assert "<success" in text_of(stream.receive(f"<auth {SASL} mechanism='EXTERNAL'>=</auth>".encode()))
    *told, proved = stream.receive(header())
    assert BIDI_FEATURE not in text_of(told)
    assert proved == Proved("sender.example", "target.example")
    assert stream.how == "external"


def test_dialback_both_ways() -> None:
    """spec: XEP-0288 example 5: each pair that is proved, and no other"""
    stream = incoming()
    stream.receive(header())
    (ask,) = stream.receive(BIDI + RESULT)
    assert isinstance(ask, Ask)
    told, proved = stream.verified(ask, True)
    assert "type='valid'" in text_of([told])
    assert proved == Proved("sender.example", "target.example")
    (ask,) = stream.receive(RESULT.replace(b"'target", b"'rooms.target"))
    assert isinstance(ask, Ask)
    assert stream.verified(ask, True)[1:] == [Proved("sender.example", "rooms.target.example")]
    (ask,) = stream.receive(RESULT.replace(b"'sender", b"'other.sender"))
    assert isinstance(ask, Ask)
    assert [type(one) for one in stream.verified(ask, False)] == [Send]


def test_how_large_stanzas_may_be_that_go_back() -> None:
    """spec: XEP-0478 3.2"""
    stream = incoming()
    stream.receive(header())
    assert stream.pairs.takes is None
    stream.receive(BIDI.replace(b"/>", f">{limits(20_000)}</bidi>".encode()))
    assert stream.pairs.takes == 20_000


def test_who_does_not_ask_is_sent_nothing() -> None:
    stream = incoming()
    stream.receive(header())
    (ask,) = stream.receive(RESULT)
    assert isinstance(ask, Ask)
    assert [type(one) for one in stream.verified(ask, True)] == [Send]
    # Late is late, but it is clear what is meant.
    assert stream.receive(BIDI) == [Proved("sender.example", "target.example")]


def test_not_before_tls() -> None:
    """spec: XEP-0288 2.1"""
    terms = Terms(frozenset({"target.example"}), b"s", require_tls=False, dialback=True, stanza_bytes=10_000)
    stream = IncomingStream(terms, lambda: "id")
    assert BIDI_FEATURE in text_of(stream.receive(header()))
    assert stream.receive(BIDI) == []
    assert f"<failure {TLS}/>" in text_of(stream.receive(f"<starttls {TLS}/>".encode()))
    stream = IncomingStream(Terms(frozenset({"target.example"}), b"s", True, True, 10_000), lambda: "id")
    stream.receive(header())
    assert "<policy-violation " in text_of(stream.receive(BIDI))


# -- streams of ours


def ready(how: str = "external") -> OutgoingStream:
    """A stream of ours that carries stanzas both ways."""
    stream = outgoing()
    told = text_of(stream.receive(answer(features=BIDI_FEATURE + (EXTERNAL if how == "external" else ""))))
    assert told.startswith(f"<bidi xmlns='urn:xmpp:bidi'>{limits(100_000)}</bidi>")
    if how == "external":
        stream.receive(f"<success {SASL}/>".encode())
        assert stream.receive(answer()) == [Ready("external")]
    else:
        valid = b"<db:result from='target.example' to='sender.example' type='valid'/>"
        assert stream.receive(valid) == [Ready("dialback")]
    return stream


@pytest.mark.parametrize("how", ["external", "dialback"])
def test_stanzas_come_back(how: str) -> None:
    stream = ready(how)
    (got,) = stream.receive(BACK)
    assert isinstance(got, Stanza) and got.element.get("from") == "a@target.example"


@pytest.mark.parametrize(
    ("stanza", "condition"),
    [
        (BACK.replace(b"target", b"other"), "invalid-from"),
        (BACK.replace(b"@target", b"@rooms.target"), "invalid-from"),
        (BACK.replace(b"@sender", b"@rooms.sender"), "invalid-from"),
        (BACK.replace(b"@sender", b"@other"), "host-unknown"),
        (BACK.replace(b"from=", b"x="), "improper-addressing"),
        (f"<starttls {TLS}/>".encode(), "unsupported-stanza-type"),
        (b"<db:result from='rooms.sender.example' to='sender.example'>key</db:result>", "invalid-from"),
    ],
)
def test_what_does_not_come_back(stanza: bytes, condition: str) -> None:
    """For the pair that the stream was opened for, and no other."""
    actions = ready().receive(stanza)
    assert f"<{condition} " in text_of(actions)
    assert isinstance(actions[-1], Failed)


def test_nothing_comes_back_before_we_have_proved_our_name_or_unasked() -> None:
    """spec: XEP-0288 2.2"""
    stream = outgoing()
    stream.receive(answer(features=BIDI_FEATURE))
    assert "<unsupported-stanza-type " in text_of(stream.receive(BACK))
    stream = outgoing()
    assert "bidi" not in text_of(stream.receive(answer(features=EXTERNAL)))
    stream.receive(f"<success {SASL}/>".encode())
    stream.receive(answer())
    assert "<unsupported-stanza-type " in text_of(stream.receive(BACK))
    stream = outgoing(question=Question("key", "abc"))
    assert "bidi" not in text_of(stream.receive(answer(features=BIDI_FEATURE)))


def test_more_of_their_domains() -> None:
    """spec: XEP-0288 2.2, example 5: its rooms prove themselves in the same stream, and are written to in it"""
    stream = ready()
    key = b"<db:result from='rooms.target.example' to='sender.example'>key</db:result>"
    (ask,) = stream.receive(key)
    assert ask == Ask("rooms.target.example", "sender.example", "key", "D60000229F")
    told, proved = stream.verified(ask, True)
    assert "type='valid'" in text_of([told]) and proved == Proved("rooms.target.example", "sender.example")
    (got,) = stream.receive(BACK.replace(b"@target", b"@rooms.target"))
    assert isinstance(got, Stanza)
    (ask,) = stream.receive(key.replace(b"rooms", b"other"))
    assert isinstance(ask, Ask)
    assert "type='error'" in text_of(list(stream.verified(ask, None)))
    (told,) = stream.receive(b"<db:verify from='target.example' to='sender.example' id='x'>key</db:verify>")
    assert "<db:verify " in text_of([told]) and "type='invalid'" in text_of([told])


def test_what_is_on_its_way_when_we_end_it_is_taken() -> None:
    """spec: RFC6120 4.4"""
    stream = ready()
    assert stream.finish("idle") == [Send(b"</stream:stream>")]
    assert stream.state is State.ENDING
    got, end = stream.receive(BACK + b"</stream:stream>")
    assert isinstance(got, Stanza) and isinstance(end, Close)
    assert stream.receive(BACK) == [] and stream.close("") == []
    one_way = outgoing()
    assert [type(one) for one in one_way.finish("idle")] == [Send, Close, Failed]


# -- two servers


def counts(pair: Pair) -> dict[str, tuple[int, int]]:
    """(ways to others, streams of others) of each server."""
    servers = [(name, app.xmpp.servers) for name, app in pair.apps.items()]
    return {name: (len(one.links.proofs()), len(one.listener.connections)) for name, one in servers}


@pytest.mark.parametrize("trusted", [True, False])
def test_one_connection_for_two_servers(tmp_path: Path, trusted: bool) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        alice.send(f"<message to='bob@{TWO}' type='chat' id='m1'><body>Hello</body></message>")
        await bob.expect("<message…<body>Hello</body>…")
        for number in range(20):
            bob.send(f"<message to='alice@{ONE}' type='chat' id='b{number}'><body>{number}</body></message>")
        for number in range(20):
            await alice.expect(f"<message…id='b{number}'…")
        # What asked about a key is over soon.
        await until(lambda: counts(pair) == {ONE: (1, 0), TWO: (1, 1)}, lambda: f"{counts(pair)}")
        proof = "external" if trusted else "dialback"
        assert pair.apps[TWO].xmpp.servers.links.proofs() == {ONE: proof}
        # An error comes back the same way.
        bob.send(f"<message to='nobody@{ONE}' type='chat' id='e'><body>Hello?</body></message>")
        await bob.expect("<message…type='error'…<service-unavailable…")
        assert counts(pair) == {ONE: (1, 0), TWO: (1, 1)}

    run(tmp_path, work, trusted=trusted)


def test_both_connect_at_the_same_time(tmp_path: Path) -> None:
    """Everything arrives once, in its order, whichever stream carries it."""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        for number in range(30):
            alice.send(f"<message to='bob@{TWO}' type='chat' id='a{number}'><body>{number}</body></message>")
            bob.send(f"<message to='alice@{ONE}' type='chat' id='b{number}'><body>{number}</body></message>")
        for number in range(30):
            await bob.expect(f"<message…id='a{number}'…")
            await alice.expect(f"<message…id='b{number}'…")
        await alice.quiet()
        await bob.quiet()

    run(tmp_path, work)


def test_a_stream_that_nobody_uses_ends_in_peace(tmp_path: Path) -> None:
    """Neither side takes it for broken, and the next stanza opens another."""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        alice.send(f"<message to='bob@{TWO}' type='chat' id='m1'><body>Hello</body></message>")
        await bob.expect("<message…<body>Hello</body>…")
        broken: list[tuple[str, str]] = []
        for app in pair.apps.values():
            app.xmpp.servers.links.broken = lambda ours, theirs: broken.append((ours, theirs))
        for link in pair.apps[ONE].xmpp.servers.links._own():
            link.used_at -= IDLE_S + 1
        pair.apps[ONE].xmpp.servers.sweep()
        await until(lambda: counts(pair) == {ONE: (0, 0), TWO: (0, 0)}, lambda: f"{counts(pair)}")
        assert broken == []
        bob.send(f"<message to='alice@{ONE}' type='chat' id='m2'><body>Again</body></message>")
        await alice.expect("<message…<body>Again</body>…")
        assert counts(pair) == {ONE: (1, 1), TWO: (1, 0)}

    run(tmp_path, work)


def test_who_a_domain_is_is_asked_by_a_stream_to_it(tmp_path: Path) -> None:
    """docs/mapping.md 1.6: a stream that the other side opened tells nothing of its people"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        alice.send(f"<message to='bob@{TWO}' type='chat' id='m1'><body>Hello</body></message>")
        await bob.expect("<message…<body>Hello</body>…")
        await until(lambda: counts(pair)[TWO] == (1, 1), lambda: f"{counts(pair)}")
        links = pair.apps[TWO].xmpp.servers.links
        assert links._destinations[TWO, ONE].link.confirms is None
        assert await links.confirms(TWO, ONE) is True
        bob.send(f"<message to='alice@{ONE}' type='chat' id='m2'><body>Again</body></message>")
        await alice.expect("<message…<body>Again</body>…")

    run(tmp_path, work)
