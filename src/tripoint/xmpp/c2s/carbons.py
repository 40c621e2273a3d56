"""Copies of one-to-one messages for the other resources of those who write and get them.

spec: XEP-0280 4-9; docs/mapping.md 5.3. What is copied: what two users write to each other, from whatever protocol, and
of rooms what one client sends to somebody in them; nothing that comes from rooms, which tell every resource themselves.
"""

from collections.abc import Iterable, Set
from typing import Final

from tripoint.xmpp.c2s.users import LiveUser
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import (
    CARBONS_NS,
    CHAT_MARKERS_NS,
    CHAT_STATES_NS,
    CLIENT_NS,
    CONFERENCE_NS,
    FORWARD_NS,
    HINTS_NS,
    MUC_USER_NS,
    RECEIPTS_NS,
)
from tripoint.xmpp.wire import Element, escape_attribute

# What talks between people are made of, beside texts. spec: XEP-0280 6.1
_OF_TALKS: Final = frozenset({CHAT_MARKERS_NS, CHAT_STATES_NS, CONFERENCE_NS, RECEIPTS_NS})

declare_feature(CARBONS_NS, at=(At.SERVER, At.ACCOUNT), spec="XEP-0280 3")


@iq("set", CARBONS_NS, "enable", at=(At.ACCOUNT, At.SERVER), spec="XEP-0280 4, 10.1", guests=True)
async def enable(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """From now on this resource gets copies."""
    session.carbons = True
    return ""


@iq("set", CARBONS_NS, "disable", at=(At.ACCOUNT, At.SERVER), spec="XEP-0280 5, 10.1", guests=True)
async def disable(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """No more copies."""
    session.carbons = False
    return ""


def is_private(stanza: Element) -> bool:
    """Whether the sender wants no copies of a message. spec: XEP-0280 9, XEP-0334 4.3"""
    return stanza.child("private", CARBONS_NS) is not None or stanza.child("no-copy", HINTS_NS) is not None


def is_copied(stanza: Element) -> bool:
    """Whether a message that is only passed on is for the other resources too. spec: XEP-0280 6.1, 9"""
    kind = stanza.get("type") or "normal"
    if kind in ("groupchat", "headline", "error") or is_private(stanza):
        return False
    return kind == "chat" or any(_is_of_a_talk(child) for child in stanza.elements())


def _is_of_a_talk(child: Element) -> bool:
    if child.namespace == MUC_USER_NS:
        return child.child("invite", MUC_USER_NS) is not None
    return child.namespace in _OF_TALKS or (child.name, child.namespace) == ("body", CLIENT_NS)


def copy_sent(session: XmppSession, message: bytes) -> None:
    """A copy of what `session` sends, for the other resources of its account."""
    if session.user is not None:
        copy_to(wants_copies(session.user, {session}), "sent", message)


def wants_copies(user: LiveUser, heard: Set[XmppSession]) -> list[XmppSession]:
    """The resources that asked for copies and are not among those that heard it."""
    return [session for session in user.sessions.values() if session.carbons and session not in heard]


def copy_to(sessions: Iterable[XmppSession], kind: str, message: bytes) -> None:
    """A copy for each of these.

    `kind` is sent or received, `message` what was sent. spec: XEP-0280 7, 8: copies come from the account's own bare
    address, and are of the same type.
    """
    # Quotes inside of its attributes are escaped.
    typed = "chat" if b" type='chat'" in message.partition(b">")[0] else "normal"
    for session in sessions:
        forwarded = message.decode().replace("<message ", f"<message xmlns='{CLIENT_NS}' ", 1)
        inside = f"<{kind} xmlns='{CARBONS_NS}'><forwarded xmlns='{FORWARD_NS}'>{forwarded}</forwarded></{kind}>"
        head = f"<message from='{escape_attribute(session.bare)}' type='{typed}'"
        session.send(head.encode() + session.to + f">{inside}</message>".encode())
