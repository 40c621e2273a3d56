"""Endpoints about invitations by e-mail address: an identity server says who is meant, another server shows a proof.

spec: Matrix server-server-api onBindThirdPartyIdentifier, exchangeThirdPartyInvite. What a proof is worth is
rooms/third_party_invites.py's.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from tripoint.accounts.ports import AccountService
from tripoint.core.addresses import network_of
from tripoint.core.canonical_json import Json
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import RoomId, ServerName, UserId, parse_room_id, parse_user_id, server_of
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.third_party import SignedInvite, read_signed_invite
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.third_party_invites import ThirdPartyInvites

log = structlog.get_logger()

# Invitations to one address that are told at once, and how long they may take altogether: the identity server waits.
MAX_INVITES: Final = 20
ALL_S: Final = 60.0
# Nothing says who calls onbind, and each invitation is a question to another server: so many from one network.
BINDS: Final = Rate(60, 1)
# What comes right by itself, so that the identity server may try again.
_PASSING: Final = (Refusal.REMOTE_TIMEOUT, Refusal.SERVER_BUSY)


class ExchangeEndpoints:
    """`clock_s` is monotonic."""

    def __init__(
        self,
        invites: ThirdPartyInvites,
        accounts: AccountService,
        server: ServerName,
        clock_s: Callable[[], float],
    ) -> None:
        self._invites = invites
        self._accounts = accounts
        self._server = server
        self._clock_s = clock_s
        self._binds = TokenBuckets(BINDS)

    @endpoint("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{roomId}", auth=Auth.SERVER)
    async def exchange(self, call: Call) -> Response:
        body, room_id = call.json(), RoomId(call.path["roomId"])
        content = object_at(body, "content")
        if body.get("type") != "m.room.member" or content.get("membership") != "invite":
            raise invalid("That is no invitation")
        if body.get("room_id") != room_id:
            raise invalid("room_id is of another room")
        try:
            sender = parse_user_id(text_at(body, "sender") or "")
            signed = read_signed_invite(object_at(content, "third_party_invite").get("signed"))
        except PeerError as error:
            raise invalid(str(error)) from error
        if signed.mxid != body.get("state_key") or server_of(signed.mxid) != call.origin:
            raise invalid("The invited user is not one of the server that asks")
        await self._invites.exchange(room_id, sender, signed)
        return EMPTY

    @endpoint("PUT", "/_matrix/federation/v1/3pid/onbind", auth=Auth.NONE)
    async def bound(self, call: Call) -> Response:
        return await self._bound(call)

    @endpoint("POST", "/_matrix/federation/v1/3pid/onbind", auth=Auth.NONE)
    async def bound_by_post(self, call: Call) -> Response:
        """COMPAT: what Sydent says. spec: identity-service-api "Invitation storage": "an HTTP POST" """
        return await self._bound(call)

    async def _bound(self, call: Call) -> Response:
        """Who asks does not matter: each invitation is signed by a key that is in its room."""
        body = call.json()
        given = list_at(body, "invites")
        if len(given) > MAX_INVITES:
            raise bad_json(f"At most {MAX_INVITES} invitations are told at once")
        wait_s = self._binds.take(network_of(call.request.address), self._clock_s(), 1 + len(given))
        if wait_s > 0:
            raise MatrixError(429, "M_LIMIT_EXCEEDED", "Too many of these", retry_after_ms=int(wait_s * 1000) + 1)
        try:
            mxid = parse_user_id(text_at(body, "mxid") or "")
        except PeerError as error:
            raise invalid(str(error)) from error
        if server_of(mxid) != self._server or not await self._accounts.is_local_user(mxid):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such user here")
        failed = False
        try:
            async with asyncio.timeout(ALL_S):
                for entry in given:
                    failed = not await self._show(entry, mxid) or failed
        except TimeoutError:
            failed = True
        if failed:
            raise MatrixError(503, "M_UNKNOWN", "Not every invitation could be passed on; try again")
        return EMPTY

    async def _show(self, entry: Json, mxid: UserId) -> bool:
        """False where it may go better another time; what is no invitation for this user is none for ever."""
        try:
            room_id, sender, signed = _read(entry)
            if signed.mxid != mxid:
                raise PeerError("it is for somebody else")
            await self._invites.show(room_id, sender, signed)
        except Refused as refused:
            log.info("invite.not_redeemed", user_id=mxid, reason=refused.refusal.name)
            return refused.refusal not in _PASSING
        except RemoteFailed as failed:
            log.info("invite.not_redeemed", user_id=mxid, server=failed.host, reason=failed.reason)
            return False
        except PeerError as error:
            log.info("invite.not_redeemed", user_id=mxid, reason=str(error))
        return True


def _read(entry: Json) -> tuple[RoomId, UserId, SignedInvite]:
    """Raises PeerError."""
    if not isinstance(entry, dict):
        raise PeerError("it is no object")
    room_id = parse_room_id(text_at(entry, "room_id") or "")
    return room_id, parse_user_id(text_at(entry, "sender") or ""), read_signed_invite(entry.get("signed"))
