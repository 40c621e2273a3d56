"""Who was here: the nicks of guests who went or were renamed, and of accounts whose last connection ended.

Kept in memory and bounded: it is about the last hours, and what accounts and rooms keep is kept there.
spec: RFC2812 3.6.3; Modern IRC "WHOWAS message".
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from tripoint.core.ids import UserId
from tripoint.irc.tables import fold

MAX_ENTRIES = 2000


class Was(Struct, frozen=True):
    """Somebody who was here; `ts_ms` is when he went. `user_id`: whose profile has his real name; None of guests."""

    nick: str
    username: str
    host: str
    realname: str
    ts_ms: int
    user_id: UserId | None = None


class Whowas:
    """The newest entries; those that were found before others go first."""

    def __init__(self) -> None:
        self._entries: deque[Was] = deque(maxlen=MAX_ENTRIES)

    def add(self, was: Was) -> None:
        """Somebody went."""
        self._entries.append(was)

    def of(self, nick: str, count: int) -> list[Was]:
        """Who had this nick, the latest first, at most `count` (0: all)."""
        wanted = fold(nick)
        found = [was for was in reversed(self._entries) if fold(was.nick) == wanted]
        return found[:count] if count > 0 else found
