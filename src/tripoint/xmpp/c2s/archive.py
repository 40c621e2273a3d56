"""The archive of a user: everything that he and others wrote to each other, on whatever protocol, one by one.

It is one archive over his direct rooms, in the order of the server's stream. What is in rooms is in the archives of
the rooms. Which conversations it gives is for its owner to choose (archive_preferences.py).
spec: XEP-0313 3.3.1, 4, 5, 6.1.1, 7; docs/mapping.md 11.11, 14.6.  Read next: tripoint/xmpp/archives.py.
"""

import asyncio
from typing import Final

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.in_words import SPOKEN_TYPES
from tripoint.core.notices import notices_user
from tripoint.core.sealed import BARE
from tripoint.rooms.history import BEGINNING, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import Gathered, gather
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.archive_query import FULL_TEXT_FEATURE, ArchiveQuery, read_query
from tripoint.xmpp.archives import FORM, Archived, Window, cut_to, metadata_xml, send_page, sizes
from tripoint.xmpp.c2s.archive_preferences import preferences_of
from tripoint.xmpp.c2s.conversation import said
from tripoint.xmpp.c2s.direct import kind_of
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid, parse_user_jid, user_jid
from tripoint.xmpp.pep.archive import node_archive, node_of
from tripoint.xmpp.reactions import REACTION, is_word, reacted_to, reactions_xml
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.related import Related
from tripoint.xmpp.render import stanza_id, timestamp
from tripoint.xmpp.retractions import retract_xml, retracted_xml
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.stanza_facts import facts_in
from tripoint.xmpp.tables import CLIENT_NS, MAM_EXTENDED_NS, MAM_NS, RETRACT_NS, STANZA_ID_NS, TOMBSTONE_FEATURE
from tripoint.xmpp.wire import Element, escape_attribute

declare_feature(MAM_EXTENDED_NS, at=(At.ACCOUNT,), spec="XEP-0313 7: ids, flipped pages, metadata")
declare_feature(STANZA_ID_NS, at=(At.ACCOUNT,), spec="XEP-0359 5")
declare_feature(FULL_TEXT_FEATURE, at=(At.ACCOUNT,), spec="XEP-0431 2.1")
declare_feature(RETRACT_NS, at=(At.ACCOUNT,), spec="XEP-0424 2")
declare_feature(TOMBSTONE_FEATURE, at=(At.ACCOUNT,), spec="XEP-0424 4")

# Conversations that are read at most; more than anybody has, and each is looked at for a page over all.
MAX_ROOMS: Final = 500
# Behind everything that was ever said.
_END: Final = -BEGINNING
_TYPES: Final = (REACTION, "m.room.redaction", BARE)


