"""XMPP over WebSocket: how clients find it, who may log in, what breaks a stream, the end from both sides.

Everything that is the same as over TCP is in scripts/, which are played over both. spec: RFC7395, XEP-0156
"""

import asyncio
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from tests.xmpp.server import FRAMING, OPEN, OPTIONS, PATIENCE_S, SERVER, TestServer, WebClient, serve
from tripoint.net.http import Request, Response
from tripoint.xmpp.framing import MessageFraming, standalone
from tripoint.xmpp.web import HOST_META, HOST_META_JSON, PATH, XmppWeb, websocket_url
from tripoint.xmpp.wire import Broken, Element, StreamClosed, StreamOpened

CLOSE = f"<close {FRAMING}/>"
ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"


def on_server(work: Callable[[TestServer], Awaitable[None]], **options: object) -> None:
    async def go() -> None:
        async with serve(web=True, options=replace(OPTIONS, **options)) as server:
            await work(server)

    asyncio.run(go())


async def error_of(client: WebClient) -> str:
    """The condition of the stream error that comes next; then the stream and the connection end."""
    element = await client.stanza()
    assert (element.name, element.namespace) == ("error", "http://etherx.jabber.org/streams"), element
    with pytest.raises(EOFError):
        await client.stanza()
    await client.lost()
    assert client.closed is not None and client.closed.code == 1000
    condition = element.first()
    assert condition is not None and condition.namespace == ERRORS
    return condition.name


# -- finding it


def ask(path: str, method: str = "GET", public_url: str = "https://im.example.com/", **headers: str) -> Response:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request(method, path, b"", pairs, b"", "127.0.0.1")
    answer = asyncio.run(XmppWeb(None, public_url).handle(request))  # type: ignore[arg-type]
    assert answer is not None
    return answer


def test_clients_find_it() -> None:
    """spec: XEP-0156 2.3 (examples 1 and 2), 3"""
    xrd, jrd = ask(HOST_META), ask(HOST_META_JSON)
    links = list(ElementTree.fromstring(xrd.body.decode()))
    assert {link.tag for link in links} == {"{http://docs.oasis-open.org/ns/xri/xrd-1.0}Link"}
    wanted = [
        {"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://im.example.com/xmpp-websocket"},
        {"rel": "urn:xmpp:alt-connections:xbosh", "href": "https://im.example.com/http-bind"},
    ]
    assert [dict(link.items()) for link in links] == wanted
    assert json.loads(jrd.body) == {"links": wanted}
    for answer, kind in ((xrd, b"application/xrd+xml; charset=utf-8"), (jrd, b"application/json")):
        assert (answer.status, dict(answer.headers)[b"content-type"]) == (200, kind)
        assert dict(answer.headers)[b"access-control-allow-origin"] == b"*"
    assert ask(HOST_META, accept="application/json").body == jrd.body
    assert ask(HOST_META, "POST").status == 405


@pytest.mark.parametrize(
    ("public_url", "url"),
    [
        ("https://im.example.com", "wss://im.example.com/xmpp-websocket"),
        ("HTTPS://im.example.com:8443/chat/", "wss://im.example.com:8443/chat/xmpp-websocket"),
        ("http://im.example.com", None),
        ("https://", None),
        ("", None),
    ],
)
def test_nothing_without_tls_is_given_out(public_url: str, url: str | None) -> None:
    """spec: XEP-0156 2.2 (1)"""
    assert websocket_url(public_url) == url
    assert ask(HOST_META, public_url=public_url).status == ask(HOST_META_JSON, public_url=public_url).status
    assert (ask(HOST_META, public_url=public_url).status == 200) is (url is not None)


# -- the stream


