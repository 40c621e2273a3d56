"""Tells people who are not connected: a lane for each pusher, so that a server that hangs stops nobody else.

A lane holds the places of events, not their texts; what is told is decided when it is sent, so that nobody is told of
what he has read meanwhile. How a kind of pusher is told, and by whose server, is its channel's: the push gateways of
Matrix, Web Push of IRC, push services of XMPP (XEP-0357). A server that does not answer is asked
again later and later; after a day what waits for it is given up, not the pusher.
spec: docs/decisions/push.md; docs/mapping.md 18.5
"""

import asyncio
from bisect import insort
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from tripoint.accounts.pushers import Key as Key
from tripoint.accounts.pushers import Pusher, Pushers
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.ids import UserId
from tripoint.core.relations import child_of
from tripoint.fanout.digests import TICK_S, Digests
from tripoint.fanout.told import Told as Told
from tripoint.rooms.changes import EventCommitted, MembershipChanged, ReceiptMoved, RoomChange, UserChange
from tripoint.rooms.pushing import Alert, Place, Pushing

log = structlog.get_logger()

# Places that wait in one lane; of more the oldest are not told: a hundred alerts are as good as a thousand.
MAX_WAITING: Final = 100
# Requests at a time, of all lanes.
MAX_AT_ONCE: Final = 50
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 3600.0
GIVE_UP_MS: Final = 24 * 3600 * 1000
# How often it is written down how far all lanes are.
SAVE_S: Final = 60.0

class Channel(Protocol):
    """How pushers of one kind are told."""

    async def tell(self, pusher: Pusher, alert: Alert | None, unread: int) -> Told:
        """Of an event, or (None) of how much is unread alone."""


