"""A random walk of many devices: what each puts together from its syncs is what the server has.

spec: Matrix client-server "Syncing": after applying `state` and then `timeline`, a client has the state of the
room; no event of the timeline is missed or told twice; what a limited timeline left out is found by paging
back from prev_batch. Lazily loaded members: whoever sent something is known.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.matrix.client import PASSWORD, Client, Server, matrix, q
from tests.support.middle import run
from tests.support.slow_store import SlowStore
from tripoint.store.sqlite import SqliteStore

SOAK = os.environ.get("TRIPOINT_HYPOTHESIS") == "soak"
SEEDS = range(200 if SOAK else 6)
RESTARTS = range(60 if SOAK else 2)
STEPS = 400 if SOAK else 120

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"room": {"timeline": {"limit": 1}}},
    {"room": {"timeline": {"limit": 3}}},
    {"room": {"timeline": {"limit": 100}}},
    {"room": {"timeline": {"limit": 5}, "state": {"lazy_load_members": True}}},
    {"room": {"timeline": {"limit": 5}, "state": {"lazy_load_members": True, "include_redundant_members": True}}},
    {"room": {"timeline": {"types": ["m.room.message"], "limit": 4}}},
    {"room": {"timeline": {"not_types": ["m.room.member"]}}},
)


class Device:
    """A client that believes what it is told, and nothing else."""

    def __init__(self, client: Client, definition: dict[str, Any], *, state_after: bool) -> None:
        self.client = client
        self.definition = definition
        self.state_after = state_after
        self.lazy = "lazy_load_members" in definition.get("room", {}).get("state", {})
        # room -> (type, state key) -> event id; room -> timeline, oldest first
        self.state: dict[str, dict[tuple[str, str], str]] = {}
        self.timeline: dict[str, list[str]] = {}
        self.section: dict[str, str] = {}

    async def sync(self) -> None:
        more = {"use_state_after": "true"} if self.state_after else {}
        answer = await self.client.sync(filter=orjson.dumps(self.definition).decode(), **more)
        rooms = answer.get("rooms", {})
        for section in ("invite", "knock"):
            for room_id in rooms.get(section, {}):
                self.section[room_id] = section
        for section in ("leave", "join"):
            for room_id, chunk in rooms.get(section, {}).items():
                self._apply(room_id, section, chunk)
                self.section[room_id] = section

    def _apply(self, room_id: str, section: str, chunk: dict[str, Any]) -> None:
        state = self.state.setdefault(room_id, {})
        timeline = self.timeline.setdefault(room_id, [])
        told = chunk["state_after" if self.state_after else "state"]["events"]
        assert ("state" if self.state_after else "state_after") not in chunk
        for event in told:
            state[event["type"], event["state_key"]] = event["event_id"]
        for event in chunk["timeline"]["events"]:
            assert event["event_id"] not in timeline, "told twice"
            timeline.append(event["event_id"])
            if "state_key" in event and not self.state_after:
                state[event["type"], event["state_key"]] = event["event_id"]
            enters = event["type"] == "m.room.create" or event.get("state_key") == event["sender"]
            assert enters or section == "leave" or ("m.room.member", event["sender"]) in state, "who is that?"

    async def check(self) -> None:
        """Compare with what the server says of every room that the user is in."""
        joined = (await self.client.call("GET", "/joined_rooms"))["joined_rooms"]
        assert {room_id for room_id, section in self.section.items() if section == "join"} == set(joined)
        for room_id in joined:
            events = await self.client.call("GET", f"/rooms/{q(room_id)}/state")
            real = {(event["type"], event["state_key"]): event["event_id"] for event in events}
            if self.lazy:
                assert {key: real.get(key) for key in self.state[room_id]} == self.state[room_id]
                assert {key for key in real if key[0] != "m.room.member"} <= set(self.state[room_id])
            else:
                assert self.state[room_id] == real

    async def check_history(self, room_id: str) -> None:
        """The timeline's own part of history is without a gap, as far as nothing was left out."""
        everything = await page_back(self.client, room_id, self.definition)
        told = self.timeline[room_id]
        assert [event_id for event_id in everything if event_id in set(told)] == told


