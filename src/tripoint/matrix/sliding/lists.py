"""Which rooms a request's lists and subscriptions name, and how much of each is wanted. Pure.

spec: MSC4186 "Lists and subscriptions", SlidingRoomFilter, "Combining room configs"
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from tripoint.core.ids import RoomId
from tripoint.matrix.sliding.places import Marks, Place
from tripoint.matrix.sliding.request import Config, Filters, ListWanted


class Window(Struct, frozen=True):
    """What the lists of a request show. `counts` of all that pass, `in_list` the rooms within the ranges, by list;
    `configs` of each room that is wanted; `subscribed` those of them that were named;
    `rooms` all, and `joined` those that the user is in. `passed`: all that pass the filters of a list, or are named."""

    counts: dict[str, int]
    in_list: dict[str, list[RoomId]]
    configs: dict[RoomId, Config]
    subscribed: set[RoomId]
    rooms: frozenset[RoomId]
    joined: frozenset[RoomId]
    passed: Collection[RoomId]


def window(
    places: Mapping[RoomId, Place],
    lists: Mapping[str, ListWanted],
    subscriptions: Mapping[RoomId, Config],
    marks: Marks,
    in_spaces: Mapping[str, Collection[str]],
    behind: Mapping[RoomId, Place] = MappingProxyType({}),
) -> Window:
    """`places` are in order; `in_spaces` has, by list, the rooms of the spaces that it names; `behind` are places that
    lists do not show and that can be subscribed to."""
    named = {**places, **behind} if behind else places
    counts: dict[str, int] = {}
    in_list: dict[str, list[RoomId]] = {}
    configs: dict[RoomId, Config] = {}
    order = list(places)
    some: set[RoomId] = set()
    every = False
    for name, wanted in lists.items():
        filters = wanted.filters
        passed = order
        if not filters.pass_all:
            children = in_spaces.get(name, ())
            passed = [room_id for room_id, place in places.items() if passes(place, filters, marks, children)]
            some.update(passed)
        every = every or filters.pass_all
        counts[name] = len(passed)
        inside = in_list[name] = within(passed, wanted.ranges)
        for room_id in inside:
            before = configs.get(room_id)
            configs[room_id] = wanted.config if before is None else before.joined(wanted.config)
    for room_id, config in subscriptions.items():
        if room_id in named:
            before = configs.get(room_id)
            configs[room_id] = config if before is None else before.joined(config)
    subscribed = {room_id for room_id in subscriptions if room_id in named}
    joined = frozenset(room_id for room_id in configs if named[room_id].membership == "join")
    interesting = named if every else some | subscribed
    return Window(counts, in_list, configs, subscribed, frozenset(configs), joined, interesting)


def within(rooms: Sequence[RoomId], ranges: Sequence[tuple[int, int]] | None) -> list[RoomId]:
    """The rooms at these places, each once. Ranges that lie outside or backwards hold nothing."""
    if ranges is None:
        return list(rooms)
    if len(ranges) == 1:
        return list(rooms[ranges[0][0] : ranges[0][1] + 1])
    return list(dict.fromkeys(room_id for first, last in ranges for room_id in rooms[first : last + 1]))


def passes(place: Place, filters: Filters, marks: Marks, children: Collection[str]) -> bool:
    """Whether a room passes a list's filters. `children`: the rooms of the spaces that the filter names."""
    facts, room_id = place.facts, place.room_id
    if filters.is_invited is not None and filters.is_invited != (place.membership == "invite"):
        return False
    if filters.room_types is not None and facts.room_type not in filters.room_types:
        return False
    if facts.room_type in filters.not_room_types:
        return False
    if filters.is_encrypted is not None and filters.is_encrypted != facts.encrypted:
        return False
    if filters.is_dm is not None and filters.is_dm != (room_id in marks.directs):
        return False
    if filters.spaces is not None and room_id not in children:
        return False
    if filters.name_like is not None and filters.name_like not in facts.name:
        return False
    if filters.tags is None and not filters.not_tags:
        return True
    tags = marks.tags.get(room_id, frozenset())
    if filters.tags is not None and tags.isdisjoint(filters.tags):
        return False
    return tags.isdisjoint(filters.not_tags)
