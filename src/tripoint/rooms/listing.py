"""Who of a room is listed where lists are kept by clients: everybody, or in a huge room those who matter.

Members whose servers the room denies can take no part in it, and are not listed at all (9.12).
spec: docs/mapping.md 4.7, 9.12. IRC and XMPP tell each client who is there; with tens of thousands that is no list
any more.
Of those who spoke in the last 30 days, the ones are known who did so among the newest events in memory.
"""

from collections.abc import Callable
from typing import Final

from tripoint.core.ids import ServerName, UserId, server_of
from tripoint.core.json_view import object_at
from tripoint.core.power import Rank
from tripoint.rooms.ports import Presence, RoomView

FULL_LIST_MEMBERS: Final = 1000
_SPOKEN_MS: Final = 30 * 24 * 3600 * 1000
CUT_NOTE: Final = "This room has {count} members: those with a rank, those online and those who talk are listed"


# What is said of them when they go from the list.
DENIED_NOTE: Final = "server denied"


def lists_all(room: RoomView) -> bool:
    """Whether every member is listed, whose server is not denied."""
    return room.joined_count() <= FULL_LIST_MEMBERS


def denied_members(room: RoomView, own: ServerName) -> frozenset[UserId]:
    """Members whose servers the room's access control list denies: of almost every room nobody.

    Never those of this server, `own`: they are here, whatever others take from them (21.7).
    """
    if ("m.room.server_acl", "") not in room.state:
        return frozenset()
    denied = {server for server in room.servers() if server != own and not room.allows_server(server)}
    return frozenset(user_id for user_id in room.joined() if server_of(user_id) in denied) if denied else frozenset()


def is_listed(room: RoomView, user_id: UserId, presence: Callable[[UserId], Presence], own: ServerName) -> bool:
    """Whether a member is listed in a huge room without having said anything."""
    home = server_of(user_id)
    if home != own and not room.allows_server(home):
        return False
    return room.rank(user_id).above(Rank.PLAIN) or presence(user_id).presence != "offline"


def listed_members(
    room: RoomView, presence: Callable[[UserId], Presence], now_ms: int, own: ServerName
) -> list[UserId]:
    """Who is listed in a huge room as it is now, each once, in the order of joining."""
    power, joined = room.power, room.joined()
    # Only who is named in the levels can stand out, as long as being nobody in particular is no rank.
    named = {*object_at(power.content, "users"), *power.creators, power.creator}
    wanted = {
        item.event.sender
        for item in room.recent
        if not item.event.is_state and item.event.origin_server_ts >= now_ms - _SPOKEN_MS
    }
    wanted.update(user_id for name in named if (user_id := UserId(name)) in joined and _stands_out(room, user_id))
    denied = denied_members(room, own)
    return [
        user_id
        for user_id in joined
        if (user_id in wanted or presence(user_id).presence != "offline") and user_id not in denied
    ]


def _stands_out(room: RoomView, user_id: UserId) -> bool:
    return room.rank(user_id).above(Rank.PLAIN)
