"""A random walk: what clients of sliding sync put together from their answers is what the server has.

spec: MSC4186: timelines without a gap unless limited, no event told twice unless initial or expanded, required_state
as it is now, memberships that a lazily loading client was told of as they are; counts, names and account data.
Answers get lost, windows and configs move, connections are forgotten.
"""

import asyncio
import os
import random
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, Server, matrix, q
from tests.matrix.sliding import Sliding
from tests.matrix.test_sync_walk import step
from tests.support.middle import run
from tests.support.slow_store import SlowStore
from tripoint.matrix.sliding import rooms as sliding_rooms

SOAK = os.environ.get("TRIPOINT_HYPOTHESIS") == "soak"
SEEDS = range(300 if SOAK else 8)
STEPS = 300 if SOAK else 100

# With this a client is not told of members, and what it knew of them before grows old.
ONLY_THE_TOPIC = [["m.room.topic", ""]]
STATES: tuple[list[list[str]], ...] = (
    [["*", "*"]],
    [["*", "*"], ["m.room.member", "$LAZY"]],
    [["m.room.topic", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]],
    [["org.example.x", "*"], ["m.room.member", "*"]],
    ONLY_THE_TOPIC,
)
COUNTS = ("notification_count", "highlight_count")
EXTENSIONS = {name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee", "to_device")}


class Room:
    """What a client believes of a room."""

    def __init__(self) -> None:
        self.state: dict[tuple[str, str], str] = {}
        self.members: dict[str, str] = {}  # known since the last gap
        self.timeline: list[str] = []
        self.facts: dict[str, Any] = {}
        self.stripped = False


class Device:
    def __init__(self, client: Client, dice: random.Random) -> None:
        self.dice = dice
        self.client = client
        self.sliding = Sliding(client, {})
        self.rooms: dict[str, Room] = {}
        self.global_data: dict[str, Any] = {}
        self.room_data: dict[str, dict[str, Any]] = {}
        self.typing: dict[str, list[str]] = {}
        self.read: dict[str, dict[tuple[str, str], str]] = {}
        self.state = dice.choice(STATES)
        self.limit = 5
        self.choose(last=99)

    def choose(self, last: int) -> None:
        wanted = {"ranges": [[0, last]], "required_state": self.state, "timeline_limit": self.limit}
        self.sliding.body = {"lists": {"all": wanted}, "extensions": EXTENSIONS}

    async def sync(self) -> None:
        if self.dice.random() < 0.3:
            self.state = self.dice.choice(STATES)
        if self.dice.random() < 0.3:
            self.limit = self.dice.choice((1, 2, 5, 30))
        self.choose(self.dice.choice((0, 1, 99)))
        if self.dice.random() < 0.02:
            self.sliding.pos = None
        if self.dice.random() < 0.2:
            await self.sliding.ask(self.sliding.pos)  # this answer is lost
        await self.hear()

    async def hear(self) -> None:
        if self.sliding.pos is None:
            for kept in (self.rooms, self.global_data, self.room_data, self.typing, self.read):
                kept.clear()
        status, answer = await self.sliding.ask(self.sliding.pos)
        if status != 200:
            assert answer["errcode"] == "M_UNKNOWN_POS", answer
            self.sliding.pos = None
            return await self.hear()
        self.sliding.pos = answer["pos"]
        for room_id, chunk in answer["rooms"].items():
            self._apply(room_id, chunk)
        extensions = answer["extensions"]
        data = extensions.get("account_data", {})
        for event in data.get("global", ()):
            self.global_data[event["type"]] = event["content"]
        for room_id, events in data.get("rooms", {}).items():
            assert room_id in self.rooms
            for event in events:
                self.room_data.setdefault(room_id, {})[event["type"]] = event["content"]
        for room_id, event in extensions.get("typing", {}).get("rooms", {}).items():
            self.typing[room_id] = event["content"]["user_ids"]
        for room_id, event in extensions.get("receipts", {}).get("rooms", {}).items():
            for event_id, kinds in event["content"].items():
                for kind, users in kinds.items():
                    for user_id in users:
                        self.read.setdefault(room_id, {})[user_id, kind] = event_id
        return None

    def _apply(self, room_id: str, chunk: dict[str, Any]) -> None:
        initial = chunk.get("initial", False)
        expanded = chunk.get("unstable_expanded_timeline", False)
        assert initial or room_id in self.rooms
        room = Room() if initial else self.rooms[room_id]
        self.rooms[room_id] = room
        room.stripped = "invite_state" in chunk
        limited = chunk.get("limited", False)
        if limited or self.state == ONLY_THE_TOPIC:
            room.members.clear()
        for event in chunk.get("required_state", ()):
            room.state[event["type"], event["state_key"]] = event["event_id"]
            if event["type"] == "m.room.member":
                room.members[event["state_key"]] = event["event_id"]
        told = [event["event_id"] for event in chunk.get("timeline", ())]
        assert len(told) <= self.limit or "joined_count" not in chunk
        if expanded:
            assert told[-len(room.timeline) :] == room.timeline[-len(told) :] or set(told) - set(room.timeline)
            room.timeline = [event_id for event_id in room.timeline if event_id not in told]
        assert not set(told) & set(room.timeline), "told twice"
        room.timeline += told
        if any(pair == ["m.room.member", "$LAZY"] for pair in self.state) and not room.stripped:
            for event in chunk.get("timeline", ()):
                assert event["sender"] in room.members or event["type"] == "m.room.create", "who is that?"
        for name in ("name", "avatar", "is_dm", "joined_count", "invited_count", "heroes", *COUNTS):
            if name in chunk:
                room.facts[name] = chunk[name]

    async def check(self) -> None:
        """Ask for all rooms until there is nothing new, and compare with what the server says."""
        self.choose(99)
        await self.hear()
        status, answer = await self.sliding.ask(self.sliding.pos)
        assert (status, answer["rooms"]) == (200, {})
        joined = (await self.client.call("GET", "/joined_rooms"))["joined_rooms"]
        assert set(joined) <= set(self.rooms)
        assert answer["lists"]["all"]["count"] >= len(joined)
        for room_id in joined:
            await self._check_room(room_id, self.rooms[room_id])
        wanted = await self.client.sync(filter='{"room":{"timeline":{"limit":1}}}')
        for event in wanted["account_data"]["events"]:
            assert self.global_data[event["type"]] == event["content"]
        for room_id, chunk in wanted.get("rooms", {}).get("join", {}).items():
            for event in chunk["account_data"]["events"]:
                assert self.room_data[room_id][event["type"]] == event["content"]
            assert {name: self.rooms[room_id].facts[name] for name in COUNTS} == chunk["unread_notifications"]
            for event in chunk["ephemeral"]["events"]:
                if event["type"] == "m.typing":
                    assert self.typing.get(room_id, []) == event["content"]["user_ids"]
                else:
                    for event_id, kinds in event["content"].items():
                        for kind, users in kinds.items():
                            for user_id in users:
                                if user_id == self.client.user_id or event_id in self.rooms[room_id].timeline[-1:]:
                                    assert self.read[room_id][user_id, kind] == event_id

    async def _check_room(self, room_id: str, room: Room) -> None:
        events = await self.client.call("GET", f"/rooms/{q(room_id)}/state")
        real = {(event["type"], event["state_key"]): event["event_id"] for event in events}
        lazy = ["m.room.member", "$LAZY"] in self.state
        for key, event_id in real.items():
            if self._wants(key, lazy):
                assert room.state.get(key) == event_id, key
        if lazy:
            for user_id, event_id in room.members.items():
                assert real["m.room.member", user_id] == event_id
        members = [event["content"]["membership"] for event in events if event["type"] == "m.room.member"]
        assert room.facts["joined_count"] == members.count("join")
        assert room.facts["invited_count"] == members.count("invite")
        page = await self.client.call("GET", f"/rooms/{q(room_id)}/messages", dir="b", limit=str(self.limit))
        newest = [event["event_id"] for event in page["chunk"]][::-1]
        assert room.timeline[-len(newest) :] == newest

    def _wants(self, key: tuple[str, str], lazy: bool) -> bool:
        type_, state_key = key
        if type_ == "m.room.member" and lazy:
            return ["m.room.member", "$ME"] in self.state and state_key == self.client.user_id
        return any(one in ("*", type_) and other in ("*", state_key) for one, other in self.state)


async def more(dice: random.Random, clients: list[Client], rooms: list[str]) -> None:
    """What is not an event."""
    actor, room_id = dice.choice(clients), dice.choice(rooms)
    room, me, number = f"/rooms/{q(room_id)}", q(actor.user_id), dice.randrange(1000)
    messages = await actor.server.request("GET", f"/_matrix/client/v3{room}/messages", token=actor.token, dir="b")
    events = orjson.loads(messages.body).get("chunk", [])
    event_id = q(events[0]["event_id"]) if events else "$x"
    what: list[tuple[str, str, Any]] = [
        ("PUT", f"/user/{me}/account_data/org.example.{number % 2}", {"n": number}),
        ("PUT", f"/user/{me}{room}/account_data/org.example.{number % 2}", {"n": number}),
        ("PUT", f"{room}/typing/{me}", {"typing": number % 2 == 0, "timeout": 30_000}),
        ("POST", f"{room}/receipt/m.read/{event_id}", {}),
        ("POST", f"{room}/receipt/m.read.private/{event_id}", {}),
        ("PUT", f"/user/{me}/account_data/m.direct", {"@x:y": dice.sample(rooms, 1)}),
    ]
    method, path, body = dice.choice(what)
    await actor.server.request(method, f"/_matrix/client/v3{path}", body, token=actor.token)


async def devices_of(server: Server, dice: random.Random) -> list[Device]:
    devices = []
    for name in ("alice", "bob", "carol"):
        devices.append(Device(await server.register(name), dice))
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": PASSWORD}
        answer = orjson.loads((await server.request("POST", "/_matrix/client/v3/login", body)).body)
        devices.append(Device(Client(server, answer), dice))
    return devices


def test_it_is_so_where_the_server_remembers_nearly_no_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding_rooms, "MAX_MEMBERS", 1)
    test_what_clients_put_together_is_what_the_server_has(1_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_clients_put_together_is_what_the_server_has(seed: int) -> None:
    async def work() -> None:
        dice = random.Random(seed)
        store = SlowStore()
        async with matrix(store=store) as server:
            devices = await devices_of(server, dice)
            clients = [device.client for device in devices]
            rooms = [await dice.choice(clients).create(preset="public_chat") for _ in range(4)]
            for _ in range(STEPS):
                store.before, store.after = dice.randrange(4), dice.randrange(4)
                doing = [step(dice, clients, rooms) for _ in range(dice.randrange(4))]
                doing += [more(dice, clients, rooms) for _ in range(dice.randrange(2))]
                syncing = [device.sync() for device in devices if dice.random() < 0.2]
                await asyncio.gather(*doing, *syncing)
            for device in devices:
                await device.check()

    run(work, timeout_s=120)
