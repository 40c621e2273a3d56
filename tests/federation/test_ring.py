"""The ring of keys: cached while valid, asked for no more than needed, fooled by nobody.

spec: Matrix server-server-api retrieving-server-keys, querying-keys-through-another-server
"""

import asyncio

import pytest

from tests.federation.network import FAR, HERE, NOTARY, World, key, key_document
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.core.signing import sign_json
from tripoint.matrix.keys.document import DAY_MS, MAX_VALID_MS, OldKey
from tripoint.matrix.keys.ring import FIRST_BACK_OFF_MS, MAX_BACK_OFF_MS, MAX_FETCHES, MAX_KEPT, PAUSE_MS

ONE, TWO = key("one", 1), key("two", 2)
VOUCHER = key("voucher", 3)


async def current(world: World, *key_ids: str, server: ServerName = FAR) -> set[str]:
    """The keys with which a server may sign requests now."""
    return set(await world.ring.request_keys(server, key_ids or (ONE.key_id,)))


def test_a_key_is_fetched_once_and_kept_while_it_is_valid() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        assert await world.ring.request_keys(FAR, [ONE.key_id]) == {ONE.key_id: ONE.verify_key_b64}
        world.clock.now += DAY_MS / 1000
        assert await current(world) == {ONE.key_id}
        assert world.network.asked == [FAR]
        # It ran out: asked again.
        world.clock.now += 1
        world.publish(FAR, ONE)
        assert await current(world) == {ONE.key_id}
        assert world.network.asked == [FAR, FAR]

    run(work)


def test_keys_outlast_a_restart() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE, old=[OldKey(TWO.key_id, TWO.verify_key_b64, 5)])
        before = await world.ring.keys(FAR, [ONE.key_id, TWO.key_id], 0)
        world.restarted()
        world.network.published.clear()
        assert await world.ring.keys(FAR, [ONE.key_id, TWO.key_id], 0) == before
        assert await current(world) == {ONE.key_id}
        assert world.network.asked == [FAR]

    run(work)


def test_a_key_that_ran_out_is_no_good_for_requests_and_still_known_for_events() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        until = world.clock.ms() + DAY_MS
        await current(world)
        world.network.published.clear()
        world.clock.now += 2 * DAY_MS / 1000
        assert await current(world) == set()
        found = (await world.ring.keys(FAR, [ONE.key_id], world.clock.ms()))[ONE.key_id]
        assert found.is_valid_at(until) and not found.is_valid_at(until + 1)

    run(work)


def test_a_rotated_key_signs_no_requests_any_more() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        assert await current(world) == {ONE.key_id}
        world.clock.now += 3600
        world.publish(FAR, TWO, old=[OldKey(ONE.key_id, ONE.verify_key_b64, world.clock.ms())])
        # A request with the new key shows it; the old one is old from then on.
        assert await current(world, TWO.key_id) == {TWO.key_id}
        assert await current(world) == set()
        old = (await world.ring.keys(FAR, [ONE.key_id], 0))[ONE.key_id]
        assert old.old and old.is_valid_at(world.clock.ms())

    run(work)


def test_a_key_that_is_listed_no_more_signs_no_requests_any_more() -> None:
    """After a restart too, and although its last document would be valid for a day."""

    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        await current(world)
        world.clock.now += 3600
        world.publish(FAR, TWO)
        assert await current(world, ONE.key_id, TWO.key_id) == {TWO.key_id}
        world.restarted()
        assert await current(world, ONE.key_id, TWO.key_id) == {TWO.key_id}
        assert ONE.key_id in await world.ring.keys(FAR, [ONE.key_id], 0)

    run(work)


def test_unknown_keys_make_us_ask_no_more_than_once_a_minute() -> None:
    """spec: "Requesting servers should limit how frequently they query for certificates"."""

    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        for number in range(20):
            assert await current(world, f"ed25519:made_up{number}") == set()
        assert world.network.asked == [FAR]
        world.clock.now += PAUSE_MS / 1000
        await current(world, "ed25519:made_up")
        assert world.network.asked == [FAR, FAR]

    run(work)


