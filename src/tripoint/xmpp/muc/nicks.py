"""What one is called in a room: wishes for nicks, and what becomes of them.

spec: XEP-0045 7.2.8, 7.6, 7.10; docs/mapping.md 2.6-2.8. Who has which nick is projection.Nicks.
"""

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.rooms.commands import SetRoomNick
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.muc.view import MucView, Visit
from tripoint.xmpp.projection import are_alike, handle_of, is_valid_nick
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession


def wished_nick(session: XmppSession, nick: str) -> str | None:
    """docs/mapping.md 2.7: the wish becomes the name in this room, unless it is what he is called anyway.

    A guest has one nick in all rooms (1.9), which it has taken by then.
    """
    if session.account.guest:
        return None
    own = handle_of(session.user_id, session.doors.domains.server)
    return None if are_alike(nick, own) else nick


async def check_nick(session: XmppSession, view: MucView, nick: str) -> None:
    """Problem for a nick that is invalid, another member's, or another account's name. docs/mapping.md 2.6"""
    if not is_valid_nick(nick):
        raise Problem("not-acceptable", "This nick cannot be used")
    holder = view.nicks.holder(nick)
    if holder is not None:
        if holder != session.user_id:
            raise Problem("conflict", "Somebody else has that nick in this room")
        return
    if session.account.guest:
        await take_nick(session, nick)
        return
    accounts = session.doors.accounts
    name = nick.lower()
    other = accounts.account_like(nick) not in (None, session.user_id)
    if not other and name != session.account.name and name.isascii() and " " not in name:
        # It may be that of a user whom an application service makes when somebody asks.
        other = await accounts.is_local_user(accounts.user_id(name))
    if other:
        raise Problem("conflict", "That nick is the name of another account, or too much like it")


async def take_nick(session: XmppSession, nick: str) -> None:
    """A guest is called so from now on, on all protocols. Problem for a nick that no guest can have. docs/mapping.md
    1.9"""
    try:
        await session.doors.accounts.rename_guest(session.user_id, nick)
    except AccountRefused as refused:
        taken = refused.refusal is AccountRefusal.NAME_TAKEN
        raise Problem("conflict" if taken else "not-acceptable", refused.text) from None


async def change_nick(session: XmppSession, visit: Visit, nick: str) -> None:
    """Presence to another nick. What the others see comes with the committed change.

    Who gets another nick than he asked for hears which one it is. spec: XEP-0045 7.6 (210)
    """
    await check_nick(session, visit.view, nick)
    if not session.account.guest:
        await set_nick(session, visit.view.room, nick)
    if session.visits.get(visit.view.jid) is visit and visit.occupant.nick != nick:
        session.send_shared(visit.view.assigned_presence(visit.occupant))


async def set_nick(session: XmppSession, room: RoomView, nick: str) -> None:
    """The nick, which can be used, becomes the name in this room. docs/mapping.md 2.8"""
    wish = None if nick == handle_of(session.user_id, session.doors.domains.server) else nick
    await session.doors.rooms.do(SetRoomNick(actor=session.user_id, room_id=room.room_id, nick=wish))
