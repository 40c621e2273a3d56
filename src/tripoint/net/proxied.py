"""Listeners some of whose peers are proxies: their PROXY header is read before TLS, and before anything else.

Only where proxies are configured; otherwise the loop's own servers listen. What comes from a proxy without a header is
closed, what comes from elsewhere is served as it is.
spec: the PROXY protocol 2 ("MUST NOT try to guess whether the protocol header is present or not").
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence

import structlog

from tripoint.core.addresses import parse_address
from tripoint.net.proxy_header import (
    MAX_V1_BYTES,
    SIGNATURE,
    V2_HEAD_BYTES,
    BadHeader,
    Source,
    parse_v1,
    parse_v2,
    v2_length,
)

log = structlog.get_logger()

# A proxy sends its header with the connection.
HEADER_S = 5.0
# Connections whose header or handshake has not come yet; who comes beyond that is closed.
MAX_OPENING = 1000
# Out of file descriptors: accepting waits, and what waits in the backlog with it.
EXHAUSTED_S = 1.0

MakeProtocol = Callable[[Source], asyncio.Protocol]


class Proxies:
    """Who may say in whose name he connects. `networks` are CIDR or addresses."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in networks)

    def holds(self, address: str) -> bool:
        """Whether a peer is a proxy."""
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)


class ProxiedListener:
    """A listening socket. `make` is given who is at the other end: with an address of None, the peer itself."""

    def __init__(self, sock: socket.socket, proxies: Proxies, make: MakeProtocol) -> None:
        self._sock = sock
        self._proxies = proxies
        self._make = make
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self, backlog: int = 1024) -> None:
        """Listen from now on."""
        self._sock.listen(backlog)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Take nothing any more; what has not been handed over is closed."""
        tasks = [task for task in (self._accepting, *self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._sock)
            except OSError as error:
                log.warning("net.accept_failed", error=str(error))
                await asyncio.sleep(EXHAUSTED_S)
                continue
            if len(self._opening) >= MAX_OPENING:
                connection.close()
                continue
            task = loop.create_task(self._open(connection, str(peer[0])))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, peer: str) -> None:
        loop, handed_over = asyncio.get_running_loop(), False
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source = Source(None)
            if self._proxies.holds(peer):
                async with asyncio.timeout(HEADER_S):
                    source = await _read_header(loop, connection)
            await loop.connect_accepted_socket(lambda: self._make(source), connection)
            handed_over = True
        except BadHeader as error:
            log.warning("net.bad_proxy_header", proxy=peer, reason=str(error))
        except (OSError, TimeoutError) as error:
            # A peer that is gone: as a server of the loop has it.
            log.debug("net.not_opened", peer=peer, error=str(error))
        finally:
            if not handed_over:
                connection.close()


async def _read_header(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> Source:
    """Exactly the header, and nothing of what follows it: that may be TLS. Raises BadHeader, OSError."""
    start = await _exactly(loop, connection, len(SIGNATURE))
    if start == SIGNATURE:
        head = start + await _exactly(loop, connection, V2_HEAD_BYTES - len(SIGNATURE))
        return parse_v2(head, await _exactly(loop, connection, v2_length(head)))
    line = start
    while not line.endswith(b"\r\n"):
        # A line has no length in front of it; a proxy's is short, and connects rarely enough.
        if len(line) >= MAX_V1_BYTES or not line.startswith(b"PROXY "):
            raise BadHeader("no PROXY header")
        line += await _exactly(loop, connection, 1)
    return parse_v1(line)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(connection, size - len(data))
        if not piece:
            raise BadHeader("the connection ended before its PROXY header did")
        data += piece
    return data
