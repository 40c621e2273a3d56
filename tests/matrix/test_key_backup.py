"""Key backups: versions, keys, which of two stays, and what is not there.

spec: Matrix client-server-api server-side-key-backups
"""

from itertools import product
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.crypto import second_device
from tests.support.middle import run
from tripoint.core.key_backup import is_better

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM, OTHER = "!room:example.org", "!other:example.org"
AUTH = {"public_key": "abc", "signatures": {}}


def key(first: int = 0, forwarded: int = 0, verified: bool = False, data: str = "x") -> dict[str, Any]:
    return {
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data},
    }


async def new_version(client: Client) -> str:
    body = {"algorithm": ALGORITHM, "auth_data": AUTH}
    return str((await client.call("POST", "/room_keys/version", body))["version"])


async def wrong_version(server: Server, client: Client, method: str, path: str, body: Any, version: str) -> str:
    """The current version that comes with M_WRONG_ROOM_KEYS_VERSION."""
    response = await server.request(
        method, f"/_matrix/client/v3{path}", body, token=client.token, version=version
    )
    answer = orjson.loads(response.body)
    assert (response.status, answer["errcode"]) == (403, "M_WRONG_ROOM_KEYS_VERSION")
    return str(answer["current_version"])


def test_versions_come_and_go() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert await alice.refused("GET", "/room_keys/version") == (404, "M_NOT_FOUND")
            one = await new_version(alice)
            whole = {"algorithm": ALGORITHM, "auth_data": AUTH, "count": 0, "etag": "0", "version": one}
            assert await alice.call("GET", "/room_keys/version") == whole
            two = await new_version(alice)
            assert two != one and (await alice.call("GET", "/room_keys/version"))["version"] == two
            assert await alice.call("GET", f"/room_keys/version/{one}") == whole
            # spec: "Only auth_data can be modified"
            changed = {"algorithm": ALGORITHM, "auth_data": {"public_key": "new"}, "version": one}
            await alice.call("PUT", f"/room_keys/version/{one}", changed)
            assert (await alice.call("GET", f"/room_keys/version/{one}"))["auth_data"] == {"public_key": "new"}
            path = f"/room_keys/version/{one}"
            assert await alice.refused("PUT", path, {**changed, "algorithm": "other"}) == (400, "M_INVALID_PARAM")
            assert await alice.refused("PUT", path, {**changed, "version": two}) == (400, "M_INVALID_PARAM")
            none = {"algorithm": ALGORITHM, "auth_data": {}}
            assert await alice.refused("PUT", "/room_keys/version/99", none) == (404, "M_NOT_FOUND")
            await alice.call("DELETE", f"/room_keys/version/{two}")
            # spec: "If the backup was previously deleted, the call should succeed"
            await alice.call("DELETE", f"/room_keys/version/{two}")
            assert await alice.refused("DELETE", "/room_keys/version/99") == (404, "M_NOT_FOUND")
            assert await alice.refused("GET", f"/room_keys/version/{two}") == (404, "M_NOT_FOUND")
            assert (await alice.call("GET", "/room_keys/version"))["version"] == one
            assert await new_version(alice) not in (one, two)

    run(work)


def test_keys_are_put_found_counted_and_taken_away() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            version = await new_version(alice)
            room = f"/room_keys/keys/{q(ROOM)}"
            first = await alice.call("PUT", f"{room}/{q('se/ss')}", key(), version=version)
            assert first["count"] == 1
            second = await alice.call("PUT", room, {"sessions": {"b": key(), "c": key()}}, version=version)
            assert second["count"] == 3 and second["etag"] != first["etag"]
            everything = {"rooms": {OTHER: {"sessions": {"d": key()}}, ROOM: {"sessions": {"b": key()}}}}
            third = await alice.call("PUT", "/room_keys/keys", everything, version=version)
            assert third["count"] == 4
            # What is there already moves nothing.
            assert await alice.call("PUT", room, {"sessions": {"b": key()}}, version=version) == third
            assert await alice.call("GET", f"{room}/{q('se/ss')}", version=version) == key()
            assert await alice.call("GET", room, version=version) == {
                "sessions": {"b": key(), "c": key(), "se/ss": key()}
            }
            assert set((await alice.call("GET", "/room_keys/keys", version=version))["rooms"]) == {ROOM, OTHER}
            info = await alice.call("GET", "/room_keys/version")
            assert (info["count"], info["etag"]) == (4, third["etag"])
            gone = await alice.call("DELETE", f"{room}/b", version=version)
            assert gone["count"] == 3 and gone["etag"] != third["etag"]
            assert await alice.call("DELETE", f"{room}/b", version=version) == gone
            assert (await alice.call("DELETE", room, version=version))["count"] == 1
            assert await alice.call("GET", room, version=version) == {"sessions": {}}
            assert await alice.refused("GET", f"{room}/b", version=version) == (404, "M_NOT_FOUND")
            assert (await alice.call("DELETE", "/room_keys/keys", version=version))["count"] == 0
            assert await alice.call("GET", "/room_keys/keys", version=version) == {"rooms": {}}

    run(work)


