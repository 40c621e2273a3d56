"""Pushers: setting them, what gateways are told, and what becomes of it when they do not answer.

spec: Matrix client-server module push; push-gateway-api
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.matrix.client import Server, matrix, q
from tests.matrix.test_relations import pair
from tests.matrix.test_unread import mention, read
from tests.net.https import make_certificate
from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.fanout import push as sending
from tripoint.fanout.push import PushSender
from tripoint.matrix.push.channel import GatewayChannel
from tripoint.matrix.push.gateway import check_gateway
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.outbound import Answer, Outbound, client_context
from tripoint.store.sqlite import SqliteStore

URL = "https://push.example/_matrix/push/v1/notify"


@dataclass
class Gateway:
    """A gateway that takes what it is sent, or does not. `bugs` are what was reported."""

    told: list[Any] = field(default_factory=list)
    failing: bool = False
    status: int = 200
    rejects: list[str] = field(default_factory=list)
    tried: int = 0
    bugs: list[BaseException] = field(default_factory=list)

    async def post(self, url: str, body: bytes) -> Answer:
        self.tried += 1
        await asyncio.sleep(0)
        if self.failing:
            raise RemoteFailed("push.example", "no connection")
        if self.status == 200:
            self.told.append(orjson.loads(body)["notification"])
        return Answer(self.status, orjson.dumps({"rejected": self.rejects}))

    @property
    def events(self) -> list[str]:
        return [one["event_id"] for one in self.told if "event_id" in one]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens in the background; the test's own bound ends it."""
    while not holds():  # noqa: ASYNC110  # what is waited for is in several places
        await asyncio.sleep(0.002)


@asynccontextmanager
async def pushing(server: Server, gateway: Gateway) -> AsyncIterator[PushSender]:
    middle = server.party.middle
    sender = PushSender(
        middle.accounts.pushers,
        middle.pushing,
        {"http": GatewayChannel(gateway.post)},
        server.party.clock.ms,
        lambda where, error: gateway.bugs.append(error),
        first_retry_s=0.005,
    )
    middle.hub.watch_all_rooms(sender.room_changed)
    middle.hub.watch_users(sender.user_changed)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close()
        assert gateway.bugs == []


def pusher(key: str = "key", **changes: Any) -> dict[str, Any]:
    return {
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": key,
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": URL, "format": "event_id_only", "brand": "x"},
        **changes,
    }


async def settled(sender: PushSender) -> None:
    await until(lambda: all(lane.task is None for lane in sender._lanes.values()))


def test_a_pusher_is_told_of_what_notifies() -> None:
    async def work() -> None:
        async with matrix() as server:
            gateway = Gateway()
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                await alice.say(room, "before the pusher")
                await bob.call("POST", "/pushers/set", pusher())
                first = await alice.say(room, "hello")
                await bob.say(room, "I say it myself")
                loud = await mention(alice, room, bob.user_id)
                await until(lambda: len(gateway.events) == 2)
                await settled(sender)
                assert gateway.events == [first, loud]
                device = {
                    "app_id": "org.example.app",
                    "pushkey": "key",
                    "pushkey_ts": server.party.clock.ms() // 1000,
                    "data": {"format": "event_id_only", "brand": "x"},
                }
                wanted = {"event_id": loud, "room_id": room, "counts": {"unread": 1}, "prio": "high"}
                assert gateway.told[1] == {**wanted, "devices": [device]}
                # Reading makes the badge go, and is told once.
                await read(bob, room, loud)
                await until(lambda: len(gateway.told) == 3)
                await read(bob, room, loud, "m.read.private")
                await settled(sender)
                assert gateway.told[2:] == [{"counts": {"unread": 0}, "devices": [device]}]

    run(work)


