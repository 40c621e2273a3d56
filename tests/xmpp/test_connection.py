"""Negotiation of a client's stream: transcripts against the pure connection, and the table of its orderings.

A transcript in transcripts/ has lines `C: bytes of the client`, `S: what the server sends` (`…` stands for
anything), `D: tls` where the driver finishes the handshake and `close` where the server closes. The password
of `juliet` is `pencil`; ids and nonces are n1, n2, ...
"""

import re
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.accounts.sasl import CheckPassword, NeedCredentials, ScramVerifier, fake_verifier
from tripoint.core.tls_facts import NO_TLS, TlsFacts
from tripoint.xmpp.actions import (
    Authenticated,
    Bind,
    Close,
    Registration,
    Resume,
    Send,
    StartTls,
    WrongPassword,
)
from tripoint.xmpp.connection import ClientConnection
from tripoint.xmpp.features import Policy
from tripoint.xmpp.jid import parse_jid
from tripoint.xmpp.sasl_profiles import BindRequest, UserAgent
from tripoint.xmpp.tables import TRANSITIONS, Input, State
from tripoint.xmpp.wire import Element

HERE = Path(__file__).parent
VERIFIERS = {name: ScramVerifier.make("pencil", b"0123456789abcdef", 4096, name) for name in ("sha1", "sha256")}
POLICIES = {
    "tls": Policy("im.example.com", starttls=True, require_tls=True, registration=True),
    "loopback": Policy("im.example.com", starttls=True, require_tls=False, registration=True),
    "closed": Policy("im.example.com", starttls=False, require_tls=False, registration=False),
}


class Driver:
    """Answers what the connection asks, as listener and accounts would; collects what it sends."""

    def __init__(self, policy: Policy, secure: bool = False) -> None:
        numbers = count(1)
        tls = TlsFacts({"tls-server-end-point": b"end-point"}) if secure else NO_TLS
        self.connection = ClientConnection(policy, lambda: f"n{next(numbers)}", secure=secure, tls=tls)
        self.sent = b""
        self.closed = False
        self.wants_tls = False
        self.wrong: list[str] = []
        self.stanzas: list[Element] = []

    def receive(self, data: bytes) -> None:
        self.run(self.connection.receive(data))

    def run(self, actions) -> None:
        connection = self.connection
        for action in actions:
            match action:
                case Send():
                    assert not self.closed
                    self.sent += action.data
                case Close():
                    self.closed = True
                case StartTls():
                    self.wants_tls = True
                case NeedCredentials():
                    known = action.username == "juliet"
                    fake = fake_verifier(action.username, action.hash_name, b"secret", 4096)
                    self.run(connection.credentials(VERIFIERS[action.hash_name] if known else fake))
                case CheckPassword():
                    if (action.authcid, action.password) == ("juliet", "pencil"):
                        self.run(connection.admitted("juliet"))
                    else:
                        self.run(connection.refused("not-authorized", "Wrong user name or password"))
                case Authenticated():
                    self.run(connection.admitted(action.name))
                case WrongPassword():
                    self.wrong.append(action.name)
                case Registration():
                    self.run(connection.registration_answered(b"<iq type='result' id='r1'/>"))
                case Bind(None, BindRequest() as request, UserAgent() as agent):
                    words = [word for word in ("carbons", "inactive") if getattr(request, word)]
                    resource = "/".join(part for part in (request.tag, agent.id, agent.name) if part) or "r4nd0m"
                    jid = parse_jid(f"{connection.name}@im.example.com/{resource}")
                    self.run(connection.bound(jid, " ".join([*words, str(request.manage or "")])))
                case Bind():
                    jid = parse_jid(f"{connection.name}@im.example.com/{action.resource or 'r4nd0m'}")
                    self.run(connection.bound(jid))
                case Resume("known", 3):
                    self.run(connection.resumed(parse_jid("juliet@im.example.com/balcony"), "known", 7))
                case Resume("past"):
                    self.run(connection.resume_refused("item-not-found", 9))
                case Resume():
                    self.run(connection.resume_refused("item-not-found"))
                case Element():
                    self.stanzas.append(action)

    def tls(self) -> None:
        assert self.wants_tls
        self.wants_tls = False
        self.run(self.connection.tls_started(TlsFacts({"tls-server-end-point": b"end-point"})))


def run_transcript(text: str) -> None:
    policy, secure = "tls", False
    if (setup := re.search(r"^# policy: (\w+)( secure)?$", text, re.M)) is not None:
        policy, secure = setup.group(1), bool(setup.group(2))
    driver = Driver(POLICIES[policy], secure)
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("C: "):
            driver.receive(line[3:].encode())
        elif line.startswith("S: "):
            pattern = ".*?".join(map(re.escape, line[3:].split("…")))
            found = re.match(pattern, driver.sent.decode())
            assert found, f"line {number}: expected {line[3:]}\nbut there is {driver.sent.decode()}"
            driver.sent = driver.sent.decode()[found.end() :].encode()
        elif line == "D: tls":
            assert not driver.sent
            driver.tls()
        elif line == "close":
            assert driver.closed, f"line {number}: the stream is still open"
        elif line == "nothing":
            assert not driver.sent, f"line {number}: {driver.sent!r}"
        else:
            raise AssertionError(f"line {number}: {line}")
    assert not driver.sent, f"more was sent: {driver.sent.decode()}"


