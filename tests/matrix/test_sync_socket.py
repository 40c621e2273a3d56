"""Syncs over a WebSocket, by a client that nobody here wrote. spec: docs/clients/sync-socket.md"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.sliding import bodies
from tests.support.middle import run
from tripoint.matrix.client.sync_socket import SUBPROTOCOL
from tripoint.matrix.sync_socket.session import Patience
from tripoint.net.http_front import HttpFront
from tripoint.net.listen import bind

PATIENCE_S = 5.0
PATH = "/_matrix/client/unstable/dev.tripoint/sync_socket"


class Site:
    """A server on a real socket."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{PATH}"

    @asynccontextmanager
    async def socket(self, token: str | None, **options: Any) -> AsyncIterator["Talk"]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        protocols = [Subprotocol(SUBPROTOCOL)]
        async with connect(
            self.url, subprotocols=protocols, additional_headers=headers, proxy=None, max_size=None, **options
        ) as found:
            assert found.subprotocol == SUBPROTOCOL
            yield Talk(found)


class Talk:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def hear(self) -> Any:
        return orjson.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))

    async def hear_sync(self) -> Any:
        """An answer to a /v3/sync, acknowledged."""
        answer = (await self.hear())["sync"]
        await self.say(ack=answer["next_batch"])
        return answer

    async def silent(self) -> None:
        """Nothing comes: what would come has been worked off when a ping is answered."""
        for _ in range(3):
            await asyncio.wait_for(await self.socket.ping(), PATIENCE_S)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.socket.recv(), 0.05)

    async def closed(self) -> tuple[int, str]:
        """The code and the reason of the end, which comes next."""
        with pytest.raises(ConnectionClosed):
            await self.hear()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    errors: list[BaseException] = []
    async with matrix() as server:
        front = HttpFront(
            server.front.listener.handle,
            body_limit=100_000,
            too_large=server.front.listener.too_large,
            failed=server.front.listener.failed,
            report=lambda _, error: errors.append(error),
        )
        sock = bind("127.0.0.1", 0)
        await front.listen(sock)
        try:
            yield Site(server, sock.getsockname()[1])
        finally:
            server.front.drain()
            await front.close(0.1)
    assert errors == [] and len(server.front.sockets) == 0


def on_site(work: Callable[[Site, Client, Client, str], Awaitable[None]]) -> None:
    async def wrapped() -> None:
        async with site() as made:
            alice, bob = await made.server.register("alice"), await made.server.register("bob")
            room = await alice.create(preset="public_chat", name="Kitchen")
            await bob.join(room)
            await work(made, alice, bob, room)

    run(wrapped)


def said(answer: Any, room: str) -> list[str]:
    events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def test_answers_come_one_by_one_as_they_are_acknowledged() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk:
            await talk.say(sync={"filter": {"room": {"timeline": {"limit": 5}}}})
            first = await talk.hear_sync()
            assert room in first["rooms"]["join"]
            await talk.silent()
            await alice.say(room, "one")
            second = (await talk.hear())["sync"]
            assert said(second, room) == ["one"]
            await alice.say(room, "two")
            await alice.say(room, "three")
            await talk.silent()  # the answer before waits for its acknowledgement
            await talk.say(ack=second["next_batch"])
            third = await talk.hear_sync()
            assert said(third, room) == ["two", "three"]
            # The tokens are those of HTTP.
            bob.since = second["next_batch"]
            assert said(await bob.sync(), room) == ["two", "three"]

    on_site(work)


