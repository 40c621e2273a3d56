"""Both state machines, by what the texts show: negotiation, proofs of names, and peers that do not keep to them."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tripoint.core.errors import RemoteFailed
from tripoint.net.resolver import SrvRecord
from tripoint.xmpp.s2s.actions import Ask, Close, Failed, Ready, Send, Stanza, StartTls, Verified
from tripoint.xmpp.s2s.certificates import speaks_for
from tripoint.xmpp.s2s.dialback import dialback_key, is_dialback_key
from tripoint.xmpp.s2s.incoming import IncomingStream
from tripoint.xmpp.s2s.outgoing import OutgoingStream, Question
from tripoint.xmpp.s2s.pairs import MAX_ASKED, Terms
from tripoint.xmpp.s2s.route import Target, targets_of
from tripoint.xmpp.wire import MAX_STANZA_BYTES_UNAUTHENTICATED, render

SECRET = b"s3cr3tf0rd14lb4ck"
OURS = frozenset({"target.example", "rooms.target.example"})
TERMS = Terms(OURS, SECRET, require_tls=True, dialback=True, stanza_bytes=100_000)
SENDERS = replace(TERMS, domains=frozenset({"sender.example", "rooms.sender.example"}))
SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
TLS = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"

BIDI_FEATURE = "<bidi xmlns='urn:xmpp:features:bidi'/>"


def header(from_: str = "sender.example", to: str = "target.example", more: str = "") -> bytes:
    return (
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
        f"xmlns:db='jabber:server:dialback' from='{from_}' to='{to}' version='1.0'{more}>"
    ).encode()


def text_of(actions: list[object]) -> str:
    return b"".join(action.data for action in actions if isinstance(action, Send)).decode()


def incoming(*, terms: Terms = TERMS, certified: frozenset[str] = frozenset()) -> IncomingStream:
    """A stream that is open over TLS."""
    ids = iter(f"id{number}" for number in range(100))
    stream = IncomingStream(terms, lambda: next(ids))
    stream.receive(header())
    assert [type(one) for one in stream.receive(f"<starttls {TLS}/>".encode())] == [Send, StartTls]
    stream.tls_started(lambda domain: domain in certified)
    return stream


def proved() -> IncomingStream:
    stream = incoming(certified=frozenset({"sender.example"}))
    stream.receive(header())
    stream.receive(f"<auth {SASL} mechanism='EXTERNAL'>=</auth>".encode())
    stream.receive(header())
    return stream


# -- incoming


def test_nothing_but_tls_is_offered_in_the_clear() -> None:
    """spec: RFC6120 5.3.1, 5.4.1"""
    stream = IncomingStream(TERMS, lambda: "id")
    told = text_of(stream.receive(header()))
    assert f"<stream:features><starttls {TLS}><required/></starttls>{BIDI_FEATURE}</stream:features>" in told
    assert "from='target.example' to='sender.example'" in told
    told = text_of(stream.receive(b"<db:result from='sender.example' to='target.example'>key</db:result>"))
    assert "<policy-violation" in told


def test_bytes_before_the_handshake_do_not_survive_it() -> None:
    """spec: RFC6120 5.4.3.3"""
    stream = IncomingStream(TERMS, lambda: "id")
    stream.receive(header())
    injected = b"<db:result from='sender.example' to='target.example'>key</db:result>"
    actions = stream.receive(f"<starttls {TLS}/>".encode() + injected)
    assert [type(one) for one in actions] == [Send, StartTls]
    assert stream.receive(injected) == []


def test_external_for_a_certificate_of_the_domain() -> None:
    """spec: XEP-0178 3, RFC6120 6.4"""
    stream = incoming(certified=frozenset({"sender.example"}))
    told = text_of(stream.receive(header()))
    assert "<mechanism>EXTERNAL</mechanism>" in told
    assert "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>" in told
    who = base64.b64encode(b"sender.example").decode()
    assert "<success" in text_of(stream.receive(f"<auth {SASL} mechanism='EXTERNAL'>{who}</auth>".encode()))
    assert "EXTERNAL" not in text_of(stream.receive(header()))
    got = stream.receive(b"<message from='a@sender.example' to='b@target.example'><body>Hi</body></message>")
    (stanza,) = got
    assert isinstance(stanza, Stanza)
    assert render(stanza.element) == b"<message from='a@sender.example' to='b@target.example'><body>Hi</body></message>"


@pytest.mark.parametrize(
    ("element", "condition"),
    [
        (f"<auth {SASL} mechanism='EXTERNAL'>{base64.b64encode(b'other.example').decode()}</auth>", "invalid-authzid"),
        (f"<auth {SASL} mechanism='EXTERNAL'>!</auth>", "incorrect-encoding"),
        (f"<auth {SASL} mechanism='PLAIN'>AGEAYQ==</auth>", "invalid-mechanism"),
    ],
)
def test_external_for_nobody_else(element: str, condition: str) -> None:
    """spec: RFC6120 6.5"""
    stream = incoming(certified=frozenset({"sender.example"}))
    stream.receive(header())
    assert f"<{condition}/>" in text_of(stream.receive(element.encode()))
    assert stream.pairs.verified == set()


def test_external_is_not_offered_without_a_certificate() -> None:
    stream = incoming(certified=frozenset({"other.example"}))
    assert "EXTERNAL" not in text_of(stream.receive(header()))
    assert "<invalid-mechanism/>" in text_of(stream.receive(f"<auth {SASL} mechanism='EXTERNAL'>=</auth>".encode()))


def test_dialback_with_several_domains() -> None:
    """spec: XEP-0220 2.1, 2.5 (piggybacking)"""
    stream = incoming()
    stream.receive(header())
    (ask,) = stream.receive(b"<db:result from='sender.example' to='target.example'>key1</db:result>")
    assert ask == Ask("sender.example", "target.example", "key1", "id1")
    assert isinstance(ask, Ask)
    assert text_of(stream.verified(ask, True)) == "<db:result from='target.example' to='sender.example' type='valid'/>"
    (other,) = stream.receive(b"<db:result from='chat.sender.example' to='rooms.target.example'>key2</db:result>")
    assert isinstance(other, Ask)
    stanza = b"<presence from='r@chat.sender.example/n' to='b@rooms.target.example'/>"
    told = text_of(stream.verified(other, False))
    assert told == "<db:result from='rooms.target.example' to='chat.sender.example' type='invalid'/>"
    # The first pair goes on.
    (good,) = stream.receive(b"<presence from='a@sender.example' to='b@target.example'/>")
    assert isinstance(good, Stanza)
    assert "<invalid-from" in text_of(stream.receive(stanza))


def test_a_wrong_key_ends_a_stream_that_nobody_else_uses() -> None:
    """spec: XEP-0220 2.1.2"""
    stream = incoming()
    stream.receive(header())
    (ask,) = stream.receive(b"<db:result from='sender.example' to='target.example'>wrong</db:result>")
    assert isinstance(ask, Ask)
    actions = stream.verified(ask, False)
    assert "type='invalid'" in text_of(actions)
    assert isinstance(actions[-1], Close)


def test_a_server_that_cannot_be_asked() -> None:
    """spec: XEP-0220 2.4.2"""
    stream = incoming()
    stream.receive(header())
    (ask,) = stream.receive(b"<db:result from='sender.example' to='target.example'>key</db:result>")
    assert isinstance(ask, Ask)
    assert "type='error'" in (told := text_of(stream.verified(ask, None)))
    assert "<remote-server-not-found" in told


def test_dialback_for_a_domain_that_is_not_here_and_for_one_of_ours() -> None:
    """spec: XEP-0220 2.4.2"""
    stream = incoming()
    stream.receive(header())
    told = text_of(stream.receive(b"<db:result from='sender.example' to='nobody.example'>key</db:result>"))
    assert "type='error'" in told and "<item-not-found" in told
    told = text_of(stream.receive(b"<db:result from='rooms.target.example' to='target.example'>key</db:result>"))
    assert "<invalid-from" in told


def test_so_many_keys_are_asked_about_and_no_more() -> None:
    stream = incoming()
    stream.receive(header())
    for number in range(MAX_ASKED):
        (ask,) = stream.receive(f"<db:result from='d{number}.example' to='target.example'>k</db:result>".encode())
        assert isinstance(ask, Ask)
    told = text_of(stream.receive(b"<db:result from='more.example' to='target.example'>k</db:result>"))
    assert "<resource-constraint" in told


def test_we_say_which_keys_are_ours() -> None:
    """spec: XEP-0220 2.2.2"""
    stream = incoming()
    stream.receive(header())
    key = dialback_key(SECRET, "sender.example", "target.example", "D60000229F")
    ask = "<db:verify from='sender.example' to='target.example' id='D60000229F'>{}</db:verify>"
    told = text_of(stream.receive(ask.format(key).encode()))
    assert told == "<db:verify from='target.example' to='sender.example' id='D60000229F' type='valid'/>"
    assert "type='invalid'" in text_of(stream.receive(ask.format(key[:-1] + "0x").encode()))
    elsewhere = ask.replace("target.example", "nobody.example")
    assert "<item-not-found" in text_of(stream.receive(elsewhere.format(key).encode()))


@pytest.mark.parametrize(
    ("stanza", "condition"),
    [
        ("<message from='a@other.example' to='b@target.example'/>", "invalid-from"),
        ("<message from='a@sender.example.' to='b@rooms.target.example'/>", "invalid-from"),
        ("<message from='a@sender.example' to='b@nobody.example'/>", "host-unknown"),
        ("<message from='a@sender.example'/>", "improper-addressing"),
        ("<message to='b@target.example'/>", "improper-addressing"),
        ("<message from='@sender.example' to='b@target.example'/>", "improper-addressing"),
        ("<message xmlns='jabber:client' from='a@sender.example' to='b@target.example'/>", "unsupported-stanza-type"),
        ("<message from='a@sender.example' to='b@target.example'><!-- --></message>", "restricted-xml"),
    ],
)
def test_stanzas_that_are_not_taken(stanza: str, condition: str) -> None:
    """spec: RFC6120 8.1.1.2, 8.1.2.2, 4.9.3"""
    stream = proved()
    actions = stream.receive(stanza.encode())
    assert not any(isinstance(action, Stanza) for action in actions)
    assert f"<{condition} xmlns=" in text_of(actions)
    assert isinstance(actions[-1], Close)
    assert stream.receive(b"<message from='a@sender.example' to='b@target.example'/>") == []


def test_one_person_does_not_end_a_stream_by_names() -> None:
    """As many as a stanza can hold, three times: a client's stream would end. See wire.MAX_NAMES_OF_SERVERS."""
    stream = proved()
    for part in range(3):
        names = "".join([f"<n{part}-{number}/>" for number in range(3000)])
        (got,) = stream.receive(f"<message from='a@sender.example' to='b@target.example'>{names}</message>".encode())
        assert isinstance(got, Stanza)


