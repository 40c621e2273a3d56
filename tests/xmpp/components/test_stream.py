"""The stream of a component, by what XEP-0114 shows, and components that do not keep to it."""

import pytest

from tripoint.xmpp.components.stream import Accepted, ComponentStream, State, handshake
from tripoint.xmpp.s2s.actions import Close, Send, Stanza
from tripoint.xmpp.wire import MAX_STANZA_BYTES_UNAUTHENTICATED, render

SECRETS = {"plays.shakespeare.lit": "test", "other.shakespeare.lit": "other"}


def header(to: str = "to='plays.shakespeare.lit'", namespace: str = "jabber:component:accept") -> bytes:
    return f"<stream:stream xmlns='{namespace}' xmlns:stream='http://etherx.jabber.org/streams' {to}>".encode()


def text_of(actions: list[object]) -> str:
    return b"".join(action.data for action in actions if isinstance(action, Send)).decode()


def made(stanza_bytes: int = 100_000) -> ComponentStream:
    return ComponentStream(SECRETS, lambda: "3BF96D32", stanza_bytes)


def accepted(stanza_bytes: int = 100_000) -> ComponentStream:
    stream = made(stanza_bytes)
    stream.receive(header())
    stream.receive(f"<handshake>{handshake('3BF96D32', 'test')}</handshake>".encode())
    assert stream.state is State.OPEN
    return stream


def test_the_handshake() -> None:
    """spec: XEP-0114 3, examples 1 to 4; the digest is SHA-1 of "3BF96D32test" """
    stream = made()
    told = text_of(stream.receive(header()))
    assert told == (
        "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
        "xmlns:stream='http://etherx.jabber.org/streams' from='plays.shakespeare.lit' id='3BF96D32'>"
    )
    answer = stream.receive(b"<handshake>\n  " + handshake("3BF96D32", "test").encode() + b"\n</handshake>")
    assert answer == [Send(b"<handshake/>"), Accepted("plays.shakespeare.lit")]
    assert handshake("3BF96D32", "test") == "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e"


def test_a_name_in_other_letters() -> None:
    assert "from='plays.shakespeare.lit'" in text_of(made().receive(header("to='Plays.Shakespeare.LIT'")))


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        (header(namespace="jabber:client"), "invalid-namespace"),
        (header("to='unknown.shakespeare.lit'"), "host-unknown"),
        (header(""), "host-unknown"),
        (header("to='a@b'"), "host-unknown"),
        (b"<nonsense>", "bad-namespace-prefix"),
    ],
)
def test_what_is_wrong_with_a_header(sent: bytes, condition: str) -> None:
    """spec: XEP-0114 3: a header of ours, the error, the end"""
    actions = made().receive(sent)
    told = text_of(actions)
    assert told.startswith("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'")
    assert f"<stream:error><{condition} " in told or (condition == "bad-namespace-prefix" and "<stream:error>" in told)
    assert told.endswith("</stream:stream>") and isinstance(actions[-1], Close)


@pytest.mark.parametrize(
    "sent",
    [
        "<handshake>0000000000000000000000000000000000000000</handshake>",
        "<handshake/>",
        f"<handshake>{handshake('3BF96D32', 'other')}</handshake>",
        f"<handshake>{handshake('3BF96D32', 'test').upper()}</handshake>",
        f"<handshake xmlns='jabber:client'>{handshake('3BF96D32', 'test')}</handshake>",
        "<message from='a@plays.shakespeare.lit' to='b@shakespeare.lit'/>",
        "<handshake>\u00e9</handshake>",
    ],
)
def test_who_does_not_know_the_secret(sent: str) -> None:
    """spec: XEP-0114 3"""
    stream = made()
    stream.receive(header())
    actions = stream.receive(sent.encode())
    assert "<not-authorized " in text_of(actions) and isinstance(actions[-1], Close)
    assert not any(isinstance(one, Accepted) for one in actions)
    assert stream.receive(f"<handshake>{handshake('3BF96D32', 'test')}</handshake>".encode()) == []


def test_stanzas_of_anybody_at_its_domain() -> None:
    """spec: XEP-0114 3; inside, they are jabber:client all through"""
    stream = accepted()
    for sender in ("plays.shakespeare.lit", "hamlet@plays.shakespeare.lit", "hamlet@plays.shakespeare.lit/act1"):
        (got,) = stream.receive(f"<message from='{sender}' to='b@shakespeare.lit'><body>Hi</body></message>".encode())
        assert isinstance(got, Stanza)
        assert (
            render(got.element) == f"<message from='{sender}' to='b@shakespeare.lit'><body>Hi</body></message>".encode()
        )


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        ("<message to='b@shakespeare.lit'/>", "improper-addressing"),
        ("<message from='a@plays.shakespeare.lit'/>", "improper-addressing"),
        ("<iq from='a@plays.shakespeare.lit' to='@' type='get' id='x'/>", "improper-addressing"),
        ("<message from='a@shakespeare.lit' to='b@shakespeare.lit'/>", "invalid-from"),
        ("<message from='a@other.shakespeare.lit' to='b@shakespeare.lit'/>", "invalid-from"),
        ("<message from='a@x.plays.shakespeare.lit' to='b@shakespeare.lit'/>", "invalid-from"),
        ("<message xmlns='jabber:client' from='a@plays.shakespeare.lit' to='b@x.lit'/>", "unsupported-stanza-type"),
        ("<log xmlns='jabber:component:accept'/>", "unsupported-stanza-type"),
        ("<!-- a comment -->", "restricted-xml"),
    ],
)
def test_what_ends_it(sent: str, condition: str) -> None:
    """spec: XEP-0114 3; RFC6120 4.9.3"""
    actions = accepted().receive(sent.encode())
    assert f"<stream:error><{condition} " in text_of(actions) and isinstance(actions[-1], Close)


def test_how_much_it_may_send_before_and_after() -> None:
    stream = made()
    stream.receive(header())
    told = text_of(stream.receive(b"<handshake>" + b"a" * MAX_STANZA_BYTES_UNAUTHENTICATED + b"</handshake>"))
    assert "<stream:error>" in told
    body = b"a" * MAX_STANZA_BYTES_UNAUTHENTICATED
    large = b"<message from='plays.shakespeare.lit' to='b@shakespeare.lit'><body>" + body + b"</body></message>"
    (got,) = accepted().receive(large)
    assert isinstance(got, Stanza)
    too_large = accepted(stanza_bytes=len(large) - 1).receive(large)
    assert "<stream:error>" in text_of(too_large)


def test_the_end() -> None:
    assert accepted().receive(b"</stream:stream>") == [Send(b"</stream:stream>"), Close()]
    error = b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    assert accepted().receive(error) == [Send(b"</stream:stream>"), Close()]
    stream = accepted()
    assert [type(one) for one in stream.close()] == [Send, Close]
    assert stream.close() == [] and stream.fail("conflict", "") == [] and stream.receive(b"<x/>") == []
