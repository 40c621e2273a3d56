"""What comes in: results, repetition, bounds; and peers that lie, flood, forge and dawdle.

spec: Matrix server-server-api "Transactions", "PDUs", "Server Access Control Lists (ACLs)"
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from tests.federation.fleet import Sea, Ship, fleet, launch
from tests.federation.test_transactions import bodies, sailing, shared
from tests.federation.virtual import run_virtually
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, EventDraft, build_event
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.token_bucket import Rate
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.matrix.federation.intake import BODY_BYTES
from tripoint.matrix.federation.lanes import MAX_EDUS, MAX_PDUS
from tripoint.rooms import staging
from tripoint.rooms.commands import SendState
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore


async def put(
    source: Ship,
    target: Ship,
    txn_id: str,
    pdus: Sequence[object] = (),
    edus: Sequence[object] = (),
    changes: Mapping[str, object] | None = None,
) -> JsonObject:
    content: dict[str, Any] = {
        "origin": source.name, "origin_server_ts": 1, "pdus": list(pdus), "edus": list(edus), **(changes or {})
    }  # fmt: skip
    return await source.trust.client.request(target.name, "PUT", f"/_matrix/federation/v1/send/{txn_id}", content)


async def forge(ship: Ship, room_id: RoomId, sender: UserId, body: str, **changes: Any) -> Event:
    """A message of `sender`, signed by `ship`, on the room as that has it."""
    room = await ship.party.middle.loaded.get(room_id)
    keys = [("m.room.power_levels", ""), ("m.room.member", sender)]
    if not room.version.room_id_is_create_hash:
        keys.append(("m.room.create", ""))
    fields: dict[str, Any] = {
        "room_id": room_id,
        "prev_events": list(room.head.extremities),
        "auth_events": [room.state[key].event_id for key in keys if key in room.state],
        "depth": 100,
        "origin_server_ts": 5,
        "server": ship.name,
        "key": ship.key,
        **changes,
    }
    return build_event(EventDraft("m.room.message", sender, {"body": body}), room.version, **fields)


def test_each_event_has_its_result() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        good = await forge(two, room_id, users[1], "good")
        stranger = await forge(two, room_id, UserId("@x:b.org"), "not inside")
        not_theirs = await forge(two, room_id, users[0], "forged")
        changed = {**good.pdu, "content": {"body": "changed"}}
        other = {**good.pdu, "room_id": "!nowhere"}
        broken: list[object] = [None, 7, {}, {"room_id": room_id}, other, {**good.pdu, "depth": "high"}]
        answer = await put(two, one, "1", [*broken, good.pdu, stranger.pdu, not_theirs.pdu])
        results: Any = answer["pdus"]
        assert results.pop(good.event_id) == {}
        assert "rules" in results.pop(stranger.event_id)["error"]
        assert "signed" in results.pop(not_theirs.event_id)["error"]
        assert results == {}
        assert await bodies(one, room_id) == ["good"]
        # The same id with other words: its hash does not fit, and what is here stays.
        assert (await put(two, one, "2", [changed]))["pdus"] == {good.event_id: {}}
        assert await bodies(one, room_id) == ["good"]
        # What was rejected is so the next time, too.
        again: Any = (await put(two, one, "3", [stranger.pdu]))["pdus"]
        assert "rules" in again[stranger.event_id]["error"]

    sailing("a.org", "b.org")(test)


def test_a_transaction_that_comes_twice_is_taken_once() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        event = await forge(two, room_id, users[1], "once")
        before = one.traffic.transactions.results["taken"]
        both = await asyncio.gather(put(two, one, "1", [event.pdu]), put(two, one, "1", [event.pdu]))
        assert both[0] == both[1] == {"pdus": {event.event_id: {}}}
        # Even with other contents: the transaction is the one that was answered.
        assert await put(two, one, "1", []) == both[0]
        assert one.traffic.transactions.results["taken"] == before + 1
        # And by another process, which knows the event.
        await one.stop()
        await one.build()
        one.is_up = True
        await one.launch()
        assert await put(two, one, "1", [event.pdu]) == both[0]
        assert await bodies(one, room_id) == ["once"]

    sailing("a.org", "b.org")(test)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "c.org"},
        {"origin": None},
        {"pdus": {}},
        {"edus": "x"},
        {"pdus": [{}] * (MAX_PDUS + 1)},
        {"edus": [{}] * (MAX_EDUS + 1)},
    ],
)
def test_what_is_no_transaction_is_refused_whole(changes: dict[str, object]) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        await launch(ships)
        with pytest.raises(RemoteRefused) as refused:
            await put(ships[1], ships[0], "1", changes=changes)
        assert (refused.value.status, refused.value.errcode) == (400, "M_BAD_JSON")

    sailing("a.org", "b.org")(test)


def test_a_denied_server_gets_nothing_in() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        event = await forge(two, room_id, users[1], "denied")
        acl = {"allow": ["*"], "deny": ["b.org"]}
        await one.party.do(
            SendState(actor=users[0], room_id=room_id, type="m.room.server_acl", state_key="", content=acl)
        )
        typing = {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": users[1], "typing": True}}
        receipt = {"edu_type": "m.receipt", "content": {room_id: {"m.read": {users[1]: {
            "event_ids": [next(iter((await one.party.middle.loaded.get(room_id)).head.extremities))], "data": {"ts": 1}
        }}}}}  # fmt: skip
        answer: Any = await put(two, one, "1", [event.pdu], [typing, receipt])
        assert "denied" in answer["pdus"][event.event_id]["error"]
        assert await bodies(one, room_id) == []
        assert one.party.middle.reader.typing(room_id) == frozenset()
        assert await one.party.middle.reader.receipts(room_id) == []

    sailing("a.org", "b.org")(test)


def test_a_gap_does_not_hold_up_the_answer_and_is_filled_behind_it() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        for number in range(5):
            await two.party.say(users[1], room_id, str(number))
        sea.heal()
        last = next(iter((await two.party.middle.loaded.get(room_id)).head.extremities))
        stored = await two.party.middle.store.load_event(last)
        assert stored is not None
        # Questions back take five seconds each.
        sea.weather.delay_s = 0.0
        loop = asyncio.get_running_loop()
        carry = sea.carry

        async def slow(source: str, *rest: Any) -> Any:
            if source == "a.org":
                await asyncio.sleep(5)
            return await carry(source, *rest)  # type: ignore[call-arg]

        sea.carry = slow  # type: ignore[method-assign]
        before = loop.time()
        answer = await put(two, one, "1", [orjson.loads(stored.json)])
        assert answer["pdus"] == {last: {}} and loop.time() == before
        assert one.traffic.staging.waiting == 1
        await asyncio.sleep(20)
        assert await bodies(one, room_id) == [str(number) for number in range(5)]
        assert one.traffic.staging.waiting == 0
        assert await one.party.middle.store.load_staged_rooms() == []

    sailing("a.org", "b.org")(test)


def test_what_waits_for_its_gap_survives_a_kill(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet("a.org", "b.org", folder=tmp_path) as (sea, ships):
            one, two = ships
            room_id, users = await shared(ships)
            await launch(ships)
            sea.part("a.org", "b.org")
            for number in range(5):
                await two.party.say(users[1], room_id, str(number))
            await asyncio.sleep(2)
            last = next(iter((await two.party.middle.loaded.get(room_id)).head.extremities))
            stored = await two.party.middle.store.load_event(last)
            assert stored is not None
            room = await one.party.middle.loaded.get(room_id)
            await one.traffic.staging.put(room, last, two.name, stored.json)
            await one.kill()
            await one.build()
            sea.heal()
            one.is_up = True
            await one.launch()
            await asyncio.sleep(30)
            assert await bodies(one, room_id) == [str(number) for number in range(5)]
            assert one.bugs == []

    run_virtually(work())


def test_a_room_takes_no_more_than_its_share_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events whose past nobody has: so many wait and are given up in the end, the others are told so."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        monkeypatch.setattr(staging, "MAX_WAITING", 10)
        monkeypatch.setattr(staging, "WAITS_S", (1.0, 2.0))
        missing = ["$" + "x" * 43]
        refused = 0
        for number in range(4):
            events = [await forge(two, room_id, users[1], f"{number} {i}", prev_events=missing) for i in range(10)]
            results: Any = (await put(two, one, str(number), [event.pdu for event in events]))["pdus"]
            refused += sum("error" in result for result in results.values())
        assert refused == 30 and one.traffic.staging.waiting == 10
        assert len(await one.party.middle.store.load_staged_pdus(1)) == 10
        await asyncio.sleep(60)
        assert one.traffic.staging.waiting == 0
        assert await bodies(one, room_id) == []
        # The room goes on.
        await two.party.say(users[1], room_id, "after that")
        await asyncio.sleep(1)
        assert await bodies(one, room_id) == ["after that"]

    sailing("a.org", "b.org")(test)


def test_lies_about_a_state_change_nothing() -> None:
    """The other server says that the state before its event is one in which it may do everything."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        room = await two.party.middle.loaded.get(room_id)
        power = room.state["m.room.power_levels", ""]
        lie = build_event(
            EventDraft("m.room.power_levels", users[1], {**power.content, "users": {users[1]: 100}}, ""),
            room.version,
            room_id=room_id,
            prev_events=["$" + "y" * 43],
            auth_events=[power.event_id, room.state["m.room.member", users[1]].event_id],
            depth=50,
            origin_server_ts=1,
            server=two.name,
            key=two.key,
        )
        carry = sea.carry

        async def lying(source: str, target: str, method: str, path: str, *rest: Any) -> Any:
            answer = await carry(source, target, method, path, *rest)
            if "/state_ids/" in path:
                return type(answer)(200, orjson.dumps({"pdu_ids": [lie.event_id] * 1000, "auth_chain_ids": []}))
            if "/event/" in path or "/get_missing_events/" in path:
                body = {"origin": two.name, "pdus": [lie.pdu], "events": [lie.pdu]}
                return type(answer)(200, orjson.dumps(body))
            return answer

        sea.carry = lying  # type: ignore[method-assign]
        later = await forge(two, room_id, users[1], "later", prev_events=[lie.event_id])
        before = await one.island.state(room_id)
        await put(two, one, "1", [lie.pdu, later.pdu])
        await asyncio.sleep(1000)
        assert await one.island.state(room_id) == before
        assert one.traffic.staging.waiting == 0
        assert sum(source == "a.org" for source, *_ in sea.requests) < 200

    sailing("a.org", "b.org")(test)


