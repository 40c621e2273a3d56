"""What was said before: CHATHISTORY, one form of the history query.

A page is a window of the channel's history: events after one cut and up to another (rooms/chain.py), read forwards or
backwards, and always sent oldest first.  What is redacted says nothing any more and is not counted.  Events that are no
messages (JOIN, MODE and so on) are for clients with draft/event-playback: playback.py.
spec: IRCv3 chathistory, batch-chathistory; docs/mapping.md 11.11, 14.1, 14.2, 14.6, 21.4.
Read next: tripoint/irc/references.py, tripoint/rooms/paging.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tripoint.core.errors import PeerError
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.in_words import is_spoken
from tripoint.irc import numerics as n
from tripoint.irc.entrance import is_closed_to
from tripoint.irc.playback import CAPABILITY as PLAYBACK
from tripoint.irc.playback import played, played_types
from tripoint.irc.references import Reference, UnknownReferenceType, parse_limit, parse_reference, parse_time
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import server_line, server_time
from tripoint.irc.replay import Place, Tagged, former_mask, said_lines
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_HISTORY
from tripoint.irc.wire import Line
from tripoint.rooms.chain import Chain, Cut, open_chain
from tripoint.rooms.history import ByEvent, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.paging import may_ask_for_history
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused

# Parameters of each subcommand, itself not counted.
_PARAMS = {"BEFORE": 3, "AFTER": 3, "LATEST": 3, "AROUND": 3, "BETWEEN": 4, "TARGETS": 3}
_NOT_TO_BE_HAD = "There is no such channel or nick, or none whose messages you may read"


@dataclass(frozen=True, slots=True)
class Said:
    """One message, in the room where it was said, and its lines; those in a batch of their own are counted as one."""

    where: Place
    item: HistoryItem
    lines: list[Tagged]

    @property
    def size(self) -> int:
        return 1 if any(tags and tags[0][0] == "batch" for _, tags in self.lines) else len(self.lines)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a reference stands: after `low` begins what follows it, up to `high` goes what precedes."""

    low: Cut
    high: Cut


@command("CHATHISTORY", cost=2, spec="IRCv3 chathistory")
async def chathistory(session: IrcSession, line: Line) -> None:
    """CHATHISTORY <subcommand> <target> <reference> [<reference>] <limit>, or TARGETS <time> <time> <limit>."""
    if "draft/chathistory" not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "CHATHISTORY", "Ask for the draft/chathistory capability first")
    asked = line.param(0).upper()
    params = line.params[1:]
    wanted = _PARAMS.get(asked)
    try:
        if wanted is None:
            raise PeerError("Unknown command")
        if len(params) != wanted:
            raise PeerError("Insufficient parameters" if len(params) < wanted else "Too many parameters")
        limit = parse_limit(params[-1], MAX_HISTORY)
    except PeerError as error:
        raise Failed("INVALID_PARAMS", echo(line.param(0)), text=str(error)) from None
    if asked == "TARGETS":
        await _targets(session, params[0], params[1], limit)
        return
    references = [_reference(asked, params[0], word) for word in params[1:-1]]
    place = await place_for(session, asked, params[0])
    lines: list[Tagged] = []
    if place is not None:
        try:
            lines = await _page(session, asked, place, references, limit)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_EVENT:
                raise
            raise Failed("MESSAGE_ERROR", asked, echo(params[0]), text="There is no such message here") from None
    name = params[0] if place is None else place.name
    if place is None and (peer := await session.network.find_user(name)) is not None:
        name = session.names.nick(peer)  # spec: "the canonical name of the target being queried"
    session.own_batch("chathistory", (name,), lines)


def _reference(asked: str, target: str, word: str) -> Reference | None:
    """A reference as it stands in the command; None for ``*``, which LATEST alone takes."""
    if word == "*" and asked == "LATEST":
        return None
    try:
        return parse_reference(word)
    except UnknownReferenceType as error:
        raise Failed("INVALID_MSGREFTYPE", asked, echo(target), text=str(error)) from None
    except PeerError as error:
        raise Failed("INVALID_PARAMS", asked, echo(word), text=str(error)) from None


# --- which room ----------------------------------------------------------------------------------------


