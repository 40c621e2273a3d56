"""Coverage-guided fuzzing of the XMPP parsers: python tests/fuzz/fuzz_xmpp.py -max_total_time=60 tests/fuzz/corpus/xmpp

Checks the same promises as tests/xmpp: nothing but values comes out, chunks do not matter, what is rendered
reads back, no order of inputs breaks the connection. Needs atheris, which is imported only here.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.accounts.sasl import CheckPassword, NeedCredentials, fake_verifier
    from tripoint.core.tls_facts import NO_TLS
    from tripoint.xmpp import framing, idle, jid, messages, styling, wire
    from tripoint.xmpp.actions import (
        Authenticated,
        Bind,
        Registration,
        Resume,
        StartTls,
    )
    from tripoint.xmpp.connection import ClientConnection
    from tripoint.xmpp.features import Policy
    from tripoint.xmpp.refusals import Problem

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='x.example' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
POLICY = Policy("x.example", starttls=True, require_tls=False, registration=True)


OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='x.example' version='1.0'/>"


def negotiate(chunks: list[bytes], *, web: bool = False) -> list[wire.Element]:
    """Drive a connection that lets everybody in; over TLS, so that everything is offered, where it is of the web."""
    lies = framing.MessageFraming() if web else None
    connection = ClientConnection(POLICY, lambda: "n" * 18, secure=web, framing=lies)
    stanzas: list[wire.Element] = []
    waiting = []
    for chunk in chunks:
        waiting += connection.receive(chunk)
        while waiting:
            action = waiting.pop(0)
            if isinstance(action, NeedCredentials):
                waiting += connection.credentials(fake_verifier(action.username, action.hash_name, b"s", 1))
            elif isinstance(action, CheckPassword):
                waiting += connection.admitted(action.authcid)
            elif isinstance(action, Authenticated):
                waiting += connection.refused("not-authorized", "no")
            elif isinstance(action, StartTls):
                waiting += connection.tls_started(NO_TLS)
            elif isinstance(action, Registration):
                waiting += connection.registration_answered(b"<iq/>")
            elif isinstance(action, Bind):
                waiting += connection.bound(jid.Jid("a", "x.example", "r"))
            elif isinstance(action, Resume):
                if action.h % 2:
                    waiting += connection.resumed(jid.Jid("a", "x.example", "r"), action.previd, 1)
                else:
                    waiting += connection.resume_refused("item-not-found", action.h)
            elif isinstance(action, wire.Element):
                stanzas.append(action)
    return stanzas


def take(stanza: wire.Element) -> None:
    """What handlers do with any stanza before they look at its sense."""
    try:
        jid.parse_jid(stanza.get("to") or "")
    except jid.InvalidJid:
        pass
    said = messages.text_of(stanza)
    if said is not None:
        try:
            content = messages.content_of(stanza, *said)
        except Problem:
            return
        inside = messages.inside_of(content, lambda pill: pill.text)
        assert inside is not None
        for element in wire.parse_fragment(inside):
            wire.render(element)


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer: the first byte says where to cut the stream."""
    cut = data[0] if data else 0
    body = data[1:]
    whole = wire.StreamParser().receive(HEADER + body)
    parser = wire.StreamParser()
    pieces = parser.receive(HEADER + body[:cut]) + parser.receive(body[cut:])
    assert [type(event) for event in pieces] == [type(event) for event in whole]
    for event in whole:
        if isinstance(event, wire.Element):
            again = wire.StreamParser().receive(HEADER + wire.render(event))
            assert again[1:] == [event]
            if event.name in ("message", "presence", "iq") or event.namespace != wire.CLIENT_NS:
                # As a message of its own it is the same.
                lies = framing.MessageFraming()
                lies.widen(wire.MAX_STANZA_BYTES)
                alone = lies.receive(framing.standalone(wire.render(event)))
                assert alone == [event] or event.name in ("open", "close")
            idle.waits(wire.render(event))
            take(event)
    negotiate([HEADER, body[:cut], HEADER, body[cut:]])
    negotiate([OPEN, *body.split(b"\n")], web=True)
    text = body.decode("utf-8", "replace")
    styling.render_styling(styling.parse_styling(text))
    try:
        parsed = jid.parse_jid(text)
        assert jid.parse_jid(str(parsed)) == parsed
    except jid.InvalidJid:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
