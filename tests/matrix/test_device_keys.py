"""Keys of devices: upload, query, claim, counts, and what becomes of them.

spec: Matrix client-server-api POST /keys/upload, /keys/query, /keys/claim, one-time-and-fallback-keys,
e2e-extensions-to-sync
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import Client, matrix
from tests.matrix.crypto import Device, encrypted_room, second_device
from tests.support.middle import run
from tripoint.core.ids import UserId
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore

ALGORITHM = "signed_curve25519"


def test_keys_are_kept_as_they_were_uploaded_and_counted() -> None:
    """spec: POST /keys/query: "the same as uploaded via /keys/upload, with the addition of an unsigned property" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            assert await alice.client.call("POST", "/keys/upload", {}) == {"one_time_key_counts": {}}
            assert await alice.upload("A", "B") == {ALGORITHM: 2}
            await alice.client.call("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})
            found = await bob.query(alice.user_id, bob.user_id, "@nobody:example.org")
            shown = {**alice.keys(), "unsigned": {"device_display_name": "Phone"}}
            assert found["device_keys"][alice.user_id] == {alice.device_id: shown}
            # A device without keys is in no list.
            assert found["device_keys"][bob.user_id] == {}
            assert found["failures"] == {} and found["master_keys"] == {}
            wanted: dict[str, Any] = {"device_keys": {alice.user_id: ["OTHER"]}}
            assert (await bob.client.call("POST", "/keys/query", wanted))["device_keys"] == {alice.user_id: {}}

    run(work)


def test_one_time_keys_go_in_order_each_once_then_the_fallback_key() -> None:
    """spec: "One-time keys are given out in the order that they were uploaded"; "The returned key is a one-time key if
    one is available, and otherwise a fallback key" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            await alice.upload("Z")
            await alice.upload("A", fallback="F")
            await alice.client.sync()
            claimed = [await bob.claim(alice.user_id, alice.device_id) for _ in range(4)]
            assert claimed == ["Z", "A", "F", "F"]
            assert await bob.claim(alice.user_id, "OTHER") is None
            assert await bob.claim(bob.user_id, bob.device_id) is None
            told = await alice.client.sync()
            # spec: "If the count for all algorithms is zero, servers MAY omit this parameter entirely"
            assert told["device_unused_fallback_key_types"] == [] and "device_one_time_keys_count" not in told
            # The same fallback key again does not make it unused; another does.
            await alice.upload(fallback="F")
            assert (await alice.client.sync())["device_unused_fallback_key_types"] == []
            await alice.upload("B", fallback="G")
            told = await alice.client.sync()
            assert told["device_unused_fallback_key_types"] == [ALGORITHM]
            assert told["device_one_time_keys_count"] == {ALGORITHM: 1}

    run(work)


def test_a_key_that_was_claimed_does_not_come_back() -> None:
    """spec: "Servers must ensure that each one-time key is returned at most once": an upload whose answer was lost is
    repeated by clients."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            await alice.upload("A", "B")
            assert await bob.claim(alice.user_id, alice.device_id) == "A"
            assert await alice.upload("A", "B") == {ALGORITHM: 1}
            assert await bob.claim(alice.user_id, alice.device_id) == "B"
            assert await bob.claim(alice.user_id, alice.device_id) is None

    run(work)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_name_stands_for_one_key(claimed: bool) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = Device(await server.register("alice"))
            await alice.upload("A")
            if claimed:
                assert await alice.claim(alice.user_id, alice.device_id) == "A"
            body = {"one_time_keys": {f"{ALGORITHM}:A": alice.one_time("other"), f"{ALGORITHM}:N": alice.one_time("N")}}
            assert await alice.client.refused("POST", "/keys/upload", body) == (400, "M_INVALID_PARAM")
            # Nothing of it was kept.
            answer = await alice.client.call("POST", "/keys/upload", {})
            assert answer["one_time_key_counts"] == ({} if claimed else {ALGORITHM: 1})

    run(work)


def test_many_claims_at_once_get_different_keys(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(store=SqliteStore(tmp_path / "test.db")) as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            names = [f"K{n:02}" for n in range(30)]
            await alice.upload(*names, fallback="F")
            claims = [bob.claim(alice.user_id, alice.device_id) for _ in range(40)]
            claimed = await asyncio.gather(*claims)
            assert sorted(name for name in claimed if name != "F") == names
            assert claimed.count("F") == 10

    run(work)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["upload", "claim", "claims", "restart"]), max_size=14))
