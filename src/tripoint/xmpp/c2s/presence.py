"""Presence between users: initial, later, unavailable, directed, probes and subscriptions.

spec: RFC6121 3, 4; docs/mapping.md 13.6 (what the middle hears), 13.10. Presence in rooms is muc/; the table of
subscription states is subscriptions.py.
"""

from msgspec.structs import replace as replace_struct

from tripoint.accounts.ports import RosterItem
from tripoint.core.ids import UserId
from tripoint.xmpp.blocked import apart, has_blocked
from tripoint.xmpp.c2s.greetings import show_motd
from tripoint.xmpp.c2s.invitations import approve, asks_back, redeem
from tripoint.xmpp.c2s.kept_invitations import show_kept_invitations
from tripoint.xmpp.c2s.photos import is_update, photo_for
from tripoint.xmpp.c2s.subscriptions import Subscription, inbound, outbound, subscription_of, with_subscription
from tripoint.xmpp.c2s.users import MAX_ITEMS, LiveUser
from tripoint.xmpp.jid import Jid, parse_jid, parse_user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, presence
from tripoint.xmpp.render import to_attribute
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CLIENT_NS, MUC_NS
from tripoint.xmpp.wire import Element, escape_attribute, render

_SUBSCRIPTIONS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")
# docs/mapping.md 13.6: what the middle makes of <show/>
_PRESENCE_OF_SHOW = {"": "online", "chat": "online", "away": "unavailable", "xa": "unavailable", "dnd": "unavailable"}
SHOWS = frozenset(_PRESENCE_OF_SHOW)
# Presence goes to everybody who knows us; what clients put in (caps, avatar hash) is some 300 bytes.
MAX_PRESENCE_BYTES = 8192
# To how many a session sends presence by itself, rooms of other servers among them.
MAX_DIRECTED = 1000
# Requests of strangers that wait for an answer, beside a full roster.
MAX_REQUESTS = 1000


def show_of(stanza: Element) -> str:
    """The <show/> of a presence; an unknown one counts as none. spec: RFC6121 4.7.2.1"""
    show = (stanza.child_text("show", CLIENT_NS) or "").strip()
    return show if show in SHOWS else ""


def presence_of(stanza: Element) -> tuple[str, str | None]:
    """What the middle hears of an available presence, and its status. docs/mapping.md 13.6"""
    status = stanza.child_text("status", CLIENT_NS)
    return _PRESENCE_OF_SHOW[show_of(stanza)], status[:1000] if status else None


def _said(session: XmppSession, stanza: Element) -> str:
    """What a client's available presence says, with its avatar."""
    return _inside(stanza) + photo_for(session, stanza)


def _inside(stanza: Element) -> str:
    """What a presence says, to be passed on; of a very long one only what RFC 6121 itself defines."""
    lang = stanza.get("xml:lang")
    if lang is not None:
        # The attribute of the stanza is its children's. spec: RFC6120 8.1.5
        stanza = Element(
            stanza.name, stanza.namespace, stanza.attributes, [_in_language(child, lang) for child in stanza.elements()]
        )
    inside = "".join([render(child).decode() for child in stanza.elements() if not is_update(child)])
    if len(inside) > MAX_PRESENCE_BYTES:
        inside = "".join([render(child).decode() for child in stanza.elements() if child.namespace == CLIENT_NS])
    return inside if len(inside) <= MAX_PRESENCE_BYTES else ""


def _in_language(child: Element, lang: str) -> Element:
    if child.namespace != CLIENT_NS or child.name != "status" or child.get("xml:lang") is not None:
        return child
    return Element(child.name, child.namespace, {**child.attributes, "xml:lang": lang}, child.children)


def _priority_of(stanza: Element) -> int:
    """spec: RFC6121 4.7.2.3: -128 to 127, absent or wrong is 0"""
    text = (stanza.child_text("priority", CLIENT_NS) or "0").strip()
    try:
        number = int(text[:5])
    except ValueError:
        return 0
    return min(max(number, -128), 127)


