"""Events as clients see them, as bytes that are made once and shared by everybody who reads.

spec: Matrix client-server "Room event format", definitions ClientEvent, UnsignedData
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from tripoint.core import sticky
from tripoint.core.event import Event
from tripoint.core.ids import EventId, UserId
from tripoint.rooms.history import Bundle, HistoryItem

# Rendered events kept; one is some 500 bytes.
CACHED = 20_000


# Types that begin so: clients ring, or do not any more, by the age of these.
AGED = "m.call."


class Own(NamedTuple):
    """What the sender of an event knows it by. spec: UnsignedData transaction_id; MSC4140 delay_id"""

    transaction_id: str | None = None
    delay_id: str | None = None


class Renderer:
    """Client forms of events. `unsigned` of an event is the same for all readers but for what is its sender's own."""

    def __init__(self, sticky_left_ms: Callable[[EventId], int | None], now_ms: Callable[[], int]) -> None:
        """`sticky_left_ms`: how long an event is sticky yet."""
        self._sticky_left_ms = sticky_left_ms
        self._now_ms = now_ms
        self._plain: dict[str, tuple[Event, bytes]] = {}

    def head(self, event: Event) -> bytes:
        """The event without room_id and unsigned, and without its closing brace."""
        found = self._plain.get(event.event_id)
        if found is not None and found[0] is event:
            return found[1]
        body: dict[str, Any] = {
            "type": event.type,
            "sender": event.sender,
            "event_id": event.event_id,
            "origin_server_ts": event.origin_server_ts,
            "content": event.content,
        }
        if event.state_key is not None:
            body["state_key"] = event.state_key
        if event.sticky_ms is not None:
            body[sticky.KEY] = {sticky.DURATION: event.sticky_ms}
        if event.redacts is not None:
            # spec: rooms/v11: clients of older and newer versions find `redacts` in both places.
            body["redacts"] = event.redacts
            body["content"] = {**event.content, "redacts": event.redacts}
        data = orjson.dumps(body)[:-1]
        if len(self._plain) >= CACHED:
            for key in list(self._plain)[: CACHED // 2]:
                del self._plain[key]
        self._plain[event.event_id] = (event, data)
        return data

    def state(self, event: Event) -> bytes:
        """A state event in the `state` of /sync: without room_id."""
        return self.head(event) + b"}"

    def event(self, event: Event) -> bytes:
        """An event by itself, with room_id."""
        return self.head(event) + _room_id(event) + b"}"

    def timeline(
        self, item: HistoryItem, own: Own | None = None, bundle: Bundle | None = None, membership: str | None = None
    ) -> bytes:
        """An event of a /sync timeline: unsigned, no room_id. `membership`: what the reader was then, where the item
        does not say it."""
        return self.head(item.event) + self._unsigned(item, own, bundle, membership) + b"}"

    def history(
        self, item: HistoryItem, own: Own | None = None, bundle: Bundle | None = None
    ) -> bytes:
        """An event of /messages and its kin: unsigned and room_id. `bundle`: what of its children goes with it."""
        return self.head(item.event) + _room_id(item.event) + self._unsigned(item, own, bundle) + b"}"

    def stripped(self, event: Event) -> bytes:
        """spec: "Stripped state": sender, type, state_key and content, and nothing else."""
        return orjson.dumps(
            {
                "type": event.type,
                "sender": event.sender,
                "state_key": event.state_key,
                "content": event.content,
            }
        )

    def _relations(self, bundle: Bundle) -> dict[str, Any]:
        """spec: "Aggregations of child events"."""
        found: dict[str, Any] = {}
        if bundle.replacement is not None:
            found["m.replace"] = orjson.Fragment(self.event(bundle.replacement))
        if bundle.references:
            found["m.reference"] = {"chunk": [{"event_id": event_id} for event_id in bundle.references]}
        thread = bundle.thread
        if thread is not None:
            found["m.thread"] = {
                "latest_event": orjson.Fragment(self.history(thread.latest, None, thread.latest_bundle)),
                "count": thread.count,
                "current_user_participated": thread.participated,
            }
        return found

    def _unsigned(
        self, item: HistoryItem, own: Own | None, bundle: Bundle | None = None, membership: str | None = None
    ) -> bytes:
        unsigned: dict[str, Any] = {}
        if (membership := item.membership or membership) is not None:
            unsigned["membership"] = membership
        if item.replaced is not None:
            unsigned["prev_content"] = item.replaced.content
            unsigned["prev_sender"] = item.replaced.sender
            unsigned["replaces_state"] = item.replaced.event_id
        if item.redacted_because is not None:
            unsigned["redacted_because"] = orjson.Fragment(self.event(item.redacted_because))
        if own is not None and own.transaction_id is not None:
            unsigned["transaction_id"] = own.transaction_id
        if own is not None and own.delay_id is not None:
            unsigned["org.matrix.msc4140.delay_id"] = own.delay_id
        if item.event.sticky_ms is not None and (left_ms := self._sticky_left_ms(item.event.event_id)) is not None:
            unsigned["msc4354_sticky_duration_ttl_ms"] = left_ms
        if item.event.type.startswith(AGED):
            # spec: module voip-events, m.call.invite: whether it is still valid is told by `age`
            unsigned["age"] = self._now_ms() - item.event.origin_server_ts
        if bundle is not None:
            unsigned["m.relations"] = self._relations(bundle)
        return b',"unsigned":' + orjson.dumps(unsigned) if unsigned else b""


def is_of_a_moment(event: Event) -> bool:
    """Whether something is said of an event that is true for a moment: what shows it cannot be kept for others."""
    return event.sticky_ms is not None or event.type.startswith(AGED)


def _room_id(event: Event) -> bytes:
    return b',"room_id":' + orjson.dumps(event.room_id)


def member_event(user_id: UserId) -> tuple[str, str]:
    """The state key under which a user's membership stands."""
    return "m.room.member", user_id