@pytest.mark.parametrize(
    ("from_", "to"), [("\u2603@sender.example", "b@target.example"), ("a@sender.example", "b@target.example/\u0378")]
)
def test_an_address_that_is_not_valid_costs_one_stanza(from_: str, to: str) -> None:
    """Whose it is can be told, and others of that domain are not to blame. spec: RFC6120 8.3.3.8"""
    stream = proved()
    (got,) = stream.receive(f"<message from='{from_}' to='{to}'/>".encode())
    assert isinstance(got, Stanza) and (got.element.get("from"), got.element.get("to")) == (from_, to)
    assert stream.receive(b"<message from='a@sender.example' to='b@target.example'/>")


def test_stanzas_before_a_name_is_proved() -> None:
    """spec: RFC6120 4.9.3.12"""
    stream = incoming()
    stream.receive(header())
    told = text_of(stream.receive(b"<message from='a@sender.example' to='b@target.example'/>"))
    assert "<not-authorized" in told


def test_how_large_stanzas_are() -> None:
    """Little is taken before a name is proved, and so much after."""
    stream = incoming()
    stream.receive(header())
    long = "x" * (MAX_STANZA_BYTES_UNAUTHENTICATED + 1)
    assert "<policy-violation" in text_of(
        stream.receive(f"<db:result from='sender.example' to='target.example'>{long}</db:result>".encode())
    )
    stream = proved()
    message = "<message from='a@sender.example' to='b@target.example'><body>{}</body></message>"
    (stanza,) = stream.receive(message.format(long).encode())
    assert isinstance(stanza, Stanza)
    assert "<policy-violation" in text_of(stream.receive(message.format("x" * 100_001).encode()))


