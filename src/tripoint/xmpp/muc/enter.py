"""Entering and leaving a room, changing nick and presence in it.

spec: XEP-0045 7.1, 7.2, 7.6, 7.7, 7.14; docs/mapping.md 2.7, 2.8, 3.6, 4.1-4.4, 5.2.
"""

from contextlib import suppress
from dataclasses import dataclass

from tripoint.core.ids import RoomId, server_of
from tripoint.rooms.commands import CreateRoom, Join, Leave, Secret, Template
from tripoint.rooms.history import Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import tls_only
from tripoint.xmpp.c2s.photos import is_update, photo_for
from tripoint.xmpp.c2s.presence import show_of
from tripoint.xmpp.dates import parse_date
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.messages import is_payload
from tripoint.xmpp.muc import joining, versions
from tripoint.xmpp.muc.events import history_message, subject
from tripoint.xmpp.muc.moving import chain_of
from tripoint.xmpp.muc.nicks import change_nick, check_nick, take_nick, wished_nick
from tripoint.xmpp.muc.registering import show_knocks
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.projection import Standing, is_valid_nick
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, presence
from tripoint.xmpp.render import Shared, item, muc_user, room_presence
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CLIENT_NS, MUC_NS, Status
from tripoint.xmpp.wire import Element, escape_text, render

# docs/mapping.md 5.2; more than the cap is what an archive is for.
DEFAULT_HISTORY = 20
MAX_HISTORY = 100
MAX_INSIDE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class WantedHistory:
    """What <history/> asks for. Milliseconds; None: no limit of that kind. spec: XEP-0045 7.2.14"""

    stanzas: int = DEFAULT_HISTORY
    chars: int | None = None
    since_ts_ms: int | None = None


def read_history(x: Element | None, now_ms: int) -> WantedHistory:
    """The smallest amount that meets every limit that is given; what cannot be read is no limit."""
    history = x.child("history", MUC_NS) if x is not None else None
    if history is None:
        return WantedHistory()
    stanzas = _number(history.get("maxstanzas"))
    since = [
        ts for ts in (_since_seconds(history.get("seconds"), now_ms), _date(history.get("since"))) if ts is not None
    ]
    limited = stanzas is not None or since
    return WantedHistory(
        stanzas=min(stanzas, MAX_HISTORY) if stanzas is not None else MAX_HISTORY if limited else DEFAULT_HISTORY,
        chars=_number(history.get("maxchars")),
        since_ts_ms=max(since) if since else None,
    )


def _number(text: str | None) -> int | None:
    if text is None or not text.strip().isdecimal() or not text.isascii():
        return None
    return min(int(text.strip()[:9]), 10**9)


def _since_seconds(text: str | None, now_ms: int) -> int | None:
    seconds = _number(text)
    return None if seconds is None else now_ms - seconds * 1000


def _date(text: str | None) -> int | None:
    return None if text is None else parse_date(text)


def inside_of_presence(session: XmppSession, stanza: Element) -> str:
    """What a presence says in a room: show, status, what other extensions put in, the avatar. spec: XEP-0045 7.7"""
    show = show_of(stanza)
    inside = f"<show>{show}</show>" if show else ""
    status = stanza.child_text("status", CLIENT_NS)
    if status:
        inside += f"<status>{escape_text(status[:1000])}</status>"
    extra = "".join(
        # Of its own users the server knows the avatar better (XEP-0398).
        [
            render(child).decode()
            for child in stanza.elements()
            if is_payload(child) and (session.foreign or not is_update(child))
        ]
    )
    inside = inside + extra if len(extra) <= MAX_INSIDE_BYTES else inside
    return inside if session.foreign else inside + photo_for(session, stanza)


