"""Building events on a room's head: several, or none of them.

A transaction chains events onto the head, checks each against the auth rules, and touches nothing until
writer.py takes it over. A refusal in the middle therefore leaves no trace.
"""

from collections.abc import Callable

from tripoint.core.auth_rules import NotAllowed, auth_keys_for, check_event_auth
from tripoint.core.canonical_json import CanonicalJsonError, JsonObject
from tripoint.core.event import (
    Event,
    EventDraft,
    EventTooLarge,
    InvalidEvent,
    build_event,
    reference_text,
)
from tripoint.core.event_format import MAX_PREV_EVENTS
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.power import PowerLevels
from tripoint.core.room_version import EventFormat, RoomVersion
from tripoint.core.signing import SigningKey
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, StateKey


class Signer:
    """This server's name and key, and the clock that dates its events (milliseconds since 1970)."""

    def __init__(self, server: ServerName, key: SigningKey, clock_ms: Callable[[], int]) -> None:
        self.server = server
        self.key = key
        self.clock_ms = clock_ms


class RoomTransaction:
    """Events on their way into one room. `room` None: the first event makes the room. `now_ms`: their time,
    where it is not simply now."""

    def __init__(
        self, signer: Signer, version: RoomVersion, room: Room | None, now_ms: int | None = None
    ) -> None:
        self.room = room
        self.version = version
        self.events: list[Event] = []
        self._signer = signer
        self._now_ms = signer.clock_ms() if now_ms is None else now_ms
        self._changed: dict[StateKey, Event] = {}
        # The events that the next one comes after: depth, and what is written beside the id.
        self._parents: dict[EventId, tuple[int, str]] = (
            {} if room is None else {i: (at.depth, at.reference) for i, at in room.head.extremities.items()}
        )
        self._room_id: RoomId | None = None if room is None else room.room_id
        self._began = () if room is None else room.head.rows()

    @property
    def room_id(self) -> RoomId:
        assert self._room_id is not None, "the create event comes first"
        return self._room_id

    def name_room(self, room_id: RoomId) -> None:
        """The id of a new room whose version does not derive it from the create event."""
        self._room_id = room_id

    def get(self, type_: str, state_key: str = "") -> Event | None:
        """The state event under a key, this transaction's own included."""
        found = self._changed.get((type_, state_key))
        if found is not None:
            return found
        return None if self.room is None else self.room.head_event(type_, state_key)

    def power(self) -> PowerLevels:
        """Power levels, this transaction's own included."""
        if self.room is not None and ("m.room.power_levels", "") not in self._changed:
            return self.room.head_power()
        keys = (("m.room.power_levels", ""), ("m.room.create", ""))
        state = {key: event for key in keys if (event := self.get(*key)) is not None}
        return PowerLevels.from_state(state, self.version)

    @property
    def is_on_head(self) -> bool:
        """Whether the room's head is still where this began."""
        return self.room is None or self._began == self.room.head.rows()

    def again(self) -> "RoomTransaction":
        """The same events on the head as it is now. Raises Refused as append() does."""
        other = RoomTransaction(self._signer, self.version, self.room, self._now_ms)
        for event in self.events:
            other.append(
                event.sender,
                event.type,
                event.content,
                state_key=event.state_key,
                redacts=event.redacts,
                sticky_ms=event.sticky_ms,
            )
        return other

    def append(
        self,
        sender: UserId,
        type_: str,
        content: JsonObject,
        *,
        state_key: str | None = None,
        redacts: EventId | None = None,
        sticky_ms: int | None = None,
    ) -> Event:
        """Build, sign and authorise one event after the ones before it.

        Raises Refused: TOO_LARGE, BAD_CONTENT (not canonical JSON), POWER_TOO_LOW with the rule's own text,
        SERVER_DENIED where the room's access control list keeps this server out. Leaving is always possible.
        """
        server = self._signer.server
        leaves = type_ == "m.room.member" and content.get("membership") == "leave" and state_key == sender
        if self.room is not None and not leaves and not self.room.allows_server(server):
            # spec: docs/mapping.md 21.7: nobody would take it; the room can be read
            raise Refused(Refusal.SERVER_DENIED, f"This server ({server}) is denied in this room")
        auth_state: dict[StateKey, Event] = {}
        auth_events: list[EventId] = []
        for key in auth_keys_for(type_, sender, state_key, content, self.version):
            event = self.get(*key)
            if event is not None:
                auth_state[key] = event
                auth_events.append(event.event_id)
        create = self.get("m.room.create")
        if create is not None:
            auth_state["m.room.create", ""] = create
        prev_events = sorted(self._parents, key=lambda event_id: -self._parents[event_id][0])[:MAX_PREV_EVENTS]
        hashes: dict[EventId, str] = {}
        if self.version.event_format is EventFormat.V1:
            hashes = {event_id: self._parents[event_id][1] for event_id in prev_events}
            hashes |= {found.event_id: reference_text(found) for found in auth_state.values()}
        try:
            event = build_event(
                EventDraft(type_, sender, content, state_key, redacts, sticky_ms=sticky_ms),
                self.version,
                room_id=self._room_id,
                prev_events=prev_events,
                auth_events=auth_events,
                depth=max((depth for depth, _ in self._parents.values()), default=0) + 1,
                origin_server_ts=self._now_ms,
                server=self._signer.server,
                key=self._signer.key,
                hashes=hashes,
            )
        except EventTooLarge as error:
            raise Refused(Refusal.TOO_LARGE, f"That is too large to send: {error}") from error
        except (InvalidEvent, CanonicalJsonError) as error:
            raise Refused(Refusal.BAD_CONTENT, f"That is not well-formed: {error}") from error
        try:
            check_event_auth(event, auth_state, None if self.room is None else self.power())
        except NotAllowed as error:
            raise Refused(Refusal.POWER_TOO_LOW, f"You do not have the rights to do this here ({error})") from error
        self._parents = {event.event_id: (event.depth, reference_text(event))}
        self._room_id = event.room_id
        if event.state_key is not None:
            self._changed[event.type, event.state_key] = event
        self.events.append(event)
        return event
