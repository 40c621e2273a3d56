"""Accepting an invitation to a direct room, for who is here by IRC or XMPP: a message from somebody is a message there.

Matrix clients show an invitation and ask. IRC and XMPP have no such thing between two people, and what is said while
it is pending would be seen by nobody. So who is connected by one of them joins the direct rooms that local people open
with him: at once, or when he connects (AcceptDirect); who has only Matrix clients is asked by those. Blocked people and
encrypted rooms wait.
spec: docs/mapping.md 15.5, 16.3, 19.2; Matrix client-server-api "Direct Messaging"
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.notices import writes_notices
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import MembershipChanged, UserChange
from tripoint.rooms.commands import AcceptDirect, Done, Join
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import direct_pair
from tripoint.store.interface import StoreError

log = structlog.get_logger()

# Invitations that wait to be looked at. What does not fit is found when somebody connects again.
QUEUE: Final = 1000


class DirectInvitations:
    """Hears of all users (`user_changed`), and is the handler of AcceptDirect."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        membership: Membership,
        people: People,
        blocks: Blocks,
        is_on_a_view: Callable[[UserId], bool],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._membership = membership
        self._people = people
        self._blocks = blocks
        self._is_on_a_view = is_on_a_view
        self._waiting: dict[tuple[UserId, RoomId], None] = {}
        self._worker: asyncio.Task[None] | None = None

    def user_changed(self, change: UserChange) -> None:
        """Only looks; what is done is done later."""
        if not isinstance(change, MembershipChanged) or change.membership != "invite":
            return
        if len(self._waiting) < QUEUE and self._is_on_a_view(change.user_id):
            self._waiting[change.user_id, change.room_id] = None
            if self._worker is None or self._worker.done():
                self._worker = asyncio.ensure_future(self._work())

    async def close(self) -> None:
        """End what is running; the invitations are still there at the next start."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            user_id, room_id = next(iter(self._waiting))
            del self._waiting[user_id, room_id]
            try:
                await self.accept(AcceptDirect(actor=user_id, room_id=room_id))
            except (Refused, StoreError) as error:
                log.info("room.direct_not_entered", user_id=user_id, reason=str(error))
            except Exception:  # the others have their turn; the bug is told
                log.exception("room.direct_invitation_failed", user_id=user_id)

    async def accept(self, command: AcceptDirect) -> Done:
        """See commands.AcceptDirect."""
        user_id = command.actor
        room = await self._rooms.get(command.room_id)
        member = room.members().get(user_id)
        if member is None or member.membership != "invite" or member.event.content.get("is_direct") is not True:
            return Done(room.room_id)
        sender = member.event.sender
        of_two = room.row.direct_pair == direct_pair(sender, user_id)
        hidden = self._blocks.hides_invitation(user_id, sender) and not writes_notices(sender, self._server)
        if not of_two or server_of(sender) != self._server or room.encrypted or hidden:
            return Done(room.room_id)
        if room.head_membership(user_id) != "invite":
            return Done(room.room_id)
        done = await self._membership.join(Join(actor=user_id, room_id=room.room_id))
        # docs/mapping.md 15.2: who opened it has it in m.direct by his own client.
        await self._people.mark_direct(user_id, sender, room.room_id)
        return done
