"""What accounts publish for others to hear of: nodes with items, each account its own.

Who may read what, and who is told, is for the front end that knows who sees whom. Every change is told as NodeChanged
after its commit. One account's changes happen one after the other. Bounds are core/nodes.py's.
spec: XEP-0060 7, 8; XEP-0163 2, 5; XEP-0223. Read next: xmpp/pep/.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.bus.interface import Bus
from tripoint.core.ids import UserId
from tripoint.core.nodes import (
    MAX_BYTES,
    MAX_ITEMS,
    MAX_NAME_BYTES,
    MAX_NODES,
    MAX_PAYLOAD_BYTES,
    MAX_SUBSCRIPTIONS,
    MAX_SUBSCRIPTIONS_EACH,
    NodeConfig,
    NodeItem,
    Subscription,
)
from tripoint.rooms.changes import NodeChanged, UserChange
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutNode, PutNodeItem, PutNodeSubscription, Write

# Settings that a request names, by the fields of NodeConfig.
Settings = Mapping[str, object]


class _Turn:
    """Whose turn it is among the changes of one account, and how many wait for it or have it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Nodes:
    """All nodes of all accounts, straight from the store."""

    def __init__(
        self, store: AccountStore, stream: Stream, user_bus: Bus[UserChange], clock_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._stream = stream
        self._user_bus = user_bus
        self._clock_ms = clock_ms
        self._turns: dict[UserId, _Turn] = {}

    # -- reading

    async def nodes(self, user_id: UserId) -> Mapping[str, NodeConfig]:
        """The nodes of an account and their settings."""
        return {row.node: _config(row) for row in await self._store.load_nodes(user_id)}

    async def node(self, user_id: UserId, node: str) -> NodeConfig | None:
        """The settings of a node."""
        row = await self._store.load_node(user_id, node)
        return None if row is None else _config(row)

    async def owners(self, node: str) -> Sequence[UserId]:
        """The accounts that have a node of this name."""
        return await self._store.load_node_owners(node)

    async def items(self, user_id: UserId, node: str, limit: int = MAX_ITEMS) -> Sequence[NodeItem]:
        """The newest items of a node, the newest first."""
        return [_item(row) for row in await self._store.load_node_items(user_id, node, limit)]

    async def item(self, user_id: UserId, node: str, item_id: str) -> NodeItem | None:
        """One item of a node."""
        row = await self._store.load_node_item(user_id, node, item_id)
        return None if row is None else _item(row)

    # -- writing

    async def publish(
        self,
        user_id: UserId,
        node: str,
        item: NodeItem,
        *,
        wanted: Settings | None = None,
        default: NodeConfig | None = None,
    ) -> NodeConfig:
        """Add an item, or put it in the place of one of the same id, and drop the oldest beyond what the node keeps.

        A node that is not there is made, with `default` and the settings `wanted`; one that is there must have them
        (XEP-0060 7.1.5). The item's time is now. NodeRefused: PRECONDITION, BAD_NAME, TOO_MANY_NODES, PAYLOAD_TOO_BIG,
        FULL.
        """
        payload = item.payload.encode()
        _check_name(item.item_id)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise NodeRefused(NodeRefusal.PAYLOAD_TOO_BIG)
        async with self._turn(user_id):
            writes: list[Write] = []
            config = await self.node(user_id, node)
            if config is None:
                config = _with(default or NodeConfig(), wanted)
                writes.append(await self._new(user_id, node, config))
            elif _with(config, wanted) != config:
                raise NodeRefused(NodeRefusal.PRECONDITION)
            item = replace(item, ts_ms=self._clock_ms())
            if config.persist_items:
                if await self._store.load_published_bytes(user_id) + len(payload) > MAX_BYTES:
                    raise NodeRefused(NodeRefusal.FULL)
                rows = await self._store.load_node_items(user_id, node, MAX_ITEMS + 1)
                others = [row for row in rows if row.item_id != item.item_id]
                writes += [replace(row, payload=None) for row in others[config.max_items - 1 :]]
                position = self._stream.next()
                writes.append(
                    PutNodeItem(user_id, node, item.item_id, position, item.publisher, item.ts_ms, payload)
                )
            await self._commit(writes, NodeChanged(user_id, node, config, published=(item,)))
            return config

    async def retract(self, user_id: UserId, node: str, item_id: str, *, notify: bool = False) -> None:
        """Take an item away. `notify`: told even where the node is not set to tell. NO_SUCH_NODE, NO_SUCH_ITEM."""
        async with self._turn(user_id):
            config = await self._existing(user_id, node)
            if not config.persist_items:
                raise NodeRefused(NodeRefusal.NOT_PERSISTENT)
            row = await self._store.load_node_item(user_id, node, item_id)
            if row is None:
                raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
            told = replace(config, notify_retract=config.notify_retract or notify)
            change = NodeChanged(user_id, node, told, retracted=(item_id,))
            await self._commit([replace(row, payload=None)], change)

    async def create(self, user_id: UserId, node: str, config: NodeConfig) -> None:
        """Make an empty node. NODE_EXISTS, BAD_NAME, TOO_MANY_NODES."""
        async with self._turn(user_id):
            if await self.node(user_id, node) is not None:
                raise NodeRefused(NodeRefusal.NODE_EXISTS)
            await self._commit([await self._new(user_id, node, config)], None)

    async def configure(self, user_id: UserId, node: str, wanted: Settings) -> None:
        """Change settings of a node; items beyond what it keeps from now on go. NO_SUCH_NODE."""
        async with self._turn(user_id):
            config = _with(await self._existing(user_id, node), wanted)
            writes: list[Write] = [PutNode(user_id, node, msgspec.json.encode(config))]
            rows = await self._store.load_node_items(user_id, node, MAX_ITEMS + 1)
            keep = config.max_items if config.persist_items else 0
            writes += [replace(row, payload=None) for row in rows[keep:]]
            await self._commit(writes, None)

    async def purge(self, user_id: UserId, node: str) -> None:
        """Take all items away. NO_SUCH_NODE."""
        async with self._turn(user_id):
            config = await self._existing(user_id, node)
            if not config.persist_items:
                raise NodeRefused(NodeRefusal.NOT_PERSISTENT)
            await self._commit(await self._no_items(user_id, node), NodeChanged(user_id, node, config, purged=True))

    async def delete(self, user_id: UserId, node: str, redirect: str = "") -> None:
        """Take a node away, with its items; who hears of it hears where to look instead. NO_SUCH_NODE."""
        async with self._turn(user_id):
            config = await self._existing(user_id, node)
            subscribers = tuple(one for one in await self.subscriptions(user_id) if one.node == node)
            writes: list[Write] = [PutNode(user_id, node, None), *await self._no_items(user_id, node)]
            writes += [PutNodeSubscription(user_id, node, one.jid, None) for one in subscribers]
            change = NodeChanged(
                user_id, node, config, deleted=True, redirect=redirect, subscribers=subscribers
            )
            await self._commit(writes, change)

    async def drop_all(self, user_id: UserId) -> None:
        """The account is closed: nothing of it is published any more."""
        for node in await self.nodes(user_id):
            await self.delete(user_id, node)

    # -- subscriptions

    async def subscriptions(self, user_id: UserId) -> Sequence[Subscription]:
        """Who asked to hear of nodes of an account."""
        rows = await self._store.load_node_subscriptions(user_id)
        return [Subscription(row.node, row.jid, row.subscriber) for row in rows if row.subscriber is not None]

    async def subscribe(self, user_id: UserId, subscription: Subscription) -> None:
        """Somebody hears of a node of `user_id` from now on: one of many, each of few. TOO_MANY_SUBSCRIPTIONS."""
        async with self._turn(user_id):
            present = await self.subscriptions(user_id)
            theirs = sum(one.subscriber == subscription.subscriber for one in present)
            full = len(present) >= MAX_SUBSCRIPTIONS or theirs >= MAX_SUBSCRIPTIONS_EACH
            if full and subscription not in present:
                raise NodeRefused(NodeRefusal.TOO_MANY_SUBSCRIPTIONS)
            row = PutNodeSubscription(user_id, subscription.node, subscription.jid, subscription.subscriber)
            await self._commit([row], None)

    async def unsubscribe(self, user_id: UserId, subscription: Subscription) -> None:
        """Somebody hears of it no more. NOT_SUBSCRIBED."""
        async with self._turn(user_id):
            if subscription not in await self.subscriptions(user_id):
                raise NodeRefused(NodeRefusal.NOT_SUBSCRIBED)
            await self._commit([PutNodeSubscription(user_id, subscription.node, subscription.jid, None)], None)

    # -- parts

    async def _existing(self, user_id: UserId, node: str) -> NodeConfig:
        config = await self.node(user_id, node)
        if config is None:
            raise NodeRefused(NodeRefusal.NO_SUCH_NODE)
        return config

    async def _new(self, user_id: UserId, node: str, config: NodeConfig) -> PutNode:
        _check_name(node)
        if len(await self._store.load_nodes(user_id)) >= MAX_NODES:
            raise NodeRefused(NodeRefusal.TOO_MANY_NODES)
        return PutNode(user_id, node, msgspec.json.encode(config))

    async def _no_items(self, user_id: UserId, node: str) -> list[Write]:
        rows = await self._store.load_node_items(user_id, node, MAX_ITEMS + 1)
        return [replace(row, payload=None) for row in rows]

    @asynccontextmanager
    async def _turn(self, user_id: UserId) -> AsyncIterator[None]:
        """What is read here is still so when it is written."""
        turn = self._turns.setdefault(user_id, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[user_id]

    async def _commit(self, writes: Sequence[Write], change: NodeChanged | None) -> None:
        try:
            if writes:
                await self._stream.commit(writes)
        except StoreError as error:
            raise NodeRefused(NodeRefusal.BUSY) from error
        if change is not None:
            self._user_bus.publish(change)


def _check_name(name: str) -> None:
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise NodeRefused(NodeRefusal.BAD_NAME)


def _with(config: NodeConfig, wanted: Settings | None) -> NodeConfig:
    return replace(config, **wanted) if wanted else config


def _config(row: PutNode) -> NodeConfig:
    assert row.config is not None  # a row that is there
    return msgspec.json.decode(row.config, type=NodeConfig)


def _item(row: PutNodeItem) -> NodeItem:
    assert row.payload is not None  # a row that is there
    return NodeItem(row.item_id, row.payload.decode(), row.publisher, row.ts_ms)