async def page_back(client: Client, room_id: str, definition: dict[str, Any]) -> list[str]:
    """All of a room's history that the client may see and wants, oldest first."""
    found: list[str] = []
    token = None
    wanted = {key: value for key, value in definition.get("room", {}).get("timeline", {}).items() if key != "limit"}
    while True:
        query = {"dir": "b", "limit": "7", "filter": orjson.dumps(wanted).decode()}
        page = await client.call("GET", f"/rooms/{q(room_id)}/messages", **(query | ({"from": token} if token else {})))
        found.extend(event["event_id"] for event in page["chunk"])
        token = page.get("end")
        if token is None:
            return found[::-1]


async def step(dice: random.Random, clients: list[Client], rooms: list[str]) -> None:
    """Something that somebody does; refusals are part of life."""
    actor, other = dice.choice(clients), dice.choice(clients)
    room_id = dice.choice(rooms)
    room = f"/rooms/{q(room_id)}"
    number = dice.randrange(1_000_000)
    message = {"msgtype": "m.text", "body": str(number)}
    what: list[tuple[str, str, Any]] = [
        ("PUT", f"{room}/send/m.room.message/{number}", message),
        ("PUT", f"{room}/send/m.room.message/{number}", message),
        ("PUT", f"{room}/send/m.room.message/{number}", message),
        ("PUT", f"{room}/state/m.room.topic", {"topic": str(number)}),
        ("PUT", f"{room}/state/org.example.x/{number % 3}", {"n": number}),
        ("POST", f"/join/{q(room_id)}", {}),
        ("POST", f"{room}/leave", {}),
        ("POST", f"{room}/invite", {"user_id": other.user_id}),
        ("POST", f"{room}/kick", {"user_id": other.user_id}),
        ("PUT", f"/profile/{q(actor.user_id)}/displayname", {"displayname": str(number % 4)}),
        (
            "PUT",
            f"{room}/state/m.room.history_visibility",
            {"history_visibility": dice.choice(["shared", "joined", "invited", "world_readable"])},
        ),
    ]
    method, path, body = dice.choice(what)
    await actor.server.request(method, f"/_matrix/client/v3{path}", body, token=actor.token)


async def devices_of(server: Server, dice: random.Random, names: list[str]) -> list[Device]:
    devices = []
    for name in names:
        first = await server.register(name)
        for definition in dice.sample(FILTERS, 3):
            body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": PASSWORD}
            answer = await server.request("POST", "/_matrix/client/v3/login", body)
            client = Client(server, orjson.loads(answer.body))
            client.user_id = first.user_id
            devices.append(Device(client, definition, state_after=dice.random() < 0.3))
    return devices


async def walk(dice: random.Random, devices: list[Device], rooms: list[str], store: SlowStore | None) -> None:
    """A while of life, and what everybody believes at its end."""
    clients = list({device.client.user_id: device.client for device in devices}.values())
    while len(rooms) < 3:
        rooms.append(await dice.choice(clients).create(preset="public_chat"))
    for _ in range(STEPS):
        if store is not None:
            store.before, store.after = dice.randrange(4), dice.randrange(4)
        doing = [step(dice, clients, rooms) for _ in range(dice.randrange(4))]
        syncing = [device.sync() for device in devices if dice.random() < 0.15]
        await asyncio.gather(*doing, *syncing)
    await asyncio.gather(*(device.sync() for device in devices))
    for device in devices:
        await device.check()
        for room_id, section in device.section.items():
            if section == "join":
                await device.check_history(room_id)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_devices_put_together_is_what_the_server_has(seed: int) -> None:
    async def work() -> None:
        dice = random.Random(seed)
        store = SlowStore()
        async with matrix(store=store) as server:
            devices = await devices_of(server, dice, ["alice", "bob", "carol"])
            await walk(dice, devices, [], store)

    run(work, timeout_s=120)


@pytest.mark.parametrize("seed", RESTARTS)
def test_it_is_so_over_restarts_too(seed: int, tmp_path: Path) -> None:
    """Some devices are behind when the server stops: their tokens hold, and rooms are read from the disk."""

    async def work() -> None:
        dice = random.Random(seed)
        rooms: list[str] = []
        devices: list[Device] = []
        for _ in range(3):
            async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
                devices = devices or await devices_of(server, dice, ["alice", "bob", "carol"])
                for device in devices:
                    device.client.server = server
                await walk(dice, devices, rooms, None)
                clients = [device.client for device in devices]
                for _ in range(60):
                    await step(dice, clients, rooms)
                    if dice.random() < 0.1:
                        await dice.choice(devices).sync()

    run(work, timeout_s=120)
