"""Endpoints by which other servers bring their users into rooms of this one, or out of them.

spec: Matrix server-server-api makeJoin, sendJoinV2, makeLeave, sendLeaveV2, makeKnock, sendKnock. What is allowed is
rooms/resident.py's; here are the shapes and the checks that signatures need.
"""

from collections.abc import Iterable, Sequence

import orjson

from tripoint.core.canonical_json import encode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.event import Event, check_content_hash, parse_event
from tripoint.core.ids import EventId, RoomId, UserId, parse_user_id, server_of
from tripoint.matrix.errors import EMPTY, MatrixError, bytes_response, invalid
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.resident import CannotAuthorise, CannotGrant, Resident, Welcome


class JoiningEndpoints:
    """`check` verifies what comes back signed."""

    def __init__(self, resident: Resident, check: PduCheck) -> None:
        self._resident = resident
        self._check = check

    # -- templates

    @endpoint("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", auth=Auth.SERVER)
    async def make_join(self, call: Call) -> Response:
        return await self._propose(call, "join", call.request.queries().get("ver", ["1"]))

    @endpoint("GET", "/_matrix/federation/v1/make_knock/{roomId}/{userId}", auth=Auth.SERVER)
    async def make_knock(self, call: Call) -> Response:
        return await self._propose(call, "knock", call.request.queries().get("ver", []))

    @endpoint("GET", "/_matrix/federation/v1/make_leave/{roomId}/{userId}", auth=Auth.SERVER)
    async def make_leave(self, call: Call) -> Response:
        return await self._propose(call, "leave", None)

    async def _propose(self, call: Call, membership: str, versions: Sequence[str] | None) -> Response:
        room_id, user_id = RoomId(call.path["roomId"]), _user(call.path["userId"])
        version = await self._resident.version_of(call.origin, room_id)
        if versions is not None and version.id not in versions:
            raise MatrixError(
                400,
                "M_INCOMPATIBLE_ROOM_VERSION",
                f"Your homeserver does not support the room version {version.id} of this room",
                room_version=version.id,
            )
        try:
            template, version = await self._resident.propose(call.origin, room_id, user_id, membership)
        except (CannotAuthorise, CannotGrant) as error:
            raise _elsewhere(error) from error
        # Lenient: events of room versions 1 to 5 may hold numbers that the strict form refuses.
        return bytes_response(encode_lenient({"room_version": version.id, "event": template}))

    # -- what was signed

    @endpoint("PUT", "/_matrix/federation/v2/send_join/{roomId}/{eventId}", auth=Auth.SERVER)
    async def send_join(self, call: Call) -> Response:
        event = await self._event(call, "join")
        omit_members = call.query("omit_members") == "true"
        return bytes_response(
            _welcome(await self._resident.take_join(call.origin, event, omit_members=omit_members))
        )

    @endpoint("PUT", "/_matrix/federation/v2/send_leave/{roomId}/{eventId}", auth=Auth.SERVER)
    async def send_leave(self, call: Call) -> Response:
        await self._resident.take_leave(call.origin, await self._event(call, "leave"))
        return EMPTY

    @endpoint("PUT", "/_matrix/federation/v1/send_knock/{roomId}/{eventId}", auth=Auth.SERVER)
    async def send_knock(self, call: Call) -> Response:
        told = await self._resident.take_knock(call.origin, await self._event(call, "knock"))
        return bytes_response(b'{"knock_room_state":[' + _pdus(told) + b"]}")

    async def _event(self, call: Call, membership: str) -> Event:
        """The member event of a send_* request, its signatures checked. spec: the list of checks there."""
        version = await self._resident.version_of(call.origin, RoomId(call.path["roomId"]))
        try:
            event = parse_event(call.json(), version)
        except PeerError as error:
            raise invalid(f"That is no event of this room: {error}") from error
        check_member_event(call, event, membership)
        if event.state_key != event.sender:
            raise invalid("state_key must be the sender")
        try:
            event = await self._resident.sign_if_ours(event)
            await self._check.check_signatures(event)
        except (CannotAuthorise, CannotGrant) as error:
            raise _elsewhere(error) from error
        except PeerError as error:
            raise invalid(f"The signatures of the event do not hold: {error}") from error
        return event


def check_member_event(call: Call, event: Event, membership: str) -> None:
    """What every event has to be that is sent to be taken or signed. Raises MatrixError M_INVALID_PARAM."""
    if event.room_id != call.path["roomId"]:
        raise invalid("The event is of another room")
    if event.event_id != EventId(call.path["eventId"]):
        raise invalid("The event has another id")
    if event.type != "m.room.member" or event.content.get("membership") != membership:
        raise invalid(f"Not a {membership} event")
    if server_of(event.sender) != call.origin:
        raise invalid("The sender is not a user of your server")
    if not check_content_hash(event):
        raise invalid("The hash of the event does not fit it")


def _elsewhere(error: Exception) -> MatrixError:
    """spec: "Restricted rooms": what makes the joining server ask another one."""
    if isinstance(error, CannotGrant):
        return MatrixError(400, "M_UNABLE_TO_GRANT_JOIN", "Nobody of this server may let users in")
    text = "This server knows none of the rooms that give entry"
    return MatrixError(400, "M_UNABLE_TO_AUTHORISE_JOIN", text)


def _user(text: str) -> UserId:
    try:
        return parse_user_id(text)
    except PeerError:
        raise Refused(Refusal.NO_SUCH_USER, "That is no user id") from None


def _welcome(welcome: Welcome) -> bytes:
    parts = [
        b'{"event":',
        welcome.event.json,
        b',"members_omitted":true' if welcome.members_omitted else b',"members_omitted":false',
        b',"servers_in_room":',
        orjson.dumps(welcome.servers),
        b',"state":[',
        _pdus(welcome.state),
        b'],"auth_chain":[',
        _pdus(welcome.auth_chain),
        b"]}",
    ]
    return b"".join(parts)


def _pdus(events: Iterable[Event]) -> bytes:
    return b",".join(event.json for event in events)