@pytest.mark.parametrize(
    ("opening", "condition"),
    [
        (header(to="nobody.example"), "host-unknown"),
        (header().replace(b"jabber:server'", b"jabber:client'", 1), "invalid-namespace"),
        (header().replace(b"version='1.0'>", b">"), "unsupported-version"),
        (header().replace(b"to='target.example' ", b""), "improper-addressing"),
        (b"<nonsense/>", "invalid-namespace"),
        (b"GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
    ],
)
def test_headers_that_are_not_taken(opening: bytes, condition: str) -> None:
    """spec: RFC6120 4.7, 4.9.1.2"""
    actions = IncomingStream(TERMS, lambda: "id").receive(opening)
    told = text_of(actions)
    assert told.startswith("<?xml version='1.0'?><stream:stream ")
    assert f"<{condition} xmlns=" in told
    assert isinstance(actions[-1], Close)


def test_without_dialback_only_certificates_count() -> None:
    terms = Terms(OURS, SECRET, require_tls=True, dialback=False, stanza_bytes=100_000)
    stream = incoming(terms=terms)
    assert "dialback" not in text_of(stream.receive(header())).partition("<stream:features>")[2]
    told = text_of(stream.receive(b"<db:result from='sender.example' to='target.example'>key</db:result>"))
    assert "<not-authorized" in told


# -- outgoing


def answer(more: str = "", features: str = "") -> bytes:
    return header("target.example", "sender.example", " id='D60000229F'" + more) + (
        f"<stream:features>{features}</stream:features>"
    ).encode()


def outgoing(**how: object) -> OutgoingStream:
    """A stream that is open over TLS."""
    stream = OutgoingStream("sender.example", "target.example", SENDERS, **how)  # type: ignore[arg-type]
    assert "from='sender.example' to='target.example'" in text_of(stream.open())
    assert text_of(stream.receive(answer(features=f"<starttls {TLS}/>"))) == f"<starttls {TLS}/>"
    assert [type(one) for one in stream.receive(f"<proceed {TLS}/>".encode())] == [StartTls]
    assert text_of(stream.tls_started()).startswith("<?xml")
    return stream


def limits(size: object) -> str:
    return f"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{size}</max-bytes></limits>"


EXTERNAL = f"<mechanisms {SASL}><mechanism>EXTERNAL</mechanism></mechanisms>"


def test_external_first() -> None:
    """spec: XEP-0178 3"""
    stream = outgoing()
    who = base64.b64encode(b"sender.example").decode()
    told = text_of(stream.receive(answer(features=EXTERNAL)))
    assert told == f"<auth {SASL} mechanism='EXTERNAL'>{who}</auth>"
    assert text_of(stream.receive(f"<success {SASL}/>".encode())).startswith("<?xml")
    assert stream.receive(answer()) == [Ready("external")]


def test_dialback_after_a_refusal() -> None:
    """spec: XEP-0178 3, step 12; XEP-0220 2.1.1; XEP-0185 3"""
    stream = outgoing()
    stream.receive(answer(features=EXTERNAL))
    told = text_of(stream.receive(f"<failure {SASL}><not-authorized/></failure>".encode()))
    key = dialback_key(SECRET, "target.example", "sender.example", "D60000229F")
    assert told == f"<db:result from='sender.example' to='target.example'>{key}</db:result>"
    valid = b"<db:result from='target.example' to='sender.example' type='valid'/>"
    assert stream.receive(valid) == [Ready("dialback")]


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        (limits(200_000), 200_000),
        (limits(100), 100),
        (limits("many"), None),
        (limits(""), None),
        (limits(-5), None),
        ("", None),
    ],
)
def test_how_large_a_stanza_the_peer_takes(said: str, takes: int | None) -> None:
    """What it says last. spec: XEP-0478 3.1, 4"""
    stream = outgoing()
    stream.receive(answer(features=EXTERNAL + limits(70_000)))
    stream.receive(f"<success {SASL}/>".encode())
    assert stream.receive(answer(features=said)) == [Ready("external")]
    assert stream.pairs.takes == takes