def test_only_the_current_version_is_written_to() -> None:
    """spec: M_WRONG_ROOM_KEYS_VERSION: "The current version will be included in the current_version field" """

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            keys, room = "/room_keys/keys", f"/room_keys/keys/{q(ROOM)}"
            assert await alice.refused("PUT", f"{room}/a", key(), version="1") == (404, "M_NOT_FOUND")
            assert await alice.refused("GET", keys, version="1") == (404, "M_NOT_FOUND")
            old = await new_version(alice)
            await alice.call("PUT", f"{room}/a", key(), version=old)
            new = await new_version(alice)
            assert await wrong_version(server, alice, "PUT", f"{room}/a", key(), old) == new
            assert await wrong_version(server, alice, "PUT", room, {"sessions": {}}, old) == new
            assert await wrong_version(server, alice, "PUT", keys, {"rooms": {}}, old) == new
            assert await wrong_version(server, alice, "DELETE", f"{room}/a", None, old) == new
            # Old ones can still be read.
            assert await alice.call("GET", f"{room}/a", version=old) == key()

    run(work)


BETTER = [
    # better, worse
    (key(5, 5, True), key(0, 0, False)),
    (key(1, 5), key(2, 0)),
    (key(1, 1), key(1, 2)),
    (key(0, 0, True), key(0, 1, True)),
]


@pytest.mark.parametrize(("better", "worse"), BETTER)
def test_the_better_key_stays_whichever_comes_first(better: dict[str, Any], worse: dict[str, Any]) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            version = await new_version(alice)
            path = f"/room_keys/keys/{q(ROOM)}/a"
            for order in ((better, worse), (worse, better)):
                for one in order:
                    assert (await alice.call("PUT", path, one, version=version))["count"] == 1
                assert await alice.call("GET", path, version=version) == better
                await alice.call("DELETE", path, version=version)

    run(work)


def test_which_key_is_better_is_an_order() -> None:
    keys = [key(*parts) for parts in product((0, 1), (0, 1), (False, True))]
    for one, other in product(keys, keys):
        assert not (is_better(one, other) and is_better(other, one))
        assert is_better(one, other) or is_better(other, one) or one == other


def test_a_backup_is_the_accounts_and_nobody_elses() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            phone = await second_device(alice)
            version = await new_version(alice)
            path = f"/room_keys/keys/{q(ROOM)}/a"
            await alice.call("PUT", path, key(), version=version)
            await alice.call("POST", "/logout", {})
            assert await phone.call("GET", path, version=version) == key()
            assert await bob.refused("GET", path, version=version) == (404, "M_NOT_FOUND")

    run(work)


ROOM_PATH = f"/room_keys/keys/{q(ROOM)}"


@pytest.mark.parametrize(
    ("method", "path", "body", "errcode"),
    [
        ("POST", "/room_keys/version", {}, "M_MISSING_PARAM"),
        ("POST", "/room_keys/version", {"algorithm": ALGORITHM}, "M_MISSING_PARAM"),
        ("POST", "/room_keys/version", {"algorithm": 1, "auth_data": {}}, "M_BAD_JSON"),
        ("POST", "/room_keys/version", {"algorithm": "a", "auth_data": []}, "M_BAD_JSON"),
        ("PUT", "/room_keys/keys", {}, "M_MISSING_PARAM"),
        ("PUT", "/room_keys/keys", {"rooms": []}, "M_BAD_JSON"),
        ("PUT", "/room_keys/keys", {"rooms": {ROOM: 1}}, "M_BAD_JSON"),
        ("PUT", "/room_keys/keys", {"rooms": {ROOM: {}}}, "M_MISSING_PARAM"),
        ("PUT", ROOM_PATH, {"sessions": {"a": 1}}, "M_BAD_JSON"),
        ("PUT", ROOM_PATH, {"sessions": {"a" * 256: key()}}, "M_INVALID_PARAM"),
        ("PUT", f"{ROOM_PATH}/a", {}, "M_BAD_JSON"),
        ("PUT", f"{ROOM_PATH}/a", {**key(), "is_verified": "yes"}, "M_BAD_JSON"),
        ("PUT", f"{ROOM_PATH}/a", {**key(), "first_message_index": -1}, "M_BAD_JSON"),
        ("PUT", f"{ROOM_PATH}/a", {**key(), "forwarded_count": 1.5}, "M_BAD_JSON"),
        ("PUT", f"{ROOM_PATH}/a", {**key(), "session_data": "text"}, "M_BAD_JSON"),
    ],
)
def test_requests_that_make_no_sense(method: str, path: str, body: Any, errcode: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            version = await new_version(alice)
            assert await alice.refused(method, path, body, version=version) == (400, errcode)
            if path.startswith("/room_keys/keys"):
                for without in ("GET", "DELETE"):
                    assert await alice.refused(without, path) == (400, "M_MISSING_PARAM")

    run(work)