class _Lane:
    """What waits for one pusher. `badge`: that much was unread when it was told last."""

    __slots__ = ("badge", "badge_wanted", "failing_since_ms", "task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Place] = []
        self.badge: int | None = None
        self.badge_wanted = False
        self.failing_since_ms: int | None = None
        self.task: asyncio.Task[None] | None = None


class PushSender:
    """`channels` by the kinds of pushers, but those that are told of several events at once (`digests`); start() before
    changes count, close() at the end."""

    def __init__(
        self,
        pushers: Pushers,
        pushing: Pushing,
        channels: Mapping[str, Channel],
        now_ms: Callable[[], int],
        report: Callable[[str, BaseException], None],
        *,
        digests: Digests | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self.digests = digests
        self._pushers = pushers
        self._pushing = pushing
        self._channels = channels
        self._now_ms = now_ms
        self._report = report
        self._first_retry_s = first_retry_s
        self._lanes: dict[Key, _Lane] = {}
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._saved = 0
        self._scanned = False
        self._task: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.results = {"sent": 0, "failed": 0, "rejected": 0}
        pushers.changed = self._people_changed

    async def start(self) -> None:
        """Take up what was committed and not told before this process began."""
        self._saved = await self._pushing.floor()
        if self.digests is not None:
            await self.digests.start()
            self._ticking = asyncio.create_task(self._tick(self.digests))
        self._task = asyncio.create_task(self._run(self._pushing.committed))

    async def close(self) -> None:
        """End what is on its way: it is told after the next start."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        tasks += [task for task in (self._task, self._ticking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._task is not None:
            await self._save()
        await self._pushers.close()

    # -- what happens

    def room_changed(self, change: RoomChange) -> None:
        if isinstance(change, EventCommitted):
            place = Place(change.position, change.room_id)
            for user_id in self._pushing.concerned(change, self._pushers.users):
                self._add(user_id, place)
            if self.digests is not None and _reads_up_to(change):
                self.digests.said(change.event.sender, place)
        elif isinstance(change, ReceiptMoved) and change.kind != "m.fully_read":
            self._pushing.read(change)
            if self.digests is not None:
                self.digests.read(change.user_id, change.room_id)
            for pusher in self._pushers.of(change.user_id):
                if self._gathers(pusher):
                    continue
                lane = self._lane(pusher.key)
                lane.badge_wanted = True
                self._wake(pusher.key, lane)

    def user_changed(self, change: UserChange) -> None:
        self._pushers.user_changed(change)
        self._pushing.user_changed(change)
        if (
            isinstance(change, MembershipChanged)
            and change.membership == "invite"
            and change.user_id in self._pushers.users
            and isinstance(change.change, EventCommitted)
            and change.change.event.sender != change.user_id
        ):
            # A room of which this server knows nothing but the invitation is in no one's memory.
            self._add(change.user_id, Place(change.change.position, change.room_id))

    def _people_changed(self) -> None:
        self._pushing.forget_people()
        if self.digests is not None:
            self.digests.people_changed()
        for key in [key for key in self._lanes if self._pushers.find(key) is None]:
            lane = self._lanes.pop(key)
            if lane.task is not None and lane.task is not asyncio.current_task():
                lane.task.cancel()

    def _gathers(self, pusher: Pusher) -> bool:
        return self.digests is not None and pusher.kind == self.digests.kind

    def _lane(self, key: Key) -> _Lane:
        return self._lanes.setdefault(key, _Lane())

    def _add(self, user_id: UserId, place: Place) -> None:
        for pusher in self._pushers.of(user_id):
            if place.position <= pusher.position:
                continue
            if self.digests is not None and self._gathers(pusher):
                self.digests.add(pusher, place)
                continue
            lane = self._lane(pusher.key)
            if place in lane.waiting:
                continue
            insort(lane.waiting, place)
            if len(lane.waiting) > MAX_WAITING:
                del lane.waiting[0]
            self._wake(pusher.key, lane)

    def _wake(self, key: Key, lane: _Lane) -> None:
        if lane.task is None:
            lane.task = asyncio.create_task(self._drive(key, lane))

    def again(self, key: Key, place: Place) -> None:
        """Tell a pusher of an event whose client was connected, and may not have heard of it."""
        if self._pushers.find(key) is None:
            return
        lane = self._lane(key)
        if place not in lane.waiting:
            insort(lane.waiting, place)
            del lane.waiting[:-MAX_WAITING]
        self._wake(key, lane)

    # -- lanes

    async def _drive(self, key: Key, lane: _Lane) -> None:
        """Tell what waits, one after the other, until nothing does."""
        try:
            retry_s = self._first_retry_s
            while lane.waiting or lane.badge_wanted:
                pusher = self._pushers.find(key)
                if pusher is None:
                    return
                if await self._step(pusher, lane):
                    lane.failing_since_ms, retry_s = None, self._first_retry_s
                    continue
                self._failed(pusher, lane)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
        except Exception as error:  # a bug in what concerns one pusher must not stop the others
            self._report("push.lane", error)
            lane.waiting.clear()
            lane.badge_wanted = False
        finally:
            lane.task = None

    async def _step(self, pusher: Pusher, lane: _Lane) -> bool:
        """Tell of the oldest event, or of the badge; whether that is done."""
        if not lane.waiting:
            lane.badge_wanted = False
            unread = await self._pushing.badge(pusher.user_id)
            if unread == lane.badge:
                return True
            told = await self._send(pusher, None, unread)
            done = told is not Told.LATER
            lane.badge, lane.badge_wanted = (unread, lane.badge_wanted) if done else (lane.badge, True)
            return done
        place = lane.waiting[0]
        alert = await self._pushing.alert(pusher.user_id, place)
        if alert is not None:
            unread = await self._pushing.badge(pusher.user_id)
            told = await self._send(pusher, alert, unread)
            if told is Told.LATER:
                return False
            lane.badge = unread
            if told is not Told.THERE:  # of what nobody was told there is nothing to write down
                await self._note(pusher, place)
        if place in lane.waiting:
            lane.waiting.remove(place)
        return True

    async def _note(self, pusher: Pusher, place: Place) -> None:
        try:
            await self._pushers.told(pusher, place.position)
        except AccountRefused as refused:
            # After a restart it may be told again; gateways see that by the id of the event.
            log.warning("push.not_written", reason=refused.text)

    async def _send(self, pusher: Pusher, alert: Alert | None, unread: int) -> Told:
        """Tell it once."""
        channel = self._channels.get(pusher.kind)
        if channel is None:
            return Told.DONE  # a kind that this server has no way to tell any more
        async with self._at_once:
            told = await channel.tell(pusher, alert, unread)
        if told in (Told.LATER, Told.THERE):
            return told
        self.results["sent"] += 1
        if told is Told.GONE:
            self.results["rejected"] += 1
            log.info("push.key_rejected", user_id=pusher.user_id, app_id=pusher.app_id)
            try:
                await self._pushers.delete(pusher.key)
            except AccountRefused as refused:
                log.warning("push.not_written", reason=refused.text)
        return told

    def _failed(self, pusher: Pusher, lane: _Lane) -> None:
        self.results["failed"] += 1
        now_ms = self._now_ms()
        if lane.failing_since_ms is None:
            lane.failing_since_ms = now_ms
        elif now_ms - lane.failing_since_ms > GIVE_UP_MS:
            log.warning("push.given_up", app_id=pusher.app_id, kind=pusher.kind, events=len(lane.waiting))
            lane.waiting.clear()
            lane.badge_wanted, lane.failing_since_ms = False, None

    # -- how far it is

    async def _tick(self, digests: Digests) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await digests.tick()
            except Exception as error:  # a bug in one letter must not stop the others
                self._report("push.digests", error)

    async def _run(self, upto: int) -> None:
        try:
            users = self._pushers.users
            async for place, concerned in self._pushing.committed_after(self._saved, upto, users):
                for user_id in concerned:
                    self._add(user_id, place)
            self._scanned = True
            while True:
                await self._save()
                await asyncio.sleep(SAVE_S)
        except Exception as error:  # what goes on live must not end with it
            self._report("push.run", error)

    async def _save(self) -> None:
        if not self._scanned:
            return
        waiting = [lane.waiting[0].position - 1 for lane in self._lanes.values() if lane.waiting]
        floor = min((self._pushing.committed, *waiting))
        # What waits for a letter is written down itself: the floor does not wait for it.
        if self.digests is not None and not await self.digests.save():
            return
        if floor > self._saved and await self._pushing.save_floor(floor):
            self._saved = floor


def _reads_up_to(change: EventCommitted) -> bool:
    """Whether its sender has read what stands before it (docs/decisions/push.md), and not only in a thread."""
    if change.event.state_key is not None:
        return False
    child = child_of(change.event.content)
    return child is None or child[0] != "m.thread"
