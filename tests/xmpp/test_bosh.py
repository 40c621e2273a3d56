"""XMPP over BOSH: sessions, the order of requests, lost answers, silence and haste, the end from both sides.

spec: XEP-0124, XEP-0206; the names of tests say the section
"""

import asyncio
import base64
import hashlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xmpp.server import OPTIONS, SERVER, TestServer, serve
from tripoint.net.http import Request, Response
from tripoint.xmpp.bosh import PATH
from tripoint.xmpp.bosh_body import BadBody, read_body
from tripoint.xmpp.web import XmppWeb

BIND = "{http://jabber.org/protocol/httpbind}"
STREAMS = "{http://etherx.jabber.org/streams}"
CLIENT = "{jabber:client}"
XBOSH = "xmlns:xmpp='urn:xmpp:xbosh'"
Answer = ElementTree.Element


class Bosh:
    """A client: its session, and the number of its next request."""

    def __init__(self, web: XmppWeb, *, secure: bool = False) -> None:
        self.web = web
        self.secure = secure
        self.rid = 1573741820
        self.sid: str | None = None
        self.responses: list[Response] = []

    def ask(self, payload: str = "", *, rid: int | None = None, **attributes: str) -> asyncio.Task[Answer]:
        """Begin a request; its answer comes when it comes."""
        if rid is None:
            rid, self.rid = self.rid, self.rid + 1
        named = {"rid": str(rid), **({"sid": self.sid} if self.sid else {}), **attributes}
        told = " ".join(f"{name.replace('_', ':')}='{value}'" for name, value in named.items())
        return asyncio.create_task(self.post(f"<body xmlns='{BIND[1:-1]}' {XBOSH} {told}>{payload}</body>"))

    async def post(self, text: str) -> Answer:
        request = Request("POST", PATH, b"", (), text.encode(), "127.0.0.1", self.secure)
        response = await self.web.handle(request)
        assert response is not None
        self.responses.append(response)
        element = ElementTree.fromstring(response.body.decode())
        assert element.tag == f"{BIND}body"
        return element

    async def say(self, payload: str = "", **attributes: str) -> Answer:
        async with asyncio.timeout(10):
            return await self.ask(payload, **attributes)

    async def begin(self, **attributes: str) -> Answer:
        """spec: XEP-0206 3, example 1"""
        wishes = {"to": SERVER, "ver": "1.6", "wait": "60", "hold": "1", "xml_lang": "en", "xmpp_version": "1.0"}
        answer = await self.say(**{**wishes, **attributes})
        self.sid = answer.get("sid")
        return answer

    async def log_in(self, name: str, resource: str = "desk", **attributes: str) -> None:
        """spec: XEP-0206 5"""
        await self.begin(**attributes)
        secret = base64.b64encode(f"\0{name}\0correct horse".encode()).decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        assert (await self.until(auth))[0].tag.endswith("success")
        features = await self.until("", xmpp_restart="true", to=SERVER)
        assert features[0].tag == f"{STREAMS}features"
        bind = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>"
        bound = await self.until(f"<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>")
        assert bound[0].get("type") == "result"

    async def until(self, payload: str, **attributes: str) -> Answer:
        """The answer with payloads that comes first, also to requests that ask for nothing."""
        answer = await self.say(payload, **attributes)
        while not len(answer):
            answer = await self.say()
        return answer


def on_server(work: Callable[[TestServer, XmppWeb], Awaitable[None]], **options: object) -> None:
    async def go() -> None:
        async with serve(options=replace(OPTIONS, **options)) as server:
            for name in ("alice", "bob"):
                await server.make_account(name)
            await work(server, XmppWeb(server.front, "https://im.example.com/"))

    asyncio.run(go())


def condition(answer: Answer) -> tuple[str | None, str | None]:
    return answer.get("type"), answer.get("condition")


def message(to: str, text: str) -> str:
    return f"<message xmlns='jabber:client' to='{to}@{SERVER}' type='chat'><body>{text}</body></message>"


