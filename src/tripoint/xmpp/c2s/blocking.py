"""The blocking command: XMPP's view of the one list of an account, and what blocking does to presence.

Bare JIDs are users, domains are whole servers; other masks of the list have no form here and stay as they are when all
is unblocked one by one. A single resource cannot be blocked.
spec: XEP-0191; docs/mapping.md 16.
"""

from contextlib import suppress

from tripoint.core.ids import EventId, UserId
from tripoint.core.masks import MaskRefused, mask_of_server, parse_mask
from tripoint.rooms.blocking import IGNORED, MASKS, BlockList
from tripoint.rooms.changes import AccountDataChanged, UserChange
from tripoint.rooms.commands import BlockUsers, Report
from tripoint.rooms.refusals import Refused
from tripoint.rooms.reports import MAX_EVENTS, MAX_REASON
from tripoint.xmpp.c2s.users import LiveUser, Users
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.render import to_attribute
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import BLOCKING_NS, REPORTING_NS, STANZA_ID_NS
from tripoint.xmpp.wire import Element, escape_attribute

# Clients send these without an address, which is the account; the server, who says that it can, takes them too.
_AT = (At.ACCOUNT, At.SERVER)
MAX_ITEMS = 100
# spec: XEP-0377 4
_KINDS = {"urn:xmpp:reporting:spam": "spam", "urn:xmpp:reporting:abuse": "abuse"}
_STANZA_ID = ("stanza-id", STANZA_ID_NS)

declare_feature(REPORTING_NS, at=(At.SERVER, At.ACCOUNT), spec="XEP-0377 3")


