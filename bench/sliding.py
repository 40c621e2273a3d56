"""Sliding sync: the first page, nothing new, one message, and all rooms, for somebody in 100, 300 and 490 rooms.

Run: .venv/bin/python -m bench.sliding [--profile]. Requests go straight into the listener, the store is in memory; what
is asked for is what Element X asks for.
"""

from typing import Any

from tests.matrix.client import matrix
from tests.matrix.sliding import Sliding
from tests.support.middle import run

from bench.measure import cpu, yardstick

TIMES = 100
ROOMS = (100, 300, 490)
STATE = [
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["m.room.join_rules", ""],
    ["m.room.create", ""],
    ["m.room.tombstone", ""],
    ["m.space.child", "*"],
]
EXTENSIONS = ("to_device", "e2ee", "account_data", "receipts", "typing")


def request(last: int) -> dict[str, Any]:
    wanted = {
        "ranges": [[0, last]],
        "timeline_limit": 1,
        "required_state": STATE,
        "filters": {"not_room_types": ["m.space"]},
        "include_heroes": True,
    }
    return {
        "conn_id": "room-list",
        "lists": {"all_rooms": wanted},
        "extensions": {name: {"enabled": True} for name in EXTENSIONS},
    }


async def measure(count: int) -> None:
    async with matrix() as server:
        alice, bob = await server.register("alice"), await server.register("bob")
        rooms = []
        for number in range(count):
            room_id = await alice.create(preset="public_chat", name=f"Room {number}")
            await bob.join(room_id)
            for text in ("one", "two"):
                await alice.say(room_id, text)
            rooms.append(room_id)
        phone = Sliding(bob, request(19))
        await phone.sync()
        with cpu(f"{count} rooms: first page of 20", TIMES, "page"):
            for _ in range(TIMES):
                phone.pos = None
                await phone.sync()
        phone.body = request(count)
        with cpu(f"{count} rooms: all the others", count, "room"):
            await phone.sync()
        with cpu(f"{count} rooms: nothing new", TIMES, "sync"):
            for _ in range(TIMES):
                await phone.sync()
        with cpu(f"{count} rooms: a message", TIMES, "message"):
            for number in range(TIMES):
                await alice.say(rooms[number % count], "three")
        await phone.sync()
        with cpu(f"{count} rooms: a message and a sync that tells it", TIMES, "message"):
            for number in range(TIMES):
                await alice.say(rooms[number % count], "three")
                await phone.sync()


def main() -> None:
    yardstick()
    for count in ROOMS:
        run(lambda count=count: measure(count), timeout_s=600)
    yardstick()


if __name__ == "__main__":
    main()
