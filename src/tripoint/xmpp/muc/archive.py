"""The archive of a room: queries, pages, metadata. The id of an archived message is its event id, as everywhere.

One form of the history query: a request is a stretch of the room's history, read from one of its ends; that of a room
which was replaced before is the older part of it. Of what is
redacted a tombstone is left. Counts and indexes are not given: who may read what differs from
reader to reader, and counting would read everything. Nobody has preferences about a room's archive.
spec: XEP-0313 4, 5, 6.1.2, 7; XEP-0059 2; XEP-0297 2; XEP-0441 2; docs/mapping.md 11.11, 14.1, 14.2, 21.4.
Read next: tripoint/xmpp/archives.py, tripoint/rooms/paging.py.
"""


from collections.abc import Sequence
from dataclasses import dataclass, replace

from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.chain import Chain, Cut, earlier, later
from tripoint.rooms.history import Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import Gathered, may_ask_for_history
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import tls_only
from tripoint.xmpp.archive_query import FULL_TEXT_FEATURE, ArchiveQuery, read_query
from tripoint.xmpp.archives import FORM, Archived, Window, cut_to, metadata_xml, send_page, sizes
from tripoint.xmpp.c2s.discovery import refuse_nodes
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.muc.events import archived_message
from tripoint.xmpp.muc.moving import chain_of
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
declare_feature(FULL_TEXT_FEATURE, at=(At.ROOM,), spec="XEP-0431 2.1")

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
        chain = await chain_of(session, room)
        window = _Stretch(chain.beginning, chain.now)
        first = await _read(session, view, chain, window, backward=False, limit=1)
        last = await _read(session, view, chain, window, backward=True, limit=1)
    finally:
        view.holds -= 1
        session.muc.close_if_empty(view)
    return metadata_xml(first, last)


@iq("get set", MAM_NS, "prefs", at=(At.ROOM,), spec="XEP-0441 2.1")
async def preferences(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A room keeps everything, for everybody alike."""
    await _readable_room(session, jid)
    raise Problem("feature-not-implemented", "A room keeps its whole history for all; there is nothing to choose")


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
    view = session.muc.view(room.room_id, address) or await session.muc.open(room, jid)
    if view.jid != address:
        session.muc.close_if_empty(view)
        # spec: RFC6120 8.3.3.16; docs/mapping.md 3.6: one room has one address, and one archive
        raise Problem("redirect", f"This room is {view.jid}", address=f"xmpp:{view.jid}")
    return view


# -- reading


async def _page(session: XmppSession, view: MucView, asked: ArchiveQuery) -> Gathered[Archived]:
    senders = None if asked.with_jid is None else _senders(session, view, asked.with_jid)
    chain = await chain_of(session, view.room)
    window = await _window(chain, asked, senders)
    if asked.ids:
        return await _by_ids(session, view, chain, asked, window)
    if senders == ():
        return Gathered((), more=False)
    return await _read(session, view, chain, window, backward=asked.backward, limit=asked.limit)


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
    user_id = parse_any_user_jid(jid.bare, session.doors.domains)
    # Who never was a member wrote nothing, and the whole history need not be read for that.
    return () if user_id is None or view.room.member(user_id) is None else (user_id,)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A window over all rooms of the archive: after one cut, up to another; the rest as in Window."""

    after: Cut
    upto: Cut
    senders: tuple[UserId, ...] | None = None
    start_ts_ms: int | None = None
    end_ts_ms: int | None = None
    says: str | None = None

    def within(self, index: int) -> Window:
        """What is in it of one room."""
        return Window(self.after[index], self.upto[index], self.senders, self.start_ts_ms, self.end_ts_ms)


async def _window(chain: Chain, asked: ArchiveQuery, senders: tuple[UserId, ...] | None) -> _Stretch:
    """Everything that limits the request, as one stretch of the history.

    Raises Refused(NO_SUCH_EVENT) for an id that is not in the archive. spec: XEP-0313 4.1.3, 4.3.2
    """
    after, upto = chain.beginning, chain.now
    for event_id in (asked.after, asked.after_id):
        if event_id is not None:
            after = later(after, await chain.after(event_id))
    for event_id in (asked.before, asked.before_id):
        if event_id is not None:
            upto = earlier(upto, await chain.before(event_id))
    # Both ends are included. spec: XEP-0313 4.1.2
    if asked.start_ts_ms is not None:
        after = later(after, await chain.before_time(asked.start_ts_ms))
    if asked.end_ts_ms is not None:
        upto = earlier(upto, await chain.before_time(asked.end_ts_ms + 1))
    return _Stretch(after, upto, senders, asked.start_ts_ms, asked.end_ts_ms, asked.says)


class _Relations:
    """What the events of each room refer to."""

    def __init__(self, session: XmppSession) -> None:
        self._session = session
        self._rooms: dict[RoomId, Related] = {}

    def of(self, room: RoomView) -> Related:
        related = self._rooms.get(room.room_id)
        if related is None:
            reader, viewer = self._session.doors.reader, self._session.user_id
            related = self._rooms[room.room_id] = Related(reader, room.room_id, viewer)
        return related

    async def look_up(self, room: RoomView, items: Sequence[HistoryItem]) -> None:
        await self.of(room).look_up(items)


async def _read(
    session: XmppSession, view: MucView, chain: Chain, window: _Stretch, *, backward: bool, limit: int
) -> Gathered[Archived]:
    asked = HistoryQuery(
        room_id=view.room.room_id,
        viewer=session.user_id,
        direction=Direction.BACKWARD if backward else Direction.FORWARD,
        senders=window.senders,
        says=window.says,
        limit=limit,
    )
    relations = _Relations(session)
    return await chain.gather(
        asked,
        window.after,
        window.upto,
        lambda room, item: _shown(view, chain, window, room, item, relations.of(room)),
        sizes(limit),
        relations.look_up,
    )


async def _by_ids(
    session: XmppSession, view: MucView, chain: Chain, asked: ArchiveQuery, window: _Stretch
) -> Gathered[Archived]:
    """spec: XEP-0313 4.1.3: item-not-found if any of them is not in the archive."""
    found: list[tuple[tuple[int, int], Archived]] = []
    everything = _Stretch(chain.beginning, chain.now)
    relations = _Relations(session)
    for event_id in asked.ids:
        room, item = await chain.find(event_id)
        await relations.look_up(room, (item,))
        related = relations.of(room)
        if _shown(view, chain, everything, room, item, related) is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        one = _shown(view, chain, window, room, item, related)
        if one is not None:
            found.append(((-chain.rooms.index(room), item.position), one))
    found.sort(key=lambda entry: entry[0])
    in_order = [replace(one, position=place) for place, (_, one) in enumerate(found)]
    return cut_to(in_order, asked.limit, backward=asked.backward)


def _shown(
    view: MucView, chain: Chain, window: _Stretch, room: RoomView, item: HistoryItem, related: Related
) -> Archived | None:
    event = item.event
    # Events of other servers can be older than what stands before them in the stream.
    within = window.within(chain.rooms.index(room))
    if not within.holds(item.position, event.sender, event.origin_server_ts):
        return None
    xml = archived_message(view, item, related)
    return None if xml is None else Archived(item.position, event.event_id, event.origin_server_ts, xml)
