"""Membership: joining, leaving, inviting, kicking, banning, knocking, and the name one has in a room.

Each command is one m.room.member event. The checks here exist to say no in words a person understands
(docs/mapping.md 25); what is allowed is decided by the auth rules of the room's version. Where this server is not
in the room, elsewhere.py asks one that is.
spec: Matrix client-server "Room membership", rooms/v*.md "Authorization rules" 5
"""

from collections.abc import Awaitable, Callable, Mapping

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.core.notices import writes_notices
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.commands import Ban, Command, Done, Invite, Join, Kick, Knock, Leave, SetRoomNick, Unban
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.entry import Entry, Way, authorising_user
from tripoint.rooms.foreigners import OTHER_SERVER, check_foreigner
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.server_lists import ServerLists
from tripoint.rooms.sweeping import UNSTABLE_FLAG, begun
from tripoint.rooms.transaction import RoomTransaction
from tripoint.rooms.writer import Writer

LoadProfile = Callable[[UserId], Awaitable[Mapping[str, str]]]


class People:
    """What membership needs to know of local accounts; filled in by accounts, wired by runtime."""

    def __init__(
        self,
        exists: Callable[[UserId], Awaitable[bool]],
        is_guest: Callable[[UserId], bool],
        guest_room_wait_s: Callable[[UserId], float],
        profile: LoadProfile,
        mark_direct: Callable[[UserId, UserId, RoomId], Awaitable[None]],
        stored_profile: LoadProfile,
        refuses_invites: Callable[[UserId], bool],
        is_suspended: Callable[[UserId], bool],
        is_shadow_banned: Callable[[UserId], bool],
        stand_in: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self.exists = exists
        self.is_guest = is_guest
        # How long a guest waits until it may make one more room; 0: it is counted.
        self.guest_room_wait_s = guest_room_wait_s
        self.profile = profile
        self.mark_direct = mark_direct
        self.stored_profile = stored_profile
        self.refuses_invites = refuses_invites
        self.is_suspended = is_suspended
        self.is_shadow_banned = is_shadow_banned
        # Makes who stands for somebody of another XMPP server; None where none is spoken to.
        self.stand_in = stand_in


def profile_content(membership: str, profile: Mapping[str, str], nick: str | None = None) -> JsonObject:
    """The content of a member event for somebody with this profile (docs/mapping.md 2.5)."""
    content: JsonObject = {"membership": membership}
    name = nick if nick is not None else profile.get("displayname")
    if name is not None:
        content["displayname"] = name
    if "avatar_url" in profile:
        content["avatar_url"] = profile["avatar_url"]
    return content


class Membership:
    """Handlers of the membership commands."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        people: People,
        index: MembershipIndex,
        elsewhere: Elsewhere,
        entry: Entry,
    ) -> None:
        self._elsewhere = elsewhere
        self._entry = entry
        self._rooms = rooms
        self._writer = writer
        self._people = people
        self._index = index
        # The policy lists of the server itself; set by who wires.
        self.server_lists: ServerLists | None = None

    async def join(self, command: Join) -> Done:
        actor = command.actor
        profile = await self._people.profile(actor)
        await self._index.load(actor)
        content = profile_content("join", profile, command.nick)
        for key, value in command.content.items():
            content.setdefault(key, value)
        if command.reason is not None:
            content["reason"] = command.reason
        room = await self._elsewhere.present(command.room_id)
        await self._check_lists(actor, command.room_id, room)
        if room is None:
            self._check_may_go_elsewhere(command)
            self._index.check_one_more(actor)
            event_id = await self._elsewhere.join(
                command.room_id, actor, content, command.via, whole=command.whole
            )
            if event_id is not None:
                return Done(command.room_id, event_id, created=True)
            room = await self._rooms.get(command.room_id)
        current = room.head_event("m.room.member", actor)
        membership = room.head_membership(actor)
        if membership == "join" and current is not None and not command.content:
            if room.membership(actor) != "join":
                # Another session's join is on its way to the disk; what is written in order comes after it.
                await self._writer.write([])
            return Done(room.room_id, current.event_id)
        if membership != "join":
            self._index.check_one_more(actor)
        way = Way()
        if membership != "join":
            way = await self._entry.way_in(room, command)
            membership = room.head_membership(actor)  # checking a password takes a moment
        if membership != "join" and room.partial is not None:
            # Whether this user is banned may not be known here yet; a server that has all members knows.
            event_id = await self._elsewhere.let_in(room, actor, content)
            return Done(room.room_id, event_id, created=True)
        transaction = self._writer.begin(room, command.ts_ms)
        if way.invited_by is not None:
            invitation = profile_content("invite", profile)
            transaction.append(way.invited_by, "m.room.member", invitation, state_key=actor)
        elif way.authorised:
            authoriser = authorising_user(room, self._writer.signer.server)
            if authoriser is None:
                event_id = await self._elsewhere.let_in(room, actor, content)
                return Done(room.room_id, event_id, created=True)
            content["join_authorised_via_users_server"] = authoriser
        transaction.append(actor, "m.room.member", content, state_key=actor)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id, created=membership != "join")

    async def _check_lists(self, actor: UserId, room_id: RoomId, room: Room | None) -> None:
        """Whom the server's own lists keep out, and of which rooms (server_lists.py)."""
        if self.server_lists is None or (room is not None and room.head_membership(actor) == "join"):
            return
        names = () if room is None else (*room.aliases, *filter(None, (room.canonical_alias,)))
        await self.server_lists.check_enters(actor, room_id, names)

    def _check_may_go_elsewhere(self, command: Join | Knock) -> None:
        """docs/mapping.md 1.9: guests enter rooms that federate only where an op of this server let guests in; 23.1:
        people of other XMPP servers enter none of another server."""
        if stand_in_address(command.actor, self._writer.signer.server) is not None:
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, OTHER_SERVER)
        if self._people.is_guest(command.actor):
            known = command.via or self._elsewhere.ways_to(command.room_id)
            raise Refused(Refusal.GUESTS_FORBIDDEN if known else Refusal.NO_SUCH_ROOM)

    async def leave(self, command: Leave) -> Done:
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) not in ("join", "invite", "knock"):
            raise Refused(Refusal.NOT_JOINED)
        if room.head_membership(command.actor) == "invite" and self._is_notices(room):
            raise Refused(Refusal.NOTICES_STAY)
        if not room.is_here(self._writer.signer.server):
            content: JsonObject = {"membership": "leave"}
            if command.reason is not None:
                content["reason"] = command.reason
            event_id = await self._elsewhere.leave(room, command.actor, content)
            return Done(room.room_id, event_id, created=True)
        return await self._set(room, command, command.actor, "leave", command.reason)

    def _notifies(self, user_id: UserId) -> bool:
        return writes_notices(user_id, self._writer.signer.server)

    def _is_notices(self, room: Room) -> bool:
        """spec: client-server module server-notices: its invitation cannot be rejected"""
        return room.row.direct_pair is not None and self._notifies(room.create_event.sender)

    async def invite(self, command: Invite) -> Done:
        target = command.target
        local = server_of(target) == self._writer.signer.server
        if self.server_lists is not None:
            await self.server_lists.check_invites(command.actor, target, command.room_id)
        if local and not await self._people.exists(target):
            await self._make_known(command)
        if local and self._people.refuses_invites(target) and not self._notifies(command.actor):
            raise Refused(Refusal.INVITES_BLOCKED)
        # What a user of another server is called is for that server to say, once they have joined.
        profile = await self._people.profile(target) if local else {}
        room = await self._rooms.get(command.room_id)
        if command.third_party is None:
            self._check_inside(room, command.actor)
        if not command.is_direct:
            check_foreigner(room, target, self._writer.signer.server)
        membership = room.head_membership(target)
        if membership == "join":
            raise Refused(Refusal.ALREADY_JOINED)
        if membership == "ban":
            raise Refused(Refusal.BANNED, "They are banned from this room")
        if command.third_party is None:
            self.check_may_invite(room, command.actor)
        content = profile_content("invite", profile)
        if command.third_party is not None:
            content["third_party_invite"] = command.third_party
        if command.is_direct:
            content["is_direct"] = True
        if command.reason is not None:
            content["reason"] = command.reason
        for key, value in command.content.items():
            content.setdefault(key, value)
        if not local:
            if room.create_event.content.get("m.federate") is False:
                raise Refused(Refusal.NOT_SUPPORTED, "This room is for users of this server alone")
            if not room.allows_server(server_of(target)):
                raise Refused(Refusal.SERVER_DENIED, "Their server is denied in this room")
            event_id = await self._elsewhere.invite(room, command.actor, target, content)
            return Done(room.room_id, event_id, created=True)
        transaction = self._writer.begin(room, command.ts_ms)
        transaction.append(command.actor, "m.room.member", content, state_key=target)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id, created=True)

    async def _make_known(self, command: Invite) -> None:
        """Somebody is invited who is not known here: of another XMPP server, or there is no such user.

        docs/mapping.md 1.7, 23.1
        """
        server = self._writer.signer.server
        address = stand_in_address(command.target, server)
        if address is None:
            raise Refused(Refusal.NO_SUCH_USER)
        if self._people.stand_in is None:
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, "This server does not talk to other XMPP servers")
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        check_foreigner(room, command.target, server)
        self.check_may_invite(room, command.actor)
        await self._people.stand_in(address)

    def check_may_invite(self, room: Room, actor: UserId) -> None:
        """Refused: NOT_JOINED, POWER_TOO_LOW."""
        self._check_inside(room, actor)
        power = room.head_power()
        if power.user(actor) < power.invite:
            raise Refused(Refusal.POWER_TOO_LOW, "You may not invite to this room")

    async def kick(self, command: Kick) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        if room.head_membership(command.target) not in ("join", "invite", "knock"):
            raise Refused(Refusal.TARGET_NOT_JOINED)
        self._check_over(room, command.actor, command.target, room.head_power().kick, "kick from")
        return await self._set(room, command, command.target, "leave", command.reason, sweep=command.sweep)

    async def ban(self, command: Ban) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        self._check_over(room, command.actor, command.target, room.head_power().ban, "ban from")
        if room.head_membership(command.target) == "ban":
            event = room.head_event("m.room.member", command.target)
            return Done(room.room_id, None if event is None else event.event_id)
        return await self._set(room, command, command.target, "ban", command.reason, sweep=command.sweep)

    async def unban(self, command: Unban) -> Done:
        room = await self._rooms.get(command.room_id)
        self._check_inside(room, command.actor)
        if room.head_membership(command.target) != "ban":
            raise Refused(Refusal.TARGET_NOT_JOINED, "They are not banned from this room")
        self._check_over(room, command.actor, command.target, room.head_power().ban, "unban in")
        return await self._set(room, command, command.target, "leave", command.reason)

    async def knock(self, command: Knock) -> Done:
        profile = await self._people.profile(command.actor)
        content = profile_content("knock", profile, command.nick)
        if command.reason is not None:
            content["reason"] = command.reason
        room = await self._elsewhere.present(command.room_id)
        await self._check_lists(command.actor, command.room_id, room)
        if room is None:
            self._check_may_go_elsewhere(command)
            event_id = await self._elsewhere.knock(command.room_id, command.actor, content, command.via)
            return Done(command.room_id, event_id, created=True)
        membership = room.head_membership(command.actor)
        if membership == "ban":
            raise Refused(Refusal.BANNED)
        if membership in ("join", "invite"):
            raise Refused(Refusal.ALREADY_JOINED, "You are invited or inside already")
        check_foreigner(room, command.actor, self._writer.signer.server)
        if room.join_rule not in ("knock", "knock_restricted"):
            raise Refused(Refusal.NOT_INVITED, "This room does not take knocks")
        transaction = self._writer.begin(room, command.ts_ms)
        transaction.append(command.actor, "m.room.member", content, state_key=command.actor)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id, created=True)

    async def set_room_nick(self, command: SetRoomNick) -> Done:
        room = await self._rooms.get(command.room_id)
        profile = await self._people.profile(command.actor)
        current = room.head_event("m.room.member", command.actor)
        if current is None or member_of(current).membership != "join":
            raise Refused(Refusal.NOT_JOINED)
        nick = command.nick or profile.get("displayname")
        if member_of(current).displayname == nick:
            return Done(room.room_id, current.event_id)
        return await self._rename(room, command, current, nick)

    async def _rename(self, room: Room, command: Command, current: Event, nick: str | None) -> Done:
        transaction = self._writer.begin(room, command.ts_ms)
        append_renamed(transaction, current, "displayname", nick)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id)

    async def _set(
        self,
        room: Room,
        command: Command,
        target: UserId,
        membership: str,
        reason: str | None,
        *,
        sweep: bool = False,
    ) -> Done:
        content: JsonObject = {"membership": membership}
        if reason is not None:
            content["reason"] = reason
        if sweep:
            content[UNSTABLE_FLAG] = True
        transaction = self._writer.begin(room, command.ts_ms)
        event = transaction.append(command.actor, "m.room.member", content, state_key=target)
        writes = [begun(room.room_id, event.event_id)] if sweep else ()
        event = await self._writer.commit(room, transaction, origin=command.origin, writes=writes)
        return Done(room.room_id, event.event_id, created=True)

    def _check_inside(self, room: Room, actor: UserId) -> None:
        if room.head_membership(actor) != "join":
            raise Refused(Refusal.NOT_JOINED)

    def _check_over(self, room: Room, actor: UserId, target: UserId, needed: float, what: str) -> None:
        """`actor` has level `needed` and more power than `target`."""
        power = room.head_power()
        own, theirs = power.user(actor), power.user(target)
        if own < needed:
            raise Refused(Refusal.POWER_TOO_LOW, f"You may not {what} this room")
        if actor != target and theirs >= own:
            # docs/mapping.md 7.3: the habit of IRC and XMPP differs, so the text says why.
            raise Refused(Refusal.SAME_POWER, _not_above(own, theirs, what))


def _not_above(own: float, theirs: float, what: str) -> str:
    if theirs == float("inf"):
        return f"They made this room: nobody can {what.split()[0]} them"
    if theirs == own:
        return f"They have the same power level ({own:g}) as you"
    return f"They have a higher power level ({theirs:g}) than you ({own:g})"


def append_renamed(transaction: RoomTransaction, current: Event, field: str, value: str | None) -> Event:
    """A member event that differs from `current` in one profile field alone."""
    content = dict(current.content)
    content.pop("reason", None)
    content.pop("join_authorised_via_users_server", None)
    if value is None:
        content.pop(field, None)
    else:
        content[field] = value
    assert current.state_key is not None
    return transaction.append(UserId(current.state_key), "m.room.member", content, state_key=current.state_key)


def room_ids(rooms: Mapping[RoomId, tuple[str, int]], membership: str) -> list[RoomId]:
    """Rooms in which a user has this membership."""
    return [room_id for room_id, (what, _) in rooms.items() if what == membership]