def test_no_key_is_given_out_twice_whatever_happens(steps: list[str]) -> None:
    """Uploads (some twice), claims one by one and together, restarts of the server."""

    async def work() -> None:
        store = MemoryStore()
        uploaded: list[str] = []
        claimed: list[str] = []
        body: dict[str, Any] = {}
        pending = list(steps)
        while True:
            async with matrix(store=store) as server:
                if not body:
                    client = await server.register("alice")
                    body = {"user_id": client.user_id, "device_id": client.device_id, "access_token": client.token}
                alice = Device(Client(server, body))
                while pending and pending[0] != "restart":
                    step = pending.pop(0)
                    if step == "upload":
                        fresh = [f"K{len(uploaded) + n:03}" for n in range(3)]
                        await alice.upload(*uploaded[-2:], *fresh)
                        uploaded += fresh
                    else:
                        count = 4 if step == "claims" else 1
                        wanted = [alice.claim(alice.user_id, alice.device_id) for _ in range(count)]
                        claimed += [name for name in await asyncio.gather(*wanted) if name is not None]
            store._closed = False
            if not pending:
                break
            pending.pop(0)
        assert len(set(claimed)) == len(claimed)
        # In the order of the uploads; a repeated upload changes nothing.
        assert sorted(claimed) == uploaded[: len(claimed)]

    run(work)