PRESENCE = "<presence xmlns='jabber:client'/>"


# -- 7: beginning


def test_7_2_what_is_said_of_a_new_session() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        answer = await client.begin(content="text/plain")
        given = {name: answer.get(name) for name in ("wait", "requests", "hold", "from", "ver", "ack", "maxpause")}
        assert given == {
            "wait": "60", "requests": "2", "hold": "1", "from": SERVER, "ver": "1.11", "ack": "1573741820",
            "maxpause": "120",
        }  # fmt: skip
        assert len(answer.get("sid") or "") >= 16
        assert answer.get("{urn:xmpp:xbosh}restartlogic") == "true"
        assert answer.get("{urn:xmpp:xbosh}version") == "1.0"
        assert answer[0].tag == f"{STREAMS}features"
        assert not [one for one in answer[0] if one.tag.endswith("starttls")], "TLS is HTTP's"
        headers = dict(client.responses[0].headers)
        assert headers[b"content-type"] == b"text/plain"
        assert headers[b"access-control-allow-origin"] == b"*"
        # What a browser would run is not what the answers are called.
        other = Bosh(web)
        await other.begin(content="text/html")
        assert dict(other.responses[0].headers)[b"content-type"] == b"text/xml; charset=utf-8"

    on_server(work)


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"to": "elsewhere.example"}, "host-unknown"),
        ({"to": "@"}, "host-unknown"),
        ({"to": ""}, "improper-addressing"),
        ({"hold": "one"}, "bad-request"),
        ({"rid": "0"}, "bad-request"),
        ({"rid": "9007199254740992"}, "bad-request"),
        ({"newkey": "short"}, "bad-request"),
        ({"xmpp_version": "0.9"}, "remote-stream-error"),
    ],
)
def test_7_and_17_2_what_begins_nothing(attributes: dict[str, str], wanted: str) -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        assert condition(await Bosh(web).begin(**attributes)) == ("terminate", wanted)

    on_server(work)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<body/>",
        "<body xmlns='urn:example' rid='1'/>",
        f"<body xmlns='{BIND[1:-1]}'/>",
        f"<body xmlns='{BIND[1:-1]}' rid='1'>text</body>",
        f"<body xmlns='{BIND[1:-1]}' rid='1'/><body xmlns='{BIND[1:-1]}' rid='2'/>",
        f"<!DOCTYPE body><body xmlns='{BIND[1:-1]}' rid='1'/>",
        f"<body xmlns='{BIND[1:-1]}' rid='1'><!-- x --></body>",
        f"<body xmlns='{BIND[1:-1]}' rid='1'>" + "<a>" * 300,
    ],
)
def test_6_what_is_no_wrapper(text: str) -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        assert condition(await Bosh(web).post(text)) == ("terminate", "bad-request")

    on_server(work)


@given(st.binary(max_size=200))
def test_6_anything_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(BadBody):
        read_body(data, 10_000)


def test_17_1_older_clients_are_told_by_status() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        answer = await client.say(to=SERVER, wait="60", hold="1", xmpp_version="1.0")
        client.sid = answer.get("sid")
        await client.say("", rid=7)  # type: ignore[arg-type]  # far from the window
        assert client.responses[-1].status == 404
        client = Bosh(web)
        await client.begin()
        await client.say("", rid=7)  # type: ignore[arg-type]
        assert client.responses[-1].status == 200

    on_server(work)


def test_it_is_posted_to() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        answer = await web.handle(Request("GET", PATH, b"", (), b"", "127.0.0.1"))
        assert answer is not None and answer.status == 405
        assert dict(answer.headers)[b"allow"] == b"POST, OPTIONS"

    on_server(work)


# -- 8: talking


