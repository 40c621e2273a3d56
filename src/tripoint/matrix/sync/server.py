"""/sync: wait until something happened for a device, then say what.

Readers go by position: a sync names what lies between its token and now, so nothing is lost when nobody
waits. Waiting costs one future; a change wakes those who are in the room, once per turn of the loop.
spec: Matrix client-server GET /_matrix/client/v3/sync
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import orjson
from msgspec.structs import replace

from tripoint.accounts.ports import AccountService
from tripoint.core.event import Event
from tripoint.core.ids import DeviceId, EventId, RoomId, UserId
from tripoint.matrix.render import Own, Renderer, member_event
from tripoint.matrix.sync.account_data import AccountDataNews, Entry
from tripoint.matrix.sync.devices import DeviceNews
from tripoint.matrix.sync.ephemera import Ephemera, newer
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.rooms import (
    RoomChunks,
    RoomStates,
    Span,
    Timeline,
    lazy_members,
    present_state,
    told_in_full,
    unread_counts,
)
from tripoint.matrix.sync.stays import Stay, stay_since
from tripoint.matrix.sync.sticky import NOTHING, StickyNews, rendered, sticky_items, sticky_news
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.matrix.sync.waiting import Future, Waiters
from tripoint.rooms.blocking import EMPTY
from tripoint.rooms.changes import (
    AccountDataChanged,
    DeviceListChanged,
    DeviceMessage,
    EventCommitted,
    KeyCountsChanged,
    MembershipChanged,
    PresenceChanged,
    ReceiptMoved,
    RoomChange,
    SessionsEnded,
    StateReset,
    Swept,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refusal, Refused

# Transaction ids of recent events: a client asks for its own within seconds.
_TRANSACTIONS = 10_000
# Departures of all users that are remembered for rooms that end; a device that is online asks within seconds.
_DEPARTURES = 2_000
# Devices for which we remember which members they know.
_LAZY_DEVICES = 20_000
# A sync that would take longer than this without a pause lets others run in between.
_ROOMS_PER_TURN = 20


class _Told(NamedTuple):
    """An answer, and what is done once there is more to say than it said. A device that comes back with the token that
    it gave, before anything happened, can wait without being looked at: that is every second request of a long poll."""

    upto: SyncToken
    wanted: SyncFilter
    presence_at: int
    news: Future


class _Known:
    """Which members a lazy-loading device was told of, and in the answer up to which position: a device that
    comes back with an older token (the answer was lost, it kept an older state) is told again. `told`: the last
    answer."""

    __slots__ = ("members", "told")

    def __init__(self) -> None:
        self.members: dict[RoomId, dict[UserId, int]] = {}
        self.told: _Told | None = None


class SyncServer:
    """Answers syncs of all devices. `start` names this run of the server (see tokens.py)."""

    def __init__(
        self,
        reader: RoomReader,
        accounts: AccountService,
        chunks: RoomChunks,
        renderer: Renderer,
        ephemera: Ephemera,
        devices: DeviceNews,
        waiters: Waiters,
        start: str,
    ) -> None:
        self._devices = devices
        self._reader = reader
        self._chunks = chunks
        self._renderer = renderer
        self._ephemera = ephemera
        self.start = start
        self._waiters = waiters
        self._transactions: OrderedDict[str, tuple[str, str]] = OrderedDict()
        # As what an event was scheduled (rooms/delayed.py); set by who wires.
        self.delay_of: Callable[[str], str | None] = lambda _: None
        # Newest last. The room may have ended with its last member, or be forgotten on another device.
        self._departures: OrderedDict[tuple[RoomId, UserId], EventCommitted] = OrderedDict()
        self._room_at: dict[RoomId, int] = {}  # the newest event of each room since the start, the newest last
        self._started_at = reader.stream_position().of()
        self.account_data = AccountDataNews(accounts, self._started_at)
        self._known: OrderedDict[tuple[UserId, DeviceId], _Known] = OrderedDict()

    # -- changes

    def room_changed(self, change: RoomChange) -> None:
        """Wake who is in the room."""
        self._devices.room_changed(change)
        if isinstance(change, EventCommitted):
            self._moved(change.room_id, change.position)
            origin = change.origin
            if origin is not None and origin.token is not None and origin.once:
                self._transactions[change.event.event_id] = (origin.session, origin.token)
                if len(self._transactions) > _TRANSACTIONS:
                    self._transactions.popitem(last=False)
            if change.event.type == "m.room.redaction":
                self._chunks.forget(change.room_id)
        elif isinstance(change, StateReset):
            self._moved(change.room_id, change.position)
            self._chunks.forget(change.room_id)
        elif isinstance(change, Swept):
            self._chunks.forget(change.room_id)
            return  # clients see by the event that put him out what they have to take away (MSC4293)
        elif isinstance(change, TypingChanged):
            self._ephemera.typing_changed(change)
        elif isinstance(change, ReceiptMoved):
            self._ephemera.receipt_moved(change)
            if change.kind != "m.read":
                self._waiters.wake(change.user_id)
                return
        else:
            return
        room = self._reader.peek(change.room_id)
        waiting = self._waiters.users
        if room is None or not waiting:
            return
        joined = room.joined()
        if len(waiting) < len(joined):
            for user_id in waiting:
                if user_id in joined:
                    self._waiters.wake(user_id)
        else:
            for user_id in joined:
                if user_id in waiting:
                    self._waiters.wake(user_id)

    def _moved(self, room_id: RoomId, position: int) -> None:
        self._room_at.pop(room_id, None)
        self._room_at[room_id] = position

    def user_changed(self, change: UserChange) -> None:
        if isinstance(change, AccountDataChanged):
            self.account_data.changed(change)
            self._waiters.wake(change.user_id)
        elif isinstance(change, MembershipChanged):
            # A resolution that took somebody out has no event for the timeline; the room's state tells it.
            if _is_outside(change.membership) and isinstance(change.change, EventCommitted):
                self._departures[change.room_id, change.user_id] = change.change
                self._departures.move_to_end((change.room_id, change.user_id))
                if len(self._departures) > _DEPARTURES:
                    self._departures.popitem(last=False)
            self._waiters.wake(change.user_id)
        elif isinstance(change, PresenceChanged):
            # Nobody is woken for presence: in a room of a thousand that would be a million answers.
            self._ephemera.presence_changed(change)
        elif isinstance(change, SessionsEnded):
            self._end(change)
        elif isinstance(change, DeviceMessage | KeyCountsChanged):
            self._waiters.wake(change.user_id)
        elif isinstance(change, DeviceListChanged):
            for user_id in self._devices.list_changed(change, self._waiters.users):
                self._waiters.wake(user_id)

    def _end(self, change: SessionsEnded) -> None:
        self._waiters.end(change)
        for device in () if change.kept else change.device_ids:
            self._known.pop((change.user_id, DeviceId(device)), None)

    def departure(self, room_id: RoomId, user_id: UserId) -> EventCommitted | None:
        """How a user left a room lately."""
        return self._departures.get((room_id, user_id))

    # -- answers

    async def sync(
        self,
        user_id: UserId,
        device_id: DeviceId,
        since: SyncToken | None,
        wanted: SyncFilter,
        *,
        timeout_s: float,
        full_state: bool,
    ) -> bytes:
        """The body of an answer. Waits up to `timeout_s` while there is nothing to say."""
        known = self._known_of(user_id, device_id)
        if since is None:
            known.members.clear()
        else:
            await self._devices.acknowledge(user_id, device_id, since)
        waiters = self._waiters
        deadline = waiters.now() + timeout_s
        news = self._none_since(known, since, wanted) if timeout_s > 0 and not full_state else None
        try:
            if news is not None:
                await waiters.wait(news, timeout_s)
            while True:
                if news is not None:
                    waiters.forget(user_id, news)
                news = waiters.listen(user_id, device_id)
                presence_at = self._ephemera.presence_at
                body, empty, upto = await self._answer(user_id, device_id, since, wanted, full_state, known)
                if news.done():
                    news.result()  # raises where the device was logged out meanwhile
                left_s = deadline - waiters.now()
                if not empty or since is None or full_state or left_s <= 0 or waiters.draining:
                    if known.told is not None:
                        waiters.forget(user_id, known.told.news)
                    known.told, news = _Told(upto, wanted, presence_at, news), None
                    return body
                await waiters.wait(news, left_s)
        finally:
            if news is not None:
                waiters.forget(user_id, news)

    def _none_since(self, known: _Known, since: SyncToken | None, wanted: SyncFilter) -> Future | None:
        """What is done when something happens, if nothing has since the answer that gave this token."""
        told = known.told
        if (
            told is None
            or told.news.done()
            or told.upto != since
            or since.to_device is not None  # there was more to tell already
            or since.sticky is not None
            or told.wanted != wanted
            or told.presence_at != self._ephemera.presence_at
            or self._waiters.draining
        ):
            return None
        known.told = None
        return told.news

    def _known_of(self, user_id: UserId, device_id: DeviceId) -> _Known:
        key = (user_id, device_id)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            if len(self._known) > _LAZY_DEVICES:
                (gone, _), forgotten = self._known.popitem(last=False)
                if forgotten.told is not None:
                    self._waiters.forget(gone, forgotten.told.news)
        return known

    async def _answer(
        self,
        user_id: UserId,
        device_id: DeviceId,
        since: SyncToken | None,
        wanted: SyncFilter,
        full_state: bool,
        known: _Known,
    ) -> tuple[bytes, bool, SyncToken]:
        """(body, whether it says nothing, up to where)."""
        memberships = await self._reader.membership_positions(user_id)
        # Nothing is awaited from here to the copy of the memberships: they are of this very position.
        upto = SyncToken(self._reader.stream_position(), self._ephemera.counter)
        rooms = list(memberships.items())
        position = since.position if since is not None else 0
        room_data: Mapping[RoomId | None, Sequence[Entry]] = {}
        if not self.account_data.is_quiet(user_id, since):
            room_data = await self.account_data.since(user_id, since)
        sticky = NOTHING
        if self._reader.sticky_rooms():
            inside = {room_id: moved for room_id, (membership, moved) in rooms if membership == "join"}
            stuck = since.stuck if since is not None else -1
            sticky = sticky_news(self._reader, inside, stuck, upto.position)
        one = _Answer(user_id, f"{user_id}/{device_id}", since, upto, wanted, full_state, known, sticky)
        changed = None
        if since is not None and not full_state and position >= self._started_at:
            changed = self._changed_rooms(since, len(rooms) + _ROOMS_PER_TURN)
        sections: dict[str, list[bytes]] = {}
        count = 0
        for room_id, (membership, moved) in rooms:
            if membership == "join":
                if changed is not None and not (
                    room_id in changed or room_id in room_data or room_id in sticky.rooms
                ):
                    continue
                if not wanted.wants_room(room_id):
                    continue
                room = self._reader.peek(room_id)
                data = room_data.get(room_id, ())
                # A room that is not in memory is not read only to find that nothing happened there.
                last = self._room_at.get(room_id, self._started_at)
                if room is not None:
                    last = max(room.last_position, room.reset_position, room.completed_position)
                if (
                    last <= position
                    and not data
                    and since is not None
                    and not full_state
                    and room_id not in sticky.rooms
                    and not self._ephemera.changed(room_id, position, since.ephemeral)
                ):
                    continue
                count += 1
                if count % _ROOMS_PER_TURN == 0:
                    await asyncio.sleep(0)
            elif not wanted.wants_room(room_id) or not one.wants(membership, moved):
                continue
            try:
                chunk = await self._chunk(one, room_id, membership, moved, room_data.get(room_id, ()))
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_ROOM:
                    raise
                continue  # it ended just now
            if chunk is not None:
                section = "leave" if _is_outside(membership) else membership
                sections.setdefault(section, []).append(orjson.dumps(room_id) + b":" + chunk)
        if since is not None and (ended := self._ended(one, memberships)):
            sections.setdefault("leave", []).extend(ended)
        global_data = [entry for type_, entry in room_data.get(None, ()) if wanted.account_data.wants_type(type_)]
        presence = self._ephemera.presence(user_id, since, wanted)
        devices = await self._devices.since(user_id, device_id, since, upto)
        empty = not (sections or global_data or presence or devices.is_news)
        next_batch = upto
        if devices.to_device is not None or sticky.upto is not None:
            next_batch = replace(upto, to_device=devices.to_device, sticky=sticky.upto)
        parts = [b'{"next_batch":"', next_batch.text(self.start).encode(), b'"', devices.parts]
        if sections:
            told = [b'"%s":{%s}' % (name.encode(), b",".join(chunks)) for name, chunks in sections.items()]
            parts.append(b',"rooms":{%s}' % b",".join(told))
        if global_data:
            parts.append(b',"account_data":{"events":[' + b",".join(global_data) + b"]}")
        if presence:
            parts.append(b',"presence":{"events":[' + b",".join(presence) + b"]}")
        parts.append(b"}")
        return b"".join(parts), empty, next_batch

    def _changed_rooms(self, since: SyncToken, most: int) -> set[RoomId] | None:
        """Rooms in which anything happened since a token of this run; None where a user's own are sooner looked at."""
        found = self._ephemera.changed_rooms(since.position, since.ephemeral, most)
        moved = newer(self._room_at, since.position, most)
        if found is None or moved is None:
            return None
        found.update(moved)
        return found

    def _ended(self, one: "_Answer", memberships: Mapping[RoomId, tuple[str, int]]) -> list[bytes]:
        """Rooms that the user has left since and that are not among the user's rooms any more."""
        assert one.since is not None
        chunks = []
        for (room_id, user_id), change in reversed(self._departures.items()):
            if change.position <= one.since.position:
                break
            if user_id == one.user_id and room_id not in memberships and one.wanted.wants_room(room_id):
                item = HistoryItem(change.position, change.event, None, change.replaced)
                timeline = Timeline((item,), False, one.since.position, whole=True)
                chunk = self._chunks.left(timeline, (), one.wanted, account_data=(), transactions={})
                chunks.append(orjson.dumps(room_id) + b":" + chunk)
        return chunks

    async def _chunk(
        self, one: "_Answer", room_id: RoomId, membership: str, moved: int, data: Sequence[tuple[str, bytes]]
    ) -> bytes | None:
        """A room's part of an answer; None where there is nothing to say."""
        room = self._reader.peek(room_id) or await self._reader.room(room_id)
        if membership == "join":
            return await self._joined(one, room, moved, data)
        if membership == "invite":
            invitation = room.member(one.user_id)
            if invitation is not None and self._reader.hides_invitation(one.user_id, invitation.event.sender):
                return None
            return self._chunks.invited(room, one.user_id)
        if membership == "knock":
            return self._chunks.knocked(room, one.user_id)
        return await self._left(one, room, moved, data)

    async def _joined(
        self, one: "_Answer", room: RoomView, moved: int, data: Sequence[tuple[str, bytes]]
    ) -> bytes | None:
        since, wanted, user_id, upto = one.since, one.wanted.in_room(room.room_id), one.user_id, one.upto.position
        position = since.position if since is not None else 0
        span = self._span(one, room, moved, data, wanted)
        if span is not None:
            left = await self._reader.unread(room.room_id, user_id)
            return span.chunk(unread_counts(left, wanted.threads_apart))
        stay, start, inside = (Stay.CAME, 0, 0) if since is None else (Stay.STAYED, position, position)
        if since is not None and moved > position:
            stay, start, inside = await stay_since(self._reader, room, user_id, position)
        # Members that came late are told whoever wants them all.
        late = not wanted.lazy_members and position < room.completed_position <= upto
        whole = stay is not Stay.STAYED or one.full_state or late
        if stay is not Stay.STAYED and since is not None:
            # What was kept for the room while the user was outside is news too.
            data = await self.account_data.of_room(user_id, room.room_id)
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=start, upto=upto, all_visible=stay is Stay.STAYED
        )
        await self._chunks.bundle(room, user_id, timeline)
        ephemeral, marker = await self._ephemera.of_room(
            room.room_id, user_id, since if stay is Stay.STAYED else None, wanted
        )
        stuck = since.stuck if since is not None and stay is Stay.STAYED else -1
        sticky = await sticky_items(self._reader, room.room_id, user_id, one.sticky, stuck)
        unread = unread_counts(await self._reader.unread(room.room_id, user_id), wanted.threads_apart)
        # Nothing is awaited from here on.
        present = present_state(room, upto)
        if not wanted.state_after:
            timeline = told_in_full(timeline, present)
        shown = {item.event.event_id for item in timeline.items} if sticky else frozenset[EventId]()
        sticky_said = rendered(self._renderer, sticky, shown)
        states = RoomStates(present, timeline)
        if wanted.state_after:
            full = whole
            state = [*states.present.values()] if full else self._chunks.changed_after(room, states, start, upto)
        elif whole:
            state = states.all_at_start()
        else:
            state = self._chunks.changed(room, states, timeline, start, upto)
        summary = None
        heroes: Sequence[UserId] = ()
        if whole or self._chunks.sums_changed(room, position):
            summary, heroes = self._chunks.summary(room, user_id)
        if wanted.lazy_members:
            needed = (user_id, *heroes) if whole else heroes
            told = one.known.members.get(room.room_id, {})
            # Of a room where the user was before, the device may know members that changed since.
            changed = self._chunks.changed_members(room, inside, upto) if whole and inside else None
            state, now_known = lazy_members(
                state, states, timeline, wanted, needed, told, None if whole else position, changed or ()
            )
        account_data = [entry for type_, entry in data if wanted.room_account_data.wants_type(type_)]
        if marker is not None and wanted.room_account_data.wants_type("m.fully_read"):
            account_data.append(marker)
        if not (timeline.items or timeline.limited or state or ephemeral or account_data or summary or sticky_said):
            return None
        if wanted.lazy_members:
            in_timeline = (i.event.state_key for i in timeline.items if i.event.type == "m.room.member")
            now_known.update(UserId(key) for key in in_timeline if key is not None)
            members = {} if whole else one.known.members.get(room.room_id, {})
            members.update(dict.fromkeys(now_known, upto))
            one.known.members[room.room_id] = members
        return self._chunks.joined(
            room,
            timeline,
            state,
            wanted,
            ephemeral=ephemeral,
            account_data=account_data,
            unread=unread,
            transactions=self.own_transactions(timeline, one.session),
            summary=summary,
            sticky=sticky_said,
            share_as=None if whole or self._reader.block_list(user_id) != EMPTY else (start, upto, wanted.key),
        )

    def _span(
        self, one: "_Answer", room: RoomView, moved: int, data: Sequence[tuple[str, bytes]], wanted: SyncFilter
    ) -> Span | None:
        """What this reader is told of a room, where it is what everybody is told, but for what is unread."""
        since, user_id = one.since, one.user_id
        if since is None or one.full_state or data or moved > since.position or room.room_id in one.sticky.rooms:
            return None
        position = since.position
        if self._ephemera.changed(room.room_id, position, since.ephemeral) or self._reader.block_list(user_id) != EMPTY:
            return None
        span = self._chunks.span(room, wanted, position, one.upto.position)
        # Whoever wrote one of the messages gets it with its transaction id.
        if span is None or user_id in span.senders:
            return None
        if wanted.lazy_members:
            told = one.known.members.get(room.room_id)
            if told is None or any(told.get(sender, position + 1) > position for sender in span.senders):
                return None
        return span

    def own_transactions(self, timeline: Timeline, session: str) -> dict[str, Own]:
        """event id -> by what this device knows it, of the events that it or its user sent."""
        own: dict[str, Own] = {}
        for item in timeline.items:
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

    async def _left(
        self, one: "_Answer", room: RoomView, moved: int, data: Sequence[tuple[str, bytes]]
    ) -> bytes:
        """What happened until one left."""
        since, wanted, user_id = one.since, one.wanted.in_room(room.room_id), one.user_id
        position = since.position if since is not None else 0
        then, entered, inside = "leave", since is None, 0
        for at, membership in await self._reader.own_memberships(room.room_id, user_id):
            if at <= position:
                inside = at if then == "join" and membership != "join" else inside
                then = membership
            elif at <= moved and membership == "join":
                entered = True
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=position, upto=moved, all_visible=False
        )
        await self._chunks.bundle(room, user_id, timeline)
        try:
            present = dict(await self._reader.readable_state(room.room_id, user_id, moved))
        except Refused:
            present = {}  # never inside: there is one's own membership to tell of and nothing else
        # The state is that of the departure; what became of the user later (a ban) is told with it.
        own = member_event(user_id)
        if room.state_positions.get(own) == moved:
            present[own] = room.state[own]
        if not wanted.state_after:
            timeline = told_in_full(timeline, present)
        states = RoomStates(present, timeline)
        whole = then != "join" and entered
        if whole:
            state = [*present.values()] if wanted.state_after else states.all_at_start()
        elif then != "join":
            # An invitation refused, or outside before: the rest was told then, or is not for this user.
            event = present.get(own) if wanted.state_after or not timeline.items else None
            state = [] if event is None else [event]
        else:
            before = await self._reader.readable_state(room.room_id, user_id, position)
            state = []
            for key, event in present.items():
                told = event if wanted.state_after else states.start(key)
                known_before = before.get(key)
                if told is not None and (known_before is None or told.event_id != known_before.event_id):
                    state.append(told)
        if wanted.lazy_members:
            told_before = one.known.members.get(room.room_id, {})
            known = await self._reader.readable_state(room.room_id, user_id, inside - 1) if whole and inside else {}
            # Of an earlier stay the device may know members that changed since.
            changed = {key[1] for key, event in known.items() if present.get(key) is not event}
            state, _ = lazy_members(
                state, states, timeline, wanted, (user_id,), told_before, None if whole else position, changed
            )
        account_data = [entry for type_, entry in data if wanted.room_account_data.wants_type(type_)]
        transactions = self.own_transactions(timeline, one.session)
        return self._chunks.left(timeline, state, wanted, account_data=account_data, transactions=transactions)


class _Answer:
    """One answer in the making: whose, from where to where."""

    __slots__ = ("full_state", "known", "session", "since", "sticky", "upto", "user_id", "wanted")

    def __init__(
        self,
        user_id: UserId,
        session: str,
        since: SyncToken | None,
        upto: SyncToken,
        wanted: SyncFilter,
        full_state: bool,
        known: _Known,
        sticky: StickyNews,
    ) -> None:
        self.sticky = sticky
        self.user_id = user_id
        self.session = session
        self.since = since
        self.upto = upto
        self.wanted = wanted
        self.full_state = full_state
        self.known = known

    def wants(self, membership: str, moved: int) -> bool:
        """Whether to tell of a room that the user is not joined to, where the membership moved at a position."""
        if self.since is not None:
            return moved > self.since.position
        return self.wanted.include_leave or not _is_outside(membership)


def _is_outside(membership: str) -> bool:
    return membership in ("leave", "ban")
