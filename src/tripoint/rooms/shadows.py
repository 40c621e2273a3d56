"""Shadow bans: what somebody says is accepted and shown to himself alone, on whatever protocol he says it.

An event is built and judged as any other, so that what would be refused is refused; then it is told to his own sessions
where the protocol shows one what one has said (IRC with echo-message, XMPP in rooms), and nobody else ever hears of it:
it is in no history, no state and on no other server. Matrix clients show what they have sent by themselves. Nobody is
invited by him, what he changes in a room stays as it was, and a direct talk that there was not cannot begin. That he
comes and goes, what he calls himself, and what he takes back of what he said before is seen as of anybody.
docs/mapping.md 18.3; docs/operate/administration.md
"""

from typing import Final

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import EventId
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import (
    Ban,
    CloseRoom,
    Command,
    CreateRoom,
    DeleteAlias,
    Invite,
    InviteByAddress,
    Kick,
    Knock,
    Origin,
    PassOn,
    RenameRoom,
    SetAlias,
    SetListed,
    SetTyping,
    Unban,
    UpgradeRoom,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room

# What is answered as if it had been done.
WITHOUT_A_TRACE: Final = (
    *(Invite, InviteByAddress, Knock, Kick, Ban, Unban),
    *(PassOn, SetTyping, SetListed, SetAlias, DeleteAlias, RenameRoom, CloseRoom),
)


def in_the_shadow(command: Command) -> Command:
    """What is done in the place of what was asked for. Refused(RATE_LIMITED) for what would show."""
    if isinstance(command, CreateRoom):
        return replace(command, invite=(), listed=False)
    if isinstance(command, UpgradeRoom):
        # What would be refused to anybody now and then tells nothing.
        raise Refused(Refusal.RATE_LIMITED, retry_after_ms=60_000)
    return command


def tell_alone(room_bus: Bus[RoomChange], room: Room, event: Event, origin: Origin | None) -> EventId:
    """Show an event to its sender."""
    change = EventCommitted(
        room.last_position, room.room_id, event, origin=origin, only_for=event.sender
    )
    room_bus.publish(change)
    return event.event_id
