"""Whole servers over TLS: what is said on one is there on the other, after a restart too; bodies have their limit.

The many ways in which networks fail are test_fleet.py's, in time of its own. spec: Matrix server-server-api
"Transactions"
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from tests.federation.servers import Islands, islands
from tests.federation.test_joining import ONE, TWO, account, make_room, room_of, text
from tests.support.middle import run
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.federation.intake import BODY_BYTES
from tripoint.rooms.changes import ReceiptMoved
from tripoint.rooms.commands import Join, SendEvent, SetReceipt, SetTyping
from tripoint.rooms.room import Room
from tripoint.runtime.app import App


async def say(app: App, user_id: UserId, room_id: RoomId, body: str) -> EventId:
    command = SendEvent(actor=user_id, room_id=room_id, type="m.room.message", content=text(body))
    done = await app.middle.service.do(command)
    assert done.event_id is not None
    return done.event_id


async def comes_true(what: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110 (several servers at once: there is no one event)
            await asyncio.sleep(0.02)


def said(room: Room) -> list[object]:
    return [item.event.content.get("body") for item in room.recent if item.event.type == "m.room.message"]


def test_what_is_said_on_one_is_there_on_the_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, alias_localpart="tea")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            last = await say(one, alice, room_id, "hello")
            await say(two, bob, room_id, "hello yourself")
            moved: list[ReceiptMoved] = []
            one.middle.hub.watch_all_rooms(lambda c: moved.append(c) if isinstance(c, ReceiptMoved) else None)
            rooms = [await room_of(app, room_id) for app in (one, two)]
            await comes_true(lambda: all(len(room.recent) >= 2 and len(said(room)) == 2 for room in rooms))
            await two.middle.service.do(SetTyping(actor=bob, room_id=room_id, typing=True))
            await two.middle.service.do(SetReceipt(actor=bob, room_id=room_id, event_id=last))
            await comes_true(lambda: one.middle.reader.typing(room_id) == {bob})
            await comes_true(lambda: [(r.user_id, r.event_id) for r in moved] == [(bob, last)])
            # While the other is stopped its events wait for it; the port stays refused until it is back.
            await made.stop(TWO)
            for number in range(5):
                await say(one, alice, room_id, f"missed {number}")
            await comes_true(lambda: one.traffic.sender.counts()["down"] == 1)
            two = await made.start(TWO)
            # It says something, which shows that it is up.
            one.traffic.sender._lanes[TWO].tried_at_ms = 0
            await say(two, bob, room_id, "back")
            room = await room_of(two, room_id)
            await comes_true(lambda: {f"missed {number}" for number in range(5)} <= set(said(room)))
            assert one.traffic.sender.results["sent"] >= 2 and one.traffic.sender.results["failed"] >= 1

    run(work, 60)


def test_metrics_count_servers_that_are_down(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await made.stop(TWO)
            await say(one, alice, room_id, "nobody there")
            await comes_true(lambda: one.traffic.sender.counts()["down"] == 1)
            counts = one._metrics(one.middle)
            names = {sample.name: sample for metric in counts.collect() for sample in metric.samples}
            assert "tripoint_federation" in names and "tripoint_federation_transactions_total" in names
            down = [
                s.value for m in counts.collect() if m.name == "tripoint_federation"
                for s in m.samples if s.labels == {"state": "down"}
            ]  # fmt: skip
            assert down == [1.0]

    run(work, 60)


def test_a_body_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE) as made:
            head = "PUT /_matrix/federation/v1/send/1 HTTP/1.1\r\nhost: one.example\r\ncontent-length: {}\r\n\r\n"
            for length, status in ((100_000_000, b"413"), (BODY_BYTES + 1, b"413"), (20, b"401")):
                reader, writer = await _connect(made)
                writer.write(head.format(length).encode() + b"x" * 20)
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
                assert status in answer
                writer.close()

    run(work, 60)


async def _connect(made: Islands) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(made.folder / ONE / "self-made.crt"))
    context.check_hostname = False
    return await asyncio.open_connection("127.0.0.1", made.table.ports[ONE], ssl=context)
