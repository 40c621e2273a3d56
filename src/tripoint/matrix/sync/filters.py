"""Filters: which parts of a sync a client wants. spec: Matrix client-server "Filtering"."""

from collections.abc import Mapping, Sequence

import orjson
from msgspec import Struct
from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.glob import glob_match
from tripoint.matrix.depth import MAX_DEPTH, too_deep
from tripoint.matrix.errors import bad_json, invalid
from tripoint.matrix.sync.event_form import MAX_FIELDS, EventForm, read_fields

DEFAULT_TIMELINE = 10
MAX_TIMELINE = 1000


class EventFilter(Struct, frozen=True):
    """EventFilter of the specification. None means everything."""

    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    senders: tuple[str, ...] | None = None
    not_senders: tuple[str, ...] = ()
    contains_url: bool | None = None
    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] = ()

    @property
    def passes_all(self) -> bool:
        return self == PASS_ALL

    @property
    def passes_none(self) -> bool:
        return self.types == () or self.senders == ()

    def in_room(self, room_id: str) -> "EventFilter":
        """This filter as it stands for one room: without `rooms`, or letting nothing pass."""
        if self.rooms is None and not self.not_rooms:
            return self
        if room_id in self.not_rooms or (self.rooms is not None and room_id not in self.rooms):
            return PASS_NONE
        return replace(self, rooms=None, not_rooms=())

    def wants_type(self, type_: str) -> bool:
        """Whether events of this type may pass."""
        if self.types is not None and not any(glob_match(pattern, type_) for pattern in self.types):
            return False
        return not any(glob_match(pattern, type_) for pattern in self.not_types)

    def wants_sender(self, sender: str) -> bool:
        return (self.senders is None or sender in self.senders) and sender not in self.not_senders

    def wants(self, event: Event) -> bool:
        if not self.wants_type(event.type) or not self.wants_sender(event.sender):
            return False
        if self.contains_url is None:
            return True
        return isinstance(event.content.get("url"), str) == self.contains_url


PASS_ALL = EventFilter()
PASS_NONE = EventFilter(types=())


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
    state_after: bool = False  # GET /sync use_state_after
    threads_apart: bool = False  # unread_thread_notifications
    by_room: bool = False  # one of the parts names rooms
    form: EventForm | None = None  # event_format and event_fields, where they are not the usual

    def in_room(self, room_id: str) -> "SyncFilter":
        """This filter as it stands for one room."""
        if not self.by_room:
            return self
        return replace(
            self,
            timeline=self.timeline.in_room(room_id),
            state=self.state.in_room(room_id),
            ephemeral=self.ephemeral.in_room(room_id),
            room_account_data=self.room_account_data.in_room(room_id),
        )

    def wants_room(self, room_id: str) -> bool:
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms


NO_FILTER = SyncFilter()


def read_filter(definition: JsonObject) -> SyncFilter:
    """A filter definition. M_BAD_JSON where a field has the wrong shape."""
    room = _object(definition, "room")
    timeline = _object(room, "timeline")
    state = _object(room, "state")
    limit = read_limit(timeline)
    limit = DEFAULT_TIMELINE if limit is None else limit
    rooms = _ids(room, "rooms", "!")
    ephemeral, account_data = _object(room, "ephemeral"), _object(room, "account_data")
    parts = (timeline, state, ephemeral, account_data)
    lazy = _flag(state, "lazy_load_members") or _flag(timeline, "lazy_load_members")
    return SyncFilter(
        key=orjson.dumps(definition, option=orjson.OPT_SORT_KEYS).decode(),
        timeline_limit=max(1, min(limit, MAX_TIMELINE)),
        timeline=read_event_filter(timeline),
        state=read_event_filter(state),
        ephemeral=read_event_filter(ephemeral),
        room_account_data=read_event_filter(account_data),
        account_data=read_event_filter(_object(definition, "account_data")),
        presence=read_event_filter(_object(definition, "presence")),
        rooms=None if rooms is None else frozenset(rooms),
        not_rooms=frozenset(_ids(room, "not_rooms", "!") or ()),
        include_leave=_flag(room, "include_leave"),
        lazy_members=lazy,
        threads_apart=_flag(timeline, "unread_thread_notifications"),
        redundant_members=_flag(state, "include_redundant_members"),
        form=_form(definition),
        by_room=any("rooms" in part or "not_rooms" in part for part in parts),
    )


def _form(definition: JsonObject) -> EventForm | None:
    format_, fields = definition.get("event_format", "client"), _texts(definition, "event_fields")
    if format_ not in ("client", "federation"):
        raise invalid("event_format is client or federation")
    if fields is not None and len(fields) > MAX_FIELDS:
        raise invalid(f"event_fields names at most {MAX_FIELDS} fields")
    if format_ == "client" and fields is None:
        return None
    return EventForm(format_ == "federation", None if fields is None else read_fields(fields))


def read_event_filter(definition: Mapping[str, object]) -> EventFilter:
    """A RoomEventFilter, or an EventFilter, which has less. M_BAD_JSON where a field has the wrong shape, those too
    that are not looked at here."""
    read_limit(definition)
    for name in ("lazy_load_members", "include_redundant_members", "unread_thread_notifications"):
        _flag(definition, name)
    return EventFilter(
        types=_texts(definition, "types"),
        not_types=_texts(definition, "not_types") or (),
        senders=_ids(definition, "senders", "@"),
        not_senders=_ids(definition, "not_senders", "@") or (),
        contains_url=None if definition.get("contains_url") is None else _flag(definition, "contains_url"),
        rooms=_ids(definition, "rooms", "!"),
        not_rooms=_ids(definition, "not_rooms", "!") or (),
    )


def read_limit(definition: Mapping[str, object]) -> int | None:
    """`limit`; None: it is not there. 0 is taken, as clients send it."""
    limit = definition.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise bad_json("limit must be a number of events")
    return limit


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


def _ids(definition: Mapping[str, object], key: str, sigil: str) -> tuple[str, ...] | None:
    """spec: definitions/event_filter, room_event_filter: ids of users and rooms, by what they begin with"""
    texts = _texts(definition, key)
    if texts is not None and any(not text.startswith(sigil) for text in texts):
        raise bad_json(f"{key} holds what is no id that begins with {sigil}")
    return texts


def _flag(definition: Mapping[str, object], key: str) -> bool:
    value = definition.get(key, False)
    if not isinstance(value, bool):
        raise bad_json(f"{key} must be true or false")
    return value
