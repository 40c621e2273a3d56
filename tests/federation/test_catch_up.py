"""Gaps: what a server missed is asked for, with bounded work, from a server that may be gone or hostile.

spec: Matrix server-server-api POST /get_missing_events, GET /state_ids, GET /event
"""

from collections.abc import Sequence

import pytest

from tests.federation.islands import Island, bring_in, chain_of, islands, make_room
from tests.support.middle import run
from tripoint.core.errors import RemoteFailed
from tripoint.core.event import Event, load_event, parse_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.rooms import catch_up
from tripoint.rooms.accept import Verdict
from tripoint.rooms.catch_up import CatchUp
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import SetTopic


class Neighbour:
    """The other island, as federation would present it. What it is asked is counted; it can be switched off."""

    def __init__(self, island: Island) -> None:
        self.island = island
        self.asked: list[str] = []
        self.missing_gone = False
        self.gone = False
        self.lie: Event | None = None

    async def _event(self, event_id: EventId) -> Event | None:
        stored = await self.island.party.middle.store.load_event(event_id)
        if stored is None:
            return None
        version = (await self.island.party.middle.loaded.get(self.room_id)).version
        return parse_event(load_event(stored.json, event_id, version).json, version)

    room_id = RoomId("")

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.gone:
            raise RemoteFailed(self.island.name, "gone")

    async def missing_events(
        self,
        server: ServerName,
        room_id: RoomId,
        earliest: Sequence[EventId],
        latest: Sequence[EventId],
        limit: int,
    ) -> Sequence[Event]:
        self._ask("missing")
        self.room_id = room_id
        if self.missing_gone:
            return []
        found: dict[EventId, Event] = {}
        wanted = list(latest)
        while wanted and len(found) < limit:
            event = await self._event(wanted.pop(0))
            if event is None:
                continue
            for parent in event.prev_events:
                if parent not in earliest and parent not in found and len(found) < limit:
                    before = await self._event(parent)
                    if before is not None:
                        found[parent] = before
                        wanted.append(parent)
        return list(found.values())

    async def state_ids(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[EventId], Sequence[EventId]]:
        self._ask("state_ids")
        self.room_id = room_id
        store = self.island.party.middle.store
        event = await self._event(event_id)
        assert event is not None
        (parent,) = [await store.load_event(i) for i in event.prev_events]
        assert parent is not None
        keys = await store.load_state(parent.state_group)
        rows = await store.load_events(list(keys.values()))
        state = [row.event_id for row in rows.values()]
        chain = [e.event_id for e in await chain_of(self.island, state, room_id)]
        return state, chain

    async def events(self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId]) -> Sequence[Event]:
        self._ask("events")
        self.room_id = room_id
        if self.lie is not None:
            return [self.lie]
        return [event for i in event_ids if (event := await self._event(i)) is not None]


VERSIONS = ("1", "2", "3", "12")


async def pair(servers: list[Island], version: str = "12") -> tuple[RoomId, UserId, UserId, CatchUp, Neighbour]:
    one, two = servers
    alice, bob = await one.party.account("alice"), await two.party.account("bob")
    room_id = await make_room(one, alice, version)
    await bring_in(one, two, bob, room_id)
    one.outgoing.clear()
    middle = two.party.middle
    neighbour = Neighbour(one)
    catching = CatchUp(middle.loaded, middle.accept, middle.outliers, middle.store, neighbour)
    return room_id, alice, bob, catching, neighbour


def shown(island: Island) -> list[str]:
    changes = island.party.room_changes
    return [c.event.event_id for c in changes if isinstance(c, EventCommitted)]


