"""Taking back what somebody said: in all their rooms or in some, with a redaction for each message.

In the name of whoever said it, where that is a member of this server; else of the administrator, or of whoever of this
server has the right. So every server that knows the room hears of it, and every protocol shows it.
spec: Matrix rooms/v3 "Handling redactions"; docs/mapping.md 10.3. Read next: jobs.py, which does it in the background.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.commands import Command, Done, Redact
from tripoint.rooms.jobs import Progress
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.states import parsed
from tripoint.store.interface import RoomStore
from tripoint.store.writes import FLAG_REDACTED

KIND: Final = "redact"
# Events that are looked at in one go; others have their turn in between.
STEP: Final = 200
# Messages of a room that are taken back where nobody says how many.
LIMIT: Final = 1000
# What could not be taken back is named up to here.
MAX_FAILED: Final = 1000


class Erasing:
    """`carry_out` does one command without looking at how many there were."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        store: RoomStore,
        carry_out: Callable[[Command], Awaitable[Done]],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._store = store
        self._carry_out = carry_out

    async def work(self, wish: JsonObject, progress: Progress) -> JsonObject:
        """The job `redact`: see wish(). The result counts what was taken back, and names what was not."""
        user_id, by = UserId(str(wish["user_id"])), UserId(str(wish["by"]))
        reason, limit = wish.get("reason"), wish.get("limit")
        rooms = wish.get("rooms")
        assert isinstance(rooms, list)
        total, failed = 0, dict[str, str]()
        for room_id in rooms:
            count, refused = await self.in_room(
                RoomId(str(room_id)),
                user_id,
                by if wish.get("use_admin") else user_id,
                by,
                reason=reason if isinstance(reason, str) else None,
                limit=limit if isinstance(limit, int) else LIMIT,
            )
            total += count
            failed |= dict(list(refused.items())[: MAX_FAILED - len(failed)])
        return {"total_redactions": total, "failed_redactions": dict(failed)}

    async def everywhere(self, user_id: UserId, rooms: Sequence[RoomId]) -> None:
        """All that a user of this server said in these rooms, by himself: he wants to be forgotten."""
        for room_id in rooms:
            await self.in_room(room_id, user_id, user_id, user_id, reason=None, limit=None)

    async def in_room(
        self,
        room_id: RoomId,
        user_id: UserId,
        actor: UserId,
        by: UserId,
        *,
        reason: str | None,
        limit: int | None,
    ) -> tuple[int, dict[str, str]]:
        """(how many, what was not and why). The newest first, state aside. `actor` tries it first, then `by`, then
        whoever of this server has the most power there."""
        room = await self._rooms.find(room_id)
        if room is None:
            return 0, {}
        count, failed, upto, more = 0, dict[str, str](), room.last_position, True
        while more and (limit is None or count + len(failed) < limit):
            page = await self._store.load_timeline(
                room.room_key, after=room.oldest, upto=upto, limit=STEP, backward=True
            )
            for stored in page:
                if limit is not None and count + len(failed) >= limit:
                    break
                event = parsed(stored, room.version)
                told = event.is_state or event.type == "m.room.redaction" or stored.flags & FLAG_REDACTED
                if event.sender != user_id or told:
                    continue
                command = Redact(actor=actor, room_id=room_id, event_id=event.event_id, reason=reason)
                why = await self._redact(room, command, by)
                if why is None:
                    count += 1
                else:
                    failed[event.event_id] = why
            more = len(page) == STEP
            upto = page[-1].place - 1 if page else upto
            await asyncio.sleep(0)
        return count, failed

    async def _redact(self, room: Room, command: Redact, by: UserId) -> str | None:
        """Why it could not be done; None: it is done."""
        why = Refusal.NO_AUTHORITY.value
        for actor in self._actors(room, command.actor, by):
            try:
                await self._carry_out(replace(command, actor=actor))
                return None
            except Refused as refused:
                if refused.refusal is Refusal.NO_SUCH_EVENT:
                    return None  # somebody was faster
                if refused.refusal is Refusal.SERVER_BUSY:
                    raise
                why = refused.text
        return why

    def _actors(self, room: Room, first: UserId, then: UserId) -> list[UserId]:
        power = room.head_power()
        here = [user_id for user_id in room.joined() if server_of(user_id) == self._server]
        highest = max(here, key=lambda user_id: (power.user(user_id), user_id), default=None)
        wanted = [first, then] if highest is None else [first, then, highest]
        return [user_id for user_id in dict.fromkeys(wanted) if room.head_membership(user_id) == "join"]


def wish(
    user_id: UserId, rooms: Sequence[RoomId], by: UserId, *, reason: str | None, limit: int | None, use_admin: bool
) -> JsonObject:
    """What is asked of the job. `use_admin`: in the administrator's name from the first."""
    return {
        "user_id": user_id,
        "rooms": list(rooms),
        "by": by,
        "reason": reason,
        "limit": limit,
        "use_admin": use_admin,
    }

