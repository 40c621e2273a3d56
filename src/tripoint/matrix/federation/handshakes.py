"""Asking servers for entry into their rooms, and for what is not about a shared room (rooms.remote.RemoteRooms).

spec: Matrix server-server-api "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving Rooms",
"Querying for information", "Published Room Directory". Who answers these is joining.py and query.py.
"""

import asyncio
from collections.abc import Sequence

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.event import Event, parse_event
from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    RoomId,
    ServerName,
    UserId,
    parse_room_id,
    parse_server_name,
    server_of,
)
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.room_version import SUPPORTED, UnknownRoomVersion, get_room_version
from tripoint.matrix.federation.client import RemoteRefused, make_target
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.federation.questions import STATE_LIMIT_BYTES, Client
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import Entered, NamedRoom, Template

V1 = ("_matrix", "federation", "v1")
V2 = ("_matrix", "federation", "v2")

# How long a server may take to put a room's state together. Who waits for the join gives up soon after.
JOIN_TIMEOUT_S = 60.0
# So many such answers are read at a time.
STATES_AT_ONCE = 2
MAX_SERVERS = 1000
SIGNATURES_LIMIT_BYTES = 65_536
# Membership events that are sent to be signed, and what is refused there, are quick to make.
TIMEOUT_S = 20.0

# Errcodes with which a server says that another one may help. spec: "Restricted rooms"
_ASK_ANOTHER = ("M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN", "M_UNRECOGNIZED")


