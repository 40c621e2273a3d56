"""What accounts publish: what stays, what is told, and where it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.middle import party

from tripoint.accounts import nodes as nodes_module
from tripoint.accounts.nodes import Nodes
from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.bus.local import LocalBus
from tripoint.core.ids import UserId
from tripoint.core.nodes import Access, NodeConfig, NodeItem, Subscription
from tripoint.rooms.changes import NodeChanged, UserChange
from tripoint.rooms.commands import SetProfile
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore
from tripoint.store.stream import Stream

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")


class Desk:
    """Nodes on a store in memory, and what was told."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.told: list[NodeChanged] = []
        self.now = 1000
        bus: LocalBus[UserChange] = LocalBus(lambda error: None)
        bus.subscribe(self._hear)
        self.nodes = Nodes(self.store, Stream(self.store, 0), bus, lambda: self.now)

    def _hear(self, change: UserChange) -> None:
        assert isinstance(change, NodeChanged)
        self.told.append(change)

    async def publish(self, item_id: str, payload: str = "<x/>", node: str = "n", **more: object) -> None:
        await self.nodes.publish(ALICE, node, NodeItem(item_id, payload, "alice@example.org/r", 0), **more)

    async def ids(self, node: str = "n") -> list[str]:
        return [item.item_id for item in await self.nodes.items(ALICE, node)]