def test_a_stream_opens_logs_in_and_closes() -> None:
    """spec: RFC7395 3.4, 3.6, 3.7, 3.9: examples of 3.4 and 3.6"""

    async def work(server: TestServer) -> None:
        await server.make_account("alice")
        client = await server.connect_web()
        features = await client.open()
        assert client.header is not None
        assert (client.header.from_, client.header.version, client.header.lang) == (SERVER, "1.0", "en")
        assert (features.name, features.namespace) == ("features", "http://etherx.jabber.org/streams")
        # TLS is the WebSocket's: it is never offered inside.
        assert [child.name for child in features.elements()] == ["mechanisms", "register", "register", "limits"]
        await client.log_in("alice", "correct horse", "r")
        client.websocket.send_ping(b"?")
        client.flush()
        await client.quiet()
        assert client.pongs == [b"?"]
        client.send(CLOSE)
        with pytest.raises(EOFError):
            await client.stanza()
        await client.lost()
        assert client.closed is not None and client.closed.code == 1000
        assert len(server.front.users) == 0

    on_server(work)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("invalid-namespace", f"<open to='{SERVER}' version='1.0' xmlns='urn:example'/>"),
        ("invalid-namespace", f"<open to='{SERVER}' version='1.0'/>"),
        ("host-unknown", f"<open {FRAMING} to='example.com' version='1.0'/>"),
        ("improper-addressing", f"<open {FRAMING} version='1.0'/>"),
        ("unsupported-version", f"<open {FRAMING} to='{SERVER}'/>"),
        ("bad-format", f" {OPEN}"),
        ("bad-format", " "),
        ("bad-format", ""),
        ("not-well-formed", f"<stream:stream to='{SERVER}' xmlns:stream='http://etherx.jabber.org/streams'>"),
        ("not-well-formed", "<open"),
        ("not-well-formed", OPEN + OPEN),
        ("not-well-formed", OPEN + "text"),
        ("not-well-formed", f"<x:open to='{SERVER}' version='1.0'/>"),
        ("restricted-xml", f"<!DOCTYPE open>{OPEN}"),
        ("restricted-xml", f"<!-- {OPEN} -->"),
        ("unsupported-encoding", f"<?xml version='1.0' encoding='UTF-16'?>{OPEN}"),
        ("policy-violation", f"<open {FRAMING} to='{SERVER}' version='1.0' x='{'y' * 20000}'/>"),
        ("not-authorized", "<iq xmlns='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"),
        ("not-authorized", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>"),
        ("not-authorized", "<iq xmlns='jabber:client' type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"),
    ],
)
def test_what_is_no_opening_is_answered(condition: str, message: str) -> None:
    """spec: RFC7395 3.3.2, 3.3.3, 3.5: our own <open/>, the error, <close/>"""

    async def work(server: TestServer) -> None:
        client = await server.connect_web()
        client.send_bytes(message.encode())
        assert await error_of(client) == condition
        assert client.header is not None and client.header.from_ == SERVER

    on_server(work)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("policy-violation", OPEN),
        ("bad-format", " "),
        ("not-well-formed", "<message xmlns='jabber:client'><body>"),
        ("not-well-formed", "<message xmlns='jabber:client'/><message xmlns='jabber:client'/>"),
        ("not-well-formed", "<message xmlns='jabber:client'/></tripoint-frame:stream>"),
        ("unsupported-stanza-type", "<message><body>whose?</body></message>"),
        ("unsupported-stanza-type", "<starttls xmlns='urn:example'/>"),
        ("invalid-from", "<message xmlns='jabber:client' from='eve@example.org'/>"),
        ("policy-violation", f"<message xmlns='jabber:client'><body>{'y' * 300000}</body></message>"),
    ],
)
def test_what_breaks_a_stream(condition: str, message: str) -> None:
    async def work(server: TestServer) -> None:
        client = await server.bound("alice")
        assert isinstance(client, WebClient)
        client.send_bytes(message.encode())
        assert await error_of(client) == condition

    on_server(work)


def test_tls_is_not_begun_inside() -> None:
    """spec: RFC7395 3.9, RFC6120 5.4.2.2"""

    async def work(server: TestServer) -> None:
        client = await server.connect_web()
        await client.open()
        client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await client.expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await client.lost()

    on_server(work)


def test_bytes_are_no_text() -> None:
    """spec: RFC7395 3.2"""

    async def work(server: TestServer) -> None:
        client = await server.bound("alice")
        assert isinstance(client, WebClient)
        client.websocket.send_binary(b"<message xmlns='jabber:client'/>")
        client.flush()
        assert await error_of(client) == "bad-format"

    on_server(work)


