"""What a client asks for in sliding sync, in both forms: as merged (/v4/sync) and as deployed before (unstable). Pure.

spec: MSC4186 "Request Body"; "Changelog" has the differences; the extensions' configs: MSC4508 "Common extension
semantics"
"""

from functools import lru_cache
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId
from tripoint.matrix.errors import bad_json, invalid
from tripoint.matrix.sliding.required_state import Element, RequiredState, Rule, rule_of_elements, rule_of_tuples

MAX_LISTS: Final = 100
MAX_SUBSCRIPTIONS: Final = 100
# spec: "The server may cap this number."
MAX_TIMELINE: Final = 100
# spec: "opaque identifiers" have at most 255 characters; of the earlier text's list keys 64 bytes.
MAX_NAME: Final = 255
# Elements of required_state in one request: Element X asks for some 15 in each of a few lists.
MAX_ELEMENTS: Final = 2_000
MAX_RANGES: Final = 100
# spec: MSC4480 "Unstable prefix"
STICKY: Final = "org.matrix.msc4354.sticky_events"
# spec: MSC4360 "Unstable prefix"
THREADS: Final = "io.element.msc4360.threads"

_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Range = tuple[_Count, _Count]


class Filters(Struct, frozen=True):
    """spec: SlidingRoomFilter. None: not filtered by that."""

    is_dm: bool | None = None
    spaces: tuple[str, ...] | None = None
    is_encrypted: bool | None = None
    is_invited: bool | None = None
    room_types: tuple[str | None, ...] | None = None
    not_room_types: tuple[str | None, ...] = ()
    tags: tuple[str, ...] | None = None
    not_tags: tuple[str, ...] = ()
    name_like: str | None = None

    @property
    def pass_all(self) -> bool:
        return self == _NO_FILTERS


_NO_FILTERS: Final = Filters()


class Config(Struct, frozen=True):
    """A room config: how much of a room is told."""

    timeline_limit: int
    state: RequiredState

    def joined(self, other: "Config") -> "Config":
        """spec: "Combining room configs" """
        return self if self == other else _union(self, other)


# Clients say the same again and again; equal configs are one object, which makes them quick to compare.
@lru_cache(maxsize=4096)
def _same(config: Config) -> Config:
    return config


@lru_cache(maxsize=4096)
def _union(one: Config, other: Config) -> Config:
    state = RequiredState(one.state.rules | other.state.rules)
    return _same(Config(max(one.timeline_limit, other.timeline_limit), state))


class ListWanted(Struct, frozen=True):
    """`ranges` None: all rooms that pass. Ranges are inclusive."""

    ranges: tuple[tuple[int, int], ...] | None
    filters: Filters
    config: Config


class Extension(Struct, frozen=True):
    """An extension's config. `lists` and `rooms` None: all of the request."""

    enabled: bool = False
    lists: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    since: str | None = None


OFF: Final = Extension()


class ThreadsWanted(Struct, frozen=True):
    """The config of the extension for threads, which knows no scope. spec: MSC4360"""

    enabled: bool = False
    include_roots: bool = False
    limit: Annotated[int, Meta(ge=1)] | None = None


class Extensions(Struct, frozen=True):
    """spec: "servers MUST ignore extensions with keys they do not recognise" """

    to_device: Extension = OFF
    e2ee: Extension = OFF
    account_data: Extension = OFF
    receipts: Extension = OFF
    typing: Extension = OFF
    sticky: Extension = msgspec.field(default=OFF, name=STICKY)
    threads: ThreadsWanted = msgspec.field(default=ThreadsWanted(), name=THREADS)


class Request(Struct, frozen=True, kw_only=True):
    """`stable`: it came in the merged form and is answered in it."""

    stable: bool
    conn_id: str
    pos: str | None
    timeout_ms: int
    presence: str
    lists: dict[str, ListWanted]
    subscriptions: dict[RoomId, Config]
    extensions: Extensions


class _FilterBody(Struct):
    is_dm: bool | None = None
    spaces: tuple[str, ...] | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_invited: bool | None = None
    room_types: tuple[str | None, ...] | None = None
    not_room_types: tuple[str | None, ...] | None = None
    tags: tuple[str, ...] | None = None
    not_tags: tuple[str, ...] | None = None
    room_name_like: str | None = None


class _StateBody(Struct):
    include: tuple[Element, ...] = ()
    exclude: tuple[Element, ...] = ()
    lazy_members: bool = False


class _StableConfig(Struct):
    timeline_limit: _Count
    required_state: _StateBody


class _StableList(_StableConfig):
    range: _Range | None = None
    filters: _FilterBody | None = None


