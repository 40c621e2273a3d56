"""Which events of a room a user may see, by the history visibility at each event.

spec: Matrix client-server, module history_visibility, "Server behaviour". Visibility and membership over time
are read from the room's own state history, in stream order, so that a page costs two small queries and not one
state per event.
"""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence

from tripoint.core.event import load_event
from tripoint.core.ids import UserId
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.room import Room, member_of
from tripoint.store.interface import RoomStore, StoredEvent

# With these whoever is joined sees everything that was there before.
_OPEN = frozenset({"shared", "world_readable"})


class Sight:
    """What one user may see of one room. Built by load_sight(); reach() before may_see() is asked of some events.

    `memberships`: (position, what it became) from `low` on, or from before it; `low` 0: all of them.
    """

    def __init__(
        self,
        visibilities: Sequence[tuple[int, str]],
        memberships: Sequence[tuple[int, str]],
        *,
        low: int | None = None,
        load: Callable[[int, int], Awaitable[Sequence[tuple[int, str]]]] | None = None,
    ) -> None:
        self._visibilities = visibilities
        # What held before the first change that is known. Where a room was entered with a past that is not here, that
        # is what stood at the entrance (position 0), until the event that set it is fetched.
        self._first = visibilities[0][1] if visibilities and visibilities[0][0] == 0 else "shared"
        self._memberships = memberships
        self._low = low
        self._load = load
        self._last_join = max((position for position, what in memberships if what == "join"), default=0)
        # Joined without a break since: everything later is visible.
        self._since = memberships[-1][0] if memberships and memberships[-1][1] == "join" else None

    @property
    def _is_open(self) -> bool:
        """Whether who is joined sees everything, whenever it was said."""
        return self._first in _OPEN and all(visibility in _OPEN for _, visibility in self._visibilities)

    async def reach(self, low: int, *, memberships: bool = False) -> None:
        """Know the memberships from position `low` on. Somebody who came and went for years has thousands: only those
        that a page needs are read. `memberships`: for membership_at() too, not for may_see() alone."""
        if self._low is None or self._load is None or low >= self._low:
            return
        if not memberships and self._is_open:
            return
        self._memberships = [*await self._load(low, self._low - 1), *self._memberships]
        self._low = low

    def sees_all_from(self, position: int) -> bool:
        """Whether everything behind a position that may be seen may be seen too, up to now."""
        if self._since is None:
            return False
        return position >= self._since or self._is_open

    def membership_at(self, position: int) -> str:
        """What the user was at the event at `position`, which was reached for that, its own change included.

        spec: UnsignedData membership: `leave` before there was any
        """
        if self._since is not None and position >= self._since:
            return "join"
        return _at(self._memberships, position, "leave")

    def may_see(self, position: int, *, own_member_event: bool = False) -> bool:
        """Whether the event at `position` is visible.

        spec: module history_visibility: world_readable: always; shared: if joined at the event or at any time
        since; invited: if invited or joined at the event; joined: if joined at the event.
        """
        if own_member_event:
            return True
        if self._since is not None and position >= self._since:
            return True
        index = bisect_right(self._visibilities, position, key=lambda change: change[0])
        visibility = self._visibilities[index - 1][1] if index else self._first
        membership = _at(self._memberships, position, "leave")
        if self._allows(visibility, membership, position):
            return True
        # The change of visibility itself: what held before it or after it may allow it.
        if not index or self._visibilities[index - 1][0] != position:
            return False
        before = self._visibilities[index - 2][1] if index > 1 else self._first
        return self._allows(before, membership, position)

    def _allows(self, visibility: str, membership: str, position: int) -> bool:
        """Rules 1 to 5 of the specification."""
        if visibility == "world_readable" or membership == "join":
            return True
        if visibility == "shared":
            return self._last_join > position
        return visibility == "invited" and membership == "invite"


def _at(changes: Sequence[tuple[int, str]], position: int, before: str) -> str:
    index = bisect_right(changes, position, key=lambda change: change[0])
    return changes[index - 1][1] if index else before


async def load_sight(store: RoomStore, room: Room, user_id: UserId | None) -> Sight:
    """What `user_id` may see of `room`; None: somebody who never was there."""
    visible = await store.load_state_history(room.room_key, "m.room.history_visibility", "")
    visibilities = [(stored.place, _visibility(stored, room.version)) for stored in visible]
    if user_id is None:
        return Sight(visibilities, ())

    def memberships(past: Sequence[StoredEvent]) -> list[tuple[int, str]]:
        return [
            (stored.place, member_of(load_event(stored.json, stored.event_id, room.version)).membership)
            for stored in past
        ]

    async def load(low: int, upto: int) -> Sequence[tuple[int, str]]:
        return memberships(
            await store.load_state_changes(room.room_key, "m.room.member", user_id, after=low, upto=upto)
        )

    if room.membership(user_id) == "join":
        # Position 0: somebody of another server who was inside when this server came.
        since = room.state_positions.get(("m.room.member", user_id), 0)
        return Sight(visibilities, [(since, "join")], low=since, load=load)
    return Sight(
        visibilities, memberships(await store.load_state_history(room.room_key, "m.room.member", user_id))
    )


def _visibility(stored: StoredEvent, version: RoomVersion) -> str:
    value = load_event(stored.json, stored.event_id, version).content.get("history_visibility")
    # spec: a value that is not understood counts as shared.
    return value if value in ("world_readable", "shared", "invited", "joined") else "shared"