class Proxied(WebClient):
    """A client of elsewhere, behind a proxy."""

    more: tuple[tuple[str, str], ...] = (("X-Forwarded-For", "192.0.2.7"),)

    def __init__(self) -> None:
        super().__init__()
        self.websocket = ClientProtocol(parse_uri(f"ws://localhost{PATH}"), subprotocols=["xmpp"])
        connect = self.websocket.connect

        def with_headers() -> object:
            request = connect()
            for name, value in self.more:
                request.headers[name] = value
            return request

        self.websocket.connect = with_headers  # type: ignore[assignment,method-assign]


class ProxiedSafely(Proxied):
    more = (*Proxied.more, ("X-Forwarded-Proto", "https"))


def test_passwords_want_tls_from_elsewhere() -> None:
    """docs/mapping.md 18: as on every listener"""

    async def work(server: TestServer) -> None:
        await server.make_account("alice")
        plain = await server.connect_socket(Proxied)
        await asyncio.wait_for(plain.upgraded.wait(), PATIENCE_S)
        plain.send(OPEN)
        assert await error_of(plain) == "policy-violation"
        safe = await server.connect_socket(ProxiedSafely)
        await asyncio.wait_for(safe.upgraded.wait(), PATIENCE_S)
        features = await safe.open()
        # The TLS is the proxy's: nothing to bind to.
        assert "PLUS" not in repr(features)
        await safe.log_in("alice", "correct horse", "r")

    on_server(work)


def test_who_does_not_read_loses_only_his_connection() -> None:
    """spec: docs/mapping.md 4: the same bound as over TCP"""

    async def work(server: TestServer) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        bob.transport.pause_reading()
        text = "x" * 5000
        for number in range(400):
            alice.send(f"<message to='bob@{SERVER}/r' type='headline' id='m{number}'><body>{text}</body></message>")
        await alice.quiet()
        for _ in range(200):
            if len(server.front.users) == 1:
                break
            await alice.quiet()
        assert len(server.front.users) == 1

    on_server(work, sendq_bytes=100_000)


def test_who_sends_fast_is_read_no_faster_than_he_is_handled() -> None:
    async def work(server: TestServer) -> None:
        client = await server.online("alice")
        for number in range(500):
            client.send(f"<iq type='get' id='{number}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        for number in range(500):
            await client.expect(f"<iq type='result' id='{number}'…/>")

    on_server(work)


# -- framing, without a socket

_XML = st.text(alphabet="<>/ax='\" &;?!-\u00e9", max_size=40)


@given(_XML)
def test_any_text_is_one_event(text: str) -> None:
    events = MessageFraming().receive(("<" + text).encode())
    assert len(events) == 1 and isinstance(events[0], Broken | Element | StreamOpened | StreamClosed)


@pytest.mark.parametrize(
    ("inside", "document"),
    [
        (b"<iq id='1'/>", b"<iq xmlns='jabber:client' id='1'/>"),
        (b"<message/>", b"<message xmlns='jabber:client'/>"),
        (b"<presence><show>dnd</show></presence>", b"<presence xmlns='jabber:client'><show>dnd</show></presence>"),
        (b"<message xmlns='jabber:client' id='1'/>", b"<message xmlns='jabber:client' id='1'/>"),
        (b"<iqx xmlns='u'/>", b"<iqx xmlns='u'/>"),
        (
            b"<stream:features/>",
            b"<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>",
        ),
        (
            b"<iq><stream:a/></iq>",
            b"<iq xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:a/></iq>",
        ),
        (b"<success xmlns='s'>&lt;stream:</success>", b"<success xmlns='s'>&lt;stream:</success>"),
    ],
)
def test_what_is_sent_stands_alone(inside: bytes, document: bytes) -> None:
    """spec: RFC7395 3.3.3"""
    assert standalone(inside) == document
    ElementTree.fromstring(document.decode())


def test_a_declaration_may_come_first() -> None:
    """spec: RFC7395 3.3.3: not recommended"""
    events = MessageFraming().receive(b"<?xml version='1.0' encoding='utf-8'?>\n" + OPEN.encode())
    assert isinstance(events[0], StreamOpened) and events[0].to == SERVER