def test_a_flood_for_unknown_rooms_costs_a_log_line_for_each_transaction() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        pdu = (await forge(two, room_id, users[1], "x")).pdu
        loaded = len(one.party.middle.loaded)
        with capture_logs() as logs:
            for number in range(40):
                pdus = [{**pdu, "room_id": f"!{number}x{i}"} for i in range(MAX_PDUS)]
                assert await put(two, one, str(number), pdus) == {"pdus": {}}
        dropped = [entry for entry in logs if entry["event"] == "federation.pdus_dropped"]
        assert len(dropped) == 40
        assert {(entry["server"], entry["number"]) for entry in dropped} == {("b.org", MAX_PDUS)}
        assert one.traffic.transactions.results["dropped"] == 2000
        assert len(one.party.middle.loaded) == loaded
        assert len(one.traffic.transactions._answers) == 1 and not one.traffic.transactions._running

    sailing("a.org", "b.org")(test)


def test_a_server_that_sends_nothing_of_use_is_asked_to_wait() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two, three = ships
        room_id, users = await shared(ships)
        await launch(ships)
        junk = one.traffic.transactions._junk
        junk.rate = Rate(200, 10)
        pdu = (await forge(two, room_id, users[1], "x")).pdu
        flood = [{**pdu, "room_id": f"!x{i}"} for i in range(MAX_PDUS)]
        for number in range(4):
            await put(two, one, str(number), flood)
        with pytest.raises(RemoteRefused) as refused:
            await put(two, one, "4", flood)
        assert (refused.value.status, refused.value.errcode) == (429, "M_LIMIT_EXCEEDED")
        # Nobody else is, and it is taken again after a while.
        event = await forge(three, room_id, users[2], "from another")
        assert await put(three, one, "1", [event.pdu]) == {"pdus": {event.event_id: {}}}
        await asyncio.sleep(1)
        event = await forge(two, room_id, users[1], "well")
        assert await put(two, one, "5", [event.pdu]) == {"pdus": {event.event_id: {}}}

    sailing("a.org", "b.org", "c.org")(test)


