"""/sync: wait until something happened for a device, then say what.

Readers go by position: a sync names what lies between its token and now, so nothing is lost when nobody
waits. Waiting costs one future; a change wakes those who are in the room, once per turn of the loop.
spec: Matrix client-server GET /_matrix/client/v3/sync
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import orjson

from tripoint.accounts.ports import AccountService
from tripoint.core.event import Event
from tripoint.core.ids import DeviceId, RoomId, UserId
from tripoint.matrix.push_rules import default_push_rules
from tripoint.matrix.sync.ephemera import Ephemera
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.rooms import RoomChunks, Timeline
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.changes import (
    AccountDataChanged,
    EventCommitted,
    MembershipChanged,
    PresenceChanged,
    ReceiptMoved,
    RoomChange,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.ports import RoomReader, RoomView

# Transaction ids of recent events: a client asks for its own within seconds.
_TRANSACTIONS = 10_000
# Devices for which we remember which members they know.
_LAZY_DEVICES = 20_000
# A sync that would take longer than this without a pause lets others run in between.
_ROOMS_PER_TURN = 20


class _Known:
    """Which members a lazy-loading device was told of. What the last answer said counts once the device
    comes back with its token: an answer may be lost."""

    __slots__ = ("members", "pending", "token")

    def __init__(self) -> None:
        self.members: dict[RoomId, set[UserId]] = {}
        self.pending: dict[RoomId, set[UserId]] = {}
        self.token = ""

    def came_back(self, token: str | None) -> None:
        if token is None:
            self.members = {}
        elif token == self.token:
            for room_id, users in self.pending.items():
                self.members.setdefault(room_id, set()).update(users)
        self.pending = {}


class SyncServer:
    """Answers syncs of all devices. `start` names this run of the server (see tokens.py)."""

    def __init__(
        self,
        reader: RoomReader,
        accounts: AccountService,
        chunks: RoomChunks,
        ephemera: Ephemera,
        start: str,
    ) -> None:
        self._reader = reader
        self._accounts = accounts
        self._chunks = chunks
        self._ephemera = ephemera
        self.start = start
        self._waiting: dict[UserId, set[asyncio.Future[None]]] = {}
        self._to_wake: set[UserId] = set()
        self._draining = False
        self._transactions: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._account_data: dict[UserId, int] = {}
        self._started_at = reader.stream_position().of()
        self._known: OrderedDict[tuple[UserId, DeviceId], _Known] = OrderedDict()

    # -- changes

    def room_changed(self, change: RoomChange) -> None:
        """Wake who is in the room."""
        if isinstance(change, EventCommitted):
            origin = change.origin
            if origin is not None and origin.token is not None and origin.once:
                self._transactions[change.event.event_id] = (origin.session, origin.token)
                if len(self._transactions) > _TRANSACTIONS:
                    self._transactions.popitem(last=False)
            if change.event.type == "m.room.redaction":
                self._chunks.forget(change.room_id)
        elif isinstance(change, TypingChanged):
            self._ephemera.typing_changed(change)
        elif isinstance(change, ReceiptMoved):
            self._ephemera.receipt_moved(change)
            if change.kind != "m.read":
                self._wake(change.user_id)
                return
        else:
            return
        room = self._reader.peek(change.room_id)
        if room is None or not self._waiting:
            return
        joined = room.joined()
        if len(self._waiting) < len(joined):
            for user_id in self._waiting:
                if user_id in joined:
                    self._wake(user_id)
        else:
            for user_id in joined:
                if user_id in self._waiting:
                    self._wake(user_id)

    def user_changed(self, change: UserChange) -> None:
        if isinstance(change, AccountDataChanged):
            self._account_data[change.user_id] = change.position
            self._wake(change.user_id)
        elif isinstance(change, MembershipChanged):
            self._wake(change.user_id)
        elif isinstance(change, PresenceChanged):
            # Nobody is woken for presence: in a room of a thousand that would be a million answers.
            self._ephemera.presence_changed(change)

    def _wake(self, user_id: UserId) -> None:
        if user_id not in self._waiting:
            return
        if not self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_all)
        self._to_wake.add(user_id)

    def _wake_all(self) -> None:
        users, self._to_wake = self._to_wake, set()
        for user_id in users:
            for future in self._waiting.get(user_id, ()):
                if not future.done():
                    future.set_result(None)

    def wake_everybody(self) -> None:
        """The server stops: every waiting sync answers now, and none waits any more."""
        self._draining = True
        self._to_wake = set(self._waiting)
        self._wake_all()

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
        since_text: str | None,
    ) -> bytes:
        """The body of an answer. Waits up to `timeout_s` while there is nothing to say."""
        known = self._known_of(user_id, device_id)
        known.came_back(since_text)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(user_id, set()).add(future)
            try:
                body, empty = await self._answer(user_id, device_id, since, wanted, full_state, known)
                left_s = deadline - loop.time()
                if not empty or since is None or full_state or left_s <= 0 or self._draining:
                    return body
                timer = loop.call_later(left_s, _expire, future)
                try:
                    await future
                finally:
                    timer.cancel()
            finally:
                futures = self._waiting[user_id]
                futures.discard(future)
                if not futures:
                    del self._waiting[user_id]

    def _known_of(self, user_id: UserId, device_id: DeviceId) -> _Known:
        key = (user_id, device_id)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            if len(self._known) > _LAZY_DEVICES:
                self._known.popitem(last=False)
        return known

    async def _answer(
        self,
        user_id: UserId,
        device_id: DeviceId,
        since: SyncToken | None,
        wanted: SyncFilter,
        full_state: bool,
        known: _Known,
    ) -> tuple[bytes, bool]:
        """(body, whether it says nothing)."""
        upto = SyncToken(self._reader.stream_position(), self._ephemera.counter)
        position = since.position if since is not None else 0
        memberships = await self._reader.membership_positions(user_id)
        sections: dict[str, list[bytes]] = {"join": [], "invite": [], "knock": [], "leave": []}
        room_data = await self._account_data_since(user_id, since)
        count = 0
        for room_id, (membership, moved) in list(memberships.items()):
            if not wanted.wants_room(room_id):
                continue
            if membership == "join":
                room = self._reader.peek(room_id) or await self._reader.room(room_id)
                data = room_data.get(room_id, ())
                if (
                    since is not None
                    and not full_state
                    and room.last_position <= position
                    and not data
                    and not self._ephemera.changed(room_id, user_id, since)
                ):
                    continue
                chunk = await self._joined(
                    room, user_id, device_id, since, upto, moved, wanted, data, full_state, known
                )
                section = "join"
                count += 1
                if count % _ROOMS_PER_TURN == 0:
                    await asyncio.sleep(0)
            elif membership in ("invite", "knock"):
                if since is not None and moved <= position:
                    continue
                room = await self._reader.room(room_id)
                make = self._chunks.invited if membership == "invite" else self._chunks.knocked
                chunk, section = make(room, user_id), membership
            else:
                if (since is None and not wanted.include_leave) or (since is not None and moved <= position):
                    continue
                chunk = await self._left(await self._reader.room(room_id), user_id, position, moved, wanted)
                section = "leave"
            if chunk is not None:
                sections[section].append(orjson.dumps(room_id) + b":" + chunk)
        global_data = self._global_account_data(user_id, room_data.get(None, ()), wanted, since is None)
        presence = self._ephemera.presence(user_id, since, wanted)
        empty = not any(sections.values()) and not global_data and not presence
        next_batch = upto.text(self.start)
        known.token = next_batch
        rooms = b",".join(
            b'"%s":{%s}' % (name.encode(), b",".join(chunks)) for name, chunks in sections.items() if chunks
        )
        parts = [b'{"next_batch":"', next_batch.encode(), b'"']
        if rooms:
            parts.append(b',"rooms":{' + rooms + b"}")
        if global_data:
            parts.append(b',"account_data":{"events":[' + b",".join(global_data) + b"]}")
        if presence:
            parts.append(b',"presence":{"events":[' + b",".join(presence) + b"]}")
        parts.append(b"}")
        return b"".join(parts), empty

    async def _joined(
        self,
        room: RoomView,
        user_id: UserId,
        device_id: DeviceId,
        since: SyncToken | None,
        upto: SyncToken,
        moved: int,
        wanted: SyncFilter,
        data: Sequence[tuple[str, bytes]],
        full_state: bool,
        known: _Known,
    ) -> bytes | None:
        new = since is None or (moved > since.position and self._newly_joined(room, user_id, since.position))
        start = 0 if new or since is None else since.position
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=start, upto=upto.position, all_visible=not new
        )
        if new or full_state:
            state = self._chunks.state_before(room, timeline)
        else:
            state = self._chunks.state_between(room, timeline, start)
        if wanted.lazy_members:
            state = self._lazy(room, user_id, state, timeline, wanted, known, new or full_state)
        account_data = [entry for type_, entry in data if wanted.room_account_data.wants_type(type_)]
        ephemeral, marker = await self._ephemera.of_room(room.room_id, user_id, None if new else since, wanted)
        if marker is not None and wanted.room_account_data.wants_type("m.fully_read"):
            account_data.append(marker)
        members_moved = any(item.event.type == "m.room.member" for item in timeline.items)
        if not (timeline.items or state or ephemeral or account_data or new or full_state):
            return None
        transactions = self._own_transactions(timeline, f"{user_id}/{device_id}")
        return self._chunks.joined(
            room,
            timeline,
            state,
            wanted,
            ephemeral=ephemeral,
            account_data=account_data,
            transactions=transactions,
            summary_for=user_id if new or members_moved else None,
            share_as=None if new or full_state else (start, upto.position, wanted.key),
        )

    def _newly_joined(self, room: RoomView, user_id: UserId, position: int) -> bool:
        """Whether the user was outside at `position`. Unknown counts as outside: more state does no harm."""
        if position < room.recent_from:
            return True
        for item in room.recent:
            event = item.event
            if item.position > position and event.type == "m.room.member" and event.state_key == user_id:
                before = item.replaced
                return before is None or before.content.get("membership") != "join"
        return True

    def _lazy(
        self,
        room: RoomView,
        user_id: UserId,
        state: Sequence[Event],
        timeline: Timeline,
        wanted: SyncFilter,
        known: _Known,
        whole: bool,
    ) -> list[Event]:
        """State for a device that loads members lazily: those it needs to show the timeline."""
        told = set() if whole or wanted.redundant_members else known.members.get(room.room_id, set())
        needed = [item.event.sender for item in timeline.items]
        if whole:
            needed.append(user_id)
        else:
            # Member changes in a gap matter to a device that knows the member.
            needed.extend(UserId(e.state_key or "") for e in state if e.type == "m.room.member")
        in_timeline = {
            item.event.state_key for item in timeline.items if item.event.type == "m.room.member"
        }
        missing = [user for user in dict.fromkeys(needed) if user not in told and user not in in_timeline]
        known.pending.setdefault(room.room_id, set()).update(needed)
        return self._chunks.lazy(state, room, missing)

    def _own_transactions(self, timeline: Timeline, session: str) -> dict[str, str]:
        """event id -> transaction id of the events that this device sent."""
        own: dict[str, str] = {}
        for item in timeline.items:
            found = self._transactions.get(item.event.event_id)
            if found is not None and found[0] == session:
                own[item.event.event_id] = found[1]
        return own

    def transaction_id(self, event_id: str, session: str) -> str | None:
        """The transaction id under which a device sent an event, for its own eyes."""
        found = self._transactions.get(event_id)
        return found[1] if found is not None and found[0] == session else None

    async def _left(
        self, room: RoomView, user_id: UserId, position: int, moved: int, wanted: SyncFilter
    ) -> bytes:
        """What happened until one left."""
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=position, upto=moved, all_visible=False
        )
        return self._chunks.left(timeline, [])

    async def _account_data_since(
        self, user_id: UserId, since: SyncToken | None
    ) -> Mapping[RoomId | None, list[tuple[str, bytes]]]:
        """Account data events by room (None: global)."""
        position = since.position if since is not None else 0
        if since is not None and position >= self._account_data.get(user_id, self._started_at):
            return {}
        found: dict[RoomId | None, list[tuple[str, bytes]]] = {}
        data = await self._accounts.all_account_data(user_id, since=position)
        for (room_id, type_), content in data.items():
            entry = orjson.dumps({"type": type_, "content": content})
            found.setdefault(room_id, []).append((type_, entry))
        return found

    def _global_account_data(
        self, user_id: UserId, data: Sequence[tuple[str, bytes]], wanted: SyncFilter, initial: bool
    ) -> list[bytes]:
        entries = [entry for type_, entry in data if wanted.account_data.wants_type(type_)]
        stored = any(type_ == "m.push_rules" for type_, _ in data)
        if initial and not stored and wanted.account_data.wants_type("m.push_rules"):
            entries.append(orjson.dumps({"type": "m.push_rules", "content": default_push_rules(user_id)}))
        return entries


def _expire(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
