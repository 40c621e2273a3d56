"""A server that nobody can reach, for what `tripoint` does while none runs: the middle and the administrators' API.

Rooms are changed as ever, and what other servers are to hear of it waits in the log for the next start.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tripoint.config.load import server_name
from tripoint.config.options import Config
from tripoint.matrix.frontend import MatrixFrontEnd
from tripoint.net.http import Request, Response
from tripoint.runtime.data_dir import DataDir
from tripoint.runtime.media import build_media
from tripoint.runtime.middle import build_middle, clock_ms
from tripoint.store.search import SqliteSearch
from tripoint.store.sqlite import SqliteStore


class Offline:
    """Answers as a running server's control socket does."""

    def __init__(self, front: MatrixFrontEnd) -> None:
        self._front = front

    async def ask(self, request: Request) -> Response:
        return await self._front.listener.handle_operator(request)


@asynccontextmanager
async def offline(config: Config, folder: DataDir) -> AsyncIterator[Offline]:
    """On a locked folder. Raises DataDirError, StoreError, OSError."""
    server = server_name(config)
    folder.check_server_name(server)
    secret = folder.secret()
    middle = await build_middle(
        config,
        SqliteStore(folder.database),
        folder.signing_key(),
        secret=secret,
        index_of_words=SqliteSearch(folder.search_index),
        end_guests=False,
    )
    try:
        media = build_media(config, middle, folder.media, secret=secret, now_ms=clock_ms)
        try:
            yield Offline(
                MatrixFrontEnd(
                    server,
                    middle.service,
                    middle.reader,
                    middle.accounts,
                    middle.presence,
                    middle.hub,
                    middle.pace,
                    media.ports,
                    middle.encryption,
                    middle.oauth,
                    middle.delayed,
                    middle.desk,
                    now_ms=clock_ms,
                    public_url=config.server.public_url,
                    default_room_version=config.server.default_room_version,
                    secret=secret,
                    plaintext_passwords=False,
                )
            )
        finally:
            await media.close()
    finally:
        await middle.close()
