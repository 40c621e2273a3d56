"""Accepting an invitation to a direct room, for who is here by IRC or XMPP: a message from somebody is a message there.

Matrix clients show an invitation and ask. IRC and XMPP have no such thing between two people, and what is said while
it is pending would be seen by nobody. So who is connected by one of them joins the direct rooms that local people open
with him, at once or when he connects; who has only Matrix clients is asked by those. Blocked people and encrypted rooms
wait.
spec: docs/mapping.md 15.5, 16.3, 19.2; Matrix client-server-api "Direct Messaging"
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import MembershipChanged, UserChange
from tripoint.rooms.commands import Join
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room, direct_pair
from tripoint.store.interface import StoreError

log = structlog.get_logger()

# Invitations that wait to be looked at. What does not fit is found when somebody connects again.
QUEUE: Final = 1000


class DirectInvitations:
    """Hears of all users (`user_changed`), and of those who connect (`came`)."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        index: MembershipIndex,
        membership: Membership,
        blocks: Blocks,
        is_on_a_view: Callable[[UserId], bool],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._index = index
        self._membership = membership
        self._blocks = blocks
        self._is_on_a_view = is_on_a_view
        # A user and a room, or every room that he is invited to.
        self._waiting: dict[tuple[UserId, RoomId | None], None] = {}
        self._worker: asyncio.Task[None] | None = None

    def user_changed(self, change: UserChange) -> None:
        """Only looks; what is done is done later."""
        if not isinstance(change, MembershipChanged) or change.membership != "invite":
            return
        if self._is_on_a_view(change.user_id):
            self._note(change.user_id, change.room_id)

    def came(self, user_id: UserId) -> None:
        """Somebody has connected by IRC or XMPP, and was not by either before."""
        self._note(user_id, None)

    async def close(self) -> None:
        """End what is running; the invitations are still there at the next start."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _note(self, user_id: UserId, room_id: RoomId | None) -> None:
        if len(self._waiting) >= QUEUE:
            return
        self._waiting[user_id, room_id] = None
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        while self._waiting:
            user_id, room_id = next(iter(self._waiting))
            del self._waiting[user_id, room_id]
            try:
                memberships = await self._index.load(user_id)
                invited = [one for one, (what, _) in memberships.items() if what == "invite"]
                for one in invited if room_id is None else [room_id]:
                    await self._look_at(user_id, await self._rooms.get(one))
            except (Refused, StoreError) as error:
                log.info("room.direct_not_entered", user_id=user_id, reason=str(error))
            except Exception:  # the others have their turn; the bug is told
                log.exception("room.direct_invitation_failed", user_id=user_id)

    async def _look_at(self, user_id: UserId, room: Room) -> None:
        member = room.members().get(user_id)
        if member is None or member.membership != "invite" or member.event.content.get("is_direct") is not True:
            return
        sender = member.event.sender
        of_two = room.row.direct_pair == direct_pair(sender, user_id)
        if not of_two or server_of(sender) != self._server or room.encrypted or self._blocks.blocks(user_id, sender):
            return
        if room.head_membership(user_id) == "invite":
            await self._membership.join(Join(actor=user_id, room_id=room.room_id))
