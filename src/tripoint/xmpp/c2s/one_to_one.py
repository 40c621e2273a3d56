"""One-to-one messages as clients send them to people of this server: what is kept, and what is only passed on.

spec: RFC6121 5, 8.5; docs/mapping.md 10.0, 15.1. Read next: direct.py; abroad.py, for people of other servers.
"""

from tripoint.core.ids import UserId, server_of
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.c2s.carbons import copy_sent, copy_to, is_copied, wants_copies
from tripoint.xmpp.c2s.direct import Route, hearers
from tripoint.xmpp.c2s.kept_invitations import keep_invitation
from tripoint.xmpp.c2s.markers import displayed
from tripoint.xmpp.c2s.relating import relate
from tripoint.xmpp.heard import is_heard
from tripoint.xmpp.jid import Jid, parse_user_jid
from tripoint.xmpp.messages import text_of
from tripoint.xmpp.payloads import is_kept
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, message
from tripoint.xmpp.router import stamped
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CONFERENCE_NS
from tripoint.xmpp.wire import Element


@message("chat", "normal", at=(At.USER, At.ACCOUNT, At.REMOTE), spec="RFC6121 5.2, 8.5")
async def one_to_one(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To a user: into the direct room if it says something, else straight to his resources."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is None:
        raise Problem("service-unavailable", "There is no such user here")
    here = server_of(target) == session.doors.domains.server
    if here and not await session.doors.accounts.is_local_user(target):
        # spec: RFC6121 8.5.1
        raise Problem("service-unavailable", Refusal.NO_SUCH_USER.value)
    if await session.muc.accept_direct_invitation(session, stanza, target):
        if is_copied(stanza):
            copy_sent(session, stamped(stanza, session.full))
        return
    if here and jid.resource and (stanza.get("type") or "normal") != "chat" and session.users.session(str(jid)) is None:
        # spec: RFC6121 8.5.3.2.1: a chat goes on with whoever is there, a message for one client does not
        raise Problem("service-unavailable", "There is no such client")
    if await relate(session, stanza, target) or await displayed(session, stanza, target):
        return
    # An invitation into a room of another server is not a talk, even with a text for clients that do not know it.
    text = None if stanza.child("x", CONFERENCE_NS) is not None else text_of(stanza)
    if text is None or not text[1].blocks:
        text = None
        if not is_kept(stanza):
            await _pass_on(session, stanza, jid, target)
            return
    await session.direct.send(session, stanza, text, target, Route(to=str(jid) if jid.resource else None))


async def _pass_on(session: XmppSession, stanza: Element, jid: Jid, target: UserId) -> None:
    """Chat states, receipts, call signalling: nothing that is kept. spec: RFC6121 8.5.2, 8.5.3; XEP-0280 6.1"""
    user = session.users.live(target)
    if not is_heard(session) and target != session.user_id:
        user = None
    if session.doors.reader.blocks(session.user_id, target):
        raise Refused(Refusal.BLOCKED)
    if session.doors.reader.blocks(target, session.user_id):
        # spec: XEP-0191 3.3: as if he was not there
        raise Problem("service-unavailable", "There is nobody who takes this")
    if user is None and not await session.doors.accounts.is_local_user(target):
        raise Problem("service-unavailable", "There is no such user here")
    data = stamped(stanza, session.full)
    heard = {session}
    heard_by: list[XmppSession] = []
    if user is not None:
        named = user.sessions.get(jid.resource) if jid.resource else None
        heard_by = hearers(user, None) if not jid.resource else [] if named is None else [named]
        for other in heard_by:
            if other is not session or named is session:
                other.send(data)
            heard.add(other)
    if not heard_by and target != session.user_id and is_heard(session):
        keep_invitation(session.doors, target, stanza, session.full)
    if is_copied(stanza):
        if user is not None:
            copy_to(wants_copies(user, heard), "received", data)
        if session.user is not None:
            copy_to(wants_copies(session.user, heard), "sent", data)


@message("headline", at=(At.USER, At.ACCOUNT, At.REMOTE), spec="RFC6121 8.5.2.1.1")
async def headline(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To whoever is there; nobody stores it."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is None:
        return
    here = server_of(target) == session.doors.domains.server
    if not here or await session.doors.accounts.is_local_user(target):
        await _pass_on(session, stanza, jid, target)


@message("groupchat", at=(At.USER, At.ACCOUNT), spec="RFC6121 8.5.2.1.1, 8.5.3.1")
async def groupchat(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To the client that is named: it may be in a room that a program is. To nobody else."""
    other = session.users.session(str(jid)) if jid.resource else None
    if other is None:
        raise Problem("service-unavailable", "Nobody takes messages of this type here")
    if is_heard(session):
        other.send(stamped(stanza, session.full))


@message("error", at=(At.USER, At.ACCOUNT), spec="RFC6121 8.5.3.1")
async def returned_error(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """An error goes to the resource that is named, or nowhere."""
    other = session.users.session(str(jid)) if jid.resource else None
    if other is not None:
        other.send(stamped(stanza, session.full))
