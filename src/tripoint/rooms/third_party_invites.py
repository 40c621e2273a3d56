"""Inviting by e-mail address or phone number, and what becomes of such invitations.

Whoever is found by an address is invited like anybody. Who is not known yet is written to by the identity server, and
the room keeps the invitation under a token (m.room.third_party_invite) until somebody shows that they are meant: then
the server of who invited makes an ordinary invitation of it, with the proof in it.
spec: Matrix client-server-api module third-party-invites; server-server-api "Third-party invites"
"""


import structlog

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, ServerName, UserId, server_of, split_user_id
from tripoint.core.json_view import text_at
from tripoint.core.third_party import (
    SignedInvite,
    StoredInvite,
    ThirdPartyId,
    parse_third_party_id,
    read_signed_invite,
    signing_key,
)
from tripoint.rooms.commands import Done, Invite, InviteByAddress, RedeemInvite
from tripoint.rooms.identity import IdentityServers
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import RemoteDoor
from tripoint.rooms.room import Room
from tripoint.rooms.writer import Writer

log = structlog.get_logger()

EVENT = "m.room.third_party_invite"
_UNKNOWN = "There is no such invitation, or it was taken back"


class ThirdPartyInvites:
    """Handlers of InviteByAddress and RedeemInvite, and what other servers and identity servers bring."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        writer: Writer,
        membership: Membership,
        people: People,
        door: RemoteDoor,
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._writer = writer
        self._membership = membership
        self._people = people
        self._door = door
        # None where no other servers are spoken to.
        self.identity: IdentityServers | None = None

    # -- inviting

    async def invite(self, command: InviteByAddress) -> Done:
        """Refused: IDENTITY_SERVER_DENIED for one that is not trusted, and as Invite. IdentityRefused, RemoteFailed."""
        identity = self._trusted(command.id_server)
        try:
            wanted = parse_third_party_id(command.medium, command.address)
        except PeerError as error:
            raise Refused(Refusal.BAD_CONTENT, str(error)) from error
        room = await self._rooms.get(command.room_id)
        self._membership.check_may_invite(room, command.actor)
        token = command.access_token.value
        found = await identity.lookup(command.id_server, token, wanted)
        if found is not None:
            return await self._membership.invite(
                Invite(
                    actor=command.actor,
                    origin=command.origin,
                    room_id=command.room_id,
                    target=found,
                    reason=command.reason,
                )
            )
        description = await self._described(room, command.actor, wanted)
        stored = await identity.store_invite(command.id_server, token, description)
        return await self._keep(command, stored)

    def _trusted(self, server: str) -> IdentityServers:
        if self.identity is None or not self.identity.trusts(server):
            raise Refused(Refusal.IDENTITY_SERVER_DENIED)
        return self.identity

    async def _described(self, room: Room, actor: UserId, of: ThirdPartyId) -> JsonObject:
        """What the letter may say. spec: store-invite: "Optional fields in the request should be populated to the best
        of the server's ability" """
        profile = await self._people.profile(actor)
        told: dict[str, Json] = {
            "medium": of.medium,
            "address": of.address,
            "room_id": room.room_id,
            "sender": actor,
            "room_join_rules": room.join_rule,
        }
        avatar = room.head_event("m.room.avatar", "")
        optional = {
            "room_alias": room.canonical_alias,
            "room_avatar_url": None if avatar is None else text_at(avatar.content, "url"),
            "room_name": room.name,
            "sender_display_name": profile.get("displayname"),
            "sender_avatar_url": profile.get("avatar_url"),
            "room_type": text_at(room.create_event.content, "type"),
        }
        told.update({key: value for key, value in optional.items() if value})
        return told

    async def _keep(self, command: InviteByAddress, stored: StoredInvite) -> Done:
        room = await self._rooms.get(command.room_id)
        transaction = self._writer.begin(room)
        transaction.append(command.actor, EVENT, stored.content(), state_key=stored.token)
        event = await self._writer.commit(room, transaction, origin=command.origin)
        return Done(room.room_id, event.event_id, created=True)

    # -- showing that one is meant

    async def redeem(self, command: RedeemInvite) -> Done:
        """The actor has a proof for himself. Refused: NOT_INVITED where it is none."""
        try:
            signed = read_signed_invite(command.signed)
        except PeerError as error:
            raise Refused(Refusal.BAD_CONTENT, str(error)) from error
        if signed.mxid != command.actor:
            raise Refused(Refusal.NOT_INVITED, "That invitation is for somebody else")
        await self.show(command.room_id, command.sender, signed)
        return Done(command.room_id)

    async def show(self, room_id: RoomId, sender: UserId, signed: SignedInvite) -> None:
        """A local user is meant by an invitation of `sender`: the server of that user makes one of it.

        Nothing happens where they are in the room already. Refused, RemoteFailed.
        """
        room = await self._rooms.find(room_id)
        here = room is not None and room.is_here(self._server)
        if room is not None and here and room.head_membership(signed.mxid) == "join":
            return
        if server_of(sender) == self._server:
            await self.exchange(room_id, sender, signed)
            return
        # spec: exchange_third_party_invite: "the invitee's homeserver makes a request" to that of who invited. The
        # name is replaced there by the one in the room.
        name = split_user_id(signed.mxid)[0]
        content: JsonObject = {
            "membership": "invite",
            "third_party_invite": {"display_name": name, "signed": signed.json},
        }
        await self._door.rooms.exchange(server_of(sender), room_id, sender, signed.mxid, content)

    async def exchange(self, room_id: RoomId, sender: UserId, signed: SignedInvite) -> None:
        """Make an ordinary invitation of one that a local user has made by address.

        spec: "H1 MUST verify the request from H3 to ensure the signed property is correct as well as the
        key_validity_url as still being valid". Who invited may have left since (rooms/v*.md, rule 4.4.1).
        """
        room = await self._rooms.get(room_id)
        if server_of(sender) != self._server or not room.is_here(self._server):
            raise Refused(Refusal.NOT_INVITED, _UNKNOWN)
        invite = room.head_event(EVENT, signed.token)
        if invite is None or invite.sender != sender:
            raise Refused(Refusal.NOT_INVITED, _UNKNOWN)
        await self._check_proof(invite, signed)
        name = text_at(invite.content, "display_name") or ""
        await self._membership.invite(
            Invite(
                actor=sender,
                room_id=room_id,
                target=signed.mxid,
                third_party={"display_name": name, "signed": signed.json},
            )
        )

    async def _check_proof(self, invite: Event, signed: SignedInvite) -> None:
        key = signing_key(invite.content, signed)
        if key is None:
            raise Refused(Refusal.NOT_INVITED, "That invitation is not signed as it must be")
        if key.validity_url is None:
            # spec: m.room.third_party_invite: "If this URL is absent, the key must be considered valid indefinitely."
            return
        if self.identity is None:
            raise Refused(Refusal.NOT_INVITED, "Whether that invitation still counts cannot be asked from here")
        try:
            valid = await self.identity.is_valid(key.validity_url, key.public_key)
        except RemoteFailed as failed:
            log.info("invite.key_not_checked", server=failed.host, reason=failed.reason)
            text = f"{failed.host} does not say whether its key still counts"
            raise Refused(Refusal.REMOTE_TIMEOUT, text) from failed
        if not valid:
            raise Refused(Refusal.NOT_INVITED, "The key of that invitation counts no more")


