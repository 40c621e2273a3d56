"""Connections: what each client was told on each of its sync loops, kept in memory and bounded.

A client asks with the pos of the last answer that it has processed. Until then that answer may be lost, so a
connection keeps two states: the one that the client is known to have, and the one after the answer that it may have.
One that is not here any more (a restart, too many others) is answered M_UNKNOWN_POS, and the client begins anew.
spec: MSC4186 "Connections"
"""

import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tripoint.accounts.device_keys import KeyCounts
from tripoint.core.ids import DeviceId, RoomId, UserId
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.sliding.lists import Window
from tripoint.matrix.sliding.places import Marks, Place
from tripoint.matrix.sliding.request import Config, ListWanted, Request
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.unread import Count

# Element X has two or three; more names from one device push its oldest out.
PER_DEVICE: Final = 8
# Of all devices together; one of somebody in a hundred rooms is some 50 kB.
MAX_CONNECTIONS: Final = 5_000
# Members of one room that a lazily loading client is remembered to know; beyond, some are told again.
MAX_MEMBERS: Final = 500
_POS: Final = re.compile(r"s[0-9.~a-z-]{3,2100}~k(\d{1,15})\.(\d{1,15})\Z")

_NO_ROOMS: Final[frozenset[RoomId]] = frozenset()


class Told(Struct, frozen=True, kw_only=True):
    """What a client knows of a room: everything that `config` wants up to `position`.

    `membership` and `moved` are the user's own and the position of the event that made it so. All visible events after
    `start` were told, and `limit` is the timeline limit for which that was seen to. `config` is what was last wanted of
    it. `members`: those whose events a
    lazily loading client has. `unread`: what it was told of it, if it is told that.
    """

    position: int
    membership: str
    moved: int
    limit: int = 0
    config: Config | None = None
    start: int = 0
    is_dm: bool = False
    unread: Count | None = None
    members: frozenset[str] = frozenset()


class View(Struct, frozen=True):
    """Of what an answer was made. `marks` and `places` are kept the same objects as long as nothing happens."""

    lists: Mapping[str, ListWanted]
    subscriptions: Mapping[RoomId, Config]
    marks: Marks
    places: dict[RoomId, Place]
    window: Window

    def is_of(self, request: Request, marks: Marks, places: dict[RoomId, Place]) -> bool:
        """Whether this request would be answered from the same."""
        return (
            self.places is places
            and self.marks is marks
            and self.lists == request.lists
            and self.subscriptions == request.subscriptions
        )


class State(Struct, frozen=True, kw_only=True):
    """What a client knows after an answer. The sets are rooms of which an extension's news are told up to `upto`."""

    upto: SyncToken
    rooms: Mapping[RoomId, Told]
    view: View | None = None
    data: frozenset[RoomId] = _NO_ROOMS
    receipts: frozenset[RoomId] = _NO_ROOMS
    typing: frozenset[RoomId] = _NO_ROOMS
    global_data: bool = False  # told up to `upto`
    counts: KeyCounts | None = None
    device_lists: int | None = None  # told up to this position
    sticky: int | None = None  # told up to this position


class Connection:
    """One sync loop of one device. States are numbered by the answers that lead to them."""

    __slots__ = ("_after", "_has", "_last", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._has: tuple[int, State | None] = (0, None)
        self._after: tuple[int, State] | None = None
        self._last = 0

    def at(self, answer: int) -> State | None:
        """The state after an answer, which the client has processed. M_UNKNOWN_POS where it is another one."""
        if self._after is not None and self._after[0] == answer:
            self._has, self._after = self._after, None
        if self._has[0] != answer or answer == 0:
            raise unknown_pos()
        return self._has[1]

    def answered(self, state: State) -> str:
        """The pos for an answer that leads to a state."""
        self._last += 1
        self._after = (self._last, state)
        return f"k{self.number}.{self._last}"


class Connections:
    """All of them, the one used last at the end."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[UserId, DeviceId, str], Connection] = OrderedDict()
        self._of: dict[tuple[UserId, DeviceId], OrderedDict[str, None]] = {}
        # Not from 1: a pos of another run of the server is not to look like one of this.
        self._number = secrets.randbelow(10**12)

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, user_id: UserId, device_id: DeviceId, conn_id: str) -> Connection:
        """A new one in place of that with the same name."""
        self._number += 1
        key = (user_id, device_id, conn_id)
        connection = self._all[key] = Connection(self._number)
        self._all.move_to_end(key)
        names = self._of.setdefault((user_id, device_id), OrderedDict())
        names[conn_id] = None
        names.move_to_end(conn_id)
        if len(names) > PER_DEVICE:
            self._drop((user_id, device_id, next(iter(names))))
        if len(self._all) > MAX_CONNECTIONS:
            self._drop(next(iter(self._all)))
        return connection

    def find(self, user_id: UserId, device_id: DeviceId, conn_id: str, pos: str) -> tuple[Connection, State]:
        """The connection and the state that a pos stands for. M_UNKNOWN_POS for what was given to somebody else, or
        is no longer known."""
        match = _POS.match(pos)
        key = (user_id, device_id, conn_id)
        connection = self._all.get(key)
        if match is None or connection is None or connection.number != int(match[1]):
            raise unknown_pos()
        state = connection.at(int(match[2]))
        if state is None:
            raise unknown_pos()
        self._all.move_to_end(key)
        self._of[user_id, device_id].move_to_end(conn_id)
        return connection, state

    def devices(self, user_id: UserId) -> list[DeviceId]:
        """The devices of a user that have connections."""
        return [device_id for user, device_id in self._of if user == user_id]

    def end_device(self, user_id: UserId, device_id: DeviceId) -> None:
        """The device was logged out."""
        for conn_id in list(self._of.get((user_id, device_id), ())):
            self._drop((user_id, device_id, conn_id))

    def _drop(self, key: tuple[UserId, DeviceId, str]) -> None:
        del self._all[key]
        names = self._of[key[0], key[1]]
        del names[key[2]]
        if not names:
            del self._of[key[0], key[1]]


def unknown_pos() -> MatrixError:
    return MatrixError(400, "M_UNKNOWN_POS", "This connection is not known any more; begin without pos")
