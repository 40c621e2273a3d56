"""Sync tokens: how far a reader has read.

Opaque to clients: `s<stream position>~<start>.<ephemeral>`, and `.<position>` behind it where messages to the device
were left for the next answer, and another one where sticky events were. Typing and presence live in memory and have a
counter of their own, which counts only as long as this process runs (`start`). A pos of sliding sync is such a token
and names behind it the connection and the answer (`~k<number>.<number>`); it can be paged from as any other.
"""

import re

from msgspec import Struct

from tripoint.core.stream_position import BadPosition, StreamPosition, parse_stream_position
from tripoint.matrix.errors import invalid

_TOKEN = re.compile(
    r"s([0-9.-]{3,2000})(?:~([0-9a-z]{1,16})\.(\d{1,18})(?:\.(\d{1,18})?(?:\.(\d{1,18}))?)?)?"
    r"(?:~k\d{1,15}\.\d{1,15})?\Z"
)


class SyncToken(Struct, frozen=True):
    """A place in the stream. `ephemeral` is 0 where the token comes from another run of the server. `to_device`: how
    far messages to the device were told, where that is not all before `stream`; `sticky`: the same of sticky events."""

    stream: StreamPosition
    ephemeral: int = 0
    to_device: int | None = None
    sticky: int | None = None

    @property
    def position(self) -> int:
        """How far the token has come with the writer of the rooms of this process."""
        return self.stream.of()

    @property
    def messages(self) -> int:
        """How far messages to the device were told."""
        return self.position if self.to_device is None else self.to_device

    @property
    def stuck(self) -> int:
        """How far sticky events were told."""
        return self.position if self.sticky is None else self.sticky

    def text(self, start: str) -> str:
        left = "" if self.to_device is None else f".{self.to_device}"
        if self.sticky is not None:
            left = f"{left or '.'}.{self.sticky}"
        return f"s{self.stream.text()}~{start}.{self.ephemeral}{left}"


def parse_token(text: str, start: str) -> SyncToken:
    """A token as a client sent it. M_INVALID_PARAM for what we never gave out."""
    match = _TOKEN.match(text)
    try:
        if match is None:
            raise BadPosition("That is not a token of this server")
        stream = parse_stream_position(match[1])
    except BadPosition as error:
        raise invalid(str(error)) from None
    ephemeral = int(match[3]) if match[2] == start and match[3] else 0
    return SyncToken(
        stream, ephemeral, int(match[4]) if match[4] else None, int(match[5]) if match[5] else None
    )


def page_token(position: int) -> str:
    """A token for /messages: after the event at this position."""
    return f"s{StreamPosition.at(position).text()}"
