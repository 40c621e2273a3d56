"""Shadow bans: what somebody says is accepted and shown to himself alone, on whatever protocol he says it.

An event is built and judged as any other, so that what would be refused is refused; then it is told to his own sessions
where the protocol shows one what one has said (IRC with echo-message, XMPP in rooms), and nobody else ever hears of it:
it is in no history, no state and on no other server. Matrix clients show what they have sent by themselves. Nobody is
invited by him, what he changes in a room stays as it was, and a direct talk that there was not cannot begin. He leaves
rooms and takes back what he said before as anybody does.
docs/mapping.md 18.3; docs/operate/administration.md
"""

from typing import Final

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import EventId
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import Command, CreateRoom, Invite, Knock, Origin, SetListed, SetTyping
from tripoint.rooms.room import Room

# What is answered as if it had been done.
WITHOUT_A_TRACE: Final = (Invite, Knock, SetTyping, SetListed)


def in_the_shadow(command: Command) -> Command:
    """What is done in the place of what was asked for."""
    if isinstance(command, CreateRoom):
        return replace(command, invite=(), listed=False)
    return command


def tell_alone(room_bus: Bus[RoomChange], room: Room, event: Event, origin: Origin | None) -> EventId:
    """Show an event to its sender."""
    change = EventCommitted(
        room.last_position, room.room_id, event, origin=origin, only_for=event.sender
    )
    room_bus.publish(change)
    return event.event_id