@iq("get", BLOCKING_NS, "blocklist", at=_AT, feature=BLOCKING_NS, spec="XEP-0191 3.2")
async def block_list(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Everybody who is blocked and has an address; this session hears of changes from now on."""
    session.blocklist = True
    items = _items(_addresses(session.users, session.doors.reader.block_list(session.user_id)))
    return f"<blocklist xmlns='{BLOCKING_NS}'>{items}</blocklist>" if items else f"<blocklist xmlns='{BLOCKING_NS}'/>"


@iq("set", BLOCKING_NS, "block", at=_AT, spec="XEP-0191 3.3", guests=True)
async def block(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Hear no more of users or servers."""
    users, masks = _named(session, stanza)
    if not users and not masks:
        raise Problem("bad-request", "Say who is to be blocked")
    reports = _reports(session, stanza)
    await session.doors.rooms.do(BlockUsers(actor=session.user_id, users=users, masks=masks))
    for report in reports:
        # spec: XEP-0377 6: blocked they are as if there were no report, whatever is wrong with that
        with suppress(Refused):
            await session.doors.rooms.do(report)
    return ""


@iq("set", BLOCKING_NS, "unblock", at=_AT, spec="XEP-0191 3.4, 3.5", guests=True)
async def unblock(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Hear of them again; of everybody, where nobody is named."""
    users, masks = _named(session, stanza)
    if not users and not masks:
        present = session.doors.reader.block_list(session.user_id)
        users, masks = present.users, present.masks
    await session.doors.rooms.do(BlockUsers(actor=session.user_id, users=users, masks=masks, on=False))
    return ""


def _named(session: XmppSession, stanza: Element) -> tuple[tuple[UserId, ...], tuple[str, ...]]:
    command = stanza.first()
    assert command is not None  # the router has looked
    users: list[UserId] = []
    masks: list[str] = []
    for item in command.elements():
        if (item.name, item.namespace) != ("item", BLOCKING_NS):
            continue
        try:
            jid = parse_jid(item.get("jid") or "")
        except InvalidJid:
            raise Problem("jid-malformed", "An address to block is not valid") from None
        if jid.resource:
            raise Problem("not-acceptable", "Whole accounts and servers can be blocked, not single resources")
        user_id = parse_any_user_jid(jid, session.doors.domains)
        if user_id is not None:
            users.append(user_id)
        elif not jid.local:
            masks.append(mask_of_server(jid.domain))
        else:
            raise Problem("item-not-found", "There is no such user here")
    if len(users) + len(masks) > MAX_ITEMS:
        raise Problem("bad-request", f"A request names up to {MAX_ITEMS} addresses")
    return tuple(users), tuple(masks)


def _reports(session: XmppSession, stanza: Element) -> list[Report]:
    """What is said of those who are to be blocked. spec: XEP-0377 4, 6; docs/mapping.md 9.13"""
    command = stanza.first()
    assert command is not None  # the router has looked
    found: list[Report] = []
    for item in command.elements():
        report = item.child("report", REPORTING_NS)
        address = parse_jid(item.get("jid") or "")
        user_id = None if report is None else parse_any_user_jid(address, session.doors.domains)
        if report is None or user_id is None:
            continue
        kind = _KINDS.get(report.get("reason") or "")
        if kind is None:
            raise Problem("bad-request", "A report gives spam or abuse as its reason")
        ids = [one.get("id") or "" for one in report.elements() if (one.name, one.namespace) == _STANZA_ID]
        found.append(
            Report(
                actor=session.user_id,
                event_ids=tuple(EventId(one) for one in ids if one)[:MAX_EVENTS],
                target=user_id,
                kind=kind,
                reason=(report.child_text("text", REPORTING_NS) or "").strip()[:MAX_REASON],
            )
        )
    return found


def _addresses(users: Users, blocked: BlockList) -> list[str]:
    """The addresses of a list: of masks those that are a server's name."""
    found = [users.jid_of(user_id) for user_id in blocked.users]
    for text in blocked.masks:
        try:
            server = parse_mask(text).server
        except MaskRefused:
            continue
        if server is not None and not set(server) & set("*?"):
            found.append(server)
    return found


def _items(addresses: list[str]) -> str:
    return "".join(f"<item jid='{escape_attribute(address)}'/>" for address in addresses)


class BlockPushes:
    """Tells sessions that asked for the list of its changes, whoever made them on whichever protocol.

    spec: XEP-0191 3.3: contacts who are blocked see the user go, and come again when they are not any more.
    """

    def __init__(self, doors: Doors, users: Users) -> None:
        self._doors = doors
        self._users = users
        self._told: dict[UserId, list[str]] = {}
        self._count = 0

    def began(self, session: XmppSession) -> None:
        """A session was bound: what it may hear of is measured from now on."""
        self._told.setdefault(session.user_id, self._now(session.user_id))

    def ended(self, session: XmppSession) -> None:
        """A session is gone."""
        if self._users.live(session.user_id) is None:
            self._told.pop(session.user_id, None)

    def user_changed(self, change: UserChange) -> None:
        """See fanout.hub."""
        if not isinstance(change, AccountDataChanged) or change.type not in (IGNORED, MASKS):
            return
        user = self._users.live(change.user_id)
        if user is None:
            return
        before, now = self._told.get(change.user_id, []), self._now(change.user_id)
        self._told[change.user_id] = now
        came, went = [a for a in now if a not in before], [a for a in before if a not in now]
        if came:
            self._push(user, f"<block xmlns='{BLOCKING_NS}'>{_items(came)}</block>")
        if went:
            inside = _items(went) if now else ""
            self._push(user, f"<unblock xmlns='{BLOCKING_NS}'>{inside}</unblock>")
        for bare, shown in (*((a, False) for a in came), *((a, True) for a in went)):
            self._show_to(user, bare, shown=shown)

    def _now(self, user_id: UserId) -> list[str]:
        return _addresses(self._users, self._doors.reader.block_list(user_id))

    def _push(self, user: LiveUser, xml: str) -> None:
        for session in user.sessions.values():
            if session.blocklist:
                self._count += 1
                head = f"<iq type='set' id='block-{self._count}' to='{escape_attribute(session.full)}'>"
                session.send(f"{head}{xml}</iq>".encode())

    def _show_to(self, user: LiveUser, bare: str, *, shown: bool) -> None:
        item = user.roster.get(bare)
        if item is None or item.subscription not in ("from", "both"):
            return
        jid = parse_jid(bare)
        contact = self._users.at(jid)
        abroad, domains = self._doors.abroad, self._doors.domains
        for mine in user.available():
            head = f"<presence from='{escape_attribute(mine.full)}'".encode()
            whole = (f">{mine.presence or ''}</presence>" if shown else " type='unavailable'/>").encode()
            if abroad is not None and not domains.has(jid.domain):
                abroad.send(head + to_attribute(bare) + whole, domains.server, jid)
            if contact is not None:
                for theirs in contact.available():
                    theirs.send(head + contact.to + whole)
