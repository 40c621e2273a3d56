"""A small room made of signed events, for tests of rules, state resolution and standing. No store, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tripoint.core.auth_rules import auth_keys_for, check_event_auth
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, EventDraft, StateKey, build_event, reference_text
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, server_of
from tripoint.core.room_version import ROOM_VERSIONS, RoomVersion
from tripoint.core.signing import SigningKey
from tripoint.core.state_res import resolve

KEY = SigningKey("ed25519:test", bytes(range(32)))
ALICE = UserId("@alice:one.example")
BOB = UserId("@bob:one.example")
CAROL = UserId("@carol:two.example")
DAVE = UserId("@dave:two.example")


class RoomBuilder:
    """Makes events with chosen parents and state. `events` holds all that were made, by id."""

    def __init__(self, version: str = "12", creator: UserId = ALICE, **create_content: object) -> None:
        self.version: RoomVersion = ROOM_VERSIONS[version]
        self.events: dict[EventId, Event] = {}
        self._hashes: dict[EventId, str] = {}
        self.now = 1_000
        content: JsonObject = {"room_version": version, **create_content}  # type: ignore[dict-item]
        room_id = None
        if not self.version.room_id_is_create_hash:
            room_id = RoomId(f"!room:{server_of(creator)}")
        if self.version.creator_in_content:
            content.setdefault("creator", creator)
        self.room_id = room_id
        self.create = self.make(creator, "m.room.create", content, "", parents=(), state={}, auth=())
        self.room_id = self.create.room_id

    def make(
        self,
        sender: str,
        event_type: str,
        content: JsonObject,
        state_key: str | None = None,
        *,
        state: Mapping[StateKey, EventId] | None = None,
        parents: Sequence[Event] | None = None,
        auth: Iterable[EventId] | None = None,
        at_ms: int | None = None,
        redacts: EventId | None = None,
    ) -> Event:
        """An event at `state`; its auth events come from there unless given. Checked against nothing."""
        if auth is None:
            keys = auth_keys_for(event_type, sender, state_key, content, self.version)
            auth = [(state or {})[key] for key in keys if key in (state or {})]
        if parents is None:
            parents = (self.create,)
        self.now += 1_000
        event = build_event(
            EventDraft(event_type, UserId(sender), content, state_key, redacts),
            self.version,
            room_id=self.room_id,
            prev_events=[parent.event_id for parent in parents],
            auth_events=list(auth),
            depth=max((parent.depth for parent in parents), default=0) + 1,
            origin_server_ts=self.now if at_ms is None else at_ms,
            server=ServerName(server_of(UserId(sender))),
            key=KEY,
            hashes=self._hashes,
        )
        self._hashes[event.event_id] = reference_text(event)
        self.events[event.event_id] = event
        return event

    def line(self, *steps: tuple[str, str, JsonObject, str | None]) -> dict[StateKey, Event]:
        """Events one after the other from the create event on, each allowed; the state at the end."""
        state: dict[StateKey, Event] = {self.create.key: self.create}
        last = self.create
        for sender, event_type, content, state_key in steps:
            ids = {key: event.event_id for key, event in state.items()}
            event = self.make(sender, event_type, content, state_key, state=ids, parents=(last,))
            check_event_auth(event, state)
            if event.is_state:
                state[event.key] = event
            last = event
        return state


def join(user: str) -> tuple[str, str, JsonObject, str | None]:
    """A step of RoomBuilder.line."""
    return user, "m.room.member", {"membership": "join"}, user


def rule(sender: str, join_rule: str) -> tuple[str, str, JsonObject, str | None]:
    return sender, "m.room.join_rules", {"join_rule": join_rule}, ""


def powers(sender: str, **content: object) -> tuple[str, str, JsonObject, str | None]:
    return sender, "m.room.power_levels", content, ""  # type: ignore[return-value]


def ids_of(state: Mapping[StateKey, Event]) -> dict[StateKey, EventId]:
    return {key: event.event_id for key, event in state.items()}


class Fork:
    """One side of a room whose servers cannot hear each other: events go onto this side's own state."""

    def __init__(self, room: RoomBuilder, state: Mapping[StateKey, Event], last: Event) -> None:
        self.room, self.state, self.last = room, dict(state), last

    def add(
        self,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = "",
        at_ms: int | None = None,
    ) -> Event:
        keys = auth_keys_for(event_type, sender, state_key, content, self.room.version)
        auth = [self.state[key].event_id for key in keys if key in self.state]
        event = self.room.make(sender, event_type, content, state_key, auth=auth, parents=(self.last,), at_ms=at_ms)
        check_event_auth(event, self.state)
        if event.is_state:
            self.state[event.key] = event
        self.last = event
        return event

    def fork(self) -> Fork:
        return Fork(self.room, self.state, self.last)


def base(number: str = "12", **power_levels: Any) -> tuple[RoomBuilder, Fork]:
    """Alice's room with Bob (50) and Carol in it; anybody may join."""
    room = RoomBuilder(number)
    users = {BOB: 50} if number == "12" else {ALICE: 100, BOB: 50}
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), powers(ALICE, **{"users": users, **power_levels})
    )
    return room, Fork(room, state, state[("m.room.power_levels", "")])


def merged(room: RoomBuilder, *states: Mapping[StateKey, Event]) -> dict[StateKey, Event]:
    sets = [ids_of(state) for state in states]
    result = resolve(room.version, sets, room.events)
    assert resolve(room.version, sets[::-1], room.events) == result
    return {key: room.events[event_id] for key, event_id in result.items()}
