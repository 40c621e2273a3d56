"""One session of BOSH: requests that come in any order and wait, answers that are kept until they have arrived.

To the stream it is a wire like any other (stream.py): what is written waits for a request that it can answer. Requests
are numbered; they are taken in that order, and answered in it. All times are of the loop's clock, in seconds.
spec: XEP-0124 8-15; XEP-0206 4-6.  Read next: bosh.py, which speaks HTTP.
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tripoint.xmpp.bosh_body import VERSION, XBOSH_NS, Body, write_body
from tripoint.xmpp.wire import (
    CLIENT_NS,
    MAX_STANZA_BYTES_UNAUTHENTICATED,
    Broken,
    Element,
    StreamClosed,
    StreamEvent,
    StreamOpened,
    render,
)

if TYPE_CHECKING:
    from tripoint.xmpp.stream import ClientStream

MAX_WAIT_S: Final = 60
INACTIVITY_S: Final = 60
POLLING_S: Final = 2
MAX_PAUSE_S: Final = 120
# spec: XEP-0124 7.1: one is what clients that keep their connections ask for
MAX_HOLD: Final = 1
# How often one request may come again before it was answered (14.3).
MAX_REPEATS: Final = 5

Answered = asyncio.Future[bytes]


class BoshFraming:
    """The stream inside of bodies, whose attributes open and end it. spec: XEP-0206 4, 5"""

    starttls = False  # spec: XEP-0206 4: what is encrypted is the HTTP
    ending = b""

    def __init__(self) -> None:
        self.renewals = 0
        self.max_bytes = MAX_STANZA_BYTES_UNAUTHENTICATED
        self._over = False
        self._events: list[StreamEvent] = []

    def renew(self, max_stanza_bytes: int) -> None:
        self.renewals += 1
        self.max_bytes = max_stanza_bytes

    def widen(self, max_stanza_bytes: int) -> None:
        self.max_bytes = max_stanza_bytes

    def close(self) -> None:
        self._over = True

    def opening(self, attributes: str) -> bytes:
        return b""

    def put(self, body: Body) -> None:
        """The next request; receive() gives what is in it."""
        opens = body.sid is None or body.restart
        if opens:
            # spec: XEP-0206 3: older clients do not say it
            version = body.version or "1.0"
            self._events.append(StreamOpened(body.to, body.from_, version, body.lang, CLIENT_NS))
        else:
            # spec: XEP-0206 5: what comes along with a restart is ignored
            self._events += [self._checked(payload, body) for payload in body.payloads]
        if body.terminate:
            self._events.append(StreamClosed())

    def _checked(self, payload: Element, body: Body) -> StreamEvent:
        if body.size > self.max_bytes and len(render(payload)) > self.max_bytes:
            return Broken("policy-violation", "The stanza is larger than this server takes")
        return payload

    def receive(self, data: bytes) -> list[StreamEvent]:
        events, self._events = self._events, []
        return [] if self._over else events


@dataclass(slots=True)
class _Held:
    """A request that was taken and not answered."""

    rid: int
    answer: Answered
    body: Body
    repeats: int = 0
    timer: asyncio.TimerHandle | None = None


class BoshSession:
    """stream.Wire. `ended(session)` is called when its id leads nowhere any more."""

    def __init__(
        self, sid: str, first: Body, domain: str, *, secure: bool, ended: Callable[["BoshSession"], None]
    ) -> None:
        self.sid = sid
        self.secure = secure
        self.kind = ""  # of the answers
        self.framing = BoshFraming()
        self.stream: ClientStream | None = None
        self.legacy = first.ver is None
        # spec: XEP-0124 7.1, 7.2, 12: without waiting or holding it is polled
        self._wait_s = min(MAX_WAIT_S, MAX_WAIT_S if first.wait is None else first.wait)
        self._hold = 0 if self._wait_s == 0 else min(MAX_HOLD, MAX_HOLD if first.hold is None else first.hold)
        self._requests = self._hold + 1
        self._domain = domain
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._next = first.rid
        self._arrived: dict[int, _Held] = {}
        self._held: deque[_Held] = deque()
        self._answered: OrderedDict[int, bytes] = OrderedDict()
        self._dropped: dict[int, None] = {}
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._key = first.newkey
        self._paused = False  # the stream takes no more just now
        self._closing = False  # no stream any more
        self._told_end = False
        self._over = False  # the id leads nowhere
        self._condition: str | None = None
        self._new = True
        self._rests_s: float = INACTIVITY_S
        self._idle: asyncio.TimerHandle | None = None
        self._pumping = False
        self._was_empty_at: float | None = None  # when an empty request came whose answer brought nothing
        self._arrived_at = 0.0

    # -- requests

    async def ask(self, body: Body) -> bytes:
        """The answer to a request, when it is due. Cancelled where its connection goes: what is written from then on
        waits for another request, and this one may come again."""
        taken = self._take(body)
        if isinstance(taken, bytes):
            return taken
        try:
            return await taken
        except asyncio.CancelledError:
            self._drop(taken)
            raise

    def _take(self, body: Body) -> bytes | Answered:
        rid = body.rid
        if rid in self._answered:
            return self._answered[rid]
        known = self._arrived.get(rid) or next((one for one in self._held if one.rid == rid), None)
        if known is not None:
            return self._again(known)
        if self._told_end:
            return self._refuse("item-not-found")
        if rid in self._dropped:
            return self._hold_again(body)
        spare = 1 if body.terminate or body.pause is not None else 0
        if not self._next <= rid < self._next + self._requests + spare:
            # spec: XEP-0124 14.2, 14.3: the same for what is too large and too small
            return self._refuse("item-not-found")
        self._stir()
        made = _Held(rid, self._loop.create_future(), body)
        self._arrived[rid] = made
        self._advance()
        return made.answer

    def _again(self, known: _Held) -> bytes | Answered:
        """spec: XEP-0124 14.3: the older of the two is told to be one, the later one gets the answer"""
        known.repeats += 1
        if known.repeats > MAX_REPEATS:
            return self._refuse("policy-violation")
        if not known.answer.done():
            known.answer.set_result(write_body([("type", "error")]))
        known.answer = self._loop.create_future()
        return known.answer

    def _drop(self, answer: Answered) -> None:
        """Nobody waits for this answer any more."""
        dropped = next((one for one in self._held if one.answer is answer), None)
        if dropped is None:
            return
        self._held.remove(dropped)
        if dropped.timer is not None:
            dropped.timer.cancel()
        self._dropped[dropped.rid] = None
        while len(self._dropped) > self._requests:
            del self._dropped[next(iter(self._dropped))]
        if not self._held:
            self._rest()

    def _hold_again(self, body: Body) -> Answered:
        """A request whose connection went before it was answered: what was in it is done. spec: XEP-0124 14.3"""
        del self._dropped[body.rid]
        self._stir()
        again = _Held(body.rid, self._loop.create_future(), body)
        again.timer = self._loop.call_later(self._wait_s, self._expire)
        self._held = deque(sorted((*self._held, again), key=lambda one: one.rid))
        self._schedule()
        return again.answer

    def _advance(self) -> None:
        """Take what has come, in its order."""
        while not self._paused and (taken := self._arrived.pop(self._next, None)) is not None:
            self._next += 1
            body = taken.body
            self._held.append(taken)
            if not self._is_keyed(body):
                self._refuse("item-not-found")
                return
            if self._is_too_busy(body):
                self._refuse("policy-violation")
                return
            taken.timer = self._loop.call_later(self._wait_s, self._expire)
            if body.pause is not None and body.pause <= MAX_PAUSE_S:
                self._pause(body.pause)
            elif self.stream is not None and not self._closing:
                self.framing.put(body)
                self.stream.receive(b"")
            if taken.answer.cancelled():
                self._drop(taken.answer)  # its connection went before its turn came
        self._schedule()

    def _is_keyed(self, body: Body) -> bool:
        """spec: XEP-0124 15.4, 15.5"""
        if self._new or self._key is None:
            self._key = body.newkey or self._key
            return True
        if body.key is None:
            return False
        made = hashlib.sha1(body.key.lower().encode(), usedforsecurity=False).hexdigest()
        fits = hmac.compare_digest(made, self._key.lower())
        self._key = body.newkey or body.key
        return fits

    def _is_too_busy(self, body: Body) -> bool:
        """spec: XEP-0124 11, 12"""
        now, before = self._loop.time(), self._arrived_at
        self._arrived_at = now
        excused = body.terminate or body.pause is not None
        if len(self._held) > self._requests and not excused:
            return True
        if not body.is_empty or self._closing:
            self._was_empty_at = None
            return False
        if self._hold and len(self._held) == self._requests and now - before < POLLING_S:
            return True
        if self._hold == 0:
            polled, self._was_empty_at = self._was_empty_at, now
            return polled is not None and now - polled < POLLING_S
        return False

    def _pause(self, seconds: int) -> None:
        """spec: XEP-0124 10: everything is answered, without payloads"""
        while self._held:
            self._answer(self._held[0], b"")
        self._rests_s = seconds
        self._rest()

    # -- answers

    def created(self) -> list[tuple[str, str]]:
        """What the answer to the first request says of the session."""
        version = f"{VERSION[0]}.{VERSION[1]}"
        return [
            ("sid", self.sid),
            ("wait", str(self._wait_s)),
            ("requests", str(self._requests)),
            ("hold", str(self._hold)),
            ("inactivity", str(INACTIVITY_S)),
            ("polling", str(POLLING_S)),
            ("maxpause", str(MAX_PAUSE_S)),
            ("ver", version),
            ("from", self._domain),
            ("xmlns:xmpp", XBOSH_NS),
            ("xmpp:version", "1.0"),
            ("xmpp:restartlogic", "true"),
        ]

    def _schedule(self) -> None:
        """Answer at the end of this turn of the loop: what is written in it goes together."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._over:
            return
        if self._pending and self._held:
            payload, self._pending, self._pending_bytes = b"".join(self._pending), [], 0
            self._answer(self._held[0], payload)
        if self._closing:
            while self._held:
                self._answer(self._held[0], b"")
        while len(self._held) > self._hold:
            self._answer(self._held[0], b"")
        if not self._held:
            self._rest()

    def _answer(self, held: _Held, payload: bytes) -> None:
        """The oldest request of those that wait."""
        assert self._held[0] is held, "answers go out in the order of requests"
        self._held.popleft()
        if held.timer is not None:
            held.timer.cancel()
        attributes = self.created() if self._new else []
        self._new = False
        if self._closing and not self._told_end:
            # spec: XEP-0124 13: on the oldest connection; 17.2; XEP-0206 6
            self._told_end = True
            attributes.append(("type", "terminate"))
            condition = "remote-stream-error" if b"<stream:error" in payload else self._condition
            if condition is not None:
                attributes.append(("condition", condition))
        elif not self._closing:
            highest = self._next - 1
            if highest != held.rid or attributes:
                attributes.append(("ack", str(highest)))
        if payload:
            self._was_empty_at = None
        answer = write_body(attributes, payload)
        if held.body.pause is None:
            # spec: XEP-0124 14.3
            self._answered[held.rid] = answer
            while len(self._answered) > self._requests:
                self._answered.popitem(last=False)
        if not held.answer.done():
            held.answer.set_result(answer)

    def _expire(self) -> None:
        """The oldest request has waited as long as it may."""
        if self._held:
            self._answer(self._held[0], b"")
        if not self._held:
            self._rest()

    def _refuse(self, condition: str) -> bytes:
        """The session is over, since its client does what it may not."""
        self._condition = condition
        answer = write_body([("type", "terminate"), ("condition", condition)])
        self.abort()
        self._vanish()
        return answer

    # -- silence

    def _stir(self) -> None:
        """A new request is here."""
        self._rests_s = INACTIVITY_S
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _rest(self) -> None:
        """No request waits: the next one has to come in time, also for an answer that was lost. spec: XEP-0124 10"""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._loop.call_later(self._rests_s, self._forgotten)

    def _forgotten(self) -> None:
        self._idle = None
        self.abort()
        self._vanish()

    def _vanish(self) -> None:
        self._over = True
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        for one in (*self._held, *self._arrived.values()):
            if one.timer is not None:
                one.timer.cancel()
            if not one.answer.done():
                one.answer.set_result(write_body([("type", "terminate"), *self._why()]))
        self._held.clear()
        self._arrived.clear()
        self._ended(self)

    def _why(self) -> Sequence[tuple[str, str]]:
        return () if self._condition is None else (("condition", self._condition),)

    # -- stream.Wire

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._schedule()

    def get_write_buffer_size(self) -> int:
        return self._pending_bytes

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._advance)

    def close(self) -> None:
        """What was written goes out with the end of the session."""
        if self._closing:
            return
        self._closing = True
        self._loop.call_soon(self._lose)
        self._schedule()

    def abort(self) -> None:
        """The client is gone, or has to go: what was written is lost."""
        self._pending, self._pending_bytes = [], 0
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)
        self._schedule()

    def _lose(self) -> None:
        if self.stream is not None:
            self.stream.lost()