def test_a_server_has_few_transactions_in_progress() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        event = await forge(two, room_id, users[1], "held up")
        go_on = asyncio.Event()
        receive = one.party.middle.accept.receive_all

        async def held(*given: Any, **named: Any) -> Any:
            await go_on.wait()
            return await receive(*given, **named)

        one.party.middle.accept.receive_all = held  # type: ignore[method-assign]
        running = [asyncio.ensure_future(put(two, one, str(number), [event.pdu])) for number in range(5)]
        await asyncio.sleep(1)
        refused = [one for one in running if one.done()]
        assert len(refused) == 3
        for answer in refused:
            error = answer.exception()
            assert isinstance(error, RemoteRefused) and (error.status, error.errcode) == (429, "M_LIMIT_EXCEEDED")
        go_on.set()
        answers = [await one for one in running if one not in refused]
        assert answers == [{"pdus": {event.event_id: {}}}] * 2

    sailing("a.org", "b.org")(test)


def test_what_cannot_be_stored_is_not_answered_and_comes_again() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        store = one.party.middle.store
        assert isinstance(store, MemoryStore)
        store.fail_next(StoreError("the disk is full"))
        event = await forge(two, room_id, users[1], "by hand")
        gap = await forge(two, room_id, users[1], "with a gap", prev_events=["$" + "z" * 43])
        for pdu in (event.pdu, gap.pdu):
            with pytest.raises(RemoteRefused) as refused:
                await put(two, one, "1", [pdu])
            assert refused.value.status == 503
        assert one.traffic.staging.waiting == 0
        await two.party.say(users[1], room_id, "by itself")
        await asyncio.sleep(5)
        store.fail_next(None)
        assert await put(two, one, "1", [event.pdu]) == {"pdus": {event.event_id: {}}}
        await asyncio.sleep(60)
        assert sorted(await bodies(one, room_id)) == ["by hand", "by itself"]

    sailing("a.org", "b.org")(test)


