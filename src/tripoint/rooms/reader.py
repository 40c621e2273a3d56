"""Questions about rooms: the implementation of rooms.ports.RoomReader.

Live rooms answer from memory, the newest history too; older pages come from the store and pass visibility.py.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, load_event
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId, server_of
from tripoint.core.profile import SHOWN, read_profile
from tripoint.core.room_version import RoomVersion
from tripoint.core.searchable import searchable_text
from tripoint.core.stream_position import StreamPosition
from tripoint.rooms.abroad import Abroad
from tripoint.rooms.blocking import BlockList, Blocks
from tripoint.rooms.ephemeral import Receipts, Typing
from tripoint.rooms.history import (
    Anchor,
    Bundle,
    ByEvent,
    ByPosition,
    ByTime,
    Direction,
    HistoryItem,
    HistoryPage,
    HistoryQuery,
    RelationsQuery,
    SearchPage,
    SearchQuery,
    ThreadsQuery,
    ThreadUpdates,
    ThreadUpdatesQuery,
    matches,
)
from tripoint.rooms.indexing import Indexing
from tripoint.rooms.loaded import LoadedRooms, plain_token
from tripoint.rooms.membership import LoadProfile
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.messages import Messages
from tripoint.rooms.naming import Names
from tripoint.rooms.network_rooms import NetworkRooms
from tripoint.rooms.notified import Notified
from tripoint.rooms.ports import OWN, Listing, Presence, PublicRoom, Receipt, RoomView, StateMap, UsersFound
from tripoint.rooms.presence import PresenceBoard
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.relating import Relating
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.searching import Searching
from tripoint.rooms.sticky import Sticky, StickyBoard
from tripoint.rooms.succession import lineage, newest
from tripoint.rooms.thread_news import ThreadNews
from tripoint.rooms.unread import Unreads
from tripoint.rooms.user_directory import UserDirectory
from tripoint.rooms.visibility import Sight, load_sight
from tripoint.store.interface import RoomStore, StoredEvent

# Local people whose own rooms are looked at, one by one.
MANY = 100
# Rooms after which others run in between: some of them are read from disk.
ROOMS_PER_TURN = 20
# One page looks at no more rows than this, however much a filter leaves out: the reader pages on.
MAX_SCAN = 2000
MAX_LIMIT = 1000
# Parsed events of recently read pages; an event is some 2 kB.
CACHED_EVENTS = 4096


# Pages of the past that one query may have fetched from other servers.
MAX_FETCHED = 3
# Events around a time that are looked at for one that may be seen.
NEAR = 50


class Past(Protocol):
    """backfill.Backfill."""

    async def page(self, room: Room) -> bool: ...
    async def is_whole(self, room: Room) -> bool: ...


class Reader:
    """See rooms.ports.RoomReader."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: RoomStore,
        index: MembershipIndex,
        messages: Messages,
        names: Names,
        typing: Typing,
        receipts: Receipts,
        presence: PresenceBoard,
        profile: LoadProfile,
        committed: Callable[[], int],
        abroad: Abroad,
        blocks: Blocks,
        indexing: Indexing,
        unreads: Unreads,
        sticky: StickyBoard,
        network_rooms: NetworkRooms,
    ) -> None:
        self._network_rooms = network_rooms
        self._sticky = sticky
        self.unread = unreads.of
        self.notified = Notified(rooms, store, unreads).page
        self._blocks = blocks
        self._relating = Relating(store, blocks, self._sight, self._item)
        self._threads = ThreadNews(rooms, store, index, blocks, self._sight, self._item)
        self._searching = Searching(rooms, store, indexing, self._sight, self._item, self._is_blocked)
        self._directory = UserDirectory(rooms, store, index, names.server)
        self._abroad = abroad
        self._rooms = rooms
        self._store = store
        self._index = index
        self._messages = messages
        self._names = names
        self._typing = typing
        self._receipts = receipts
        self._presence = presence
        self._profile = profile
        self._committed = committed
        # Set where there are other servers to ask.
        self.past: Past | None = None
        # Whether an application service that has a name for itself has made the room that bears it.
        self.ask_for_room: Callable[[RoomAlias], Awaitable[bool]] | None = None
        self.failing_since: Callable[[ServerName], int | None] = lambda server: None
        self._events: OrderedDict[int, tuple[bytes, Event]] = OrderedDict()

    def blocks(self, viewer: UserId, sender: UserId) -> bool:
        return self._blocks.blocks(viewer, sender)

    def refuses_invites(self, user_id: UserId) -> bool:
        return self._blocks.refuses_invites(user_id)

    def hides_invitation(self, user_id: UserId, sender: UserId) -> bool:
        return self._blocks.hides_invitation(user_id, sender)

    def blockers(self, sender: UserId) -> frozenset[UserId]:
        return self._blocks.blockers(sender)

    def address_blockers(self, addresses: Iterable[str]) -> frozenset[UserId]:
        return self._blocks.address_blockers(addresses)

    def block_list(self, user_id: UserId) -> BlockList:
        return self._blocks.of(user_id)

    def lagging(self, room: RoomView) -> Mapping[ServerName, int]:
        found = {server: self.failing_since(server) for server in room.servers()}
        return {server: since for server, since in found.items() if since is not None}

    async def room(self, room_id: RoomId) -> RoomView:
        return await self._rooms.get(room_id)

    def peek(self, room_id: RoomId) -> RoomView | None:
        return self._rooms.peek(room_id)

    def stream_position(self) -> StreamPosition:
        """How far the stream is committed: what a reader may call "now"."""
        return StreamPosition.at(self._committed())

    async def resolve_alias(self, alias: RoomAlias, *, ask: bool = True) -> RoomId | None:
        if not self._names.is_local(alias):
            found = await self._abroad.resolve_alias(alias)
            return None if found is None else found.room_id
        try:
            alias = self._names.fold(alias)
        except Refused:
            return None
        room_id = await self._store.load_alias(alias)
        if room_id is None and ask and self.ask_for_room is not None:
            try:
                await self.ask_for_room(alias)
            except Refused:
                # It may have made the room all the same.
                room_id = await self._store.load_alias(alias)
                if room_id is None:
                    raise
            return room_id or await self._store.load_alias(alias)
        return room_id

    async def own_room(self, user_id: UserId, alias: RoomAlias) -> RoomId | None:
        for room_id, (membership, _) in list((await self._index.load(user_id)).items()):
            if membership == "join" and (room := await self._rooms.get(room_id)).canonical_alias == alias:
                # Where the room was replaced both may have the name.
                return (await newest(room, self._present)).room_id
        return None

    async def ways_to(self, room_id: RoomId) -> Sequence[ServerName]:
        room = await self._rooms.find(room_id)
        own = self._names.server
        if room is not None and room.is_here(own):
            return [own, *sorted((s for s in room.servers() if s != own), key=lambda s: -room.servers()[s])]
        return self._abroad.ways_to(room_id)

    async def is_here(self, room_id: RoomId) -> bool:
        room = await self._rooms.find(room_id)
        return room is not None and room.is_here(self._names.server)

    async def newest(self, room_id: RoomId) -> RoomId:
        return (await newest(await self._rooms.get(room_id), self._present)).room_id

    async def lineage(self, room_id: RoomId) -> Sequence[RoomView]:
        return await lineage(await self._rooms.get(room_id), self._rooms.find)

    async def _present(self, room_id: RoomId) -> Room | None:
        room = await self._rooms.find(room_id)
        return room if room is not None and room.is_here(self._names.server) else None

    async def remote_space(
        self, room_id: RoomId, via: Sequence[ServerName], *, suggested_only: bool
    ) -> JsonObject:
        return await self._abroad.space(room_id, via, suggested_only=suggested_only)

    async def remote_rooms(self, server: ServerName, wanted: JsonObject) -> JsonObject:
        return await self._abroad.public_rooms(server, wanted)

    async def remote_profile(self, user_id: UserId) -> JsonObject:
        return await self._abroad.profile(user_id)

    async def memberships(self, user_id: UserId) -> Mapping[RoomId, str]:
        return {room_id: what for room_id, (what, _) in (await self._index.load(user_id)).items()}

    async def membership_positions(self, user_id: UserId) -> Mapping[RoomId, tuple[str, int]]:
        return await self._index.load(user_id)

    def joined_rooms(self, user_id: UserId) -> Sequence[RoomId]:
        return self._index.joined(user_id)

    def shares_room(self, one: UserId, other: UserId) -> bool:
        if self._index.is_loaded(other):
            return self._index.share_room(one, other)
        rooms = (self._rooms.peek(room_id) for room_id in self._index.joined(one))
        return any(room is not None and other in room.joined() for room in rooms)

    async def sharing(
        self, user_id: UserId, others: Collection[UserId], *, encrypted: bool = False
    ) -> frozenset[UserId]:
        mine = await self._index.joined_of(user_id)
        found, left = set[UserId](), set(others)
        if len(left) <= MANY:
            # Of a few local users it is known, or quickly read, in which rooms they are.
            for other in [one for one in left if server_of(one) == self._names.server]:
                left.discard(other)
                if await self._any_room(mine & await self._index.joined_of(other), encrypted=encrypted):
                    found.add(other)
        for number, room_id in enumerate(tuple(mine), 1):
            if not left:
                break
            here = await self._joined_among(room_id, left, encrypted=encrypted)
            found |= here
            left -= here
            if number % ROOMS_PER_TURN == 0:
                await asyncio.sleep(0)
        return frozenset(found)

    async def _any_room(self, rooms: Collection[RoomId], *, encrypted: bool) -> bool:
        if not encrypted:
            return bool(rooms)
        for room_id in tuple(rooms):
            room = await self._rooms.find(room_id)
            if room is not None and room.encrypted:
                return True
        return False

    async def _joined_among(self, room_id: RoomId, users: set[UserId], *, encrypted: bool) -> set[UserId]:
        """Those of `users` who are joined to a room."""
        room = await self._rooms.find(room_id)
        if room is None or (encrypted and not room.encrypted):
            return set()
        joined = room.joined()
        return {one for one in users if one in joined} if len(users) < len(joined) else users.intersection(joined)

    def typing(self, room_id: RoomId) -> frozenset[UserId]:
        return self._typing.now(room_id)

    async def receipts(self, room_id: RoomId) -> Sequence[Receipt]:
        return await self._receipts.of_room(room_id)

    async def own_receipts(self, room_id: RoomId, user_id: UserId) -> Sequence[Receipt]:
        return await self._receipts.of_user(room_id, user_id)

    def presence(self, user_id: UserId) -> Presence:
        return self._presence.get(user_id)

    async def profile(self, user_id: UserId) -> Mapping[str, str]:
        return {key: value for key, value in (await self._profile(user_id)).items() if key in SHOWN}

    async def whole_profile(self, user_id: UserId) -> JsonObject:
        return read_profile(await self._profile(user_id))

    async def direct_room(self, one: UserId, other: UserId) -> RoomId | None:
        pair = " ".join(sorted((one, other)))
        for row in await self._store.load_direct_rooms(pair):
            room = await self._rooms.get(row.room_id)
            inside = all(room.membership(user_id) in ("join", "invite") for user_id in (one, other))
            if inside and not room.encrypted and await newest(room, self._present) is room:
                return row.room_id
        return None

    async def event_by_token(self, room_id: RoomId, sender: UserId, token: str) -> EventId | None:
        stored = await self._messages.event_by_token(await self._rooms.get(room_id), sender, token)
        return None if stored is None else stored.event_id

    async def event(self, room_id: RoomId, event_id: EventId, viewer: UserId) -> HistoryItem:
        room = await self._rooms.get(room_id)
        stored = await self._shown_event(room, event_id)
        item = await self._item(room, stored)
        sight = await self._sight(room, viewer, stored.place)
        if not sight.may_see(stored.place, own_member_event=_own(item.event, viewer)):
            raise Refused(Refusal.NO_SUCH_EVENT)
        await sight.reach(stored.place, memberships=True)
        return await self._for_reader(room, item, sight)

    async def event_at(self, room_id: RoomId, ts_ms: int, viewer: UserId, *, forward: bool) -> HistoryItem:
        room = await self._rooms.get(room_id)
        await self._have_past(room, ts_ms)
        near = await self._store.load_events_at(room.room_key, ts_ms, forward=forward, limit=NEAR)
        sight = await self._sight(room, viewer, min((stored.place for stored in near), default=0))
        for stored in near:
            item = await self._item(room, stored)
            if sight.may_see(stored.place, own_member_event=_own(item.event, viewer)):
                return item
        raise Refused(Refusal.NO_SUCH_EVENT, "There is no message that way")

    async def _have_past(self, room: Room, ts_ms: int) -> None:
        """Have the room's past up to a time, as far as a few pages go."""
        for _ in range(MAX_FETCHED):
            first = await self._store.load_timeline(
                room.room_key, after=room.oldest, upto=room.last_position, limit=1, backward=False
            )
            if not first or first[0].ts_ms <= ts_ms or room.oldest == 0 or self.past is None:
                return
            if not await self.past.page(room):
                return

    async def _shown_event(self, room: Room, event_id: EventId) -> StoredEvent:
        """An event of the room's timeline. What was rejected or soft-failed is as if it were not there."""
        stored = await self._store.load_event(event_id)
        if stored is None or stored.room_key != room.room_key or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        return stored

    async def public_rooms(
        self, *, search: str | None, limit: int, offset: int, listing: Listing = OWN
    ) -> Sequence[PublicRoom]:
        found = []
        wanted = search.casefold() if search else None
        room_ids = [row.room_id for row in await self._store.load_listed_rooms()] if listing.own else []
        if listing.networks:
            room_ids += await self._network_rooms.of(listing.network)
        for room_id in dict.fromkeys(room_ids):
            room = await self._rooms.get(room_id)
            if room.outside:
                continue  # this server has gone from it
            entry = _public(room)
            texts = (entry.name, entry.topic, entry.alias)
            if wanted is None or any(wanted in text.casefold() for text in texts if text):
                found.append(entry)
        found.sort(key=lambda entry: (-entry.joined, entry.alias or "~", entry.room_id))
        return found[offset : offset + limit]

    async def find_users(self, searcher: UserId, term: str, limit: int) -> UsersFound:
        return await self._directory.find(searcher, term, limit)

    async def readable_state(self, room_id: RoomId, viewer: UserId, at: int | None = None) -> StateMap:
        room = await self._rooms.get(room_id)
        if room.history_visibility != "world_readable" and room.membership(viewer) != "join":
            if room_id not in await self._index.load(viewer):
                raise Refused(Refusal.NOT_JOINED)  # never there, or forgotten
            past = await self._store.load_state_history(room.room_key, "m.room.member", viewer)
            # What is on disk and not yet told is not yet so.
            past = [stored for stored in past if stored.place <= room.last_position]
            memberships = self._memberships(room, past)
            if "join" not in memberships:
                raise Refused(Refusal.NOT_JOINED)
            if memberships[-1] != "join":  # it is, where the viewer came back while this was read
                # The last departure from being joined; later bans and invitations show nothing new.
                joined = max(index for index, what in enumerate(memberships) if what == "join")
                if at is None or at >= past[joined + 1].place:
                    return await self._state_after(room, past[joined + 1])
        if at is None or at >= room.last_position:
            return room.state
        return await self._state_at(room, viewer, at)

    async def own_memberships(self, room_id: RoomId, user_id: UserId) -> Sequence[tuple[int, str]]:
        room = await self._rooms.get(room_id)
        past = await self._store.load_state_history(room.room_key, "m.room.member", user_id)
        return list(zip((stored.place for stored in past), self._memberships(room, past), strict=True))

    def _memberships(self, room: Room, past: Sequence[StoredEvent]) -> list[str]:
        return [member_of(self._parsed(stored, room.version)).membership for stored in past]

    async def _state_at(self, room: Room, viewer: UserId, at: int) -> StateMap:
        """The state after the last event at or before a position; before what the viewer may see, nothing."""
        before = await self._store.load_timeline(room.room_key, after=0, upto=at, limit=1, backward=True)
        if not before or not (await self._sight(room, viewer, before[0].place)).may_see(before[0].place):
            return {}
        return await self._state_after(room, before[0])

    async def _state_after(self, room: Room, stored: StoredEvent) -> StateMap:
        positions = await self._store.load_state(stored.state_group)
        rows = await self._store.load_events(list(positions.values()))
        return {key: self._parsed(rows[position], room.version) for key, position in positions.items()}

    # -- history

    async def history(self, query: HistoryQuery) -> HistoryPage:
        room = await self._rooms.get(query.room_id)
        sight = await self._sight(room, query.viewer)
        limit = max(1, min(query.limit, MAX_LIMIT))
        if query.direction is Direction.AROUND:
            return await self._around(room, query, sight, limit)
        backward = query.direction is Direction.BACKWARD
        after, upto = await self._bounds(room, query, backward)
        if query.says is not None:
            return await self._saying(room, query, sight, after, upto, limit)
        items, end = await self._page(room, query, sight, after, upto, limit, backward)
        whole = not backward or end is not None or after > room.oldest or await self._is_whole(room)
        if not whole:
            # Who comes back later may find more, when another server that is in the room answers.
            end = min((item.position - 1 for item in items), default=upto)
        return HistoryPage(tuple(items), upto if backward else after, end, whole)

    async def bundles(
        self, room_id: RoomId, viewer: UserId, items: Sequence[HistoryItem]
    ) -> Mapping[EventId, Bundle]:
        return await self._relating.bundles(await self._rooms.get(room_id), viewer, items)

    async def relations(self, query: RelationsQuery) -> HistoryPage:
        return await self._relating.relations(await self._rooms.get(query.room_id), query)

    async def threads(self, query: ThreadsQuery) -> HistoryPage:
        return await self._relating.threads(await self._rooms.get(query.room_id), query)

    async def thread_updates(self, query: ThreadUpdatesQuery) -> ThreadUpdates:
        return await self._threads.updates(query)

    def sticky_rooms(self) -> Collection[RoomId]:
        return self._sticky.rooms()

    def sticky_in(self, room_id: RoomId, after: int, upto: int) -> Sequence[Sticky]:
        return self._sticky.of(room_id, after, upto)

    def sticky_left_ms(self, event_id: EventId) -> int | None:
        return self._sticky.left_ms(event_id)

    async def sticky_events(
        self, room_id: RoomId, viewer: UserId, found: Sequence[Sticky]
    ) -> Sequence[HistoryItem]:
        ids = [one.event_id for one in found if not self._blocks.blocks(viewer, one.sender)]
        if not ids:
            return ()
        room = await self._rooms.get(room_id)
        stored = await self._store.load_events_by_id(ids)
        rows = [stored[event_id] for event_id in ids if event_id in stored]
        items = [await self._item(room, row) for row in rows if row.position is not None]
        return [item for item in items if item.event.sticky_ms is not None]  # one that is redacted is so no more

    async def search(self, query: SearchQuery) -> SearchPage:
        return await self._searching.search(query)

    async def _saying(
        self, room: Room, query: HistoryQuery, sight: Sight, after: int, upto: int, limit: int
    ) -> HistoryPage:
        """A page of what has certain words. Nobody else is asked for the past: they would not search it."""
        backward = query.direction is Direction.BACKWARD
        question, found = await self._searching.in_room(room, query.says or "")
        items: list[HistoryItem] = []
        for stored in reversed(found) if backward else found:
            if not after < stored.place <= upto:
                continue
            item = await self._item(room, stored)
            event = item.event
            if (
                matches(query, event)
                and not self._is_blocked(query.viewer, event)
                and question.rank(searchable_text(event.type, event.content))
            ):
                await sight.reach(item.position)
                if sight.may_see(item.position):
                    items.append(item)
            if len(items) == limit:
                end = item.position - 1 if backward else item.position
                return HistoryPage(tuple(items), upto if backward else after, end)
        return HistoryPage(tuple(items), upto if backward else after, None)

    async def _is_whole(self, room: Room) -> bool:
        """Whether nothing lies before what this server has of a room."""
        return room.oldest == 0 or self.past is None or await self.past.is_whole(room)

    async def displayname_at(self, room_id: RoomId, user_id: UserId, position: int) -> str | None:
        member = await self.member_at(room_id, user_id, position)
        return None if member is None else member_of(member).displayname

    async def member_at(self, room_id: RoomId, user_id: UserId, position: int) -> Event | None:
        room = await self._rooms.get(room_id)
        stored = await self._store.load_state_before(room.room_key, "m.room.member", user_id, position)
        return None if stored is None else self._parsed(stored, room.version)

    async def state_changes(
        self, room_id: RoomId, type: str, state_key: str, *, after: int
    ) -> Sequence[Event]:
        room = await self._rooms.get(room_id)
        found = await self._store.load_state_changes(
            room.room_key, type, state_key, after=after, upto=room.last_position
        )
        return [self._parsed(stored, room.version) for stored in found]

    async def position_before(self, room_id: RoomId, ts_ms: int) -> int:
        return await self._position(await self._rooms.get(room_id), ByTime(ts_ms))

    async def _around(self, room: Room, query: HistoryQuery, sight: Sight, limit: int) -> HistoryPage:
        if query.anchor is None:
            raise Refused(Refusal.BAD_CONTENT, "Around what?")
        position = await self._position(room, query.anchor)
        if isinstance(query.anchor, ByTime):
            position += 1  # _position() is the last event before that time
        older, start = await self._page(room, query, sight, room.oldest, position - 1, max(1, limit // 2), True)
        newer_limit = max(1, limit - len(older))
        newer, end = await self._page(
            room, query, sight, position - 1, room.last_position, newer_limit, False
        )
        items = (*reversed(older), *newer)
        return HistoryPage(items, start if start is not None else room.oldest, end)

    async def _bounds(self, room: Room, query: HistoryQuery, backward: bool) -> tuple[int, int]:
        """(after, upto) of a page: after < position <= upto."""
        anchor = None if query.anchor is None else await self._position(room, query.anchor)
        until = None if query.until is None else await self._position(room, query.until)
        if backward:
            upto = room.last_position if anchor is None else anchor
            if isinstance(query.anchor, ByEvent):
                upto -= 1
            after = room.oldest if until is None else max(until, room.oldest)
            return after, upto
        after = room.oldest if anchor is None else max(anchor, room.oldest)
        upto = room.last_position if until is None else until
        if isinstance(query.until, ByEvent):
            upto -= 1
        return after, upto

    async def _position(self, room: Room, anchor: Anchor) -> int:
        """The position of an anchor: of the event, or of the last event before the time."""
        if isinstance(anchor, ByPosition):
            return anchor.position
        if isinstance(anchor, ByTime):
            return await self._store.load_position_at(room.room_key, anchor.ts_ms)
        stored = await self._shown_event(room, anchor.event_id)
        return stored.place

    async def _page(
        self,
        room: Room,
        query: HistoryQuery,
        sight: Sight,
        after: int,
        upto: int,
        limit: int,
        backward: bool,
    ) -> tuple[list[HistoryItem], int | None]:
        """Visible items that match, and where to go on (None: nothing more that way)."""
        items: list[HistoryItem] = []
        scanned = fetched = 0
        while True:
            chunk, more = await self._chunk(room, after, upto, max(20, limit - len(items)), backward)
            if chunk:
                low = min(chunk[0].position, chunk[-1].position)
                await sight.reach(low, memberships=query.with_replaced)
            for item in chunk:
                if backward:
                    upto = item.position - 1
                else:
                    after = item.position
                event = item.event
                visible = sight.may_see(item.position, own_member_event=_own(event, query.viewer))
                if visible and matches(query, event) and not self._is_blocked(query.viewer, event):
                    items.append(await self._for_reader(room, item, sight) if query.with_replaced else item)
                    if len(items) == limit:
                        return items, upto if backward else after
            scanned += len(chunk)
            if not more:
                # What lies before all that is here is asked of other servers, where nobody set an end before that.
                beyond = backward and after == room.oldest < 0 and not query.only_here and fetched < MAX_FETCHED
                if not beyond or self.past is None or not await self.past.page(room):
                    return items, None
                fetched += 1
            # A page that leaves out much reads on for long: others have their turn between chunks.
            await asyncio.sleep(0)
            if scanned >= MAX_SCAN:
                return items, upto if backward else after

    def _is_blocked(self, viewer: UserId, event: Event) -> bool:
        """State is the room's, whoever wrote it. spec: client-server "Ignoring Users" """
        return event.state_key is None and self._blocks.blocks(viewer, event.sender)

    async def _chunk(
        self, room: Room, after: int, upto: int, count: int, backward: bool
    ) -> tuple[list[HistoryItem], bool]:
        """Up to `count` events with after < position <= upto, and whether there may be more that way."""
        floor = max(after, room.recent_from)
        if backward:
            recent = [item for item in reversed(room.recent) if floor < item.position <= upto]
            if len(recent) >= count:
                return recent[:count], True
            if room.recent_from <= after:
                return recent, False
        elif after >= room.recent_from:
            recent = [item for item in room.recent if after < item.position <= upto]
            return recent[:count], len(recent) > count
        stored = await self._store.load_timeline(
            room.room_key, after=after, upto=upto, limit=count, backward=backward
        )
        return [await self._item(room, found) for found in stored], len(stored) == count

    async def _item(self, room: Room, stored: StoredEvent) -> HistoryItem:
        because = None
        if stored.redacted_by is not None:
            redaction = await self._store.load_event(stored.redacted_by)
            because = None if redaction is None else self._parsed(redaction, room.version)
        event = self._parsed(stored, room.version)
        return HistoryItem(stored.place, event, plain_token(stored.token), None, because)

    async def whole_item(self, room: Room, stored: StoredEvent) -> HistoryItem:
        """An event of the timeline with all that history says of it, whoever reads."""
        return await self._with_replaced(room, await self._item(room, stored))

    async def _for_reader(self, room: Room, item: HistoryItem, sight: Sight) -> HistoryItem:
        return replace(await self._with_replaced(room, item), membership=sight.membership_at(item.position))

    async def _with_replaced(self, room: Room, item: HistoryItem) -> HistoryItem:
        event = item.event
        if event.state_key is None or item.replaced is not None:
            return item
        before = await self._store.load_state_before(
            room.room_key, event.type, event.state_key, item.position
        )
        if before is None:
            return item
        return replace(item, replaced=self._parsed(before, room.version))

    async def _sight(self, room: Room, viewer: UserId, low: int | None = None) -> Sight:
        """What somebody may see, from a position on if it is known."""
        sight = await self._any_sight(room, viewer)
        if low is not None:
            await sight.reach(low)
        return sight

    async def _any_sight(self, room: Room, viewer: UserId) -> Sight:
        if server_of(viewer) != self._names.server:
            # Nobody of another server reads here. What one of them has said is asked for those who are here.
            return await load_sight(self._store, room, viewer)
        # spec: POST /forget: who forgot a room cannot retrieve its history any more, like a stranger.
        known = room.room_id in await self._index.load(viewer)
        return await load_sight(self._store, room, viewer if known else None)

    def _parsed(self, stored: StoredEvent, version: RoomVersion) -> Event:
        found = self._events.get(stored.event_key)
        # The bytes are compared: a redaction replaces what is stored under the same position.
        if found is not None and found[0] == stored.json:
            return found[1]
        event = load_event(stored.json, stored.event_id, version)
        self._events[stored.event_key] = (stored.json, event)
        if len(self._events) > CACHED_EVENTS:
            self._events.popitem(last=False)
        return event


def _own(event: Event, viewer: UserId) -> bool:
    """A user always sees the events that moved their own membership."""
    return event.type == "m.room.member" and event.state_key == viewer


def _public(room: Room) -> PublicRoom:
    avatar = room.state.get(("m.room.avatar", ""))
    avatar_url = None if avatar is None else avatar.content.get("url")
    room_type = room.create_event.content.get("type")
    topic = room.topic_event
    return PublicRoom(
        room_id=room.room_id,
        alias=room.canonical_alias or (room.aliases[0] if room.aliases else None),
        name=room.name,
        topic=room.topic,
        joined=room.joined_count(),
        join_rule=room.join_rule,
        world_readable=room.history_visibility == "world_readable",
        guest_can_join=room.guest_access == "can_join",
        avatar_url=avatar_url if isinstance(avatar_url, str) else None,
        room_type=room_type if isinstance(room_type, str) else None,
        created_ts_ms=room.created_ts_ms,
        topic_ts_ms=None if topic is None else topic.origin_server_ts,
    )
