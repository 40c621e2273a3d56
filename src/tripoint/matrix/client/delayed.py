"""Events that are sent later: scheduling, looking, putting off, sending at once, cancelling.

By the names of the proposal as it is now, and as clients of today send them: `delay` with the ordinary endpoints, the
action in the body. Whoever knows an id may act on it without a token, so that a client can leave it with the server of
a call; with a token one acts on one's own alone.
spec: MSC4140, and its text of December 2025
"""

from collections.abc import Awaitable, Callable

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.client.sticky import sticky_ms_of
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.delayed import MAX_DELAY_MS, Delayed, DelayedEvent, Finalised, TooMany
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused

UNSTABLE = "org.matrix.msc4140"
DELAY = f"{UNSTABLE}.delay"
_PREFIX = f"/_matrix/client/unstable/{UNSTABLE}"
# A call's heartbeat is every few seconds.
_PACE = Rate(30, 2)


class DelayedEndpoints:
    def __init__(
        self, delayed: Delayed, reader: RoomReader, now_ms: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._delayed = delayed
        self._reader = reader
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._pace = TokenBuckets(_PACE)
        self._actions: dict[str, Callable[[DelayedEvent], Awaitable[None]]] = {
            "send": delayed.send_now,
            "cancel": delayed.cancel,
            "restart": delayed.restart,
        }

    @endpoint("PUT", f"{_PREFIX}/rooms/{{roomId}}/delayed_event/{{eventType}}/{{txnId}}")
    async def schedule(self, call: Call) -> Response:
        body = call.json()
        delay_ms, state_key, content = body.get("delay_ms"), body.get("state_key"), body.get("content")
        if not isinstance(delay_ms, int) or isinstance(delay_ms, bool) or delay_ms <= 0:
            raise missing("delay_ms") if "delay_ms" not in body else invalid("delay_ms is a number above 0")
        if not isinstance(content, dict):
            raise missing("content") if "content" not in body else bad_json("content is an object")
        if state_key is not None and not isinstance(state_key, str):
            raise bad_json("state_key is a text")
        return await self._schedule(call, state_key, content, delay_ms, f"delayed {call.path['txnId']}")

    def asks(self, call: Call) -> bool:
        """Whether a request to send an event asks for it to be sent later."""
        return call.query(DELAY) is not None

    async def instead(self, call: Call, *, state: bool) -> Response:
        """The answer to such a request. spec: MSC4140 of December 2025, "Scheduling a delayed event"."""
        delay_ms = call.number(DELAY)
        if not delay_ms:
            raise invalid("The delay is a number of milliseconds above 0")
        state_key = call.path.get("stateKey", "") if state else None
        # A state event has no transaction id: each request is another one.
        mark = f"{self._now_ms()} {self._monotonic()}" if state else f"send {call.path['txnId']}"
        return await self._schedule(call, state_key, call.json(), delay_ms, mark)

    async def _schedule(
        self, call: Call, state_key: str | None, content: JsonObject, delay_ms: int, mark: str
    ) -> Response:
        room_id, type_ = RoomId(call.path["roomId"]), call.path["eventType"]
        self._take(call.user_id)
        room = await self._reader.room(room_id)
        if room.membership(call.user_id) != "join":
            raise Refused(Refusal.NOT_JOINED)
        if delay_ms > MAX_DELAY_MS:
            told: JsonObject = {f"{UNSTABLE}.errcode": "M_MAX_DELAY_EXCEEDED", f"{UNSTABLE}.max_delay": MAX_DELAY_MS}
            raise MatrixError(403, "M_FORBIDDEN", f"An event is delayed by {MAX_DELAY_MS} ms at most", **told)
        event = DelayedEvent(
            delay_id=self._delayed.id_of(call.session, f"{room_id} {type_} {state_key} {mark}"),
            user_id=call.user_id,
            room_id=room_id,
            type=type_,
            state_key=state_key,
            content=content,
            delay_ms=delay_ms,
            since_ms=self._now_ms(),
            sticky_ms=sticky_ms_of(call),
        )
        try:
            return json_response({"delay_id": await self._delayed.schedule(event)})
        except TooMany as error:
            more: JsonObject = {f"{UNSTABLE}.errcode": "M_MAX_DELAYED_EVENTS_EXCEEDED"}
            raise MatrixError(429, "M_LIMIT_EXCEEDED", str(error), retry_after_ms=error.wait_ms, **more) from error

    @endpoint("POST", f"{_PREFIX}/delayed_events/{{delay_id}}/{{action}}", auth=Auth.OPTIONAL)
    async def act(self, call: Call) -> Response:
        return await self._act(call, call.path["action"])

    @endpoint("POST", f"{_PREFIX}/delayed_events/{{delay_id}}", auth=Auth.OPTIONAL)
    async def act_by_body(self, call: Call) -> Response:
        """As clients have sent it since 2024, and do."""
        action = call.json().get("action")
        if action is None:
            raise missing("action")
        return await self._act(call, action if isinstance(action, str) else "")

    async def _act(self, call: Call, action: str) -> Response:
        act = self._actions.get(action)
        if act is None:
            raise invalid(f"An action is one of {', '.join(self._actions)}")
        event = self._delayed.named(call.path["delay_id"])
        caller = call.maybe_caller
        if event is None or (caller is not None and caller.account.user_id != event.user_id):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such delayed event")
        self._take(event.user_id)
        try:
            await act(event)
        except Finalised as error:
            raise MatrixError(409, "M_UNKNOWN", str(error)) from error
        return EMPTY

    @endpoint("GET", f"{_PREFIX}/delayed_events")
    async def listed(self, call: Call) -> Response:
        return json_response({"delayed_events": [_told(event) for event in self._delayed.scheduled(call.user_id)]})

    @endpoint("GET", f"{_PREFIX}/delayed_events/{{delay_id}}")
    async def one(self, call: Call) -> Response:
        event = self._delayed.of(call.user_id, call.path["delay_id"])
        if event is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such delayed event")
        return json_response(_told(event))

    def _take(self, user_id: str) -> None:
        wait_s = self._pace.take(user_id, self._monotonic())
        if wait_s > 0:
            raise Refused(Refusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)


def _told(event: DelayedEvent) -> JsonObject:
    """spec: MSC4140 "Getting a single delayed event"; the older names of two fields beside the new ones"""
    told: JsonObject = {
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.type,
        "delay_ms": event.delay_ms,
        "delay": event.delay_ms,
        "scheduled_at": event.since_ms,
        "running_since": event.since_ms,
        "content": event.content,
    }
    if event.state_key is not None:
        told["state_key"] = event.state_key
    outcome = event.outcome
    if outcome is not None:
        told["finalised_ts"] = outcome.at_ms
        if outcome.event_id is not None:
            told["event_id"] = outcome.event_id
        if outcome.error is not None:
            told["error"] = {"errcode": outcome.error[0], "error": outcome.error[1]}
    return told
