"""The other half of every handshake: this server is in the room, and helps users of another server in or out.

A template is the event as this server would make it; nothing of it is kept. What comes back signed is judged like
any event (accept.py) and spread to the other servers by this one.
spec: Matrix server-server-api "Joining Rooms", "Restricted rooms", "Knocking upon a room", "Leaving Rooms"
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, add_signature
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import text_at
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.accept import Accept, Verdict
from tripoint.rooms.entry import authorising_user
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.server_lists import ServerLists
from tripoint.rooms.serving import Serving
from tripoint.rooms.stripped import stripped_of
from tripoint.rooms.writer import Writer

# spec: GET /sync "Room summaries": as many members stand for the name of a room that has none.
HEROES = 5
# The members of a smaller room are given at once: leaving them out saves nothing that is worth a second answer.
OMIT_ABOVE = 100


class CannotAuthorise(Exception):
    """This server does not know the rooms that would give entry. spec: M_UNABLE_TO_AUTHORISE_JOIN"""


class CannotGrant(Exception):
    """Entry is due, but nobody of this server may give it. spec: M_UNABLE_TO_GRANT_JOIN"""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What somebody who joined gets to know. `state` is that before the join; `auth_chain` permits it and the join.

    With `members_omitted` the state has no member events but those that stand for the room's name.
    """

    event: Event
    state: Sequence[Event]
    auth_chain: Sequence[Event]
    members_omitted: bool
    servers: Sequence[ServerName]


