"""Asking identity servers (rooms.identity.IdentityServers), and having them publish or forget whose an address is.

Only those that the operator trusts are spoken to: a client names the server, and what it is asked goes there in the
user's name. Who they are is known by their certificate alone; nothing of federation's discovery is used.
spec: Matrix identity-service-api; client-server-api POST /account/3pid/bind, /account/3pid/unbind
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import structlog

from tripoint.core.canonical_json import JsonObject, decode_lenient, encode_lenient
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import InvalidId, ServerName, UserId, parse_user_id
from tripoint.core.json_view import object_at, text_at, texts_at
from tripoint.core.signing import SigningKey
from tripoint.core.third_party import (
    StoredInvite,
    ThirdPartyId,
    lookup_address,
    parse_third_party_id,
    read_stored_invite,
)
from tripoint.matrix.federation.auth import sign_for_identity_server
from tripoint.net.outbound import Answer, Outbound
from tripoint.rooms.identity import IdentityRefused

log = structlog.get_logger()

V2: Final = "/_matrix/identity/v2"
# Somebody waits for it, and no answer is large.
TIMEOUT_S: Final = 15.0
LIMIT_BYTES: Final = 65_536


class IdentityClient:
    """`trusted`: identity servers as host or host:port."""

    def __init__(
        self, server: ServerName, key: SigningKey, outbound: Outbound, trusted: Sequence[str]
    ) -> None:
        self._server = server
        self._key = key
        self._outbound = outbound
        self._trusted = frozenset(name.lower() for name in trusted)

    def trusts(self, server: str) -> bool:
        return server.lower() in self._trusted

    # -- in a user's name

    async def lookup(self, server: str, access_token: str, of: ThirdPartyId) -> UserId | None:
        details = await self._ask(server, access_token, "GET", f"{V2}/hash_details")
        offered, pepper = texts_at(details, "algorithms"), text_at(details, "lookup_pepper")
        algorithm = next((one for one in ("sha256", "none") if one in offered), None)
        if algorithm is None or pepper is None:
            raise RemoteFailed(server, "it knows no way of looking up that is known here")
        wanted = lookup_address(of, algorithm, pepper)
        question: JsonObject = {"addresses": [wanted], "algorithm": algorithm, "pepper": pepper}
        answer = await self._ask(server, access_token, "POST", f"{V2}/lookup", question)
        found = text_at(object_at(answer, "mappings"), wanted)
        if found is None:
            return None
        try:
            return parse_user_id(found)
        except InvalidId:
            raise RemoteFailed(server, "who it found is no user") from None

    async def store_invite(self, server: str, access_token: str, wanted: JsonObject) -> StoredInvite:
        answer = await self._ask(server, access_token, "POST", f"{V2}/store-invite", wanted)
        try:
            return read_stored_invite(answer)
        except PeerError as error:
            raise RemoteFailed(server, str(error)) from error

    async def bind(
        self, server: str, access_token: str, sid: str, client_secret: str, mxid: UserId
    ) -> ThirdPartyId:
        """Have the address published that was shown there under `sid`; which one that is. spec: POST /3pid/bind"""
        wanted: JsonObject = {"sid": sid, "client_secret": client_secret, "mxid": mxid}
        answer = await self._ask(server, access_token, "POST", f"{V2}/3pid/bind", wanted)
        try:
            return parse_third_party_id(text_at(answer, "medium") or "", text_at(answer, "address") or "")
        except PeerError as error:
            raise RemoteFailed(server, f"what it bound: {error}") from error

    # -- in this server's name

    async def unbind(self, server: str, of: ThirdPartyId, mxid: UserId) -> bool:
        """Have it forget whose an address is. False: it does not do such things.

        spec: POST /3pid/unbind: "The request is signed by the homeserver which controls the user_id"; 400, 404 and 501
        without a Matrix error: "the identity server does not support unbinds"
        """
        target = f"{V2}/3pid/unbind"
        content: JsonObject = {"mxid": mxid, "threepid": {"medium": of.medium, "address": of.address}}
        header = sign_for_identity_server(self._key, self._server, server, "POST", target, content)
        headers = {"Authorization": header, "Content-Type": "application/json"}
        try:
            await self._exchange(server, "POST", target, headers, encode_lenient(content))
        except IdentityRefused as refused:
            if refused.status in (400, 404, 501) and not refused.errcode:
                return False
            raise
        return True

    async def is_valid(self, url: str, public_key: str) -> bool:
        """The address is of the room's event; whoever made that has chosen it, and it is asked nothing else."""
        asked = f"{url}{'&' if '?' in url else '?'}{urlencode({'public_key': public_key})}"
        answer = await self._outbound.get(asked, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S)
        host = url.partition("://")[2].partition("/")[0]
        if answer.status != 200:
            raise RemoteFailed(host, f"its key's page says {answer.status}")
        return _object(host, answer).get("valid") is True

    # -- on the wire

    async def _ask(
        self, server: str, access_token: str, method: str, target: str, content: JsonObject | None = None
    ) -> JsonObject:
        headers = {"Authorization": f"Bearer {access_token}"}
        body = b""
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = encode_lenient(content)
        return await self._exchange(server, method, target, headers, body)

    async def _exchange(
        self, server: str, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> JsonObject:
        url = f"https://{server}{target}"
        try:
            if method == "GET":
                answer = await self._outbound.get(url, headers=headers, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S)
            else:
                answer = await self._outbound.post(
                    url, body, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S, headers=headers
                )
        except RemoteFailed as failed:
            log.info("identity.no_answer", server=server, reason=failed.reason)
            raise
        if answer.status != 200:
            raise _refused(server, answer)
        return _object(server, answer)


def _object(server: str, answer: Answer) -> JsonObject:
    try:
        value = decode_lenient(answer.body)
    except PeerError:
        value = None
    if not isinstance(value, dict):
        raise RemoteFailed(server, "its answer is no JSON object")
    return value


def _refused(server: str, answer: Answer) -> IdentityRefused:
    try:
        said = _object(server, answer)
    except RemoteFailed:
        said = {}
    errcode, error = text_at(said, "errcode") or "", text_at(said, "error") or ""
    clean = "".join(c if c.isprintable() else " " for c in error[:300])
    return IdentityRefused(server, answer.status, "".join(c for c in errcode[:100] if c.isprintable()), clean)
