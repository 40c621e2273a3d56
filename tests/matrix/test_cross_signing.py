"""Cross-signing: who may upload what, whose signatures are taken, and who sees them.

spec: Matrix client-server-api cross-signing, key-and-signature-security, POST /keys/device_signing/upload,
POST /keys/signatures/upload
"""

import asyncio
from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, matrix
from tests.matrix.crypto import Device, Key, Tree, encrypted_room, password_stage, second_device
from tests.support.middle import run

UPLOAD = "/keys/device_signing/upload"


async def asked(client: Client, body: dict[str, Any]) -> str:
    """The session of the 401 that an upload comes to."""
    response = await client.server.request("POST", f"/_matrix/client/v3{UPLOAD}", body, token=client.token)
    assert response.status == 401, response.body
    answer = orjson.loads(response.body)
    assert answer["flows"] == [{"stages": ["m.login.password"]}]
    return str(answer["session"])


def test_the_first_upload_needs_no_password_and_may_be_repeated() -> None:
    """spec: "there is no existing master signing key", "the request contains no new keys" """

    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            tree = Tree(alice.user_id)
            await alice.call("POST", UPLOAD, tree.body())
            await alice.call("POST", UPLOAD, tree.body())
            await alice.call("POST", UPLOAD, {"master_key": tree.body()["master_key"]})
            found = await Device(alice).query(alice.user_id)
            body = tree.body()
            assert found["master_keys"] == {alice.user_id: body["master_key"]}
            assert found["self_signing_keys"] == {alice.user_id: body["self_signing_key"]}
            assert found["user_signing_keys"] == {alice.user_id: body["user_signing_key"]}
            # spec: user_signing_keys: "of the user making the request"
            found = await Device(bob).query(alice.user_id)
            assert found["master_keys"] == {alice.user_id: body["master_key"]}
            assert found["user_signing_keys"] == {}

    run(work)


def test_other_keys_need_the_password() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            old, new = Tree(alice.user_id), Tree(alice.user_id, "new")
            await alice.call("POST", UPLOAD, old.body())
            session = await asked(alice, new.body())
            assert (await Device(alice).query(alice.user_id))["master_keys"][alice.user_id]["keys"] == {
                f"ed25519:{old.master.public}": old.master.public
            }
            await alice.call("POST", UPLOAD, {**new.body(), "auth": password_stage(alice, session)})
            found = await Device(alice).query(alice.user_id)
            assert found["self_signing_keys"][alice.user_id] == new.body()["self_signing_key"]
            # An own key that was not there is new as well.
            other = Key("another")
            alone = {"user_signing_key": new.master.sign(new.key("user_signing", other), alice.user_id)}
            await asked(alice, alone)
            await alice.call("POST", UPLOAD, {**alone, "auth": password_stage(alice)})
            # With another master key those that the old one signed are gone.
            third = Tree(alice.user_id, "third").body()["master_key"]
            await alice.call("POST", UPLOAD, {"master_key": third, "auth": password_stage(alice)})
            found = await Device(alice).query(alice.user_id)
            assert found["master_keys"] == {alice.user_id: third}
            assert found["self_signing_keys"] == found["user_signing_keys"] == {}

    run(work)


def test_of_two_first_uploads_at_once_one_needs_the_password() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            bodies = [Tree(alice.user_id, word).body() for word in ("one", "two")]
            path = f"/_matrix/client/v3{UPLOAD}"
            answers = await asyncio.gather(
                *(server.request("POST", path, body, token=alice.token) for body in bodies)
            )
            assert sorted(answer.status for answer in answers) == [200, 401]
            (kept,) = [body for body, answer in zip(bodies, answers, strict=True) if answer.status == 200]
            found = await Device(alice).query(alice.user_id)
            assert found["master_keys"] == {alice.user_id: kept["master_key"]}

    run(work)


def test_uploads_that_do_not_hold_together() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            tree, other = Tree(alice.user_id), Tree("@bob:example.org")
            body = tree.body()

            async def upload(**keys: Any) -> tuple[int, str]:
                return await alice.refused("POST", UPLOAD, keys)

            assert await upload(self_signing_key=body["self_signing_key"]) == (400, "M_MISSING_PARAM")
            unsigned = tree.key("self_signing", tree.self_signing)
            assert await upload(**{**body, "self_signing_key": unsigned}) == (400, "M_INVALID_SIGNATURE")
            wrong = tree.user_signing.sign(unsigned, alice.user_id)
            assert await upload(**{**body, "self_signing_key": wrong}) == (400, "M_INVALID_SIGNATURE")
            assert await upload(**other.body()) == (400, "M_BAD_JSON")
            assert await upload(master_key=body["self_signing_key"]) == (400, "M_BAD_JSON")
            assert await upload(master_key=1) == (400, "M_BAD_JSON")
            two = {**body["master_key"], "keys": {"ed25519:a": "a", "ed25519:b": "b"}}
            assert await upload(master_key=two) == (400, "M_BAD_JSON")
            assert await upload(master_key={**body["master_key"], "keys": {"ed25519:a": "b"}}) == (400, "M_BAD_JSON")
            same = tree.master.sign(tree.key("self_signing", tree.master), alice.user_id)
            assert await upload(**{**body, "self_signing_key": same}) == (403, "M_FORBIDDEN")

    run(work)


def test_a_key_and_a_device_never_have_the_same_name() -> None:
    """spec: 403: "The public key of one of the keys is the same as one of the user's device IDs" """

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            tree = Tree(alice.user_id)
            named = await second_device(alice, tree.master.public)
            assert await alice.refused("POST", UPLOAD, tree.body()) == (403, "M_FORBIDDEN")
            await named.call("POST", "/logout", {})
            await alice.call("POST", UPLOAD, tree.body())
            body = {**password_stage(alice), "device_id": tree.self_signing.public}
            assert (await alice.refused("POST", "/login", body))[0] == 404

    run(work)


