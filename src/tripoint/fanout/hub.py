"""Who hears of a change: watchers of a room, servers of users.

Each front end watches a room once, whoever of its sessions is in it, and spreads the change over them itself:
it renders once per audience. Delivery is a plain call in commit order; a watcher must not await, and an
exception in one is counted and does not reach the others.
"""

from collections.abc import Callable

from tripoint.core.ids import RoomId
from tripoint.rooms.changes import EventCommitted, RoomChange, UserChange

RoomWatcher = Callable[[RoomChange], None]
UserWatcher = Callable[[UserChange], None]
Report = Callable[[str, BaseException], None]


class Hub:
    """The table of watchers of one process. `report(where, error)` hears of a watcher that raised."""

    def __init__(self, report: Report) -> None:
        self._rooms: dict[RoomId, list[RoomWatcher]] = {}
        self._everything: list[RoomWatcher] = []
        self._of_messages: list[RoomWatcher] = []
        self._users: list[UserWatcher] = []
        self._report = report

    def watch_room(self, room_id: RoomId, watcher: RoomWatcher) -> None:
        """`watcher` hears of every change of this room from now on, in order."""
        self._rooms.setdefault(room_id, []).append(watcher)

    def unwatch_room(self, room_id: RoomId, watcher: RoomWatcher) -> None:
        watchers = self._rooms[room_id]
        watchers.remove(watcher)
        if not watchers:
            del self._rooms[room_id]

    def is_watched(self, room_id: RoomId) -> bool:
        return room_id in self._rooms

    def watch_all_rooms(self, watcher: RoomWatcher, *, messages: bool = True) -> None:
        """For readers that serve all rooms by position (Matrix sync, federation, push).

        Without `messages` it does not hear of events that are neither state nor redactions, which most are.
        """
        self._everything.append(watcher)
        if messages:
            self._of_messages.append(watcher)

    def watch_users(self, watcher: UserWatcher) -> None:
        """`watcher` hears of every user change; it filters by the users it serves."""
        self._users.append(watcher)

    def room_changed(self, change: RoomChange) -> None:
        """Deliver to the room's watchers, then to those of all rooms."""
        watchers = self._rooms.get(change.room_id)
        if watchers is not None:
            # A copy: a watcher may leave the room while it hears of its own departure.
            for watcher in tuple(watchers):
                try:
                    watcher(change)
                except Exception as error:  # a bug in one front end must not stop the others
                    self._report("fanout.room_watcher", error)
        everything = self._everything
        if type(change) is EventCommitted:
            if change.only_for is not None:
                return  # it has no place in the stream
            if change.event.state_key is None and change.event.type != "m.room.redaction":
                everything = self._of_messages
        for watcher in everything:
            try:
                watcher(change)
            except Exception as error:
                self._report("fanout.room_watcher", error)

    def user_changed(self, change: UserChange) -> None:
        for watcher in self._users:
            try:
                watcher(change)
            except Exception as error:  # a bug in one front end must not stop the others
                self._report("fanout.user_watcher", error)
