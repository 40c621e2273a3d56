"""Filters: which parts of a sync a client wants. spec: Matrix client-server "Filtering"."""

from collections.abc import Mapping, Sequence

import orjson
from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.matrix.depth import MAX_DEPTH, too_deep
from tripoint.matrix.errors import bad_json, invalid
from tripoint.rooms.reader import glob_match

DEFAULT_TIMELINE = 10
MAX_TIMELINE = 1000


class EventFilter(Struct, frozen=True):
    """EventFilter of the specification. None means everything."""

    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    senders: tuple[str, ...] | None = None
    not_senders: tuple[str, ...] = ()
    contains_url: bool | None = None

    @property
    def passes_all(self) -> bool:
        return self == PASS_ALL

    def wants_type(self, type_: str) -> bool:
        """Whether events of this type may pass."""
        if self.types is not None and not any(glob_match(pattern, type_) for pattern in self.types):
            return False
        return not any(glob_match(pattern, type_) for pattern in self.not_types)

    def wants(self, event: Event) -> bool:
        if not self.wants_type(event.type):
            return False
        if self.senders is not None and event.sender not in self.senders:
            return False
        if event.sender in self.not_senders:
            return False
        if self.contains_url is None:
            return True
        return isinstance(event.content.get("url"), str) == self.contains_url


PASS_ALL = EventFilter()


class SyncFilter(Struct, frozen=True):
    """Filter of the specification, for one sync. `key` tells filters apart when chunks are shared."""

    key: str = ""
    timeline_limit: int = DEFAULT_TIMELINE
    timeline: EventFilter = PASS_ALL
    state: EventFilter = PASS_ALL
    ephemeral: EventFilter = PASS_ALL
    room_account_data: EventFilter = PASS_ALL
    account_data: EventFilter = PASS_ALL
    presence: EventFilter = PASS_ALL
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    lazy_members: bool = False
    redundant_members: bool = False

    def wants_room(self, room_id: str) -> bool:
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms


NO_FILTER = SyncFilter()


def read_filter(definition: JsonObject) -> SyncFilter:
    """A filter definition. M_BAD_JSON where a field has the wrong shape."""
    room = _object(definition, "room")
    timeline = _object(room, "timeline")
    state = _object(room, "state")
    limit = timeline.get("limit", DEFAULT_TIMELINE)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise bad_json("limit must be a number of events")
    rooms = _texts(room, "rooms")
    lazy = _flag(state, "lazy_load_members") or _flag(timeline, "lazy_load_members")
    return SyncFilter(
        key=orjson.dumps(definition, option=orjson.OPT_SORT_KEYS).decode(),
        timeline_limit=max(1, min(limit, MAX_TIMELINE)),
        timeline=read_event_filter(timeline),
        state=read_event_filter(state),
        ephemeral=read_event_filter(_object(room, "ephemeral")),
        room_account_data=read_event_filter(_object(room, "account_data")),
        account_data=read_event_filter(_object(definition, "account_data")),
        presence=read_event_filter(_object(definition, "presence")),
        rooms=None if rooms is None else frozenset(rooms),
        not_rooms=frozenset(_texts(room, "not_rooms") or ()),
        include_leave=_flag(room, "include_leave"),
        lazy_members=lazy,
        redundant_members=_flag(state, "include_redundant_members"),
    )


def read_event_filter(definition: Mapping[str, object]) -> EventFilter:
    url = definition.get("contains_url")
    return EventFilter(
        types=_texts(definition, "types"),
        not_types=_texts(definition, "not_types") or (),
        senders=_texts(definition, "senders"),
        not_senders=_texts(definition, "not_senders") or (),
        contains_url=url if isinstance(url, bool) else None,
    )


def parse_filter_json(text: str) -> JsonObject:
    """A filter given as JSON in a query parameter. M_INVALID_PARAM otherwise."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid("filter is neither a filter id nor JSON") from None
    if not isinstance(value, dict):
        raise invalid("filter must be a JSON object")
    if too_deep(text.encode(), value):
        raise invalid(f"filter is nested deeper than {MAX_DEPTH} levels")
    return value


def _object(definition: Mapping[str, object], key: str) -> JsonObject:
    value = definition.get(key, {})
    if not isinstance(value, dict):
        raise bad_json(f"{key} must be an object")
    return value


def _texts(definition: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    value = definition.get(key)
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise bad_json(f"{key} must be a list of texts")
    return tuple(value)


def _flag(definition: Mapping[str, object], key: str) -> bool:
    value = definition.get(key, False)
    if not isinstance(value, bool):
        raise bad_json(f"{key} must be true or false")
    return value
