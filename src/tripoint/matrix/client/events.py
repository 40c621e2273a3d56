"""Events of a room: sending, reading, redacting, its state and its members.

spec: Matrix client-server "Sending events to a room", "Getting events for a room", "Redactions"
"""

from collections.abc import Mapping, Sequence

import orjson

from tripoint.core.canonical_json import Json
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.body import text_in
from tripoint.matrix.client.delayed import DelayedEndpoints
from tripoint.matrix.client.sticky import sticky_ms_of
from tripoint.matrix.errors import MatrixError, bytes_response, invalid, json_response
from tripoint.matrix.registry import Call, endpoint, time_and_direction
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.filters import PASS_ALL, EventFilter, parse_filter_json, read_event_filter, read_limit
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import page_token, parse_token
from tripoint.net.http import Response
from tripoint.rooms.commands import Redact, SendEvent, SendState
from tripoint.rooms.history import Bundle, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import RoomReader, RoomService, RoomView, StateMap
from tripoint.rooms.refusals import Refusal, Refused

MAX_PAGE = 1000
MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


class EventEndpoints:
    def __init__(
        self, rooms: RoomService, reader: RoomReader, renderer: Renderer, sync: SyncServer, delayed: DelayedEndpoints
    ) -> None:
        self._delayed = delayed
        self._rooms = rooms
        self._reader = reader
        self._renderer = renderer
        self._sync = sync

    # -- sending

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
        "/_matrix/client/r0/rooms/{roomId}/send/{eventType}/{txnId}",
        guests=True,
    )
    async def send(self, call: Call) -> Response:
        if self._delayed.asks(call):
            return await self._delayed.instead(call, state=False)
        path = call.path
        done = await self._rooms.do(
            SendEvent(
                actor=call.user_id,
                origin=call.by(path["txnId"], once=True, scope=_scope(path["eventType"])),
                room_id=RoomId(path["roomId"]),
                type=path["eventType"],
                content=call.json(),
                sticky_ms=sticky_ms_of(call),
                ts_ms=_ts_ms(call),
            )
        )
        return bytes_response(b'{"event_id":"%s"}' % (done.event_id or "").encode())

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
        "/_matrix/client/r0/rooms/{roomId}/redact/{eventId}/{txnId}",
    )
    async def redact(self, call: Call) -> Response:
        reason = text_in(call.json_or_empty(), "reason")
        done = await self._rooms.do(
            Redact(
                actor=call.user_id,
                origin=call.by(call.path["txnId"], once=True, scope=f"redact {call.path['eventId']}"),
                room_id=RoomId(call.path["roomId"]),
                event_id=EventId(call.path["eventId"]),
                reason=reason,
            )
        )
        return json_response({"event_id": done.event_id or ""})

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}",
        guests=True,
    )
    async def put_state(self, call: Call) -> Response:
        if self._delayed.asks(call):
            return await self._delayed.instead(call, state=True)
        command = SendState(
            actor=call.user_id,
            origin=call.by(),
            room_id=RoomId(call.path["roomId"]),
            type=call.path["eventType"],
            state_key=call.path.get("stateKey", ""),
            content=call.json(),
            sticky_ms=sticky_ms_of(call),
            ts_ms=_ts_ms(call),
        )
        try:
            done = await self._rooms.do(command)
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ALIAS:
                # spec: PUT /state: an alias in m.room.canonical_alias that does not point to the room.
                raise MatrixError(400, "M_BAD_ALIAS", refused.text) from refused
            raise
        return json_response({"event_id": done.event_id or ""})

    # -- state

    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state", "/_matrix/client/r0/rooms/{roomId}/state", guests=True)
    async def state(self, call: Call) -> Response:
        events = (await self._state(call)).values()
        return bytes_response(b"[" + b",".join(self._renderer.event(event) for event in events) + b"]")

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}",
        guests=True,
    )
    async def get_state(self, call: Call) -> Response:
        state = await self._state(call)
        event = state.get((call.path["eventType"], call.path.get("stateKey", "")))
        if event is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such state in this room")
        if call.query("format") == "event":
            return bytes_response(self._renderer.event(event))
        return bytes_response(orjson.dumps(event.content))

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/members",
        "/_matrix/client/r0/rooms/{roomId}/members",
        guests=True,
    )
    async def members(self, call: Call) -> Response:
        at = self._position(call, "at")
        wanted, unwanted = _membership(call, "membership"), _membership(call, "not_membership")
        members = [event for event in (await self._state(call, at)).values() if event.type == "m.room.member"]
        # spec: "When specified alongside not_membership, the two parameters create an 'or' condition"
        if wanted is not None or unwanted is not None:
            members = [event for event in members if _is_wanted(event.content.get("membership"), wanted, unwanted)]
        chunk = b",".join(self._renderer.event(event) for event in members)
        return bytes_response(b'{"chunk":[' + chunk + b"]}")

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/joined_members",
        "/_matrix/client/r0/rooms/{roomId}/joined_members",
    )
    async def joined_members(self, call: Call) -> Response:
        room = await self._room(call)
        if room.membership(call.user_id) != "join":
            raise _outside()
        joined: dict[str, dict[str, str]] = {}
        for user_id, member in room.joined().items():
            profile = {}
            if member.displayname is not None:
                profile["display_name"] = member.displayname
            if member.avatar_url is not None:
                profile["avatar_url"] = member.avatar_url
            joined[user_id] = profile
        return bytes_response(orjson.dumps({"joined": joined}))

    # -- history

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/messages",
        "/_matrix/client/r0/rooms/{roomId}/messages",
        guests=True,
    )
    async def messages(self, call: Call) -> Response:
        room = await self._history_room(call)
        direction = call.query("dir") or "b"
        if direction not in ("b", "f"):
            raise invalid("dir is b or f")
        backward = direction == "b"
        start, end = self._position(call, "from"), self._position(call, "to")
        wanted, lazy, most = self._event_filter(call)
        limit = _limit(call, 10)
        page = await self._reader.history(
            _query(
                room,
                call.user_id,
                wanted,
                Direction.BACKWARD if backward else Direction.FORWARD,
                start,
                end,
                max(1, limit if most is None else min(limit, most)),
            )
        )
        bundles = await self._reader.bundles(room.room_id, call.user_id, page.items)
        parts = [
            b'{"chunk":[',
            b",".join(self._history(item, call.session, bundles) for item in page.items),
            b'],"start":"',
            page_token(page.start).encode(),
            b'"',
        ]
        if page.end is not None:
            parts.append(b',"end":"' + page_token(page.end).encode() + b'"')
        if lazy and page.items:
            parts.append(b',"state":[' + self._members_of(room, page.items) + b"]")
        parts.append(b"}")
        return bytes_response(b"".join(parts))

    @endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event")
    async def timestamp_to_event(self, call: Call) -> Response:
        ts_ms, forward = time_and_direction(call)
        item = await self._reader.event_at(RoomId(call.path["roomId"]), ts_ms, call.user_id, forward=forward)
        return json_response({"event_id": item.event.event_id, "origin_server_ts": item.event.origin_server_ts})

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/context/{eventId}",
        guests=True,
    )
    async def context(self, call: Call) -> Response:
        room = await self._history_room(call)
        event_id = EventId(call.path["eventId"])
        target = await self._reader.event(room.room_id, event_id, call.user_id)
        limit = _limit(call, 10)
        wanted, lazy, _ = self._event_filter(call)
        here = target.position
        before, start = await self._side(call, room, wanted, Direction.BACKWARD, here - 1, limit - limit // 2)
        after, end = await self._side(call, room, wanted, Direction.FORWARD, here, limit // 2)
        # spec: "The state of the room at the last event returned."
        last = after[-1].position if after else here
        shown = await self._reader.readable_state(room.room_id, call.user_id, last)
        needed = {item.event.sender for item in (target, *before, *after)} if lazy else None
        state = b",".join(
            self._renderer.event(event)
            for event in shown.values()
            if wanted.wants(event)
            and (needed is None or event.type != "m.room.member" or event.state_key in needed)
        )
        bundles = await self._reader.bundles(room.room_id, call.user_id, (target, *before, *after))
        parts = (
            b'{"event":',
            self._history(target, call.session, bundles),
            b',"events_before":[',
            b",".join(self._history(item, call.session, bundles) for item in before),
            b'],"events_after":[',
            b",".join(self._history(item, call.session, bundles) for item in after),
            b'],"state":[',
            state,
            b'],"start":"',
            page_token(start).encode(),
            b'","end":"',
            page_token(end).encode(),
            b'"}',
        )
        return bytes_response(b"".join(parts))

    async def _side(
        self,
        call: Call,
        room: RoomView,
        wanted: EventFilter,
        direction: Direction,
        position: int,
        limit: int,
    ) -> tuple[Sequence[HistoryItem], int]:
        """Up to `limit` events on one side of a position, and from where to page on."""
        if limit <= 0:
            return (), position
        page = await self._reader.history(_query(room, call.user_id, wanted, direction, position, None, limit))
        last = page.items[-1].position if page.items else position + 1
        beyond = last - 1 if direction is Direction.BACKWARD else (last if page.items else position)
        return page.items, beyond if page.end is None else page.end

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/event/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/event/{eventId}",
        guests=True,
    )
    async def event(self, call: Call) -> Response:
        room_id = RoomId(call.path["roomId"])
        item = await self._reader.event(room_id, EventId(call.path["eventId"]), call.user_id)
        bundles = await self._reader.bundles(room_id, call.user_id, (item,))
        return bytes_response(self._history(item, call.session, bundles))

    async def _history_room(self, call: Call) -> RoomView:
        room = await self._room(call)
        own = await self._reader.membership_positions(call.user_id)
        if room.room_id not in own and room.history_visibility != "world_readable":
            raise _outside()
        return room

    async def _room(self, call: Call) -> RoomView:
        """A room to read from. One that is not here is answered as one that is closed: nobody learns which."""
        try:
            return await self._reader.room(RoomId(call.path["roomId"]))
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ROOM:
                raise _outside() from refused
            raise

    async def _state(self, call: Call, at: int | None = None) -> StateMap:
        room = await self._room(call)
        return await self._reader.readable_state(room.room_id, call.user_id, at)

    def _history(self, item: HistoryItem, session: str, bundles: Mapping[EventId, Bundle]) -> bytes:
        event_id = item.event.event_id
        return self._renderer.history(item, self._sync.heard.own(item.event, session), bundles.get(event_id))

    def _position(self, call: Call, name: str) -> int | None:
        text = call.query(name)
        return None if text is None else parse_token(text, self._sync.start).position

    def _event_filter(self, call: Call) -> tuple[EventFilter, bool, int | None]:
        """(what is wanted, whether members are loaded lazily, how many events at most)"""
        text = call.query("filter")
        if text is None:
            return PASS_ALL, False, None
        definition = parse_filter_json(text)
        wanted = read_event_filter(definition)
        return wanted, definition.get("lazy_load_members") is True, read_limit(definition)

    def _members_of(self, room: RoomView, items: tuple[HistoryItem, ...]) -> bytes:
        senders = dict.fromkeys(item.event.sender for item in items)
        events = (room.state.get(("m.room.member", sender)) for sender in senders)
        return b",".join(self._renderer.event(event) for event in events if event is not None)


def _query(
    room: RoomView,
    viewer: UserId,
    wanted: EventFilter,
    direction: Direction,
    start: int | None,
    end: int | None,
    limit: int,
) -> HistoryQuery:
    """A page of what a RoomEventFilter wants."""
    wanted = wanted.in_room(room.room_id)
    return HistoryQuery(
        room_id=room.room_id,
        viewer=viewer,
        direction=direction,
        anchor=None if start is None else ByPosition(start),
        until=None if end is None else ByPosition(end),
        limit=limit,
        types=wanted.types,
        not_types=wanted.not_types,
        senders=None if wanted.senders is None else tuple(map(UserId, wanted.senders)),
        not_senders=tuple(map(UserId, wanted.not_senders)),
        contains_url=wanted.contains_url,
        with_replaced=True,
    )


def _ts_ms(call: Call) -> int | None:
    """spec: application-service-api "Timestamp massaging": for application services alone"""
    return None if call.caller.service is None else call.number("ts")


def _scope(event_type: str) -> str:
    """spec: "Transaction identifiers": a repeat has the same path too. It is stored with each event, so the
    usual case is the short one."""
    return "" if event_type == "m.room.message" else event_type


def _outside() -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", "You are not in this room")


def _membership(call: Call, name: str) -> str | None:
    value = call.query(name)
    if value is not None and value not in MEMBERSHIPS:
        raise invalid(f"{name} is one of {', '.join(MEMBERSHIPS)}")
    return value


def _is_wanted(membership: Json, wanted: str | None, unwanted: str | None) -> bool:
    return membership == wanted or (unwanted is not None and membership != unwanted)


def _limit(call: Call, default: int) -> int:
    limit = call.number("limit")
    return default if limit is None else min(limit, MAX_PAGE)