class Handshakes:
    """rooms.remote.RemoteRooms over signed requests."""

    def __init__(self, client: Client, check: PduCheck) -> None:
        self._client = client
        self._check = check
        self._states = asyncio.Semaphore(STATES_AT_ONCE)

    async def make_member(
        self, server: ServerName, room_id: RoomId, user_id: UserId, membership: str
    ) -> Template:
        query = None if membership == "leave" else {"ver": SUPPORTED}
        target = make_target(*V1, f"make_{membership}", room_id, user_id, query=query)
        try:
            answer = await self._client.request(server, "GET", target)
        except RemoteRefused as refused:
            raise _refusal(refused) from refused
        # spec: make_join: "If not provided, the room version is assumed to be either "1" or "2"."
        version_id = answer.get("room_version", "1")
        try:
            version = get_room_version(version_id if isinstance(version_id, str) else "")
        except UnknownRoomVersion:
            raise Refused(Refusal.ROOM_INCOMPATIBLE) from None
        return Template(object_at(answer, "event"), version)

    async def send_join(self, server: ServerName, event: Event, *, omit_members: bool) -> Entered:
        query = {"omit_members": "true"} if omit_members else None
        target = make_target(*V2, "send_join", event.room_id, event.event_id, query=query)
        async with self._states:
            try:
                answer = await self._client.request(
                    server,
                    "PUT",
                    target,
                    event.pdu,
                    timeout_s=JOIN_TIMEOUT_S,
                    limit_bytes=STATE_LIMIT_BYTES,
                )
            except RemoteRefused as refused:
                raise _refusal(refused) from refused
            signed = await self._signed(server, event, answer.get("event"))
            state = await self._check.check_all(list_at(answer, "state"), event.version)
            chain = await self._check.check_all(list_at(answer, "auth_chain"), event.version)
        omitted = answer.get("members_omitted") is True
        return Entered(signed, tuple(state), tuple(chain), omitted, _servers(answer, "servers_in_room"))

    async def _signed(self, server: ServerName, event: Event, given: Json) -> Event:
        """Our event as the server took it: with its signature where that is needed."""
        if given is None:
            return event
        try:
            signed = parse_event(given if isinstance(given, dict) else {}, event.version)
            if signed.event_id != event.event_id:
                raise RemoteFailed(server, "it answered with another event than ours")
            await self._check.check_signatures(signed)
        except PeerError as error:
            raise RemoteFailed(server, f"the event it answered with is not valid: {error}") from error
        return signed

    async def send_knock(self, server: ServerName, event: Event) -> Sequence[JsonObject]:
        answer = await self._send(server, V1, "send_knock", event)
        return [entry for entry in list_at(answer, "knock_room_state") if isinstance(entry, dict)]

    async def send_leave(self, server: ServerName, event: Event) -> None:
        await self._send(server, V2, "send_leave", event)

    async def _send(self, server: ServerName, version: Sequence[str], what: str, event: Event) -> JsonObject:
        target = make_target(*version, what, event.room_id, event.event_id)
        try:
            return await self._client.request(server, "PUT", target, event.pdu)
        except RemoteRefused as refused:
            raise _refusal(refused) from refused

    async def invite(self, server: ServerName, event: Event, state: Sequence[Event]) -> Event:
        target = make_target(*V2, "invite", event.room_id, event.event_id)
        content: JsonObject = {
            "room_version": event.version.id,
            "event": event.pdu,
            "invite_room_state": [one.pdu for one in state],
        }
        try:
            answer = await self._client.request(server, "PUT", target, content, timeout_s=TIMEOUT_S)
        except RemoteRefused as refused:
            raise _refusal(refused) from refused
        try:
            signed = parse_event(object_at(answer, "event"), event.version)
            if signed.event_id != event.event_id or server not in signed.signatures:
                raise RemoteFailed(server, "it did not sign our invitation")
            await self._check.check_signatures(signed)
            await self._check.check_signature_of(signed, server)
        except PeerError as error:
            raise RemoteFailed(server, f"the invitation it signed is not valid: {error}") from error
        return signed

    async def exchange(
        self, server: ServerName, room_id: RoomId, sender: UserId, target: UserId, content: JsonObject
    ) -> None:
        wanted: JsonObject = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": sender,
            "state_key": target,
            "content": content,
        }
        try:
            await self._client.request(
                server, "PUT", make_target(*V1, "exchange_third_party_invite", room_id), wanted
            )
        except RemoteRefused as refused:
            if 400 <= refused.status < 500 and refused.status != 429:
                # Nobody else could say anything else.
                raise Refused(Refusal.NOT_INVITED, refused.error or Refusal.NOT_INVITED.value) from refused
            raise

    async def resolve_alias(self, alias: RoomAlias) -> NamedRoom | None:
        server = server_of(alias)
        target = make_target(*V1, "query", "directory", query={"room_alias": alias})
        try:
            answer = await self._client.request(server, "GET", target)
        except RemoteRefused as refused:
            if refused.status == 404:
                return None
            raise
        try:
            room_id = parse_room_id(text_at(answer, "room_id") or "")
        except InvalidId:
            raise RemoteFailed(server, "its answer names no room") from None
        return NamedRoom(room_id, _servers(answer, "servers") or (server,))

    async def profile(self, user_id: UserId) -> JsonObject:
        target = make_target(*V1, "query", "profile", query={"user_id": user_id})
        try:
            return await self._client.request(server_of(user_id), "GET", target)
        except RemoteRefused as refused:
            if refused.status in (403, 404):
                raise Refused(Refusal.NO_SUCH_USER) from refused
            raise

    async def hierarchy(self, server: ServerName, room_id: RoomId, *, suggested_only: bool) -> JsonObject:
        query = {"suggested_only": "true" if suggested_only else "false"}
        try:
            return await self._client.request(server, "GET", make_target(*V1, "hierarchy", room_id, query=query))
        except RemoteRefused as refused:
            if refused.status in (403, 404):
                raise Refused(Refusal.NO_SUCH_ROOM) from refused
            raise

    async def policy_signatures(self, server: ServerName, event: Event) -> JsonObject:
        target = make_target("_matrix", "policy", "v1", "sign")
        try:
            return await self._client.request(server, "POST", target, event.pdu, limit_bytes=SIGNATURES_LIMIT_BYTES)
        except RemoteRefused as refused:
            if refused.errcode == "M_FORBIDDEN":
                text = refused.error or "The policy server of this room does not recommend that"
                raise Refused(Refusal.CANNOT_SPEAK, text) from refused
            raise

    async def public_rooms(self, server: ServerName, wanted: JsonObject) -> JsonObject:
        answer = await self._client.request(server, "POST", make_target(*V1, "publicRooms"), wanted)
        if not isinstance(answer.get("chunk"), list):
            raise RemoteFailed(server, "its directory is not one")
        return answer


def _servers(answer: JsonObject, key: str) -> tuple[ServerName, ...]:
    found = []
    for name in list_at(answer, key)[:MAX_SERVERS]:
        try:
            found.append(parse_server_name(name if isinstance(name, str) else ""))
        except InvalidId:
            continue
    return tuple(found)


def _refusal(refused: RemoteRefused) -> Exception:
    """What a server's no means to the user: a refusal where others would say it too, else the failure itself."""
    if refused.status == 403:
        return Refused(Refusal.NOT_INVITED, refused.error or Refusal.NOT_INVITED.value)
    if refused.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        return Refused(Refusal.ROOM_INCOMPATIBLE)
    return refused
