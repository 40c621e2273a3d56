"""When somebody is written to about what is unread: not at once, and about one room less and less often.

The first letter comes some minutes after what it tells of; the next about the same room is put off by as long, then by
a day, until the reader has read there, or nothing was told of it for half a day. When a letter goes out for one room,
what is unread in the others goes along. These are the intervals of Synapse, whose users know them.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tripoint.core.ids import RoomId

# Whoever is at a screen has read it by then.
DELAY_MS: Final = 600_000
FIRST_MS: Final = 600_000
LONGER: Final = 144
LONGEST_MS: Final = 86_400_000
# So long after the last letter about a room the next begins anew.
FORGET_MS: Final = 43_200_000
# Places that wait; of more the oldest are not told.
MAX_WAITING: Final = 100
MAX_ROOMS: Final = 500


class Waiting(Struct, frozen=True):
    """An event that may be told: where it stands, and since when it waits (ms since 1970)."""

    position: int
    room_id: RoomId
    since_ms: int


class Pause(Struct, frozen=True):
    """When a room was in a letter last, and how long it is put off since."""

    at_ms: int
    wait_ms: int


class Digest(Struct, frozen=True):
    """What one reader's next letter waits for, by position; and the rooms of the last ones."""

    waiting: tuple[Waiting, ...] = ()
    pauses: Mapping[RoomId, Pause] = {}

    def add(self, place: Waiting) -> "Digest":
        """With one more event; the same where it waits already."""
        if any(one.position == place.position and one.room_id == place.room_id for one in self.waiting):
            return self
        waiting = sorted((*self.waiting, place), key=lambda one: (one.position, one.room_id))
        return replace(self, waiting=tuple(waiting[-MAX_WAITING:]))

    def without(self, gone: Collection[Waiting]) -> "Digest":
        return replace(self, waiting=tuple(one for one in self.waiting if one not in gone)) if gone else self

    def read(self, room_id: RoomId) -> "Digest":
        """The reader has read there: the next letter about this room is a first one."""
        if room_id not in self.pauses:
            return self
        return replace(self, pauses={key: pause for key, pause in self.pauses.items() if key != room_id})

    def due_ms(self) -> int | None:
        """When the letter is to be written; None where nothing waits."""
        return min((self._due_of(one) for one in self.waiting), default=None)

    def _due_of(self, one: Waiting) -> int:
        pause = self.pauses.get(one.room_id)
        ready_ms = 0 if pause is None or _over(pause, one.since_ms) else pause.at_ms + pause.wait_ms
        return max(one.since_ms + DELAY_MS, ready_ms)

    def written(self, now_ms: int) -> "Digest":
        """A letter told of all that waited."""
        pauses = {room_id: pause for room_id, pause in self.pauses.items() if not _over(pause, now_ms)}
        for room_id in {one.room_id for one in self.waiting}:
            before = pauses.pop(room_id, None)
            wait_ms = FIRST_MS if before is None else min(before.wait_ms * LONGER, LONGEST_MS)
            pauses[room_id] = Pause(now_ms, wait_ms)
        newest = sorted(pauses.items(), key=lambda pair: pair[1].at_ms)[-MAX_ROOMS:]
        return Digest((), dict(newest))


def _over(pause: Pause, now_ms: int) -> bool:
    """Whether a room was quiet for so long that it is as one that no letter was about."""
    return now_ms > pause.at_ms + max(pause.wait_ms, FORGET_MS)
