"""The door of a room: who of this server may come in, and in whose name.

What the auth rules of the room's version allow is decided there, when the event is built. Here it is said no in words
that a person understands, and what only servers of this kind know is held against who comes: masks, limit, password.
spec: docs/mapping.md 8.5-8.7, 9.3, 9.5, 25; Matrix client-server-api "Restricted rooms".
"""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.stand_ins import guise_of
from tripoint.rooms.commands import Join, MaskList
from tripoint.rooms.foreigners import check_foreigner
from tripoint.rooms.masks import MASKS, ban_that_meets, meets_list
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.room_passwords import RoomPasswords
from tripoint.rooms.settings import member_limit, rule_asks_password
from tripoint.rooms.spaces import allowed_rooms, is_space

_RESTRICTED = frozenset({"restricted", "knock_restricted"})
NOBODY_LEFT = "Nobody of this server who may let you in is in the room any more; ask for an invitation"


# Rooms that give entry and are named to who is not in them.
MAX_NAMED = 3
# How many of those who may ban get into a room beyond its limit.
PLACES_FOR_ADMINS = 10


class Way(Struct, frozen=True):
    """How somebody comes in. `invited_by`: on an invitation that is written in this member's name first.
    `authorised`: a member has to stand for the join (`join_authorised_via_users_server`)."""

    invited_by: UserId | None = None
    authorised: bool = False


class Entry:
    """Decides on joins of users of this server."""

    def __init__(
        self,
        server: ServerName,
        index: MembershipIndex,
        is_guest: Callable[[UserId], bool],
        passwords: RoomPasswords,
        find: Callable[[RoomId], Awaitable[Room | None]],
    ) -> None:
        self._find = find
        # Why a policy list that the room follows keeps somebody out; set by who wires.
        self.listed_against: Callable[[Room, UserId, str | None], Awaitable[str | None]] | None = None
        self._server = server
        self._index = index
        self._is_guest = is_guest
        self._passwords = passwords

    async def way_in(self, room: Room, command: Join) -> Way:
        """How a user who is not in the room comes in; Refused with the reason if not at all.

        Nothing may be awaited between this and building the event.
        """
        if self.listed_against is not None and room.head_membership(command.actor) not in ("join", "invite", "ban"):
            reason = await self.listed_against(room, command.actor, self._guise(command))
            if reason is not None:
                raise Refused(Refusal.BANNED, f"{Refusal.BANNED.value}: {reason}")
        asked = command.password is not None and rule_asks_password(room.head_event("m.room.join_rules"))
        right = False
        if asked and room.head_membership(command.actor) != "invite":
            assert command.password is not None
            right = await self._passwords.is_right(room, command.password)
        try:
            return self.decide(room, command, right)
        except Refused as refused:
            if refused.refusal is not Refusal.NOT_INVITED or room.join_rule not in _RESTRICTED:
                raise
            # docs/mapping.md 22.2. Nothing is built any more: there is time to look up what they are called.
            raise Refused(Refusal.NOT_INVITED, await self._what_gives_entry(room)) from refused

    async def _what_gives_entry(self, room: Room) -> str:
        """Which rooms give entry, as far as anybody may know of them."""
        named = []
        for room_id in allowed_rooms(room)[:MAX_NAMED]:
            other = await self._find(RoomId(room_id))
            if other is not None and (other.listed or other.join_rule == "public"):
                called = other.canonical_alias or other.name
                named.append(f"the space {called}" if is_space(other) else str(called))
        ways = " or ".join(dict.fromkeys(named)) or "one of the rooms that give entry"
        return f"You need an invitation, or to be in {ways}"

    def decide(self, room: Room, command: Join, knows_password: bool = False) -> Way:
        """As way_in, of somebody of whom it is known whether he knows the room's password."""
        actor, membership = command.actor, room.head_membership(command.actor)
        if membership == "ban":
            raise Refused(Refusal.BANNED)
        if self._is_guest(actor) and room.guest_access != "can_join":
            raise Refused(Refusal.GUESTS_FORBIDDEN)
        check_foreigner(room, actor, self._server)
        if membership != "invite" and ban_that_meets(room, actor, self._guise(command)) is not None:
            raise Refused(Refusal.BANNED)
        limit = member_limit(room)
        if limit is not None and membership != "join" and room.head_joined_count() >= self._most(room, actor, limit):
            raise Refused(Refusal.ROOM_FULL)
        rule = room.join_rule
        if membership in ("join", "invite") or rule == "public":
            return Way()
        welcoming = self._welcoming(room, command)
        if welcoming is not None:
            return Way(invited_by=welcoming)
        if rule in _RESTRICTED:
            return self._restricted(room, command, knows_password)
        raise Refused(Refusal.NOT_INVITED)

    def _guise(self, command: Join) -> str | None:
        return command.guise or guise_of(command.actor, self._server)

    def _most(self, room: Room, actor: UserId, limit: int) -> int:
        """Who could put others out gets into a full room, so that nobody keeps him out by filling it.

        spec: XEP-0045 7.2.9
        """
        power = room.head_power()
        return limit + PLACES_FOR_ADMINS if power.user(actor) >= power.ban else limit

    def _restricted(self, room: Room, command: Join, knows_password: bool) -> Way:
        event = room.head_event("m.room.join_rules")
        allow = event.content.get("allow") if event is not None else None
        joined = set(self._index.joined(command.actor))
        by_room = isinstance(allow, list) and any(
            isinstance(entry, dict)
            and entry.get("type") == "m.room_membership"
            and entry.get("room_id") in joined
            for entry in allow
        )
        if by_room:
            return Way(authorised=True)
        if rule_asks_password(event):
            if not knows_password:
                raise Refused(Refusal.WRONG_ROOM_PASSWORD)
            if authorising_user(room, self._server) is None:
                raise Refused(Refusal.WRONG_ROOM_PASSWORD, NOBODY_LEFT)
            return Way(authorised=True)
        raise Refused(Refusal.NOT_INVITED)

    def _welcoming(self, room: Room, command: Join) -> UserId | None:
        """Who stands behind the list of those who need no invitation, if the actor is on it (docs/mapping.md 9.5).

        As long as it is a member of this server who may invite: it is in his name that we let in.
        """
        if not meets_list(room, MaskList.INVITE, command.actor, self._guise(command)):
            return None
        setter = room.state[MASKS, ""].sender
        power = room.head_power()
        stands = (
            server_of(setter) == self._server
            and room.head_membership(setter) == "join"
            and power.user(setter) >= power.invite
        )
        return setter if stands else None


def authorising_user(room: Room, server: ServerName) -> UserId | None:
    """A member of `server` who may invite. spec: rooms/v8 "join_authorised_via_users_server"."""
    power = room.head_power()
    for user_id in room.joined():
        if server_of(user_id) == server and power.user(user_id) >= power.invite:
            return user_id
    return None
