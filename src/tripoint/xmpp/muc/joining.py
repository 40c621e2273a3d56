"""Entering rooms of other servers: they are asked first, and that may take a while.

Meanwhile the client's other stanzas are handled. Who waits longer than clients do is told to come again; the
join goes on, and when it is done the client is invited.
spec: docs/mapping.md 3.2, 4.10, 25; XEP-0045 7.2, XEP-0249 2.  Read next: enter.py.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from tripoint.core.ids import RoomAlias, RoomId
from tripoint.rooms.commands import FollowRoom, Join
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.rooms.succession import replacement_of
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem, problem_of
from tripoint.xmpp.render import direct_invitation
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.wire import Element

# spec: docs/mapping.md 4.10: clients give up after a minute
PATIENCE_S: Final = 55.0
# Each is a question to another server; a client that enters its bookmarks has a dozen of them.
MAX_WAITING: Final = 20

# An alias of another server, or a room that one is invited to.
Named = RoomAlias | RoomId
Enter = Callable[[XmppSession, Element, Jid, RoomView], Awaitable[None]]


class Waiting:
    """A room that a session waits to enter. `stanza` and `jid` are of its latest try."""

    __slots__ = ("jid", "late", "left", "stanza")

    def __init__(self, stanza: Element, jid: Jid) -> None:
        self.stanza = stanza
        self.jid = jid
        self.late = False  # told that it takes too long
        self.left = False  # does not want to any more


def begin(session: XmppSession, stanza: Element, jid: Jid, named: Named, nick: str | None, enter: Enter) -> None:
    """Ask for the room and join it, in the background; `enter` shows it then. Raises Problem for too many."""
    key = str(jid.bare)
    waiting = session.waiting.get(key)
    if waiting is not None and not waiting.late:
        waiting.stanza, waiting.jid, waiting.left = stanza, jid, False
        return
    if len(session.waiting) >= MAX_WAITING:
        raise Problem("resource-constraint", f"You are waiting for {MAX_WAITING} rooms of other servers")
    session.waiting[key] = waiting = Waiting(stanza, jid)
    session.doors.spawn(_join(session, waiting, named, nick, enter))


async def _join(session: XmppSession, waiting: Waiting, named: Named, nick: str | None, enter: Enter) -> None:
    key = str(waiting.jid.bare)

    def too_late() -> None:
        waiting.late = True
        text = "The room's server has not answered yet. You will be invited when it has"
        session.refuse(waiting.stanza, Problem("remote-server-timeout", text, "wait"), key)

    timer = session.doors.call_later(PATIENCE_S, too_late)
    try:
        room = await _ask(session, named, nick)
        if session.closed or waiting.left:
            return  # a member all the same, as who leaves a room is (docs/mapping.md 4.4)
        if waiting.late:
            session.send(direct_invitation(key, session.full, "The room's server has answered"))
        else:
            timer.cancel()
            await enter(session, waiting.stanza, waiting.jid, room)
    except Refused as refused:
        _refuse(session, waiting, problem_of(refused))
    except Problem as problem:
        _refuse(session, waiting, problem)
    finally:
        timer.cancel()
        if session.waiting.get(key) is waiting:
            del session.waiting[key]


async def _ask(session: XmppSession, named: Named, nick: str | None) -> RoomView:
    doors = session.doors
    room_id: RoomId | None = RoomId(named)
    if named.startswith("#"):
        room_id = await doors.reader.resolve_alias(RoomAlias(named))
    if room_id is None:
        raise Problem("item-not-found", "There is no such room")
    known: RoomView | None = None
    try:
        known = await doors.reader.room(room_id)
    except Refused:
        pass  # a room that this server does not know
    if known is not None and known.is_here(doors.domains.server):
        return await _where_it_leads(session, known)  # entering is as everywhere
    await doors.rooms.do(Join(actor=session.user_id, room_id=room_id, nick=nick))
    return await doors.reader.room(room_id)


async def _where_it_leads(session: XmppSession, room: RoomView) -> RoomView:
    """A room that was replaced leads its members to the one that took its place. docs/mapping.md 21.4"""
    if replacement_of(room) is None or room.membership(session.user_id) != "join":
        return room
    done = await session.doors.rooms.do(FollowRoom(actor=session.user_id, room_id=room.room_id))
    return room if done.room_id is None else await session.doors.reader.room(done.room_id)


def _refuse(session: XmppSession, waiting: Waiting, problem: Problem) -> None:
    if not waiting.late and not session.closed:
        session.refuse(waiting.stanza, problem, str(waiting.jid.bare))
