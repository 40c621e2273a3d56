"""Rooms and who is in them: creating, joining, leaving, inviting, kicking, banning, knocking, forgetting.

spec: Matrix client-server "Creation", "Room membership", "Listing rooms"
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, parse_room_alias, parse_server_name, parse_user_id
from tripoint.matrix.appservice.identity import check_own_name
from tripoint.matrix.body import needed_text, text_in
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response
from tripoint.matrix.refusals import identity_errors, of_room
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import (
    Ban,
    CreateRoom,
    Done,
    Forget,
    Invite,
    InviteByAddress,
    Join,
    Kick,
    Knock,
    Leave,
    Origin,
    RedeemInvite,
    Secret,
    StateDraft,
    Template,
    Unban,
    UpgradeRoom,
)
from tripoint.rooms.ports import RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import PASSWORD
from tripoint.rooms.sweeping import is_swept

_PRESETS = {
    "private_chat": Template.PRIVATE_CHAT,
    "trusted_private_chat": Template.TRUSTED_PRIVATE_CHAT,
    "public_chat": Template.PUBLIC_CHAT,
}


class RoomEndpoints:
    """`trusts`: whether an identity server is spoken to."""

    def __init__(
        self, rooms: RoomService, reader: RoomReader, server: ServerName, trusts: Callable[[str], bool]
    ) -> None:
        self._trusts = trusts
        self._rooms = rooms
        self._reader = reader
        self._server = server

    @endpoint("POST", "/_matrix/client/v3/createRoom", "/_matrix/client/r0/createRoom")
    async def create(self, call: Call) -> Response:
        body = call.json_or_empty()
        name = text_in(body, "room_alias_name")
        if name is not None:
            check_own_name(call, RoomAlias(f"#{name}:{self._server}"))
        visibility = body.get("visibility", "private")
        if visibility not in ("public", "private"):
            raise invalid("visibility is public or private")
        preset = body.get("preset") or ("public_chat" if visibility == "public" else "private_chat")
        template = _PRESETS.get(preset) if isinstance(preset, str) else None
        if template is None:
            raise invalid("preset is private_chat, trusted_private_chat or public_chat")
        by_address = _by_address(call, body)
        for one in by_address:
            if not self._trusts(one.id_server):
                raise of_room(Refused(Refusal.IDENTITY_SERVER_DENIED))
        done = await self._create(
            CreateRoom(
                actor=call.user_id,
                origin=call.by(),
                template=template,
                alias_localpart=name,
                name=text_in(body, "name") or None,
                topic=text_in(body, "topic") or None,
                invite=tuple(dict.fromkeys(parse_user_id(user) for user in _texts(body, "invite"))),
                room_version=text_in(body, "room_version"),
                is_direct=body.get("is_direct") is True,
                listed=visibility == "public",
                creation_content=_object(body, "creation_content") or {},
                initial_state=_initial_state(body),
                power_levels_override=_object(body, "power_level_content_override"),
            )
        )
        room_id = done.room_id or RoomId("")
        for one in by_address:
            with identity_errors():
                await self._rooms.do(replace(one, room_id=room_id))
        return json_response({"room_id": room_id})

    async def _create(self, command: CreateRoom) -> Done:
        try:
            return await self._rooms.do(command)
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ALIAS:
                raise MatrixError(400, "M_BAD_ALIAS", refused.text) from refused
            raise

    @endpoint("POST", "/_matrix/client/v3/join/{roomIdOrAlias}", "/_matrix/client/r0/join/{roomIdOrAlias}", guests=True)
    async def join(self, call: Call) -> Response:
        return await self._join(call, await self._room_id(call, call.path["roomIdOrAlias"]), _via(call))

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/join", "/_matrix/client/r0/rooms/{roomId}/join", guests=True)
    async def join_id(self, call: Call) -> Response:
        return await self._join(call, RoomId(call.path["roomId"]), ())

    async def _join(self, call: Call, room_id: RoomId, via: tuple[ServerName, ...]) -> Response:
        body = call.json_or_empty()
        signed = body.get("third_party_signed")
        if signed is not None:
            await self._redeem(call, room_id, signed)
        password = text_in(body, PASSWORD)  # docs/mapping.md 8.5
        await self._rooms.do(
            Join(
                actor=call.user_id,
                origin=call.by(),
                room_id=room_id,
                reason=text_in(body, "reason"),
                via=via,
                password=None if password is None else Secret(password),
            )
        )
        return json_response({"room_id": room_id})

    async def _redeem(self, call: Call, room_id: RoomId, signed: Json) -> None:
        """spec: "the homeserver must verify that it matches a pending m.room.third_party_invite event in the room, and
        perform key validity checking if required by the event" """
        if not isinstance(signed, dict):
            raise bad_json("third_party_signed must be an object")
        sender = needed_text(signed, "sender")
        try:
            await self._rooms.do(
                RedeemInvite(actor=call.user_id, room_id=room_id, sender=parse_user_id(sender), signed=signed)
            )
        except RemoteFailed as failed:
            raise MatrixError(504, "M_UNKNOWN", f"No usable answer came from {failed.host}") from failed

    @endpoint("POST", "/_matrix/client/v3/knock/{roomIdOrAlias}")
    async def knock(self, call: Call) -> Response:
        body = call.json_or_empty()
        room_id = await self._room_id(call, call.path["roomIdOrAlias"])
        await self._rooms.do(
            Knock(
                actor=call.user_id,
                origin=call.by(),
                room_id=room_id,
                reason=text_in(body, "reason"),
                via=_via(call),
            )
        )
        return json_response({"room_id": room_id})

    async def _room_id(self, call: Call, name: str) -> RoomId:
        if name.startswith("!"):
            return RoomId(name)
        alias: RoomAlias = parse_room_alias(name)
        found = await self._reader.resolve_alias(alias, ask=call.caller.service is None)
        if found is None:
            raise MatrixError(404, "M_NOT_FOUND", Refusal.NO_SUCH_ROOM.value)
        return found

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/leave", "/_matrix/client/r0/rooms/{roomId}/leave", guests=True)
    async def leave(self, call: Call) -> Response:
        body = call.json_or_empty()
        room_id = RoomId(call.path["roomId"])
        try:
            await self._rooms.do(
                Leave(
                    actor=call.user_id,
                    origin=call.by(),
                    room_id=room_id,
                    reason=text_in(body, "reason"),
                )
            )
        except Refused as refused:
            # Leaving twice is no mistake: a client repeats what it got no answer to.
            left = (await self._reader.memberships(call.user_id)).get(room_id) == "leave"
            if refused.refusal is not Refusal.NOT_JOINED or not left:
                raise
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/forget", "/_matrix/client/r0/rooms/{roomId}/forget")
    async def forget(self, call: Call) -> Response:
        try:
            await self._rooms.do(Forget(actor=call.user_id, room_id=RoomId(call.path["roomId"])))
        except Refused as refused:
            if refused.refusal is Refusal.ALREADY_JOINED:
                raise MatrixError(400, "M_UNKNOWN", refused.text) from refused
            raise
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/invite", "/_matrix/client/r0/rooms/{roomId}/invite")
    async def invite(self, call: Call) -> Response:
        body = call.json()
        if "user_id" not in body and "medium" in body:
            # spec: module third-party-invites, the other form of this endpoint
            invitation = _third_party(call, body, RoomId(call.path["roomId"]))
            with identity_errors():
                await self._rooms.do(invitation)
            return EMPTY
        target, reason = _target(call)
        await self._rooms.do(
            Invite(
                actor=call.user_id,
                origin=call.by(),
                room_id=RoomId(call.path["roomId"]),
                target=target,
                reason=reason,
            )
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/kick", "/_matrix/client/r0/rooms/{roomId}/kick")
    async def kick(self, call: Call) -> Response:
        target, reason = _target(call)
        room_id = RoomId(call.path["roomId"])
        await self._rooms.do(
            Kick(
                actor=call.user_id,
                origin=call.by(),
                room_id=room_id,
                target=target,
                reason=reason,
                sweep=is_swept(call.json()),
            )
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/ban", "/_matrix/client/r0/rooms/{roomId}/ban")
    async def ban(self, call: Call) -> Response:
        target, reason = _target(call)
        room_id = RoomId(call.path["roomId"])
        await self._rooms.do(
            Ban(
                actor=call.user_id,
                origin=call.by(),
                room_id=room_id,
                target=target,
                reason=reason,
                sweep=is_swept(call.json()),
            )
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/unban", "/_matrix/client/r0/rooms/{roomId}/unban")
    async def unban(self, call: Call) -> Response:
        target, reason = _target(call)
        room_id = RoomId(call.path["roomId"])
        await self._rooms.do(
            Unban(actor=call.user_id, origin=call.by(), room_id=room_id, target=target, reason=reason)
        )
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/rooms/{roomId}/upgrade", "/_matrix/client/r0/rooms/{roomId}/upgrade")
    async def upgrade(self, call: Call) -> Response:
        body = call.json()
        version = needed_text(body, "new_version")
        done = await self._rooms.do(
            UpgradeRoom(
                actor=call.user_id,
                origin=call.by(),
                room_id=RoomId(call.path["roomId"]),
                room_version=version,
                creators=tuple(dict.fromkeys(parse_user_id(user) for user in _texts(body, "additional_creators"))),
            )
        )
        return json_response({"replacement_room": done.room_id or ""})

    @endpoint("GET", "/_matrix/client/v3/joined_rooms", "/_matrix/client/r0/joined_rooms")
    async def joined_rooms(self, call: Call) -> Response:
        memberships = await self._reader.memberships(call.user_id)
        return json_response(
            {"joined_rooms": [room_id for room_id, membership in memberships.items() if membership == "join"]}
        )


def _target(call: Call) -> tuple[UserId, str | None]:
    body = call.json()
    return parse_user_id(needed_text(body, "user_id")), text_in(body, "reason")


def _third_party(call: Call, body: JsonObject, room_id: RoomId) -> InviteByAddress:
    given = {key: needed_text(body, key) for key in ("id_server", "id_access_token", "medium", "address")}
    return InviteByAddress(
        actor=call.user_id,
        origin=Origin(call.session),
        room_id=room_id,
        id_server=given["id_server"],
        access_token=Secret(given["id_access_token"]),
        medium=given["medium"],
        address=given["address"],
        reason=text_in(body, "reason"),
    )


def _by_address(call: Call, body: JsonObject) -> Sequence[InviteByAddress]:
    """invite_3pid of POST /createRoom, for a room that is not there yet."""
    given = body.get("invite_3pid", [])
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise bad_json("invite_3pid must be a list of objects")
    return [_third_party(call, entry, RoomId("")) for entry in given if isinstance(entry, dict)]


def _via(call: Call) -> tuple[ServerName, ...]:
    """spec: `via`, and its deprecated form `server_name`: servers to enter through."""
    queries = call.request.queries()
    return tuple(parse_server_name(name) for name in (*queries.get("via", ()), *queries.get("server_name", ())))


def _texts(body: JsonObject, key: str) -> Sequence[str]:
    value = body.get(key, [])
    texts = [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else None
    if texts is None or not isinstance(value, list) or len(texts) != len(value):
        raise bad_json(f"{key} must be a list of texts")
    return texts


def _object(body: JsonObject, key: str) -> JsonObject | None:
    value = body.get(key)
    if value is not None and not isinstance(value, dict):
        raise bad_json(f"{key} must be an object")
    return value


def _initial_state(body: JsonObject) -> tuple[StateDraft, ...]:
    given = body.get("initial_state", [])
    if not isinstance(given, list):
        raise bad_json("initial_state must be a list")
    drafts = []
    for entry in given:
        if not isinstance(entry, dict):
            raise bad_json("initial_state holds events")
        type_, state_key, content = entry.get("type"), entry.get("state_key", ""), entry.get("content")
        if not isinstance(type_, str) or not isinstance(state_key, str) or not isinstance(content, dict):
            raise bad_json("An initial state event has type, state_key and content")
        drafts.append(StateDraft(type_, state_key, content))
    return tuple(drafts)
