"""What belongs to other servers and is asked of them when somebody here wants it: aliases, profiles, directories.

spec: Matrix server-server-api "Querying for information", "Published Room Directory". Answers to aliases are kept
for a short while, since a join by name asks twice: for the room, and for the way to it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, server_of
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import NamedRoom, RemoteDoor

KEPT_S = 60.0
MAX_KEPT = 1000
SPACE_KEPT_S = 300.0
# Each may be a megabyte.
MAX_SPACES = 50


class Abroad:
    """Asks; Refused(REMOTE_TIMEOUT) where a server gives no usable answer, NO_SUCH_ROOM without
    federation."""

    def __init__(
        self, door: RemoteDoor, elsewhere: Elsewhere, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._door = door
        self._elsewhere = elsewhere
        self._monotonic = monotonic
        self._spaces: OrderedDict[tuple[RoomId, bool], tuple[float, JsonObject]] = OrderedDict()
        self._aliases: OrderedDict[RoomAlias, tuple[float, NamedRoom]] = OrderedDict()

    async def resolve_alias(self, alias: RoomAlias) -> NamedRoom | None:
        """Where an alias leads. Whoever joins that room next finds the way to it."""
        kept = self._aliases.get(alias)
        if kept is not None and kept[0] > self._monotonic():
            found = kept[1]
        else:
            try:
                answer = await self._door.rooms.resolve_alias(alias)
            except RemoteFailed as failed:
                raise _unreachable(failed) from failed
            if answer is None:
                return None
            found = answer
            self._aliases[alias] = (self._monotonic() + KEPT_S, found)
            self._aliases.move_to_end(alias)
            if len(self._aliases) > MAX_KEPT:
                self._aliases.popitem(last=False)
        own = server_of(alias)
        # The server that gave the name is likely to be in the room, and known to answer.
        self._elsewhere.remember(found.room_id, tuple(dict.fromkeys((own, *found.servers))))
        return found

    async def space(
        self, room_id: RoomId, via: Sequence[ServerName], *, suggested_only: bool
    ) -> JsonObject:
        """A room and what lies below it, from the first server that says. Kept for a while, as the specification
        asks. Refused: NO_SUCH_ROOM, REMOTE_TIMEOUT."""
        key = (room_id, suggested_only)
        kept = self._spaces.get(key)
        if kept is not None and kept[0] > self._monotonic():
            return kept[1]
        refused = Refused(Refusal.NO_SUCH_ROOM)
        for server in dict.fromkeys((*via, *self.ways_to(room_id))):
            try:
                found = await self._door.rooms.hierarchy(server, room_id, suggested_only=suggested_only)
            except RemoteFailed as failed:
                refused = _unreachable(failed)
                continue
            self._spaces[key] = (self._monotonic() + SPACE_KEPT_S, found)
            self._spaces.move_to_end(key)
            if len(self._spaces) > MAX_SPACES:
                self._spaces.popitem(last=False)
            return found
        raise refused

    def ways_to(self, room_id: RoomId) -> Sequence[ServerName]:
        """Servers through which a room can be entered, as an alias told lately."""
        return self._elsewhere.ways_to(room_id)

    async def profile(self, user_id: UserId) -> JsonObject:
        """The profile of another server's user. Refused(NO_SUCH_USER) where there is none."""
        try:
            return await self._door.rooms.profile(user_id)
        except RemoteFailed as failed:
            raise _unreachable(failed) from failed

    async def public_rooms(self, server: ServerName, wanted: JsonObject) -> JsonObject:
        """A page of another server's directory, as that server gives it."""
        try:
            return await self._door.rooms.public_rooms(server, wanted)
        except RemoteFailed as failed:
            raise _unreachable(failed) from failed


def _unreachable(failed: RemoteFailed) -> Refused:
    return Refused(Refusal.REMOTE_TIMEOUT, f"{failed.host} does not answer as it should")
