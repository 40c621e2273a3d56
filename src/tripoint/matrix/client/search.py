"""POST /search: words in everything that somebody may read.

spec: Matrix client-server, module search.  Finding is rooms/searching.py.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Final

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.searchable import BODY, NAME, TOPIC
from tripoint.matrix.errors import bad_json, bytes_response, invalid, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.filters import PASS_ALL, read_event_filter
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import page_token
from tripoint.net.http import Response
from tripoint.rooms.history import Bundle, ByPosition, Direction, HistoryItem, HistoryQuery, Hit, SearchQuery
from tripoint.rooms.ports import RoomReader

_KEYS: Final = (BODY, NAME, TOPIC)
DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100
DEFAULT_CONTEXT: Final = 5
MAX_CONTEXT: Final = 50


class _Context(Struct, frozen=True):
    """event_context: how much around each result."""

    before: int
    after: int
    profiles: bool


class _Asked(Struct, frozen=True):
    """The category room_events of a request."""

    query: SearchQuery
    context: _Context | None
    with_state: bool
    groups: tuple[str, ...]


class SearchEndpoints:
    def __init__(self, reader: RoomReader, renderer: Renderer, sync: SyncServer) -> None:
        self._reader = reader
        self._renderer = renderer
        self._sync = sync

    @endpoint("POST", "/_matrix/client/v3/search", "/_matrix/client/r0/search")
    async def search(self, call: Call) -> Response:
        categories = _object(call.json(), "search_categories")
        if categories is None:
            raise missing("search_categories")
        criteria = _object(categories, "room_events")
        if criteria is None:
            return bytes_response(b'{"search_categories":{}}')
        asked = _read(call, criteria)
        page = await self._reader.search(asked.query)
        results = [await self._result(call, hit, asked.context) for hit in page.hits]
        parts = [
            b'{"search_categories":{"room_events":{"count":%d,"highlights":' % page.count,
            orjson.dumps(page.highlights),
            b',"results":[' + b",".join(results) + b"]",
        ]
        if asked.groups:
            parts.append(b',"groups":' + orjson.dumps(_groups(page.hits, asked.groups)))
        if asked.with_state:
            parts.append(b',"state":{' + b",".join([part async for part in self._states(call, page.hits)]) + b"}")
        if page.end is not None:
            parts.append(b',"next_batch":"%d"' % page.end)
        return bytes_response(b"".join([*parts, b"}}}"]))

    async def _result(self, call: Call, hit: Hit, wanted: _Context | None) -> bytes:
        bundles = await self._reader.bundles(hit.room_id, call.user_id, (hit.item,))
        bundle = bundles.get(hit.item.event.event_id)
        parts = [
            b'{"rank":' + orjson.dumps(hit.rank) + b',"result":' + self._history(hit.item, call.session, bundle)
        ]
        if wanted is not None:
            parts.append(b',"context":' + await self._context(call, hit, wanted))
        return b"".join([*parts, b"}"])

    async def _context(self, call: Call, hit: Hit, wanted: _Context) -> bytes:
        here = hit.item.position
        before, start = await self._side(call, hit.room_id, Direction.BACKWARD, here - 1, wanted.before)
        after, end = await self._side(call, hit.room_id, Direction.FORWARD, here, wanted.after)
        parts = [
            b'{"start":"%s","end":"%s"' % (page_token(start).encode(), page_token(end).encode()),
            b',"events_before":[' + b",".join(self._history(item, call.session) for item in before) + b"]",
            b',"events_after":[' + b",".join(self._history(item, call.session) for item in after) + b"]",
        ]
        if wanted.profiles:
            profiles: JsonObject = {}
            for item in (*before, hit.item, *after):
                sender = item.event.sender
                member = await self._reader.member_at(hit.room_id, sender, item.position)
                profiles.setdefault(sender, _profile(member))
            parts.append(b',"profile_info":' + orjson.dumps(profiles))
        return b"".join([*parts, b"}"])

    async def _side(
        self, call: Call, room_id: RoomId, direction: Direction, position: int, limit: int
    ) -> tuple[tuple[HistoryItem, ...], int]:
        if not limit:
            return (), position
        query = HistoryQuery(
            room_id=room_id,
            viewer=call.user_id,
            direction=direction,
            anchor=ByPosition(position),
            limit=limit,
            only_here=True,
            with_replaced=True,
        )
        page = await self._reader.history(query)
        if not page.items:
            return (), position
        last = page.items[-1].position
        return page.items, last - 1 if direction is Direction.BACKWARD else last

    async def _states(self, call: Call, hits: Iterable[Hit]) -> AsyncIterator[bytes]:
        for room_id in dict.fromkeys(hit.room_id for hit in hits):
            state = await self._reader.readable_state(room_id, call.user_id)
            events = b",".join(self._renderer.event(event) for event in state.values())
            yield orjson.dumps(room_id) + b":[" + events + b"]"

    def _history(self, item: HistoryItem, session: str, bundle: Bundle | None = None) -> bytes:
        return self._renderer.history(item, self._sync.heard.own(item.event, session), bundle)


def _read(call: Call, criteria: JsonObject) -> _Asked:
    """The request. M_MISSING_PARAM, M_BAD_JSON or M_INVALID_PARAM for what is not as the specification has it."""
    text = criteria.get("search_term")
    if text is None:
        raise missing("search_term")
    if not isinstance(text, str):
        raise bad_json("search_term is a string")
    keys = criteria.get("keys", list(_KEYS))
    if not isinstance(keys, list) or any(key not in _KEYS for key in keys):
        raise invalid(f"keys is a list of {', '.join(_KEYS)}")
    order = criteria.get("order_by", "rank")
    if order not in ("rank", "recent"):
        raise invalid("order_by is rank or recent")
    definition = _object(criteria, "filter") or {}
    wanted = read_event_filter(definition) if definition else PASS_ALL
    limit = definition.get("limit", DEFAULT_LIMIT)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise invalid("limit is a number above 0")
    query = SearchQuery(
        viewer=call.user_id,
        text=text,
        keys=tuple(str(key) for key in keys),
        rooms=None if wanted.rooms is None else tuple(map(RoomId, wanted.rooms)),
        not_rooms=tuple(map(RoomId, wanted.not_rooms)),
        types=wanted.types,
        not_types=wanted.not_types,
        senders=None if wanted.senders is None else tuple(map(UserId, wanted.senders)),
        not_senders=tuple(map(UserId, wanted.not_senders)),
        contains_url=wanted.contains_url,
        ranked=order == "rank",
        start=_start(call),
        limit=min(limit, MAX_LIMIT),
    )
    with_state = criteria.get("include_state", False)
    if not isinstance(with_state, bool):
        raise bad_json("include_state is true or false")
    return _Asked(query, _read_context(criteria), with_state, _read_groups(criteria))


def _start(call: Call) -> int | None:
    token = call.query("next_batch")
    if token is None:
        return None
    if not token.removeprefix("-").isdecimal() or not token.isascii() or len(token) > 18:
        raise invalid("That is not a token of this server")
    return int(token)


def _read_context(criteria: JsonObject) -> _Context | None:
    given = _object(criteria, "event_context")
    if given is None:
        return None
    sides = []
    for name in ("before_limit", "after_limit"):
        limit = given.get(name, DEFAULT_CONTEXT)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise invalid(f"{name} is a number")
        sides.append(min(limit, MAX_CONTEXT))
    profiles = given.get("include_profile", False)
    if not isinstance(profiles, bool):
        raise bad_json("include_profile is true or false")
    return _Context(sides[0], sides[1], profiles)


def _read_groups(criteria: JsonObject) -> tuple[str, ...]:
    groups = (_object(criteria, "groupings") or {}).get("group_by", [])
    if not isinstance(groups, list):
        raise bad_json("group_by is a list")
    keys = [group.get("key") if isinstance(group, dict) else None for group in groups]
    if any(key not in ("room_id", "sender") for key in keys):
        raise invalid("A group's key is room_id or sender")
    return tuple(dict.fromkeys(str(key) for key in keys))


def _groups(hits: Iterable[Hit], keys: tuple[str, ...]) -> JsonObject:
    """spec: "Groups": in the order of their best results. A group has no pages of its own."""
    groups: JsonObject = {}
    for key in keys:
        members: dict[str, list[str]] = {}
        for hit in hits:
            event = hit.item.event
            members.setdefault(hit.room_id if key == "room_id" else event.sender, []).append(event.event_id)
        groups[key] = {
            name: {"order": order, "results": [*results]} for order, (name, results) in enumerate(members.items(), 1)
        }
    return groups


def _profile(member: Event | None) -> JsonObject:
    content = {} if member is None else member.content
    return {name: content[name] for name in ("displayname", "avatar_url") if isinstance(content.get(name), str)}


def _object(of: JsonObject, name: str) -> JsonObject | None:
    """A part of a request that is an object; None where it is not there."""
    found = of.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise bad_json(f"{name} is an object")
    return found
