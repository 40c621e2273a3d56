"""Who reads a room by IRC and XMPP right now, and what their clients do not show.

Clients of Matrix show everything that a room can hold, so only the two views have something to say of it.
spec: docs/mapping.md 22.5
"""

from collections.abc import Callable, Iterable
from enum import Enum

from msgspec import Struct

from tripoint.core.ids import RoomId, UserId


class Feature(Enum):
    """Something that a reader's client may show in a poorer form. The value is its name for other clients."""

    EDITS = "edits"  # they see the new text as another message
    REACTIONS = "reactions"  # they see none
    REDACTIONS = "redactions"  # they go on seeing what was taken back
    LONG_MESSAGES = "long_messages"  # they see them in pieces, or a part and an address


class ReaderNow(Struct, frozen=True):
    """One session in a room, and what it lacks."""

    user_id: UserId
    lacks: frozenset[Feature]


# The sessions of one view that are in a room.
ReadersOf = Callable[[RoomId], Iterable[ReaderNow]]


def lacking(views: Iterable[ReadersOf], room_id: RoomId) -> tuple[int, dict[Feature, int]]:
    """How many people are there by a view, and how many of them have no client there that shows a feature."""
    people: dict[UserId, frozenset[Feature]] = {}
    for readers_of in views:
        for reader in readers_of(room_id):
            known = people.get(reader.user_id)
            people[reader.user_id] = reader.lacks if known is None else known & reader.lacks
    return len(people), {feature: sum(feature in lacks for lacks in people.values()) for feature in Feature}