def copy(event: Event) -> Event:
    return parse_event(event.json, event.version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("missed", [1, 15, 90, 350])
def test_what_was_missed_is_fetched_and_shown_in_order(missed: int, version: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, _, catching, neighbour = await pair(servers, version)
            for number in range(missed):
                if number % 10 == 3:
                    await servers[0].party.do(SetTopic(actor=alice, room_id=room_id, topic=str(number)))
                else:
                    await servers[0].party.say(alice, room_id, str(number))
            await servers[0].party.say(alice, room_id, "last")
            last = servers[0].outgoing[-1]
            assert await catching.take(copy(last), servers[0].name) is Verdict.ACCEPTED
            assert shown(servers[1])[-missed - 1 :] == [e.event_id for e in servers[0].outgoing]
            assert "state_ids" not in neighbour.asked
            assert await servers[0].state(room_id) == await servers[1].state(room_id)

    run(work)


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_gap_too_long_the_newest_are_had_after_the_state_before_them(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "MAX_MISSED", 100)

    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob, catching, neighbour = await pair(servers, version)
            for number in range(200):
                await servers[0].party.do(SetTopic(actor=alice, room_id=room_id, topic=str(number)))
            await servers[0].party.say(alice, room_id, "last")
            last = servers[0].outgoing[-1]
            assert await catching.take(copy(last), servers[0].name) is Verdict.ACCEPTED
            assert "state_ids" in neighbour.asked
            had = shown(servers[1])
            assert had[-101:] == [event.event_id for event in servers[0].outgoing[-101:]]
            assert servers[0].outgoing[0].event_id not in had
            assert len(neighbour.asked) < 40
            # What comes next needs nothing more, and both sides can speak.
            neighbour.asked.clear()
            await servers[0].party.say(alice, room_id, "next")
            assert await catching.take(copy(servers[0].outgoing[-1]), servers[0].name) is Verdict.ACCEPTED
            assert neighbour.asked == []
            room = await servers[1].party.middle.loaded.get(room_id)
            assert room.topic == "199"
            await servers[1].party.say(bob, room_id, "answer")
            assert await servers[0].deliver(servers[1].outgoing[-1]) is Verdict.ACCEPTED

    run(work)


def test_a_server_that_is_gone_leaves_the_room_as_it_was() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, bob, catching, neighbour = await pair(servers)
            await servers[0].party.say(alice, room_id, "missed")
            await servers[0].party.say(alice, room_id, "last")
            before = shown(servers[1])
            neighbour.gone = True
            assert await catching.take(copy(servers[0].outgoing[-1]), servers[0].name) is None
            assert shown(servers[1]) == before
            await servers[1].party.say(bob, room_id, "we go on")
            neighbour.gone = False
            assert await catching.take(copy(servers[0].outgoing[-1]), servers[0].name) is Verdict.ACCEPTED

    run(work)


def test_a_lying_server_gets_nothing_in() -> None:
    """It answers with an event that was not asked for, and with no end."""

    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, _, catching, neighbour = await pair(servers)
            for number in range(3):
                await servers[0].party.say(alice, room_id, str(number))
            first, _, last = servers[0].outgoing
            neighbour.missing_gone = True
            neighbour.lie = copy(first)
            before = shown(servers[1])
            assert await catching.take(copy(last), servers[0].name) is None
            assert shown(servers[1]) == before
            assert len(neighbour.asked) < 20

    run(work)


def test_the_work_for_one_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, _, catching, neighbour = await pair(servers)
            for number in range(60):
                await servers[0].party.say(alice, room_id, str(number))
            monkeypatch.setattr(catch_up, "MAX_FETCHED", 30)
            assert await catching.take(copy(servers[0].outgoing[-1]), servers[0].name) is None
            assert len(neighbour.asked) <= 5

    run(work)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("patient", [True, False])
def test_what_was_done_while_we_came_in_is_taken_in_beside_our_join(version: str, patient: bool) -> None:
    """A server that is busy with its room lets somebody in and goes on from where it was: our join is a fork of that.

    What it goes on from is state to us, from before our time, and nothing that anybody would send.
    """

    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            one, two = servers
            alice, bob = await one.party.account("alice"), await two.party.account("bob")
            room_id = await make_room(one, alice, version)
            room = await one.party.middle.loaded.get(room_id)
            aside = one.party.middle.writer.begin(room)
            topic = aside.append(alice, "m.room.topic", {"topic": "while you came in"}, state_key="")
            join = await bring_in(one, two, bob, room_id)
            assert topic.prev_events == join.prev_events
            await one.deliver(topic)
            middle = two.party.middle
            neighbour = Neighbour(one)
            catching = CatchUp(middle.loaded, middle.accept, middle.outliers, middle.store, neighbour)
            said = await one.party.say(alice, room_id, "welcome")
            (message,) = [event for event in one.outgoing if event.event_id == said]
            assert set(message.prev_events) == {topic.event_id, join.event_id}
            assert await catching.take(copy(message), one.name, patient=patient) is Verdict.ACCEPTED
            assert (await middle.loaded.get(room_id)).topic == "while you came in"
            assert await two.state(room_id) == await one.state(room_id)
            assert shown(two)[-2:] == [topic.event_id, said]
            # And what follows that alone.
            again = aside.append(alice, "m.room.name", {"name": "Tea"}, state_key="")
            await one.deliver(again)
            assert await catching.take(copy(again), one.name, patient=patient) is Verdict.ACCEPTED

    run(work)
