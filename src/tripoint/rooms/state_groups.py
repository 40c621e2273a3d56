"""State groups: the stored states of rooms, written as deltas with a whole one now and then.

Only state events and merges of forks make a new group. A chain of deltas is broken off by a whole state once it
is long, or half as long as the state: reading a state walks at most that many rows, and a join costs one short
row. Reading them is states.py and loaded.py.
"""

from collections.abc import Mapping

from tripoint.rooms.room import Room, StateKey
from tripoint.store.writes import AddStateGroup, StateDelta, Write

MAX_CHAIN = 100


class StateGroups:
    """Mints groups for all rooms of this process. `highest` is the highest group in use."""

    def __init__(self, highest: int) -> None:
        self._highest = highest

    def after(self, room: Room, type_: str, state_key: str, event_key: int) -> AddStateGroup:
        """The head's new group: its state and one more event, which is in room.pending already."""
        self._highest += 1
        head = room.head
        base: int | None = head.group
        entries: StateDelta
        if head.group == 0 or head.deltas >= _chain_limit(room):
            base = None
            entries = tuple((*key, at) for key, at in room.head_keys().items())
            head.deltas, head.full = 0, len(entries)
        else:
            entries = ((type_, state_key, event_key),)
            head.deltas += 1
        head.group = self._highest
        return AddStateGroup(self._highest, room.room_key, base, entries)

    def holding(
        self,
        room: Room,
        state: Mapping[StateKey, int],
        base: int | None,
        base_state: Mapping[StateKey, int],
        unit: list[Write],
    ) -> int:
        """A group that holds `state`: `base` itself, a delta on it, or a whole new one, put into `unit`."""
        if base and state == base_state:
            return base
        self._highest += 1
        head = room.head
        entries = tuple((*key, at) for key, at in state.items() if base_state.get(key) != at)
        # How long another group's chain is, nobody counts: it is as long as the head's or shorter.
        deltas = head.deltas + len(entries)
        if not base or deltas > _chain_limit(room) or any(key not in state for key in base_state):
            # Deltas only add: where something is gone the state is written whole.
            base, entries = None, tuple((*key, at) for key, at in state.items())
            head.deltas, head.full = 0, len(entries)
        else:
            head.deltas = deltas
        unit.append(AddStateGroup(self._highest, room.room_key, base, entries))
        return self._highest


def _chain_limit(room: Room) -> int:
    return max(MAX_CHAIN, room.head.full // 2)