@pytest.mark.parametrize(("said", "takes"), [(200_000, 200_000), (16_384, None)])
def test_a_limit_for_strangers_is_none_for_us(said: int, takes: int | None) -> None:
    """After dialback there are no other features than those for who has proved nothing yet."""
    stream = outgoing()
    stream.receive(answer(features=limits(said)))
    valid = b"<db:result from='target.example' to='sender.example' type='valid'/>"
    assert stream.receive(valid) == [Ready("dialback")]
    assert stream.pairs.takes == takes


def test_how_large_a_stanza_we_take() -> None:
    """spec: XEP-0478 3.1"""
    assert limits(100_000) in text_of(incoming().receive(header()))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("<db:result from='target.example' to='sender.example' type='invalid'/>", "does not believe"),
        ("<db:result from='target.example' to='sender.example' type='error'/>", "could not check"),
        ("<db:result from='other.example' to='sender.example' type='valid'/>", "somebody else"),
        (
            "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            "it says host-unknown",
        ),
        ("</stream:stream>", "closed the stream"),
        ("<message from='a@target.example' to='b@sender.example'/>", "not expected"),
    ],
)
def test_what_ends_it(told: str, reason: str) -> None:
    stream = outgoing()
    stream.receive(answer())
    actions = stream.receive(told.encode())
    assert isinstance(actions[-1], Failed)
    assert reason in actions[-1].reason