class _Conversation:
    """One direct room of the reader, and with whom."""

    def __init__(self, session: XmppSession, room: RoomView, peer: UserId, full: str = "") -> None:
        self._session = session
        self.room = room
        self._peer = peer
        # Messages from or to this client of theirs alone; "": all. spec: XEP-0313 4.1.1
        self._full = full
        self._related = Related(session.doors.reader, room.room_id, session.user_id)

    async def read(self, window: Window, *, backward: bool, limit: int) -> Gathered[Archived]:
        """A page of this conversation alone."""
        reader, room_id = self._session.doors.reader, self.room.room_id
        after, upto = window.after, window.upto
        # Both ends are included. spec: XEP-0313 4.1.2
        if window.start_ts_ms is not None:
            after = max(after, await reader.position_before(room_id, window.start_ts_ms))
        if window.end_ts_ms is not None:
            upto = min(upto, await reader.position_before(room_id, window.end_ts_ms + 1))
        if upto <= after:
            return Gathered((), more=False)
        low, high = ByPosition(after), ByPosition(upto)
        query = HistoryQuery(
            room_id=room_id,
            viewer=self._session.user_id,
            direction=Direction.BACKWARD if backward else Direction.FORWARD,
            anchor=high if backward else low,
            until=low if backward else high,
            types=_TYPES,
            spoken=True,
            says=window.says,
            limit=limit,
        )
        return await gather(reader, query, lambda item: self._shown(window, item), sizes(limit), self._related.look_up)

    async def one(self, item: HistoryItem, window: Window) -> Archived | None:
        """One message, where it is in the window."""
        await self._related.look_up((item,))
        return self._shown(window, item)

    def _shown(self, window: Window, item: HistoryItem) -> Archived | None:
        event = item.event
        if not window.holds(item.position, event.sender, event.origin_server_ts):
            return None
        inside = self._inside(item)
        if inside is None:
            return None
        domains, reader = self._session.doors.domains, self._session.user_id
        facts, sender = facts_in(event.content), user_jid(event.sender, self._session.doors.domains)
        to = self._peer if event.sender == reader else reader
        full = f"{sender}/{facts.resource}" if facts.resource else sender
        recipient = user_jid(to, domains) + (f"/{facts.to}" if facts.to else "")
        if self._full and self._full not in (full, recipient):
            return None
        xml = (
            f"<message xmlns='{CLIENT_NS}' from='{escape_attribute(full)}'"
            f" to='{escape_attribute(recipient)}'"
            f" type='{kind_of(sender, facts)}'"
            f" id='{escape_attribute(item.token or event.event_id)}'{facts.attributes}>{inside}"
            f"{stanza_id(self._session.bare, event.event_id)}</message>"
        )
        return Archived(item.position, event.event_id, event.origin_server_ts, xml)

    def _inside(self, item: HistoryItem) -> str | None:
        event, related = item.event, self._related
        if event.type == "m.room.redaction":
            gone = None if event.redacts is None else related.find(event.redacts)
            if gone is None or gone.event.type not in (*SPOKEN_TYPES, BARE) or gone.event.sender != event.sender:
                return None
            return retract_xml(gone.token or gone.event.event_id)
        because = item.redacted_because
        if because is not None:
            found = related.find(because.event_id)
            its_id = because.event_id if found is None or found.token is None else found.token
            tombstone = retracted_xml(its_id, timestamp(because.origin_server_ts))
            return tombstone if event.type in (*SPOKEN_TYPES, BARE) else None
        if event.type == REACTION:
            about = reacted_to(event)
            if about is None or is_word(about[1]):
                return None
            target = related.find(about[0])
            its_id = about[0] if target is None or target.token is None else target.token
            return reactions_xml(its_id, related.reactions(event.sender, about[0]))
        return said(self._session.doors, event, self.room, related.find)


