"""Presence of Matrix devices: a device is there while it syncs, and for a minute after.

spec: Matrix client-server GET /sync set_presence, module presence; docs/mapping.md 13.7
"""

from collections.abc import Callable

from tripoint.core.ids import UserId
from tripoint.rooms.ports import PresenceService

COUNTS_FOR_MS = 60_000


class DevicePresence:
    """Keeps the time of each device's last sync; sweep() ends those that are gone, called now and then."""

    def __init__(self, presence: PresenceService, clock_ms: Callable[[], int]) -> None:
        self._presence = presence
        self._clock_ms = clock_ms
        self._seen: dict[str, tuple[UserId, int]] = {}
        self._said: dict[str, tuple[str, str | None]] = {}

    def ago_ms(self, ts_ms: int) -> int:
        return max(0, self._clock_ms() - ts_ms)

    def synced(self, user_id: UserId, session: str, presence: str) -> None:
        """A device synced with this set_presence (online, unavailable or offline = leave it as it is)."""
        if presence == "offline":
            return
        known = session in self._seen
        self._seen[session] = (user_id, self._clock_ms())
        said, status = self._said.get(session, (None, None))
        if not known or said != presence:
            self._said[session] = (presence, status)
            self._presence.set(user_id, session, presence, status)

    def set(
        self, user_id: UserId, session: str, presence: str, status_msg: str | None, *, lasts: bool = False
    ) -> None:
        """The user said it: PUT /presence. `lasts`: until something else is said, for who never syncs."""
        if presence == "offline":
            self._end(session)
            if lasts:
                self._presence.session_down(user_id, session)
            return
        if not lasts:
            self._seen[session] = (user_id, self._clock_ms())
        self._said[session] = (presence, status_msg)
        self._presence.set(user_id, session, presence, status_msg)

    def sweep(self) -> None:
        """End devices that have not synced for a minute."""
        before = self._clock_ms() - COUNTS_FOR_MS
        for session, (_, at) in list(self._seen.items()):
            if at < before:
                self._end(session)

    def _end(self, session: str) -> None:
        seen = self._seen.pop(session, None)
        self._said.pop(session, None)
        if seen is not None:
            self._presence.session_down(seen[0], session)
