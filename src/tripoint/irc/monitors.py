"""Which nicks clients watch, and telling them who comes and goes.

Who is shown as here is whoever has a session or a Matrix device that is not offline; of users of other servers whose
presence is not known: nobody (docs/mapping.md 13.7, 13.9). The list is the connection's and ends with it.
spec: IRCv3 monitor, extended-monitor.  Read next: commands/monitor.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import UserId
from tripoint.irc import numerics as n
from tripoint.irc.names import is_nick
from tripoint.irc.projection import Names
from tripoint.irc.render import server_line
from tripoint.irc.tables import fold
from tripoint.irc.wire import seal
from tripoint.rooms.ports import RoomReader

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession

EXTENDED: Final = "extended-monitor"
# What a line of targets has room for beside server, numeric and nick.
_TARGETS_BYTES: Final = 380


class Monitors:
    """Watched nicks of this process, by folded nick."""

    def __init__(self, names: Names, reader: RoomReader) -> None:
        self._names = names
        self._reader = reader
        self._watchers: dict[str, dict[str, IrcSession]] = {}
        self._told: dict[str, bool] = {}
        # Who watches somebody who is here now is shown more of him: (session, user).
        self.shown: Callable[[IrcSession, UserId], None] = lambda session, user_id: None

    def add(self, session: IrcSession, nick: str) -> None:
        """`session` watches a nick from now on; what it is now is the caller's to say."""
        key = fold(nick)
        session.monitored = {**session.monitored, key: nick}
        self._watchers.setdefault(key, {})[session.id] = session
        self._told.setdefault(key, self.user_here(nick) is not None)

    def remove(self, session: IrcSession, nick: str) -> None:
        key = fold(nick)
        if key not in session.monitored:
            return
        session.monitored = {other: name for other, name in session.monitored.items() if other != key}
        watchers = self._watchers[key]
        watchers.pop(session.id, None)
        if not watchers:
            del self._watchers[key]
            del self._told[key]

    def forget(self, session: IrcSession) -> None:
        """The session ends, or clears its list."""
        for nick in list(session.monitored.values()):
            self.remove(session, nick)

    def user_here(self, nick: str) -> UserId | None:
        """Who has this nick and is online."""
        user_id = self._names.user(nick)
        if user_id is None and is_nick(nick):
            user_id = self._names.local_user(nick)  # an account that has not been here by IRC
        if user_id is None or user_id in self._names.gone:
            return None
        return user_id if self._reader.presence(user_id).presence != "offline" else None

    def refresh(self, nick: str) -> None:
        """Somebody with this nick came, went, or has it no more: tell those who watch it, if it is news."""
        key = fold(nick)
        watchers = self._watchers.get(key)
        if watchers is None:
            return
        user_id = self.user_here(nick)
        if self._told[key] is (user_id is not None):
            return
        self._told[key] = user_id is not None
        numeric = n.RPL_MONOFFLINE if user_id is None else n.RPL_MONONLINE
        for session in list(watchers.values()):
            shown = session.monitored[key] if user_id is None else self._names.mask(user_id)
            session.outbox.send(seal(server_line(self._names.server, numeric, (session.nick, shown))))
            if user_id is not None:
                self.shown(session, user_id)

    def watching(self, user_id: UserId) -> list[IrcSession]:
        """Sessions that watch this user."""
        return list(self._watchers.get(fold(self._names.nick(user_id)), {}).values()) if self._watchers else []

    def extended(self, user_id: UserId) -> Iterator[IrcSession]:
        """Sessions that watch this user and want to know more than whether he is here."""
        for session in self.watching(user_id):
            if EXTENDED in session.caps:
                yield session


def in_lines(targets: Iterable[str], between: str = ",") -> Iterator[str]:
    """Targets with commas between, as many as go into one line each."""
    line = ""
    for target in targets:
        if line and len(line.encode()) + 1 + len(target.encode()) > _TARGETS_BYTES:
            yield line
            line = ""
        line = f"{line}{between}{target}" if line else target
    if line:
        yield line
