"""What people are told of while they are not connected: whom an event may concern, and what it comes to for them.

There is no queue on disk. An event is looked at as it is committed; after a restart the log is read again from the
floor, the position up to which everything was looked at. Who is told where, and how often it is tried, is
fanout/push.py.
spec: Matrix client-server module push; docs/decisions/push.md
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final, Protocol

from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.push_rules import ACCOUNT_DATA, Verdict
from tripoint.rooms.badges import Badges
from tripoint.rooms.blocking import TYPES as BLOCKING
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.changes import AccountDataChanged, EventCommitted, MembershipChanged, ReceiptMoved, UserChange
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.rooms.unread import Unreads
from tripoint.store.interface import FederationStore, RoomStore, StoredEvent, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutMeta

FLOOR: Final = "push_floor"
_PAGE: Final = 500
_CACHED_ROOMS: Final = 10_000
_RULING: Final = frozenset({ACCOUNT_DATA, *BLOCKING})
NOBODY: Final[frozenset[UserId]] = frozenset()


class PushStore(RoomStore, FederationStore, Protocol):
    """The parts of the store that are read here."""


class Place(Struct, frozen=True, order=True):
    """Where an event stands."""

    position: int
    room_id: RoomId


class Alert(Struct, frozen=True):
    """An event of which somebody is told. The names are those of now.

    `about_reader`: it is the reader's own membership.
    """

    place: Place
    event: Event
    verdict: Verdict
    sender_name: str | None
    room_name: str | None
    room_alias: str | None
    about_reader: bool


class Pushing:
    """Looks at events for those who have a pusher."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: PushStore,
        stream: Stream,
        unreads: Unreads,
        blocks: Blocks,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._stream = stream
        self._unreads = unreads
        self._badges = Badges(rooms, store, unreads)
        self.badge = self._badges.total
        self._blocks = blocks
        # Who of a room has a pusher: asked for every message, and the same for a long time.
        self._there: OrderedDict[RoomId, frozenset[UserId]] = OrderedDict()

    # -- whom it may concern

    def forget_people(self) -> None:
        """There are other pushers than before."""
        self._there.clear()

    def concerned(self, change: EventCommitted, users: Collection[UserId]) -> frozenset[UserId]:
        """Those of `users` who may want to hear of an event that was just committed."""
        if not users:
            return NOBODY
        room = self._rooms.peek(change.room_id)
        if room is None:
            return NOBODY
        if change.event.type == "m.room.member":
            self._there.pop(change.room_id, None)
        there = self._there.get(change.room_id)
        if there is None:
            there = self._there[change.room_id] = _inside(room, users)
            if len(self._there) > _CACHED_ROOMS:
                self._there.popitem(last=False)
        for user_id in there:
            self._badges.touch(user_id, change.room_id)
        return _with_invited(change.event, there, users)

    async def committed_after(
        self, floor: int, upto: int, users: Collection[UserId]
    ) -> AsyncIterator[tuple[Place, frozenset[UserId]]]:
        """The events of the log between two positions, and who of `users` may want to hear of each."""
        while users:
            page = await self._store.load_log(floor, _PAGE)
            for row in page:
                floor = row.logged
                if floor > upto:
                    return
                room = await self._room(row.room_key)
                if room is not None:
                    concerned = _with_invited(parsed(row, room.version), _inside(room, users), users)
                    if concerned:
                        yield Place(row.place, room.room_id), concerned
            if len(page) < _PAGE:
                return
            await asyncio.sleep(0)

    async def _room(self, room_key: int) -> Room | None:
        row = await self._store.load_room_by_key(room_key)
        if row is None:
            return None
        try:
            return await self._rooms.get(row.room_id)
        except Refused:
            return None

    def user_changed(self, change: UserChange) -> None:
        """What moves badges beside events."""
        if isinstance(change, MembershipChanged):
            self._badges.touch(change.user_id, change.room_id)
        elif isinstance(change, AccountDataChanged) and change.type in _RULING:
            self._badges.forget(change.user_id)

    def read(self, change: ReceiptMoved) -> None:
        """Somebody has read on."""
        self._badges.touch(change.user_id, change.room_id)

    # -- what it comes to

    async def alert(self, user_id: UserId, place: Place) -> Alert | None:
        """What a user is told of an event; None: nothing, it may be read already."""
        try:
            room = await self._rooms.get(place.room_id)
        except Refused:
            return None
        row = await self._at(room, place.position)
        if row is None or row.redacted_by is not None:
            return None
        item = self._unreads.item(room, row)
        event = item.event
        own = event.type == "m.room.member" and event.state_key == user_id
        invited = own and room.membership(user_id) == "invite"
        if invited and self._blocks.hides_invitation(user_id, event.sender):
            return None
        if room.membership(user_id) != "join" and not invited:
            return None
        verdict = self._unreads.verdict(room, user_id, await self._unreads.rules(user_id), item)
        if not verdict.notify:
            return None
        if not invited:
            marks = await self._unreads.marks(room, user_id)
            if marks.has_read(place.position, await self._unreads.thread_of(room, event)):
                return None
        sender = room.member(event.sender)
        name = None if sender is None else sender.displayname
        return Alert(place, event, verdict, name, room.name, room.canonical_alias, own)

    async def _at(self, room: Room, position: int) -> StoredEvent | None:
        rows: Sequence[StoredEvent] = await self._store.load_timeline(
            room.room_key, after=position - 1, upto=position, limit=1, backward=True
        )
        return rows[0] if rows else None

    # -- the past

    @property
    def committed(self) -> int:
        return self._stream.committed

    async def floor(self) -> int:
        """Up to where everything was looked at before this process began. Who never looked begins with now."""
        found = await self._store.load_meta(FLOOR)
        if found is None:
            # Written down at once: what is committed from now on is found again.
            found = str(self.committed)
            await self.save_floor(int(found))
        return int(found)

    async def save_floor(self, floor: int) -> bool:
        """Write it down. False where the store could not."""
        try:
            await self._stream.commit([PutMeta(FLOOR, str(floor))])
        except StoreError:
            return False
        return True


def _inside(room: Room, users: Collection[UserId]) -> frozenset[UserId]:
    joined = room.joined()
    if len(joined) < len(users):
        return frozenset(user for user in joined if user in users)
    return frozenset(user for user in users if user in joined)


def _with_invited(event: Event, there: frozenset[UserId], users: Collection[UserId]) -> frozenset[UserId]:
    """Nobody is told of what he did himself; who is invited is not in the room yet."""
    invited = event.state_key if event.type == "m.room.member" else None
    if invited is not None and invited in users and event.content.get("membership") == "invite":
        there |= {UserId(invited)}
    return there - {event.sender} if event.sender in there else there
