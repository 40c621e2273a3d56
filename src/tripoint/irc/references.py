"""How clients point into a history: ``timestamp=…``, ``msgid=…``, ``*``, and how many messages they want. Pure.

spec: IRCv3 chathistory "CHATHISTORY Command", server-time.  Read next: tripoint/irc/commands/history.py.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from tripoint.core.errors import PeerError
from tripoint.core.ids import EventId
from tripoint.rooms.history import ByEvent, ByTime

Reference = ByEvent | ByTime

# COMPAT: the specification wants milliseconds; clients that keep seconds, or more digits, are understood too.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
MAX_MSGID_BYTES: Final = 255


class UnknownReferenceType(PeerError):
    """``something=…`` with a type that is not in MSGREFTYPES."""


def parse_reference(word: str) -> Reference:
    """A message reference. Raises UnknownReferenceType, or PeerError with what is wrong with it."""
    kind, equals, value = word.partition("=")
    if kind == "timestamp" and equals:
        return ByTime(parse_time(value))
    if kind == "msgid" and equals:
        if not 2 <= len(value.encode("utf-8", "replace")) <= MAX_MSGID_BYTES:
            raise PeerError("Invalid msgid")
        return ByEvent(EventId(value))
    if equals:
        raise UnknownReferenceType("This server knows references by msgid= and timestamp=")
    raise PeerError("Invalid reference")


def parse_time(value: str) -> int:
    """``YYYY-MM-DDThh:mm:ss.sssZ`` as milliseconds since 1970; finer digits are cut. Raises PeerError."""
    found = _TIME.fullmatch(value)
    if found is None:
        raise PeerError("Invalid timestamp")
    try:
        at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        raise PeerError("Invalid timestamp") from None
    return int(at.timestamp()) * 1000 + int((found[2] or "0").ljust(3, "0")[:3])


def parse_limit(word: str, most: int) -> int:
    """How many messages are wanted, at most `most`. Raises PeerError for what is no positive number."""
    if not _NUMBER.fullmatch(word) or not int(word):
        raise PeerError("Invalid limit")
    return min(int(word), most)