def test_slow_keys_do_not_hold_up_the_answer() -> None:
    """An event of a third server whose keys are not to be had at once is put by."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two, _ = ships
        room_id, users = await shared(ships)
        await launch(ships)
        event = await forge(ships[2], room_id, users[2], "from far away")
        ring = one.trust.ring
        keys = ring.keys

        async def slow(server: ServerName, *rest: Any) -> Any:
            if server == "c.org":
                await asyncio.sleep(25)
            return await keys(server, *rest)

        ring.keys = slow  # type: ignore[method-assign]
        before = asyncio.get_running_loop().time()
        assert await put(two, one, "1", [event.pdu]) == {"pdus": {event.event_id: {}}}
        assert asyncio.get_running_loop().time() - before <= 10
        await asyncio.sleep(60)
        assert await bodies(one, room_id) == ["from far away"]

    sailing("a.org", "b.org", "c.org")(test)


def test_fifty_of_the_largest_events_fit() -> None:
    assert MAX_PDUS * 65_536 + MAX_EDUS * 4096 < BODY_BYTES


def test_a_flood_of_sticky_events_is_to_come_again_later() -> None:
    """spec: MSC4354 "Rate limits": "Servers MUST NOT silently drop sticky events and return 200 OK" """

    async def test(sea: Sea, ships: list[Ship]) -> None:
        one, two = ships
        room_id, users = await shared(ships)
        await launch(ships)
        sticky = {"msc4354_sticky": {"duration_ms": 60_000}}
        one.traffic.transactions._sticky.rate = Rate(3, 0.1)
        events = [await forge(two, room_id, users[1], str(number)) for number in range(4)]
        pdus = [{**event.pdu, **sticky} for event in events]
        await put(two, one, "1", pdus[:2])
        with pytest.raises(RemoteRefused) as refused:
            await put(two, one, "2", pdus[2:])
        assert (refused.value.status, refused.value.errcode) == (429, "M_LIMIT_EXCEEDED")
        # What is not sticky is taken meanwhile, and the others when they come again.
        plain = await forge(two, room_id, users[1], "plain")
        assert (await put(two, one, "3", [plain.pdu]))["pdus"] == {plain.event_id: {}}
        await asyncio.sleep(10)
        await put(two, one, "2", pdus[2:])

    sailing("a.org", "b.org")(test)
