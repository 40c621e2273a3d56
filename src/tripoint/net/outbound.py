"""Requests that this server makes by itself: federation, and whatever else strangers can make it fetch.

Every socket is asked of the address policy at the moment of connecting, every request has a deadline for all of it
and a limit for its answer, and redirects are few and lead to https alone. Failure is RemoteFailed, with the reason
for operators. What is asked for and what an answer means is the caller's. Read next: http_client.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from tripoint.core.errors import RemoteFailed
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.resolver import Route

if TYPE_CHECKING:
    from tripoint.net.http_client import HttpClient

# What browsers and libraries follow is 20 to 30; nobody needs more than one or two.
MAX_REDIRECTS: Final = 5
# One attempt to connect, TLS included; a server has several addresses.
CONNECT_S: Final = 8.0
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body was read whole. Header names are in lower case; of several the first counts."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer whose body is still to be read, once. Reading it raises RemoteFailed. `url`: where it came from in the
    end, for open_url()."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]
    url: str = ""

    async def whole(self, server: str, limit_bytes: int) -> Answer:
        """All of it. Raises RemoteFailed naming `server`, where it is over `limit_bytes` too."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.pieces:
            size += len(chunk)
            if size > limit_bytes:
                raise RemoteFailed(server, f"its answer is over {limit_bytes} bytes")
            chunks.append(chunk)
        return Answer(self.status, b"".join(chunks), self.headers)


class TimedOut(RemoteFailed):
    """No whole answer came in time."""


class ConnectFailed(RemoteFailed):
    """Nothing was sent: the next address may be tried."""


def client_context(extra_authorities: Sequence[str] = ()) -> ssl.SSLContext:
    """TLS for outgoing connections: the system's authorities and those in these PEM files. Raises ValueError.

    spec: Matrix server-server-api tls, authentication: a request goes out only after the server has shown a
    certificate that is valid for its name.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in extra_authorities:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise ValueError(f"{path} holds no certificate authorities: {error}") from error
    return context


class Outbound:
    """The client of one process. `addresses` looks up DNS names (net/dns.py)."""

    def __init__(
        self,
        policy: AddressPolicy,
        addresses: Callable[[str], Awaitable[Sequence[str]]],
        context: ssl.SSLContext,
        user_agent: str,
    ) -> None:
        self._policy = policy
        self._addresses = addresses
        self._context = context
        self._user_agent = user_agent
        self._made: HttpClient | None = None

    async def request(
        self,
        server: str,
        route: Route,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        limit_bytes: int,
        timeout_s: float,
    ) -> Answer:
        """One request to a server whose route was resolved. `target`: path and query, percent-encoded.

        The next address is tried as long as nothing was sent. Redirects are answers like others. Raises
        RemoteFailed, naming `server`.
        """
        async with self.open(
            server, route, method, target, headers=headers, body=body, timeout_s=timeout_s
        ) as answer:
            return await answer.whole(server, limit_bytes)

    @asynccontextmanager
    async def open(
        self,
        server: str,
        route: Route,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_s: float,
    ) -> AsyncIterator[OpenAnswer]:
        """As request(), for a body that is read in pieces. `timeout_s` is for all that happens while this is open."""
        client = self._client()
        try:
            async with asyncio.timeout(timeout_s), AsyncExitStack() as stack:
                failed: ConnectFailed | None = None
                answer: OpenAnswer | None = None
                for at in route.targets:
                    address = f"[{at.address}]" if ":" in at.address else at.address
                    try:
                        answer = await stack.enter_async_context(
                            client.opened(
                                server,
                                method,
                                f"https://{address}:{at.port}{target}",
                                headers={**headers, "Host": route.host},
                                body=body,
                                tls_name=route.tls_name.rstrip("."),
                            )
                        )
                        break
                    except ConnectFailed as error:
                        failed = error
                if answer is None:
                    raise failed or RemoteFailed(server, "it has no address")
                yield answer
        except TimeoutError:
            raise TimedOut(server, f"no whole answer within {timeout_s:g} s") from None

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, limit_bytes: int, timeout_s: float
    ) -> Answer:
        """GET an https address. Raises RemoteFailed, naming the first host.

        Redirects are followed, unless there are `headers`: what is in those is for this address alone.
        """
        if headers is not None:
            return await self._exchange("GET", url, b"", headers, limit_bytes, timeout_s)
        async with self.open_url(url, timeout_s=timeout_s) as answer:
            return await answer.whole(_host_in(url), limit_bytes)

    @asynccontextmanager
    async def open_url(
        self,
        url: str,
        *,
        timeout_s: float,
        headers: Mapping[str, str] = NO_HEADERS,
        plain: bool = False,
    ) -> AsyncIterator[OpenAnswer]:
        """As get(), for a body that is read in pieces. `headers` go to wherever redirects lead, too; `plain`: http is
        as good as https, for what is public anyway."""
        client = self._client()
        first = _host_in(url)
        seen: set[str] = set()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    check_url(first, url, plain=plain)
                    if url in seen or len(seen) > MAX_REDIRECTS:
                        raise RemoteFailed(first, "its redirects do not end")
                    seen.add(url)
                    async with client.opened(first, "GET", url, headers=headers, body=b"", tls_name=None) as answer:
                        location = answer.headers.get("location")
                        if answer.status not in _REDIRECTS or location is None:
                            yield replace(answer, url=url)
                            return
                    try:
                        url = urljoin(url, location).partition("#")[0]
                    except ValueError:
                        raise RemoteFailed(first, "its redirect is no URL") from None
        except TimeoutError:
            raise TimedOut(first, f"no whole answer within {timeout_s:g} s") from None

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        limit_bytes: int,
        timeout_s: float,
        headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"}),
    ) -> Answer:
        """POST JSON, or what `headers` say, to an https address; redirects are answers like others.

        Raises RemoteFailed, naming the host.
        """
        return await self._exchange("POST", url, body, headers, limit_bytes, timeout_s)

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str],
        limit_bytes: int,
        timeout_s: float,
    ) -> Answer:
        """Any request to an address that the operator gave, of http too; redirects are answers like others.

        Raises RemoteFailed, naming the host; ConnectFailed where nothing was sent.
        """
        return await self._exchange(method, url, body, headers, limit_bytes, timeout_s, plain=True)

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        limit_bytes: int,
        timeout_s: float,
        *,
        plain: bool = False,
    ) -> Answer:
        host = _host_in(url)
        check_url(host, url, plain=plain)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client().exchange(
                    host, method, url, headers=headers, body=body, tls_name=None, limit_bytes=limit_bytes
                )
        except TimeoutError:
            raise TimedOut(host, f"no whole answer within {timeout_s:g} s") from None

    async def close(self) -> None:
        """Close idle connections; requests that run fail."""
        if self._made is not None:
            await self._made.close()
            self._made = None

    def _client(self) -> HttpClient:
        if self._made is None:
            # Here, since aiohttp costs a fifth of a second of CPU that a server without federation need not spend.
            from tripoint.net.http_client import HttpClient

            self._made = HttpClient(self._policy, self._addresses, self._context, self._user_agent, CONNECT_S)
        return self._made


def _host_in(url: str) -> str:
    """For whom to blame; what is no URL is refused by check_url."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def check_url(host: str, url: str, *, plain: bool = False) -> None:
    """Raise RemoteFailed, naming `host`, unless a URL is an https address, or with `plain` one of http: nothing else is
    ever fetched."""
    try:
        parts = urlsplit(url)
        schemes = ("https", "http") if plain else ("https",)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or not url.isprintable():
        raise RemoteFailed(host, "it leads to something that is no plain https address")
