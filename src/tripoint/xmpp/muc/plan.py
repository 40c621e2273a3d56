"""What a request about affiliations and roles becomes: ranks in one event, and what is done to members.

spec: XEP-0045 5.1.3, 5.2.2, 8.4, 9.1, 9.7, 10.4; docs/mapping.md 7.1, 7.3-7.5. Requests are read in admin.py and
config.py; whether somebody may do it is the room's business, but for what XEP-0045 forbids to everybody (check_wish),
and for what keeps a request from being done by half.
"""

from dataclasses import dataclass

from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.core.json_view import object_at
from tripoint.core.masks import mask_of_server
from tripoint.core.power import Rank, moderated
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.commands import Ban, Command, Invite, Kick, MaskList, SetMask, SetRanks, Unban
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.projection import affiliation_in, standing_in
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession

_HALFOP_KICK_LEVEL = 25  # docs/mapping.md 7: halfop is level 25, so it means something only where that may kick
_STAFF = frozenset({"owner", "admin"})


@dataclass(frozen=True, slots=True)
class Wish:
    """One <item/> of a request: who, and the affiliation or role he is to have."""

    user_id: UserId
    affiliation: str | None
    role: str | None
    reason: str | None = None


class Plan:
    """What one request does, in the order in which it is done. `public`: whether anybody may enter the room then."""

    def __init__(self, actor: UserId, room_id: RoomId, *, public: bool) -> None:
        self.actor = actor
        self.room_id = room_id
        self.public = public
        self.unbans: list[Unban] = []
        self.ranks: dict[UserId, Rank] = {}
        self.commands: list[Command] = []

    def ban_server(self, host: str, on: bool) -> None:
        mask = mask_of_server(host)
        self.commands.append(SetMask(actor=self.actor, room_id=self.room_id, list=MaskList.BAN, mask=mask, on=on))

    def kick(self, target: UserId, reason: str | None) -> None:
        self.commands.append(Kick(actor=self.actor, room_id=self.room_id, target=target, reason=reason))

    def ban(self, target: UserId, reason: str | None) -> None:
        self.commands.append(Ban(actor=self.actor, room_id=self.room_id, target=target, reason=reason))

    def unban(self, target: UserId, reason: str | None) -> None:
        self.unbans.append(Unban(actor=self.actor, room_id=self.room_id, target=target, reason=reason))

    def invite(self, target: UserId, reason: str | None) -> None:
        self.commands.append(Invite(actor=self.actor, room_id=self.room_id, target=target, reason=reason))

    async def carry_out(self, session: XmppSession, room: RoomView) -> None:
        """All of it, or nothing. spec: XEP-0045 9.2; docs/mapping.md 7.1"""
        if len(self.commands) + len(self.unbans) + len(self.ranks) > 1:
            for command in (*self.unbans, *self.commands):
                _check_allowed(room, command)
        do = session.doors.rooms.do
        for unban in self.unbans:
            await do(unban)
        if self.ranks:
            ranks = tuple(self.ranks.items())
            await do(SetRanks(actor=self.actor, room_id=self.room_id, ranks=ranks, absent=True))
        for command in self.commands:
            await do(command)


def _check_allowed(room: RoomView, command: Command) -> None:
    """Say no before anything of a request is done, in the room's own words (rooms/membership.py says them again)."""
    power = room.power
    own = power.user(command.actor)
    if isinstance(command, Invite):
        if own < power.invite:
            raise Refused(Refusal.POWER_TOO_LOW, "You may not invite to this room")
    elif isinstance(command, Kick | Ban | Unban):
        if own < (power.kick if isinstance(command, Kick) else power.ban):
            raise Refused(Refusal.POWER_TOO_LOW)
        if command.target != command.actor and power.user(command.target) >= own:
            raise Refused(Refusal.SAME_POWER)


