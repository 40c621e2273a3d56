"""One destination: what is to be said to it, what it missed, when it is tried again. No I/O.

A lane holds references to events of the log, so many of them and no more; a server that does not answer, or is that
slow, has its events replaced by the names of the rooms in which it missed something. So a server that is away costs
one entry for each room, whatever is said there. spec: Matrix server-server-api "Transactions"
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject, encode_lenient
from tripoint.core.ids import ServerName
from tripoint.rooms.outbox import DestinationRow, MissedRow, Outgoing

# spec: "they can have at most 50 PDUs and 100 EDUs".
MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
# Events that wait for a server that answers. Behind this the rest is left to be asked for.
MAX_PENDING: Final = 1000
# A transaction is no longer than what other servers are sure to take: some have proxies with small limits.
MAX_BODY_BYTES: Final = 50 * 65_536
# Waiting after a failure: doubled from one try to the next, minutes at most while it was up within the hour.
FIRST_WAIT_MS: Final = 10_000
RECENT_WAIT_MS: Final = 5 * 60_000
LONGEST_WAIT_MS: Final = 60 * 60_000
RECENT_MS: Final = 60 * 60_000

EduKey = tuple[str, ...]


class Edu(Struct, frozen=True):
    """What is told and not kept. One that has a `position` is kept by the room (a receipt), and can be told later."""

    kind: str
    content: JsonObject
    room_key: int = 0
    position: int | None = None

    def encoded(self) -> bytes:
        return encode_lenient({"edu_type": self.kind, "content": self.content})


class Failing(Struct, frozen=True):
    """A server that does not answer."""

    since_ms: int
    retry_at_ms: int
    interval_ms: int


def next_failing(before: Failing | None, now_ms: int, chance: float) -> Failing:
    """After one more failure. `chance` (0 to 1) spreads the retries of many."""
    if before is None:
        return Failing(now_ms, now_ms + int(FIRST_WAIT_MS * (0.5 + chance)), FIRST_WAIT_MS)
    recent = now_ms - before.since_ms < RECENT_MS
    interval_ms = min(before.interval_ms * 2, RECENT_WAIT_MS if recent else LONGEST_WAIT_MS)
    return Failing(before.since_ms, now_ms + int(interval_ms * (0.75 + chance / 2)), interval_ms)


class Parcel:
    """One transaction on its way, and what it takes back with it if it does not arrive."""

    __slots__ = ("edus", "entries", "pdus", "rooms")

    def __init__(self) -> None:
        self.entries: list[Outgoing] = []
        self.rooms: dict[int, int] = {}
        self.pdus: list[bytes] = []
        self.edus: list[Edu] = []

    def body(self, server: ServerName, now_ms: int) -> bytes:
        """The transaction as canonical JSON. Stored events are canonical as they are."""
        return b'{"edus":[%s],"origin":%s,"origin_server_ts":%d,"pdus":[%s]}' % (
            b",".join(edu.encoded() for edu in self.edus),
            encode_lenient(server),
            now_ms,
            b",".join(self.pdus),
        )


class Lane:
    """See the module. Positions of the log say how far the server is."""

    __slots__ = (
        "_changed_rooms", "_pdu_bytes", "_row", "_row_lost", "busy", "edus", "failing", "missed", "parcel", "pending",
        "position", "queued", "server", "tried_at_ms",
    )  # fmt: skip

    def __init__(self, server: ServerName) -> None:
        self.server = server
        self.position = 0
        self.pending: deque[Outgoing] = deque()
        self.missed: dict[int, int] = {}  # room -> the position from which it lacks something
        self.edus: dict[EduKey, Edu] = {}
        self.failing: Failing | None = None
        self.parcel: Parcel | None = None
        self.busy = self.queued = False
        self.tried_at_ms = 0
        self._changed_rooms: set[int] = set()
        self._row: DestinationRow | None = None
        self._row_lost = False
        self._pdu_bytes = 0

    @property
    def has_work(self) -> bool:
        return bool(self.pending or self.missed or self.edus)

    @property
    def is_quiet(self) -> bool:
        return not (self.has_work or self.busy or self.queued or self.parcel or self.failing)

    def restore(self, row: DestinationRow) -> None:
        """Take up what was written down."""
        self._row = row
        self.position = row.position or 0
        if row.failing_since_ms:
            self.failing = Failing(row.failing_since_ms, row.retry_at_ms, row.interval_ms)

    def restore_missed(self, room_key: int, since: int) -> None:
        self.missed[room_key] = since

    # -- what is to be said

    def add(self, entry: Outgoing) -> None:
        """An event was committed."""
        if self.failing is None and entry.room_key not in self.missed:
            if len(self.pending) < MAX_PENDING:
                self.pending.append(entry)
                return
            self._fall_behind()
        self._miss(entry.room_key, entry.position)

    def add_edu(self, key: EduKey, edu: Edu) -> None:
        """Replaces what was said before under the same key. What is not kept anywhere is dropped where it cannot go
        out soon."""
        if self.failing is None and (key in self.edus or len(self.edus) < MAX_EDUS):
            self.edus.pop(key, None)
            self.edus[key] = edu
        elif edu.position is not None:
            self._miss(edu.room_key, edu.position)

    def _miss(self, room_key: int, since: int) -> None:
        known = self.missed.get(room_key)
        if known is None or since < known:
            self.missed[room_key] = since
            self._changed_rooms.add(room_key)

    def _fall_behind(self) -> None:
        for entry in self.pending:
            self._miss(entry.room_key, entry.position)
        self.pending.clear()

    # -- one transaction

    def pack(self) -> Parcel:
        """Begin the next transaction with what waits. Rooms in which something was missed are added by the sender,
        who has to read them: next_missed(), add_missed()."""
        self.parcel = parcel = Parcel()
        self._pdu_bytes = 0
        while self.pending and len(parcel.pdus) < MAX_PDUS and self._fits(self.pending[0].json):
            entry = self.pending.popleft()
            parcel.entries.append(entry)
            parcel.pdus.append(entry.json)
        for key in list(self.edus)[:MAX_EDUS]:
            parcel.edus.append(self.edus.pop(key))
        return parcel

    def next_missed(self) -> tuple[int, int] | None:
        """A room in which something was missed, and since when; None: there is none, or no place for it."""
        parcel = self.parcel
        if parcel is None or not self.missed or len(parcel.pdus) >= MAX_PDUS or len(parcel.rooms) >= MAX_PDUS:
            return None
        room_key = next(iter(self.missed))
        since = self.missed.pop(room_key)
        # It stays written down until the transaction has arrived.
        parcel.rooms[room_key] = since
        return room_key, since

    def add_missed(self, pdus: Sequence[bytes], edus: Sequence[Edu]) -> bool:
        """Put what a missed room comes to into the transaction; False: it does not fit, and is left for the next."""
        parcel = self.parcel
        assert parcel is not None, "a transaction is being packed"
        if len(parcel.edus) + len(edus) > MAX_EDUS and parcel.edus:
            return False
        if len(parcel.pdus) + len(pdus) > MAX_PDUS or not all(self._fits(pdu) for pdu in pdus):
            return False
        parcel.pdus.extend(pdus)
        # Of more receipts than a transaction holds the newest count. Without their positions: the room is written down.
        parcel.edus.extend(Edu(edu.kind, edu.content) for edu in edus[-MAX_EDUS:])
        return True

    def leave_missed(self, room_key: int) -> None:
        """The room goes into a later transaction."""
        assert self.parcel is not None, "a transaction is being packed"
        self._miss(room_key, self.parcel.rooms.pop(room_key))

    def _fits(self, pdu: bytes) -> bool:
        self._pdu_bytes += len(pdu)
        return self._pdu_bytes <= MAX_BODY_BYTES or self._pdu_bytes == len(pdu)

    def arrived(self) -> None:
        """The transaction was acknowledged."""
        parcel, self.parcel = self.parcel, None
        assert parcel is not None, "a transaction is on its way"
        self._changed_rooms.update(parcel.rooms)
        if parcel.entries:
            self.position = max(self.position, parcel.entries[-1].position)

    def failed(self, now_ms: int, chance: float) -> None:
        """It was not: everything that waits is missed from now on, and what nobody keeps is dropped."""
        parcel, self.parcel = self.parcel, None
        self.failing = next_failing(self.failing, now_ms, chance)
        if parcel is not None:
            for room_key, since in parcel.rooms.items():
                self._miss(room_key, since)
            for entry in parcel.entries:
                self._miss(entry.room_key, entry.position)
        for edu in (*(parcel.edus if parcel is not None else ()), *self.edus.values()):
            if edu.position is not None:
                self._miss(edu.room_key, edu.position)
        self.edus.clear()
        self._fall_behind()

    # -- what is written down

    def first_position(self) -> int | None:
        """The lowest position that was neither acknowledged nor written down as missed."""
        waiting = list(self.edus.values())
        found = [self.pending[0].position] if self.pending else []
        if self.parcel is not None:
            waiting += self.parcel.edus
            found += [entry.position for entry in self.parcel.entries[:1]]
        found += [edu.position for edu in waiting if edu.position is not None]
        return min(found, default=None)

    def rows(self, floor: int) -> tuple[list[DestinationRow], list[MissedRow]]:
        """What has to be written down with this floor."""
        failing = self.failing
        row = None
        if failing is not None:
            row = DestinationRow(
                self.server, self.position, failing.since_ms, failing.retry_at_ms, failing.interval_ms
            )
        elif self.position > floor:
            row = DestinationRow(self.server, self.position, 0, 0, 0)
        destinations = []
        if row != self._row or self._row_lost:
            destinations.append(row if row is not None else DestinationRow(self.server, None, 0, 0, 0))
            self._row, self._row_lost = row, False
        on_the_way = self.parcel.rooms if self.parcel is not None else {}
        missed = []
        for room_key in self._changed_rooms:
            since = self.missed.get(room_key)
            if room_key in on_the_way:
                since = on_the_way[room_key] if since is None else min(since, on_the_way[room_key])
            missed.append(MissedRow(self.server, room_key, since))
        self._changed_rooms.clear()
        return destinations, missed

    def rows_lost(self, missed: Sequence[MissedRow]) -> None:
        """They could not be written: they are due again."""
        self._row_lost = True
        self._changed_rooms.update(row.room_key for row in missed)

    def is_settled(self, floor: int) -> bool:
        """Whether nothing of it needs to be remembered."""
        written = self._row is None and not self._row_lost and not self._changed_rooms
        return written and self.is_quiet and self.position <= floor
