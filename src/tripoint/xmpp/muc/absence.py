"""People of other XMPP servers who are in rooms here: how long they stay members while they are not present.

A day: nobody else takes them out, as their server cannot say that they have left. When each was present last is kept,
to the hour, so that a restart gives nobody another day.
spec: docs/mapping.md 23.1. Who is present, foreigners.py knows.
"""

from collections.abc import Collection
from typing import Final

import structlog

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import Leave
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.session import Doors

log = structlog.get_logger()

_SEEN: Final = "foreign_seen"  # name table: "room user" -> when they were present last, ms since 1970; "" for gone
STAYS_MS: Final = 24 * 3600 * 1000
# What is kept of somebody who stays present is never older.
NOTED_MS: Final = 3600 * 1000
# Leaves of one look; the others go with the next.
MAX_LEAVES: Final = 50

Place = tuple[RoomId, UserId]


class Absences:
    """When everybody of another server was present last, in each room that they are a member of."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._seen: dict[Place, int] = {}
        self._noted: dict[Place, int] = {}

    async def start(self) -> None:
        """Load what was noted before."""
        for key, value in (await self._doors.names.load_names(_SEEN, "")).items():
            room_id, _, user_id = key.partition(" ")
            if value.isdecimal():
                self._seen[RoomId(room_id), UserId(user_id)] = int(value)
        self._noted = dict(self._seen)

    def present(self, place: Place) -> None:
        """They are there now; before they enter for the first time, so that it is kept with that."""
        self._seen[place] = now = self._doors.now_ms()
        if now - self._noted.get(place, 0) >= NOTED_MS:
            self._note(place)

    def gone(self, place: Place) -> None:
        """They are not there any more: a day begins."""
        self._seen[place] = self._doors.now_ms()
        self._note(place)

    async def see_out(self, present: Collection[Place]) -> None:
        """End the memberships of who was away for too long."""
        before = self._doors.now_ms() - STAYS_MS
        due = [place for place, seen in self._seen.items() if seen <= before and place not in present]
        for room_id, user_id in due[:MAX_LEAVES]:
            try:
                await self._doors.rooms.do(Leave(actor=user_id, room_id=room_id, reason="Away for a day"))
            except Refused as refused:
                log.debug("muc.absent_not_gone", room_id=room_id, refusal=refused.refusal.name)
                if refused.refusal is Refusal.SERVER_BUSY:
                    continue  # the next look tries again
                # Else they were removed, or the room is closed.
            self._forget((room_id, user_id))

    def _forget(self, place: Place) -> None:
        self._seen.pop(place, None)
        self._noted.pop(place, None)
        self._doors.names.put_name(_SEEN, "", " ".join(place), "")

    def _note(self, place: Place) -> None:
        self._noted[place] = self._seen[place]
        self._doors.names.put_name(_SEEN, "", " ".join(place), str(self._seen[place]))