def test_a_server_that_does_not_answer_is_asked_less_and_less() -> None:
    async def work() -> None:
        world = World()
        pause = FIRST_BACK_OFF_MS
        for number in range(1, 10):
            await current(world)
            world.clock.now += pause / 1000 - 1
            await current(world)
            assert len(world.network.asked) == number
            world.clock.now += 1
            pause = min(pause * 2, MAX_BACK_OFF_MS)
        world.publish(FAR, ONE)
        assert await current(world) == {ONE.key_id}

    run(work)


def test_everybody_who_waits_shares_one_request_and_one_who_leaves_does_not_end_it() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        held = asyncio.Event()
        ask = world.network.server_keys

        async def slow(server: ServerName) -> JsonObject:
            await held.wait()
            return await ask(server)

        world.network.server_keys = slow  # type: ignore[method-assign]
        waiting = [asyncio.create_task(current(world)) for _ in range(10)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        held.set()
        assert await asyncio.gather(*waiting[1:]) == [{ONE.key_id}] * 9
        assert world.network.asked == [FAR]

    run(work)


def test_requests_at_a_time_are_bounded() -> None:
    async def work() -> None:
        world = World()
        held, at_once, most = asyncio.Event(), 0, 0

        async def slow(server: ServerName) -> JsonObject:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await held.wait()
            at_once -= 1
            return key_document(server, world.clock.ms(), ONE)

        world.network.server_keys = slow  # type: ignore[method-assign]
        names = [ServerName(f"n{number}.example") for number in range(3 * MAX_FETCHES)]
        waiting = [asyncio.create_task(current(world, server=name)) for name in names]
        for _ in range(20):
            await asyncio.sleep(0)
        held.set()
        assert await asyncio.gather(*waiting) == [{ONE.key_id}] * len(names)
        assert most == MAX_FETCHES

    run(work)


BAD = {
    "another server's document": lambda now: key_document(ServerName("evil.example"), now, ONE),
    "another key's signature": lambda now: key_document(FAR, now, ONE, signer=TWO),
    "changed after signing": lambda now: {**key_document(FAR, now, ONE), "valid_until_ts": now + 1},
    "nothing": lambda now: {},
}


@pytest.mark.parametrize("case", BAD)
def test_documents_that_prove_nothing_change_nothing(case: str) -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        await current(world)
        kept = dict(world.kept.keys)
        world.clock.now += 3600
        world.network.published[FAR] = BAD[case](world.clock.ms())
        assert await current(world, TWO.key_id) == set()
        assert await current(world) == {ONE.key_id}
        assert world.kept.keys == kept

    run(work)


def test_validity_is_cut_to_a_week() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE, valid_ms=1000 * DAY_MS)
        assert await current(world) == {ONE.key_id}
        world.network.published.clear()
        world.clock.now += MAX_VALID_MS / 1000
        assert await current(world) == {ONE.key_id}
        world.clock.now += 1
        assert await current(world) == set()

    run(work)


def test_a_server_that_makes_up_keys_does_not_fill_the_store() -> None:
    async def work() -> None:
        world = World()
        for number in range(30):
            keys = [key(f"n{number}_{at}", at + 1) for at in range(50)]
            world.publish(FAR, *keys)
            assert await current(world, keys[0].key_id) == {keys[0].key_id}
            assert len(world.kept.keys) <= MAX_KEPT
            world.clock.now += 3600
        world.restarted()
        assert await current(world, keys[7].key_id) == {keys[7].key_id}

    run(work)


def test_our_own_keys_need_no_network() -> None:
    async def work() -> None:
        world = World()
        own = world.own.key
        assert await world.ring.request_keys(HERE, [own.key_id, "ed25519:x"]) == {own.key_id: own.verify_key_b64}
        assert set(await world.ring.keys(HERE, [own.key_id], 0)) == {own.key_id}
        assert world.network.asked == []

    run(work)


