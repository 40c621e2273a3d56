"""Dehydrated devices: one for each user, which collects messages until somebody has read them.

spec: MSC3814
"""

from typing import Any

import orjson
import pytest

from tests.matrix.client import Client, Server, matrix, q
from tests.matrix.crypto import Device, encrypted_room, second_device
from tests.support.middle import run

PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
DATA = {"algorithm": "m.dehydration.v2", "device_pickle": "secret", "nonce": "n"}
CURVE = "Curve/25519+key"


class Dry(Device):
    """A device that nobody has."""

    def __init__(self, client: Client, device_id: str = CURVE) -> None:
        super().__init__(client)
        self.device_id = device_id

    def body(self, **changes: Any) -> dict[str, Any]:
        names = {f"curve25519:{self.device_id}": self.device_id, f"ed25519:{self.device_id}": self.key.public}
        return {
            "device_id": self.device_id,
            "device_data": DATA,
            "initial_device_display_name": "Dry",
            "device_keys": self.keys(keys=names, dehydrated=True),
            "one_time_keys": {"signed_curve25519:A": self.one_time("A")},
            "fallback_keys": {"signed_curve25519:F": self.one_time("F", fallback=True)},
            **changes,
        }


async def call(server: Server, client: Client, method: str, path: str = "", body: Any = None, **query: str) -> Any:
    response = await server.request(method, PATH + path, body, token=client.token, **query)
    answer = orjson.loads(response.body)
    return answer if response.status == 200 else (response.status, answer["errcode"])


def test_it_collects_keys_until_it_is_replaced() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            await encrypted_room(alice, bob)
            await bob.sync()
            assert await call(server, alice, "GET") == (404, "M_NOT_FOUND")
            assert await call(server, alice, "DELETE") == (404, "M_NOT_FOUND")
            dry = Dry(alice)
            assert await call(server, alice, "PUT", body=dry.body()) == {"device_id": CURVE}
            assert (await bob.sync())["device_lists"]["changed"] == [alice.user_id]
            found = await Device(bob).query(alice.user_id)
            assert found["device_keys"][alice.user_id][CURVE]["dehydrated"] is True
            assert [await Device(bob).claim(alice.user_id, CURVE) for _ in range(2)] == ["A", "F"]
            for n in range(120):
                body = {"messages": {alice.user_id: {CURVE: {"n": n}}}}
                await bob.call("PUT", f"/sendToDevice/m.test/{n}", body)

            # A new log-in finds it and reads all of its messages, as often as it likes.
            phone = await second_device(alice)
            assert await call(server, phone, "GET") == {"device_id": CURVE, "device_data": DATA}
            events = f"/{q(CURVE)}/events"
            for _ in range(2):
                first = await call(server, phone, "GET", events)
                rest = await call(server, phone, "GET", events, **{"from": first["next_batch"]})
                got = [event["content"]["n"] for event in first["events"] + rest["events"]]
                assert got == list(range(120)) and "next_batch" not in rest
            # As matrix-js-sdk asks: until there are none.
            got, batch = [], {}
            while (page := await call(server, phone, "POST", events, batch))["events"]:
                got += [event["content"]["n"] for event in page["events"]]
                batch = {"next_batch": page["next_batch"]}
            assert got == list(range(120))
            assert await call(server, phone, "GET", "/OTHER/events") == (403, "M_FORBIDDEN")
            assert await call(server, bob, "GET", events) == (403, "M_FORBIDDEN")

            # spec: "uploading a new dehydrated device will remove any previously-set dehydrated device"
            second = Dry(alice, "Second")
            await call(server, phone, "PUT", body=second.body())
            found = await Device(bob).query(alice.user_id)
            assert set(found["device_keys"][alice.user_id]) == {"Second"}
            assert await call(server, phone, "GET", "/Second/events") == {"events": []}
            assert await call(server, phone, "DELETE") == {"device_id": "Second"}
            assert await call(server, phone, "GET") == (404, "M_NOT_FOUND")
            assert (await Device(bob).query(alice.user_id))["device_keys"] == {alice.user_id: {}}

    run(work)


def test_it_ends_as_other_devices_do() -> None:
    """spec: MSC3814: "can also be deleted by calling the existing POST /delete_devices, ... POST /logout/all" """

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            await call(server, alice, "PUT", body=Dry(alice).body())
            devices = (await alice.call("GET", "/devices"))["devices"]
            assert {device["device_id"] for device in devices} == {alice.device_id, CURVE}
            await alice.call("POST", "/logout/all", {})
            alice = await second_device(alice)
            assert await call(server, alice, "GET") == (404, "M_NOT_FOUND")

    run(work)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"device_id": 1}, (400, "M_BAD_JSON")),
        ({"device_id": "other"}, (400, "M_BAD_JSON")),
        ({"device_data": []}, (400, "M_BAD_JSON")),
        ({"device_data": {}}, (400, "M_BAD_JSON")),
        ({"device_data": {"algorithm": "a", "x": "y" * 70_000}}, (413, "M_TOO_LARGE")),
        ({"device_keys": {}}, (400, "M_BAD_JSON")),
        ({"initial_device_display_name": 1}, (400, "M_BAD_JSON")),
        ({"one_time_keys": {"x": 1}}, (400, "M_BAD_JSON")),
    ],
)
def test_devices_that_make_no_sense(changes: dict[str, Any], expected: tuple[int, str]) -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            dry = Dry(alice)
            assert await call(server, alice, "PUT", body=dry.body(**changes)) == expected
            for name in ("device_id", "device_data", "device_keys"):
                body = dry.body()
                del body[name]
                assert await call(server, alice, "PUT", body=body) == (400, "M_MISSING_PARAM")
            body = {**dry.body(), "device_keys": dry.keys()}
            assert await call(server, alice, "PUT", body=body) == (400, "M_INVALID_PARAM")

    run(work)
