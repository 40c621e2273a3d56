"""Endpoints by which other servers invite users of this one.

spec: Matrix server-server-api sendInviteV1, sendInviteV2
"""

import structlog

from tripoint.core.canonical_json import Json, JsonObject, encode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.event import Event, check_content_hash, parse_event
from tripoint.core.ids import ServerName, parse_user_id, server_of
from tripoint.core.json_view import list_at, object_at
from tripoint.core.room_version import RoomVersion, UnknownRoomVersion, get_room_version
from tripoint.matrix.errors import MatrixError, bad_json, bytes_response, invalid, missing
from tripoint.matrix.federation.joining import check_member_event
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.invitations import Invitations
from tripoint.rooms.stripped import MAX_EVENTS

log = structlog.get_logger()


class InvitingEndpoints:
    """`server` is this server's name."""

    def __init__(self, invitations: Invitations, check: PduCheck, server: ServerName) -> None:
        self._invitations = invitations
        self._check = check
        self._server = server

    @endpoint("PUT", "/_matrix/federation/v2/invite/{roomId}/{eventId}", auth=Auth.SERVER)
    async def invite(self, call: Call) -> Response:
        body = call.json()
        version_id = body.get("room_version")
        if not isinstance(version_id, str):
            raise missing("room_version")
        try:
            version = get_room_version(version_id)
        except UnknownRoomVersion:
            raise _unsupported(version_id) from None
        signed = await self._signed(call, object_at(body, "event"), version, list_at(body, "invite_room_state"))
        return bytes_response(b'{"event":' + encode_lenient(signed) + b"}")

    @endpoint("PUT", "/_matrix/federation/v1/invite/{roomId}/{eventId}", auth=Auth.SERVER)
    async def invite_v1(self, call: Call) -> Response:
        # spec: sendInviteV1: the room version is "1" or "2", whose events have one format.
        try:
            version = get_room_version("1")
        except UnknownRoomVersion:
            raise _unsupported("1") from None
        body = call.json()
        told = list_at(object_at(body, "unsigned"), "invite_room_state")
        return bytes_response(b'[200,{"event":' + encode_lenient(await self._signed(call, body, version, told)) + b"}]")

    async def _signed(
        self, call: Call, pdu: JsonObject, version: RoomVersion, told: list[Json]
    ) -> JsonObject:
        try:
            event = parse_event(pdu, version)
        except PeerError as error:
            raise invalid(f"That is no event of this room version: {error}") from error
        check_member_event(call, event, "invite")
        try:
            invited = server_of(parse_user_id(event.state_key or ""))
        except PeerError:
            raise invalid("state_key is no user id") from None
        if invited != self._server:
            raise invalid("The invited user is not one of this server's")
        try:
            await self._check.check_signatures(event)
            # spec: a third-party invite is signed by the server that sends it all the same.
            await self._check.check_signature_of(event, call.origin)
        except PeerError as error:
            raise invalid(f"The signatures of the event do not hold: {error}") from error
        if len(told) > MAX_EVENTS:
            raise bad_json(f"invite_room_state holds at most {MAX_EVENTS} events")
        await self._check_told(call, event, told)
        signed = await self._invitations.receive(event, told)
        # "All other fields of the events should remain untouched": unsigned among them, which we do not keep.
        return {**pdu, "signatures": signed.signatures}

    async def _check_told(self, call: Call, invite: Event, told: list[Json]) -> None:
        """spec: sendInviteV2: the state must be events of the room, its create event among them. Required from
        room version 12 on; of older rooms not every server sends whole events."""
        try:
            create = False
            for entry in told:
                event = parse_event(entry if isinstance(entry, dict) else {}, invite.version)
                if event.room_id != invite.room_id:
                    raise PeerError("one of the events is of another room")
                await self._check.check_signatures(event)
                if not check_content_hash(event):
                    raise PeerError("the hash of one of the events does not fit it")
                create = create or event.type == "m.room.create"
            if not create:
                raise PeerError("the create event is missing")
        except PeerError as error:
            if invite.version.room_id_is_create_hash:
                raise invalid(f"invite_room_state: {error}") from error
            log.info("invite.state_unproven", server=call.origin, room_id=invite.room_id, reason=str(error))


def _unsupported(version_id: str) -> MatrixError:
    return MatrixError(
        400,
        "M_INCOMPATIBLE_ROOM_VERSION",
        "This server does not support the room version of that room",
        room_version=version_id,
    )
