"""Global profiles, and the member events that follow their display names and avatars.

spec: Matrix client-server "Profiles": a change of display name or avatar goes into every joined room;
docs/mapping.md 2.3, 2.5 (a per-room override stays).
"""

import asyncio
from collections.abc import Callable

from tripoint.bus.interface import Bus
from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.profile import MAX_PROFILE_BYTES, SHOWN, is_profile_key, profile_bytes, stored_value
from tripoint.rooms.changes import ProfileChanged, UserChange
from tripoint.rooms.commands import Done, SetProfile
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import People, append_renamed
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, member_of
from tripoint.rooms.writer import Writer
from tripoint.store.writes import PutProfile

# A display name is copied into a member event of every room: some hundreds of bytes are what others allow.
MAX_VALUE_BYTES = 1024


class Profiles:
    """The handler of SetProfile. `changed(user_id)` is told after the store took a value."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        people: People,
        index: MembershipIndex,
        user_bus: Bus[UserChange],
        changed: Callable[[UserId, str, str | None], None],
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._people = people
        self._index = index
        self._user_bus = user_bus
        self._changed = changed

    async def set(self, command: SetProfile) -> Done:
        field, user_id = command.field, command.actor
        if field not in SHOWN:
            return await self._set_other(command)
        value = command.value or None
        if value is not None and not isinstance(value, str):
            raise Refused(Refusal.BAD_CONTENT, f"A {field} is a text")
        if value is not None and len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
            raise Refused(Refusal.TOO_LARGE, f"A {field} has at most {MAX_VALUE_BYTES} bytes")
        before = (await self._people.profile(user_id)).get(field)
        if before == value:
            return Done()
        await self._index.load(user_id)
        rooms = [await self._rooms.get(room_id) for room_id in self._index.joined(user_id)]
        # Nothing is awaited until all is submitted. The profile goes last: a unit that fails takes with it all
        # behind it, so where the profile has changed, every room has; else the same command finishes the rest.
        commits = [
            commit for room in rooms if (commit := self._rename(room, command, before, value)) is not None
        ]

        def changed() -> None:
            self._changed(user_id, field, value)
            self._user_bus.publish(ProfileChanged(user_id, field, value))

        await asyncio.gather(*commits, self._writer.write([PutProfile(user_id, field, value)], changed))
        return Done()

    async def _set_other(self, command: SetProfile) -> Done:
        """A field that stands in the profile alone."""
        field, user_id = command.field, command.actor
        if not is_profile_key(field):
            raise Refused(Refusal.BAD_CONTENT, "That is no name for a field of a profile")
        await self._index.load(user_id)  # whoever is told of the change asks where the user is
        stored = dict(await self._people.stored_profile(user_id))
        before = stored.pop(field, None)
        value = None if command.value is None else stored_value(field, command.value)
        if before == value:
            return Done()
        if value is not None and profile_bytes({**stored, field: value}) > MAX_PROFILE_BYTES:
            raise Refused(Refusal.TOO_LARGE, f"A profile has at most {MAX_PROFILE_BYTES} bytes")

        def changed() -> None:
            self._changed(user_id, field, value)
            self._user_bus.publish(ProfileChanged(user_id, field, command.value))

        await self._writer.write([PutProfile(user_id, field, value)], changed)
        return Done()

    def _rename(
        self, room: Room, command: SetProfile, before: str | None, value: str | None
    ) -> "asyncio.Future[Event] | asyncio.Future[None] | None":
        """Submit the member event that follows in one room; None where there is none to make."""
        current = room.head_event("m.room.member", command.actor)
        if room.gone or current is None or member_of(current).membership != "join":
            return None
        if current.content.get(command.field) != before:
            return None  # a per-room value stays
        transaction = self._writer.begin(room)
        try:
            append_renamed(transaction, current, command.field, value)
        except Refused:
            return None  # a member event that has no room for more must not keep the others from changing
        if self._writer.asks_first(room):
            return asyncio.ensure_future(self._writer.commit(room, transaction, origin=command.origin))
        # Not a turn later: whoever is put out in between would be back in by his new name.
        return asyncio.shield(self._writer.submit(room, transaction, origin=command.origin))
