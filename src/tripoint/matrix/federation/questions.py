"""What rooms ask of other servers, over the wire: rooms.remote.RemoteServers on the federation client.

Answers are checked here as far as an event can be by itself (pdus.py); rooms judge them.
spec: Matrix server-server-api POST /get_missing_events, GET /state_ids, GET /event
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.event import Event
from tripoint.core.ids import EventId, InvalidId, RoomId, ServerName, parse_event_id
from tripoint.core.room_version import RoomVersion
from tripoint.matrix.federation.client import make_target
from tripoint.matrix.federation.pdus import PduCheck

V1: Final = ("_matrix", "federation", "v1")
# A hundred events of the largest size.
MISSING_LIMIT_BYTES: Final = 8_000_000
# Ids of the state and auth chain of a room with some hundred thousand members.
STATE_IDS_LIMIT_BYTES: Final = 20_000_000
BACKFILL_LIMIT_BYTES: Final = 8_000_000
EVENT_LIMIT_BYTES: Final = 150_000
# A room of 10,000 members with its auth chain is some 25 MB; what is read in is held in memory several times over.
STATE_LIMIT_BYTES: Final = 100_000_000
STATE_TIMEOUT_S: Final = 120.0
# Single events asked for at a time.
AT_ONCE: Final = 10


class Client(Protocol):
    """The part of FederationClient that is used here."""

    async def request(
        self,
        destination: ServerName,
        method: str,
        target: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        timeout_s: float = 20.0,
        limit_bytes: int = 1_048_576,
    ) -> JsonObject: ...


class Questions:
    """rooms.remote.RemoteServers. `version_of` is asked for rooms that this server is in."""

    def __init__(
        self, client: Client, check: PduCheck, version_of: Callable[[RoomId], Awaitable[RoomVersion]]
    ) -> None:
        self._client = client
        self._check = check
        self._version_of = version_of

    async def missing_events(
        self,
        server: ServerName,
        room_id: RoomId,
        earliest: Sequence[EventId],
        latest: Sequence[EventId],
        limit: int,
    ) -> Sequence[Event]:
        content: JsonObject = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": 0,
        }
        target = make_target(*V1, "get_missing_events", room_id)
        answer = await self._client.request(
            server, "POST", target, content, limit_bytes=MISSING_LIMIT_BYTES
        )
        pdus = _list(server, answer, "events")
        return await self._check.check_all(pdus[:limit], await self._version_of(room_id))

    async def state_ids(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[EventId], Sequence[EventId]]:
        target = make_target(*V1, "state_ids", room_id, query={"event_id": event_id})
        answer = await self._client.request(server, "GET", target, limit_bytes=STATE_IDS_LIMIT_BYTES)
        return _ids(server, answer, "pdu_ids"), _ids(server, answer, "auth_chain_ids")

    async def state(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[Event], Sequence[Event]]:
        target = make_target(*V1, "state", room_id, query={"event_id": event_id})
        answer = await self._client.request(
            server, "GET", target, timeout_s=STATE_TIMEOUT_S, limit_bytes=STATE_LIMIT_BYTES
        )
        version = await self._version_of(room_id)
        state = await self._check.check_all(_list(server, answer, "pdus"), version)
        return state, await self._check.check_all(_list(server, answer, "auth_chain"), version)

    async def events(
        self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId]
    ) -> Sequence[Event]:
        version = await self._version_of(room_id)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(event_id: EventId) -> list[Event]:
            target = make_target(*V1, "event", event_id)
            async with gate:
                try:
                    answer = await self._client.request(server, "GET", target, limit_bytes=EVENT_LIMIT_BYTES)
                except RemoteFailed:
                    return []
            events = await self._check.check_all(_list(server, answer, "pdus")[:1], version)
            return [event for event in events if event.event_id == event_id]

        found = await asyncio.gather(*(one(event_id) for event_id in event_ids))
        return [event for events in found for event in events]

    async def backfill(
        self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId], limit: int
    ) -> Sequence[Event]:
        target = make_target(*V1, "backfill", room_id, query={"v": list(event_ids), "limit": str(limit)})
        answer = await self._client.request(server, "GET", target, limit_bytes=BACKFILL_LIMIT_BYTES)
        pdus = _list(server, answer, "pdus")
        return await self._check.check_all(pdus[:limit], await self._version_of(room_id))


def _list(server: ServerName, answer: Mapping[str, Json], key: str) -> list[Json]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise RemoteFailed(server, f"its answer has no {key}")
    return value


def _ids(server: ServerName, answer: Mapping[str, Json], key: str) -> list[EventId]:
    found = []
    for value in _list(server, answer, key):
        try:
            found.append(parse_event_id(value if isinstance(value, str) else ""))
        except InvalidId:
            raise RemoteFailed(server, f"{key} holds what is no event id") from None
    return found