def test_everything_is_told_where_no_format_is_asked_for() -> None:
    async def work() -> None:
        async with matrix() as server:
            gateway = Gateway()
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                await bob.call("POST", "/pushers/set", pusher(data={"url": URL}))
                await alice.call("PUT", f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Alice"})
                await alice.call("PUT", f"/rooms/{q(room)}/state/m.room.name", {"name": "Tea"})
                event = await mention(alice, room, bob.user_id)
                other = await alice.create()
                await alice.call("POST", f"/rooms/{q(other)}/invite", {"user_id": bob.user_id})
                await until(lambda: len(gateway.told) == 2)
                told, invited = gateway.told
                assert told["event_id"] == event and told["sender"] == alice.user_id
                assert (told["type"], told["content"]["body"]) == ("m.room.message", "hey")
                assert (told["sender_display_name"], told["room_name"]) == ("Alice", "Tea")
                assert told["devices"][0]["tweaks"] == {"sound": "default", "highlight": True}
                assert told["devices"][0]["data"] == {} and "user_is_target" not in told
                assert (invited["type"], invited["room_id"]) == ("m.room.member", other)
                assert invited["user_is_target"] is True
                await settled(sender)

    run(work)


def test_a_gateway_that_does_not_answer_is_asked_again() -> None:
    async def work() -> None:
        async with matrix() as server:
            gateway = Gateway(failing=True)
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                await bob.call("POST", "/pushers/set", pusher())
                sent = [await alice.say(room, str(number)) for number in range(3)]
                await until(lambda: gateway.tried >= 2)
                gateway.failing, gateway.status = False, 502
                await until(lambda: gateway.tried >= 4)
                assert gateway.told == []
                # What was read meanwhile is not told any more.
                await read(bob, room, sent[1])
                gateway.status = 200
                await until(lambda: bool(gateway.events))
                await settled(sender)
                assert gateway.events == [sent[2]]
                assert sender.results["failed"] >= 3
                # After a day it is given up; what comes then is told again.
                gateway.failing, tried = True, gateway.tried
                await alice.say(room, "lost")
                await until(lambda: gateway.tried >= tried + 2)
                server.party.clock.now += sending.GIVE_UP_MS / 1000 + 1
                await settled(sender)
                gateway.failing = False
                last = await alice.say(room, "again")
                await until(lambda: last in gateway.events)
                assert gateway.events == [sent[2], last]

    run(work)


def test_rejected_keys_and_devices_that_go() -> None:
    async def work() -> None:
        async with matrix() as server:
            gateway = Gateway(rejects=["old"])
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                for key in ("old", "new"):
                    await bob.call("POST", "/pushers/set", pusher(key))
                await alice.say(room, "one")
                await until(lambda: len(gateway.told) == 2)
                await settled(sender)
                assert [one["pushkey"] for one in (await bob.call("GET", "/pushers"))["pushers"]] == ["new"]
                await bob.call("POST", "/logout", {})
                await alice.say(room, "two")
                await settled(sender)
                assert len(gateway.told) == 2 and not server.party.middle.accounts.pushers.of(bob.user_id)  # type: ignore[arg-type]
            assert await server.party.middle.store.load_pushers() == []

    run(work)


def test_a_hanging_gateway_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_WAITING", 2)

    async def work() -> None:
        async with matrix() as server:
            gateway, hanging = Gateway(), asyncio.Event()
            take = gateway.post

            async def post(url: str, body: bytes) -> Answer:
                if b"slow" in body:
                    await hanging.wait()
                return await take(url, body)

            gateway.post = post  # type: ignore[method-assign]
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                await bob.call("POST", "/pushers/set", pusher("slow"))
                await bob.call("POST", "/pushers/set", pusher("quick"))
                sent = [await alice.say(room, str(number)) for number in range(2)]
                await until(lambda: gateway.events == sent)
                sent += [await alice.say(room, str(number)) for number in range(2)]
                await until(lambda: gateway.events == sent)
                hanging.set()
                await settled(sender)
                slow = [one["event_id"] for one in gateway.told if one["devices"][0]["pushkey"] == "slow"]
                # The one that was on its way, and the newest of the rest.
                assert slow == [sent[0], *sent[2:]]

    run(work)


def test_what_was_not_told_is_told_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            gateway = Gateway()
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                await bob.call("POST", "/pushers/set", pusher())
                told = await alice.say(room, "told")
                await until(lambda: gateway.events == [told])
                await settled(sender)
                gateway.failing = True
                waits = [await alice.say(room, str(number)) for number in range(2)]
                await until(lambda: gateway.tried >= 3)
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            gateway = Gateway()
            async with pushing(server, gateway) as sender:
                await until(lambda: len(gateway.events) == 2)
                await settled(sender)
                assert gateway.events == waits, "in order, and not what was told before"

    run(work)


def test_badges_follow_what_happens_in_each_room() -> None:
    async def work() -> None:
        async with matrix() as server:
            gateway = Gateway()
            async with pushing(server, gateway) as sender:
                alice, bob, room = await pair(server)
                other = await alice.create(preset="public_chat")
                await bob.join(other)
                await alice.say(other, "unread before there was a pusher")
                await bob.call("POST", "/pushers/set", pusher())

                async def badge_after(*steps: Awaitable[Any]) -> int:
                    for step in steps:
                        await step
                    event = await alice.say(room, "and now?")
                    await until(lambda: event in gateway.events)
                    await settled(sender)
                    counts = next(one["counts"] for one in gateway.told if one.get("event_id") == event)
                    return int(counts.get("unread", 0))

                assert await badge_after() == 2
                assert await badge_after(alice.say(other, "one"), alice.say(other, "two")) == 5
                redacted = await alice.say(other, "three")
                redact = alice.call("PUT", f"/rooms/{q(other)}/redact/{q(redacted)}/r", {})
                assert await badge_after(redact) == 6
                # One's own words, another device's reading, a mute, leaving: each counts for its room.
                assert await badge_after(bob.say(room, "here")) == 4
                last = await alice.say(other, "four")
                assert await badge_after(read(bob, other, last)) == 2
                assert await badge_after(alice.say(other, "five")) == 4
                mute = bob.call("PUT", f"/pushrules/global/room/{q(other)}", {"actions": []})
                assert await badge_after(mute) == 4
                await bob.call("DELETE", f"/pushrules/global/room/{q(other)}")
                assert await badge_after(bob.call("POST", f"/rooms/{q(other)}/leave", {})) == 5

    run(work)


def test_pushers_are_set_listed_and_taken_away() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            await alice.call("POST", "/pushers/set", pusher(profile_tag="x"))
            shown = pusher(profile_tag="x")
            assert await alice.call("GET", "/pushers") == {"pushers": [shown]}
            await alice.call("POST", "/pushers/set", pusher(lang="de"))
            assert [one["lang"] for one in (await alice.call("GET", "/pushers"))["pushers"]] == ["de"]
            await bob.call("POST", "/pushers/set", pusher(append=True))
            assert len((await alice.call("GET", "/pushers"))["pushers"]) == 1
            await bob.call("POST", "/pushers/set", pusher())
            assert await alice.call("GET", "/pushers") == {"pushers": []}, "the phone is another's now"
            gone = {"kind": None, "app_id": "org.example.app", "pushkey": "key"}
            await bob.call("POST", "/pushers/set", gone)
            await bob.call("POST", "/pushers/set", gone)
            assert await bob.call("GET", "/pushers") == {"pushers": []}

    run(work)


def test_what_is_refused() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            for body, wanted in (
                ({}, "M_MISSING_PARAM"),
                ({"kind": "http", "app_id": "a", "pushkey": "k"}, "M_MISSING_PARAM"),
                (pusher(kind="email"), "M_INVALID_PARAM"),
                (pusher(kind=5), "M_INVALID_PARAM"),
                (pusher(data={}), "M_MISSING_PARAM"),
                (pusher(data=5), "M_BAD_JSON"),
                (pusher(data={"url": "http://push.example/_matrix/push/v1/notify"}), "M_INVALID_PARAM"),
                (pusher(data={"url": URL, "format": "all"}), "M_INVALID_PARAM"),
                (pusher(app_id="x" * 65), "M_INVALID_PARAM"),
                (pusher("x" * 513), "M_INVALID_PARAM"),
                (pusher(lang=5), "M_BAD_JSON"),
                (pusher(append="yes"), "M_BAD_JSON"),
            ):
                assert await alice.refused("POST", "/pushers/set", body) == (400, wanted), body
            for number in range(50):
                await alice.call("POST", "/pushers/set", pusher(str(number)))
            refused = await alice.refused("POST", "/pushers/set", pusher())
            assert refused == (400, "M_RESOURCE_LIMIT_EXCEEDED")

    run(work)


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        (URL, True), ("https://push.example:8443/_matrix/push/v1/notify?a=b", True),
        ("http://push.example/_matrix/push/v1/notify", False), ("https://push.example/", False),
        ("https://u@push.example/_matrix/push/v1/notify", False), ("https:///_matrix/push/v1/notify", False),
        ("https://push.example:x/_matrix/push/v1/notify", False), ("https://[/_matrix/push/v1/notify", False),
        (URL + "#a", False), (URL + "\n", False), ("", False),
    ],
)  # fmt: skip
def test_where_a_gateway_can_be(url: str, usable: bool) -> None:
    assert check_gateway(url) is usable


