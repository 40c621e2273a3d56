"""Invitations that went to people of other servers: where one does not arrive, who invited is told, wherever they are.

spec: docs/mapping.md 9.9, 10.13, 23.1; RFC6120 10.4.3
"""

from typing import Final

import structlog

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import SendNotice
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.session import Doors

log = structlog.get_logger()

# Invitations whose fate is watched; of older ones nobody hears more.
MAX_WATCHED: Final = 1000
# What is repeated of another server's reason.
MAX_REASON: Final = 300


class Invited:
    """Those that were sent in this process."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._sent: dict[tuple[str, str], tuple[RoomId, UserId, UserId]] = {}

    def sent(self, room: RoomView, room_jid: str, address: str, target: UserId) -> None:
        """An invitation of the room goes to a bare address."""
        member = room.member(target)
        if member is None:
            return
        self._sent.pop((room_jid, address), None)
        while len(self._sent) >= MAX_WATCHED:
            del self._sent[next(iter(self._sent))]
        self._sent[room_jid, address] = (room.room_id, target, member.event.sender)

    def failed(self, room_jid: str, address: str, why: str) -> None:
        """Something that the room sent to this address came back: once, if it still is an invitation."""
        room_id, target, inviter = self._sent.pop((room_jid, address), (None, None, None))
        room = None if room_id is None else self._doors.reader.peek(room_id)
        if room is None or target is None or inviter is None or room.membership(target) != "invite":
            return
        text = f"Your invitation of {address} to {room_jid} did not arrive: {why[:MAX_REASON]}"
        self._doors.spawn(self._tell(inviter, text))

    async def _tell(self, inviter: UserId, text: str) -> None:
        try:
            await self._doors.rooms.do(SendNotice(actor=inviter, target=inviter, text=text))
        except Refused as refused:
            log.info("muc.inviter_not_told", reason=refused.text)
