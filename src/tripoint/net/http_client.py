"""One HTTP exchange by aiohttp: connect where the policy allows, send, read up to a limit.

Loaded with the first request (outbound.py), since aiohttp takes a while to import. No cookies, no proxies from the
environment, no compression (a small answer must not become a large one), no redirects.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy, AddressRefused
from tripoint.net.outbound import Answer, ConnectFailed, OpenAnswer

# Sockets at a time, and to one place; further requests wait, within their deadline.
MAX_CONNECTIONS: Final = 500
MAX_PER_HOST: Final = 8
KEEP_ALIVE_S: Final = 60.0
_CHUNK: Final = 65_536

Addresses = Callable[[str], Awaitable[Sequence[str]]]
_AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class _Resolver(AbstractResolver):
    """Names to addresses for aiohttp's connector, those that the policy refuses left out."""

    def __init__(self, policy: AddressPolicy, addresses: Addresses) -> None:
        self._policy = policy
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await self._addresses(host)
        except RemoteFailed as error:
            raise OSError(errno.EAGAIN, error.reason) from error
        allowed = [address for address in found if self._policy.is_allowed(address)]
        if found and not allowed:
            raise AddressRefused(f"{host} has no public address ({', '.join(found[:3])})")
        if not allowed:
            raise OSError(errno.ENOENT, f"{host} has no address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in allowed
        ]

    async def close(self) -> None:
        return None


class HttpClient:
    """A pool of connections. `connect_s` bounds each attempt to connect."""

    def __init__(
        self, policy: AddressPolicy, addresses: Addresses, context: ssl.SSLContext, user_agent: str, connect_s: float
    ) -> None:
        def make_socket(info: _AddrInfo) -> socket.socket:
            # Whatever an address came from (a name, a literal in a redirect, a route): here is the only door.
            policy.check(str(info[4][0]))
            return socket.socket(info[0], info[1], info[2])

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context,
                resolver=_Resolver(policy, addresses),
                use_dns_cache=False,
                socket_factory=make_socket,
                limit=MAX_CONNECTIONS,
                limit_per_host=MAX_PER_HOST,
                keepalive_timeout=KEEP_ALIVE_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
        )

    async def exchange(
        self,
        server: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        tls_name: str | None,
        limit_bytes: int,
    ) -> Answer:
        """One request and its answer. Raises RemoteFailed naming `server`; ConnectFailed before anything is sent.

        `tls_name`: for what the certificate must be valid where that is not the host in `url`; connections are
        pooled by it too. An answer over `limit_bytes` is a failure: half of it would be worth nothing.
        """
        async with self.opened(server, method, url, headers=headers, body=body, tls_name=tls_name) as answer:
            return await answer.whole(server, limit_bytes)

    @asynccontextmanager
    async def opened(
        self, server: str, method: str, url: str, *, headers: Mapping[str, str], body: bytes, tls_name: str | None
    ) -> AsyncIterator[OpenAnswer]:
        """As exchange(), the body to be read while this is open. What is not read then is not wanted."""
        try:
            response = await self._session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body or None,
                server_hostname=tls_name,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorCertificateError as error:
            raise ConnectFailed(server, f"its certificate is not valid: {error.certificate_error}") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ConnectFailed(server, f"no connection: {error}") from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            # ValueError: a header or URL that aiohttp cannot take; OSError: the connection broke.
            raise RemoteFailed(server, f"{type(error).__name__}: {error}") from error
        first: dict[str, str] = {}
        for name, value in response.headers.items():
            first.setdefault(name.lower(), value)
        try:
            yield OpenAnswer(response.status, first, _pieces(server, response))
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def close(self) -> None:
        await self._session.close()


async def _pieces(server: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise RemoteFailed(server, f"{type(error).__name__}: {error}") from error
