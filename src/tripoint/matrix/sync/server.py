"""/sync: wait until something happened for a device, then say what.

Readers go by position: a sync names what lies between its token and now, so nothing is lost when nobody
waits. Waiting costs one future; a change wakes those who are in the room, once per turn of the loop.
spec: Matrix client-server GET /_matrix/client/v3/sync.  Read next: parts.py.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from msgspec.structs import replace

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import DeviceId, RoomId, UserId
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.account_data import AccountDataNews, Entry
from tripoint.matrix.sync.devices import DeviceNews
from tripoint.matrix.sync.ephemera import Ephemera
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.heard import Heard, is_outside
from tripoint.matrix.sync.parts import Answer, RoomParts
from tripoint.matrix.sync.rooms import (
    RoomChunks,
)
from tripoint.matrix.sync.sticky import NOTHING, sticky_news
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.matrix.sync.waiting import Future, Waiters
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
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused

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
        self._ephemera = ephemera
        self.start = start
        self._waiters = waiters
        self.heard = Heard(reader.stream_position().of())
        self.account_data = AccountDataNews(accounts, self.heard.started_at)
        self._parts = RoomParts(reader, chunks, renderer, ephemera, self.account_data, self.heard)
        self._known: OrderedDict[tuple[UserId, DeviceId], _Known] = OrderedDict()

    # -- changes

    def room_changed(self, change: RoomChange) -> None:
        """Wake who is in the room."""
        if isinstance(change, EventCommitted):
            self.heard.happened(change)
            if change.event.state_key is not None:
                self._devices.room_changed(change)
            if change.event.type == "m.room.redaction":
                self._chunks.forget(change.room_id)
        elif isinstance(change, StateReset):
            self._devices.room_changed(change)
            self.heard.happened(change)
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

    def user_changed(self, change: UserChange) -> None:
        if isinstance(change, AccountDataChanged):
            self.account_data.changed(change)
            self._waiters.wake(change.user_id)
        elif isinstance(change, MembershipChanged):
            self.heard.moved(change)
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
        elif not self._devices.is_quiet(user_id, device_id):
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
        one = Answer(user_id, f"{user_id}/{device_id}", since, upto, wanted, full_state, known.members, sticky)
        changed = None
        if since is not None and not full_state and position >= self.heard.started_at:
            changed = self._changed_rooms(since, len(rooms) + _ROOMS_PER_TURN)
        sections: dict[str, list[bytes]] = {}
        count = 0
        for room_id, (membership, moved) in rooms:
            if membership == "join":
                if (
                    since is not None
                    and not full_state
                    and room_id not in room_data
                    and room_id not in sticky.rooms
                    and not (self._happened(room_id, since) if changed is None else room_id in changed)
                ):
                    continue
                if not wanted.wants_room(room_id):
                    continue
                count += 1
                if count % _ROOMS_PER_TURN == 0:
                    await asyncio.sleep(0)
            elif not wanted.wants_room(room_id) or not one.wants(membership, moved):
                continue
            try:
                chunk = await self._parts.of(one, room_id, membership, moved, room_data.get(room_id, ()))
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_ROOM:
                    raise
                continue  # it ended just now
            if chunk is not None:
                section = "leave" if is_outside(membership) else membership
                sections.setdefault(section, []).append(orjson.dumps(room_id) + b":" + chunk)
        if since is not None:
            for room_id, chunk in self._parts.ended(one, memberships):
                sections.setdefault("leave", []).append(orjson.dumps(room_id) + b":" + chunk)
        global_data = [entry for type_, entry in room_data.get(None, ()) if wanted.account_data.wants_type(type_)]
        presence = self._ephemera.presence(user_id, since, wanted)
        devices = self._devices.nothing_since(user_id, device_id, since)
        if devices is None:
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

    def _happened(self, room_id: RoomId, since: SyncToken) -> bool:
        """Whether anything happened in a room since a token. One that is not in memory is not read for it."""
        room = self._reader.peek(room_id)
        last = self.heard.last_in(room_id)
        if room is not None:
            last = max(room.last_position, room.reset_position, room.completed_position)
        return last > since.position or self._ephemera.changed(room_id, since.position, since.ephemeral)

    def _changed_rooms(self, since: SyncToken, most: int) -> set[RoomId] | None:
        """Rooms in which anything happened since a token of this run; None where a user's own are sooner looked at."""
        found = self._ephemera.changed_rooms(since.position, since.ephemeral, most)
        moved = self.heard.rooms_since(since.position, most)
        if found is None or moved is None:
            return None
        found.update(moved)
        return found
