"""Saying things: order, ids, repeats, refusals, redactions; and what happens when the store cannot write."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.middle import KEY, Clock, Party, make_config, party, run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import check_content_hash, parse_event, verify_event_signature
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.commands import (
    Command,
    CreateRoom,
    Join,
    Kick,
    Leave,
    Origin,
    Redact,
    SendEvent,
    SendState,
    SetProfile,
    SetRanks,
    SetTopic,
    Template,
)
from tripoint.rooms.history import ByEvent, Direction, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.interface import Done as StoreDone
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore
from tripoint.store.writes import Write


def bodies(p: Party) -> list[str]:
    return [
        str(change.event.content["body"])
        for change in p.room_changes
        if isinstance(change, EventCommitted) and change.event.type == "m.room.message"
    ]


def test_one_order_for_everybody_under_concurrent_senders() -> None:
    async def work() -> None:
        async with party() as p:
            people = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(*people)
            watched: list[str] = []

            def watch(change: object) -> None:
                if isinstance(change, EventCommitted) and change.event.type == "m.room.message":
                    watched.append(change.event.event_id)

            p.middle.hub.watch_room(room_id, watch)
            ids = await asyncio.gather(*(p.say(people[n % 3], room_id, str(n)) for n in range(100)))
            assert len(set(ids)) == 100
            assert sorted(watched) == sorted(ids)
            committed = [c for c in p.room_changes if isinstance(c, EventCommitted)]
            assert [c.event.event_id for c in committed][-100:] == watched
            assert [c.position for c in committed] == sorted({c.position for c in committed})
            # The graph is a chain: each event names the one before it.
            for earlier, later in itertools.pairwise(committed):
                assert later.event.prev_events == (earlier.event.event_id,)
                assert later.event.depth == earlier.event.depth + 1

    run(work)


def test_every_event_is_signed_and_hashed() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            await p.say(alice, await p.room(alice), "hello")
            for change in p.room_changes:
                if isinstance(change, EventCommitted):
                    again = parse_event(change.event.json, change.event.version)
                    assert again.event_id == change.event.event_id
                    assert check_content_hash(again)
                    verify_event_signature(again, p.middle.accounts.server_name, {KEY.key_id: KEY.verify_key_b64})

    run(work)


def test_a_repeated_transaction_is_answered_with_the_first_result(tmp_path: Path) -> None:
    """spec: client-server "Transaction identifiers": at the same moment, later, and after a restart."""

    async def work() -> None:
        mark = Origin("@alice:example.org/PHONE", "txn1", once=True)
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            first, second = await asyncio.gather(
                p.say(alice, room_id, "once", mark), p.say(alice, room_id, "once", mark)
            )
            third = await p.say(alice, room_id, "once", mark)
            assert first == second == third
            assert bodies(p) == ["once"]
            other = await p.say(alice, room_id, "once", Origin("@alice:example.org/LAPTOP", "txn1", once=True))
            assert other != first
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            assert await p.say(alice, room_id, "once", mark) == first
            assert bodies(p) == []

    run(work)


def test_a_kept_token_comes_back_with_history() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            sent = await p.say(alice, room_id, "one", Origin("c2s-1", "stanza-1", keep=True))
            await p.say(bob, room_id, "two", Origin("c2s-2", "stanza-1", keep=True))
            page = await p.middle.reader.history(
                HistoryQuery(room_id=room_id, viewer=alice, direction=Direction.BACKWARD, limit=2)
            )
            assert [(item.event.sender, item.token) for item in page.items] == [
                (bob, "stanza-1"),
                (alice, "stanza-1"),
            ]
            assert await p.middle.reader.event_by_token(room_id, alice, "stanza-1") == sent
            assert await p.middle.reader.event_by_token(room_id, alice, "stanza-2") is None

    run(work)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ({"msgtype": "m.text", "body": "x" * 70_000}, Refusal.TOO_LARGE),
        ({"msgtype": "m.text", "body": "x", "ratio": 0.5}, Refusal.BAD_CONTENT),
        ({"msgtype": "m.text", "body": "x", "big": 2**60}, Refusal.BAD_CONTENT),
    ],
)
def test_content_that_cannot_be_an_event(content: dict[str, object], refusal: Refusal) -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            with pytest.raises(Refused) as caught:
                await p.do(SendEvent(actor=alice, room_id=room_id, type="m.room.message", content=content))  # type: ignore[arg-type]
            assert caught.value.refusal is refusal
            await p.say(alice, room_id, "and on it goes")
            assert bodies(p) == ["and on it goes"]

    run(work)


def test_who_may_not_speak() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob, template=Template.CHANNEL)
            with pytest.raises(Refused) as caught:
                await p.say(carol, room_id, "from outside")
            assert caught.value.refusal is Refusal.NOT_JOINED
            levels = dict((await p.middle.reader.room(room_id)).power.content)
            levels["events_default"] = 1
            moderated = SendState(
                actor=alice, room_id=room_id, type="m.room.power_levels", state_key="", content=levels
            )
            await p.do(moderated)
            with pytest.raises(Refused) as caught:
                await p.say(bob, room_id, "muted")
            assert caught.value.refusal is Refusal.CANNOT_SPEAK
            await p.do(SetRanks(actor=alice, room_id=room_id, ranks=((bob, Rank.VOICE),)))
            await p.say(bob, room_id, "voiced")
            assert bodies(p) == ["voiced"]

    run(work)


def test_saying_the_same_state_again_makes_no_event() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            first = await p.do(SetTopic(actor=alice, room_id=room_id, topic="Kettle on"))
            count = len(p.room_changes)
            second = await p.do(SetTopic(actor=alice, room_id=room_id, topic="Kettle on"))
            assert second.event_id == first.event_id
            assert len(p.room_changes) == count
            assert (await p.middle.reader.room(room_id)).topic == "Kettle on"

    run(work)


def test_a_redaction_removes_the_text_from_memory_and_from_disk(tmp_path: Path) -> None:
    async def work() -> None:
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            said = EventId(await p.say(bob, room_id, "regrettable words"))
            await p.say(bob, room_id, "and more")
            with pytest.raises(Refused) as caught:
                await p.do(Redact(actor=bob, room_id=room_id, event_id=EventId("$nothing")))
            assert caught.value.refusal is Refusal.NO_SUCH_EVENT
            done = await p.do(Redact(actor=bob, room_id=room_id, event_id=said, reason="sorry"))
            item = await p.middle.reader.event(room_id, said, alice)
            assert item.event.content == {}
            assert item.event.event_id == said
            assert item.redacted_because is not None and item.redacted_because.event_id == done.event_id
            page = await p.middle.reader.history(
                HistoryQuery(room_id=room_id, viewer=alice, direction=Direction.BACKWARD, limit=3)
            )
            assert [i.event.content.get("body") for i in page.items] == [None, "and more", None]
            others = EventId(await p.say(alice, room_id, "the creator's"))
            with pytest.raises(Refused) as caught:
                await p.do(Redact(actor=bob, room_id=room_id, event_id=others))
            assert caught.value.refusal is Refusal.POWER_TOO_LOW
            await p.middle.indexing.level()  # until then the words wait to be taken out of the full-text index

    run(work)
    assert b"regrettable" not in (tmp_path / "t.db").read_bytes()


def test_what_is_taken_away_twice_is_told_once() -> None:
    """At the same moment and later; a view hears that it is gone, Matrix has its event."""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            said = EventId(await p.say(bob, room_id, "regrettable"))

            def redaction(by: UserId, session: str) -> Redact:
                return Redact(actor=by, room_id=room_id, event_id=said, origin=Origin(session))

            both = (redaction(alice, "alice/DEVICE"), redaction(bob, "irc-1"))
            first, second = await asyncio.gather(*(p.do(one) for one in both), return_exceptions=True)
            assert not isinstance(first, BaseException)
            assert isinstance(second, Refused) and second.refusal is Refusal.NO_SUCH_EVENT
            assert (await p.do(redaction(bob, "bob/DEVICE"))).event_id != first.event_id
            told = [c for c in p.room_changes if isinstance(c, EventCommitted) and c.event.type == "m.room.redaction"]
            assert [change.redacted is None for change in told] == [False, True]

    run(work)


def test_a_store_that_fails_changes_nothing_and_the_room_goes_on() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            await p.say(alice, room_id, "before")
            told = len(p.room_changes)
            store.fail_next(StoreError("database or disk is full"))
            said: JsonObject = {"msgtype": "m.text", "body": "lost"}
            failing: list[Command] = [
                SetTopic(actor=alice, room_id=room_id, topic="lost"),
                Kick(actor=alice, room_id=room_id, target=bob),
                SendEvent(actor=alice, room_id=room_id, type="m.room.message", content=said),
                CreateRoom(actor=alice, alias_localpart="lost"),
                SetProfile(actor=alice, field="displayname", value="Lost"),
            ]
            results = await asyncio.gather(*(p.do(command) for command in failing), return_exceptions=True)
            assert [r.refusal for r in results if isinstance(r, Refused)] == [Refusal.SERVER_BUSY] * 5
            assert len(p.room_changes) == told
            store.fail_next(None)
            room = await p.middle.reader.room(room_id)
            assert (room.topic, room.membership(bob)) == (None, "join")
            assert (await p.middle.reader.profile(alice))["displayname"] == "alice"
            await p.say(bob, room_id, "after")
            assert bodies(p) == ["before", "after"]
            last = p.room_changes[-1]
            before = p.room_changes[told - 1]
            assert isinstance(last, EventCommitted) and isinstance(before, EventCommitted)
            assert last.event.prev_events == (before.event.event_id,)
            done = await p.do(CreateRoom(actor=alice, alias_localpart="lost"))
            assert done.created

    run(work)


def test_a_profile_that_half_changed_is_finished_by_the_same_command() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            (alice,) = await p.accounts("alice")
            rooms = [await p.room(alice) for _ in range(3)]
            submit, units = store.submit, 0

            def full_disk(writes: Sequence[Write], done: StoreDone) -> None:
                nonlocal units
                units += 1
                store.fail_next(None if units <= 2 else StoreError("database or disk is full"))
                submit(writes, done)

            store.submit = full_disk  # type: ignore[method-assign]
            rename = SetProfile(actor=alice, field="displayname", value="Alice")
            with pytest.raises(Refused):
                await p.do(rename)
            assert (await p.middle.reader.profile(alice))["displayname"] == "alice"
            store.submit = submit  # type: ignore[method-assign]
            store.fail_next(None)
            await p.do(rename)
            assert (await p.middle.reader.profile(alice))["displayname"] == "Alice"
            for room_id in rooms:
                member = (await p.middle.reader.room(room_id)).member(alice)
                assert member is not None and member.displayname == "Alice"

    run(work)


def test_rate_limits_say_when_to_come_back() -> None:
    async def work() -> None:
        from tripoint.config.options import Limits

        clock = Clock()
        async with party(make_config(Limits(registrations_per_s=0)), clock=clock) as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            for number in range(10):
                await p.say(alice, room_id, str(number))
            with pytest.raises(Refused) as caught:
                await p.say(alice, room_id, "too fast")
            assert caught.value.refusal is Refusal.RATE_LIMITED
            assert caught.value.retry_after_ms is not None and 0 < caught.value.retry_after_ms <= 1001
            clock.now += caught.value.retry_after_ms / 1000
            await p.say(alice, room_id, "in time")

    run(work)


@pytest.mark.parametrize("seed", range(8))
def test_a_room_read_from_disk_is_the_room_in_memory(tmp_path: Path, seed: int) -> None:
    """Whatever happens in a room, reading it back gives the same state, members, head and history."""

    async def work() -> None:
        dice = random.Random(seed)
        path = tmp_path / "t.db"
        async with party(store=SqliteStore(path)) as p:
            people = await p.accounts("alice", "bob", "carol", "dave")
            room_id = await p.room(*people, template=Template.CHANNEL)
            for number in range(250):
                await _something(p, dice, people, room_id, number)
            room = p.middle.loaded.peek(room_id)
            assert room is not None
            state = {key: event.event_id for key, event in room.state.items()}
            joined, head = set(room.joined()), room.head.extremities
            chain = (room.head.group, room.head.deltas)
            recent = [(item.position, item.event.event_id) for item in room.recent]
        async with party(store=SqliteStore(path)) as p:
            again = await p.middle.loaded.get(room_id)
            assert {key: event.event_id for key, event in again.state.items()} == state
            assert set(again.joined()) == joined
            assert again.head.extremities == head
            assert (again.head.group, again.head.deltas) == chain
            page = await p.middle.reader.history(
                HistoryQuery(
                    room_id=room_id, viewer=people[0], direction=Direction.BACKWARD, limit=len(recent)
                )
            )
            visible = [(item.position, item.event.event_id) for item in reversed(page.items)]
            assert visible == recent[-len(visible) :]

    run(work)


async def _something(p: Party, dice: random.Random, people: list[UserId], room_id: RoomId, number: int) -> None:
    """One random thing that people do; refusals are part of it."""
    owner, actor, target = people[0], dice.choice(people), dice.choice(people[1:])
    said: JsonObject = {"msgtype": "m.text", "body": str(number)}
    command: Command = dice.choice(
        [
            SendEvent(actor=actor, room_id=room_id, type="m.room.message", content=said),
            SetTopic(actor=actor, room_id=room_id, topic=str(number)),
            Join(actor=target, room_id=room_id),
            Leave(actor=target, room_id=room_id),
            Kick(actor=owner, room_id=room_id, target=target),
            SetProfile(actor=actor, field="displayname", value=f"name {number % 5}"),
            SetRanks(actor=owner, room_id=room_id, ranks=((target, dice.choice([Rank.OP, Rank.PLAIN])),)),
            SendState(actor=actor, room_id=room_id, type="org.example.x", state_key=actor, content={"n": number}),
        ]
    )
    try:
        await p.do(command)
    except Refused:
        pass


def test_history_pages_meet_without_gap_or_overlap(tmp_path: Path) -> None:
    async def work() -> None:
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            (alice,) = await p.accounts("alice")
            room_id = await p.room(alice)
            for number in range(150):
                await p.say(alice, room_id, str(number))
            everything = [c.event.event_id for c in p.room_changes if isinstance(c, EventCommitted)]
            for direction, wanted in (
                (Direction.BACKWARD, everything[::-1]),
                (Direction.FORWARD, everything),
            ):
                found: list[str] = []
                query = HistoryQuery(room_id=room_id, viewer=alice, direction=direction, limit=17)
                while True:
                    page = await p.middle.reader.history(query)
                    found += [item.event.event_id for item in page.items]
                    if page.end is None:
                        break
                    from tripoint.rooms.history import ByPosition

                    query = HistoryQuery(
                        room_id=room_id, viewer=alice, direction=direction, limit=17, anchor=ByPosition(page.end)
                    )
                assert found == wanted
            middle = EventId(everything[80])
            around = await p.middle.reader.history(
                HistoryQuery(
                    room_id=room_id, viewer=alice, direction=Direction.AROUND, anchor=ByEvent(middle), limit=11
                )
            )
            assert [item.event.event_id for item in around.items] == everything[75:86]

    run(work)