@pytest.mark.parametrize("path", sorted((HERE / "transcripts").glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path):
    run_transcript(path.read_text())


def test_table_is_whole():
    """Every state but the last is left by something, and every one but the first is entered."""
    left = {state for state, _ in TRANSITIONS}
    entered = set(TRANSITIONS.values())
    by_header = {State.OFFERED_TLS, State.OFFERED_SASL}  # chosen by policy when the header comes
    assert left == set(State) - {State.AWAIT_HEADER, State.CLOSED}
    assert entered | by_header == set(State) - {State.CLOSED}
    assert {what for _, what in TRANSITIONS} == set(Input)


HEADER = (
    b"<?xml version='1.0'?><stream:stream to='im.example.com' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


PLAIN = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABwZW5jaWw=</auth>"


def logged_in() -> Driver:
    driver = Driver(POLICIES["loopback"])
    auth = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABwZW5jaWw=</auth>"
    driver.receive(HEADER)
    driver.receive(auth)
    driver.receive(HEADER)
    driver.receive(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    assert driver.connection.state is State.BOUND and str(driver.connection.jid) == "juliet@im.example.com/r4nd0m"
    driver.sent = b""
    return driver


def test_stanzas_flow_when_bound():
    driver = logged_in()
    driver.receive(b"<message to='a@b'/><presence from='juliet@im.example.com'/> <iq type='get' id='1'><q/></iq>")
    assert [stanza.name for stanza in driver.stanzas] == ["message", "presence", "iq"]
    assert driver.sent == b""


@pytest.mark.parametrize("lang", ["de", "de-CH", "en", "EN", None, "", "not a language", "x" * 300])
def test_what_a_client_writes_is_in_the_language_of_its_stream(lang):
    """spec: RFC6120 4.7.4, 8.1.5. Our own streams are in English, so that this goes without saying."""
    of_stream = b"" if lang is None else f" xml:lang='{lang}'".encode()
    driver = Driver(POLICIES["loopback"])
    driver.receive(HEADER + PLAIN)
    driver.receive(HEADER.replace(b" to=", of_stream + b" to="))
    driver.receive(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    driver.receive(b"<message/><presence xml:lang='fr'/><iq xml:lang=''/>")
    assert [one.get("xml:lang") for one in driver.stanzas] == [lang if lang in ("de", "de-CH") else None, "fr", ""]


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<message from='romeo@im.example.com'/>", b"invalid-from"),
        (b"<message from='juliet@example.net/balcony'/>", b"invalid-from"),
        (b"<r xmlns='urn:xmpp:sm:2'/>", b"unsupported-stanza-type"),
        (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"failure"),
        (b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", b"policy-violation"),
        (b"<foo/>", b"unsupported-stanza-type"),
        (b"<!-- -->", b"restricted-xml"),
    ],
)
def test_violations_when_bound(data, condition):
    driver = logged_in()
    driver.receive(data + b"<message/>")
    assert b"<" + condition in driver.sent and driver.sent.endswith(b"</stream:stream>")
    assert driver.closed and driver.stanzas == []


def test_bytes_before_the_tls_switch_are_dropped():
    """spec: RFC6120 5.4.3.3 (and CVE-2011-0411): plaintext behind <starttls/> must not be taken for TLS data."""
    driver = Driver(POLICIES["tls"])
    driver.receive(HEADER + b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + b"</stream:stream>")
    driver.receive(PLAIN)
    assert driver.wants_tls and not driver.closed
    driver.tls()
    driver.sent = b""
    driver.receive(HEADER)
    assert b"SCRAM-SHA-256-PLUS" in driver.sent and b"starttls" not in driver.sent


def test_five_wrong_passwords_end_the_stream():
    driver = Driver(POLICIES["loopback"])
    driver.receive(HEADER)
    for attempt in range(5):
        assert not driver.closed, attempt
        driver.receive(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAB3cm9uZw==</auth>")
    assert driver.closed and driver.sent.count(b"<not-authorized/>") == 5


def test_a_wrong_scram_proof_is_reported():
    driver = Driver(POLICIES["loopback"])
    driver.receive(HEADER)
    sasl = b" xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
    driver.receive(b"<auth" + sasl + b" mechanism='SCRAM-SHA-256'>biwsbj1qdWxpZXQscj1hYmM=</auth>")
    proof = b"Yz1iaXdzLHI9YWJjbjIscD1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBPQ=="
    driver.receive(b"<response" + sasl + b">" + proof + b"</response>")
    assert driver.wrong == ["juliet"] and b"<not-authorized/>" in driver.sent


@given(
    st.lists(
        st.sampled_from(
            [
                HEADER,
                b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABwZW5jaWw=</auth>",
                b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
                b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1h</auth>",
                b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AGp1bGlldABwZW5jaWw=</response>",
                b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>****</response>",
                b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
                b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
                b"<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>",
                b"<message to='a@b'/>",
                b"tls",
                b" ",
                b"\x00",
                b"</stream:stream>",
            ]
        ),
        max_size=12,
    )
)
def test_any_order_of_inputs_keeps_to_the_rules(inputs):
    """No order crashes; stanzas come through only when bound; after the end nothing is sent."""
    driver = Driver(POLICIES["loopback"])
    for data in inputs:
        if data == b"tls":
            if driver.wants_tls:
                driver.tls()
            continue
        before = driver.connection.state
        driver.receive(data)
        if driver.stanzas:
            assert before is State.BOUND
            driver.stanzas.clear()
    assert driver.closed == (driver.connection.state is State.CLOSED)
