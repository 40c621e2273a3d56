"""JOIN of rooms of other servers: they are asked first, and that may take a while.

Meanwhile the client's other commands go on. Nothing is answered before the room is entered, but a NOTE after
five seconds; what is refused is said when it is. A PART that comes first is done after the JOIN.
spec: docs/mapping.md 3.2, 4.10, 25.  Read next: tripoint/irc/commands/channels.py, tripoint/irc/entrance.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import RoomAlias, RoomId, server_of
from tripoint.irc.tables import fold
from tripoint.net.connections import CallLater
from tripoint.rooms.commands import Join, Leave
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused

if TYPE_CHECKING:
    from tripoint.irc.entrance import Spawn
    from tripoint.irc.session import IrcSession

NOTE_AFTER_S: Final = 5.0
# Each is a question to another server; a client that enters its favourites has a dozen of them.
MAX_PENDING: Final = 20

Entered = Callable[["IrcSession", RoomView, str, bool], Awaitable[None]]


class Pending:
    """A room that a session waits for, under the name by which it asked."""

    __slots__ = ("leave", "reason", "room_id", "word")

    def __init__(self, word: str) -> None:
        self.word = word
        self.room_id: RoomId | None = None
        self.leave = False
        self.reason: str | None = None


class Joining:
    """Rooms on their way. `entered(session, room, word, created)` shows a room that is joined."""

    def __init__(self, spawn: Spawn, call_later: CallLater, entered: Entered) -> None:
        self._spawn = spawn
        self._call_later = call_later
        self._entered = entered

    def begin(self, session: IrcSession, word: str, named: RoomAlias | RoomId) -> None:
        """Ask for the room and join it, in the background. Asking twice is asking once.

        `named`: an alias of another server, or a room that one is invited to.
        """
        key = fold(word)
        if key in session.pending:
            return
        if len(session.pending) >= MAX_PENDING:
            raise Refused(Refusal.RATE_LIMITED, f"You are waiting for {MAX_PENDING} channels of other servers")
        pending = Pending(word)
        session.pending = {**session.pending, key: pending}
        if session.outbox.holding:
            # spec: IRCv3 labeled-response: a label has one response, and other commands do not wait for it.
            _note(session, word, named)
        self._spawn(self._join(session, pending, named))

    def part(self, session: IrcSession, word: str, reason: str | None) -> bool:
        """PART of a room that is still waited for; False if it is not."""
        pending = session.pending.get(fold(word))
        if pending is None:
            return False
        pending.leave, pending.reason = True, reason
        return True

    async def _join(self, session: IrcSession, pending: Pending, named: RoomAlias | RoomId) -> None:
        word = pending.word

        def still_waiting() -> None:
            with session.outbox.apart():
                _note(session, word, named)

        timer = self._call_later(NOTE_AFTER_S, still_waiting)
        try:
            await self._ask(session, pending, named)
        except Refused as refused:
            with session.outbox.apart():
                session.refuse(refused, "JOIN", word)
        finally:
            timer.cancel()
            key = fold(word)
            session.pending = {other: one for other, one in session.pending.items() if other != key}

    async def _ask(self, session: IrcSession, pending: Pending, named: RoomAlias | RoomId) -> None:
        room_id: RoomId | None = RoomId(named)
        if named.startswith("#"):
            room_id = await session.reader.resolve_alias(RoomAlias(named))
        if room_id is None:
            raise Refused(Refusal.NO_SUCH_ROOM)
        if session.account.guest and not session.live:
            return  # it ended with its connection
        pending.room_id = room_id
        # Without an origin: what we are shown answers no command that runs now.
        done = await session.do(Join(actor=session.user_id, room_id=room_id))
        room = await session.reader.room(room_id)
        if session.account.guest and not session.live:
            await session.do(Leave(actor=session.user_id, room_id=room_id))
            return
        await self._entered(session, room, pending.word, done.created)
        if pending.leave:
            await session.do(Leave(actor=session.user_id, room_id=room_id, reason=pending.reason))


def _note(session: IrcSession, word: str, named: RoomAlias | RoomId) -> None:
    server = server_of(named) if named.startswith("#") else "the room's server"
    text = f"Asking {server}; you will be in the channel when it has answered"
    session.standard("NOTE", "JOIN", "PENDING", word, text=text)
