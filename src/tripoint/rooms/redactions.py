"""Redactions that come from other servers: when they count, and what they do to the event that they name.

A redaction and its target come in any order. The redaction takes its place in the graph at once, and is shown once the
target is here and it may redact it. What comes after its own redaction is kept redacted from the start.
spec: Matrix rooms/v3 "Handling redactions"; rooms/v1 authorisation rule 11. Those of local users are messages.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tripoint.core.event import Event, redact
from tripoint.core.ids import EventId, server_of
from tripoint.core.power import PowerLevels
from tripoint.rooms.room import Room, StateKey
from tripoint.rooms.states import States, parsed
from tripoint.store.interface import RoomStore
from tripoint.store.writes import (
    FLAG_REDACTED,
    FLAG_REJECTED,
    FLAG_SOFT_FAILED,
    PutWaitingRedaction,
    ReplaceEventJson,
    Write,
)


@dataclass(frozen=True, slots=True)
class Redacting:
    """What there is to a new event that redacts another, or was redacted before it came.

    `hidden`: it is a redaction that nobody is shown, since it redacts nothing that is here. `writes` go with it.
    `target`: the event that it redacts, as it is from now on; `original`: as it was. `because`: the redaction that
    came first.
    """

    hidden: bool = False
    writes: tuple[Write, ...] = ()
    target: Event | None = None
    original: Event | None = None
    because: Event | None = None


NOTHING = Redacting()


class Redactions:
    """Looks what a new event of another server has to do with redactions."""

    def __init__(self, store: RoomStore, states: States) -> None:
        self._store = store
        self._states = states

    async def concern(self, event: Event) -> bool:
        """Whether look() can have anything to say of an event."""
        if event.type == "m.room.redaction":
            return True
        return bool(await self._store.load_waiting_redactions(event.event_id))

    async def look(self, room: Room, event: Event, before: Mapping[StateKey, int]) -> Redacting:
        """`before` is the state before the event, which the rules have allowed."""
        if event.type == "m.room.redaction":
            return await self._redacts(room, event, before)
        because = await self._waiting_for(room, event)
        return NOTHING if because is None else Redacting(because=because)

    async def _redacts(self, room: Room, event: Event, before: Mapping[StateKey, int]) -> Redacting:
        if event.redacts is None:
            return Redacting(hidden=True)
        row = await self._store.load_event(event.redacts)
        if row is None or row.room_key != room.room_key:
            return Redacting(hidden=True, writes=(PutWaitingRedaction(event.redacts, event.event_id),))
        target = parsed(row, room.version)
        if not await self._may(event, target, before):
            return Redacting(hidden=True)
        shown = row.position is not None
        if row.redacted_by is not None:
            return Redacting(hidden=not shown)
        gone = redact(target)
        write = ReplaceEventJson(row.event_key, row.flags | FLAG_REDACTED, gone.json, event.event_id)
        return Redacting(hidden=not shown, writes=(write,), target=gone, original=target)

    async def _waiting_for(self, room: Room, event: Event) -> Event | None:
        """A redaction that came before its target and may redact it."""
        waiting: list[EventId] = list(await self._store.load_waiting_redactions(event.event_id))
        for row in (await self._store.load_events_by_id(waiting)).values():
            if row.room_key != room.room_key or row.flags & (FLAG_REJECTED | FLAG_SOFT_FAILED):
                continue
            redaction = parsed(row, room.version)
            # A redaction is no state: the state after it is the one before it.
            if await self._may(redaction, event, await self._states.of_group(row.state_group)):
                return redaction
        return None

    async def _may(self, redaction: Event, target: Event, before: Mapping[StateKey, int]) -> bool:
        if redaction.version.redaction_in_auth_rules:
            return True  # who may not was not let through
        power = PowerLevels.from_state(await self._states.auth_state(before, redaction), redaction.version)
        if power.user(redaction.sender) >= power.redact:
            return True
        return server_of(redaction.sender) == server_of(target.sender)
