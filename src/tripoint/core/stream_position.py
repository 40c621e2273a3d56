"""A place in what this server has committed: for each writing process how far it has come.

Opaque to clients. There is one writer today (FIRST_WRITER); with several, a reader's place is a number for
each of them, and tokens given out now stay good: a writer that a token does not name counts as 0.
"""

import re

from msgspec import Struct

from tripoint.core.errors import PeerError

FIRST_WRITER = 1
# A number below zero is a place in the past that was fetched from other servers.
_PART = re.compile(r"(\d{1,9})-(-?\d{1,18})\Z")
# More writers than this are no cluster but an attack.
_MAX_WRITERS = 64


class BadPosition(PeerError):
    """A text that is no position of this server."""


class StreamPosition(Struct, frozen=True):
    """(writer, number) pairs by rising writer; a writer that is not named stands at 0."""

    numbers: tuple[tuple[int, int], ...] = ()

    @classmethod
    def at(cls, number: int, writer: int = FIRST_WRITER) -> "StreamPosition":
        """The place after `number` of one writer."""
        return cls(((writer, number),))

    def of(self, writer: int = FIRST_WRITER) -> int:
        """How far `writer` has come."""
        for who, number in self.numbers:
            if who == writer:
                return number
        return 0

    def text(self) -> str:
        """As it stands in tokens: 1-4711, or 1-4711.2-12."""
        return ".".join(f"{writer}-{number}" for writer, number in self.numbers)


def parse_stream_position(text: str) -> StreamPosition:
    """The position of StreamPosition.text(). Raises BadPosition."""
    numbers: dict[int, int] = {}
    parts = text.split(".")
    if len(parts) > _MAX_WRITERS:
        raise BadPosition("That is not a token of this server")
    for part in parts:
        match = _PART.match(part)
        if match is None or int(match[1]) in numbers:
            raise BadPosition("That is not a token of this server")
        numbers[int(match[1])] = int(match[2])
    return StreamPosition(tuple(sorted(numbers.items())))
