"""An application service that listens on loopback, as a bridge does: over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.support.app_service import Service
from tripoint.core.errors import RemoteFailed


class LoopbackService(Service):
    """As Service; `port` is where it listens."""

    def __init__(self) -> None:
        super().__init__("")
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while True:
                top = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", top)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, path, _ = top.split("\r\n", 1)[0].split(" ")
                bearer = re.search(r"(?im)^authorization: *(.*?)\r?$", top)
                status, answer = await self._answered(method, path, body, bearer[1] if bearer else "")
                data = orjson.dumps(answer)
                head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                await writer.drain()
        except (EOFError, OSError, RemoteFailed):
            pass  # the server went, or is to find nobody
        finally:
            writer.close()

    async def _answered(self, method: str, path: str, body: bytes, bearer: str) -> tuple[int, Any]:
        headers = {"Authorization": bearer}
        answer = await self.ask(method, self.url + path, body, headers=headers, limit_bytes=1, timeout_s=1)
        return answer.status, orjson.loads(answer.body)


@asynccontextmanager
async def loopback_service() -> AsyncIterator[LoopbackService]:
    service = LoopbackService()
    listener = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.port = listener.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        listener.close()
