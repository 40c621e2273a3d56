"""What clients of this server send to people and services of other XMPP servers.

A message with a text goes through the direct room with the stand-in of its reader, so it is kept and seen on every
protocol (docs/mapping.md 15.8); everything else is passed on as it is, and so are rooms of other servers.
spec: RFC6120 10.4; RFC6121 8.5; XEP-0280 8. Presence is presence.py's; what comes from there foreign.py's.
"""

from typing import Final

from tripoint.core.ids import UserId
from tripoint.core.stand_ins import stand_in_address
from tripoint.xmpp.c2s.carbons import copy_sent, is_copied
from tripoint.xmpp.c2s.direct import Route
from tripoint.xmpp.c2s.markers import displayed
from tripoint.xmpp.c2s.relating import relate
from tripoint.xmpp.heard import is_heard
from tripoint.xmpp.jid import Jid, parse_any_user_jid
from tripoint.xmpp.messages import text_of
from tripoint.xmpp.payloads import is_kept
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, message
from tripoint.xmpp.router import stamped
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CONFERENCE_NS, MUC_USER_NS
from tripoint.xmpp.wire import Element

# A message waits so long for it to be known whether its reader is a user of a Matrix server: so do those behind it.
PATIENCE_S: Final = 5.0


def pass_on(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """As it is, from the full address. Its sender hears of it if it cannot be delivered."""
    doors = session.doors
    assert doors.abroad is not None  # the router has looked
    if stanza.name == "message" and stanza.get("type") != "error" and not is_heard(session):
        return
    data = stamped(stanza, session.full)
    doors.abroad.send(data, doors.domains.server, jid, _from(stanza, session.full))
    if stanza.name == "message" and is_copied(stanza):
        copy_sent(session, data)


def _from(stanza: Element, full: str) -> Element:
    return Element(stanza.name, stanza.namespace, {**stanza.attributes, "from": full}, stanza.children)


def user_of(session: XmppSession, jid: Jid) -> UserId:
    """Who somebody of another server is here: a user of theirs where it is proven that they are one (docs/mapping.md
    1.6), else who stands for them. Raises Problem."""
    user_id = parse_any_user_jid(jid.bare, session.doors.domains)
    if user_id is None:
        raise Problem("policy-violation", "There is no user for that address, which may be too long")
    return user_id


def of_a_room(stanza: Element) -> bool:
    """Invitations, and private messages in a room of another server: nothing that is kept. spec: XEP-0045 7.5, 7.8"""
    return stanza.child("x", MUC_USER_NS) is not None or stanza.child("x", CONFERENCE_NS) is not None


async def _invited(session: XmppSession, stanza: Element, jid: Jid) -> bool:
    """A direct invitation into a room of ours is a real one. spec: XEP-0249 2; docs/mapping.md 9.9, 23.1"""
    if not jid.local or stanza.child("x", CONFERENCE_NS) is None:
        return False
    return await session.muc.accept_direct_invitation(session, stanza, user_of(session, jid))


@message("chat", "normal", at=(At.ABROAD,), spec="RFC6121 5.2, 8.5")
async def one_to_one(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To somebody of another server."""
    if await _invited(session, stanza, jid):
        return
    if str(jid.bare) in session.rooms_abroad or not jid.local or of_a_room(stanza):
        pass_on(session, stanza, jid)
        return
    text = text_of(stanza)
    if text is not None and session.muc.identities is not None:
        await session.muc.identities.look(jid.domain, PATIENCE_S)
    target = user_of(session, jid)
    stands_in = stand_in_address(target, session.doors.domains.server) is not None
    if not stands_in or await session.doors.accounts.is_local_user(target):
        if await relate(session, stanza, target):
            return
        # A marker is noted here, and told there.
        await displayed(session, stanza, target)
    if text is not None and not text[1].blocks:
        text = None
    if text is None and not is_kept(stanza):
        pass_on(session, stanza, jid)
        return
    if stands_in:
        await session.doors.accounts.stand_in(str(jid.bare))
    await session.direct.send(session, stanza, text, target, Route(to=str(jid) if jid.resource else None))


@message("groupchat", "headline", "error", at=(At.ABROAD,), spec="RFC6120 10.4")
async def anything_else(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To rooms of other servers, among others."""
    pass_on(session, stanza, jid)