def test_whoever_waits_hears_that_a_key_was_taken() -> None:
    """So that a device that is online never runs out of keys."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            await alice.upload("A", "B")
            await alice.client.sync()
            waiting = asyncio.ensure_future(alice.client.sync(timeout=30_000))
            await asyncio.sleep(0)
            await bob.claim(alice.user_id, alice.device_id)
            assert (await asyncio.wait_for(waiting, 5))["device_one_time_keys_count"] == {ALGORITHM: 1}

    run(work)


def test_a_device_that_is_logged_out_takes_its_keys_along() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = Device(await server.register("alice"))
            phone = Device(await second_device(alice.client, "PHONE"))
            await alice.upload("A")
            await phone.upload("P", fallback="F")
            await phone.client.call("POST", "/logout", {})
            found = await alice.query(alice.user_id)
            assert set(found["device_keys"][alice.user_id]) == {alice.device_id}
            assert await alice.claim(alice.user_id, "PHONE") is None
            # Nor does another device of the same name find any.
            again = Device(await second_device(alice.client, "PHONE"))
            told = await again.client.sync()
            assert told["device_unused_fallback_key_types"] == [] and "device_one_time_keys_count" not in told

    run(work)


def keys_without(device: Device, name: str) -> dict[str, Any]:
    keys = device.keys()
    del keys[name]
    return keys


UPLOADS: list[tuple[Any, int, str]] = [
    ({"device_keys": 1}, 400, "M_BAD_JSON"),
    ({"device_keys": {}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": []}, 200, ""),
    ({"one_time_keys": [1]}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"signed_curve25519": {}}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"signed_curve25519:A": "text"}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"signed_curve25519:A": {"key": "k"}}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"signed_curve25519:A": {"key": 1, "signatures": {}}}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"curve25519:A": 7}}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {"curve25519:A": "text"}}, 200, ""),
    ({"one_time_keys": {"curve25519:A": "x" * 20_000}}, 400, "M_BAD_JSON"),
    ({"fallback_keys": {"curve25519:A": "a", "curve25519:B": "b"}}, 400, "M_INVALID_PARAM"),
    ({"fallback_keys": "no"}, 400, "M_BAD_JSON"),
    ({"one_time_keys": {f"curve25519:{n}": "k" for n in range(1001)}}, 400, "M_RESOURCE_LIMIT_EXCEEDED"),
]


@pytest.mark.parametrize(("body", "status", "errcode"), UPLOADS)
def test_uploads_that_make_no_sense(body: Any, status: int, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            if status == 200:
                await alice.call("POST", "/keys/upload", body)
            else:
                assert await alice.refused("POST", "/keys/upload", body) == (status, errcode)

    run(work)


def test_identity_keys_are_the_devices_own_and_signed_by_it() -> None:
    """spec: uploading-keys: "must be signed by that key" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))

            async def upload(keys: Any) -> tuple[int, str]:
                return await alice.client.refused("POST", "/keys/upload", {"device_keys": keys})

            assert await upload(bob.keys()) == (400, "M_BAD_JSON")
            assert await upload({**alice.keys(), "extra": "not signed"}) == (400, "M_INVALID_SIGNATURE")
            assert await upload({**alice.keys(), "keys": {}}) == (400, "M_BAD_JSON")
            assert await upload({**alice.keys(), "signatures": {}}) == (400, "M_INVALID_SIGNATURE")
            assert await upload({**alice.keys(), "signatures": {alice.user_id: 1}}) == (400, "M_BAD_JSON")
            for name in ("user_id", "device_id", "algorithms", "keys", "signatures"):
                assert await upload(keys_without(alice, name)) == (400, "M_BAD_JSON")
            # What others are said to have signed is not kept.
            signed = bob.key.sign(alice.keys(), bob.user_id, bob.device_id)
            await alice.client.call("POST", "/keys/upload", {"device_keys": signed})
            found = await bob.query(alice.user_id)
            assert set(found["device_keys"][alice.user_id][alice.device_id]["signatures"]) == {alice.user_id}

    run(work)


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("/keys/query", {}, "M_MISSING_PARAM"),
        ("/keys/query", {"device_keys": []}, "M_BAD_JSON"),
        ("/keys/query", {"device_keys": {"alice": []}}, "M_INVALID_PARAM"),
        ("/keys/query", {"device_keys": {"@alice:example.org": {}}}, "M_BAD_JSON"),
        ("/keys/query", {"device_keys": {"@alice:example.org": [1]}}, "M_BAD_JSON"),
        ("/keys/query", {"device_keys": {}, "timeout": "soon"}, "M_BAD_JSON"),
        ("/keys/claim", {}, "M_MISSING_PARAM"),
        ("/keys/claim", {"one_time_keys": {"@alice:example.org": []}}, "M_BAD_JSON"),
        ("/keys/claim", {"one_time_keys": {"@alice:example.org": {"D": 1}}}, "M_BAD_JSON"),
        ("/keys/claim", {"one_time_keys": {"alice": {}}}, "M_INVALID_PARAM"),
    ],
)
def test_questions_that_make_no_sense(path: str, body: Any, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert await alice.refused("POST", path, body) == (400, errcode)

    run(work)


def test_servers_that_cannot_be_asked_are_named() -> None:
    """spec: POST /keys/query failures: "If any remote homeservers could not be reached, they are recorded here" """

    async def work() -> None:
        async with matrix() as server:
            alice = Device(await server.register("alice"))
            found = await alice.query(alice.user_id, "@bob:elsewhere.example")
            assert list(found["failures"]) == ["elsewhere.example"]
            assert set(found["device_keys"]) == {alice.user_id}
            wanted = {"one_time_keys": {"@bob:elsewhere.example": {"D": ALGORITHM}}}
            claimed = await alice.client.call("POST", "/keys/claim", wanted)
            assert list(claimed["failures"]) == ["elsewhere.example"] and claimed["one_time_keys"] == {}

    run(work)


def test_clients_without_keys_are_in_no_list_of_keys() -> None:
    """docs/mapping.md 19.1: IRC and XMPP log-ins are key-less devices: nobody is warned of them, the owner sees all."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob = Device(await server.register("alice")), Device(await server.register("bob"))
            await encrypted_room(alice.client, bob.client)
            await alice.upload("A")
            await bob.client.sync()
            accounts = server.party.middle.accounts
            account = await accounts.account(UserId(alice.user_id))
            assert account is not None
            for protocol in ("irc", "xmpp"):
                opened = await accounts.log_in(account, protocol=protocol, display_name="x")
                listed = {device["device_id"] for device in (await alice.client.call("GET", "/devices"))["devices"]}
                assert opened.device_id in listed
                assert set((await bob.query(alice.user_id))["device_keys"][alice.user_id]) == {alice.device_id}
                await accounts.log_out(UserId(alice.user_id), [opened.device_id])
            assert "device_lists" not in await bob.client.sync()

    run(work)
