"""The archive of a room: queries, pages, metadata. The id of an archived message is its event id, as everywhere.

One form of the history query: a request is a window of the room's stream, read from one of its ends. Of what is
redacted a tombstone is left. Counts and indexes are not given: who may read what differs from
reader to reader, and counting would read everything. Nobody has preferences about a room's archive.
spec: XEP-0313 4, 5, 6.1.2, 7; XEP-0059 2; XEP-0297 2; XEP-0441 2; docs/mapping.md 11.11, 14.1, 14.2.
Read next: tripoint/xmpp/archives.py, tripoint/rooms/paging.py.
"""


from tripoint.core.ids import UserId
from tripoint.rooms.history import BEGINNING, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import Gathered, gather, may_ask_for_history
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import tls_only
from tripoint.xmpp.archive_query import ArchiveQuery, read_query
from tripoint.xmpp.archives import FORM, Archived, Window, cut_to, metadata_xml, send_page, sizes
from tripoint.xmpp.c2s.discovery import refuse_nodes
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, parse_user_jid
from tripoint.xmpp.muc.events import archived_message
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.related import Related
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import (
    MAM_EXTENDED_NS,
    MAM_NS,
)
from tripoint.xmpp.wire import Element

declare_feature(MAM_EXTENDED_NS, at=(At.ROOM,), spec="XEP-0313 7: ids, flipped pages, metadata")

