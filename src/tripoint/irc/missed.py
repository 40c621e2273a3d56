"""What an account's clients that do not ask for it themselves missed: shown when they attach to a room.

Up to 50 lines since the account's read marker, or since its last IRC client went, whichever is later; where there is
neither, nobody missed anything yet. spec: docs/mapping.md 5.1, 14.4.  Read next: entrance.py, markers.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tripoint.core.ids import RoomId, UserId
from tripoint.irc.entrance import is_closed_to
from tripoint.irc.markers import ReadMarkers
from tripoint.irc.replay import Place, Tagged, former_mask, said_lines
from tripoint.irc.tables import ZNC_PLAYBACK
from tripoint.rooms.chain import open_chain
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import NameTable, RoomReader, RoomView

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession

_SEEN: Final = "irc_seen"  # name table: account -> stream position up to which its IRC clients were told everything
MAX_LINES: Final = 50
# Who has one of these asks for what was said.
_ASK_THEMSELVES: Final = frozenset({"draft/chathistory", ZNC_PLAYBACK})
# A busy room moves on while it is read; this often the rest is read too.
_TRIES: Final = 20


class Missed:
    """Reads what is to be shown, and notes how far clients have heard."""

    def __init__(self, reader: RoomReader, table: NameTable, markers: ReadMarkers) -> None:
        self._reader = reader
        self._table = table
        self._markers = markers

    async def begin(self, session: IrcSession) -> None:
        """A session begins: since when it missed things."""
        if not session.account.guest and not session.caps & _ASK_THEMSELVES:
            seen = (await self._table.load_names(_SEEN, session.user_id)).get("position")
            session.missed_since = int(seen) if seen is not None and seen.isdecimal() else 0
        self.note(session.user_id)

    def note(self, user_id: UserId) -> None:
        """From here on things are missed. Noted at login and at the end: after a crash some lines come twice."""
        self._table.put_name(_SEEN, user_id, "position", str(self._reader.stream_position().of()))

    async def load(self, session: IrcSession, room: RoomView, *, former: bool = False) -> list[HistoryItem]:
        """What was said in a room meanwhile, oldest first, up to where the room is when this returns.

        `former`: in the rooms alone whose place it has taken, where the session hears this one already.
        """
        if session.missed_since is None:
            return []
        # What was said before the room was replaced was missed too (docs/mapping.md 21.4).
        chain = await open_chain(
            self._reader, room.room_id, session.user_id, lambda older: not is_closed_to(older, session)
        )
        since = tuple([await self._since(session.user_id, one.room_id, session.missed_since) for one in chain.rooms])
        if former:
            since = (chain.now[0], *since[1:])
        found: list[HistoryItem] = []
        query = HistoryQuery(
            room_id=room.room_id,
            viewer=session.user_id,
            direction=Direction.BACKWARD,
            spoken=True,
            limit=MAX_LINES,
            only_here=True,
        )
        for _ in range(_TRIES if session.missed_since else 0):
            upto = chain.now
            if all(low >= high for low, high in zip(since, upto, strict=True)):
                break
            found += (await chain.gather(query, since, upto, _unless_redacted)).items
            since = (max(since[0], upto[0]), *upto[1:])
            if former:
                break
        return found[-MAX_LINES:]

    async def before_joining(self, session: IrcSession, room: RoomView) -> list[HistoryItem]:
        """What was said before the user has joined, oldest first."""
        at = room.state_positions.get(("m.room.member", session.user_id), 0)
        query = HistoryQuery(
            room_id=room.room_id,
            viewer=session.user_id,
            direction=Direction.BACKWARD,
            anchor=ByPosition(at),
            spoken=True,
            limit=MAX_LINES,
            only_here=True,
        )
        page = await self._reader.history(query)
        return [item for item in reversed(page.items) if item.redacted_because is None]

    async def _since(self, user_id: UserId, room_id: RoomId, missed_since: int) -> int:
        """The stream position since which a user missed what was said in a room."""
        marker_ts_ms = await self._markers.load(user_id, room_id)
        if marker_ts_ms is None:
            return missed_since
        return max(missed_since, await self._reader.position_before(room_id, marker_ts_ms + 1))

    def show(self, session: IrcSession, place: Place, items: list[HistoryItem]) -> None:
        """Lines with their times, in a batch for who knows batches."""
        stamped = "server-time" not in session.caps
        lines: list[Tagged] = []
        for item in reversed(items):
            more = said_lines(session, place, item, former_mask(session, item, None), stamped=stamped)
            if lines and len(lines) + len(more) > MAX_LINES:
                break
            lines[:0] = more
        if lines:
            session.own_batch("chathistory", (place.name,), lines)


def _unless_redacted(room: RoomView, item: HistoryItem) -> HistoryItem | None:
    return item if item.redacted_because is None else None
