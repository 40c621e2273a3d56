"""What was said with certain words: SEARCH.

One channel or conversation is a window of its history, narrowed; without `in` it is all of them at once.  Lines come as
in CHATHISTORY, oldest first.  Rooms that cannot be named here (left, encrypted) are left out.
spec: IRCv3 search (proposal 496); docs/mapping.md 14.5.  Read next: commands/history.py, rooms/searching.py.
"""

from dataclasses import dataclass
from typing import Final

from tripoint.core.errors import PeerError
from tripoint.core.ids import UserId
from tripoint.core.in_words import is_spoken
from tripoint.core.searchable import BODY
from tripoint.core.words import read_question
from tripoint.irc import numerics as n
from tripoint.irc.commands.history import chain_of, known_place, place_for, window
from tripoint.irc.references import parse_limit, parse_time
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.replay import Place, Tagged, former_mask, said_lines
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_HISTORY
from tripoint.irc.wire import Line, parse_tags
from tripoint.rooms.history import Direction, HistoryItem, SearchQuery

CAPABILITIES: Final = ("draft/search", "soju.im/search")
DEFAULT_LIMIT: Final = 50
_ATTRIBUTES: Final = frozenset({"in", "from", "after", "before", "text", "limit"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The attributes of one search. Times are ms since 1970, both included."""

    place: Place | None
    sender: UserId | None
    after_ts_ms: int | None
    before_ts_ms: int | None
    text: str | None
    limit: int


@command("SEARCH", cost=4, spec="IRCv3 search")
async def search(session: IrcSession, line: Line) -> None:
    """SEARCH <attributes>: in, from, after, before, text, limit, written as message tags are."""
    cap = next((cap for cap in CAPABILITIES if cap in session.caps), None)
    if cap is None:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "SEARCH", "Ask for the draft/search capability first")
    attributes = parse_tags(line.param(0).encode())
    wanted = await _read(session, attributes)
    lines: list[Tagged] = []
    if wanted is not None:
        lines = await (_in_one(session, wanted, wanted.place) if wanted.place else _in_all(session, wanted))
    session.own_batch("search" if cap == "draft/search" else cap, (), lines)


async def _read(session: IrcSession, attributes: dict[str, str]) -> Wanted | None:
    """What is asked for; None where it can have no answer: nobody has that name, or nothing was ever said to them."""
    for name in attributes:
        if name not in _ATTRIBUTES:
            raise Failed("INVALID_PARAMS", echo(name), text="Invalid parameters: there is no such attribute")
    try:
        limit = parse_limit(attributes["limit"], MAX_HISTORY) if "limit" in attributes else DEFAULT_LIMIT
        after, before = (
            parse_time(attributes[name]) if name in attributes else None for name in ("after", "before")
        )
    except PeerError as error:
        raise Failed("INVALID_PARAMS", text=f"Invalid parameters: {error}") from None
    text = attributes.get("text")
    if text is not None and not read_question(text):
        raise Failed("INVALID_PARAMS", "text", text="Invalid parameters: there is no word in that text")
    target, nick = attributes.get("in"), attributes.get("from")
    if target is None and text is None:
        raise Failed("INVALID_PARAMS", "text", text="Invalid parameters: name a text, or a channel or nick with in=")
    sender = None if nick is None else await session.network.find_user(nick)
    place = None
    if target is not None:
        try:
            place = await place_for(session, "in", target)
        except Failed as failed:
            # spec: search: "If the selectors were invalid, the INVALID_PARAMS error code SHOULD be returned."
            raise Failed("INVALID_PARAMS", "in", text=f"Invalid parameters: {failed.text}") from None
        if place is None:
            return None
    if nick is not None and sender is None:
        return None
    return Wanted(place, sender, after, before, text, limit)


async def _in_one(session: IrcSession, wanted: Wanted, place: Place) -> list[Tagged]:
    """spec: search: from `after` on if it is given, otherwise from `before` back; both included."""
    chain = await chain_of(session, place)
    low, high = chain.beginning, chain.now
    if wanted.after_ts_ms is not None:
        low = await chain.before_time(wanted.after_ts_ms)
    if wanted.before_ts_ms is not None:
        high = await chain.before_time(wanted.before_ts_ms + 1)
    direction = Direction.BACKWARD if wanted.after_ts_ms is None else Direction.FORWARD
    senders = None if wanted.sender is None else (wanted.sender,)
    return await window(
        session, place, chain, low, high, direction, wanted.limit, play=False, senders=senders, says=wanted.text
    )


async def _in_all(session: IrcSession, wanted: Wanted) -> list[Tagged]:
    query = SearchQuery(
        viewer=session.user_id,
        text=wanted.text or "",
        keys=(BODY,),
        senders=None if wanted.sender is None else (wanted.sender,),
        after_ts_ms=wanted.after_ts_ms,
        before_ts_ms=wanted.before_ts_ms,
        limit=wanted.limit,
    )
    found: list[tuple[int, list[Tagged]]] = []
    joined = await session.reader.memberships(session.user_id)
    for hit in (await session.reader.search(query)).hits:
        if joined.get(hit.room_id) != "join":
            continue
        place = await known_place(session, hit.room_id)
        lines = [] if place is None else _lines(session, place, hit.item)
        if lines:
            found.append((hit.item.event.origin_server_ts, lines))
    found.sort(key=lambda entry: entry[0])
    return [line for _, lines in found for line in lines]


def _lines(session: IrcSession, place: Place, item: HistoryItem) -> list[Tagged]:
    if not is_spoken(item.event):
        return []
    return said_lines(session, place, item, former_mask(session, item, None))