def test_no_tls_no_stream() -> None:
    """spec: RFC7590 3.1"""
    stream = OutgoingStream("sender.example", "target.example", SENDERS)
    actions = stream.receive(answer(features="<dialback xmlns='urn:xmpp:features:dialback'/>"))
    assert actions[-1] == Failed("it does not offer TLS")


@pytest.mark.parametrize(("kind", "result"), [("valid", True), ("invalid", False), ("error", None)])
def test_asking_about_a_key(kind: str, result: bool | None) -> None:
    """spec: XEP-0220 2.2.1"""
    stream = outgoing(question=Question("key", "abc"))
    told = text_of(stream.receive(answer(features=EXTERNAL)))
    assert told == "<db:verify from='sender.example' to='target.example' id='abc'>key</db:verify>"
    actions = stream.receive(f"<db:verify from='target.example' to='sender.example' id='abc' type='{kind}'/>".encode())
    assert actions[0] == Verified(result)


def test_the_answer_to_another_question() -> None:
    stream = outgoing(question=Question("key", "abc"))
    stream.receive(answer())
    actions = stream.receive(b"<db:verify from='target.example' to='sender.example' id='other' type='valid'/>")
    assert not any(isinstance(action, Verified) for action in actions)


# -- parts


def test_keys() -> None:
    """The example of XEP-0185 3."""
    key = dialback_key(SECRET, "xmpp.example.com", "example.org", "D60000229F")
    assert key == "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"
    assert is_dialback_key(f" {key}\n", SECRET, "xmpp.example.com", "example.org", "D60000229F")
    for other in (
        ("xmpp.example.com", "example.net", "D60000229F"),
        ("example.com", "example.org", "D60000229F"),
        ("xmpp.example.com", "example.org", "D60000229E"),
    ):
        assert not is_dialback_key(key, SECRET, *other)


