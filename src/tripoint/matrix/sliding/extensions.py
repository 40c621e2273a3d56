"""What is told beside the rooms: messages to the device, keys, account data, receipts, typing, sticky events, threads
(threads.py).

Of an extension that speaks of rooms a connection remembers the rooms of which it has told everything up to the last
answer. Of these only what changed is told, of others that come into its scope all that counts; one whose news came
while it was out of scope is taken out.
spec: MSC3885, MSC3884, MSC3959, MSC3960, MSC3961, MSC4360, MSC4480; MSC4508 "Common extension semantics" (which rooms
are in scope)
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.to_device import PAGE
from tripoint.core.ids import DeviceId, EventId, RoomId, UserId
from tripoint.matrix.errors import invalid
from tripoint.matrix.render import Renderer
from tripoint.matrix.sliding.connections import State, Told
from tripoint.matrix.sliding.lists import Window
from tripoint.matrix.sliding.request import STICKY, THREADS, Extension, Extensions
from tripoint.matrix.sliding.threads import ThreadPlace, Threads
from tripoint.matrix.sync.device_lists import DeviceLists
from tripoint.matrix.sync.ephemera import Ephemera, marker_event, receipt_events, typing_event
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.stays import Stay, stay_since
from tripoint.matrix.sync.sticky import MAX_EVENTS, rendered, sticky_items, sticky_news
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.ports import Receipt, RoomReader

_EVERY: Final = "*"
_NONE: Final[frozenset[RoomId]] = frozenset()
_MAX_DIGITS: Final = 18
# spec: MSC4480: "default 100"
_STICKY_EVENTS: Final = 100


class Scene(Struct, frozen=True, kw_only=True):
    """What an answer is made of when it comes to the extensions. `before`: what the client knew, if anything; `told`
    and `events`: what it knows of rooms with this answer, and the events of the timelines in it."""

    user_id: UserId
    device_id: DeviceId
    wanted: Extensions
    before: State | None
    upto: SyncToken
    window: Window
    told: Mapping[RoomId, Told]
    events: Mapping[RoomId, frozenset[EventId]]


class ExtensionAnswers:
    def __init__(
        self,
        reader: RoomReader,
        sync: SyncServer,
        ephemera: Ephemera,
        lists: DeviceLists,
        encryption: Encryption,
        threads: Threads,
        renderer: Renderer,
    ) -> None:
        self._renderer = renderer
        self._threads = threads
        self._reader = reader
        self._sync = sync
        self._ephemera = ephemera
        self._lists = lists
        self._keys = encryption.keys
        self._messages = encryption.messages

    async def acknowledge(self, user_id: UserId, device_id: DeviceId, wanted: Extensions) -> None:
        """Messages up to the token of a request are with the device. M_INVALID_PARAM where that is no token."""
        if not wanted.to_device.enabled:
            return
        since = _token(wanted.to_device, "to_device")
        if since and not self._messages.is_quiet(user_id, device_id):
            await self._messages.acknowledge(user_id, device_id, since)

    async def of(self, scene: Scene, after: State) -> tuple[bytes, bool, State]:
        """(the object of extensions, whether there is news in it, the state with what it told)."""
        parts: list[bytes] = []
        news = await self._to_device(scene, parts)
        after = await self._e2ee(scene, after, parts)
        after = await self._account_data(scene, after, parts)
        after = await self._receipts(scene, after, parts)
        after = self._typing(scene, after, parts)
        after = await self._sticky(scene, after, parts)
        await self._thread_updates(scene, parts)
        return b"{" + b",".join(parts) + b"}", news or len(parts) > scene.wanted.to_device.enabled, after

    async def _to_device(self, scene: Scene, parts: list[bytes]) -> bool:
        """Its token is in every answer, and is no news. spec: MSC3885"""
        wanted = scene.wanted.to_device
        if not wanted.enabled:
            return False
        since, upto = _token(wanted, "to_device"), scene.upto.position
        events: Sequence[bytes] = ()
        if not self._messages.is_quiet(scene.user_id, scene.device_id):
            limit = min(PAGE, wanted.limit or PAGE)
            page = await self._messages.page(scene.user_id, scene.device_id, since, upto, limit)
            events = page.events
            upto = page.upto if page.more else upto
        parts.append(b'"to_device":{"next_batch":"%d","events":[%s]}' % (max(since, upto), b",".join(events)))
        return bool(events)

    async def _e2ee(self, scene: Scene, after: State, parts: list[bytes]) -> State:
        """spec: MSC3884: "an initial response will include all fields", later "only the changed fields" """
        if not scene.wanted.e2ee.enabled:
            return after
        said = []
        counts = await self._keys.counts(scene.user_id, scene.device_id)
        before = after.counts
        if counts is not before:
            if before is None or counts.one_time != before.one_time:
                said.append(b'"device_one_time_keys_count":' + orjson.dumps(counts.one_time))
            if before is None or counts.unused_fallback != before.unused_fallback:
                said.append(b'"device_unused_fallback_key_types":' + orjson.dumps(counts.unused_fallback))
        position = after.device_lists
        if position is not None and self._lists.may_have_moved(scene.user_id, position):
            changed, left = await self._lists.since(scene.user_id, position)
            if changed or left:
                said.append(b'"device_lists":' + orjson.dumps({"changed": changed, "left": left}))
        if said:
            parts.append(b'"e2ee":{' + b",".join(said) + b"}")
        return replace(after, counts=counts, device_lists=scene.upto.position)

    async def _account_data(self, scene: Scene, after: State, parts: list[bytes]) -> State:
        """spec: MSC3959. Where somebody has read to (m.fully_read) is account data too."""
        if not scene.wanted.account_data.enabled:
            return replace(after, data=_NONE, global_data=False)
        user_id, before = scene.user_id, scene.before
        scope = _scope(scene, scene.wanted.account_data)
        since = before.upto if before is not None else None
        fresh = scope - after.data
        moved = {} if since is None else await self._sync.account_data.since(user_id, since)
        whole = {} if after.global_data and not fresh else await self._sync.account_data.since(user_id, None)
        said = [entry for _, entry in (moved if after.global_data else whole).get(None, ())]
        rooms: dict[RoomId, list[bytes]] = {}
        for room_id in scope & (moved.keys() | whole.keys()):
            source = whole if room_id in fresh else moved
            rooms[room_id] = [entry for _, entry in source.get(room_id, ())]
        read = set(self._ephemera.receipts_since(since.position) if since is not None else ())
        for room_id in fresh | (scope & read):
            from_ = 0 if room_id in fresh or since is None else since.position
            marker = marker_event(await self._ephemera.receipts_in(room_id, user_id, from_), user_id)
            if marker is not None:
                rooms.setdefault(room_id, []).append(marker)
        if said or any(rooms.values()):
            told = (_member(room_id, b"[" + b",".join(found) + b"]") for room_id, found in rooms.items() if found)
            parts.append(
                b'"account_data":{"global":[' + b",".join(said) + b'],"rooms":{' + b",".join(told) + b"}}"
            )
        stale = {room_id for room_id in (*moved, *read) if room_id is not None} - scope
        return replace(after, data=_moved_on(after.data, stale, scope), global_data=True)

    async def _receipts(self, scene: Scene, after: State, parts: list[bytes]) -> State:
        """spec: MSC3960: of a room that is new only those for the events of the timeline, and the user's own"""
        if not scene.wanted.receipts.enabled:
            return replace(after, receipts=_NONE)
        user_id, before = scene.user_id, scene.before
        scope = _joined(scene, _scope(scene, scene.wanted.receipts))
        position = before.upto.position if before is not None else 0
        moved = set(self._ephemera.receipts_since(position))
        fresh = scope - after.receipts
        rooms: list[bytes] = []
        for room_id in fresh | (scope & moved):
            found = await self._ephemera.receipts_in(room_id, user_id, 0 if room_id in fresh else position)
            if room_id in fresh:
                shown = self._shown(scene, room_id)
                found = [receipt for receipt in found if receipt.event_id in shown or receipt.user_id == user_id]
            content = _one_event(found, user_id)
            if content is not None:
                rooms.append(_member(room_id, content))
        if rooms:
            parts.append(b'"receipts":{"rooms":{' + b",".join(rooms) + b"}}")
        return replace(after, receipts=_moved_on(after.receipts, moved - scope, scope))

    def _shown(self, scene: Scene, room_id: RoomId) -> Collection[EventId]:
        """The events of a room's timeline in this answer; without one, those that an earlier one held, about."""
        shown = scene.events.get(room_id)
        room = self._reader.peek(room_id)
        told = scene.told.get(room_id)
        if shown is not None or room is None or told is None:
            return shown or ()
        return {item.event.event_id for item in list(room.recent)[-max(1, told.limit) :]}

    async def _sticky(self, scene: Scene, after: State, parts: list[bytes]) -> State:
        """spec: MSC4480; a client that sends no token back is taken to have what it was told"""
        wanted, reader, window = scene.wanted.sticky, self._reader, scene.window
        if not wanted.enabled:
            return replace(after, sticky=None)
        upto = scene.upto.position
        since = _token(wanted, "sticky_events") or (-1 if after.sticky is None else after.sticky)
        if not reader.sticky_rooms():
            return replace(after, sticky=max(since, upto))
        memberships = await reader.membership_positions(scene.user_id)
        inside = {
            room_id: moved
            for room_id, (membership, moved) in memberships.items()
            if membership == "join" and room_id in window.passed
        }
        news = sticky_news(reader, inside, since, upto, min(MAX_EVENTS, wanted.limit or _STICKY_EVENTS))
        rooms = []
        for room_id in news.rooms:
            came = since < 0 or inside[room_id] <= since or await self._came(room_id, scene.user_id, since)
            items = await sticky_items(reader, room_id, scene.user_id, news, -1 if came else since)
            events = rendered(self._renderer, items, scene.events.get(room_id, ()))
            if events:
                rooms.append(_member(room_id, b'{"events":[' + b",".join(events) + b"]}"))
        told = upto if news.upto is None else news.upto
        if news.rooms:
            # The token moves on behind what the timelines show, too.
            parts.append(b'"%s":{"next_batch":"%d","rooms":{%s}}' % (STICKY.encode(), told, b",".join(rooms)))
        return replace(after, sticky=max(since, told))

    async def _came(self, room_id: RoomId, user_id: UserId, since: int) -> bool:
        """Whether somebody who is in a room now was outside of it at any time since."""
        room = self._reader.peek(room_id) or await self._reader.room(room_id)
        stay, _, _ = await stay_since(self._reader, room, user_id, since)
        return stay is not Stay.STAYED

    async def _thread_updates(self, scene: Scene, parts: list[bytes]) -> None:
        """spec: MSC4360: "If the client hasn't missed any thread updates, then this whole section [...] is omitted" """
        wanted, upto = scene.wanted.threads, scene.upto.position
        if not wanted.enabled:
            return
        after = None if scene.before is None else scene.before.upto.position
        shown = {} if wanted.include_roots else scene.events
        page = await self._threads.since(scene.user_id, after, upto, wanted.limit, shown)
        if not page.updates and page.end is None:
            return
        session = f"{scene.user_id}/{scene.device_id}"
        updates = await self._threads.text(scene.user_id, session, page.updates, roots=wanted.include_roots)
        more = b"" if page.end is None else b',"prev_batch":"%s"' % ThreadPlace(page.end, upto).text().encode()
        parts.append(b'"%s":{"updates":%s%s}' % (THREADS.encode(), updates, more))

    def _typing(self, scene: Scene, after: State, parts: list[bytes]) -> State:
        """spec: MSC3961: of a room that is new "if there are typing users" """
        if not scene.wanted.typing.enabled:
            return replace(after, typing=_NONE)
        scope = _joined(scene, _scope(scene, scene.wanted.typing))
        moved = set(self._ephemera.typing_since(scene.before.upto.ephemeral if scene.before is not None else 0))
        fresh = scope - after.typing
        rooms = []
        for room_id in fresh | (scope & moved):
            typing = self._ephemera.typing_in(room_id, scene.user_id)
            if typing or room_id not in fresh:
                rooms.append(_member(room_id, typing_event(typing)))
        if rooms:
            parts.append(b'"typing":{"rooms":{' + b",".join(rooms) + b"}}")
        return replace(after, typing=_moved_on(after.typing, moved - scope, scope))