@presence("", at=(At.ROOM,), spec="XEP-0045 7.2.1")
async def enter_without_nick(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """A nick is needed."""
    raise Problem("jid-malformed", "Say under which nick you want to enter: room@service/nick")


@presence("", at=(At.OCCUPANT,), spec="XEP-0045 7.2, 7.6, 7.7")
async def to_occupant(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """Available presence: entering, another nick, or another status, by where the session is already."""
    x = stanza.child("x", MUC_NS)
    visit = session.visits.get(str(jid.bare))
    if x is not None:
        # spec: XEP-0045 7.2.1: a client that joins again lost its state: it is shown everything once more.
        named = await session.muc.elsewhere(session, jid)
        if named is None:
            room, created = await _find_or_create(session, jid)
            await _enter(session, stanza, jid, room, created=created)
            return
        if not is_valid_nick(jid.resource):
            raise Problem("not-acceptable", "This nick cannot be used")
        joining.begin(session, stanza, jid, named, wished_nick(session, jid.resource), _enter)
    elif visit is None:
        if str(jid.bare) not in session.waiting:
            _explain_that_you_are_outside(session, jid)
    elif jid.resource != visit.occupant.nick:
        await change_nick(session, visit, jid.resource)
    else:
        visit.view.change_presence(visit, inside_of_presence(session, stanza))


@presence("unavailable", at=(At.ROOM, At.OCCUPANT), spec="XEP-0045 7.14")
async def leave(session: XmppSession, stanza: Element, jid: Jid) -> None:
    """This resource is not in the room any more. docs/mapping.md 4.4: the membership stays."""
    visit = session.visits.get(str(jid.bare))
    waiting = session.waiting.get(str(jid.bare))
    if waiting is not None:
        waiting.left = True
    if visit is not None:
        status = stanza.child_text("status", CLIENT_NS)
        inside = f"<status>{escape_text(status[:1000])}</status>" if status else ""
        room = visit.view.room
        if room.locked and len(visit.view.visits()) == 1 and room.joined_count() == 1:
            # spec: XEP-0045 10.1.3: it is told that the room is gone (events.py)
            with suppress(Refused):  # he goes all the same, and the room opens by itself (docs/mapping.md 4.3)
                await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id))
                return
        visit.view.end_visit(visit, left=True, inside=inside)
        session.muc.close_if_empty(visit.view)


def _explain_that_you_are_outside(session: XmppSession, jid: Jid) -> None:
    """spec: XEP-0045 7.2.18: presence without <x/> from outside: the client believes to be in the room."""
    about = item(Standing("none", "none"), reason="You are not in the room.")
    x = muc_user(about, (Status.SELF_PRESENCE, Status.KICKED, Status.TECHNICAL))
    session.send_shared(room_presence(str(jid), x, unavailable=True))


# -- entering


async def _enter(
    session: XmppSession, stanza: Element, jid: Jid, room: RoomView, *, created: bool = False
) -> None:
    if room.encrypted:
        # docs/mapping.md 19.2
        raise Refused(Refusal.ENCRYPTED)
    if tls_only(room) and not session.secure:
        raise Refused(Refusal.TLS_NEEDED)
    view = await session.muc.open(room, jid)
    view.holds += 1
    user_id = session.user_id
    try:
        if view.jid != str(jid.bare):
            # spec: RFC6120 8.3.3.16; docs/mapping.md 3.6: one room has one address
            raise Problem("redirect", f"This room is {view.jid}", address=f"xmpp:{view.jid}?join")
        if room.membership(user_id) != "join":
            _check_lock(room, session)
            await check_nick(session, view, jid.resource)
            view.expected.add(user_id)
            await session.doors.rooms.do(
                Join(
                    actor=user_id,
                    room_id=room.room_id,
                    nick=wished_nick(session, jid.resource),
                    password=_password(stanza),
                )
            )
        else:
            holder = view.nicks.holder(jid.resource)
            if holder is not None and holder != user_id:
                raise Problem("conflict", "Somebody else has that nick in this room")
        if session.closed or room.membership(user_id) != "join":
            return
        codes = [Status.NON_ANONYMOUS, Status.SELF_PRESENCE, Status.LOGGED]
        if created:
            codes.append(Status.CREATED)
        nick = view.nicks.nick(user_id)
        # As it was written: what the preparation of addresses changes is another nick to the client.
        if nick is not None and nick != (stanza.get("to") or "").partition("/")[2]:
            codes.append(Status.NICK_ASSIGNED)
        await _show_affiliations(session, stanza, view)
        if session.closed or room.membership(user_id) != "join":
            return
        former = session.visits.get(view.jid)
        if former is not None:
            former.view.forget_visit(former)
        visit = view.begin_visit(session, inside_of_presence(session, stanza), tuple(codes), stanza.get("id"))
        session.muc.activity.entered(session, view.room.room_id)
    finally:
        view.holds -= 1
        if user_id in view.expected:
            view.expected.discard(user_id)
            view.presence_changed(user_id)
        session.muc.close_if_empty(view)
    wanted = read_history(stanza.child("x", MUC_NS), session.doors.now_ms())
    history = await _history(session, view, visit.position, wanted)
    view.end_of_entry(visit, history, subject(view))
    show_knocks(view, visit)


