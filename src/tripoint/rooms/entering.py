"""Coming into a room that lives on other servers: its state is taken over from the answer to our join.

spec: Matrix server-server-api "Joining Rooms". The handshake before this is elsewhere.py.
"""

import asyncio
from contextlib import nullcontext

from msgspec.structs import replace

from tripoint.core.auth_rules import state_of
from tripoint.core.event import Event
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outliers import OutlierJudge, Outliers, permits
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import Entered
from tripoint.rooms.remote_writer import RemotePlace, RemoteWriter
from tripoint.rooms.room import Head, Room, StateKey
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import AddEvent, PlaceEvent, PutMissingPast, PutPartialRoom, PutRoom, PutStrippedState, Write

_VISIBILITY = ("m.room.history_visibility", "")
# Where the visibility that held before our join stands: before all that this server has (AddEvent).
BEFORE_ALL = 0


class Entering:
    """Makes rooms out of what send_join answers."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        remote: RemoteWriter,
        outliers: OutlierJudge,
        store: RoomStore,
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._remote = remote
        self._outliers = outliers
        self._store = store

    async def enter(self, entered: Entered) -> Room:
        """Take a room over, new or known from before (from an invitation, or because this server has been in it).

        Called with the room's turn held. Refused(BAD_CONTENT) where the state does not allow the join or is not
        that of this room.
        """
        join = entered.event
        known = await self._rooms.find(join.room_id)
        room_key = self._writer.mint_room_key() if known is None else known.room_key
        stored = await self._store.load_event(join.event_id)
        if known is not None and stored is not None and join.event_id in known.head.extremities:
            return known
        judged = await self._outliers.judge(room_key, (*entered.auth_chain, *entered.state))
        state = _state(entered, judged)
        # No await from here on: the outliers' keys are fresh.
        writes: list[Write] = [*judged.writes]
        keys = {key: judged.keys[event.event_id] for key, event in state.items()}
        if known is None:
            room = _new_room(join.version, state, keys, _row(room_key, join, state))
            # Where other users of this server stand is kept for each of them.
            changed: dict[StateKey, Event | None] = {
                key: event for key, event in state.items() if self._is_local_member(key)
            }
        else:
            room = known
            room.row = replace(_row(room_key, join, state), listed=room.row.listed, direct_pair=room.row.direct_pair)
            changed = {key: event for key, event in state.items() if room.head_event(*key) is not event}
            changed |= {key: None for key in room.state if key not in state}
            writes.append(PutStrippedState(room_key, None))
        changed[join.key] = join
        if known is None or known.outside:
            _show_visibility(judged, keys.get(_VISIBILITY), writes)
            writes.extend(PutMissingPast(room_key, event_id, 0) for event_id in join.prev_events)
        partial = None
        if entered.members_omitted:
            partial = PutPartialRoom(room_key, join.event_id, entered.servers)
            writes.append(partial)

        def committed() -> None:
            room.partial = partial
            self._rooms.add(room)

        place = RemotePlace(
            event=join,
            known_key=None if stored is None else stored.event_key,
            flags=0,
            own_key=-1,
            before=keys,
            before_group=None,
            after={**keys, join.key: -1},
            current={**keys, join.key: -1},
            changed=changed,
            enters=True,
        )
        with self._rooms.expecting(room) if known is None else nullcontext():
            await asyncio.shield(self._remote.submit(room, place, writes=writes, on_commit=committed))
        return room

    def _is_local_member(self, key: StateKey) -> bool:
        return key[0] == "m.room.member" and key[1].endswith(f":{self._writer.signer.server}")


def _state(entered: Entered, judged: Outliers) -> dict[StateKey, Event]:
    """The state before the join, as far as it passes the rules. Refused(BAD_CONTENT) if it is not good enough."""
    join = entered.event
    # What the join cites is the state before it as well: members that were left out may be among that.
    cited = (event for event in entered.auth_chain if event.event_id in join.auth_events)
    good = [
        event
        for event in (*cited, *entered.state)
        if event.is_state and event.event_id in judged.keys and event.event_id not in judged.rejected
    ]
    if any(event.room_id != join.room_id for event in good):
        raise Refused(Refusal.BAD_CONTENT, "The other server answered with the state of another room")
    state = state_of(good)
    create = state.get(("m.room.create", ""))
    if create is None or not permits(state, join):
        raise Refused(Refusal.BAD_CONTENT, "The other server's room does not let this server in")
    # spec: m.room.create room_version: absent means "1".
    if create.content.get("room_version", "1") != join.version.id:
        raise Refused(Refusal.BAD_CONTENT, "The other server named another room version than the room has")
    return state


def _row(room_key: int, join: Event, state: dict[StateKey, Event]) -> PutRoom:
    return PutRoom(
        room_key=room_key,
        room_id=join.room_id,
        version=join.version.id,
        head_group=0,
        extremities=(),
        created_ts_ms=state["m.room.create", ""].origin_server_ts,
        listed=False,
        temporary=False,
        locked_until_ms=None,
        unlock_join_rule=None,
        direct_pair=None,
    )


def _new_room(
    version: RoomVersion, state: dict[StateKey, Event], keys: dict[StateKey, int], row: PutRoom
) -> Room:
    return Room(
        row,
        version,
        state,
        keys=keys,
        positions=dict.fromkeys(state, 0),
        aliases=(),
        last_position=0,
        head=Head({}, 0, 0, 0),
    )


def _show_visibility(judged: Outliers, key: int | None, writes: list[Write]) -> None:
    """Place the history visibility that the room has: what its past shows is judged by it (visibility.py)."""
    if key is None:
        return
    for index, write in enumerate(writes):
        if isinstance(write, AddEvent) and write.event_key == key:
            writes[index] = replace(write, position=BEFORE_ALL)
            return
    writes.append(PlaceEvent(key, BEFORE_ALL, 0, 1))
