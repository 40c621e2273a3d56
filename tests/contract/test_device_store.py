"""What every store promises of devices' keys, messages to devices and backups (store/device_store.py)."""

from tests.contract.test_store import ALICE, BOB, OnStore, on_store, write
from tripoint.core.ids import ServerName
from tripoint.store.device_store import Waiting
from tripoint.store.device_writes import (
    DropBackedUpKeys,
    DropDeviceKeys,
    DropOutgoingMessages,
    DropRemoteDevices,
    DropToDevice,
    DropUserKeys,
    PutBackedUpKey,
    PutCrossSigningKey,
    PutDehydratedDevice,
    PutDeviceChange,
    PutDeviceKeys,
    PutFallbackKey,
    PutKeyBackup,
    PutKeySignature,
    PutOneTimeKey,
    PutOutgoingMessage,
    PutRemoteDevice,
    PutRemoteDeviceList,
    PutSeenMessage,
    PutToDevice,
    TrimClaimedKeys,
    TrimSeenMessages,
)
from tripoint.store.interface import Store
from tripoint.store.writes import DropAccount

__all__ = ["on_store"]
ONE, TWO = ServerName("one.example"), ServerName("two.example")


def key(name: str, position: int, *, claimed: bool = False, device: str = "D", algorithm: str = "a") -> PutOneTimeKey:
    return PutOneTimeKey(ALICE, device, algorithm, name, position, f'"{name}"'.encode(), claimed)