# -- notaries


def vouched(document: JsonObject) -> JsonObject:
    return sign_json(document, NOTARY, VOUCHER)


def with_notary(*documents: JsonObject) -> World:
    """A world where FAR does not answer and NOTARY has these documents of it."""
    world = World(NOTARY)
    world.publish(NOTARY, VOUCHER)
    world.network.notaries[NOTARY] = list(documents)
    return world


def test_a_notary_is_asked_when_the_server_does_not_answer() -> None:
    async def work() -> None:
        world = with_notary()
        world.network.notaries[NOTARY] = [vouched(key_document(FAR, world.clock.ms(), ONE))]
        assert await current(world) == {ONE.key_id}
        assert world.network.asked == [FAR, f"{NOTARY} about {FAR}", NOTARY]
        world.restarted()
        assert await current(world) == {ONE.key_id}

    run(work)


def test_a_notary_is_not_asked_when_the_server_answers() -> None:
    async def work() -> None:
        world = with_notary()
        world.publish(FAR, ONE)
        assert await current(world, "ed25519:unknown") == set()
        assert world.network.asked == [FAR]

    run(work)


def test_what_a_notary_says_needs_both_signatures() -> None:
    async def work() -> None:
        world = with_notary()
        now = world.clock.ms()
        theirs = key_document(FAR, now, ONE)
        stranger = sign_json(theirs, NOTARY, key("voucher", 4))
        not_theirs = key_document(FAR, now, ONE, signer=TWO)
        other = key_document(ServerName("other.example"), now, ONE)
        for document in (theirs, stranger, vouched(not_theirs), vouched(other), vouched({}), {}):
            world.network.notaries[NOTARY] = [document]
            assert await current(world) == set()
            world.clock.now += MAX_BACK_OFF_MS / 1000
            world.publish(NOTARY, VOUCHER)
        assert not [name for name, _ in world.kept.keys if name == FAR]

    run(work)


