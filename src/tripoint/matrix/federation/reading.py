"""Endpoints by which other servers read rooms that they are in.

spec: Matrix server-server-api getEvent, getEventByTimestamp, getRoomState, getRoomStateIds, getEventAuth, backfillRoom,
getMissingPreviousEvents. What may be told is rooms/serving.py's.
"""

from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName
from tripoint.matrix.errors import bad_json, bytes_response, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint, time_and_direction
from tripoint.net.http import Response
from tripoint.rooms.serving import MAX_EVENTS, Serving

# spec: backfillRoom: "v" may stand several times; more starts than a PDU has parents make no sense.
MAX_STARTS = 20


class ReadingEndpoints:
    """`now_ms` dates the answers that have the form of a transaction."""

    def __init__(self, serving: Serving, server: ServerName, now_ms: Callable[[], int]) -> None:
        self._serving = serving
        self._server = server
        self._now_ms = now_ms

    @endpoint("GET", "/_matrix/federation/v1/event/{eventId}", auth=Auth.SERVER)
    async def event(self, call: Call) -> Response:
        found = await self._serving.event(call.origin, EventId(call.path["eventId"]))
        return self._transaction([found])

    @endpoint("GET", "/_matrix/federation/v1/state/{roomId}", auth=Auth.SERVER)
    async def state(self, call: Call) -> Response:
        state, chain = await self._state(call)
        return bytes_response(b'{"pdus":[' + _pdus(state) + b'],"auth_chain":[' + _pdus(chain) + b"]}")

    @endpoint("GET", "/_matrix/federation/v1/state_ids/{roomId}", auth=Auth.SERVER)
    async def state_ids(self, call: Call) -> Response:
        state, chain = await self._state(call)
        return json_response(
            {"pdu_ids": [e.event_id for e in state], "auth_chain_ids": [e.event_id for e in chain]}
        )

    async def _state(self, call: Call) -> tuple[Sequence[Event], Sequence[Event]]:
        event_id = call.query("event_id")
        if not event_id:
            raise missing("event_id")
        return await self._serving.state_before(call.origin, RoomId(call.path["roomId"]), EventId(event_id))

    @endpoint("GET", "/_matrix/federation/v1/event_auth/{roomId}/{eventId}", auth=Auth.SERVER)
    async def event_auth(self, call: Call) -> Response:
        chain = await self._serving.auth_chain(
            call.origin, RoomId(call.path["roomId"]), EventId(call.path["eventId"])
        )
        return bytes_response(b'{"auth_chain":[' + _pdus(chain) + b"]}")

    @endpoint("GET", "/_matrix/federation/v1/timestamp_to_event/{roomId}", auth=Auth.SERVER)
    async def timestamp_to_event(self, call: Call) -> Response:
        ts_ms, forward = time_and_direction(call)
        event_id, at = await self._serving.event_at(
            call.origin, RoomId(call.path["roomId"]), ts_ms, forward=forward
        )
        return json_response({"event_id": event_id, "origin_server_ts": at})

    @endpoint("GET", "/_matrix/federation/v1/backfill/{roomId}", auth=Auth.SERVER)
    async def backfill(self, call: Call) -> Response:
        starts = call.request.queries().get("v", [])
        limit = call.number("limit")
        if not starts:
            raise missing("v")
        if limit is None:
            raise missing("limit")
        if len(starts) > MAX_STARTS:
            raise invalid(f"v stands at most {MAX_STARTS} times")
        events = await self._serving.backfill(
            call.origin, RoomId(call.path["roomId"]), [EventId(start) for start in starts], limit
        )
        return self._transaction(events)

    @endpoint("POST", "/_matrix/federation/v1/get_missing_events/{roomId}", auth=Auth.SERVER)
    async def missing_events(self, call: Call) -> Response:
        body = call.json()
        limit, min_depth = body.get("limit", 10), body.get("min_depth", 0)
        if not _whole(limit) or not _whole(min_depth):
            raise bad_json("limit and min_depth are whole numbers")
        assert isinstance(limit, int) and isinstance(min_depth, int)
        events = await self._serving.missing(
            call.origin,
            RoomId(call.path["roomId"]),
            _ids(body, "earliest_events"),
            _ids(body, "latest_events"),
            limit,
            min_depth,
        )
        return bytes_response(b'{"events":[' + _pdus(events) + b"]}")

    def _transaction(self, events: Sequence[Event]) -> Response:
        head = b'{"origin":"%s","origin_server_ts":%d,"pdus":[' % (self._server.encode(), self._now_ms())
        return bytes_response(head + _pdus(events) + b"]}")


def _pdus(events: Sequence[Event]) -> bytes:
    return b",".join(event.json for event in events)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _ids(body: JsonObject, key: str) -> list[EventId]:
    value = body.get(key)
    if not isinstance(value, list) or len(value) > MAX_EVENTS:
        raise bad_json(f"{key} must be a list of at most {MAX_EVENTS} event ids")
    ids = [EventId(entry) for entry in value if isinstance(entry, str)]
    if len(ids) != len(value):
        raise bad_json(f"{key} must be a list of event ids")
    return ids
