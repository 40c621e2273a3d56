"""Sync tokens: how far a reader has read.

Opaque to clients: `s<stream position>~<start>.<ephemeral>`. Typing and presence live in memory and have a
counter of their own, which counts only as long as this process runs (`start`).
"""

import re

from msgspec import Struct

from tripoint.core.stream_position import BadPosition, StreamPosition, parse_stream_position
from tripoint.matrix.errors import invalid

_TOKEN = re.compile(r"s([0-9.-]{3,2000})(?:~([0-9a-z]{1,16})\.(\d{1,18}))?\Z")


class SyncToken(Struct, frozen=True):
    """A place in the stream. `ephemeral` is 0 where the token comes from another run of the server."""

    stream: StreamPosition
    ephemeral: int = 0

    @property
    def position(self) -> int:
        """How far the token has come with the writer of the rooms of this process."""
        return self.stream.of()

    def text(self, start: str) -> str:
        return f"s{self.stream.text()}~{start}.{self.ephemeral}"


def parse_token(text: str, start: str) -> SyncToken:
    """A token as a client sent it. M_INVALID_PARAM for what we never gave out."""
    match = _TOKEN.match(text)
    try:
        if match is None:
            raise BadPosition("That is not a token of this server")
        stream = parse_stream_position(match[1])
    except BadPosition as error:
        raise invalid(str(error)) from None
    return SyncToken(stream, int(match[3]) if match[2] == start and match[3] else 0)


def page_token(position: int) -> str:
    """A token for /messages: after the event at this position."""
    return f"s{StreamPosition.at(position).text()}"