def test_8_two_talk_and_one_waits() -> None:
    """What is for a client goes out with the request that waits; another request lets that one go."""

    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await alice.log_in("alice")
        await bob.log_in("bob")
        await alice.until(PRESENCE)
        waiting = alice.ask()
        await bob.until(PRESENCE)
        bob_waits = bob.ask(message("alice", "hello"))
        async with asyncio.timeout(10):
            got = await waiting
        assert got[0].tag == f"{CLIENT}message" and got[0].findtext(f"{CLIENT}body") == "hello"
        assert not bob_waits.done(), "nothing is there for bob yet"
        # His next request is taken at once, and the one before is answered, empty.
        next_one = bob.ask(message("alice", "again"))
        async with asyncio.timeout(10):
            before = await bob_waits
        assert len(before) == 0
        assert before.get("ack") == str(bob.rid - 1), "9.1: the highest request that came"
        assert not next_one.done()
        next_one.cancel()
        assert (await alice.until(""))[0].findtext(f"{CLIENT}body") == "again"

    on_server(work)


def test_8_nothing_to_say_is_said_after_the_wait() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice", wait="1")
        answer = await client.say()
        assert (len(answer), dict(answer.items())) == (0, {})

    on_server(work)


# -- 10: silence


def test_10_who_is_silent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tripoint.xmpp.bosh_session.INACTIVITY_S", 0.05)

    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await bob.log_in("bob")
        await alice.log_in("alice", wait="1")
        assert server.front.connections == 2
        async with asyncio.timeout(10):
            while server.front.connections > 0:  # noqa: ASYNC110  # it is the clock's doing
                await asyncio.sleep(0.02)
        assert condition(await alice.say()) == ("terminate", "item-not-found")

    on_server(work)


def test_10_a_pause_is_answered_at_once_and_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tripoint.xmpp.bosh_session.INACTIVITY_S", 0.05)

    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        waiting = client.ask()
        pausing = await client.say(pause="60")
        assert (len(await waiting), len(pausing)) == (0, 0)
        await asyncio.sleep(0.3)
        assert (await client.until(PRESENCE)) is not None

    on_server(work)


# -- 11, 12: haste


def test_11_too_many_requests_at_once() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        # Out of order, so that none of them can be answered.
        first = client.rid
        later = [client.ask(rid=first + 1), client.ask(rid=first + 2)]
        async with asyncio.timeout(10):
            answers = [await one for one in later]
        assert ("terminate", "item-not-found") in [condition(one) for one in answers]

    on_server(work)


def test_11_asking_for_nothing_too_often() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        first, second = client.ask(), client.ask()
        async with asyncio.timeout(10):
            assert condition(await first) == ("terminate", "policy-violation")
            assert condition(await second) == ("terminate", "policy-violation")

    on_server(work)


def test_12_polling() -> None:
    """Nothing waits; two empty requests within two seconds are too many."""

    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        answer = await client.begin(hold="0")
        assert (answer.get("hold"), answer.get("requests")) == ("0", "1")
        assert len(await client.say()) == 0
        assert condition(await client.say()) == ("terminate", "policy-violation")

    on_server(work)


# -- 13: the end


def test_13_the_client_goes() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        waiting = client.ask()
        gone = await client.say("<presence xmlns='jabber:client' type='unavailable'/>", type="terminate")
        assert condition(await waiting) == ("terminate", None), "the oldest connection hears of it"
        assert (len(gone), gone.get("type")) == (0, None)

    on_server(work)


def test_the_server_goes() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        waiting = client.ask()
        await asyncio.sleep(0)
        web.drain()
        async with asyncio.timeout(10):
            answer = await waiting
        assert condition(answer) == ("terminate", "remote-stream-error")
        assert answer[-1].tag == f"{STREAMS}error" and answer[-1][0].tag.endswith("system-shutdown")
        assert condition(await Bosh(web).begin()) == ("terminate", "system-shutdown")

    on_server(work)


def test_206_6_a_stream_error_ends_the_session() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.begin()
        answer = await client.say(message("bob", "too early"))
        assert condition(answer) == ("terminate", "remote-stream-error")
        assert answer[0].tag == f"{STREAMS}error" and answer[0][0].tag.endswith("not-authorized")

    on_server(work)