@presence("", at=(At.ACCOUNT,), spec="RFC6121 4.2, 4.4")
async def became_available(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Initial presence, or a later one: told to who may know, and the first time answered with theirs."""
    user = session.user
    if user is None:
        return
    inside = _said(session, stanza)
    first = session.presence is None
    session.presence = inside
    was_silent = first or session.priority < 0
    session.priority = _priority_of(stanza)
    session.doors.presence.set(session.user_id, session.id, *presence_of(stanza))
    _tell_contacts(session, user, _stanza(session.full, inside))
    session.pep.capabilities.heard(session, stanza)
    if first:
        _show_contacts(session, user)
        _show_requests(session, user)
        user.opened |= {*await session.muc.show_invitations(session)}
        if len(user.available()) == 1:
            await show_kept_invitations(session)
        await show_motd(session)
    if was_silent and session.priority >= 0:
        await session.missed.show(session)
    elif session.priority < 0:
        session.missed.went_silent(session)
    if first:
        await session.doors.accounts.greetings.came(session.user_id)


@presence("unavailable", at=(At.ACCOUNT,), spec="RFC6121 4.5")
async def became_unavailable(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """No longer available, but still connected."""
    session.muc.leave_all(session)
    went_away(session, _inside(stanza))
    session.missed.went_silent(session)
    session.doors.presence.session_down(session.user_id, session.id)


def show_photo(user: LiveUser, xml: str) -> None:
    """The avatar is another one, or is known now: everybody who sees the user's presence hears of it, in rooms too."""
    before, user.photo = user.photo, xml
    for session in list(user.sessions.values()) if before != xml else ():
        if session.hides_photo:
            continue
        if session.presence is not None:
            session.presence = session.presence.removesuffix(before) + xml
            _tell_contacts(session, user, _stanza(session.full, session.presence))
        for visit in list(session.visits.values()):
            visit.view.change_presence(visit, visit.inside.removesuffix(before) + xml)


def went_away(session: XmppSession, inside: str = "") -> None:
    """Unavailable presence to everybody who saw the session as available. spec: RFC6121 4.5.2"""
    user = session.user
    if user is None:
        return
    stanza = _stanza(session.full, inside, "unavailable")
    directed, session.directed = session.directed, {}
    if session.presence is not None:
        _tell_contacts(session, user, stanza)
        session.presence = None
    for jid in directed.values():
        _deliver(session, jid, stanza)


@presence("", "unavailable", at=(At.USER, At.ABROAD), spec="RFC6121 4.6")
async def directed_presence(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """To one user or resource, whether they are subscribed or not. Remembered, so that they hear of the end."""
    kind = stanza.get("type") or ""
    if not kind and session.muc.looks_first(session, stanza, jid):
        return
    inside = _inside(stanza) if kind else _said(session, stanza)
    if kind == "unavailable":
        session.directed.pop(str(jid), None)
        session.rooms_abroad -= {str(jid.bare)}
    elif len(session.directed) < MAX_DIRECTED:
        session.directed[str(jid)] = jid
        if stanza.child("x", MUC_NS) is not None:
            session.rooms_abroad |= {str(jid.bare)}
    if not kind and _is_abroad(session, jid):
        original = Element("presence", CLIENT_NS, {**stanza.attributes, "from": session.full})
        # A room there gives the id back (XEP-0045 7.2.2).
        _send_abroad(session, _stanza(session.full, inside, its_id=stanza.get("id")), jid, original)
        return
    _deliver(session, jid, _stanza(session.full, inside, kind))


@presence("error", at=(At.USER,), spec="RFC6120 8.3, RFC6121 8.5.3.1")
async def refused_presence(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """An error that answers directed presence goes to the client that sent it."""
    if jid.resource:
        _deliver(session, jid, _stanza(session.full, _inside(stanza), "error", stanza.get("id")))


@presence("error", "probe", at=(At.ABROAD,), spec="RFC6120 10.4")
async def to_another_server(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """As it is, from the client's own address."""
    _send_abroad(session, _stanza(session.full, _inside(stanza), stanza.get("type") or ""), jid)


@presence("probe", at=(At.USER, At.ACCOUNT), spec="RFC6121 4.3.2")
async def probe(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """A client asks for a contact's presence: answered if the subscription allows it, else with silence, which is what
    a client hears of an unsubscribed that changes nothing (RFC6121 A.3.4)."""
    users = session.users
    user_id = parse_user_jid(jid.bare, session.doors.domains)
    if user_id is None or not await session.doors.accounts.is_local_user(user_id):
        return
    item = (await users.roster_of(user_id)).get(session.bare)
    seen = user_id == session.user_id or (item is not None and item.subscription in ("from", "both"))
    target = users.live(user_id)
    blocks = session.doors.reader.blocks
    if not seen or blocks(user_id, session.user_id) or blocks(session.user_id, user_id):
        return
    here = [] if target is None else [one for one in target.available() if not apart(session, one)]
    if jid.resource:
        # Of one client that it is there, and no more.
        for one in here:
            if one.jid == jid:
                _send(session, _stanza(one.full, ""), session.to)
        return
    for one in here:
        _send(session, _stanza(one.full, one.presence or ""), session.to)
    if not here:
        _send(session, _stanza(str(jid.bare), "", "unavailable"), session.to)


@presence(*_SUBSCRIPTIONS, at=(At.USER, At.ABROAD), spec="RFC6121 3")
async def subscription(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Ask for, grant, refuse or end a subscription."""
    asked = parse_user_jid(jid.bare, session.doors.domains)
    if session.account.guest or (asked is not None and session.doors.accounts.is_guest(asked)):
        # spec: XEP-0175 3 (3): what ended with the guest would only be in the way of others
        raise Problem("not-allowed", "Guests have no contacts")
    await handle_subscription(session, stanza.get("type") or "", jid.bare, stanza)


async def handle_subscription(session: XmppSession, kind: str, contact: Jid, stanza: Element) -> None:
    """Both sides of a subscription stanza of `session`'s user."""
    users, bare = session.users, str(contact)
    async with users.rosters(session.user_id):
        roster = await users.roster_of(session.user_id)
        before = roster.get(bare)
        state = subscription_of(before)
        outcome = outbound(kind, state)
        if outcome.state != state:
            if before is None and len(roster) >= MAX_ITEMS:
                raise Problem("resource-constraint", f"A roster holds at most {MAX_ITEMS} contacts")
            item = with_subscription(before, bare, outcome.state)
            await users.put_item(session.user_id, item, if_changed=True)
    if outcome.pass_on:
        await _tell_the_other(session, kind, contact, state, stanza)


async def end_subscriptions(session: XmppSession, item: RosterItem) -> None:
    """Tell a contact who was removed that the subscriptions in both directions have ended. spec: RFC6121 2.5.2"""
    state, contact = subscription_of(item), parse_jid(item.jid)
    if state.to or state.asked:
        await _tell_the_other(session, "unsubscribe", contact, state, None)
    if state.from_ or state.asks:
        await _tell_the_other(session, "unsubscribed", contact, state, None)


async def _tell_the_other(
    session: XmppSession, kind: str, contact: Jid, state: Subscription, stanza: Element | None
) -> None:
    """The contact's side of a subscription stanza, and the presence that goes with it. `state`: what was between the
    two, as `session`'s user saw it; `stanza` None: the server made it."""
    users, bare = session.users, str(contact)
    if _is_abroad(session, contact):
        _subscription_abroad(session, kind, contact, state, stanza)
        return
    target = parse_user_jid(contact, session.doors.domains)
    if target is None or not await session.doors.accounts.is_local_user(target):
        return  # spec: RFC6121 8.5.1: silently ignored
    if session.doors.reader.blocks(target, session.user_id):
        return  # spec: XEP-0191 3.3: no answer, no error
    live = users.live(target)
    mine = [] if session.user is None else session.user.available()
    if kind == "unsubscribed" and state.from_ and live is not None:
        # spec: RFC6121 3.2.2: while the contact is still subscribed
        for one in mine:
            _tell_user(live, _stanza(one.full, "", "unavailable"))
    invited = await _is_invited(session, kind, target, session.bare, stanza)
    await _receive_subscription(session, kind, target, bare, session.bare, stanza)
    if invited and await asks_back(session, target, session.bare):
        await _receive_subscription(session, "subscribe", session.user_id, session.bare, bare, None)
    live = users.live(target)
    if kind == "subscribed":
        # spec: RFC6121 3.1.5: the contact now sees us
        if live is not None:
            for one in mine:
                _tell_user(live, _stanza(one.full, one.presence or ""))
            # spec: XEP-0163 4.3.4: and hears of what we publish
            for theirs in live.available():
                await session.pep.show_last(theirs, session.user_id, theirs.wants)
    elif kind == "unsubscribe" and state.to and session.user is not None and live is not None:
        for theirs in live.available():
            _tell_user(session.user, _stanza(theirs.full, "", "unavailable"))


def _subscription_abroad(
    session: XmppSession, kind: str, contact: Jid, before: Subscription, stanza: Element | None
) -> None:
    """A subscription stanza to a contact of another server, and the presence that comes with it. spec: RFC6121 3.1.2,
    3.1.5, 3.2.2"""
    children = "" if stanza is None else _inside(stanza)
    mine = [] if session.user is None else session.user.available()
    if kind == "unsubscribed" and before.from_:
        for one in mine:
            _send_abroad(session, _stanza(one.full, "", "unavailable"), contact)
    original = None
    if kind == "subscribe":
        original = Element("presence", CLIENT_NS, {"from": session.full, "to": str(contact), "type": kind})
    its_id = None if stanza is None else stanza.get("id")
    _send_abroad(session, _stanza(session.bare, children, kind, its_id), contact, original)
    if kind == "subscribed":
        for one in mine:
            _send_abroad(session, _stanza(one.full, one.presence or ""), contact)


async def received_subscription(visitor: XmppSession, kind: str, user_id: UserId, stanza: Element) -> None:
    """A subscription stanza of somebody of another server (`visitor`), for a local user. spec: RFC6121 3.1.3, 3.1.6,
    3.2.3, 3.3.3"""
    users = visitor.users
    own_bare = users.jid_of(user_id)
    roster = await users.roster_of(user_id)
    before = subscription_of(roster.get(visitor.bare))
    invited = await _is_invited(visitor, kind, user_id, visitor.bare, stanza)
    await _receive_subscription(visitor, kind, user_id, own_bare, visitor.bare, stanza)
    if invited and await asks_back(visitor, user_id, visitor.bare):
        _back(visitor, _stanza(own_bare, "", "subscribe"))
    live = users.live(user_id)
    after = subscription_of((await users.roster_of(user_id)).get(visitor.bare))
    if live is not None and before.from_ != after.from_:
        for mine in live.available():
            gone = "" if after.from_ else "unavailable"
            _back(visitor, _stanza(mine.full, "" if gone else mine.presence or "", gone))


async def _is_invited(
    session: XmppSession, kind: str, inviter: UserId, guest: str, stanza: Element | None
) -> bool:
    """Whether a request comes with an invitation, and is granted for it. spec: XEP-0379 3.5"""
    if kind != "subscribe" or stanza is None or not await redeem(session, inviter, stanza):
        return False
    return await approve(session, inviter, guest)


async def answer_probe(visitor: XmppSession, user_id: UserId) -> None:
    """Somebody of another server asks whether a local user is there. spec: RFC6121 4.3.2"""
    users = visitor.users
    bare = users.jid_of(user_id)
    state = subscription_of((await users.roster_of(user_id)).get(visitor.bare))
    if not state.from_:
        _back(visitor, _stanza(bare, "", "unsubscribed"))
        return
    live = users.live(user_id)
    here = [] if live is None else live.available()
    for mine in here:
        _back(visitor, _stanza(mine.full, mine.presence or ""))
    if not here:
        _back(visitor, _stanza(bare, "", "unavailable"))


def _back(visitor: XmppSession, stanza: tuple[bytes, bytes]) -> None:
    _send(visitor, stanza, to_attribute(visitor.bare))


def _is_abroad(session: XmppSession, jid: Jid) -> bool:
    """Whether this is somebody of another XMPP server, and there is a way to it."""
    doors = session.doors
    return doors.abroad is not None and not doors.domains.has(jid.domain) and doors.abroad.reaches(jid.domain)


def _send_abroad(
    session: XmppSession, stanza: tuple[bytes, bytes], to: Jid, original: Element | None = None
) -> None:
    """To somebody of another server, unless he is blocked. spec: XEP-0191 3.3"""
    doors = session.doors
    assert doors.abroad is not None  # _is_abroad has looked
    gone = stanza[0].endswith(b" type='unavailable'")
    if has_blocked(session, to) and not gone:
        return
    doors.abroad.send(stanza[0] + to_attribute(str(to)) + stanza[1], doors.domains.server, to, original)


async def _receive_subscription(
    session: XmppSession, kind: str, user_id: UserId, own_bare: str, from_bare: str, stanza: Element | None
) -> None:
    """The other side: `user_id` (whose JID is `own_bare`) gets a stanza of `kind` from `from_bare`. It is told before
    the roster is pushed. spec: RFC6121 3.1.3, 3.1.6, 3.2.3, 3.3.3"""
    users = session.users
    children, its_id = ("", None) if stanza is None else (_inside(stanza), stanza.get("id"))

    def tell() -> None:
        live = users.live(user_id)
        if outcome.pass_on and live is not None:
            _tell_of_subscription(live, kind, _stanza(from_bare, children, kind, its_id))

    async with users.rosters(user_id):
        roster = await users.roster_of(user_id)
        before = roster.get(from_bare)
        state = subscription_of(before)
        outcome = inbound(kind, state)
        if before is None and len(roster) >= MAX_ITEMS + MAX_REQUESTS:
            return  # nobody answers so many; who really wants to can ask again when there is room
        if outcome.state != state:
            item = with_subscription(before, from_bare, outcome.state)
            if outcome.state.asks and not state.asks:
                item = replace_struct(item, request=children, request_id=its_id)
            await users.put_item(user_id, item, if_changed=True, first=tell)
    live = users.live(user_id)
    if outcome.reply is not None and session.foreign:
        _back(session, _stanza(own_bare, "", outcome.reply))
    elif outcome.reply is not None:
        sender = parse_user_jid(parse_jid(from_bare), session.doors.domains)
        if sender is not None:
            await _receive_subscription(session, outcome.reply, sender, from_bare, own_bare, None)
            other = users.live(sender)
            if outcome.reply == "subscribed" and live is not None and other is not None:
                for theirs in live.available():
                    _tell_user(other, _stanza(theirs.full, theirs.presence or ""))


# -- who hears


def _stanza(from_jid: str, inside: str, kind: str = "", its_id: str | None = None) -> tuple[bytes, bytes]:
    typed = f" type='{kind}'" if kind else ""
    if its_id is not None:
        typed += f" id='{escape_attribute(its_id)}'"
    return f"<presence from='{escape_attribute(from_jid)}'{typed}".encode(), f">{inside}</presence>".encode()


def _send(session: XmppSession, stanza: tuple[bytes, bytes], to: bytes) -> None:
    session.send(stanza[0] + to + stanza[1])


def _tell_user(user: LiveUser, stanza: tuple[bytes, bytes]) -> None:
    """To all available resources of a user, addressed to the bare JID. spec: RFC6121 8.5.2.1.2"""
    for session in user.available():
        _send(session, stanza, user.to)


def _tell_of_subscription(user: LiveUser, kind: str, stanza: tuple[bytes, bytes]) -> None:
    """A request to those who are available, everything else to those who keep the roster too."""
    for session in user.sessions.values():
        if session.presence is not None or (session.interested and kind != "subscribe"):
            _send(session, stanza, user.to)


def _tell_contacts(session: XmppSession, user: LiveUser, stanza: tuple[bytes, bytes]) -> None:
    """spec: RFC6121 4.2.2, 4.4.2: to who is subscribed, and to all own available resources."""
    _tell_user(user, stanza)
    for bare, item in user.roster.items():
        if item.subscription in ("from", "both"):
            jid = parse_jid(bare)
            if _is_abroad(session, jid):
                _send_abroad(session, stanza, jid)
                continue
            contact = session.users.at(jid)
            if contact is not None and contact is not user and not _apart(session, contact):
                for theirs in contact.available():
                    if not apart(session, theirs):
                        _send(theirs, stanza, contact.to)


def _apart(session: XmppSession, other: LiveUser) -> bool:
    """Whether one of the two has blocked the other: neither sees whether the other is there. spec: XEP-0191 3.3"""
    blocks = session.doors.reader.blocks
    return blocks(session.user_id, other.user_id) or blocks(other.user_id, session.user_id)


def _show_contacts(session: XmppSession, user: LiveUser) -> None:
    """spec: RFC6121 4.2.2, 4.3: the presence of who is there already."""
    for other in user.available():
        if other is not session:
            _send(session, _stanza(other.full, other.presence or ""), session.to)
    for bare, item in user.roster.items():
        if item.subscription not in ("to", "both"):
            continue
        jid = parse_jid(bare)
        if _is_abroad(session, jid):
            # spec: RFC6121 4.3.1
            _send_abroad(session, _stanza(session.bare, "", "probe"), jid)
            continue
        contact = session.users.at(jid)
        if contact is None or contact is user or _apart(session, contact):
            continue
        theirs = contact.roster.get(session.bare)
        if theirs is not None and theirs.subscription in ("from", "both"):
            for other in contact.available():
                if not apart(session, other):
                    _send(session, _stanza(other.full, other.presence or ""), session.to)


def _show_requests(session: XmppSession, user: LiveUser) -> None:
    """spec: RFC6121 3.1.3: requests that were not answered come again at every login."""
    for bare, item in user.roster.items():
        if item.pending_in:
            _send(session, _stanza(bare, item.request, "subscribe", item.request_id), user.to)


def _deliver(session: XmppSession, jid: Jid, stanza: tuple[bytes, bytes]) -> None:
    """Directed presence to a resource, or to all available ones of a user."""
    if _is_abroad(session, jid):
        _send_abroad(session, stanza, jid)
        return
    target = session.users.at(jid)
    if target is None or _apart(session, target):
        return
    if not jid.resource:
        for theirs in target.available():
            if not apart(session, theirs):
                _send(theirs, stanza, target.to)
        return
    other = target.sessions.get(jid.resource)
    if other is not None and not apart(session, other):
        _send(other, stanza, other.to)