def test_signatures_are_checked_kept_and_shown_to_whom_they_concern() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            await encrypted_room(alice, bob, carol)
            trees = {one.user_id: Tree(one.user_id) for one in (alice, bob)}
            devices = {one.user_id: Device(one) for one in (alice, bob, carol)}
            for one in (alice, bob):
                await devices[one.user_id].upload()
                await one.call("POST", UPLOAD, trees[one.user_id].body())
            for one in (alice, bob, carol):
                await one.sync()
            mine, his = trees[alice.user_id], trees[bob.user_id]
            keys = devices[alice.user_id].keys()
            device = mine.self_signing.sign({**keys, "signatures": {}}, alice.user_id)
            master = devices[alice.user_id].key.sign(mine.body()["master_key"], alice.user_id, alice.device_id)
            theirs = mine.user_signing.sign(his.body()["master_key"], alice.user_id)
            signed = {
                alice.user_id: {alice.device_id: device, mine.master.public: master},
                bob.user_id: {his.master.public: theirs},
            }
            assert await alice.call("POST", "/keys/signatures/upload", signed) == {"failures": {}}

            def of(key: Any) -> set[str]:
                return {name for own in key.get("signatures", {}).values() for name in own}

            self_signed, by_user = f"ed25519:{mine.self_signing.public}", f"ed25519:{mine.user_signing.public}"
            for one in (alice, bob, carol):
                found = await devices[one.user_id].query(alice.user_id, bob.user_id)
                # One's own signatures of one's own keys are for everybody; on others' keys for oneself.
                assert self_signed in of(found["device_keys"][alice.user_id][alice.device_id])
                assert f"ed25519:{alice.device_id}" in of(found["master_keys"][alice.user_id])
                assert (by_user in of(found["master_keys"][bob.user_id])) == (one is alice)
            for one in (alice, bob, carol):
                changed = {alice.user_id, bob.user_id} if one is alice else {alice.user_id}
                assert set((await one.sync())["device_lists"]["changed"]) == changed

    run(work)


def test_signatures_that_are_not_taken_are_named_one_by_one() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            tree, his, device = Tree(alice.user_id), Tree(bob.user_id), Device(alice)
            await device.upload()
            bare = {**device.keys(), "signatures": {}}

            async def failure(user_id: str, key_id: str, value: Any) -> str | None:
                answer = await alice.call("POST", "/keys/signatures/upload", {user_id: {key_id: value}})
                failed = answer["failures"].get(user_id, {}).get(key_id)
                return None if failed is None else str(failed["errcode"])

            good = tree.self_signing.sign(bare, alice.user_id)
            assert await failure(alice.user_id, alice.device_id, good) == "M_INVALID_SIGNATURE"
            await alice.call("POST", UPLOAD, tree.body())
            await bob.call("POST", UPLOAD, his.body())
            wrong = tree.user_signing.sign(bare, alice.user_id)
            assert await failure(alice.user_id, alice.device_id, wrong) == "M_INVALID_SIGNATURE"
            forged = {**good, "signatures": {alice.user_id: {f"ed25519:{tree.self_signing.public}": "A" * 86}}}
            assert await failure(alice.user_id, alice.device_id, forged) == "M_INVALID_SIGNATURE"
            assert await failure(alice.user_id, alice.device_id, 7) == "M_INVALID_PARAM"
            other = tree.self_signing.sign({**bare, "algorithms": []}, alice.user_id)
            assert await failure(alice.user_id, alice.device_id, other) == "M_INVALID_PARAM"
            assert await failure(alice.user_id, "NONE", good) == "M_NOT_FOUND"
            assert await failure("@nobody:example.org", "key", good) == "M_NOT_FOUND"
            assert await failure("@x:elsewhere.example", "key", good) == "M_NOT_FOUND"
            master = his.body()["master_key"]
            assert await failure(bob.user_id, his.master.public, master) == "M_INVALID_SIGNATURE"
            assert await failure(alice.user_id, alice.device_id, good) is None
            assert await alice.refused("POST", "/keys/signatures/upload", {"alice": {}}) == (400, "M_INVALID_PARAM")
            assert await alice.refused("POST", "/keys/signatures/upload", {alice.user_id: []}) == (400, "M_BAD_JSON")

    run(work)


@pytest.mark.parametrize("how", ["delete", "deactivate"])
def test_what_goes_with_a_device_and_with_an_account(how: str) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            await encrypted_room(alice, bob)
            device, tree = Device(alice), Tree(alice.user_id)
            await device.upload("A")
            await alice.call("POST", UPLOAD, tree.body())
            signed = {alice.user_id: {alice.device_id: tree.self_signing.sign(device.keys(), alice.user_id)}}
            await alice.call("POST", "/keys/signatures/upload", signed)
            await bob.sync()
            if how == "delete":
                await alice.call("DELETE", f"/devices/{alice.device_id}", {"auth": password_stage(alice)})
            else:
                await alice.call("POST", "/account/deactivate", {"auth": password_stage(alice)})
            assert alice.user_id in (await bob.sync())["device_lists"]["changed" if how == "delete" else "left"]
            found = await Device(bob).query(alice.user_id)
            assert found["device_keys"] == {alice.user_id: {}}
            assert (alice.user_id in found["master_keys"]) == (how == "delete")
            assert await Device(bob).claim(alice.user_id, alice.device_id) is None

    run(work)