@iq("get", MAM_NS, at=(At.ACCOUNT,), feature=MAM_NS, spec="XEP-0313 4.1.5")
async def form(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The fields that a query may have."""
    if node := node_of(stanza):
        await session.pep.config(session.user_id, node)
    return FORM


@iq("set", MAM_NS, at=(At.ACCOUNT,), spec="XEP-0313 4", guests=True)
async def query(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The messages of one page, each in a stanza, and then where the page begins and ends."""
    if node := node_of(stanza):
        return await node_archive(session, stanza, session.user_id, node)
    asked = read_query(stanza)
    conversations = await _conversations(session, asked.with_jid)
    window = await _window(session, asked)
    if asked.ids:
        page = await _by_ids(session, asked, window, {one.room.room_id: one for one in conversations})
    else:
        page = await _merged(conversations, window, backward=asked.backward, limit=asked.limit)
    return send_page(session, session.bare, asked, page)


@iq("set", MAM_NS, at=(At.USER,), spec="XEP-0442 3")
async def query_of_other(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What somebody else has published at a node that one may read; the archive of his conversations is his alone."""
    node = node_of(stanza)
    owner = parse_user_jid(jid, session.doors.domains)
    if node is None or owner is None or not await session.doors.accounts.is_local_user(owner):
        raise Problem("service-unavailable", "This is not offered here")
    return await node_archive(session, stanza, owner, node)


@iq("get", MAM_NS, "metadata", at=(At.ACCOUNT,), spec="XEP-0313 5")
async def metadata(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The first and the last message."""
    return await archive_metadata(session)


async def archive_metadata(session: XmppSession) -> str:
    """<metadata/> of the archive of the session's account. spec: XEP-0313 5, XEP-0386 3.2"""
    conversations = await _conversations(session, None)
    window = Window(BEGINNING, _END, None, None, None)
    first = await _merged(conversations, window, backward=False, limit=1)
    return metadata_xml(first, await _merged(conversations, window, backward=True, limit=1))


async def _conversations(session: XmppSession, with_jid: str | None) -> list[_Conversation]:
    """Those of the reader, or the one with somebody. spec: XEP-0313 4.1.1"""
    doors = session.doors
    rooms: list[tuple[RoomId, UserId]] = []
    full = ""
    if with_jid is None:
        rooms = await session.direct.direct_rooms(session.user_id, MAX_ROOMS)
    else:
        try:
            asked, server = parse_jid(with_jid), doors.domains.server
            jid, full = asked.bare, str(asked) if asked.resource else ""
            peer = notices_user(server) if str(jid) == server else parse_any_user_jid(jid, doors.domains)
        except InvalidJid:
            raise Problem("jid-malformed", "The address in the field 'with' is not valid") from None
        room_id = None if peer is None else await doors.reader.direct_room(session.user_id, peer)
        if peer is not None and room_id is not None:
            rooms = [(room_id, peer)]
    chosen = await preferences_of(session)
    roster = await session.users.roster_of(session.user_id) if chosen.default == "roster" else {}
    found = []
    for room_id, peer in rooms:
        if not chosen.holds(peer, roster, doors.domains):
            continue
        # Where it was replaced both are the conversation (docs/mapping.md 21.4).
        for room in await doors.reader.lineage(room_id):
            # docs/mapping.md 19.2; one that is left is nobody's conversation any more
            if not room.encrypted and room.membership(session.user_id) == "join":
                found.append(_Conversation(session, room, peer, full))
    return found


async def _window(session: XmppSession, asked: ArchiveQuery) -> Window:
    """What limits the request. Raises Refused(NO_SUCH_EVENT) for an id that is not in the archive."""
    after, upto = BEGINNING, _END
    for event_id in (asked.after, asked.after_id):
        if event_id is not None:
            after = max(after, (await _item(session, event_id))[1].position)
    for event_id in (asked.before, asked.before_id):
        if event_id is not None:
            upto = min(upto, (await _item(session, event_id))[1].position - 1)
    return Window(after, upto, None, asked.start_ts_ms, asked.end_ts_ms, asked.says)


async def _item(session: XmppSession, event_id: EventId) -> tuple[RoomId, HistoryItem]:
    reader = session.doors.reader
    for newest, _ in await session.direct.direct_rooms(session.user_id, MAX_ROOMS):
        for room in await reader.lineage(newest):
            try:
                return room.room_id, await reader.event(room.room_id, event_id, session.user_id)
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_EVENT:
                    raise
    raise Refused(Refusal.NO_SUCH_EVENT)


async def _merged(
    conversations: list[_Conversation], window: Window, *, backward: bool, limit: int
) -> Gathered[Archived]:
    """One page over all of them. Where one has more than its part of the page, the page ends there at the latest."""
    kept: list[Archived] = []
    end: int | None = None
    more, complete = False, True
    for one in conversations:
        if one.room.last_position <= window.after:
            continue
        found = await one.read(window, backward=backward, limit=limit)
        complete = complete and found.complete
        if found.more or not found.complete:
            more = True
            last = (found.items[0] if backward else found.items[-1]).position if found.items else None
            if last is not None:
                end = last if end is None else max(end, last) if backward else min(end, last)
        merged = cut_to((*kept, *found.items), limit, backward=backward)
        kept, more = list(merged.items), more or merged.more
        await asyncio.sleep(0)  # hundreds of rooms: others have their turn in between
    within = [one for one in kept if end is None or (one.position >= end if backward else one.position <= end)]
    return Gathered(tuple(within), more or len(within) < len(kept), complete)


async def _by_ids(
    session: XmppSession, asked: ArchiveQuery, window: Window, conversations: dict[RoomId, _Conversation]
) -> Gathered[Archived]:
    """spec: XEP-0313 4.1.3: item-not-found if any of them is not in the archive."""
    found: list[Archived] = []
    for event_id in asked.ids:
        room_id, item = await _item(session, event_id)
        one = conversations.get(room_id)
        shown = None if one is None else await one.one(item, window)
        if shown is not None:
            found.append(shown)
    return cut_to(found, asked.limit, backward=asked.backward)
