"""What a process has heard of rooms since it started, as far as syncs ask for it: where something happened last, who
left lately, what devices sent themselves.

All of it can be found out otherwise, or is asked for within seconds: it is bounded, and gone with the process.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.render import Own
from tripoint.matrix.sync.ephemera import newer
from tripoint.rooms.changes import EventCommitted, MembershipChanged, StateReset
from tripoint.rooms.history import HistoryItem

# Transaction ids of recent events: a client asks for its own within seconds.
_TRANSACTIONS = 10_000
# Departures of all users that are remembered for rooms that end; a device that is online asks within seconds.
_DEPARTURES = 2_000


class Heard:
    """`started_at`: the position from which on everything is heard."""

    def __init__(self, started_at: int) -> None:
        self.started_at = started_at
        # As what an event was scheduled (rooms/delayed.py); set by who wires.
        self.delay_of: Callable[[str], str | None] = lambda _: None
        self._transactions: OrderedDict[str, tuple[str, str]] = OrderedDict()
        # Newest last. The room may have ended with its last member, or be forgotten on another device.
        self._departures: OrderedDict[tuple[RoomId, UserId], EventCommitted] = OrderedDict()
        self._room_at: dict[RoomId, int] = {}  # the newest event of each room, the newest last

    def happened(self, change: EventCommitted | StateReset) -> None:
        """An event, or a change without one, in a room."""
        self._room_at.pop(change.room_id, None)
        self._room_at[change.room_id] = change.position
        if not isinstance(change, EventCommitted):
            return
        origin = change.origin
        if origin is not None and origin.token is not None and origin.once:
            self._transactions[change.event.event_id] = (origin.session, origin.token)
            if len(self._transactions) > _TRANSACTIONS:
                self._transactions.popitem(last=False)

    def moved(self, change: MembershipChanged) -> None:
        """Somebody came or left."""
        # A resolution that took somebody out has no event for the timeline; the room's state tells it.
        if is_outside(change.membership) and isinstance(change.change, EventCommitted):
            self._departures[change.room_id, change.user_id] = change.change
            self._departures.move_to_end((change.room_id, change.user_id))
            if len(self._departures) > _DEPARTURES:
                self._departures.popitem(last=False)

    def last_in(self, room_id: RoomId) -> int:
        """A position after which nothing happened in a room."""
        return self._room_at.get(room_id, self.started_at)

    def rooms_since(self, position: int, most: int) -> list[RoomId] | None:
        """Rooms where anything happened after a position, not before `started_at`; None where they are more."""
        return newer(self._room_at, position, most)

    def departure(self, room_id: RoomId, user_id: UserId) -> EventCommitted | None:
        """How a user left a room lately."""
        return self._departures.get((room_id, user_id))

    def departures(self, user_id: UserId, position: int) -> Iterator[EventCommitted]:
        """How a user left rooms after a position, the newest first."""
        for (_, who), change in reversed(self._departures.items()):
            if change.position <= position:
                break
            if who == user_id:
                yield change

    def own_transactions(self, items: Sequence[HistoryItem], session: str) -> dict[str, Own]:
        """event id -> by what this device knows it, of the events that it or its user sent."""
        own: dict[str, Own] = {}
        for item in items:
            found = self.own(item.event, session)
            if found is not None:
                own[item.event.event_id] = found
        return own

    def own(self, event: Event, session: str) -> Own | None:
        """By what a device knows an event that it sent, or that was sent later for its user; None for others."""
        found = self._transactions.get(event.event_id)
        transaction_id = found[1] if found is not None and found[0] == session else None
        delay_id = self.delay_of(event.event_id)
        if delay_id is not None and session.rpartition("/")[0] != event.sender:
            delay_id = None
        return None if transaction_id is None and delay_id is None else Own(transaction_id, delay_id)


def is_outside(membership: str) -> bool:
    return membership in ("leave", "ban")
