"""One destination: what is to be said to it, what it missed, when it is tried again. No I/O.

A lane holds references to events of the log, so many of them and no more; a server that does not answer, or is that
slow, has its events replaced by the names of the rooms in which it missed something. So a server that is away costs
one entry for each room, whatever is said there. spec: Matrix server-server-api "Transactions"
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject, encode_lenient
from tripoint.core.ids import ServerName
from tripoint.rooms.outbox import DestinationRow, MissedRow, Outgoing, UnansweredRow

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
# What is true for seconds: it is not said again when the transaction that held it is.
FLEETING: Final = frozenset({"m.typing", "m.presence"})

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


class Direct(Struct, frozen=True):
    """The messages to devices that a transaction holds: how many, and the position of the last of them. They wait in a
    queue of their own (accounts/to_device.py) until they have arrived."""

    count: int = 0
    upto: int = 0


NO_DIRECT: Final = Direct()


class Parcel:
    """One transaction on its way, and what it takes back with it if it does not arrive.

    `txn_id`, `origin` and `sent_at_ms` are set by seal(), when nothing more goes into it.
    """

    __slots__ = ("direct", "edus", "entries", "origin", "pdus", "rooms", "sent_at_ms", "txn_id")

    def __init__(self) -> None:
        self.entries: list[Outgoing] = []
        self.rooms: dict[int, int] = {}
        self.pdus: list[bytes] = []
        self.edus: list[Edu] = []
        self.direct = NO_DIRECT
        self.txn_id = ""
        self.origin = ServerName("")
        self.sent_at_ms = 0

    def seal(self, txn_id: str, origin: ServerName, now_ms: int) -> bytes:
        """Give it its id; the transaction as canonical JSON. Stored events are canonical as they are."""
        self.txn_id, self.origin, self.sent_at_ms = txn_id, origin, now_ms
        return self.body(self.edus)

    def body(self, edus: Sequence[Edu]) -> bytes:
        return b'{"edus":[%s],"origin":%s,"origin_server_ts":%d,"pdus":[%s]}' % (
            b",".join(edu.encoded() for edu in edus),
            encode_lenient(self.origin),
            self.sent_at_ms,
            b",".join(self.pdus),
        )


class Unanswered:
    """A transaction that was sent and not acknowledged: it comes before any other, under its own id.

    `body` is None where it was written down, and is to be read again. `rooms`: those that it tells of, with the
    position from which the server lacks something there even when it has arrived (None: nothing). What it tells of
    counts as missed all the same, so that nothing is lost with it. `direct`: what of the queue of messages it holds.
    """

    __slots__ = ("body", "direct", "rooms", "txn_id")

    def __init__(
        self, txn_id: str, body: bytes | None, rooms: Iterable[int] = (), direct: Direct = NO_DIRECT
    ) -> None:
        self.txn_id = txn_id
        self.body = body
        self.direct = direct
        self.rooms: dict[int, int | None] = dict.fromkeys(rooms)


class Lane:
    """See the module. Positions of the log say how far the server is."""

    __slots__ = (
        "_changed_rooms", "_changed_unanswered", "_pdu_bytes", "_row", "_row_lost", "busy", "direct_limit",
        "direct_upto", "edus", "failing", "has_direct", "missed", "parcel", "pending", "position", "queued", "server",
        "tried_at_ms", "unanswered",
    )  # fmt: skip

    def __init__(self, server: ServerName) -> None:
        self.server = server
        self.position = 0
        self.pending: deque[Outgoing] = deque()
        self.missed: dict[int, int] = {}  # room -> the position from which it lacks something
        self.edus: dict[EduKey, Edu] = {}
        self.failing: Failing | None = None
        self.parcel: Parcel | None = None
        self.unanswered: Unanswered | None = None
        self.busy = self.queued = False
        self.tried_at_ms = 0
        # Messages to devices: whether some wait, up to where they were taken, how many go at a time.
        self.has_direct = False
        self.direct_upto = 0
        self.direct_limit = MAX_EDUS
        self._changed_rooms: set[int] = set()
        self._changed_unanswered = False
        self._row: DestinationRow | None = None
        self._row_lost = False
        self._pdu_bytes = 0

    @property
    def has_work(self) -> bool:
        return bool(self.unanswered or self.pending or self.missed or self.edus or self.has_direct)

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

    def restore_unanswered(self, txn_id: str) -> None:
        """What it told of is not known any more: that is told twice, and known there by its ids."""
        self.unanswered = Unanswered(txn_id, None)

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

    def lack_device(self, position: int, replaced: int = 0) -> None:
        """A change of a user's device (outgoing_devices.py) is to be told; the one at `replaced` is outdated by it.

        It is kept as what was missed is: under minus its position, where no room is.
        """
        self._miss(-position, position)
        if replaced and self.missed.pop(-replaced, None) is not None:
            self._changed_rooms.add(-replaced)

    def lack_room(self, room_key: int, since: int) -> None:
        """It lacks something of a room since a position, which no event that comes now tells."""
        self._miss(room_key, since)

    def _miss(self, room_key: int, since: int) -> None:
        known = self.missed.get(room_key)
        if known is None or since < known:
            self.missed[room_key] = since
            self._changed_rooms.add(room_key)
        if self.unanswered is not None and room_key in self.unanswered.rooms:
            after = self.unanswered.rooms[room_key]
            self.unanswered.rooms[room_key] = since if after is None else min(since, after)

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

    def direct_room(self) -> tuple[int, int]:
        """How many messages to devices the transaction has place for, and how many bytes."""
        assert self.parcel is not None, "a transaction is being packed"
        return min(self.direct_limit, MAX_EDUS - len(self.parcel.edus)), MAX_BODY_BYTES - self._pdu_bytes

    def add_direct(self, edus: Sequence[Edu], upto: int) -> None:
        """Put the next messages of the queue into the transaction."""
        assert self.parcel is not None, "a transaction is being packed"
        self.parcel.edus.extend(edus)
        self.parcel.direct = Direct(len(edus), upto)

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
        self._direct_arrived(parcel.direct)
        self._changed_rooms.update(parcel.rooms)
        if parcel.entries:
            self.position = max(self.position, parcel.entries[-1].position)

    def arrived_at_last(self) -> None:
        """The one that was unanswered was acknowledged."""
        unanswered, self.unanswered = self.unanswered, None
        assert unanswered is not None, "a transaction was not answered"
        self._changed_unanswered = True
        self._direct_arrived(unanswered.direct)
        self._changed_rooms.update(unanswered.rooms)
        for room_key, after in unanswered.rooms.items():
            if after is None:
                self.missed.pop(room_key, None)
            else:
                self.missed[room_key] = after

    def _direct_arrived(self, direct: Direct) -> None:
        self.direct_upto = max(self.direct_upto, direct.upto)
        self.direct_limit = min(MAX_EDUS, self.direct_limit * 2)

    def give_up(self) -> int:
        """Nothing will come of the one that is unanswered. What it told of is missed.

        Messages to devices that it held go one by one from now on, since one of them may be why; the position of a
        single one that will never be taken is returned, else 0.
        """
        self._changed_unanswered = self._changed_unanswered or self.unanswered is not None
        direct = self.unanswered.direct if self.unanswered is not None else NO_DIRECT
        self.unanswered = None
        if not direct.count:
            return 0
        self.direct_limit = 1
        if direct.count > 1:
            return 0
        self.direct_upto = max(self.direct_upto, direct.upto)
        return direct.upto

    def failed(self, now_ms: int, chance: float) -> None:
        """It was not: everything that waits is missed from now on, and what nobody keeps is dropped."""
        self.failing = next_failing(self.failing, now_ms, chance)
        self.hold()
        for edu in self.edus.values():
            if edu.position is not None:
                self._miss(edu.room_key, edu.position)
        self.edus.clear()
        self._fall_behind()

    def retry_by(self, at_ms: int) -> None:
        """It may be up: try again at this time, if that is sooner."""
        if self.failing is not None and at_ms < self.failing.retry_at_ms:
            self.failing = Failing(self.failing.since_ms, at_ms, self.failing.interval_ms)

    def hold(self) -> None:
        """What is on its way may have arrived, or not: it is unanswered, if it was sent at all."""
        parcel, self.parcel = self.parcel, None
        if parcel is None:
            return
        edus = [edu for edu in parcel.edus if edu.kind not in FLEETING]
        rooms = {*parcel.rooms, *(entry.room_key for entry in parcel.entries)}
        rooms |= {edu.room_key for edu in edus if edu.position is not None}
        # One that is missed beside it lacks something that came before.
        rooms -= self.missed.keys()
        for room_key, since in parcel.rooms.items():
            self._miss(room_key, since)
        for entry in parcel.entries:
            self._miss(entry.room_key, entry.position)
        for edu in edus:
            if edu.position is not None:
                self._miss(edu.room_key, edu.position)
        self.has_direct = self.has_direct or bool(parcel.direct.count)
        if not parcel.txn_id or not (parcel.pdus or edus):
            return
        self.unanswered = Unanswered(parcel.txn_id, parcel.body(edus), rooms, parcel.direct)
        self._changed_unanswered = True

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

    def rows(self, floor: int) -> tuple[list[DestinationRow], list[MissedRow], list[UnansweredRow]]:
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
        held = []
        if self._changed_unanswered:
            self._changed_unanswered = False
            kept = self.unanswered
            held.append(UnansweredRow(self.server, kept.txn_id if kept else None, (kept and kept.body) or b""))
        return destinations, missed, held

    def rows_written(self, unanswered: Sequence[UnansweredRow]) -> None:
        """A body that is written down is not kept here: a thousand servers may be away."""
        for row in unanswered:
            if self.unanswered is not None and self.unanswered.txn_id == row.txn_id:
                self.unanswered.body = None

    def rows_lost(self, missed: Sequence[MissedRow], unanswered: Sequence[UnansweredRow]) -> None:
        """They could not be written: they are due again."""
        self._row_lost = True
        self._changed_rooms.update(row.room_key for row in missed)
        self._changed_unanswered = self._changed_unanswered or bool(unanswered)

    def is_settled(self, floor: int) -> bool:
        """Whether nothing of it needs to be remembered."""
        written = self._row is None and not (self._row_lost or self._changed_rooms or self._changed_unanswered)
        return written and self.is_quiet and self.position <= floor
