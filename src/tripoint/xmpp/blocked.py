"""Who has blocked whom, by the addresses of both: what is not sent to somebody, and what does not come from him.

Accounts and servers are in the one list that all protocols have; single clients, rooms and people in rooms stand beside
it by their addresses (rooms/blocking.py). The list itself is read and written by c2s/blocking.py.
spec: XEP-0191 3.3, 6; docs/mapping.md 16.1-16.3
"""

from typing import TYPE_CHECKING

from tripoint.core.ids import InvalidId, UserId
from tripoint.core.stand_ins import stand_in_id
from tripoint.rooms.blocking import EMPTY
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.jid import Domains, Jid, parse_any_user_jid, parse_user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession


def addresses_of(jid: Jid) -> tuple[str, ...]:
    """What an item that is about this address may say, the narrowest first. spec: XEP-0191 6"""
    return tuple(dict.fromkeys((str(jid), str(jid.bare), jid.domain)))


def covers(address: Jid, jid: Jid) -> bool:
    """Whether an item with `address` is about `jid`. spec: XEP-0191 6"""
    return str(address) in addresses_of(jid)


def person_of(jid: Jid, domains: Domains) -> UserId | None:
    """Who is compared with the list of all protocols: the user of an address, or who stands for a server itself."""
    if jid.local:
        return parse_any_user_jid(jid.bare, domains)
    try:
        return None if domains.has(jid.domain) else stand_in_id(jid.domain, domains.server)
    except InvalidId:
        return None


def has_blocked(viewer: "XmppSession", jid: Jid) -> bool:
    """Whether the account of `viewer` has blocked an address. Nobody can block himself."""
    reader = viewer.doors.reader
    if reader.block_list(viewer.user_id) == EMPTY or str(jid.bare) == viewer.bare:
        return False
    if viewer.user_id in reader.address_blockers(addresses_of(jid)):
        return True
    person = person_of(jid, viewer.doors.domains)
    return person is not None and reader.blocks(viewer.user_id, person)


def is_blocked_by(sender: "XmppSession", target: UserId) -> bool:
    """Whether `target` has blocked the sender, or the client with which he sends."""
    reader = sender.doors.reader
    if target == sender.user_id:
        return False
    return reader.blocks(target, sender.user_id) or target in reader.address_blockers((sender.full,))


def apart(one: "XmppSession", other: "XmppSession") -> bool:
    """Whether one of two clients is blocked by the other's account as this client."""
    if one.user_id == other.user_id:
        return False
    blockers = one.doors.reader.address_blockers
    return other.user_id in blockers((one.full,)) or one.user_id in blockers((other.full,))


def check_not_blocked(session: "XmppSession", stanza: Element, jid: Jid) -> None:
    """Raise Refused for what a client sends to whom its account has blocked, and Problem where he has blocked it.

    Who leaves is let go. Presence that does not arrive is not answered, so that is left to its handlers.
    """
    kind = stanza.get("type")
    if session.foreign or kind in ("error", "result"):
        return
    gone = stanza.name == "presence" and kind == "unavailable"
    if not gone and has_blocked(session, jid):
        raise Refused(Refusal.BLOCKED)
    if stanza.name == "presence":
        return
    target = parse_user_jid(jid, session.doors.domains)
    if target is not None and is_blocked_by(session, target):
        raise Problem("service-unavailable", "There is nobody who takes this")
