"""The blocking command: XMPP's view of the one list of an account, and what blocking does to presence.

Bare JIDs are users, domains are whole servers; full JIDs, rooms and people in rooms are addresses beside them. Other
masks of the list have no form here and stay as they are when all is unblocked one by one. What is compared with what is
blocked.py's.
spec: XEP-0191; docs/mapping.md 16.
"""

from contextlib import suppress

from tripoint.core.ids import EventId, UserId
from tripoint.core.masks import MaskRefused, mask_of_server, parse_mask
from tripoint.rooms.blocking import EMPTY, IGNORED, MASKS, BlockList
from tripoint.rooms.changes import AccountDataChanged, UserChange
from tripoint.rooms.commands import BlockUsers, Report
from tripoint.rooms.refusals import Refused
from tripoint.rooms.reports import MAX_EVENTS, MAX_REASON
from tripoint.xmpp.blocked import covers, has_blocked
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
    named = _named(session, stanza)
    if named == EMPTY:
        raise Problem("bad-request", "Say who is to be blocked")
    reports = _reports(session, stanza)
    await session.doors.rooms.do(_blocking(session, named, on=True))
    for report in reports:
        # spec: XEP-0377 6: blocked they are as if there were no report, whatever is wrong with that
        with suppress(Refused):
            await session.doors.rooms.do(report)
    return ""


@iq("set", BLOCKING_NS, "unblock", at=_AT, spec="XEP-0191 3.4, 3.5", guests=True)
async def unblock(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Hear of them again; of everybody, where nobody is named."""
    named = _named(session, stanza)
    if named != EMPTY:
        await session.doors.rooms.do(_blocking(session, named, on=False))
        return ""
    everybody = session.users.unblocking_all
    everybody.add(session.user_id)
    try:
        present = session.doors.reader.block_list(session.user_id)
        await session.doors.rooms.do(_blocking(session, present, on=False))
    finally:
        everybody.discard(session.user_id)
    return ""


def _blocking(session: XmppSession, who: BlockList, *, on: bool) -> BlockUsers:
    return BlockUsers(actor=session.user_id, users=who.users, masks=who.masks, addresses=who.addresses, on=on)


def _named(session: XmppSession, stanza: Element) -> BlockList:
    """Whom a request names. Raises Problem."""
    command = stanza.first()
    assert command is not None  # the router has looked
    users: list[UserId] = []
    masks: list[str] = []
    addresses: list[str] = []
    domains = session.doors.domains
    for item in command.elements():
        if (item.name, item.namespace) != ("item", BLOCKING_NS):
            continue
        try:
            jid = parse_jid(item.get("jid") or "")
        except InvalidJid:
            raise Problem("jid-malformed", "An address to block is not valid") from None
        if str(jid.bare) == session.bare:
            # spec: XEP-0191, note 8: one's own clients are never kept apart
            raise Problem("not-acceptable", "You cannot block yourself")
        user_id = parse_any_user_jid(jid, domains)
        if jid.resource or jid.domain == domains.rooms:
            addresses.append(str(jid))
        elif user_id is not None:
            users.append(user_id)
        elif not jid.local and jid.domain != domains.gateway:
            masks.append(mask_of_server(jid.domain))
        else:
            raise Problem("item-not-found", "There is no such user here")
    if len(users) + len(masks) + len(addresses) > MAX_ITEMS:
        raise Problem("bad-request", f"A request names up to {MAX_ITEMS} addresses")
    return BlockList(tuple(users), tuple(masks), tuple(addresses))


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
    """The JIDs of a list: of masks those that are a server's name."""
    found = [users.jid_of(user_id) for user_id in blocked.users]
    for text in blocked.masks:
        try:
            server = parse_mask(text).server
        except MaskRefused:
            continue
        if server is not None and not set(server) & set("*?"):
            found.append(server)
    return [*found, *blocked.addresses]


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
        if went and change.user_id not in self._users.unblocking_all:
            self._push(user, f"<unblock xmlns='{BLOCKING_NS}'>{_items(went)}</unblock>")
        elif went and not now:
            # spec: XEP-0191 3.5
            self._push(user, f"<unblock xmlns='{BLOCKING_NS}'/>")
        for address, shown in (*((a, False) for a in came), *((a, True) for a in went)):
            self._show_to(user, parse_jid(address), shown=shown)

    def _now(self, user_id: UserId) -> list[str]:
        return _addresses(self._users, self._doors.reader.block_list(user_id))

    def _push(self, user: LiveUser, xml: str) -> None:
        for session in user.sessions.values():
            if session.blocklist:
                self._count += 1
                head = f"<iq type='set' id='block-{self._count}' to='{escape_attribute(session.full)}'>"
                session.send(f"{head}{xml}</iq>".encode())

    def _show_to(self, user: LiveUser, address: Jid, *, shown: bool) -> None:
        """To every contact whom an address is about, who may see us, and to whom we have shown ourselves."""
        jids = [parse_jid(bare) for bare, item in user.roster.items() if item.subscription in ("from", "both")]
        for mine in user.available():
            head = f"<presence from='{escape_attribute(mine.full)}'".encode()
            whole = (f">{mine.presence or ''}</presence>" if shown else " type='unavailable'/>").encode()
            about: dict[str, Jid] = {}
            for jid in (*jids, *(() if shown else mine.directed.values())):
                if covers(address, jid) and str(jid.bare) not in about:
                    about[str(jid)] = jid
                elif covers(jid, address) and address.local and address.resource:
                    about[str(address)] = address  # a single client of a contact
            for jid in about.values():
                if not (shown and has_blocked(mine, jid)):
                    self._send(head, whole, jid)

    def _send(self, head: bytes, whole: bytes, jid: Jid) -> None:
        abroad, domains = self._doors.abroad, self._doors.domains
        if abroad is not None and not domains.has(jid.domain):
            abroad.send(head + to_attribute(str(jid)) + whole, domains.server, jid)
        contact = self._users.at(jid)
        for theirs in () if contact is None else contact.available():
            if not jid.resource or theirs.jid == jid:
                theirs.send(head + to_attribute(str(jid)) + whole)