# -- 14: numbers


def test_14_2_what_comes_out_of_order_is_taken_in_order() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await bob.log_in("bob")
        await bob.until(PRESENCE)
        await alice.log_in("alice")
        first = alice.rid
        alice.rid += 2
        late = alice.ask(message("bob", "two"), rid=first + 1)
        await asyncio.sleep(0)
        early = alice.ask(message("bob", "one"), rid=first)
        heard: list[str | None] = []
        while len(heard) < 2:
            heard += [one.findtext(f"{CLIENT}body") for one in await bob.until("") if one.tag == f"{CLIENT}message"]
        assert heard == ["one", "two"]
        async with asyncio.timeout(10):
            assert len(await early) == 0
        late.cancel()

    on_server(work)


def test_14_3_a_lost_answer_is_asked_for_again() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.begin()
        secret = base64.b64encode(b"\0alice\0correct horse").decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        rid = client.rid
        first = await client.say(auth)
        assert len(first) == 1
        again = await client.ask(auth, rid=rid)
        assert ElementTree.tostring(again) == ElementTree.tostring(first), "done once, told twice"
        # What was answered longer ago is not kept, and ends the session.
        assert condition(await client.ask(rid=rid - 5)) == ("terminate", "item-not-found")
        assert condition(await client.say()) == ("terminate", "item-not-found")

    on_server(work)


def test_14_3_a_request_that_waits_comes_again() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web)
        await client.log_in("alice")
        rid = client.rid
        cut_off = client.ask()
        await asyncio.sleep(0)
        again = client.ask(rid=rid)
        async with asyncio.timeout(10):
            assert condition(await cut_off) == ("error", None)
        assert not again.done()
        often = [client.ask(rid=rid) for _ in range(6)]
        async with asyncio.timeout(10):
            said = [condition(await one) for one in often]
        assert ("terminate", "policy-violation") in said

    on_server(work)


def test_14_3_a_connection_that_goes_takes_nothing_with_it() -> None:
    """What is said after it was cut off waits for the next request, or for this one again."""

    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await bob.log_in("bob")
        await bob.until(PRESENCE)
        for come_back in ("again", "on"):
            if alice.sid is None:
                await alice.log_in("alice")
                await alice.until(PRESENCE)
            rid = alice.rid
            cut_off = alice.ask()
            await asyncio.sleep(0)
            cut_off.cancel()
            await asyncio.sleep(0)
            bob.ask(message("alice", come_back)).add_done_callback(lambda _: None)
            await server.front.settled()
            async with asyncio.timeout(10):
                answer = await (alice.ask(rid=rid) if come_back == "again" else alice.ask())
            assert answer[0].findtext(f"{CLIENT}body") == come_back

    on_server(work)


def test_14_3_one_that_went_before_its_turn_gets_nothing() -> None:
    """It came out of order and its connection went: what is in it is done, and what is written waits for another."""

    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await bob.log_in("bob")
        await bob.until(PRESENCE)
        await alice.log_in("alice")
        await alice.until(PRESENCE)
        first = alice.rid
        alice.rid += 2
        cut_off = alice.ask(message("bob", "two"), rid=first + 1)
        await asyncio.sleep(0)
        cut_off.cancel()
        await asyncio.sleep(0)
        early = alice.ask(message("bob", "one"), rid=first)
        heard: list[str | None] = []
        while len(heard) < 2:
            heard += [one.findtext(f"{CLIENT}body") for one in await bob.until("") if one.tag == f"{CLIENT}message"]
        assert heard == ["one", "two"]
        bob.ask(message("alice", "still here?")).add_done_callback(lambda _: None)
        async with asyncio.timeout(10):
            answer = await early
        assert answer[0].findtext(f"{CLIENT}body") == "still here?"

    on_server(work)