@iq("get", MAM_NS, at=(At.ROOM,), feature=MAM_NS, spec="XEP-0313 4.1.5")
async def form(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The fields that a query may have."""
    refuse_nodes(stanza)
    await _readable_room(session, jid)
    return FORM


@iq("set", MAM_NS, at=(At.ROOM,), spec="XEP-0313 4")
async def query(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The messages of one page, each in a stanza, and then where the page begins and ends."""
    refuse_nodes(stanza)
    asked = read_query(stanza)
    room = await _readable_room(session, jid)
    view = await _view(session, room, jid)
    view.holds += 1
    try:
        page = await _page(session, view, asked)
    finally:
        view.holds -= 1
        session.muc.close_if_empty(view)
    return send_page(session, view.jid, asked, page)


@iq("get", MAM_NS, "metadata", at=(At.ROOM,), spec="XEP-0313 5")
async def metadata(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The first and the last message that this reader can see."""
    room = await _readable_room(session, jid)
    view = await _view(session, room, jid)
    view.holds += 1
    try:
        window = Window(BEGINNING, room.last_position, None, None, None)
        first = await _read(session, view, window, backward=False, limit=1)
        last = await _read(session, view, window, backward=True, limit=1)
    finally:
        view.holds -= 1
        session.muc.close_if_empty(view)
    return metadata_xml(first, last)


@iq("get set", MAM_NS, "prefs", at=(At.ROOM,), spec="XEP-0441 2.1")
async def preferences(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A room keeps everything, for everybody alike."""
    await _readable_room(session, jid)
    raise Problem("feature-not-implemented", "A room keeps its whole history; there is nothing to choose")


# -- who may read


async def _readable_room(session: XmppSession, jid: Jid) -> RoomView:
    """The room, if the archive is open to the session's user. docs/mapping.md 14.2"""
    room = await session.muc.room_for(session, jid)
    if not may_ask_for_history(room, session.user_id):
        raise Problem("forbidden", "Only members read the history of this room")
    if room.encrypted:
        # docs/mapping.md 19.2
        raise Refused(Refusal.ENCRYPTED)
    if tls_only(room) and not session.secure:
        raise Refused(Refusal.TLS_NEEDED)
    return room


async def _view(session: XmppSession, room: RoomView, jid: Jid) -> MucView:
    address = str(jid.bare)
    view = session.muc.view(room.room_id, address) or await session.muc.open(room)
    if view.jid != address:
        session.muc.close_if_empty(view)
        # spec: RFC6120 8.3.3.16; docs/mapping.md 3.6: one room has one address, and one archive
        raise Problem("redirect", f"This room is {view.jid}", address=f"xmpp:{view.jid}")
    return view


# -- reading


async def _page(session: XmppSession, view: MucView, asked: ArchiveQuery) -> Gathered[Archived]:
    senders = None if asked.with_jid is None else _senders(session, view, asked.with_jid)
    window = await _window(session, view, asked, senders)
    if asked.ids:
        return await _by_ids(session, view, asked, window)
    if senders == () or window.upto <= window.after:
        return Gathered((), more=False)
    return await _read(session, view, window, backward=asked.backward, limit=asked.limit)


def _senders(session: XmppSession, view: MucView, address: str) -> tuple[UserId, ...] | None:
    """Whose messages `with` means: an occupant's or a user's; None for the room itself, () for nobody's.

    spec: XEP-0313 4.1.1: "An item in a MUC archive matches if the publisher of the item matches the JID"
    """
    try:
        jid = parse_jid(address)
    except InvalidJid:
        raise Problem("jid-malformed", "The address in the field 'with' is not valid") from None
    if str(jid.bare) == view.jid:
        if not jid.resource:
            return None
        who = view.with_nick(jid.resource)
        return () if who is None else (who.user_id,)
    user_id = parse_user_jid(jid.bare, session.doors.domains)
    # Who never was a member wrote nothing, and the whole history need not be read for that.
    return () if user_id is None or view.room.member(user_id) is None else (user_id,)


async def _window(
    session: XmppSession, view: MucView, asked: ArchiveQuery, senders: tuple[UserId, ...] | None
) -> Window:
    """Everything that limits the request, as one stretch of the stream.

    Raises Refused(NO_SUCH_EVENT) for an id that is not in the archive. spec: XEP-0313 4.1.3, 4.3.2
    """
    reader, room = session.doors.reader, view.room
    after, upto = BEGINNING, room.last_position
    for event_id in (asked.after, asked.after_id):
        if event_id is not None:
            after = max(after, (await reader.event(room.room_id, event_id, session.user_id)).position)
    for event_id in (asked.before, asked.before_id):
        if event_id is not None:
            upto = min(upto, (await reader.event(room.room_id, event_id, session.user_id)).position - 1)
    # Both ends are included. spec: XEP-0313 4.1.2
    if asked.start_ts_ms is not None:
        after = max(after, await reader.position_before(room.room_id, asked.start_ts_ms))
    if asked.end_ts_ms is not None:
        upto = min(upto, await reader.position_before(room.room_id, asked.end_ts_ms + 1))
    return Window(after, upto, senders, asked.start_ts_ms, asked.end_ts_ms)


async def _read(
    session: XmppSession, view: MucView, window: Window, *, backward: bool, limit: int
) -> Gathered[Archived]:
    low, high = ByPosition(window.after), ByPosition(window.upto)
    asked = HistoryQuery(
        room_id=view.room.room_id,
        viewer=session.user_id,
        direction=Direction.BACKWARD if backward else Direction.FORWARD,
        anchor=high if backward else low,
        until=low if backward else high,
        senders=window.senders,
        limit=limit,
    )
    related = Related(session.doors.reader, view.room.room_id, session.user_id)
    return await gather(
        session.doors.reader,
        asked,
        lambda item: _shown(view, window, item, related),
        sizes(limit),
        related.look_up,
    )


async def _by_ids(
    session: XmppSession, view: MucView, asked: ArchiveQuery, window: Window
) -> Gathered[Archived]:
    """spec: XEP-0313 4.1.3: item-not-found if any of them is not in the archive."""
    found: dict[int, Archived | None] = {}
    everything = Window(BEGINNING, view.room.last_position, None, None, None)
    related = Related(session.doors.reader, view.room.room_id, session.user_id)
    for event_id in asked.ids:
        item = await session.doors.reader.event(view.room.room_id, event_id, session.user_id)
        await related.look_up((item,))
        if _shown(view, everything, item, related) is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        found[item.position] = _shown(view, window, item, related)
    return cut_to((one for one in found.values() if one is not None), asked.limit, backward=asked.backward)


def _shown(view: MucView, window: Window, item: HistoryItem, related: Related) -> Archived | None:
    event = item.event
    # Events of other servers can be older than what stands before them in the stream.
    if not window.holds(item.position, event.sender, event.origin_server_ts):
        return None
    xml = archived_message(view, item, related)
    return None if xml is None else Archived(item.position, event.event_id, event.origin_server_ts, xml)
