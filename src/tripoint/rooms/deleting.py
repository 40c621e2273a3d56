"""Deleting a room for the administrators: everybody of this server goes, and, if they say so, every trace of it here.

Nobody needs a right in the room for it: each leaves in his own name, which is always possible. What other servers have
of a federated room stays with them. Where a new room takes its place, it is made in somebody's name, those who were
inside are taken there, and the names of the old one point to it.
docs/mapping.md 4.12; docs/operate/administration.md. Read next: jobs.py, which does it in the background.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.rooms.changes import DirectoryChanged, RoomChange, RoomClosed
from tripoint.rooms.closing import AT_ONCE, Closing
from tripoint.rooms.commands import Command, CreateRoom, Done, Join, Leave, SendEvent, Template
from tripoint.rooms.jobs import Progress
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import DropRoom, PutAlias, Write

KIND: Final = "delete_room"
NAME: Final = "Content Violation Notification"
MESSAGE: Final = "Sharing illegal content on this server is not permitted and rooms in violation will be blocked."
_PRESENT: Final = ("join", "invite", "knock")


class Deleting:
    """`carry_out` does one command without looking at how many there were."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        index: MembershipIndex,
        closing: Closing,
        room_bus: Bus[RoomChange],
        carry_out: Callable[[Command], Awaitable[Done]],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._index = index
        self._closing = closing
        self._room_bus = room_bus
        self._carry_out = carry_out

    async def work(self, asked: JsonObject, progress: Progress) -> JsonObject:
        """The job `delete_room`: see wish(). Refused where somebody of this server is still in it at the end."""
        room_id, message = RoomId(str(asked["room_id"])), str(asked.get("message") or MESSAGE)
        if asked.get("block"):
            await self._closing.block(room_id, UserId(str(asked["by"])))
        room = await self._rooms.find(room_id)
        if room is None:
            return progress.result or _result([], [], [], None)  # gone already, before a restart perhaps
        try:
            await self._delete(room, asked, progress, message)
        finally:
            room.closing = False
        return progress.result

    async def _delete(self, room: Room, asked: JsonObject, progress: Progress, message: str) -> None:
        new = await self._replacement(asked, progress, message)
        kicked, failed = await self._empty(room, message, new)
        aliases = [str(alias) for alias in room.aliases]
        result = _result(sorted(kicked), failed, aliases, None if new is None else new.room_id)
        await progress.note({**result, **{key: value for key, value in progress.result.items() if value}})
        await self._move_names(room, new)
        if asked.get("purge"):
            if failed and not asked.get("force_purge"):
                raise Refused(Refusal.SERVER_BUSY, f"Some are still in the room: {', '.join(failed)}")
            await self._purge(room)

    # -- what takes its place

    async def _replacement(self, asked: JsonObject, progress: Progress, message: str) -> Room | None:
        maker, made = asked.get("new_room_user_id"), progress.result.get("new_room_id")
        if isinstance(made, str):
            return await self._rooms.get(RoomId(made))
        if not isinstance(maker, str):
            return None
        done = await self._carry_out(
            CreateRoom(
                actor=UserId(maker),
                template=Template.PUBLIC_CHAT,
                name=str(asked.get("room_name") or NAME),
                # Nobody but its maker says anything there.
                power_levels_override={"users_default": -10},
            )
        )
        assert done.room_id is not None
        await progress.note(_result([], [], [], done.room_id))
        content: JsonObject = {"msgtype": "m.text", "body": message}
        await self._carry_out(
            SendEvent(actor=UserId(maker), room_id=done.room_id, type="m.room.message", content=content)
        )
        return await self._rooms.get(done.room_id)

    # -- everybody goes

    async def _empty(self, room: Room, message: str, new: Room | None) -> tuple[list[UserId], list[UserId]]:
        """(who went, who could not)."""
        room.closing = True
        place = None if new is None else new.room_id
        self._room_bus.publish(RoomClosed(room.room_id, message, place))
        local = [
            user_id
            for user_id, member in room.members().items()
            if member.membership in _PRESENT and server_of(user_id) == self._server
        ]
        inside = [user_id for user_id in local if room.head_membership(user_id) == "join"]
        kicked: list[UserId] = []
        failed: list[UserId] = []
        if room.outside:
            for user_id in local:
                await self._leave(room, user_id, message, kicked, failed)
        else:
            for start in range(0, len(local), AT_ONCE):
                await self._leave_together(room, local[start : start + AT_ONCE], message, kicked, failed)
                await asyncio.sleep(0)
        for user_id in inside if new is not None else ():
            if user_id in kicked and new is not None and new.head_membership(user_id) != "join":
                try:
                    await self._carry_out(Join(actor=user_id, room_id=new.room_id))
                except Refused:
                    failed.append(user_id)
        return kicked, failed

    async def _leave(
        self, room: Room, user_id: UserId, message: str, kicked: list[UserId], failed: list[UserId]
    ) -> None:
        try:
            await self._carry_out(Leave(actor=user_id, room_id=room.room_id, reason=message))
        except Refused:
            failed.append(user_id)
        else:
            kicked.append(user_id)

    async def _leave_together(
        self, room: Room, people: list[UserId], message: str, kicked: list[UserId], failed: list[UserId]
    ) -> None:
        transaction = self._writer.begin(room)
        going: list[UserId] = []
        for user_id in people:
            if room.head_membership(user_id) not in _PRESENT:
                continue
            content: JsonObject = {"membership": "leave", "reason": message}
            try:
                transaction.append(user_id, "m.room.member", content, state_key=user_id)
            except Refused:
                failed.append(user_id)
            else:
                going.append(user_id)
        if going:
            await self._writer.commit(room, transaction)
            kicked += going

    # -- names and traces

    async def _move_names(self, room: Room, new: Room | None) -> None:
        aliases = list(room.aliases)
        writes: list[Write] = []
        for alias in aliases:
            creator = await self._store.load_alias_creator(alias)
            key = None if new is None else new.room_key
            writes.append(PutAlias(alias, key, creator or UserId(f"@:{self._server}")))

        def moved() -> None:
            room.set_aliases(())
            if new is not None:
                new.set_aliases([*new.aliases, *aliases])

        if room.listed:
            row = replace(room.row, listed=False)
            await self._writer.commit(room, self._writer.begin(room), row=row)
        if writes:
            await self._writer.write(writes, moved)
        self._room_bus.publish(DirectoryChanged(room.room_id))
        if new is not None:
            self._room_bus.publish(DirectoryChanged(new.room_id))

    async def _purge(self, room: Room) -> None:
        """Everything of it goes: events, state, memberships, receipts, names."""
        await room.settled()
        self._rooms.remove(room.room_id)
        self._index.forget_room(room.room_id)
        # The highest positions may go with the room: say how far the stream was, so that none is used twice.
        floor = self._writer.stream.floor()
        try:
            await self._writer.write([DropRoom(room.room_key), floor])
        finally:
            self._rooms.removed(room.room_id)
        self._room_bus.publish(DirectoryChanged(room.room_id))


def wish(
    room_id: RoomId,
    by: UserId,
    *,
    block: bool,
    purge: bool,
    force_purge: bool,
    new_room_user_id: UserId | None,
    room_name: str | None,
    message: str | None,
) -> JsonObject:
    """What is asked of the job. `force_purge`: even if somebody could not be made to leave. Without `new_room_user_id`
    no room takes its place."""
    return {
        "room_id": room_id,
        "by": by,
        "block": block,
        "purge": purge,
        "force_purge": force_purge,
        "new_room_user_id": new_room_user_id,
        "room_name": room_name,
        "message": message,
    }


def _result(kicked: list[UserId], failed: list[UserId], aliases: list[str], new: RoomId | None) -> JsonObject:
    return {
        "kicked_users": list(kicked),
        "failed_to_kick_users": list(failed),
        "local_aliases": list(aliases),
        "new_room_id": new,
    }