class Resident:
    """Helps servers whose users want in or out. Refused as the commands of those users would be."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, accept: Accept, serving: Serving) -> None:
        self._rooms = rooms
        self._writer = writer
        self._accept = accept
        self._serving = serving
        # The policy lists of the server itself; set by who wires.
        self.server_lists: ServerLists | None = None

    async def version_of(self, server: ServerName, room_id: RoomId) -> RoomVersion:
        """The version of a room that this server is in and that takes the other one. Refused: NO_SUCH_ROOM,
        SERVER_DENIED."""
        return (await self._room(server, room_id)).version

    async def propose(
        self, server: ServerName, room_id: RoomId, user_id: UserId, membership: str
    ) -> tuple[JsonObject, RoomVersion]:
        """The unsigned member event by which `user_id` of `server` would join, knock or leave.

        Refused; for joins of restricted rooms also CannotAuthorise, CannotGrant.
        """
        if server_of(user_id) != server:
            raise Refused(Refusal.POWER_TOO_LOW, "That user is not one of your server's")
        room = await self._room(server, room_id)
        content: JsonObject = {"membership": membership}
        if membership in ("join", "knock"):
            await self._check_lists(room, user_id)
        if membership == "join":
            self._check_may_join(room, user_id)
            if (authoriser := await self._authoriser(room, user_id)) is not None:
                content["join_authorised_via_users_server"] = authoriser
        transaction = self._writer.begin(room)
        event = transaction.append(user_id, "m.room.member", content, state_key=user_id)
        # What comes back cites what is on disk by then.
        await room.settled()
        signed = ("hashes", "signatures", "event_id")
        return {key: value for key, value in event.pdu.items() if key not in signed}, room.version

    async def sign_if_ours(self, event: Event) -> Event:
        """A join that a user of this server lets in gets this server's signature, if it may be let in now.

        spec: PUT /send_join: "the signature must be added before sending or persisting the event". Refused,
        CannotAuthorise, CannotGrant.
        """
        if not event.version.restricted_join:
            return event
        named = text_at(event.content, "join_authorised_via_users_server")
        signer = self._writer.signer
        if named is None or not named.endswith(f":{signer.server}"):
            return event
        room = await self._room(server_of(event.sender), event.room_id)
        if room.head_membership(event.sender) not in ("join", "invite"):
            self._check_may_join(room, event.sender)
            await self._authoriser(room, event.sender)
        return add_signature(event, signer.server, signer.key)

    async def take_join(self, server: ServerName, event: Event, *, omit_members: bool) -> Welcome:
        """Take a join of a user of `server`, whose signatures were checked. Refused where the room does not."""
        room = await self._room(server, event.room_id)
        await self._check_lists(room, UserId(event.sender))
        servers = sorted(room.servers())
        await self._take(room, event)
        state, chain = await self._serving.state_before(server, room.room_id, event.event_id)
        chain_ids = {one.event_id for one in chain}
        # The join's own chain as well: of its auth events not all need be in the state.
        own = await self._serving.auth_chain(server, room.room_id, event.event_id)
        chain = [*chain, *(one for one in own if one.event_id not in chain_ids)]
        omit_members = omit_members and len(room.joined()) > OMIT_ABOVE
        if omit_members:
            named = any(one.key in _NAMES for one in state)
            heroes = () if named else _heroes(state, event.sender)
            state = [one for one in state if one.type != "m.room.member" or one.state_key in heroes]
            # "any events that are returned in state may be omitted from auth_chain".
            chain = await self._serving.chain_of(room, [event, *state])
            in_state = {one.event_id for one in state}
            chain = [one for one in chain if one.event_id not in in_state]
        return Welcome(event, state, chain, omit_members, servers)

    async def take_leave(self, server: ServerName, event: Event) -> None:
        """Take a leave: of a member, of somebody invited, of somebody who knocked."""
        await self._take(await self._room(server, event.room_id), event)

    async def take_knock(self, server: ServerName, event: Event) -> Sequence[Event]:
        """Take a knock; the state by which who knocked recognises the room."""
        room = await self._room(server, event.room_id)
        await self._check_lists(room, UserId(event.sender))
        await self._take(room, event)
        return stripped_of(room.state)

    async def _take(self, room: Room, event: Event) -> None:
        outcome = await self._accept.receive(event, relayed=True)
        if outcome is Verdict.ACCEPTED or outcome is Verdict.KNOWN:
            return
        if isinstance(outcome, Verdict):
            raise Refused(Refusal.POWER_TOO_LOW, "The room's rules do not allow that")
        raise Refused(Refusal.BAD_CONTENT, "The event names events that are not known here")

    async def _room(self, server: ServerName, room_id: RoomId) -> Room:
        room = await self._rooms.get(room_id)
        if not room.is_here(self._writer.signer.server) or room.partial is not None:
            # Whose members are not all here cannot tell who may come in: others can.
            raise Refused(Refusal.NO_SUCH_ROOM, "This server is not fully in that room")
        if room.create_event.content.get("m.federate") is False:
            raise Refused(Refusal.SERVER_DENIED, "This room is for users of its own server alone")
        if not room.allows_server(server):
            raise Refused(Refusal.SERVER_DENIED, "Your server is denied in this room")
        return room

    async def _check_lists(self, room: Room, user_id: UserId) -> None:
        if self.server_lists is not None and room.head_membership(user_id) != "join":
            await self.server_lists.check_enters(user_id, room.room_id)

    def _check_may_join(self, room: Room, user_id: UserId) -> None:
        """Say no in words where the rules would say it anyway."""
        membership = room.head_membership(user_id)
        if membership == "ban":
            raise Refused(Refusal.BANNED)
        if membership in ("join", "invite") or room.join_rule == "public":
            return
        if room.join_rule not in ("restricted", "knock_restricted"):
            raise Refused(Refusal.NOT_INVITED)

    async def _authoriser(self, room: Room, user_id: UserId) -> UserId | None:
        """Who lets `user_id` into a restricted room; None where nobody needs to."""
        if room.head_membership(user_id) in ("join", "invite"):
            return None
        if not room.version.restricted_join or room.join_rule not in ("restricted", "knock_restricted"):
            return None
        entries = _entries(room)
        if not entries:
            # spec: "If no conditions are available, or none match the required schema, then the joining server is
            # considered to have failed all conditions"
            raise Refused(Refusal.NOT_INVITED, "No room gives entry here")
        found = [await self._rooms.find(room_id) for room_id in entries]
        known = [other for other in found if other is not None and other.is_here(self._writer.signer.server)]
        if not known:
            raise CannotAuthorise
        if not any(other.membership(user_id) == "join" for other in known):
            raise Refused(Refusal.NOT_INVITED, "That user is in none of the rooms that give entry")
        authoriser = authorising_user(room, self._writer.signer.server)
        if authoriser is None:
            raise CannotGrant
        return authoriser


_NAMES: Collection[tuple[str, str]] = (("m.room.name", ""), ("m.room.canonical_alias", ""))


def _entries(room: Room) -> list[RoomId]:
    """Rooms whose members may join. spec: m.room.join_rules `allow`."""
    event = room.head_event("m.room.join_rules")
    allow = event.content.get("allow") if event is not None else None
    found = []
    for entry in allow if isinstance(allow, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "m.room_membership":
            room_id = entry.get("room_id")
            if isinstance(room_id, str):
                found.append(RoomId(room_id))
    return found


def _heroes(state: Sequence[Event], joining: UserId) -> set[str]:
    members = [one for one in state if one.type == "m.room.member" and one.state_key != joining]
    inside = [one.state_key or "" for one in members if member_of(one).membership in ("join", "invite")]
    return set(inside[:HEROES])
