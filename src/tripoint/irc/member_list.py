"""The members of a channel as RPL_NAMREPLY lines, kept up to date one member at a time. Pure.

A thousand people who join one channel ask for its list a thousand times: each adds one word to the last line.
spec: RFC2812 5.1 RPL_NAMREPLY, IRCv3 multi-prefix, userhost-in-names.
"""

from __future__ import annotations

from tripoint.core.ids import UserId


class MemberList:
    """One word per member, in lines that begin with `head` and have room for `room` bytes of words."""

    def __init__(self, head: str, room: int) -> None:
        self._head = head
        self._room = room
        self._words: dict[UserId, str] = {}
        self._lines: list[str] = []
        self._used = 0
        self._stale = False

    def put(self, user_id: UserId, word: str) -> None:
        """A member came, or is shown by another word."""
        if len(word) > self._room:
            word = word.partition("!")[0]  # a mask that fits into no line is shown as a nick
        before = self._words.get(user_id)
        if before == word:
            return
        self._words[user_id] = word
        if before is not None:
            self._stale = True
        elif not self._stale:
            self._append(word)

    def drop(self, user_id: UserId) -> None:
        """A member went."""
        if self._words.pop(user_id, None) is not None:
            self._stale = True

    def lines(self) -> list[str]:
        """``= #channel :words``, each within the limit. Not to be changed."""
        if self._stale:
            self._stale = False
            self._lines.clear()
            for word in self._words.values():
                self._append(word)
        return self._lines

    def _append(self, word: str) -> None:
        # Nicks, masks and prefixes are ASCII: characters are bytes.
        size = len(word) + 1
        if self._lines and self._used + size <= self._room:
            self._lines[-1] += " " + word
            self._used += size
        else:
            self._lines.append(self._head + word)
            self._used = size - 1
