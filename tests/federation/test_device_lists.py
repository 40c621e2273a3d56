"""What other servers are told about devices and keys: that there are none, in the words of the specification.

spec: Matrix server-server-api "Device Management", "End-to-End Encryption"
"""

from pathlib import Path

import pytest

from tests.federation.servers import islands
from tests.federation.test_joining import ONE, TWO, account
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.matrix.federation.client import RemoteRefused, make_target
from tripoint.runtime.app import App

V1 = ("_matrix", "federation", "v1", "user")


async def ask(app: App, method: str, *path: str, content: JsonObject | None = None) -> JsonObject:
    return await app.federation.trust.client.request(ONE, method, make_target(*V1, *path), content)


def test_lists_are_empty_and_keys_are_none(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            alice = await account(made.apps[ONE], "alice")
            two = made.apps[TWO]
            assert await ask(two, "GET", "devices", alice) == {"user_id": alice, "stream_id": 0, "devices": []}
            found = await ask(two, "POST", "keys", "query", content={"device_keys": {alice: [], f"@bo:{ONE}": ["X"]}})
            assert found["device_keys"] == {alice: {}, f"@bo:{ONE}": {}}
            assert found["master_keys"] == found["self_signing_keys"] == {}
            wanted: JsonObject = {"one_time_keys": {alice: {"X": "signed_curve25519"}}}
            assert await ask(two, "POST", "keys", "claim", content=wanted) == {"one_time_keys": {}}

    run(work)


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "errcode"),
    [
        ("GET", ("devices", f"@nobody:{ONE}"), None, 404, "M_NOT_FOUND"),
        ("GET", ("devices", f"@bob:{TWO}"), None, 400, "M_INVALID_PARAM"),
        ("GET", ("devices", "bob"), None, 400, "M_INVALID_PARAM"),
        ("POST", ("keys", "query"), {}, 400, "M_BAD_JSON"),
        ("POST", ("keys", "query"), {"device_keys": {f"@alice:{ONE}": {}}}, 400, "M_BAD_JSON"),
        ("POST", ("keys", "query"), {"device_keys": {UserId(f"@bob:{TWO}"): []}}, 400, "M_INVALID_PARAM"),
        ("POST", ("keys", "claim"), {"one_time_keys": []}, 400, "M_BAD_JSON"),
        ("POST", ("keys", "claim"), {"one_time_keys": {f"@alice:{ONE}": []}}, 400, "M_BAD_JSON"),
    ],
)
def test_questions_that_make_no_sense(
    tmp_path: Path, method: str, path: tuple[str, ...], content: JsonObject | None, status: int, errcode: str
) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            with pytest.raises(RemoteRefused) as caught:
                await ask(made.apps[TWO], method, *path, content=content)
            assert (caught.value.status, caught.value.errcode) == (status, errcode)

    run(work)
