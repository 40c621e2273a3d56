"""Requests of encryption that are nearly right: a part is missing, or is something else. The answer is Matrix's own.

Each begins as one that is taken, so that the damage lies as deep as it can.
"""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import Client, matrix
from tests.matrix.crypto import Device, Tree
from tests.matrix.test_dehydrated import PATH, Dry
from tests.matrix.test_garbage import JSON
from tests.matrix.test_key_backup import ALGORITHM, AUTH, ROOM, key

V3 = "/_matrix/client/v3"


def good_requests(alice: Client, version: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, body) of requests that are taken."""
    device, tree = Device(alice), Tree(alice.user_id)
    backup, room = f"{V3}/room_keys", quote(ROOM, safe="")
    signed = tree.self_signing.sign(device.keys(), alice.user_id)
    one_time = {"signed_curve25519:A": device.one_time("A"), "curve25519:B": "b"}
    fallback = {"signed_curve25519:F": device.one_time("F", fallback=True)}
    whole = {"device_keys": device.keys(), "one_time_keys": one_time, "fallback_keys": fallback}
    dry = Dry(alice)
    return [
        ("POST", f"{V3}/keys/upload", whole),
        ("POST", f"{V3}/keys/query", {"device_keys": {alice.user_id: [alice.device_id]}, "timeout": 10}),
        ("POST", f"{V3}/keys/claim", {"one_time_keys": {alice.user_id: {alice.device_id: "curve25519"}}, "timeout": 1}),
        ("POST", f"{V3}/keys/device_signing/upload", tree.body()),
        ("POST", f"{V3}/keys/signatures/upload", {alice.user_id: {alice.device_id: signed}}),
        ("PUT", f"{V3}/sendToDevice/m.test/1", {"messages": {alice.user_id: {alice.device_id: {"a": [1]}}}}),
        ("POST", f"{backup}/version", {"algorithm": ALGORITHM, "auth_data": AUTH}),
        ("PUT", f"{backup}/version/{version}", {"algorithm": ALGORITHM, "auth_data": AUTH, "version": version}),
        ("PUT", f"{backup}/keys", {"rooms": {ROOM: {"sessions": {"s": key()}}}}),
        ("PUT", f"{backup}/keys/{room}", {"sessions": {"s": key()}}),
        ("PUT", f"{backup}/keys/{room}/s", key()),
        ("PUT", PATH, dry.body()),
        ("POST", f"{PATH}/{quote(dry.device_id, safe='')}/events", {"next_batch": "d0"}),
    ]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*at, name)
        yield from places(part, (*at, name))


def damaged(body: Any, place: int, value: Any, how: str) -> Any:
    body = copy.deepcopy(body)
    found = list(places(body))
    *path, last = found[place % len(found)]
    part = body
    for name in path:
        part = part[name]
    if how == "drop":
        del part[last]
    elif how == "rename" and isinstance(part, dict):
        part[str(value)[:300]] = part.pop(last)
    else:
        part[last] = value
    return body


DAMAGE = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 200), JSON, st.sampled_from(["set", "drop", "rename"])),
    min_size=1,
    max_size=12,
)


async def play(damage: list[tuple[int, int, Any, str]]) -> None:
    async with matrix() as server:
        alice = await server.register("alice")
        described = {"algorithm": ALGORITHM, "auth_data": AUTH}
        version = (await alice.call("POST", "/room_keys/version", described))["version"]
        for which, place, value, how in damage:
            requests = good_requests(alice, version)
            method, path, body = requests[which % len(requests)]
            body = damaged(body, place, value, how)
            try:
                raw = orjson.dumps(body)
            except TypeError:
                continue  # integers beyond 64 bits: tests/matrix/test_garbage.py writes them
            response = await server.request(method, path, raw=raw, token=alice.token, version=version)
            assert response.status < 500, (method, path, body, response.body)
            answer = orjson.loads(response.body)
            if response.status == 401 and "flows" in answer:
                continue  # the password is asked for first, which is no error
            if response.status >= 400:
                assert answer["errcode"].startswith("M_") and answer["error"], (path, answer)
        # Whatever was taken can be read again.
        assert (await alice.sync())["next_batch"]
        await Device(alice).query(alice.user_id)
        await alice.call("GET", "/room_keys/keys", version=(await alice.call("GET", "/room_keys/version"))["version"])


@settings(max_examples=120, deadline=None)
@given(DAMAGE)
def test_a_damaged_request_gets_an_error_of_the_protocol(damage: list[tuple[int, int, Any, str]]) -> None:
    asyncio.run(play(damage))


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(DAMAGE)
def test_a_damaged_request_gets_an_error_for_long(damage: list[tuple[int, int, Any, str]]) -> None:
    asyncio.run(play(damage))


def test_they_are_taken_as_they_are() -> None:
    """Else the damage would not be why they are refused."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            body = {"algorithm": ALGORITHM, "auth_data": AUTH}
            version = (await alice.call("POST", "/room_keys/version", body))["version"]
            for method, path, good in good_requests(alice, version):
                current = (await alice.call("GET", "/room_keys/version"))["version"]
                response = await server.request(method, path, good, token=alice.token, version=current)
                assert response.status == 200, (method, path, response.body)

    asyncio.run(work())
