"""Keys of other servers on the real store's door: they come back as they went, and a full disk loses only time."""

from tests.federation.network import FAR, HERE, World, key
from tests.support.middle import run
from tripoint.matrix.keys.document import OldKey
from tripoint.matrix.keys.ring import KeyRing
from tripoint.runtime.federation import StoredKeys
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.stream import Stream

ONE, TWO = key("one", 1), key("two", 2)


def test_keys_come_back_as_they_went() -> None:
    async def work() -> None:
        world, store = World(), MemoryStore()
        stored = StoredKeys(store, Stream(store, 0))
        ring = KeyRing(world.own, stored, world.network, (), world.clock.ms)
        document = world.publish(FAR, ONE, old=[OldKey(TWO.key_id, TWO.verify_key_b64, 5)])
        before = await ring.keys(FAR, [ONE.key_id, TWO.key_id], 0)
        found = await stored.load(FAR)
        assert {one.key.key_id: one.key for one in found} == before
        assert [one.document for one in found] == [document, document]
        assert await stored.load(HERE) == []
        await stored.put(FAR, [], [TWO.key_id])
        assert [one.key.key_id for one in await stored.load(FAR)] == [ONE.key_id]

    run(work)


def test_a_store_that_cannot_write_costs_another_request_later() -> None:
    async def work() -> None:
        world, store = World(), MemoryStore()
        stored = StoredKeys(store, Stream(store, 0))
        ring = KeyRing(world.own, stored, world.network, (), world.clock.ms)
        world.publish(FAR, ONE)
        store.fail_next(StoreError("the disk is full"))
        assert set(await ring.request_keys(FAR, [ONE.key_id])) == {ONE.key_id}
        assert set(await ring.request_keys(FAR, [ONE.key_id])) == {ONE.key_id}
        assert world.network.asked == [FAR]
        store.fail_next(None)
        again = KeyRing(world.own, stored, world.network, (), world.clock.ms)
        assert set(await again.request_keys(FAR, [ONE.key_id])) == {ONE.key_id}
        assert world.network.asked == [FAR, FAR]

    run(work)
