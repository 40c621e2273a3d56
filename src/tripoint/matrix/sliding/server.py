"""Sliding sync: wait until something happened in the rooms that a client asks for, then say what.

As in /v3/sync readers go by position, so nothing is lost when nobody waits. What was told is kept per connection
(connections.py), and only when the answer is given: one that waits on and one that is asked for again begin from the
same state. spec: MSC4186
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import orjson
from msgspec import Struct

from tripoint.core.ids import DeviceId, EventId, RoomId, UserId
from tripoint.matrix.sliding.bumps import Bumps
from tripoint.matrix.sliding.connections import Connections, State, Told, View
from tripoint.matrix.sliding.extensions import ExtensionAnswers, Scene
from tripoint.matrix.sliding.lists import Window, window
from tripoint.matrix.sliding.places import Marks, Membership, Place, Places
from tripoint.matrix.sliding.request import Request
from tripoint.matrix.sliding.rooms import Results
from tripoint.matrix.sliding.words import Ask
from tripoint.matrix.sync.ephemera import Ephemera
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.matrix.sync.waiting import Waiters
from tripoint.rooms.changes import RoomChange, SessionsEnded, UserChange
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused

# An answer that would take longer than this without a pause lets others run in between.
ROOMS_PER_TURN: Final = 20


class _Answer(Struct, frozen=True):
    """The answer without its pos. `empty`: it says nothing new."""

    body: bytes
    state: State
    empty: bool


class SlidingServer:
    """Answers sliding syncs of all devices; SyncServer hears of the same changes before it."""

    def __init__(
        self,
        reader: RoomReader,
        sync: SyncServer,
        ephemera: Ephemera,
        waiters: Waiters,
        places: Places,
        bumps: Bumps,
        results: Results,
        extensions: ExtensionAnswers,
    ) -> None:
        self._reader = reader
        self._sync = sync
        self._ephemera = ephemera
        self._waiters = waiters
        self._places = places
        self._bumps = bumps
        self._results = results
        self._extensions = extensions
        self.connections = Connections()

    def room_changed(self, change: RoomChange) -> None:
        self._places.room_changed(change)
        self._bumps.room_changed(change)

    def user_changed(self, change: UserChange) -> None:
        self._places.user_changed(change)
        if isinstance(change, SessionsEnded) and not change.kept:
            for device in change.device_ids or self.connections.devices(change.user_id):
                self.connections.end_device(change.user_id, DeviceId(device))

    async def sync(self, user_id: UserId, device_id: DeviceId, request: Request, timeout_s: float) -> bytes:
        """The body of an answer. Waits up to `timeout_s` while there is nothing to say. M_UNKNOWN_POS where the
        connection is not known (any more)."""
        if request.pos is None:
            connection, before = self.connections.begin(user_id, device_id, request.conn_id), None
        else:
            connection, before = self.connections.find(user_id, device_id, request.conn_id, request.pos)
        await self._extensions.acknowledge(user_id, device_id, request.extensions)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            with self._waiters.listening(user_id, device_id) as future:
                answer = await self._answer(user_id, device_id, request, before)
                if future.done():
                    future.result()  # raises where the device was logged out meanwhile
                left_s = deadline - loop.time()
                if not answer.empty or before is None or left_s <= 0 or self._waiters.draining:
                    pos = f"{answer.state.upto.text(self._sync.start)}~{connection.answered(answer.state)}"
                    return b'{"pos":"' + pos.encode() + b'",' + answer.body
                await self._waiters.wait(future, left_s)

    async def _answer(
        self, user_id: UserId, device_id: DeviceId, request: Request, before: State | None
    ) -> _Answer:
        told: Mapping[RoomId, Told] = before.rooms if before is not None else {}
        marks = await self._places.marks(user_id)
        memberships = await self._reader.membership_positions(user_id)
        # Nothing is awaited from here to the copy of the memberships: they are of this very position.
        upto = SyncToken(self._reader.stream_position(), self._ephemera.counter)
        rooms = list(memberships.items())
        places = await self._places.of(user_id, rooms, told)
        view = before.view if before is not None else None
        # Then nothing happened in the rooms that are wanted, but that somebody has read something.
        quiet = view is not None and view.is_of(request, marks, places)
        if view is None or not quiet:
            view = await self._view(user_id, request, rooms, places, marks)
        shown, places = view.window, view.places
        wanted: Iterable[RoomId] = shown.configs
        if before is not None and quiet:
            read = self._ephemera.receipts_since(before.upto.position)
            wanted = [room_id for room_id in read if room_id in shown.configs]
        ask = Ask(
            user_id=user_id,
            session=f"{user_id}/{device_id}",
            upto=upto.position,
            live_from=before.upto.position if before is not None else None,
            stable=request.stable,
            marks=marks,
        )
        said, events = list[bytes](), dict[RoomId, frozenset[EventId]]()
        now = dict(told)
        count = 0
        lists_of = _lists_of(shown) if request.stable else {}
        for room_id in wanted:
            try:
                result = await self._results.of(
                    ask, places[room_id], shown.configs[room_id], told.get(room_id), lists_of.get(room_id, ())
                )
            except Refused as refused:
                if refused.refusal is not Refusal.NO_SUCH_ROOM:
                    raise
                continue  # it ended just now
            now[room_id] = result.told
            if result.body is not None:
                said.append(orjson.dumps(room_id) + b":" + result.body)
                if result.events is not None:
                    events[room_id] = result.events
                count += 1
                if count % ROOMS_PER_TURN == 0:
                    await asyncio.sleep(0)
        for room_id, before_it in () if quiet else told.items():
            if room_id not in memberships:
                result = self._results.ended(ask, room_id, before_it, ())
                del now[room_id]
                if result.body is not None:
                    said.append(orjson.dumps(room_id) + b":" + result.body)
        state = State(upto=upto, rooms=now, view=view) if before is None else _after(before, upto, now, view)
        scene = Scene(
            user_id=user_id,
            device_id=device_id,
            wanted=request.extensions,
            before=before,
            upto=upto,
            window=shown,
            told=now,
            events=events,
        )
        extensions, is_news, state = await self._extensions.of(scene, state)
        lists = ",".join(f'{orjson.dumps(name).decode()}:{{"count":{count}}}' for name, count in shown.counts.items())
        body = b'"lists":{%s},"rooms":{%s},"extensions":%s}' % (lists.encode(), b",".join(said), extensions)
        return _Answer(body, state, not (said or is_news))

    async def _view(
        self,
        user_id: UserId,
        request: Request,
        memberships: list[Membership],
        places: dict[RoomId, Place],
        marks: Marks,
    ) -> View:
        in_spaces = {
            name: await self._places.children(memberships, wanted.filters.spaces)
            for name, wanted in request.lists.items()
            if wanted.filters.spaces is not None
        }
        # What lists do not show comes behind what they show, and in none of them.
        behind: dict[RoomId, Place] = {}
        if any(room_id not in places for room_id in request.subscriptions):
            membership_of = dict(memberships)
            for room_id in request.subscriptions:
                if room_id in membership_of and room_id not in places:
                    place = await self._places.subscribed(user_id, room_id, *membership_of[room_id])
                    if place is not None:
                        behind[room_id] = place
        shown = window(places, request.lists, request.subscriptions, marks, in_spaces, behind)
        return View(
            request.lists, request.subscriptions, marks, {**places, **behind} if behind else places, shown
        )


def _after(before: State, upto: SyncToken, rooms: dict[RoomId, Told], view: View) -> State:
    return State(
        upto=upto,
        rooms=rooms,
        view=view,
        data=before.data,
        receipts=before.receipts,
        typing=before.typing,
        global_data=before.global_data,
        counts=before.counts,
        device_lists=before.device_lists,
        sticky=before.sticky,
    )


def _lists_of(shown: Window) -> dict[RoomId, list[str]]:
    """The lists that hold each room."""
    found: dict[RoomId, list[str]] = {}
    for name, rooms in shown.in_list.items():
        for room_id in rooms:
            found.setdefault(room_id, []).append(name)
    return found
