"""The live IRC sessions of this process, by id and by user, and lines that go to many of them.

spec: docs/mapping.md 4.5, 4.11, 5.3.  Read next: tripoint/irc/session.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tripoint.core.ids import UserId
from tripoint.irc.channel import spread, together
from tripoint.irc.render import Outgoing
from tripoint.rooms.ports import PresenceService

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession


class Sessions:
    """Who is connected. Tells presence of who comes and goes."""

    def __init__(self, presence: PresenceService) -> None:
        self._presence = presence
        self._by_id: dict[str, IrcSession] = {}
        self._by_user: dict[UserId, dict[str, IrcSession]] = {}
        self.most = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[IrcSession]:
        return iter(list(self._by_id.values()))

    def get(self, session_id: str) -> IrcSession | None:
        """The session with this id, if it lives."""
        return self._by_id.get(session_id)

    def of(self, user_id: UserId) -> list[IrcSession]:
        """Live sessions of a user."""
        mine = self._by_user.get(user_id)
        return [] if mine is None else list(mine.values())

    def add(self, session: IrcSession) -> None:
        """A session is logged in."""
        session.live = True
        self._by_id[session.id] = session
        self._by_user.setdefault(session.user_id, {})[session.id] = session
        self.most = max(self.most, len(self._by_id))
        self._presence.set(session.user_id, session.id, *session.presence)

    def remove(self, session: IrcSession) -> None:
        """A session is over."""
        session.live = False
        self._by_id.pop(session.id, None)
        self._drop(session)

    def change_user(self, session: IrcSession, user_id: UserId) -> None:
        """A session goes on as another user."""
        self._drop(session)
        session.user_id = user_id
        self._by_user.setdefault(user_id, {})[session.id] = session
        self._presence.set(user_id, session.id, *session.presence)

    def _drop(self, session: IrcSession) -> None:
        mine = self._by_user.get(session.user_id, {})
        mine.pop(session.id, None)
        if not mine:
            self._by_user.pop(session.user_id, None)
        self._presence.session_down(session.user_id, session.id)

    def tell_sharing(self, session: IrcSession, out: Outgoing) -> None:
        """Everybody who shares a channel with `session`, it too, once each."""
        if session.hears(out):
            session.own(out)
        spread(out, together(session.channels.values()), session.outbox)
