"""Passwords of rooms: set, taken away, held against what somebody says at the door.

In the room stands only that a password gives entry, as one more way of a restricted room; others need an invitation.
The password itself is kept by this server alone, as a scrypt verifier in the store: it is in no event, no log, no form.
spec: docs/mapping.md 8.5, 27.9; RFC7914 (scrypt); Matrix client-server-api "Restricted rooms".
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import orjson
from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.json_view import text_at
from tripoint.rooms.commands import Done, Secret, SetPassword
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.settings import PASSWORD, rule_asks_password
from tripoint.rooms.state_words import level_needed
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutRoomPassword

T = TypeVar("T")

JOIN_RULES: Final = "m.room.join_rules"
# 16 MiB and some 50 ms of a core for each try; two at once leave the loop its share.
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_AT_ONCE = 2
# Who comes when this many wait is told to come again: hashing is the cheapest way to keep a server busy.
_MAX_WAITING = 64
MAX_PASSWORD = 128


class Verifier(Struct, frozen=True, array_like=True):
    """What is kept of a password, and how it was made."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    key: bytes

    @classmethod
    def make(cls, password: str) -> "Verifier":
        salt = secrets.token_bytes(16)
        return cls(_COST, _BLOCK, _PARALLEL, salt, _scrypt(password, salt, _COST, _BLOCK, _PARALLEL))

    def verifies(self, password: str) -> bool:
        """Whether this is the password. Takes the same time for every wrong one."""
        return hmac.compare_digest(self.key, _scrypt(password, self.salt, self.cost, self.block, self.parallel))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=cost, r=block, p=parallel, maxmem=2**26, dklen=32)


class RoomPasswords:
    """The handler of SetPassword, and the one who knows whether a password is right."""

    def __init__(self, rooms: LoadedRooms, writer: Writer, store: RoomStore) -> None:
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def set(self, command: SetPassword) -> Done:
        """See commands.SetPassword."""
        room = await self._rooms.get(command.room_id)
        self._check_may(room, command)
        if command.password is None:
            return await self._take_away(room, command)
        _check_usable(command.password.value)
        if not room.version.restricted_join:
            raise Refused(Refusal.NOT_SUPPORTED, "Rooms of this version cannot have a password")
        value = command.password.value
        verifier = msgspec.msgpack.encode(await self._off_loop(lambda: Verifier.make(value)))
        self._check_may(room, command)  # it took a moment
        event = room.head_event(JOIN_RULES)
        if rule_asks_password(event):
            former = await self._store.load_room_password(room.room_key)
            before = former.before if former is not None else orjson.dumps({"join_rule": "invite"})
            await self._writer.write([PutRoomPassword(room.room_key, verifier, before)])
            return Done(room.room_id)
        present: JsonObject = {} if event is None else dict(event.content)
        rule = text_at(present, "join_rule") or "invite"
        allow = present.get("allow") if rule in ("restricted", "knock_restricted") else None
        ways: list[Json] = [*(allow if isinstance(allow, list) else []), {"type": PASSWORD}]
        knocks = rule in ("knock", "knock_restricted") and room.version.knock_restricted_join
        content: JsonObject = {"join_rule": "knock_restricted" if knocks else "restricted", "allow": ways}
        return await self._write(room, command, content, verifier, orjson.dumps(present))

    async def _take_away(self, room: Room, command: SetPassword) -> Done:
        """The join rule is what it was before."""
        event = room.head_event(JOIN_RULES)
        if event is None or not rule_asks_password(event):
            return Done(room.room_id)
        stored = await self._store.load_room_password(room.room_key)
        content: JsonObject = {"join_rule": "invite"}
        if stored is not None:
            content = orjson.loads(stored.before) or content
        return await self._write(room, command, content, None, b"")

    async def _write(
        self, room: Room, command: SetPassword, content: JsonObject, verifier: bytes | None, before: bytes
    ) -> Done:
        transaction = self._writer.begin(room)
        transaction.append(command.actor, JOIN_RULES, content, state_key="")
        write = PutRoomPassword(room.room_key, verifier, before)
        event = await self._writer.commit(room, transaction, origin=command.origin, writes=[write])
        return Done(room.room_id, event.event_id)

    async def is_right(self, room: Room, password: Secret) -> bool:
        """Whether this is the room's password. Refused(SERVER_BUSY) where too many ask at once."""
        stored = await self._store.load_room_password(room.room_key)
        if stored is None or stored.verifier is None or len(password.value) > MAX_PASSWORD:
            return False
        verifier = msgspec.msgpack.decode(stored.verifier, type=Verifier)
        return await self._off_loop(lambda: verifier.verifies(password.value))

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MAX_WAITING:
            raise Refused(Refusal.SERVER_BUSY, "Too many passwords are being checked; try again in a moment")
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _check_may(self, room: Room, command: SetPassword) -> None:
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        power = room.head_power()
        needed = power.event(JOIN_RULES, is_state=True)
        if power.user(command.actor) < needed:
            raise level_needed(JOIN_RULES, needed)


def _check_usable(password: str) -> None:
    """A password that can be given on every protocol: a JOIN has its keys between spaces and commas."""
    usable = 1 <= len(password) <= MAX_PASSWORD and password.isprintable()
    if not usable or set(password) & set(" ,") or password.startswith(":"):
        raise Refused(
            Refusal.BAD_CONTENT,
            f"A room's password has 1 to {MAX_PASSWORD} characters, no spaces or commas, and no : in front",
        )
