"""What other servers are told and nobody keeps: who types, who is there. Said again while it lasts, and not too often.

spec: Matrix server-server-api "Typing Notifications", "Presence"
"""

from collections.abc import Callable, Sequence
from typing import Final

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.matrix.federation.edus import presence_edu, typing_edu
from tripoint.matrix.federation.lanes import Edu, EduKey
from tripoint.rooms.changes import PresenceChanged, TypingChanged

# Other servers end somebody's typing by themselves: it is said again while it lasts.
TYPING_AGAIN_MS: Final = 30_000
# How often other servers are told of one user's presence.
PRESENCE_GAP_MS: Final = 5_000

# The rooms that a local user is joined to, as far as they are known at once.
RoomsOf = Callable[[UserId], Sequence[RoomId]]


class Fleeting:
    """`servers` gives the other servers in a room, `tell` says something to one of them; tick() now and then.

    `presence_of`: whom a user's presence is told through; None: nobody hears of presence.
    """

    def __init__(
        self,
        server: ServerName,
        servers: Callable[[RoomId], Sequence[ServerName]],
        tell: Callable[[ServerName, EduKey, Edu], None],
        now_ms: Callable[[], int],
        presence_of: RoomsOf | None,
    ) -> None:
        self._server = server
        self._servers = servers
        self._tell = tell
        self._now_ms = now_ms
        self._presence_of = presence_of
        self._typing: dict[tuple[RoomId, UserId], int] = {}  # who types here, and when that was last said
        # When somebody's presence was told last, and what is to be told of it later.
        self._told_ms: dict[UserId, int] = {}
        self._later: dict[UserId, PresenceChanged] = {}

    def typing_changed(self, change: TypingChanged) -> None:
        for user_id in change.user_ids ^ change.before:
            if server_of(user_id) == self._server:
                self._tell_typing(change.room_id, user_id, user_id in change.user_ids)

    def presence_changed(self, change: PresenceChanged) -> None:
        """Once in a while for each user: of what comes sooner the newest is told then."""
        if self._presence_of is None or server_of(change.user_id) != self._server:
            return
        now_ms = self._now_ms()
        if now_ms - self._told_ms.get(change.user_id, -PRESENCE_GAP_MS) < PRESENCE_GAP_MS:
            self._later[change.user_id] = change
            return
        self._later.pop(change.user_id, None)
        self._told_ms[change.user_id] = now_ms
        key, edu = presence_edu(change, now_ms)
        rooms = self._presence_of(change.user_id)
        for server in dict.fromkeys(server for room_id in rooms for server in self._servers(room_id)):
            self._tell(server, key, edu)

    def tick(self) -> None:
        """Say what is due."""
        now_ms = self._now_ms()
        for user, told_ms in list(self._told_ms.items()):
            if now_ms - told_ms >= PRESENCE_GAP_MS:
                del self._told_ms[user]
                later = self._later.pop(user, None)
                if later is not None:
                    self.presence_changed(later)
        for (room_id, user_id), said_ms in list(self._typing.items()):
            if now_ms - said_ms >= TYPING_AGAIN_MS:
                self._tell_typing(room_id, user_id, True)

    def _tell_typing(self, room_id: RoomId, user_id: UserId, typing: bool) -> None:
        servers = self._servers(room_id)
        if typing and servers:
            self._typing[room_id, user_id] = self._now_ms()
        else:
            self._typing.pop((room_id, user_id), None)
        key, edu = typing_edu(room_id, user_id, typing)
        for server in servers:
            self._tell(server, key, edu)
