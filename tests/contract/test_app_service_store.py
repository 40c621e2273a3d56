"""Every store keeps the promises of store/app_service_store.py."""

from tests.contract.test_store import OnStore, on_store, write
from tripoint.core.ids import EventId
from tripoint.store.app_service_store import PutAppService, PutNetworkRoom
from tripoint.store.interface import Store
from tripoint.store.writes import AddEvent, DropRoom, PlaceEvent

__all__ = ["on_store"]


def test_how_far_a_service_is(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_app_service("irc") is None
        await write(store, PutAppService("irc", 0, 0, None), PutAppService("other", 5, 1, b"{}"))
        await write(store, PutAppService("irc", 7, 3, b'{"events":[]}'))
        assert await store.load_app_service("irc") == PutAppService("irc", 7, 3, b'{"events":[]}')
        await write(store, PutAppService("irc", None, 0, None))
        assert await store.load_app_service("irc") is None
        assert await store.load_app_service("other") == PutAppService("other", 5, 1, b"{}")

    on_store(work)


def test_rooms_of_networks_go_with_the_room(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        one, two, other = PutNetworkRoom("irc", "a", 2), PutNetworkRoom("irc", "a", 1), PutNetworkRoom("irc", "b", 1)
        await write(store, one, two, other, one)
        assert await store.load_network_rooms() == [two, one, other]
        await write(store, PutNetworkRoom("irc", "a", 2, None))
        assert await store.load_network_rooms() == [two, other]
        await write(store, DropRoom(1))
        assert await store.load_network_rooms() == []

    on_store(work)


def test_events_are_read_in_the_order_of_their_positions(on_store: OnStore) -> None:
    """What was here before it had its place stands where it was placed; what was fetched of the past is not there."""

    def event(key: int, position: int | None) -> AddEvent:
        return AddEvent(key, position, 1, EventId(f"${key}"), 0, 0, 0, None, None, None, b"{}")

    async def work(store: Store) -> None:
        await write(store, event(1, 1), event(2, None), event(3, 3), event(4, -7), event(5, None), event(6, 6))
        await write(store, PlaceEvent(2, 7, 0, 0), event(8, 8), PlaceEvent(5, 9, 0, 0))

        async def keys(after: int, limit: int = 10) -> list[int]:
            return [row.event_key for row in await store.load_placed_after(after, limit)]

        assert await keys(0) == [1, 3, 6, 2, 8, 5]
        assert await keys(0, 2) == [1, 3]
        assert await keys(3, 2) == [6, 2]
        assert await keys(6) == [2, 8, 5]
        assert await keys(9) == []

    on_store(work)