def test_a_gateway_over_https(tmp_path: Path) -> None:
    """The whole way: a real request over TLS, and addresses that this server does not go to."""
    certificate = make_certificate(tmp_path, "push.example")
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        got.extend((head, await reader.readexactly(length)))
        body = b'{"rejected":[]}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def addresses(name: str) -> list[str]:
        return ["127.0.0.1"]

    async def work() -> None:
        gateway = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate.context())
        port = gateway.sockets[0].getsockname()[1]
        url = f"https://push.example:{port}/_matrix/push/v1/notify"
        context = client_context([str(certificate.path)])
        async with matrix() as server:
            for networks in (("127.0.0.0/8",), ()):
                outbound = Outbound(AddressPolicy(networks), addresses, context, "tripoint/test")
                hearing = Gateway()
                hearing.post = _post(outbound)  # type: ignore[method-assign]
                async with pushing(server, hearing) as sender:
                    name = "alice" if networks else "carol"
                    alice, bob = await server.register(name), await server.register(f"{name}s-friend")
                    room = await alice.create(preset="public_chat")
                    await bob.join(room)
                    await bob.call("POST", "/pushers/set", pusher(data={"url": url, "format": "event_id_only"}))
                    event = await alice.say(room, "hello")
                    if networks:
                        await until(lambda: len(got) == 2)
                        assert got[0].startswith(b"POST /_matrix/push/v1/notify HTTP/1.1")
                        assert orjson.loads(got[1])["notification"]["event_id"] == event
                        await settled(sender)
                    else:
                        await until(lambda sender=sender: sender.results["failed"] >= 1)  # type: ignore[misc]
                        assert len(got) == 2
                await outbound.close()
        gateway.close()

    run(work)


def _post(outbound: Outbound) -> Callable[[str, bytes], Awaitable[Answer]]:
    async def post(url: str, body: bytes) -> Answer:
        return await outbound.post(url, body, limit_bytes=65536, timeout_s=10)

    return post