def test_sliding_sync() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        config = {"timeline_limit": 3, "required_state": {}}
        async with s.socket(None) as talk:
            await talk.say(access_token=bob.token)
            await talk.say(sliding_sync={"lists": {"all": {"range": [0, 9], **config}}})
            first = (await talk.hear())["sliding_sync"]
            assert first["lists"]["all"]["count"] == 1 and first["rooms"][room]["name"] == "Kitchen"
            await talk.say(ack=first["pos"])
            await alice.say(room, "one")
            second = (await talk.hear())["sliding_sync"]
            assert bodies(second["rooms"][room]) == ["one"]
            # Another wish takes the place of the one before, acknowledged or not.
            rooms = {room: {**config, "timeline_limit": 1}}
            body = {"room_subscriptions": rooms, "pos": second["pos"], "timeout": 60_000}
            await talk.say(sliding_sync=body)
            await talk.silent()
            await talk.say(sliding_sync={**body, "timeout": 0})
            third = (await talk.hear())["sliding_sync"]
            assert third["rooms"] == {} and third["lists"] == {}
            # A pos that is not known any more: the error says so, and the client begins anew.
            await talk.say(sliding_sync={**body, "pos": first["pos"]})
            error = (await talk.hear())["error"]
            assert (error["status"], error["errcode"]) == (400, "M_UNKNOWN_POS") and error["error"]
            await talk.say(sliding_sync={"lists": {"all": {"range": [0, 9], **config}}})
            assert (await talk.hear())["sliding_sync"]["rooms"][room]["initial"] is True

    on_site(work)


def test_messages_to_the_device_are_forgotten_when_they_are_acknowledged() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk:
            await talk.say(sync={})
            since = (await talk.hear_sync())["next_batch"]
            await talk.say(sync={"since": since})
            path = f"/sendToDevice/m.test/{q('one')}"
            await alice.call("PUT", path, {"messages": {bob.user_id: {bob.device_id: {"secret": "tea"}}}})
            events = (await talk.hear())["sync"]["to_device"]["events"]
            assert [event["content"] for event in events] == [{"secret": "tea"}]
        # The connection is lost before the acknowledgement: it comes again.
        async with s.socket(bob.token) as talk:
            await talk.say(sync={"since": since})
            answer = await talk.hear_sync()
            assert answer["to_device"]["events"] == events
            await talk.say(sync={"since": answer["next_batch"], "timeout": 0})
            assert "to_device" not in (await talk.hear())["sync"]

    on_site(work)


def test_silence_is_broken_by_an_empty_answer() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        since = (await bob.sync())["next_batch"]
        async with s.socket(bob.token) as talk:
            await talk.say(sync={"since": since, "timeout": 20})
            assert "rooms" not in (await talk.hear())["sync"]

    on_site(work)


def test_by_another_library() -> None:
    """aiohttp's client, as a page would: the token in the first message."""

    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(s.url, protocols=[SUBPROTOCOL]) as socket:
            await socket.send_json({"access_token": bob.token})
            await socket.send_json({"sync": {}})
            answer = (await socket.receive_json(timeout=PATIENCE_S))["sync"]
            await socket.send_json({"ack": answer["next_batch"]})
            await alice.say(room, "tea?")
            assert said((await socket.receive_json(timeout=PATIENCE_S))["sync"], room) == ["tea?"]

    on_site(work)


@pytest.mark.parametrize("waiting", [True, False])
def test_who_is_logged_out_hears_no_more(waiting: bool) -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk, s.socket(alice.token) as other:
            await other.say(sync={})
            await other.hear_sync()
            since = (await bob.sync())["next_batch"]
            if waiting:
                await talk.say(sync={"since": since})
                await talk.silent()
            await bob.call("POST", "/logout", {})
            error = (await talk.hear())["error"]
            assert (error["status"], error["errcode"]) == (401, "M_UNKNOWN_TOKEN")
            assert await talk.closed() == (4401, "M_UNKNOWN_TOKEN")
            await alice.say(room, "still here")
            while not (found := said(await other.hear_sync(), room)):  # of Bob's presence it hears first
                pass
            assert found == ["still here"]

    on_site(work)


