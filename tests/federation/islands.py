"""Several servers without a network between them: events are carried by hand, in any order.

Each island is a whole middle with its own name and key. What one commits is in its `outgoing`; `deliver` hands
it to another, which may lack what came before and then takes it later.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.support.middle import Clock, Party, make_config
from tripoint.config.options import Server
from tripoint.core.event import Event, load_event, parse_event
from tripoint.core.graph import auth_chain
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, server_of
from tripoint.core.signing import SigningKey
from tripoint.rooms.accept import Lacking, Verdict
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import CreateRoom, Template
from tripoint.rooms.remote import Entered
from tripoint.rooms.transaction import RoomTransaction, Signer
from tripoint.runtime.middle import build_middle
from tripoint.store.interface import Store
from tripoint.store.memory import MemoryStore


class Island:
    """One server: its party, what it has said, what it could not take yet."""

    def __init__(self, name: str, party: Party, signer: Signer) -> None:
        self.name = ServerName(name)
        self.party = party
        self.signer = signer
        self.outgoing: list[Event] = []
        self.waiting: list[Event] = []
        party.middle.hub.watch_all_rooms(self._committed)

    def _committed(self, change: RoomChange) -> None:
        if isinstance(change, EventCommitted) and server_of(change.event.sender) == self.name:
            self.outgoing.append(change.event)

    async def deliver(self, event: Event) -> Verdict | Lacking:
        """Take an event as it came over the wire. What cannot be judged yet is kept for later."""
        verdict = await self.party.middle.accept.receive(parse_event(event.json, event.version))
        if isinstance(verdict, Lacking):
            self.waiting.append(event)
        else:
            await self._retry()
        return verdict

    async def _retry(self) -> None:
        """Something came: what waited may find what it lacked."""
        while True:
            waiting, self.waiting = self.waiting, []
            progress = False
            for event in waiting:
                verdict = await self.party.middle.accept.receive(parse_event(event.json, event.version))
                if isinstance(verdict, Lacking):
                    self.waiting.append(event)
                else:
                    progress = True
            if not progress:
                return

    async def state(self, room_id: RoomId) -> dict[tuple[str, str], EventId]:
        room = await self.party.middle.loaded.get(room_id)
        return {key: event.event_id for key, event in room.state.items()}


async def make_room(at: Island, creator: UserId, version: str, alias: str | None = None) -> RoomId:
    done = await at.party.do(
        CreateRoom(actor=creator, template=Template.CHANNEL, room_version=version, alias_localpart=alias)
    )
    assert done.room_id is not None
    return done.room_id


async def bring_in(host: Island, guest: Island, user_id: UserId, room_id: RoomId) -> Event:
    """What make_join and send_join come to: `user_id` of `guest` is joined, and `guest` has the room."""
    room = await host.party.middle.loaded.get(room_id)
    before = list(room.state.values())
    join = RoomTransaction(guest.signer, room.version, room).append(
        user_id, "m.room.member", {"membership": "join"}, state_key=user_id
    )
    assert await host.deliver(join) is Verdict.ACCEPTED
    chain = await chain_of(host, [e.event_id for e in before], room_id)
    copies = [parse_event(e.json, e.version) for e in before]
    await guest.party.middle.entering.enter(Entered(join, tuple(copies), tuple(chain), False, ()))
    return join


async def chain_of(at: Island, event_ids: Sequence[EventId], room_id: RoomId) -> list[Event]:
    """The auth chain of some events, from a server's store."""
    version = (await at.party.middle.loaded.get(room_id)).version
    events: dict[EventId, Event] = {}
    wanted = list(event_ids)
    while wanted:
        rows = await at.party.middle.store.load_events_by_id(wanted)
        for event_id, row in rows.items():
            events[event_id] = load_event(row.json, event_id, version)
        wanted = [i for event in events.values() for i in event.auth_events if i not in events]
    return [parse_event(events[i].json, version) for i in auth_chain(event_ids, events)]


@asynccontextmanager
async def islands(*names: str, stores: Sequence[Store] | None = None) -> AsyncIterator[list[Island]]:
    """Servers of these names, with one clock, closed at the end."""
    made: list[Island] = []
    clock = Clock()
    try:
        for number, name in enumerate(names):
            key = SigningKey(f"ed25519:{number}", bytes([number + 1]) * 32)
            config = replace(make_config(), server=Server(name=name))
            middle = await build_middle(
                config,
                stores[number] if stores else MemoryStore(),
                key,
                secret=bytes(32),
                clock=clock.ms,
                monotonic=clock.s,
            )
            party = Party(middle, clock)
            made.append(Island(name, party, Signer(ServerName(name), key, clock.ms)))
        yield made
    finally:
        for island in made:
            await island.party.middle.close()
