"""Somebody who uses a Matrix server by plain HTTP, whichever it is: what was asked, what /sync has told so far."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import pytest
from tests.interop.peer import PASSWORD

PATIENCE_S = 30.0
_CLIENT = "/_matrix/client/v3"
_transactions = itertools.count()

Json = dict[str, Any]


class Homeserver(Protocol):
    """A server that a person has an account on. Where it listens may change when it is started again."""

    name: str

    @property
    def http(self) -> str: ...


class Refused(Exception):
    """The server said no: `status`, `errcode`."""

    def __init__(self, status: int, body: Json) -> None:
        self.status = status
        self.errcode = body.get("errcode")
        super().__init__(f"{status} {body}")


class Person:
    """One account. Everything but `until` asks at once and raises Refused."""

    def __init__(self, server: Homeserver, name: str) -> None:
        self.server = server
        self.user_id = f"@{name}:{server.name}"
        self.token = ""
        self.since = ""
        # What /sync has said: memberships, and by room its events (`timeline` with what was paged to, `synced` their
        # ids without that), who types, and whose receipt is at which event.
        self.membership: dict[str, str] = {}
        self.timeline: dict[str, list[Json]] = defaultdict(list)
        self.synced: dict[str, list[str]] = defaultdict(list)
        self.typing: dict[str, list[str]] = {}
        self.receipts: dict[str, dict[str, str]] = defaultdict(dict)

    async def register(self) -> "Person":
        body = {
            "username": self.user_id.split(":")[0][1:],
            "password": PASSWORD,
            "auth": {"type": "m.login.dummy"},
        }
        self.token = (await self.call("POST", "/register", body))["access_token"]
        return self

    async def call(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """`path` is below /_matrix/client/v3, its parts quoted."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
            session.request(
                method, self.server.http + _CLIENT + path, json=body, params=query, headers=headers
            ) as answer,
        ):
            value: Json = await answer.json()
            if answer.status != 200:
                raise Refused(answer.status, value)
            return value

    # -- rooms

    async def create(self, version: str = "12", **how: object) -> str:
        body = {"preset": "public_chat", "room_version": version, **how}
        return str((await self.call("POST", "/createRoom", body))["room_id"])

    async def join(self, room: str, via: str | None = None) -> str:
        query = {"server_name": via, "via": via} if via else {}
        return str((await self.call("POST", f"/join/{quoted(room)}", {}, **query))["room_id"])

    async def knock(self, room: str, via: str) -> None:
        await self.call("POST", f"/knock/{quoted(room)}", {"reason": "please"}, server_name=via, via=via)

    async def leave(self, room: str) -> None:
        await self.call("POST", f"/rooms/{quoted(room)}/leave", {})

    async def act(self, what: str, room: str, target: "Person") -> None:
        """`what`: invite, kick, ban, unban."""
        await self.call("POST", f"/rooms/{quoted(room)}/{what}", {"user_id": target.user_id})

    async def send(self, room: str, content: Json | str, kind: str = "m.room.message") -> str:
        body = {"msgtype": "m.text", "body": content} if isinstance(content, str) else content
        path = f"/rooms/{quoted(room)}/send/{kind}/t{next(_transactions)}"
        return str((await self.call("PUT", path, body))["event_id"])

    async def redact(self, room: str, event_id: str) -> str:
        path = f"/rooms/{quoted(room)}/redact/{quoted(event_id)}/t{next(_transactions)}"
        return str((await self.call("PUT", path, {"reason": "oops"}))["event_id"])

    async def set_state(self, room: str, kind: str, content: Json, key: str = "") -> str:
        path = f"/rooms/{quoted(room)}/state/{kind}/{quoted(key)}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def state_content(self, room: str, kind: str, key: str = "") -> Json:
        return await self.call("GET", f"/rooms/{quoted(room)}/state/{kind}/{quoted(key)}")

    async def state(self, room: str) -> dict[tuple[str, str], str]:
        """Ids of the current state by (type, state key)."""
        events: Any = await self.call("GET", f"/rooms/{quoted(room)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    async def event(self, room: str, event_id: str) -> Json:
        return await self.call("GET", f"/rooms/{quoted(room)}/event/{quoted(event_id)}")

    async def history(self, room: str, start: str = "", upto: Callable[[Json], bool] | None = None) -> list[Json]:
        """The events of the room that this person may see, oldest first: paged from its end, or from the token
        `start`, to its beginning, or to the first event that `upto` is true of."""
        events: list[Json] = []
        query = {"dir": "b", "limit": "20", **({"from": start} if start else {})}
        while True:
            page = await self.call("GET", f"/rooms/{quoted(room)}/messages", **query)
            for event in page["chunk"]:
                if upto is not None and upto(event):
                    return events[::-1]
                events.append(event)
            if not page.get("end") or page["end"] == query.get("from"):
                return events[::-1]
            query["from"] = page["end"]

    # -- what comes by itself

    async def sync(self, timeout_ms: int = 1000) -> None:
        query = {"timeout": str(timeout_ms), **({"since": self.since} if self.since else {})}
        answer = await self.call("GET", "/sync", **query)
        self.since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for membership in ("join", "invite", "knock", "leave"):
            for room_id, room in rooms.get(membership, {}).items():
                self.membership[room_id] = membership
                await self._read(room_id, room.get("timeline", {}))
                for edu in room.get("ephemeral", {}).get("events", []):
                    self._hear(room_id, edu)

    async def _read(self, room_id: str, timeline: Json) -> None:
        """As a client does: what a limited timeline leaves out is paged to."""
        known = {event["event_id"] for event in self.timeline[room_id]}
        events = timeline.get("events", [])
        ids = [event["event_id"] for event in events]
        self.synced[room_id] += ids
        if timeline.get("limited") and known:
            missed = await self.history(room_id, timeline["prev_batch"], lambda event: event["event_id"] in known)
            # Pages follow the graph, and /sync what came when: after a fork they overlap on Synapse.
            self.timeline[room_id] += [event for event in missed if event["event_id"] not in ids]
        self.timeline[room_id] += events

    def _hear(self, room_id: str, edu: Json) -> None:
        if edu["type"] == "m.typing":
            self.typing[room_id] = edu["content"]["user_ids"]
        elif edu["type"] == "m.receipt":
            for event_id, kinds in edu["content"].items():
                for user_id in kinds.get("m.read", {}):
                    self.receipts[room_id][user_id] = event_id

    def said(self, room: str) -> list[str]:
        """Bodies of the messages so far, in the order of /sync."""
        return [e["content"].get("body", "") for e in self.timeline[room] if e["type"] == "m.room.message"]

    def has(self, room: str, event_id: str) -> bool:
        return any(event["event_id"] == event_id for event in self.timeline[room])

    async def until(self, fact: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Sync until something is so. Fails with what there is instead."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while not fact():
            if loop.time() > end:
                events = {
                    room: [f"{e['type']} {e.get('state_key', '')} {e['content'].get('body', '')}" for e in timeline]
                    for room, timeline in self.timeline.items()
                }
                pytest.fail(f"{self.user_id} waits in vain: {self.membership}\n{events}\n{self.typing} {self.receipts}")
            await self.sync()

    async def hears(self, room: str, *event_ids: str) -> None:
        """Until these events have come."""
        await self.until(lambda: all(self.has(room, event_id) for event_id in event_ids))


async def same_state(room: str, *people: Person, patience_s: float = PATIENCE_S) -> None:
    """Until the servers of these members have one and the same state of a room."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while True:
        states = [await person.state(room) for person in people]
        if all(state == states[0] for state in states):
            return
        if loop.time() > end:
            keys = set().union(*states)
            differ = {key: [s.get(key) for s in states] for key in keys if len({s.get(key) for s in states}) > 1}
            pytest.fail(f"{[person.server.name for person in people]} differ: {differ}")
        await asyncio.sleep(0.1)


async def nothing_lost_nothing_doubled(
    room: str, event_ids: Sequence[str], *people: Person, patience_s: float = PATIENCE_S
) -> None:
    """Everybody's history comes to have each of these, and nothing is twice in it, nor in what /sync told.

    A server may answer with what it has and fill its gaps behind that (Synapse does), so it is asked again.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    for person in people:
        while True:
            found = [event["event_id"] for event in await person.history(room)]
            lost = [one for one in event_ids if one not in found]
            if not lost:
                break
            assert loop.time() < end, f"{person.user_id} has lost {len(lost)} of {len(event_ids)}: {lost}"
            await asyncio.sleep(0.1)
        for where, ids in (("history", found), ("sync", person.synced[room])):
            twice = {one for one in ids if ids.count(one) > 1}
            assert not twice, f"{person.user_id} has in {where} twice: {twice}"


def quoted(text: str) -> str:
    """One part of a path: the event ids of room version 3 hold `/`."""
    return quote(text, safe="")