async def _show_affiliations(session: XmppSession, stanza: Element, view: MucView) -> None:
    """What has changed since the client was here, where it asks. spec: XEP-0463 5.2.1 (before any presence)"""
    try:
        past = await session.muc.versions.load(session, view, stanza)
    except Problem as problem:
        session.send(versions.refusal(session, view, stanza, problem))
    else:
        for shared in () if past is None else versions.answer(view, past):
            session.send_shared(shared)
    session.muc.versions.told(view)


def _password(stanza: Element) -> Secret | None:
    """spec: XEP-0045 7.2.5"""
    x = stanza.child("x", MUC_NS)
    text = x.child_text("password", MUC_NS) if x is not None else None
    return Secret(text) if text else None


def _check_lock(room: RoomView, session: XmppSession) -> None:
    # spec: XEP-0045 7.2.10: until it is configured, the room does not exist for others
    if room.locked and room.membership(session.user_id) != "invite":
        raise Problem("item-not-found", "This room is not open yet")


async def _find_or_create(session: XmppSession, jid: Jid) -> tuple[RoomView, bool]:
    """The room, made if there is none under this name. docs/mapping.md 4.3"""
    doors = session.doors
    room_id = await session.muc.find(session, jid)
    created = False
    if room_id is None:
        named = session.muc.named(jid)
        if named.startswith("!") or server_of(named) != doors.domains.server:
            raise Problem("item-not-found", "There is no such room")
        room_id, created = await _create(session, named[1:].partition(":")[0], jid)
    return await doors.reader.room(room_id), created


async def _create(session: XmppSession, localpart: str, jid: Jid) -> tuple[RoomId, bool]:
    """A locked room, whose first occupant configures it. spec: XEP-0045 10.1.1"""
    if not is_valid_nick(jid.resource):
        raise Problem("not-acceptable", "This nick cannot be used")
    guest = session.account.guest
    if guest:
        await take_nick(session, jid.resource)
    command = CreateRoom(
        actor=session.user_id,
        # docs/mapping.md 4.8: what a guest makes is open, and goes with the last who is in it
        template=Template.TEMPORARY if guest else Template.MUC,
        alias_localpart=localpart,
        locked=not guest,
        nick=wished_nick(session, jid.resource),
    )
    try:
        done = await session.doors.rooms.do(command)
    except Refused as refused:
        if refused.refusal is not Refusal.ALIAS_TAKEN:
            raise
        # Somebody else made it in this moment.
        room_id = await session.muc.find(session, jid)
        if room_id is None:
            raise
        return room_id, False
    assert done.room_id is not None  # CreateRoom always names the room
    return done.room_id, True


async def _history(session: XmppSession, view: MucView, position: int, wanted: WantedHistory) -> list[Shared]:
    """Up to `position`, oldest first. spec: XEP-0045 7.2.13, 7.2.14: whole stanzas within all limits."""
    if wanted.stanzas == 0 or wanted.chars == 0:
        return []
    chain = await chain_of(session, view.room)
    after = chain.beginning if wanted.since_ts_ms is None else await chain.before_time(wanted.since_ts_ms)
    query = HistoryQuery(
        room_id=view.room.room_id,
        viewer=session.user_id,
        direction=Direction.BACKWARD,
        limit=wanted.stanzas,
        spoken=True,
        only_here=True,
    )
    try:
        page = await chain.gather(query, after, (position, *chain.now[1:]), _spoken)
    except Refused:
        return []
    left = wanted.chars
    newest_first: list[Shared] = []
    for entry in reversed(page.items):
        if wanted.since_ts_ms is not None and entry.event.origin_server_ts < wanted.since_ts_ms:
            continue
        shown = history_message(view, entry)
        if shown is None:
            continue
        if left is not None:
            left -= len(shown.to(session.to).decode())
            if left < 0:
                break
        newest_first.append(shown)
    return newest_first[::-1]


def _spoken(room: RoomView, item: HistoryItem) -> HistoryItem:
    return item
