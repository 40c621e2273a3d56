"""Invitations into rooms of other servers that came for somebody who was away: kept, and shown when they come.

Those into rooms of this server are memberships (muc/service.py); these are nothing that a room here could hold, and no
talk between two people.
spec: XEP-0249 2; XEP-0045 7.8.2; XEP-0160 3 (what is of type normal waits)
"""

import hashlib
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import UserId
from tripoint.xmpp.jid import InvalidJid, parse_jid
from tripoint.xmpp.render import delay
from tripoint.xmpp.tables import CONFERENCE_NS, DELAY_NS, HINTS_NS, MUC_USER_NS
from tripoint.xmpp.wire import CLIENT_NS, Element, StreamError, parse_fragment, render

if TYPE_CHECKING:
    from tripoint.xmpp.session import Doors, XmppSession

_KIND: Final = "xmpp_invited"  # name table: account -> place -> the invitation
# How many wait for one account: of two in one place the later one stays. So nobody fills a store by inviting.
PLACES: Final = 64
MAX_BYTES: Final = 4096


def room_invited_to(stanza: Element) -> str | None:
    """The bare address of the room that a message invites to; None for any other message."""
    if (stanza.get("type") or "normal") in ("groupchat", "headline", "error"):
        return None
    direct, mediated = stanza.child("x", CONFERENCE_NS), stanza.child("x", MUC_USER_NS)
    named = None if direct is None else direct.get("jid")
    if mediated is not None and mediated.child("invite", MUC_USER_NS) is not None:
        named = stanza.get("from")
    try:
        return None if named is None else str(parse_jid(named).bare)
    except InvalidJid:
        return None


def keep_invitation(doors: "Doors", target: UserId, stanza: Element, from_jid: str) -> None:
    """Keep a message of `from_jid` that `target` was not there to hear, where it is an invitation that may be kept."""
    room = room_invited_to(stanza)
    if room is None or stanza.child("no-store", HINTS_NS) is not None:
        return
    attributes = {name: value for name, value in stanza.attributes.items() if name in ("id", "type", "xml:lang")}
    inside = [child for child in stanza.elements() if child.namespace != DELAY_NS]
    inside += parse_fragment(delay(doors.domains.server, doors.now_ms()))
    kept = render(Element("message", CLIENT_NS, {"from": from_jid, **attributes}, inside))
    if len(kept) <= MAX_BYTES:
        place = hashlib.sha256(room.encode()).digest()[0] % PLACES
        doors.names.put_name(_KIND, target, str(place), kept.decode())


async def show_kept_invitations(session: "XmppSession") -> None:
    """What was kept, for the first client that comes; then it is forgotten."""
    names = session.doors.names
    for place, kept in (await names.load_names(_KIND, session.user_id)).items():
        names.put_name(_KIND, session.user_id, place, None)
        try:
            (message,) = parse_fragment(kept)
        except StreamError:
            continue  # what is taken may have changed since
        message.attributes["to"] = session.bare
        session.send(render(message))