def test_14_3_over_sockets() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        async def post(text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
            writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
            return reader, writer

        async def answer(reader: asyncio.StreamReader) -> str:
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.partition("content-length: ")[2].partition("\r")[0])
                return (await reader.readexactly(length)).decode()

        begin = f"<body xmlns='{BIND[1:-1]}' {XBOSH} rid='7' to='{SERVER}' ver='1.6' wait='60' hold='1'/>"
        reader, writer = await post(begin)
        sid = (await answer(reader)).partition("sid='")[2].partition("'")[0]
        writer.close()
        empty = f"<body xmlns='{BIND[1:-1]}' sid='{sid}' rid='8'/>"
        _, cut_off = await post(empty)
        await asyncio.sleep(0.1)
        cut_off.transport.abort()
        await asyncio.sleep(0.1)
        reader, again = await post(empty)
        await asyncio.sleep(0.1)
        _, two = await post(empty.replace("'8'", "'9'").replace("/>", "><auth xmlns='x'/></body>"))
        assert "unsupported-stanza-type" in await answer(reader)
        for one in (again, two):
            one.close()

    on_server(work)


# -- 15: keys


def test_15_requests_that_are_not_the_client_s() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        keys = [hashlib.sha1(b"seed").hexdigest()]
        for _ in range(5):
            keys.append(hashlib.sha1(keys[-1].encode()).hexdigest())
        new = hashlib.sha1(b"other").hexdigest()
        first_of_new = hashlib.sha1(new.encode()).hexdigest()
        client = Bosh(web)
        await client.begin(newkey=keys[5], hold="0")
        await client.say(PRESENCE.replace("presence", "x"), key=keys[4].upper(), newkey=first_of_new)
        client = Bosh(web)
        await client.begin(newkey=keys[5])
        waiting = client.ask(key=keys[4])
        await asyncio.sleep(0)
        assert condition(await client.say(key=keys[4])) == ("terminate", "item-not-found")
        assert condition(await waiting) == ("terminate", "item-not-found")
        client = Bosh(web)
        await client.begin(newkey=keys[5])
        assert condition(await client.say()) == ("terminate", "item-not-found"), "a key was to come"
        client = Bosh(web)
        await client.begin(newkey=keys[5], wait="1")
        assert condition(await client.say(key=keys[4], newkey=first_of_new)) == (None, None)
        assert condition(await client.say(key=new)) == (None, None)

    on_server(work)


def test_15_a_wrong_key_of_one_that_went() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        key = hashlib.sha1(b"seed").hexdigest()
        client = Bosh(web)
        await client.begin(newkey=hashlib.sha1(key.encode()).hexdigest())
        first = client.rid
        client.rid += 2
        cut_off = client.ask(rid=first + 1, key="0" * 40)
        await asyncio.sleep(0)
        cut_off.cancel()
        await asyncio.sleep(0)
        assert condition(await client.ask(rid=first, key=key)) == ("terminate", "item-not-found")

    on_server(work)


# -- 19: whose it is


def test_19_a_session_of_tls_is_not_gone_on_with_in_the_clear() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        client = Bosh(web, secure=True)
        await client.begin()
        client.secure = False
        assert condition(await client.say()) == ("terminate", "item-not-found")

    on_server(work)


def test_passwords_want_tls_from_elsewhere() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        answer = await Bosh(web).begin()
        assert condition(answer) == ("terminate", "remote-stream-error")

    on_server(work, plaintext_passwords=False)


def test_who_does_not_fetch_what_is_for_him_loses_his_session() -> None:
    async def work(server: TestServer, web: XmppWeb) -> None:
        alice, bob = Bosh(web), Bosh(web)
        await alice.log_in("alice")
        await alice.until(PRESENCE)
        await bob.log_in("bob")
        for number in range(12):
            bob.ask(message("alice", f"{number} " + "x" * 4000)).add_done_callback(lambda _: None)
            await server.front.settled()
            await asyncio.sleep(0.01)
        assert condition(await alice.say())[0] == "terminate"
        assert condition(await alice.say()) == ("terminate", "item-not-found")

    on_server(work, sendq_bytes=20_000)
