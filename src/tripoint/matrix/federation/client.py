"""Requests to other servers: the name resolved, the request signed, the answer read as JSON.

spec: Matrix server-server-api request-authentication, api-standards. Retrying and backing off belong to whoever
owns the work; what is in the answers too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlencode

import orjson

from tripoint.core.canonical_json import JsonObject, decode_lenient, encode_lenient
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey
from tripoint.matrix.federation.auth import sign_encoded, sign_request
from tripoint.net.outbound import Answer, OpenAnswer, Outbound
from tripoint.net.resolver import Route

# An answer that is not meant to be large; those with a room's state say so themselves.
LIMIT_BYTES: Final = 1_048_576
TIMEOUT_S: Final = 20.0
# A key document has a key or two, and 64 at most. What is kept of strangers should stay small.
KEYS_LIMIT_BYTES: Final = 16_384
# Somebody's request waits for these keys, and one of few places (keys/ring.py MAX_FETCHES) is taken meanwhile.
KEYS_TIMEOUT_S: Final = 10.0

Resolve = Callable[[ServerName], Awaitable[Route]]


class RemoteRefused(RemoteFailed):
    """The server answered, and the answer is no. `status`, `errcode` and `error` ("" where it gave none) say why."""

    def __init__(self, host: str, status: int, errcode: str, error: str) -> None:
        self.status = status
        self.errcode = errcode
        # It goes to logs and perhaps to users: one line of printable characters.
        self.error = "".join(c if c.isprintable() else " " for c in error[:300])
        code = "".join(c if c.isprintable() else " " for c in errcode[:100])
        super().__init__(host, f"{status} {code} {self.error}".strip())


def make_target(*segments: str, query: Mapping[str, str | Sequence[str]] | None = None) -> str:
    """The path of these segments, each percent-encoded whole, and the query: "/_matrix/key/v2/server"."""
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


class FederationClient:
    """`resolve` finds out where a server listens."""

    def __init__(self, server: ServerName, key: SigningKey, outbound: Outbound, resolve: Resolve) -> None:
        self._server = server
        self._key = key
        self._outbound = outbound
        self._resolve = resolve

    async def request(
        self,
        destination: ServerName,
        method: str,
        target: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        timeout_s: float = TIMEOUT_S,
        limit_bytes: int = LIMIT_BYTES,
    ) -> JsonObject:
        """The JSON object that a server answers with 200. `target` as make_target gives it.

        Raises RemoteRefused for other answers, RemoteFailed for none. Numbers are as received.
        """
        body = b"" if content is None else encode_lenient(content)
        authorization = None
        if signed:
            authorization = sign_request(self._key, self._server, destination, method, target, content)
        return await self._request(destination, method, target, body, authorization, timeout_s, limit_bytes)

    async def put_encoded(
        self,
        destination: ServerName,
        target: str,
        body: bytes,
        *,
        timeout_s: float = TIMEOUT_S,
        limit_bytes: int = LIMIT_BYTES,
    ) -> JsonObject:
        """As request(), signed, with PUT and a body that is canonical JSON already."""
        authorization = sign_encoded(self._key, self._server, destination, "PUT", target, body)
        return await self._request(destination, "PUT", target, body, authorization, timeout_s, limit_bytes)

    @asynccontextmanager
    async def open(
        self, destination: ServerName, target: str, *, signed: bool = True, timeout_s: float
    ) -> AsyncIterator[OpenAnswer]:
        """GET something that is no JSON, to be read in pieces while this is open; whatever the status is.

        Raises RemoteFailed, while it is read too. `timeout_s` is for all of it.
        """
        headers = {}
        if signed:
            headers["Authorization"] = sign_request(self._key, self._server, destination, "GET", target, None)
        try:
            async with asyncio.timeout(timeout_s):
                route = await self._resolve(destination)
        except TimeoutError:
            raise RemoteFailed(destination, f"not found within {timeout_s:g} s") from None
        async with self._outbound.open(
            destination, route, "GET", target, headers=headers, timeout_s=timeout_s
        ) as answer:
            yield answer

    async def _request(
        self,
        destination: ServerName,
        method: str,
        target: str,
        body: bytes,
        authorization: str | None,
        timeout_s: float,
        limit_bytes: int,
    ) -> JsonObject:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            # One deadline for everything: a server may be slow in each step of finding it too.
            async with asyncio.timeout(timeout_s):
                route = await self._resolve(destination)
                answer = await self._outbound.request(
                    destination,
                    route,
                    method,
                    target,
                    headers=headers,
                    body=body,
                    limit_bytes=limit_bytes,
                    timeout_s=timeout_s,
                )
        except TimeoutError:
            raise RemoteFailed(destination, f"no whole answer within {timeout_s:g} s") from None
        if answer.status != 200:
            raise _refused(destination, answer)
        return _object(destination, answer.body)

    # -- what the ring of keys asks (keys/ports.py KeySource)

    async def server_keys(self, server: ServerName) -> JsonObject:
        """spec: getServerKey. Not signed: who asks does not matter, and would need our keys to check."""
        target = make_target("_matrix", "key", "v2", "server")
        return await self.request(
            server, "GET", target, signed=False, timeout_s=KEYS_TIMEOUT_S, limit_bytes=KEYS_LIMIT_BYTES
        )

    async def notary_keys(
        self, notary: ServerName, server: ServerName, minimum_valid_until_ts_ms: int
    ) -> Sequence[JsonObject]:
        """spec: bulkPerspectivesKeyQuery, with no key ids: all keys of the server."""
        content: JsonObject = {"server_keys": {server: {}}}
        target = make_target("_matrix", "key", "v2", "query")
        answer = await self.request(
            notary,
            "POST",
            target,
            content,
            signed=False,
            # The notary may have to ask first.
            timeout_s=2 * KEYS_TIMEOUT_S,
            limit_bytes=16 * KEYS_LIMIT_BYTES,
        )
        found = answer.get("server_keys")
        if not isinstance(found, list):
            raise RemoteFailed(notary, "its answer has no server_keys")
        return [one for one in found if isinstance(one, dict) and one.get("server_name") == server]


def _object(server: ServerName, body: bytes) -> JsonObject:
    try:
        value = decode_lenient(body)
    except PeerError:
        raise RemoteFailed(server, "its answer is not JSON") from None
    if not isinstance(value, dict):
        raise RemoteFailed(server, "its answer is not a JSON object")
    return value


def _refused(server: ServerName, answer: Answer) -> RemoteRefused:
    """spec: api-standards: errors have the form of the client-server API; proxies before a server do not know."""
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        value = None
    said = value if isinstance(value, dict) else {}
    errcode, error = said.get("errcode"), said.get("error")
    return RemoteRefused(
        server,
        answer.status,
        errcode if isinstance(errcode, str) else "",
        error if isinstance(error, str) else "",
    )
