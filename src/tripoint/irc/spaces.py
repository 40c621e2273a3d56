"""A space on IRC: no channel, but what leads to channels. Who joins one is told what is in it.

spec: docs/mapping.md 22.1; Matrix client-server module spaces. What is in a space is rooms/spaces.py.
"""

from collections.abc import Callable

from tripoint.core.ids import RoomId
from tripoint.irc.render import cut
from tripoint.irc.session import IrcSession
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.spaces import children_of, is_space, may_look_from

MAX_SHOWN = 50
_TOPIC_BYTES = 200


async def tell_children(session: IrcSession, space: RoomView, say: Callable[[str], None]) -> None:
    """What a space holds, as far as the session's user may look at it."""
    names = session.names
    known: list[RoomView] = []
    others = 0
    for event in children_of(space, suggested_only=False):
        room = await _known(session, RoomId(event.state_key or ""))
        if room is not None and may_look_from(space, room, session.user_id):
            known.append(room)
        else:
            others += 1
    say(f"{names.channel(space)} is a space: {space.name or 'it has no name'}. Rooms in it: {len(known) + others}")
    for room in known[:MAX_SHOWN]:
        people = room.joined_count()
        kind = "a space" if is_space(room) else "1 member" if people == 1 else f"{people} members"
        topic = f": {cut(room.topic, _TOPIC_BYTES)}" if room.topic else ""
        say(f"{names.channel(room)} ({kind}){topic}")
    if others or len(known) > MAX_SHOWN:
        more = others + max(0, len(known) - MAX_SHOWN)
        say(f"and {more} more: of other servers, or not open to you")


async def _known(session: IrcSession, room_id: RoomId) -> RoomView | None:
    try:
        room = await session.reader.room(room_id)
    except Refused as refused:
        if refused.refusal is not Refusal.NO_SUCH_ROOM:
            raise
        return None
    return room if room.is_here(session.names.server) else None
