"""Slow mode: how soon somebody may say something more in a room.

Kept in memory: a restart forgives who has just spoken. Who may ban is not held up.
spec: XEP-0500 6; docs/mapping.md 8.18
"""

from collections import OrderedDict
from collections.abc import Callable

from tripoint.core.ids import RoomId, UserId
from tripoint.core.sealed import is_sealed
from tripoint.rooms.commands import SendEvent
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.settings import slow_mode_s

# What is text for a reader: reactions and redactions are not slowed down.
_SAID = frozenset({"m.room.message", "m.room.encrypted", "m.sticker"})
# Those who have spoken last, over all rooms with slow mode; who falls out early may speak early.
REMEMBERED = 20_000


class Pace:
    """When everybody has spoken last in rooms with slow mode. `clock_ms`: milliseconds since 1970."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._last: OrderedDict[tuple[RoomId, UserId], int] = OrderedDict()

    def take(self, room: Room, command: SendEvent) -> Callable[[], None] | None:
        """Somebody says one thing: Refused(SLOW_MODE) where it is too soon. What to call where it then fails, so that
        it was not said; None where nobody counts."""
        seconds = slow_mode_s(room)
        if not seconds or not _is_said(command):
            return None
        power = room.head_power()
        if power.user(command.actor) >= power.ban:
            return None
        key, now = (room.room_id, command.actor), self._clock_ms()
        before = self._last.get(key)
        if before is not None and 0 <= now - before < seconds * 1000:
            wait_ms = seconds * 1000 - (now - before)
            text = f"Slow mode: {seconds} seconds between two messages; wait {-(-wait_ms // 1000)} more"
            raise Refused(Refusal.SLOW_MODE, text, retry_after_ms=wait_ms)
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

        def unsaid() -> None:
            if before is None:
                self._last.pop(key, None)
            else:
                self._last[key] = before

        return unsaid


def _is_said(command: SendEvent) -> bool:
    return command.type in _SAID or is_sealed(command.type, command.content)