def test_one_time_keys_come_in_the_order_of_their_upload(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(
            store, key("z", 1), key("b", 2), key("a", 2), key("x", 1, algorithm="other"), key("y", 1, device="E")
        )
        assert [one.key_id for one in await store.load_unclaimed_keys(ALICE, "D", "a", 10)] == ["z", "a", "b"]
        assert [one.key_id for one in await store.load_unclaimed_keys(ALICE, "D", "a", 1)] == ["z"]
        assert await store.load_key_counts(ALICE, "D") == {"a": 3, "other": 1}
        await write(store, key("z", 1, claimed=True))
        assert [one.key_id for one in await store.load_unclaimed_keys(ALICE, "D", "a", 10)] == ["a", "b"]
        assert await store.load_key_counts(ALICE, "D") == {"a": 2, "other": 1}
        assert await store.load_one_time_key(ALICE, "D", "a", "z") == key("z", 1, claimed=True)
        assert await store.load_one_time_key(ALICE, "D", "a", "none") is None
        assert await store.load_key_counts(BOB, "D") == {}

    on_store(test)


def test_of_claimed_keys_the_newest_are_remembered(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        keys = [key(f"k{n}", n, claimed=True) for n in range(5)]
        await write(store, *keys, key("free", 0), key("e", 0, claimed=True, device="E"))
        await write(store, TrimClaimedKeys(ALICE, "D", "a", 2))
        left = [n for n in range(5) if await store.load_one_time_key(ALICE, "D", "a", f"k{n}") is not None]
        assert left == [3, 4]
        assert await store.load_one_time_key(ALICE, "D", "a", "free") is not None
        assert await store.load_one_time_key(ALICE, "E", "a", "e") is not None

    on_store(test)


def test_a_device_goes_with_all_that_is_its(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        for device in ("D", "E"):
            await write(
                store,
                PutDeviceKeys(ALICE, device, b"{}"),
                key("k", 1, device=device),
                PutFallbackKey(ALICE, device, "a", "f", b"{}", used=True),
                PutToDevice(ALICE, device, 2, b"{}"),
                PutKeySignature(ALICE, device, BOB, "ed25519:x", "sig"),
                PutSeenMessage(f"{ALICE} {device}", "1", 5),
            )
        await write(store, PutDehydratedDevice(ALICE, "D", b"{}"), PutKeySignature(ALICE, "master", ALICE, "k", "s"))
        assert await store.load_fallback_keys(ALICE, "D") == [PutFallbackKey(ALICE, "D", "a", "f", b"{}", used=True)]
        await write(store, DropDeviceKeys(ALICE, "D"))
        assert [row.device_id for row in await store.load_device_keys(ALICE)] == ["E"]
        assert await store.load_key_counts(ALICE, "D") == {} and await store.load_key_counts(ALICE, "E") == {"a": 1}
        assert await store.load_fallback_keys(ALICE, "D") == []
        assert await store.load_to_device(ALICE, "D", after=0, upto=9, limit=9) == []
        assert [row.key_id for row in await store.load_key_signatures(ALICE)] == ["E", "master"]
        assert not await store.is_seen(f"{ALICE} D", "1") and await store.is_seen(f"{ALICE} E", "1")
        assert await store.load_dehydrated_device(ALICE) is None
        # What is put after it in the same unit stays.
        await write(store, PutDeviceKeys(ALICE, "E", b"1"), DropDeviceKeys(ALICE, "E"), PutDeviceKeys(ALICE, "E", b"2"))
        assert await store.load_device_keys(ALICE) == [PutDeviceKeys(ALICE, "E", b"2")]

    on_store(test)


def test_a_users_keys_and_what_goes_with_an_account(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        async def fill() -> None:
            await write(
                store,
                PutCrossSigningKey(ALICE, "master", b"m"),
                PutCrossSigningKey(ALICE, "self_signing", b"s"),
                PutKeySignature(BOB, "his", ALICE, "ed25519:u", "sig"),
                PutKeyBackup(ALICE, 1, "alg", b"{}", 0),
                PutBackedUpKey(ALICE, 1, "!r", "s", b"{}"),
                PutDehydratedDevice(ALICE, "D", b"{}"),
            )

        await fill()
        assert set(await store.load_cross_signing_keys(ALICE)) == {"master", "self_signing"}
        await write(store, PutCrossSigningKey(ALICE, "self_signing", None))
        assert await store.load_cross_signing_keys(ALICE) == {"master": PutCrossSigningKey(ALICE, "master", b"m")}
        for drop in (DropUserKeys(ALICE), DropAccount(ALICE)):
            await fill()
            await write(store, drop)
            assert await store.load_cross_signing_keys(ALICE) == {}
            assert await store.load_key_signatures(BOB) == []
            assert await store.load_key_backups(ALICE) == []
            assert await store.count_backed_up_keys(ALICE, 1) == 0
            assert await store.load_dehydrated_device(ALICE) is None

    on_store(test)


def test_changes_are_a_log_with_the_newest_of_each_device(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one = PutDeviceChange(ALICE, "D", "", 1, 0)
        two = PutDeviceChange(ALICE, "E", "", 2, 1)
        private = PutDeviceChange(BOB, "", ALICE, 3, 0)
        await write(store, one, two, private)
        assert await store.load_device_changes(0, 10) == [one, two, private]
        assert await store.load_device_changes(1, 1) == [two]
        assert await store.load_last_device_change(ALICE) == two
        assert await store.load_last_device_change(BOB) is None
        again = PutDeviceChange(ALICE, "D", "", 4, 2)
        await write(store, again)
        assert await store.load_device_changes(0, 10) == [two, private, again]
        assert await store.load_device_change(1) is None and await store.load_device_change(4) == again
        assert await store.load_device_change_of(ALICE, "D") == again
        assert await store.load_device_change_of(ALICE, "none") is None
        assert (await store.load_maxima())[0] == 4

    on_store(test)


def test_messages_wait_until_they_are_dropped(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, *(PutToDevice(ALICE, "D", n, b"x" * n) for n in (3, 1, 2)), PutToDevice(ALICE, "E", 1, b"e"))
        found = await store.load_to_device(ALICE, "D", after=1, upto=3, limit=10)
        assert [(row.position, row.json) for row in found] == [(2, b"xx"), (3, b"xxx")]
        assert len(await store.load_to_device(ALICE, "D", after=0, upto=3, limit=2)) == 2
        assert await store.load_waiting(ALICE, "D") == Waiting(3, 6, 1, 3)
        await write(store, DropToDevice(ALICE, "D", 2))
        assert await store.load_waiting(ALICE, "D") == Waiting(1, 3, 3, 3)
        assert await store.load_waiting(ALICE, "E") == Waiting(1, 1, 1, 1)
        assert await store.load_waiting(BOB, "D") == Waiting()
        for n in (7, 5):
            await write(store, PutOutgoingMessage(ONE, n, b"abc"))
        await write(store, PutOutgoingMessage(TWO, 6, b"d"))
        assert await store.load_outgoing_servers() == [ONE, TWO]
        assert [row.position for row in await store.load_outgoing_messages(ONE, 0, 10)] == [5, 7]
        assert [row.position for row in await store.load_outgoing_messages(ONE, 5, 10)] == [7]
        assert await store.load_outgoing(ONE) == Waiting(2, 6, 5, 7)
        assert (await store.load_maxima())[0] == 7
        await write(store, DropOutgoingMessages(ONE, 7))
        assert await store.load_outgoing_servers() == [TWO]

    on_store(test)


def test_ids_of_messages_are_remembered_for_a_time(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, PutSeenMessage("one.example", "a", 10), PutSeenMessage("one.example", "b", 20))
        assert await store.is_seen("one.example", "a") and not await store.is_seen("two.example", "a")
        await write(store, TrimSeenMessages(20))
        assert not await store.is_seen("one.example", "a") and await store.is_seen("one.example", "b")

    on_store(test)


def test_lists_of_other_servers(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(
            store,
            PutRemoteDeviceList(BOB, 7, stale=False),
            PutRemoteDevice(BOB, "E", b"e", None),
            PutRemoteDevice(BOB, "D", b"d", "Name"),
            PutCrossSigningKey(BOB, "master", b"m"),
        )
        assert await store.load_remote_device_list(BOB) == PutRemoteDeviceList(BOB, 7, stale=False)
        assert [row.device_id for row in await store.load_remote_devices(BOB)] == ["D", "E"]
        await write(store, PutRemoteDevice(BOB, "E", None, None))
        assert await store.load_remote_devices(BOB) == [PutRemoteDevice(BOB, "D", b"d", "Name")]
        await write(store, DropRemoteDevices(BOB), PutRemoteDeviceList(BOB, 8, stale=True))
        assert await store.load_remote_devices(BOB) == [] and await store.load_cross_signing_keys(BOB) == {}
        assert await store.load_remote_device_list(BOB) == PutRemoteDeviceList(BOB, 8, stale=True)
        await write(store, PutRemoteDeviceList(BOB, None, stale=True))
        assert await store.load_remote_device_list(BOB) is None

    on_store(test)


def test_backups_hold_their_keys(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one, two = PutKeyBackup(ALICE, 1, "alg", b"{}", 3), PutKeyBackup(ALICE, 2, "alg", b"{}", 0, deleted=True)
        await write(
            store, two, one, *(PutBackedUpKey(ALICE, 1, r, s, b"k") for r, s in (("!b", "1"), ("!a", "2"), ("!a", "1")))
        )
        assert await store.load_key_backups(ALICE) == [one, two]

        async def keys(room_id: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 9) -> list[str]:
            rows = await store.load_backed_up_keys(ALICE, 1, room_id=room_id, after=after, limit=limit)
            return [row.room_id + row.session_id for row in rows]

        assert await keys() == ["!a1", "!a2", "!b1"]
        assert await keys(limit=2) == ["!a1", "!a2"] and await keys(after=("!a", "1")) == ["!a2", "!b1"]
        assert await keys("!a") == ["!a1", "!a2"] and await keys("!a", after=("!a", "1")) == ["!a2"]
        assert await store.load_backed_up_key(ALICE, 1, "!a", "2") == PutBackedUpKey(ALICE, 1, "!a", "2", b"k")
        assert await store.load_backed_up_key(ALICE, 1, "!a", "3") is None
        assert await store.count_backed_up_keys(ALICE, 1) == 3 and await store.count_backed_up_keys(ALICE, 2) == 0
        assert await store.count_backed_up_keys(ALICE, 1, "!a") == 2
        await write(store, PutBackedUpKey(ALICE, 1, "!a", "2", None))
        assert await store.count_backed_up_keys(ALICE, 1) == 2
        await write(store, DropBackedUpKeys(ALICE, 1, "!a"))
        assert await keys() == ["!b1"]
        await write(store, DropBackedUpKeys(ALICE, 1, None))
        assert await store.count_backed_up_keys(ALICE, 1) == 0

    on_store(test)
