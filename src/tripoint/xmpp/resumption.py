"""Who may resume what: sessions whose connection was lost and that wait for their client, by the id that it was given.

A session that waits stays what it was: its presence, its rooms, its place among the resources of its account. What is
sent to it is kept (acks.py, bounded); when nobody resumes it in time it ends as any other, and messages that were not
acknowledged are shown to whoever comes next. Ids are random, and good only for the account that they were given to.
spec: XEP-0198 5, 7, 10. Read next: management.py, stream.py.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tripoint.core.ids import UserId
from tripoint.xmpp.acks import Unacked
from tripoint.xmpp.management import Managed
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.session import Sink, XmppSession

# Sessions that are over and of which it is still known how much they had handled.
REMEMBERED: Final = 10_000


class Waiting:
    """What stands in for the connection of a session that has none."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def end(self, condition: str, text: str, more: str = "") -> None:
        """Nobody is there to be told."""
        self._end()

    def drained(self) -> None:
        """Nothing is read."""

    def hand_over(self) -> None:
        """There is nothing to hand over."""


class Resumptions:
    """All managed sessions of this process. `end` ends a session, `options` are those of now."""

    def __init__(
        self,
        options: Callable[[], XmppOptions],
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
        end: Callable[[XmppSession], None],
    ) -> None:
        self._options = options
        self._monotonic = monotonic
        self._new_id = new_id
        self._end = end
        self._sessions: dict[str, XmppSession] = {}  # with a connection or without
        self._until: dict[str, float] = {}  # of those without, oldest first
        self._past: OrderedDict[str, tuple[UserId, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many sessions wait for their client."""
        return len(self._until)

    def waiting(self) -> list[XmppSession]:
        """The sessions without a connection."""
        return [self._sessions[sm_id] for sm_id in self._until]

    def begin(self, session: XmppSession, outbox: Sink, *, resumable: bool, wished_s: int | None) -> Managed:
        """Stream management for a session. `wished_s`: how long it should wait, at most; ours is the bound."""
        options = self._options()
        sm_id = self._new_id() if resumable and options.resume_s > 0 else None
        max_s = options.resume_s if not wished_s else min(float(wished_s), options.resume_s)
        if sm_id is not None:
            self._sessions[sm_id] = session
        unacked = Unacked(options.unacked_stanzas, options.unacked_bytes)
        return Managed(session, outbox, sm_id, max_s, unacked)

    def keep(self, session: XmppSession) -> bool:
        """The connection is lost: whether the session waits for another. spec: XEP-0198 7"""
        managed = session.managed
        if managed is None or managed.sm_id is None or session.closed:
            return False
        self._until[managed.sm_id] = self._monotonic() + managed.max_s
        session.detach(Waiting(lambda: self._end(session)))
        return True

    def find(self, sm_id: str, user_id: UserId) -> XmppSession | int | None:
        """The session with this id; how much it had handled where it is over; None for what never was, or is
        somebody else's."""
        session = self._sessions.get(sm_id)
        if session is not None:
            return session if session.user_id == user_id else None
        past = self._past.get(sm_id)
        return past[1] if past is not None and past[0] == user_id else None

    def find_guest(self, sm_id: str) -> XmppSession | None:
        """The session of a guest with this id, which is all that shows whose it is."""
        session = self._sessions.get(sm_id)
        return session if session is not None and session.account.guest else None

    def resumed(self, session: XmppSession) -> None:
        """It has a connection again."""
        assert session.managed is not None and session.managed.sm_id is not None
        self._until.pop(session.managed.sm_id, None)

    def ended(self, session: XmppSession) -> None:
        """It is over."""
        managed = session.managed
        if managed is None or managed.sm_id is None:
            return
        self._until.pop(managed.sm_id, None)
        if self._sessions.pop(managed.sm_id, None) is not None:
            self._past[managed.sm_id] = (session.user_id, managed.handled)
            while len(self._past) > REMEMBERED:
                self._past.popitem(last=False)

    def sweep(self) -> None:
        """End those that waited long enough, and those that cannot be resumed any more."""
        now = self._monotonic()
        for sm_id, until in list(self._until.items()):
            session = self._sessions[sm_id]
            if until <= now or session.is_past_resuming:
                self._end(session)

    def give_way(self, user_id: UserId) -> bool:
        """End the session of this account that has waited longest, so that another finds room; False: there is none."""
        for sm_id in self._until:
            session = self._sessions[sm_id]
            if session.user_id == user_id:
                self._end(session)
                return True
        return False

    def end_all(self) -> None:
        """The server stops: nobody can come back."""
        for session in self.waiting():
            self._end(session)
