"""Whether somebody who is in a room now has been in it all the time since."""

from enum import Enum

from tripoint.core.ids import UserId
from tripoint.rooms.ports import RoomReader, RoomView


class Stay(Enum):
    """What a joined user has been doing in a room since a token."""

    STAYED = "stayed"  # joined all the time
    RETURNED = "returned"  # joined then and now, and outside in between
    CAME = "came"  # outside then


async def stay_since(
    reader: RoomReader, room: RoomView, user_id: UserId, position: int
) -> tuple[Stay, int, int]:
    """What a user who is joined now has been doing since `position`; up to where the user has been told of
    the room's events, since no timeline tells an event twice; up to where the user knew its state."""
    if position >= room.recent_from:
        own = [
            item
            for item in room.recent
            if item.position > position and (item.event.type, item.event.state_key) == ("m.room.member", user_id)
        ]
        joined = all(item.event.content.get("membership") == "join" for item in own)
        before = own[0].replaced if own else None
        if joined and before is not None and before.content.get("membership") == "join":
            return Stay.STAYED, position, position
    then, told, inside, stayed = "leave", 0, 0, True
    for at, membership in await reader.own_memberships(room.room_id, user_id):
        if at > position:
            stayed = stayed and membership == "join"
        else:
            if membership in ("leave", "ban"):
                told = at  # what came up to here was told with the departure
            if then == "join" and membership != "join":
                inside = at
            then = membership
    if then != "join":
        return Stay.CAME, told, inside
    return (Stay.STAYED if stayed else Stay.RETURNED), position, position