async def place_for(session: IrcSession, asked: str, target: str) -> Place | None:
    """The room that a channel name or nick stands for; None where nothing was ever said to somebody.

    Raises Failed(INVALID_TARGET) for what does not exist or may not be read: the two look the same.
    """
    place = None
    if target.startswith("#"):
        room_id = await session.network.find_room(target, session.user_id)
        room = None if room_id is None else await session.reader.room(room_id)
        if room is not None and not is_closed_to(room, session) and may_ask_for_history(room, session.user_id):
            place = Place(room.room_id, session.names.channel(room))
    else:
        peer = await session.network.find_user(target)
        if peer is not None:
            room_id = await session.reader.direct_room(session.user_id, peer)
            if room_id is None:
                return None
            place = Place(room_id, session.names.nick(peer), peer)
    if place is None:
        raise Failed("INVALID_TARGET", asked, echo(target), text=_NOT_TO_BE_HAD)
    return place


# --- which messages ------------------------------------------------------------------------------------


async def _page(
    session: IrcSession, asked: str, place: Place, references: list[Reference | None], limit: int
) -> list[Tagged]:
    """The lines of one page, oldest first. Where the room was replaced, the page goes on in the one before (21.4)."""
    chain = await chain_of(session, place)
    at = [await _bounds(chain, reference) for reference in references if reference is not None]
    begin, now = chain.beginning, chain.now
    if asked == "BEFORE":
        return await window(session, place, chain, begin, at[0].high, Direction.BACKWARD, limit)
    if asked == "AFTER":
        return await window(session, place, chain, at[0].low, now, Direction.FORWARD, limit)
    if asked == "LATEST":
        return await window(session, place, chain, at[0].low if at else begin, now, Direction.BACKWARD, limit)
    if asked == "AROUND":
        older = await window(session, place, chain, begin, at[0].high, Direction.BACKWARD, limit // 2)
        # What the older half did not need is for the newer one, which begins with what was named.
        rest = max(1, limit - len(older))
        return older + await window(session, place, chain, at[0].high, now, Direction.FORWARD, rest)
    first, second = at
    # spec: chathistory BETWEEN: counted from the first selector, "forwards or backwards in time".
    if all(low <= high for low, high in zip(first.low, second.high, strict=True)):
        return await window(session, place, chain, first.low, second.high, Direction.FORWARD, limit)
    return await window(session, place, chain, second.low, first.high, Direction.BACKWARD, limit)


async def chain_of(session: IrcSession, place: Place) -> Chain:
    """The room and those before it, as far as they are open."""
    return await open_chain(
        session.reader, place.room_id, session.user_id, lambda older: not is_closed_to(older, session)
    )


async def _bounds(chain: Chain, reference: Reference) -> Bounds:
    """spec: chathistory: every reference is excluded itself (but by AROUND, which begins at `high`)."""
    if isinstance(reference, ByEvent):
        return Bounds(await chain.after(reference.event_id), await chain.before(reference.event_id))
    return Bounds(await chain.before_time(reference.ts_ms + 1), await chain.before_time(reference.ts_ms))


async def window(
    session: IrcSession,
    place: Place,
    chain: Chain,
    after: Cut,
    upto: Cut,
    direction: Direction,
    limit: int,
    *,
    play: bool | None = None,
    senders: tuple[UserId, ...] | None = None,
    says: str | None = None,
    stamped: bool = False,
) -> list[Tagged]:
    """Up to `limit` lines of what happened after one cut and up to another; an event's lines stay together.

    `play`: with what is no message; None: if the client reads it. `senders` and `says` narrow as in HistoryQuery.
    `stamped`: with the time in the text.
    """
    if limit < 1:
        return []
    if play is None:
        play = PLAYBACK in session.caps
    query = HistoryQuery(
        room_id=place.room_id,
        viewer=session.user_id,
        direction=direction,
        types=played_types(direct=place.peer is not None) if play else None,
        spoken=True,
        senders=senders,
        says=says,
        with_replaced=play,
        limit=limit,
    )
    gone: dict[EventId, Event] = {}

    def show(room: RoomView, item: HistoryItem) -> Said | None:
        where = replace(place, room_id=room.room_id)
        if is_spoken(item.event):
            lines = said_lines(session, where, item, former_mask(session, item, None), stamped=stamped)
        else:
            lines = _played(session, where, item, gone)
        return Said(where, item, lines) if lines else None

    async def look_up(room: RoomView, items: Sequence[HistoryItem]) -> None:
        for item in items:
            target = item.event.redacts
            if target is not None and target not in gone:
                try:
                    gone[target] = (await session.reader.event(room.room_id, target, session.user_id)).event
                except Refused as refused:
                    if refused.refusal is not Refusal.NO_SUCH_EVENT:
                        raise

    page = await chain.gather(query, after, upto, show, lambda said: said.size, look_up)
    if not page.complete:
        text = "Older messages could not be had from other servers"
        session.standard("NOTE", "CHATHISTORY", "PARTIAL", place.name, text=text)
    found: list[Tagged] = []
    for said in page.items:
        sender, position, where = said.item.event.sender, said.item.position, said.where
        if is_spoken(said.item.event) and session.names.is_past_guest(sender):
            name = await session.reader.displayname_at(where.room_id, sender, position)
            mask = former_mask(session, said.item, name)
            found += said_lines(session, where, said.item, mask, stamped=stamped)
        else:
            found += said.lines
    return found


def _played(session: IrcSession, place: Place, item: HistoryItem, gone: Mapping[EventId, Event]) -> list[Tagged]:
    """The lines of an event that is no message, as far as the client reads them."""
    room = session.reader.peek(place.room_id)
    if room is None:
        return []
    event = item.event
    target = place.name if place.peer is None or event.sender == session.user_id else session.nick
    outs = played(session.names, room, target, item, None if event.redacts is None else gone.get(event.redacts))
    return [line for out in outs if session.hears(out) for line in out.lines(session.audience)]


# --- which conversations -------------------------------------------------------------------------------


async def _targets(session: IrcSession, first: str, second: str, limit: int) -> None:
    """Channels and people by the time of what was said last.  spec: chathistory "TARGETS"

    The times are excluded, and the limit is counted from the first one, as in BETWEEN.
    """
    start, end = (_target_time(word) for word in (first, second))
    found: list[tuple[int, str]] = []
    async for place in conversations(session):
        said_ts_ms = await said_at(session, place, Direction.BACKWARD)
        if said_ts_ms is not None and min(start, end) < said_ts_ms < max(start, end):
            found.append((said_ts_ms, place.name))
    found.sort()
    found = found[:limit] if start <= end else found[-limit:]
    server = session.names.server
    lines: list[Tagged] = [
        (server_line(server, "CHATHISTORY", ("TARGETS", name, server_time(ts_ms))), []) for ts_ms, name in found
    ]
    session.own_batch("draft/chathistory-targets", (), lines)


def _target_time(word: str) -> int:
    kind, _, value = word.partition("=")
    try:
        if kind != "timestamp":
            raise PeerError("Invalid timestamp")
        return parse_time(value)
    except PeerError as error:
        raise Failed("INVALID_PARAMS", "TARGETS", echo(word), text=str(error)) from None


async def conversations(session: IrcSession) -> AsyncIterator[Place]:
    """The channels that one is in and the people that one talks with."""
    memberships = await session.reader.memberships(session.user_id)
    for room_id, membership in list(memberships.items()):
        if membership != "join":
            continue
        newest = await session.reader.newest(room_id)
        if newest != room_id and memberships.get(newest) == "join":
            continue  # it is a part of that one's history
        await asyncio.sleep(0)  # hundreds of rooms: others have their turn in between
        place = await known_place(session, room_id)
        if place is not None:
            yield place


async def known_place(session: IrcSession, room_id: RoomId) -> Place | None:
    """A joined room as something that can be asked for; None for one that cannot."""
    room = await session.reader.room(room_id)
    if room.encrypted:
        return None
    direct, peer = await session.network.channels.direct_peer(room, session.user_id)
    if not direct:
        return Place(room_id, session.names.channel(room))
    # Of several direct rooms with somebody his nick stands for one.
    if peer is None or await session.reader.direct_room(session.user_id, peer) != room_id:
        return None
    return Place(room_id, session.names.nick(peer), peer)


async def said_at(session: IrcSession, place: Place, direction: Direction) -> int | None:
    """When something was said that one may read, first (FORWARD) or last (BACKWARD): ms since 1970."""
    query = HistoryQuery(
        room_id=place.room_id,
        viewer=session.user_id,
        direction=direction,
        spoken=True,
        limit=1,
        only_here=True,
    )

    def show(room: RoomView, item: HistoryItem) -> int | None:
        where = replace(place, room_id=room.room_id)
        said = said_lines(session, where, item, former_mask(session, item, None))
        return item.event.origin_server_ts if said else None

    chain = await chain_of(session, place)
    page = await chain.gather(query, chain.beginning, chain.now, show)
    return page.items[0] if page.items else None
