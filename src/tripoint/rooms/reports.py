"""Reports: what somebody wants the administrators of this server to look at.

They are kept until one of them has dealt with it (`tripoint reports`, OperServ REPORTS), and those who are there are
told at once (changes.Reported).
spec: Matrix client-server module report-content; XEP-0377; docs/mapping.md 9.13
"""

from tripoint.bus.interface import Bus
from tripoint.core.ids import EventId, UserId, server_of
from tripoint.rooms.changes import Reported, UserChange
from tripoint.rooms.commands import Done, Report
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.states import parsed
from tripoint.rooms.visibility import load_sight
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import AddReport

MAX_REASON = 1000
MAX_EVENTS = 20


class Reports:
    """The handler of Report."""

    def __init__(
        self, rooms: LoadedRooms, writer: Writer, store: RoomStore, people: People, user_bus: Bus[UserChange]
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._people = people
        self._user_bus = user_bus

    async def report(self, command: Report) -> Done:
        if len(command.reason) > MAX_REASON:
            raise Refused(Refusal.TOO_LARGE, f"A report has at most {MAX_REASON} characters")
        if len(command.event_ids) > MAX_EVENTS:
            raise Refused(Refusal.TOO_LARGE, f"A report names at most {MAX_EVENTS} messages")
        if command.event_ids:
            found = [await self._of_event(command, event_id) for event_id in command.event_ids]
        elif command.room_id is not None:
            if await self._rooms.find(command.room_id) is None:
                raise Refused(Refusal.NO_SUCH_ROOM)
            found = [self._row(command, f"room {command.room_id}", None)]
        elif command.target is not None:
            await self._check_user(command.target)
            found = [self._row(command, str(command.target), None)]
        else:
            raise Refused(Refusal.BAD_CONTENT, "Report what?")
        await self._writer.write([row for row, _ in found])
        for _, about in found:
            self._user_bus.publish(Reported(command.actor, about, command.reason))
        return Done()

    async def _of_event(self, command: Report, event_id: EventId) -> tuple[AddReport, str]:
        """spec: report-content: the reporting user has to be joined to the room the event is in."""
        stored = await self._store.load_event(event_id)
        row = None if stored is None else await self._store.load_room_by_key(stored.room_key)
        if stored is None or row is None or stored.position is None:
            raise Refused(Refusal.NO_SUCH_EVENT)
        room = await self._rooms.get(row.room_id)
        if command.room_id not in (None, room.room_id) or room.membership(command.actor) != "join":
            raise Refused(Refusal.NO_SUCH_EVENT)
        sight = await load_sight(self._store, room, command.actor)
        await sight.reach(stored.place)
        if not sight.may_see(stored.place):
            raise Refused(Refusal.NO_SUCH_EVENT)
        sender = parsed(stored, room.version).sender
        if command.target not in (None, sender):
            raise Refused(Refusal.BAD_CONTENT, "That message is somebody else's")
        written = AddReport(
            self._writer.signer.clock_ms(),
            command.actor,
            sender,
            room.room_id,
            event_id,
            command.kind,
            command.reason,
        )
        return written, f"{event_id} of {sender} in {room.canonical_alias or room.room_id}"

    async def _check_user(self, user_id: UserId) -> None:
        local = server_of(user_id) == self._writer.signer.server
        if local and not await self._people.exists(user_id):
            raise Refused(Refusal.NO_SUCH_USER)

    def _row(self, command: Report, about: str, event_id: EventId | None) -> tuple[AddReport, str]:
        written = AddReport(
            self._writer.signer.clock_ms(),
            command.actor,
            command.target,
            command.room_id,
            event_id,
            command.kind,
            command.reason,
        )
        return written, about
