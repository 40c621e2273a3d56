"""Events of a room: sending, reading, redacting, its state and its members.

spec: Matrix client-server "Sending events to a room", "Getting events for a room", "Redactions"
"""

import orjson

from tripoint.core.ids import EventId, RoomId
from tripoint.matrix.errors import MatrixError, bytes_response, invalid, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.filters import PASS_ALL, EventFilter, parse_filter_json, read_event_filter
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import page_token, parse_token
from tripoint.net.http import Response
from tripoint.rooms.commands import Origin, Redact, SendEvent, SendState
from tripoint.rooms.history import ByEvent, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import RoomReader, RoomService, RoomView

MAX_PAGE = 1000


class EventEndpoints:
    def __init__(self, rooms: RoomService, reader: RoomReader, renderer: Renderer, sync: SyncServer) -> None:
        self._rooms = rooms
        self._reader = reader
        self._renderer = renderer
        self._sync = sync

    # -- sending

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
        "/_matrix/client/r0/rooms/{roomId}/send/{eventType}/{txnId}",
    )
    async def send(self, call: Call) -> Response:
        path = call.path
        done = await self._rooms.do(
            SendEvent(
                actor=call.user_id,
                origin=Origin(call.session, path["txnId"], once=True, scope=_scope(path["eventType"])),
                room_id=RoomId(path["roomId"]),
                type=path["eventType"],
                content=call.json(),
            )
        )
        return bytes_response(b'{"event_id":"%s"}' % (done.event_id or "").encode())

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
        "/_matrix/client/r0/rooms/{roomId}/redact/{eventId}/{txnId}",
    )
    async def redact(self, call: Call) -> Response:
        reason = call.json_or_empty().get("reason")
        done = await self._rooms.do(
            Redact(
                actor=call.user_id,
                origin=Origin(call.session, call.path["txnId"], once=True, scope=f"redact {call.path['eventId']}"),
                room_id=RoomId(call.path["roomId"]),
                event_id=EventId(call.path["eventId"]),
                reason=reason if isinstance(reason, str) else None,
            )
        )
        return json_response({"event_id": done.event_id or ""})

    @endpoint(
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}",
    )
    async def put_state(self, call: Call) -> Response:
        done = await self._rooms.do(
            SendState(
                actor=call.user_id,
                origin=Origin(call.session),
                room_id=RoomId(call.path["roomId"]),
                type=call.path["eventType"],
                state_key=call.path.get("stateKey", ""),
                content=call.json(),
            )
        )
        return json_response({"event_id": done.event_id or ""})

    # -- state

    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state", "/_matrix/client/r0/rooms/{roomId}/state")
    async def state(self, call: Call) -> Response:
        state = await self._reader.readable_state(RoomId(call.path["roomId"]), call.user_id)
        events = state.values()
        return bytes_response(b"[" + b",".join(self._renderer.event(event) for event in events) + b"]")

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}",
        "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}",
    )
    async def get_state(self, call: Call) -> Response:
        state = await self._reader.readable_state(RoomId(call.path["roomId"]), call.user_id)
        event = state.get((call.path["eventType"], call.path.get("stateKey", "")))
        if event is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such state in this room")
        if call.query("format") == "event":
            return bytes_response(self._renderer.event(event))
        return bytes_response(orjson.dumps(event.content))

    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/members", "/_matrix/client/r0/rooms/{roomId}/members")
    async def members(self, call: Call) -> Response:
        at = self._position(call, "at")
        state = await self._reader.readable_state(RoomId(call.path["roomId"]), call.user_id, at)
        wanted, unwanted = call.query("membership"), call.query("not_membership")
        events = [
            event
            for event in state.values()
            if event.type == "m.room.member"
            and (wanted is None or event.content.get("membership") == wanted)
            and (unwanted is None or event.content.get("membership") != unwanted)
        ]
        chunk = b",".join(self._renderer.event(event) for event in events)
        return bytes_response(b'{"chunk":[' + chunk + b"]}")

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/joined_members",
        "/_matrix/client/r0/rooms/{roomId}/joined_members",
    )
    async def joined_members(self, call: Call) -> Response:
        room = await self._reader.room(RoomId(call.path["roomId"]))
        if room.membership(call.user_id) != "join":
            raise MatrixError(403, "M_FORBIDDEN", "You are not in this room")
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

    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/messages", "/_matrix/client/r0/rooms/{roomId}/messages")
    async def messages(self, call: Call) -> Response:
        room = await self._history_room(call)
        direction = call.query("dir") or "b"
        if direction not in ("b", "f"):
            raise invalid("dir is b or f")
        backward = direction == "b"
        start, end = self._position(call, "from"), self._position(call, "to")
        wanted, lazy = self._event_filter(call)
        page = await self._reader.history(
            HistoryQuery(
                room_id=room.room_id,
                viewer=call.user_id,
                direction=Direction.BACKWARD if backward else Direction.FORWARD,
                anchor=None if start is None else ByPosition(start),
                until=None if end is None else ByPosition(end),
                limit=_limit(call, 10),
                types=wanted.types,
                not_types=wanted.not_types,
                senders=None if wanted.senders is None else tuple(wanted.senders),  # type: ignore[arg-type]
                not_senders=tuple(wanted.not_senders),  # type: ignore[arg-type]
                contains_url=wanted.contains_url,
                with_replaced=True,
            )
        )
        parts = [
            b'{"chunk":[',
            b",".join(self._history(item, call.session) for item in page.items),
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

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/context/{eventId}",
    )
    async def context(self, call: Call) -> Response:
        room = await self._history_room(call)
        event_id = EventId(call.path["eventId"])
        target = await self._reader.event(room.room_id, event_id, call.user_id)
        limit = _limit(call, 10)
        wanted, _ = self._event_filter(call)
        page = await self._reader.history(
            HistoryQuery(
                room_id=room.room_id,
                viewer=call.user_id,
                direction=Direction.AROUND,
                anchor=ByEvent(event_id),
                limit=limit + 1,
                types=wanted.types,
                not_types=wanted.not_types,
                with_replaced=True,
            )
        )
        before = [item for item in reversed(page.items) if item.position < target.position]
        after = [item for item in page.items if item.position > target.position]
        shown = await self._reader.readable_state(room.room_id, call.user_id)
        state = b",".join(self._renderer.event(event) for event in shown.values())
        parts = (
            b'{"event":',
            self._history(target, call.session),
            b',"events_before":[',
            b",".join(self._history(item, call.session) for item in before),
            b'],"events_after":[',
            b",".join(self._history(item, call.session) for item in after),
            b'],"state":[',
            state,
            b'],"start":"',
            page_token(page.start).encode(),
            b'","end":"',
            page_token(page.end if page.end is not None else room.last_position).encode(),
            b'"}',
        )
        return bytes_response(b"".join(parts))

    @endpoint(
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/event/{eventId}",
        "/_matrix/client/r0/rooms/{roomId}/event/{eventId}",
    )
    async def event(self, call: Call) -> Response:
        room_id = RoomId(call.path["roomId"])
        item = await self._reader.event(room_id, EventId(call.path["eventId"]), call.user_id)
        return bytes_response(self._history(item, call.session))

    async def _history_room(self, call: Call) -> RoomView:
        room = await self._reader.room(RoomId(call.path["roomId"]))
        if room.member(call.user_id) is None and room.history_visibility != "world_readable":
            raise MatrixError(403, "M_FORBIDDEN", "You are not in this room")
        return room

    def _history(self, item: HistoryItem, session: str) -> bytes:
        return self._renderer.history(item, self._sync.transaction_id(item.event.event_id, session))

    def _position(self, call: Call, name: str) -> int | None:
        text = call.query(name)
        return None if text is None else parse_token(text, self._sync.start).position

    def _event_filter(self, call: Call) -> tuple[EventFilter, bool]:
        text = call.query("filter")
        if text is None:
            return PASS_ALL, False
        definition = parse_filter_json(text)
        return read_event_filter(definition), definition.get("lazy_load_members") is True

    def _members_of(self, room: RoomView, items: tuple[HistoryItem, ...]) -> bytes:
        senders = dict.fromkeys(item.event.sender for item in items)
        events = (room.state.get(("m.room.member", sender)) for sender in senders)
        return b",".join(self._renderer.event(event) for event in events if event is not None)


def _scope(event_type: str) -> str:
    """spec: "Transaction identifiers": a repeat has the same path too. It is stored with each event, so the
    usual case is the short one."""
    return "" if event_type == "m.room.message" else event_type


def _limit(call: Call, default: int) -> int:
    text = call.query("limit")
    if text is None:
        return default
    if not text.isdigit():
        raise invalid("limit must be a number")
    return max(1, min(int(text), MAX_PAGE))