def test_wrong_tokens() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        for token, query, status in (("wrong", "", 401), (None, f"?access_token={bob.token}", 400)):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            with pytest.raises(InvalidStatus) as raised:
                async with connect(s.url + query, subprotocols=[Subprotocol(SUBPROTOCOL)], additional_headers=headers,
                                   proxy=None):
                    pass
            assert raised.value.response.status_code == status
        response = await s.server.request("GET", PATH)
        assert (response.status, dict(response.headers)[b"upgrade"]) == (426, b"websocket")
        assert orjson.loads(response.body)["errcode"] == "M_UNKNOWN"
        async with s.socket(None) as talk:
            await talk.say(access_token="wrong")
            assert (await talk.hear())["error"]["errcode"] == "M_UNKNOWN_TOKEN"
            assert (await talk.closed())[0] == 4401
        async with s.socket(bob.token) as talk:
            await talk.say(access_token=alice.token)
            assert (await talk.hear())["error"]["errcode"] == "M_FORBIDDEN"
            assert (await talk.closed())[0] == 4401
        # The same device's again is welcome, and what runs goes on.
        async with s.socket(bob.token) as talk:
            await talk.say(sync={"since": (await bob.sync())["next_batch"]})
            await talk.say(access_token=bob.token)
            await alice.say(room, "tea?")
            assert said(await talk.hear_sync(), room) == ["tea?"]

    on_site(work)


def test_a_token_that_expires_asks_for_another() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        log_in = await bob.call(
            "POST",
            "/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": "bob"},
                "password": "correct horse",
                "refresh_token": True,
            },
        )
        async with s.socket(log_in["access_token"]) as talk:
            await talk.say(sync={})
            answer = (await talk.hear())["sync"]
            s.server.party.clock.now += log_in["expires_in_ms"] / 1000 + 1
            await talk.say(ack=answer["next_batch"])
            error = (await talk.hear())["error"]
            assert (error["errcode"], error["soft_logout"]) == ("M_UNKNOWN_TOKEN", True)
            assert (await talk.closed())[0] == 4401

    on_site(work)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 4400),
        ('{"ack":"s1"}', 4400),
        ('{"dance":{}}', 4400),
        (b"{}", 1003),
        ('{"sync":{"filter":"' + "x" * 300_000 + '"}}', 1009),
    ],
)
def test_what_has_no_meaning_ends_the_connection(message: str | bytes, code: int) -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk:
            await talk.socket.send(message)
            assert (await talk.closed())[0] == code

    on_site(work)


def test_too_many_messages_at_once() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk:
            frame = '{"sync":{"timeout":60000}}'
            # In one piece, so that they are there before the server looks at the first.
            talk.socket.transport.set_write_buffer_limits(high=1_000_000)
            await asyncio.gather(*(talk.socket.send(frame) for _ in range(40)))
            while True:
                try:
                    await talk.hear()
                except ConnectionClosed:
                    break
            assert talk.socket.close_code == 4429

    on_site(work)


def test_a_device_has_four_sockets() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with AsyncExitStack() as stack:
            oldest, older, *_, newest = [await stack.enter_async_context(s.socket(bob.token)) for _ in range(6)]
            for one in (oldest, older):
                assert (await one.closed())[0] == 4429
            await newest.say(sync={})
            assert room in (await newest.hear())["sync"]["rooms"]["join"]

    on_site(work)


@pytest.mark.parametrize("phase", ["nameless", "ready", "told"])
def test_who_does_nothing_is_not_waited_for(phase: str) -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        s.server.front.sockets.patience = Patience(0.05, 0.05, 0.05)
        async with s.socket(None if phase == "nameless" else bob.token) as talk:
            if phase == "told":
                await talk.say(sync={})
                await talk.hear()
            assert (await talk.closed())[0] == 4408

    on_site(work)


def test_a_server_that_stops_says_so() -> None:
    async def work(s: Site, alice: Client, bob: Client, room: str) -> None:
        async with s.socket(bob.token) as talk:
            await talk.say(sync={"since": (await bob.sync())["next_batch"]})
            await talk.silent()
            s.server.front.drain()
            assert (await talk.closed())[0] == 1001

    on_site(work)
