"""Sync tokens: how far a reader has read.

Opaque to clients: `s<position>_<start>.<ephemeral>`. The position is the server's stream; typing and presence
live in memory and have a counter of their own, which counts only as long as this process runs (`start`).
"""

import re

from msgspec import Struct

from tripoint.matrix.errors import invalid

_TOKEN = re.compile(r"s(\d{1,18})(?:_([0-9a-z]{1,16})\.(\d{1,18}))?\Z")


class SyncToken(Struct, frozen=True):
    """A place in the stream. `ephemeral` is 0 where the token comes from another run of the server."""

    position: int
    ephemeral: int = 0

    def text(self, start: str) -> str:
        return f"s{self.position}_{start}.{self.ephemeral}"


def parse_token(text: str, start: str) -> SyncToken:
    """A token as a client sent it. M_INVALID_PARAM for what we never gave out."""
    match = _TOKEN.match(text)
    if match is None:
        raise invalid("That is not a token of this server")
    ephemeral = int(match[3]) if match[2] == start and match[3] else 0
    return SyncToken(int(match[1]), ephemeral)


def page_token(position: int) -> str:
    """A token for /messages: after the event at this position."""
    return f"s{position}"
