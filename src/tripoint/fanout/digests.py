"""Letters about what is unread: events gather for each pusher of this kind, and are told together when it is time.

What is told is decided when a letter is written, so nobody is written to about what he has read meanwhile. What waits
is on disk each minute, before the engine's floor moves on (push.py), so a restart loses nothing and repeats nothing. A
mail server that is away is asked again later and later, by one letter at a time; nothing is given up, since what waits
is bounded.
spec: Matrix client-server POST /pushers/set, kind email; docs/decisions/mail.md. When it is time: core/digest.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from tripoint.accounts.pushers import Key, Pusher, Pushers
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.digest import Digest, Waiting
from tripoint.core.ids import RoomId, UserId
from tripoint.fanout.told import Told
from tripoint.rooms.pushing import Alert, Place, Pushing

log = structlog.get_logger()

# How often it is looked whether a letter is due.
TICK_S: Final = 15.0
FIRST_RETRY_MS: Final = 30_000
LAST_RETRY_MS: Final = 3_600_000


class LetterChannel(Protocol):
    """How pushers of this kind are told."""

    async def write(self, pusher: Pusher, alerts: Sequence[Alert]) -> Told:
        """Of several events at once, by their positions; never none."""


class Digests:
    """`kind`: of the pushers that are told so. tick() is called every TICK_S, start() before anything else."""

    def __init__(
        self, kind: str, pushers: Pushers, pushing: Pushing, channel: LetterChannel, now_ms: Callable[[], int]
    ) -> None:
        self.kind = kind
        self._pushers = pushers
        self._pushing = pushing
        self._channel = channel
        self._now_ms = now_ms
        self._digests: dict[Key, Digest] = {}
        self._unsaved: set[Key] = set()
        self._retry_ms = FIRST_RETRY_MS
        self._not_before_ms = 0
        self.results = {"sent": 0, "failed": 0}

    async def start(self) -> None:
        """What waited when the server stopped."""
        for key, content in (await self._pushers.load_digests()).items():
            try:
                self._digests[key] = msgspec.json.decode(content, type=Digest)
            except msgspec.DecodeError as error:
                log.error("push.digest_unreadable", error=str(error))

    # -- what happens

    def add(self, pusher: Pusher, place: Place) -> None:
        """An event may concern somebody."""
        waiting = Waiting(place.position, place.room_id, self._now_ms())
        self._put(pusher.key, self._digests.get(pusher.key, Digest()).add(waiting))

    def read(self, user_id: UserId, room_id: RoomId) -> None:
        """Somebody has read in a room."""
        for key in self._of(user_id):
            self._put(key, self._digests[key].read(room_id))

    def said(self, user_id: UserId, place: Place) -> None:
        """Somebody has said something in a room: what stands before it there is read."""
        for key in self._of(user_id):
            digest = self._digests[key]
            before = [one for one in digest.waiting if one.room_id == place.room_id and one.position < place.position]
            self._put(key, digest.without(before).read(place.room_id))

    def _of(self, user_id: UserId) -> list[Key]:
        """The digests of one user; those of the others are not looked at."""
        return [pusher.key for pusher in self._pushers.of(user_id) if pusher.key in self._digests]

    def people_changed(self) -> None:
        """Pushers came or went."""
        for key in [key for key in self._digests if self._pushers.find(key) is None]:
            del self._digests[key]
            self._unsaved.discard(key)  # what is on disk of it goes with the pusher

    def waiting(self, pusher: Pusher) -> Digest:
        return self._digests.get(pusher.key, Digest())

    def _put(self, key: Key, digest: Digest) -> None:
        if self._digests.get(key) is not digest:
            self._digests[key] = digest
            self._unsaved.add(key)

    # -- when it is time

    async def tick(self) -> None:
        """Write the letters that are due, one after the other; none while the mail server is away."""
        for key in list(self._digests):
            now_ms = self._now_ms()
            if now_ms < self._not_before_ms:
                return
            digest = self._digests.get(key)
            due_ms = None if digest is None else digest.due_ms()
            if due_ms is not None and due_ms <= now_ms:
                await self._write(key)

    async def _write(self, key: Key) -> None:
        """One letter, unless what was due is read."""
        pusher = self._pushers.find(key)
        if pusher is None:
            return
        before = self._digests[key]
        alerts: list[Alert] = []
        gone: list[Waiting] = []
        for one in before.waiting:
            alert = await self._pushing.alert(key[0], Place(one.position, one.room_id))
            if alert is None:
                gone.append(one)
            else:
                alerts.append(alert)
        if key not in self._digests:
            return
        self._put(key, self._digests[key].without(gone))
        due_ms, now_ms = self._digests[key].due_ms(), self._now_ms()
        if due_ms is None or due_ms > now_ms or not alerts:
            return
        told = await self._channel.write(pusher, alerts)
        if told is Told.LATER:
            self._failed()
            return
        self._retry_ms = FIRST_RETRY_MS
        if told is Told.GONE:
            await self._forget(pusher)
            return
        if key not in self._digests:
            return
        self.results["sent"] += 1
        told_of = {alert.place for alert in alerts}
        later = [one for one in self._digests[key].waiting if Place(one.position, one.room_id) not in told_of]
        digest = self._digests[key].without(later).written(self._now_ms())
        for one in later:  # what came while the letter was written
            digest = digest.add(one)
        self._put(key, digest)
        await self._note(pusher, alerts[-1].place.position)

    def _failed(self) -> None:
        self.results["failed"] += 1
        self._not_before_ms = self._now_ms() + self._retry_ms
        self._retry_ms = min(2 * self._retry_ms, LAST_RETRY_MS)

    async def _forget(self, pusher: Pusher) -> None:
        log.info("push.key_rejected", user_id=pusher.user_id, app_id=pusher.app_id)
        try:
            await self._pushers.delete(pusher.key)
        except AccountRefused as refused:
            log.warning("push.not_written", reason=refused.text)

    async def _note(self, pusher: Pusher, position: int) -> None:
        try:
            await self._pushers.told(pusher, position, self._encoded(pusher.key))
            self._unsaved.discard(pusher.key)
        except AccountRefused as refused:
            # Not known to be told: after a restart the letter may come a second time.
            log.warning("push.not_written", reason=refused.text)

    # -- on disk

    async def save(self) -> bool:
        """Write down what waits; False where the store cannot."""
        unsaved = {key for key in self._unsaved if key in self._digests}
        if unsaved:
            contents: Mapping[Key, bytes] = {key: self._encoded(key) for key in unsaved}
            try:
                await self._pushers.put_digests(contents)
            except AccountRefused as refused:
                log.warning("push.not_written", reason=refused.text)
                return False
        # What changed while it was being written is written next time.
        self._unsaved -= {key for key in unsaved if key in self._digests and self._encoded(key) == contents[key]}
        return True

    def _encoded(self, key: Key) -> bytes:
        return msgspec.json.encode(self._digests[key])