def _scope(scene: Scene, wanted: Extension) -> frozenset[RoomId]:
    """spec: MSC4508 "Common per-room extension semantics": without `lists` all lists, without `rooms` all
    subscriptions. Of rooms that the client was told of."""
    window = scene.window
    if (wanted.lists is None or _EVERY in wanted.lists) and (wanted.rooms is None or _EVERY in wanted.rooms):
        return window.rooms
    lists = window.in_list if wanted.lists is None or _EVERY in wanted.lists else wanted.lists
    found = {room_id for name in lists for room_id in window.in_list.get(name, ())}
    subscribed = window.subscribed
    found.update(subscribed if wanted.rooms is None or _EVERY in wanted.rooms else subscribed & set(wanted.rooms))
    return frozenset(found)


def _joined(scene: Scene, rooms: frozenset[RoomId]) -> frozenset[RoomId]:
    """Those that the user is in: what goes on in others is not for him."""
    return scene.window.joined if rooms is scene.window.rooms else scene.window.joined & rooms


def _moved_on(known: frozenset[RoomId], stale: Collection[RoomId], scope: frozenset[RoomId]) -> frozenset[RoomId]:
    """The rooms of which everything is told now."""
    if scope <= known and known.isdisjoint(stale):
        return known
    return (known - frozenset(stale)) | scope


def _token(wanted: Extension, name: str) -> int:
    since = wanted.since
    if since is None or since == "":
        return 0
    if not since.isascii() or not since.isdigit() or len(since) > _MAX_DIGITS:
        raise invalid(f"That since of {name} is no token of this server")
    return int(since)


def _one_event(receipts: Sequence[Receipt], user_id: UserId) -> bytes | None:
    """The m.receipt event of a room. It has room for one receipt of a kind per user and event: of more, in several
    threads, the one that moved last is told."""
    last = {(receipt.user_id, receipt.kind, receipt.event_id): receipt for receipt in receipts}
    events = receipt_events(list(last.values()), user_id)
    return events[0] if events else None


def _member(room_id: RoomId, value: bytes) -> bytes:
    return orjson.dumps(room_id) + b":" + value
