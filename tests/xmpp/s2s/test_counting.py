"""Stanzas between servers are counted, and who wrote what may have been lost is told. spec: XEP-0198 3, 4, 6"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.peer import until
from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tests.xmpp.s2s.test_streams import EXTERNAL, SASL, answer, header, incoming, outgoing, text_of
from tripoint.xmpp.acks import WRAP, HandledTooMuch
from tripoint.xmpp.s2s.actions import Failed, Handled, Managed, Ready, Send, TellHandled
from tripoint.xmpp.s2s.counting import MAX_REMEMBERED, Counted
from tripoint.xmpp.wire import Element

SM = "xmlns='urn:xmpp:sm:3'"
OFFER = f"<sm {SM}/>"
BOB = f"bob@{TWO}"


def stanza(number: int) -> Element:
    return Element("message", "jabber:client", {"id": str(number)})


# -- the count


@given(st.lists(st.booleans() | st.integers(0, 5)), st.integers(0, 30))
def test_what_is_lost_is_what_was_not_acknowledged(steps: list[bool | int], start: int) -> None:
    """Numbers acknowledge so many more; True sends one that somebody answers for, False one that nobody does."""
    counted = Counted()
    counted.begin()
    # Near the end of the numbers, so that some runs go over it.
    counted._sent = counted._acked = (WRAP - start) % WRAP
    sent: list[Element | None] = []
    acked = 0
    for step in steps:
        if isinstance(step, bool):
            sent.append(stanza(len(sent)) if step else None)
            counted.add(sent[-1])
        else:
            acked = min(acked + step, len(sent))
            counted.acknowledge((WRAP - start + acked) % WRAP)
    assert counted.lost() == [one for one in sent[acked:] if one is not None]
    assert counted.lost() == []


def test_it_is_asked_once_at_a_time() -> None:
    counted = Counted()
    assert not counted.add(stanza(0)), "nothing is counted yet"
    counted.begin()
    assert [counted.add(stanza(number)) for number in (1, 2, 3)] == [True, False, False]
    assert counted.acknowledge(2), "one is on its way still"
    assert not counted.acknowledge(3)
    assert counted.add(stanza(4))
    for h in (5, 2, WRAP - 1):
        with pytest.raises(HandledTooMuch):
            counted.acknowledge(h)


def test_a_peer_that_acknowledges_nothing_costs_no_more() -> None:
    counted = Counted()
    counted.begin()
    for number in range(MAX_REMEMBERED + 5):
        counted.add(stanza(number))
    counted.acknowledge(10)
    assert [one.get("id") for one in counted.lost()][:2] == ["10", "11"]


# -- the streams


def test_we_ask_for_it_where_it_is_offered() -> None:
    stream = outgoing()
    stream.receive(answer(features=EXTERNAL + OFFER))
    stream.receive(f"<success {SASL}/>".encode())
    enable, managed, ready = stream.receive(answer(features=OFFER))
    assert (text_of([enable]), managed, ready) == (f"<enable {SM}/>", Managed(), Ready("external"))
    assert stream.receive(f"<enabled {SM}/><a {SM} h='3'/><r {SM}/>".encode()) == [Handled(3), TellHandled()]
    assert stream.receive(f"<failed {SM}/>".encode()) == [Managed(on=False)]


@pytest.mark.parametrize("said", [f"<a {SM} h='x'/>", f"<a {SM}/>", f"<resumed {SM}/>", f"<enable {SM}/>"])
def test_what_a_peer_cannot_say(said: str) -> None:
    stream = outgoing()
    stream.receive(answer(features=EXTERNAL))
    stream.receive(f"<success {SASL}/>".encode())
    stream.receive(answer(features=OFFER))
    assert isinstance(stream.receive(said.encode())[-1], Failed)


def test_it_is_not_expected_where_it_was_not_offered() -> None:
    stream = outgoing()
    stream.receive(answer(features=EXTERNAL + OFFER))
    stream.receive(f"<success {SASL}/>".encode())
    assert stream.receive(answer()) == [Ready("external")]
    assert isinstance(stream.receive(f"<r {SM}/>".encode())[-1], Failed)


def test_nothing_is_said_behind_the_end_of_the_stream() -> None:
    stream = outgoing()
    bidi = "<bidi xmlns='urn:xmpp:features:bidi'/>"
    stream.receive(answer(features=EXTERNAL + bidi))
    stream.receive(f"<success {SASL}/>".encode())
    stream.receive(answer(features=OFFER))
    stream.finish("idle")
    assert stream.receive(f"<r {SM}/><a {SM} h='0'/>".encode()) == []


def test_it_is_offered_to_who_has_proved_a_name() -> None:
    stream = incoming(certified=frozenset({"sender.example"}))
    assert OFFER not in text_of(stream.receive(header()))
    assert "<unexpected-request" in text_of(stream.receive(f"<enable {SM}/>".encode()))
    stream.receive(f"<auth {SASL} mechanism='EXTERNAL'>=</auth>".encode())
    assert OFFER in text_of(stream.receive(header()))
    assert "<unexpected-request" in text_of(stream.receive(f"<r {SM}/>".encode()))
    assert "<item-not-found" in text_of(stream.receive(f"<resume {SM} previd='x' h='0'/>".encode()))
    assert stream.receive(f"<enable {SM} resume='true'/>".encode()) == [
        Send(f"<enabled {SM}/>".encode()),
        Managed(),
    ]
    assert stream.receive(f"<r {SM}/><a {SM} h='7'/>".encode()) == [TellHandled(), Handled(7)]
    assert "<unexpected-request" in text_of(stream.receive(f"<enable {SM}/>".encode()))


# -- two servers


def test_who_wrote_is_told_that_a_connection_broke_with_it(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        alice.send(f"<message to='{BOB}' type='chat' id='m1'><body>One</body></message>")
        await bob.expect("<message …<body>One</body>…")
        (link,) = [found.link for found in pair.apps[ONE].xmpp.servers.links._destinations.values()]
        counted = link._counting._counted
        await until(lambda: counted._sent == counted._acked > 0, lambda: "it was not acknowledged")
        # The other side does not read any more, and is gone.
        (theirs,) = pair.apps[TWO].xmpp.servers.listener.connections.all()
        theirs._wire.reads(False)
        alice.send(f"<message to='{BOB}' type='chat' id='m2'><body>Two</body></message>")
        alice.send(f"<iq to='{TWO}' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        await until(lambda: len(counted._waiting) == 2, lambda: "nothing was sent")
        theirs._wire.abort()
        await alice.expect("<message type='error' id='m2' …<remote-server-timeout …it may not have arrived…")
        await alice.expect("<iq type='error' id='q' …<remote-server-timeout …it may not have arrived…")
        alice.send(f"<message to='{BOB}' type='chat' id='m3'><body>Three</body></message>")
        await bob.expect("<message …<body>Three</body>…")

    run(tmp_path, work)


def test_a_peer_that_counts_wrong(tmp_path: Path) -> None:
    """spec: XEP-0198 6"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        alice.send(f"<message to='{BOB}' type='chat' id='m1'><body>One</body></message>")
        await bob.expect("<message …<body>One</body>…")
        (theirs,) = pair.apps[TWO].xmpp.servers.listener.connections.all()
        theirs._wire.write(f"<a {SM} h='99'/>".encode())
        servers = pair.apps[TWO].xmpp.servers
        await until(lambda: not servers.listener.connections.all(), lambda: "the stream goes on")
        alice.send(f"<message to='{BOB}' type='chat' id='m2'><body>Two</body></message>")
        await bob.expect("<message …<body>Two</body>…")

    run(tmp_path, work)