def on_desk(work: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        await work(Desk())

    asyncio.run(run())


async def refused(work: Awaitable[object]) -> NodeRefusal:
    with pytest.raises(NodeRefused) as found:
        await work
    return found.value.refusal


def test_a_node_keeps_the_newest_items() -> None:
    async def work(desk: Desk) -> None:
        wanted = {"max_items": 2, "access": Access.OPEN}
        for item_id in ("a", "b", "c"):
            await desk.publish(item_id, wanted=wanted)
        await desk.publish("b", "<again/>")
        assert await desk.ids() == ["b", "c"]
        assert await desk.nodes.item(ALICE, "n", "b") == NodeItem("b", "<again/>", "alice@example.org/r", 1000)
        assert await desk.nodes.node(ALICE, "n") == NodeConfig(Access.OPEN, max_items=2)
        assert [change.published[0].item_id for change in desk.told] == ["a", "b", "c", "b"]
        assert await desk.nodes.nodes(BOB) == {}
        await desk.nodes.configure(ALICE, "n", {"max_items": 1})
        assert await desk.ids() == ["b"]
        await desk.nodes.configure(ALICE, "n", {"persist_items": False})
        await desk.publish("d")
        assert await desk.ids() == [] and desk.told[-1].published[0].item_id == "d"
        assert await refused(desk.nodes.retract(ALICE, "n", "d")) is NodeRefusal.NOT_PERSISTENT

    on_desk(work)


def test_settings_are_made_or_checked() -> None:
    async def work(desk: Desk) -> None:
        await desk.publish("a", wanted={"access": Access.WHITELIST})
        await desk.publish("b", wanted={"access": Access.WHITELIST, "max_items": 1})
        assert await refused(desk.publish("c", wanted={"max_items": 5})) is NodeRefusal.PRECONDITION
        assert await desk.ids() == ["b"]
        assert await refused(desk.nodes.create(ALICE, "n", NodeConfig())) is NodeRefusal.NODE_EXISTS

    on_desk(work)


def test_what_goes_is_told_once() -> None:
    async def work(desk: Desk) -> None:
        await desk.publish("a", wanted={"max_items": 5})
        await desk.publish("b")
        await desk.nodes.retract(ALICE, "n", "a", notify=True)
        assert desk.told[-1].retracted == ("a",) and desk.told[-1].config.notify_retract
        assert await refused(desk.nodes.retract(ALICE, "n", "a")) is NodeRefusal.NO_SUCH_ITEM
        await desk.nodes.purge(ALICE, "n")
        assert desk.told[-1].purged and await desk.ids() == []
        await desk.publish("c")
        await desk.nodes.drop_all(ALICE)
        assert desk.told[-1].deleted and await desk.ids() == [] and await desk.nodes.nodes(ALICE) == {}
        for gone in (desk.nodes.delete(ALICE, "n"), desk.nodes.purge(ALICE, "n"), desk.nodes.retract(ALICE, "n", "c")):
            assert await refused(gone) is NodeRefusal.NO_SUCH_NODE
        assert len(desk.told) == 6 and not desk.store.node_items and not desk.store.nodes

    on_desk(work)


def test_what_an_account_publishes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(desk: Desk) -> None:
        assert await refused(desk.publish("a", "x" * 101)) is NodeRefusal.PAYLOAD_TOO_BIG
        for bad in ("", "x" * 1024):
            assert await refused(desk.publish(bad)) is NodeRefusal.BAD_NAME
            assert await refused(desk.publish("a", node=bad)) is NodeRefusal.BAD_NAME
        await desk.publish("a", "x" * 100, node="one")
        await desk.publish("a", "x" * 100, node="two")
        assert await refused(desk.publish("a", node="three")) is NodeRefusal.TOO_MANY_NODES
        assert await refused(desk.nodes.create(ALICE, "three", NodeConfig())) is NodeRefusal.TOO_MANY_NODES
        assert await refused(desk.publish("a", "x" * 100, node="two")) is NodeRefusal.FULL
        assert len(desk.told) == 2

    monkeypatch.setattr(nodes_module, "MAX_PAYLOAD_BYTES", 100)
    monkeypatch.setattr(nodes_module, "MAX_NODES", 2)
    monkeypatch.setattr(nodes_module, "MAX_BYTES", 250)
    on_desk(work)


def test_many_at_once_happen_one_after_the_other() -> None:
    async def work(desk: Desk) -> None:
        await desk.nodes.create(ALICE, "n", NodeConfig(max_items=3))
        await asyncio.gather(*(desk.publish(str(number)) for number in range(10)))
        assert await desk.ids() == ["9", "8", "7"] and len(desk.store.node_items) == 3
        assert [change.published[0].item_id for change in desk.told] == [str(number) for number in range(10)]

    on_desk(work)


def test_what_could_not_be_stored_is_not_told() -> None:
    async def work(desk: Desk) -> None:
        desk.store.fail_next(StoreError("full"))
        assert await refused(desk.publish("a")) is NodeRefusal.BUSY
        assert desk.told == [] and await desk.ids() == []
        desk.store.fail_next(None)
        await desk.publish("a")
        assert await desk.ids() == ["a"]

    on_desk(work)


def test_a_closed_account_publishes_nothing() -> None:
    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            await p.middle.nodes.publish(alice, "n", NodeItem("a", "<x/>", "alice@example.org/r", 0))
            await p.do(SetProfile(actor=alice, field="m.tz", value="UTC"))
            await p.middle.accounts.deactivate(alice)
            assert await p.middle.nodes.nodes(alice) == {} and await p.middle.nodes.items(alice, "n") == []
            assert await p.middle.store.load_profile(alice) == {}

    asyncio.run(work())


def test_what_was_published_is_there_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "tripoint.db"
        async with party(store=SqliteStore(path)) as p:
            alice = await p.account("alice")
            for item_id in ("a", "b"):
                item = NodeItem(item_id, f"<{item_id}/>", "alice@example.org/r", 0)
                await p.middle.nodes.publish(alice, "n", item, wanted={"max_items": 2, "access": Access.OPEN})
        async with party(store=SqliteStore(path)) as p:
            assert await p.middle.nodes.node(alice, "n") == NodeConfig(Access.OPEN, max_items=2)
            await p.middle.nodes.publish(alice, "n", NodeItem("c", "<c/>", "alice@example.org/r", 0))
            found = await p.middle.nodes.items(alice, "n")
            assert [(item.item_id, item.payload) for item in found] == [("c", "<c/>"), ("b", "<b/>")]
            assert await p.middle.nodes.owners("n") == [alice]

    asyncio.run(work())


def test_nobody_takes_all_the_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "MAX_SUBSCRIPTIONS", 3)
    monkeypatch.setattr(nodes_module, "MAX_SUBSCRIPTIONS_EACH", 2)
    bobs = [Subscription(node, "bob@example.org", BOB) for node in "abc"]
    alices = [Subscription(node, "alice@example.org", ALICE) for node in "ab"]

    async def work(desk: Desk) -> None:
        for subscription in bobs[:2]:
            await desk.nodes.subscribe(ALICE, subscription)
        assert await refused(desk.nodes.subscribe(ALICE, bobs[2])) is NodeRefusal.TOO_MANY_SUBSCRIPTIONS
        await desk.nodes.subscribe(ALICE, bobs[1])
        await desk.nodes.subscribe(ALICE, alices[0])
        assert await refused(desk.nodes.subscribe(ALICE, alices[1])) is NodeRefusal.TOO_MANY_SUBSCRIPTIONS
        await desk.nodes.unsubscribe(ALICE, bobs[0])
        await desk.nodes.subscribe(ALICE, alices[1])
        assert set(await desk.nodes.subscriptions(ALICE)) == {bobs[1], *alices}

    on_desk(work)