def check_wish(room: RoomView, actor: UserId, wish: Wish) -> None:
    """Problem for what nobody may ask. Who may not ask at all hears that from the room."""
    own, theirs = standing_in(room, actor), affiliation_in(room, wish.user_id)
    if wish.user_id == actor:
        if wish.affiliation == "outcast" or wish.role == "none":
            # spec: XEP-0045 9.1, 8.2
            raise Problem("conflict", "You cannot ban or kick yourself; leave the room instead")
        if theirs == "owner" and wish.affiliation not in (None, "owner") and owners_of(room) == {actor}:
            # spec: XEP-0045 10.4
            raise Problem("conflict", "You are the only owner of this room; make somebody else one first")
    if own.role != "moderator" or theirs not in _STAFF:
        return
    if wish.role == "visitor":
        # spec: XEP-0045 8.4: by nobody
        raise Problem("not-allowed", "Owners and admins keep their voice")
    if wish.role == "participant" and (theirs == "owner" or own.affiliation != "owner"):
        # spec: XEP-0045 9.7
        raise Problem("not-allowed", "Owners and admins stay moderators")


def owners_of(room: RoomView) -> set[UserId]:
    """Everybody who is an owner, in the room or not."""
    return with_ranks(room, Rank.OWNER)


def with_ranks(room: RoomView, *ranks: Rank) -> set[UserId]:
    """Everybody, in the room or not, who has one of these ranks: none that all have."""
    named = [*room.power.creators, *object_at(room.power.content, "users")]
    if not room.power.exists:
        named.append(room.power.creator)
    return {UserId(one) for one in named if room.rank(UserId(one)) in ranks}


async def check_exists(session: XmppSession, user_id: UserId) -> None:
    """Problem for a name of this server that is nobody's. People of other XMPP servers may yet come."""
    if stand_in_address(user_id, session.doors.domains.server) is not None:
        return
    if server_of(user_id) == session.doors.domains.server and not await session.doors.accounts.is_local_user(user_id):
        raise Problem("item-not-found", "There is no such user")


def add_wish(room: RoomView, wish: Wish, plan: Plan) -> None:
    """What a wish becomes. docs/mapping.md 7.4 (roles), 7.5 (affiliations)"""
    user_id = wish.user_id
    if wish.role == "none":
        plan.kick(user_id, wish.reason)
    elif wish.role is not None:
        plan.ranks[user_id] = rank_of_role(room, wish.role)
    elif wish.affiliation == "outcast":
        plan.ban(user_id, wish.reason)
    elif wish.affiliation == "none":
        _add_none(room, wish, plan)
    else:
        _add_affiliation(room, wish, plan)


def _add_none(room: RoomView, wish: Wish, plan: Plan) -> None:
    user_id, membership = wish.user_id, room.membership(wish.user_id)
    if membership == "ban":
        plan.unban(user_id, wish.reason)
        return
    if room.rank(user_id) is not Rank.PLAIN:
        plan.ranks[user_id] = Rank.PLAIN
    if not plan.public and membership in ("join", "invite"):
        plan.kick(user_id, wish.reason)


def _add_affiliation(room: RoomView, wish: Wish, plan: Plan) -> None:
    """Owner, admin or member, who need not be in the room. spec: XEP-0045 5.2.2"""
    user_id, membership, public = wish.user_id, room.membership(wish.user_id), plan.public
    if membership == "ban":
        plan.unban(user_id, wish.reason)
    if wish.affiliation == "owner":
        plan.ranks[user_id] = Rank.OWNER
    elif wish.affiliation == "admin":
        plan.ranks[user_id] = Rank.OP
    elif public:
        plan.ranks[user_id] = Rank.VOICE
    elif room.rank(user_id).above(Rank.PLAIN):
        plan.ranks[user_id] = Rank.PLAIN
    if not public and membership not in ("join", "invite"):
        # spec: XEP-0045 9.5: whoever may enter now hears of it
        plan.invite(user_id, wish.reason)


def rank_of_role(room: RoomView, role: str) -> Rank:
    """docs/mapping.md 7.4: a role is for a visit in XEP-0045; here it lasts."""
    levels = room.power
    if role == "moderator":
        return Rank.HALFOP if levels.kick <= _HALFOP_KICK_LEVEL else Rank.OP
    if role == "visitor":
        return Rank.MUTED
    # spec: XEP-0045 9.7: who was a moderator is a participant then, in a moderated room too
    return Rank.VOICE if moderated(levels) else Rank.PLAIN