@pytest.mark.parametrize("valid_ms", [3 * DAY_MS // 2, 100 * DAY_MS])
@pytest.mark.parametrize("listed", [True, False])
def test_a_notary_cannot_bring_back_what_the_server_has_retired(valid_ms: int, listed: bool) -> None:
    async def work() -> None:
        world = with_notary()
        before = vouched(key_document(FAR, world.clock.ms(), ONE, valid_ms=valid_ms))
        world.publish(FAR, ONE)
        await current(world)
        world.clock.now += DAY_MS / 1000
        retired = [OldKey(ONE.key_id, ONE.verify_key_b64, world.clock.ms())]
        world.publish(FAR, TWO, old=retired if listed else [])
        assert await current(world, TWO.key_id) == {TWO.key_id}
        del world.network.published[FAR]
        world.network.notaries[NOTARY] = [before]
        world.clock.now += PAUSE_MS / 1000
        world.publish(NOTARY, VOUCHER)
        assert await current(world, "ed25519:unknown") == set()
        assert f"{NOTARY} about {FAR}" in world.network.asked
        assert await current(world) == set()
        assert await current(world, TWO.key_id) == {TWO.key_id}

    run(work)


def test_a_notary_s_older_document_does_not_replace_what_the_server_said() -> None:
    async def work() -> None:
        world = with_notary()
        older = vouched(key_document(FAR, world.clock.ms(), ONE, valid_ms=DAY_MS))
        world.publish(FAR, ONE, valid_ms=5 * DAY_MS)
        await current(world)
        del world.network.published[FAR]
        world.network.notaries[NOTARY] = [older]
        world.clock.now += 2 * DAY_MS / 1000
        world.publish(NOTARY, VOUCHER)
        assert await current(world, ONE.key_id, "ed25519:unknown") == {ONE.key_id}
        assert f"{NOTARY} about {FAR}" in world.network.asked
        assert await current(world) == {ONE.key_id}

    run(work)


def test_old_documents_of_a_notary_are_good_for_old_events() -> None:
    async def work() -> None:
        world = with_notary()
        now = world.clock.ms()
        first = vouched(key_document(FAR, now - 50 * DAY_MS, ONE))
        second = vouched(key_document(FAR, now - 20 * DAY_MS, TWO))
        world.network.notaries[NOTARY] = [second, first]
        found = await world.ring.keys(FAR, [ONE.key_id, TWO.key_id], now - 49 * DAY_MS)
        assert found[ONE.key_id].valid_until_ts_ms == now - 49 * DAY_MS
        assert found[TWO.key_id].valid_until_ts_ms == now - 19 * DAY_MS
        assert await current(world, ONE.key_id, TWO.key_id) == set()

    run(work)


def test_notaries_that_vouch_for_each_other_do_not_wait_for_each_other() -> None:
    async def work() -> None:
        second = ServerName("second.example")
        world = World(NOTARY, second)
        theirs = {NOTARY: VOUCHER, second: key("second", 5)}
        world.network.notaries = {
            notary: [
                sign_json(key_document(about, world.clock.ms(), theirs[about]), notary, theirs[notary])
                for about in theirs
            ]
            for notary in theirs
        }
        found = await asyncio.gather(*(current(world, server=name) for name in (FAR, NOTARY, second)))
        assert found == [set(), set(), set()]

    run(work, timeout_s=5)


# -- what we answer as notary


def test_a_notary_asks_again_after_half_a_life_and_keeps_the_last_answer() -> None:
    """spec: getServerKey: "cache a response for half of its lifetime", "continue to return the last response"."""

    async def work() -> None:
        world = World()
        first = world.publish(FAR, ONE)
        assert await world.ring.documents(FAR, {}, None) == [first]
        world.clock.now += DAY_MS / 2000 - 1
        assert await world.ring.documents(FAR, {}, None) == [first]
        assert world.network.asked == [FAR]
        world.clock.now += 1
        second = world.publish(FAR, ONE)
        assert await world.ring.documents(FAR, {}, None) == [second]
        world.network.published.clear()
        world.clock.now += 30 * DAY_MS / 1000
        assert await world.ring.documents(FAR, {ONE.key_id: None}, None) == [second]
        assert len(world.network.asked) == 3

    run(work)


def test_a_notary_asks_again_for_a_longer_validity() -> None:
    async def work() -> None:
        world = World()
        world.publish(FAR, ONE)
        await world.ring.documents(FAR, {}, None)
        world.clock.now += PAUSE_MS / 1000
        now = world.clock.ms()
        await world.ring.documents(FAR, {ONE.key_id: now + 1000}, None)
        assert world.network.asked == [FAR]
        await world.ring.documents(FAR, {ONE.key_id: now + DAY_MS}, None)
        assert world.network.asked == [FAR, FAR]
        world.clock.now += PAUSE_MS / 1000
        await world.ring.documents(FAR, {}, world.clock.ms() + 2 * DAY_MS)
        assert world.network.asked == [FAR, FAR, FAR]
        await world.ring.documents(ServerName("new.example"), {}, None, fetch=False)
        assert world.network.asked == [FAR, FAR, FAR]

    run(work)


def test_a_notary_shows_old_documents_for_old_keys() -> None:
    async def work() -> None:
        world = World()
        first = world.publish(FAR, ONE)
        await current(world)
        world.clock.now += DAY_MS / 1000
        second = world.publish(FAR, TWO)
        assert await world.ring.documents(FAR, {}, None) == [first, second]
        assert await world.ring.documents(FAR, {ONE.key_id: 0}, None) == [first]
        assert await world.ring.documents(FAR, {"ed25519:unknown": 0}, None) == [first, second]

    run(work)