@pytest.mark.parametrize(
    ("names", "domain", "valid"),
    [
        (["example.org"], "example.org", True),
        (["EXAMPLE.org."], "example.org", True),
        (["*.example.org"], "chat.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "a.chat.example.org", False),
        (["*.org"], "example.org", False),
        (["chat*.example.org"], "chat1.example.org", False),
        (["xn--bcher-kva.example"], "bücher.example", True),
        ([], "example.org", False),
    ],
)
def test_certificates(names: list[str], domain: str, valid: bool) -> None:
    """spec: RFC6120 13.7.1.2"""
    assert speaks_for(certificate([x509.DNSName(name) for name in names], domain), domain) is valid


def certificate(names: list[x509.GeneralName], common_name: str = "x") -> bytes:
    """One for these names, as DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(named, named, key.public_key(), 1, day, day + timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def other_name(kind: str, value: bytes) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(kind), value)


XMPP_ADDR, SRV_NAME = "1.3.6.1.5.5.7.8.5", "1.3.6.1.5.5.7.8.7"
LONG = "x" * 60 + "." + "y" * 60 + "." + "z" * 30 + ".example"


@pytest.mark.parametrize(
    ("name", "domain", "valid"),
    [
        (other_name(XMPP_ADDR, b"\x0c\x0esender.example"), "sender.example", True),
        (other_name(XMPP_ADDR, b"\x0c\x0eSender.Example"), "sender.example", True),
        (other_name(XMPP_ADDR, b"\x0c\x0esender.example"), "other.example", False),
        (other_name(XMPP_ADDR, b"\x16\x0esender.example"), "sender.example", False),
        (other_name(XMPP_ADDR, b"\x0c\x02\xff\xfe"), "sender.example", False),
        (other_name(XMPP_ADDR, b"\x0c\x0cm\xc3\xbcller.test"), "m\u00fcller.test", True),
        (other_name(XMPP_ADDR, b"\x0c\x81" + bytes([len(LONG)]) + LONG.encode()), LONG, True),
        (other_name(SRV_NAME, b"\x16\x1b_xmpp-server.sender.example"), "sender.example", True),
        (other_name(SRV_NAME, b"\x16\x1b_xmpp-client.sender.example"), "sender.example", False),
        (other_name(SRV_NAME, b"\x16\x0esender.example"), "sender.example", False),
        (other_name("1.2.3.4", b"\x0c\x0esender.example"), "sender.example", False),
    ],
)
def test_other_names_of_a_certificate(name: x509.OtherName, domain: str, valid: bool) -> None:
    """spec: RFC6120 13.7.1.2"""
    assert speaks_for(certificate([name]), domain) is valid
    assert not speaks_for(b"no certificate", domain)


class _Names:
    def __init__(self, srv: dict[str, list[SrvRecord]], addresses: dict[str, list[str]]) -> None:
        self._srv, self._addresses = srv, addresses

    async def srv(self, name: str) -> list[SrvRecord]:
        return self._srv.get(name, [])

    async def addresses(self, name: str) -> list[str]:
        return self._addresses.get(name, [])


def test_where_a_domain_is() -> None:
    """spec: RFC6120 3.2, XEP-0368 3"""
    addresses = {"x.example": ["192.0.2.1"], "y.example": ["192.0.2.2"], "example.org": ["192.0.2.3"]}

    def found(**srv: list[SrvRecord]) -> list[Target]:
        records = {f"_{service.replace('_', '-')}._tcp.example.org": found for service, found in srv.items()}
        return list(asyncio.run(targets_of("example.org", _Names(records, addresses), lambda: 0.5)))

    assert found() == [Target("192.0.2.3", 5269, False)]
    assert found(
        xmpp_server=[SrvRecord(5, 0, 5269, "x.example")], xmpps_server=[SrvRecord(10, 0, 5270, "y.example")]
    ) == [Target("192.0.2.1", 5269, False), Target("192.0.2.2", 5270, True)]
    with pytest.raises(RemoteFailed, match="does not federate"):
        found(xmpp_server=[SrvRecord(0, 0, 0, "")])
    with pytest.raises(RemoteFailed, match="no address"):
        found(xmpp_server=[SrvRecord(0, 0, 5269, "nowhere.example")])
