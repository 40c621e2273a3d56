"""Presence: what a user's sessions say, made one.

spec: docs/mapping.md 13.6, 13.7; Matrix client-server module presence. Kept in memory: after a restart
everybody is offline until a session says otherwise.
"""

from collections.abc import Callable

from tripoint.bus.interface import Bus
from tripoint.core.ids import UserId
from tripoint.rooms.changes import PresenceChanged, UserChange
from tripoint.rooms.commands import VIEWS
from tripoint.rooms.ports import Presence

_ORDER = ("offline", "unavailable", "online")
_OFFLINE = Presence("offline", None, 0)


class PresenceBoard:
    """rooms.ports.PresenceService, and the aggregate for readers."""

    def __init__(self, user_bus: Bus[UserChange], clock_ms: Callable[[], int]) -> None:
        self._user_bus = user_bus
        self._clock_ms = clock_ms
        self._sessions: dict[UserId, dict[str, tuple[str, str | None]]] = {}
        self._aggregate: dict[UserId, Presence] = {}

    def get(self, user_id: UserId) -> Presence:
        return self._aggregate.get(user_id, _OFFLINE)

    def is_on_a_view(self, user_id: UserId) -> bool:
        """Whether somebody is connected by IRC or XMPP, whatever he says of his presence."""
        return any(session.startswith(VIEWS) for session in self._sessions.get(user_id, ()))

    def session_up(self, user_id: UserId, session: str) -> None:
        self.set(user_id, session, "online", None)

    def session_down(self, user_id: UserId, session: str) -> None:
        sessions = self._sessions.get(user_id)
        if sessions is None or sessions.pop(session, None) is None:
            return
        if not sessions:
            del self._sessions[user_id]
        self._update(user_id)

    def set(self, user_id: UserId, session: str, presence: str, status_msg: str | None) -> None:
        self._sessions.setdefault(user_id, {})[session] = (presence, status_msg)
        self._update(user_id)

    def _update(self, user_id: UserId) -> None:
        before = self._aggregate.get(user_id)
        sessions = self._sessions.get(user_id, {}).values()
        presence, status = max(
            sessions, key=lambda said: (_ORDER.index(said[0]), said[1] is not None), default=("offline", None)
        )
        if before is not None and (before.presence, before.status_msg) == (presence, status):
            return
        now_ms = self._clock_ms()
        self._aggregate[user_id] = Presence(presence, status, now_ms)
        if presence == "offline" and (before is None or before.presence == "offline"):
            return
        self._user_bus.publish(PresenceChanged(user_id, presence, status, now_ms))