class _StableBody(Struct):
    conn_id: str = ""
    pos: str | None = None
    timeout: _Count = 0
    set_presence: str = "online"
    lists: dict[str, _StableList] = {}
    room_subscriptions: dict[str, _StableConfig] = {}
    extensions: Extensions = Extensions()


class _OldConfig(Struct):
    timeline_limit: _Count
    required_state: tuple[tuple[str, str], ...]


class _OldList(_OldConfig):
    ranges: tuple[_Range, ...] | None = None
    filters: _FilterBody | None = None


class _OldBody(Struct):
    conn_id: str = ""
    lists: dict[str, _OldList] = {}
    room_subscriptions: dict[str, _OldConfig] = {}
    extensions: Extensions = Extensions()


_B = TypeVar("_B", bound="_StableBody | _OldBody")


def read_stable(body: JsonObject) -> Request:
    """A body of /v4/sync. M_BAD_JSON where something has the wrong shape, M_INVALID_PARAM where it is too much."""
    read = _converted(body, _StableBody)
    elements = (*read.lists.values(), *read.room_subscriptions.values())
    _check_elements(sum(len(c.required_state.include) + len(c.required_state.exclude) for c in elements))
    lists = {
        name: ListWanted(
            None if one.range is None else (one.range,), _filters(one.filters, stable=True), _stable_config(one)
        )
        for name, one in read.lists.items()
    }
    return Request(
        stable=True,
        conn_id=read.conn_id,
        pos=read.pos,
        timeout_ms=read.timeout,
        presence=_presence(read.set_presence),
        lists=lists,
        subscriptions={RoomId(room_id): _stable_config(one) for room_id, one in read.room_subscriptions.items()},
        extensions=read.extensions,
    )


def read_unstable(body: JsonObject, pos: str | None, timeout_ms: int, presence: str, me: str) -> Request:
    """As read_stable(), of the earlier form; `me` is who asks."""
    read = _converted(body, _OldBody)
    _check_elements(sum(len(one.required_state) for one in (*read.lists.values(), *read.room_subscriptions.values())))
    if any(len(one.ranges or ()) > MAX_RANGES for one in read.lists.values()):
        raise invalid(f"A list has at most {MAX_RANGES} ranges")
    return Request(
        stable=False,
        conn_id=read.conn_id,
        pos=pos,
        timeout_ms=timeout_ms,
        presence=_presence(presence),
        lists={
            name: ListWanted(one.ranges, _filters(one.filters, stable=False), _old_config(one, me))
            for name, one in read.lists.items()
        },
        subscriptions={RoomId(room_id): _old_config(one, me) for room_id, one in read.room_subscriptions.items()},
        extensions=read.extensions,
    )


def _converted(body: JsonObject, type_: type[_B]) -> _B:
    try:
        read = msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise bad_json(str(error)) from None
    if len(read.lists) > MAX_LISTS:
        raise invalid(f"There are at most {MAX_LISTS} lists")
    if len(read.room_subscriptions) > MAX_SUBSCRIPTIONS:
        raise invalid(f"There are at most {MAX_SUBSCRIPTIONS} room subscriptions")
    if any(len(name) > MAX_NAME for name in (read.conn_id, *read.lists)):
        raise invalid(f"Names of connections and lists have at most {MAX_NAME} characters")
    return read


def _check_elements(count: int) -> None:
    if count > MAX_ELEMENTS:
        raise invalid(f"All required_state together has at most {MAX_ELEMENTS} elements")


def _presence(value: str) -> str:
    if value not in ("online", "unavailable", "offline"):
        raise invalid("set_presence is online, unavailable or offline")
    return value


def _stable_config(config: _StableConfig) -> Config:
    wanted = config.required_state
    return _config(config.timeline_limit, rule_of_elements(wanted.include, wanted.exclude, lazy=wanted.lazy_members))


def _old_config(config: _OldConfig, me: str) -> Config:
    return _config(config.timeline_limit, rule_of_tuples(config.required_state, me))


def _config(limit: int, rule: Rule) -> Config:
    return _same(Config(min(limit, MAX_TIMELINE), RequiredState(frozenset((rule,)))))


def _filters(read: _FilterBody | None, *, stable: bool) -> Filters:
    if read is None:
        return _NO_FILTERS
    return Filters(
        is_dm=read.is_dm,
        spaces=read.spaces,
        is_encrypted=read.is_encrypted,
        is_invited=read.is_invited if stable else read.is_invite,
        room_types=read.room_types,
        not_room_types=read.not_room_types or (),
        tags=read.tags,
        not_tags=read.not_tags or (),
        name_like=None if stable or not read.room_name_like else read.room_name_like.casefold(),
    )
