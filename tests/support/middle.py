"""The middle of a server for tests: accounts, rooms and fan-out on the store in memory, or on any other.

Clocks are fakes that the test moves; nothing sleeps.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from tripoint.config.options import Accounts, Config, Limits, Server
from tripoint.core.ids import RoomId, UserId
from tripoint.core.signing import SigningKey
from tripoint.rooms.changes import RoomChange, UserChange
from tripoint.rooms.commands import CreateRoom, Join, Origin, SendEvent, Template
from tripoint.runtime.middle import Middle, build_middle
from tripoint.store.interface import Store
from tripoint.store.memory import MemoryStore

T = TypeVar("T")
SERVER = "example.org"
KEY = SigningKey("ed25519:test", bytes(range(32)))
SECRET = bytes(32)

UNLIMITED = Limits(
    events_per_s=0,
    state_per_s=0,
    membership_per_s=0,
    registrations_per_s=0,
    login_failures_per_s=0,
)


def make_config(limits: Limits = UNLIMITED, **accounts: object) -> Config:
    """A configuration without limits and with quick passwords."""
    options = {"registration": "open", "scram_iterations": 10_000, "guests_per_address": 100, **accounts}
    return Config(server=Server(name=SERVER), accounts=Accounts(**options), limits=limits)  # type: ignore[arg-type]


class Clock:
    """Wall clock and monotonic clock in one, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def ms(self) -> int:
        return int(self.now * 1000)

    def s(self) -> float:
        return self.now


class Party:
    """A middle with people in it, and everything that was told."""

    def __init__(self, middle: Middle, clock: Clock) -> None:
        self.middle = middle
        self.clock = clock
        self.room_changes: list[RoomChange] = []
        self.user_changes: list[UserChange] = []
        middle.hub.watch_all_rooms(self.room_changes.append)
        middle.hub.watch_users(self.user_changes.append)
        self.do = middle.service.do

    async def account(self, name: str) -> UserId:
        account = await self.middle.accounts.register(name, "correct horse", address="127.0.0.1")
        return account.user_id

    async def accounts(self, *names: str) -> list[UserId]:
        return [await self.account(name) for name in names]

    async def room(self, creator: UserId, *others: UserId, template: Template = Template.PUBLIC_CHAT) -> RoomId:
        """A room with everybody in it."""
        done = await self.do(CreateRoom(actor=creator, template=template))
        assert done.room_id is not None
        for user_id in others:
            await self.do(Join(actor=user_id, room_id=done.room_id))
        return done.room_id

    async def say(self, actor: UserId, room_id: RoomId, text: str, origin: Origin | None = None) -> str:
        done = await self.do(
            SendEvent(
                actor=actor,
                origin=origin,
                room_id=room_id,
                type="m.room.message",
                content={"msgtype": "m.text", "body": text},
            )
        )
        assert done.event_id is not None
        return done.event_id


@asynccontextmanager
async def party(
    config: Config | None = None, store: Store | None = None, clock: Clock | None = None
) -> AsyncIterator[Party]:
    """A started middle, closed afterwards."""
    clock = clock or Clock()
    middle = await build_middle(
        config or make_config(),
        store if store is not None else MemoryStore(),
        KEY,
        secret=SECRET,
        clock=clock.ms,
        monotonic=clock.s,
    )
    try:
        yield Party(middle, clock)
    finally:
        await middle.close()


def run(work: Callable[[], Awaitable[T]], timeout_s: float = 30) -> T:
    """Run an asynchronous test with a bound."""

    async def bounded() -> T:
        return await asyncio.wait_for(_as_coroutine(work), timeout_s)

    return asyncio.run(bounded())


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def reopened(store: MemoryStore) -> MemoryStore:
    """What was on disk, in a store that is open."""
    again = MemoryStore()
    again.__dict__.update({key: value for key, value in store.__dict__.items() if not key.startswith("_")})
    return again
