"""What push rules and unread counts cost: asking the rules, a message in a room of many members who are away, a count.

    python -m bench.unread

spec: docs/decisions/push.md. SQLite in a temporary folder; times are of this process.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.support.middle import SERVER, Party, party

from bench.measure import yardstick
from tripoint.core.ids import RoomId, UserId
from tripoint.core.push_conditions import Surroundings
from tripoint.core.push_rules import read_rules
from tripoint.rooms.commands import CreateRoom, Join, SendEvent, Template
from tripoint.store.sqlite import SqliteStore

MEMBERS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
MESSAGES = 300


async def room_of(p: Party, owner: UserId, members: int) -> RoomId:
    done = await p.do(CreateRoom(actor=owner, template=Template.PUBLIC_CHAT, name=str(members)))
    assert done.room_id is not None
    for number in range(members - 1):
        await p.do(Join(actor=UserId(f"@user{number}:{SERVER}"), room_id=done.room_id))
    return done.room_id


async def say(p: Party, actor: UserId, room_id: RoomId) -> float:
    """Seconds of this process for each of MESSAGES messages."""
    started = time.process_time()
    for number in range(MESSAGES):
        content = {"msgtype": "m.text", "body": f"hello {number}"}
        await p.do(SendEvent(actor=actor, room_id=room_id, type="m.room.message", content=content))
    return (time.process_time() - started) / MESSAGES


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with party(store=SqliteStore(Path(folder) / "t.db")) as p:
            (owner,) = await p.accounts("alice")
            small, large = await room_of(p, owner, 2), await room_of(p, owner, MEMBERS)
            for name, room_id in (("2", small), (str(MEMBERS), large), ("2", small), (str(MEMBERS), large)):
                print(f"a message in a room of {name}: {await say(p, owner, room_id) * 1e6:.0f} µs")
            reader = UserId(f"@user0:{SERVER}")
            for what in ("first", "again"):
                started = time.perf_counter()
                unread = await p.middle.reader.unread(large, reader)
                spent = (time.perf_counter() - started) * 1e6
                print(f"a count of {unread.main.notifications} unread, {what}: {spent:.0f} µs")
            await say_one(p, owner, large, reader)
            room = await p.middle.loaded.get(large)
            around, rules = Surroundings(room.joined_count(), "User", room.power), read_rules(reader, None)
            event, started = room.recent[-1].event, time.perf_counter()
            for _ in range(10_000):
                rules.judge(event, around)
            print(f"the default rules for one message: {(time.perf_counter() - started) * 100:.1f} µs")


async def say_one(p: Party, owner: UserId, room_id: RoomId, reader: UserId) -> None:
    content = {"msgtype": "m.text", "body": "one more"}
    await p.do(SendEvent(actor=owner, room_id=room_id, type="m.room.message", content=content))
    started = time.perf_counter()
    await p.middle.reader.unread(room_id, reader)
    print(f"a count that goes on by one message: {(time.perf_counter() - started) * 1e6:.0f} µs")


if __name__ == "__main__":
    yardstick()
    asyncio.run(main())
