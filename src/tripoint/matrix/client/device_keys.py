"""Keys of devices: uploaded, asked for, claimed, and whose have changed.

spec: Matrix client-server-api POST /keys/upload, POST /keys/query, POST /keys/claim, GET /keys/changes
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.device_keys import BadKeys, read_device_keys, read_one_time_keys
from tripoint.core.ids import InvalidId, UserId, parse_user_id
from tripoint.core.signing import BadSignature
from tripoint.matrix.errors import bad_json, invalid, json_response, missing
from tripoint.matrix.federation.asking_keys import KeyQuestions
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.sync.device_lists import DeviceLists
from tripoint.matrix.sync.tokens import SyncToken, parse_token
from tripoint.net.http import Response

# spec: POST /keys/query timeout: "10 seconds is the recommended default"
DEFAULT_TIMEOUT_MS: Final = 10_000
MAX_TIMEOUT_MS: Final = 30_000
# Users, or devices, in one request: a client asks for a room at a time, in parts.
MAX_ASKED: Final = 10_000


@contextmanager
def reading_keys() -> Iterator[None]:
    """Keys that do not hold together are the client's error. spec: M_BAD_JSON, M_INVALID_SIGNATURE"""
    try:
        yield
    except BadKeys as error:
        raise bad_json(str(error)) from error
    except BadSignature as error:
        raise KeyRefused(KeyRefusal.BAD_SIGNATURE, str(error)) from error


class DeviceKeyEndpoints:
    """`start`: this run of the server, as in sync tokens."""

    def __init__(self, encryption: Encryption, questions: KeyQuestions, lists: DeviceLists, start: str) -> None:
        self._keys = encryption.keys
        self._questions = questions
        self._lists = lists
        self._start = start

    @endpoint("POST", "/_matrix/client/v3/keys/upload", "/_matrix/client/r0/keys/upload", guests=True)
    async def upload(self, call: Call) -> Response:
        body = call.json()
        device_keys = body.get("device_keys")
        with reading_keys():
            keys = None if device_keys is None else read_device_keys(device_keys, call.user_id, call.device_id)
            one_time = read_one_time_keys(body.get("one_time_keys") or {}, "one_time_keys")
            fallback = read_one_time_keys(body.get("fallback_keys") or {}, "fallback_keys")
        algorithms = [key.algorithm for key in fallback]
        if len(set(algorithms)) != len(algorithms):
            # spec: "There can only be at most one key per algorithm uploaded"
            raise invalid("There is one fallback key for each algorithm")
        if keys is not None:
            await self._lists.prepare(call.user_id)
        counts = await self._keys.upload(call.user_id, call.device_id, keys, one_time, fallback)
        return json_response({"one_time_key_counts": dict(counts.one_time)})

    @endpoint("POST", "/_matrix/client/v3/keys/query", "/_matrix/client/r0/keys/query", guests=True)
    async def query(self, call: Call) -> Response:
        body = call.json()
        wanted: dict[UserId, list[str]] = {}
        for user_id, devices in _users(body, "device_keys").items():
            if not isinstance(devices, list) or not all(isinstance(device, str) for device in devices):
                raise bad_json(f"device_keys of {user_id} must be a list of device ids")
            wanted[user_id] = [device for device in devices if isinstance(device, str)]
        return json_response(await self._questions.query(wanted, call.user_id, _timeout_s(body)))

    @endpoint("POST", "/_matrix/client/v3/keys/claim", "/_matrix/client/r0/keys/claim", guests=True)
    async def claim(self, call: Call) -> Response:
        body = call.json()
        wanted: dict[UserId, dict[str, str]] = {}
        for user_id, devices in _users(body, "one_time_keys").items():
            if not isinstance(devices, dict):
                raise bad_json(f"one_time_keys of {user_id} must be a map of device ids to algorithms")
            texts = {device: name for device, name in devices.items() if isinstance(name, str)}
            if len(texts) != len(devices):
                raise bad_json("An algorithm is a text")
            wanted[user_id] = texts
        if sum(map(len, wanted.values())) > MAX_ASKED:
            raise invalid(f"At most {MAX_ASKED} keys are claimed at a time")
        return json_response(await self._questions.claim(wanted, _timeout_s(body)))

    @endpoint("GET", "/_matrix/client/v3/keys/changes", "/_matrix/client/r0/keys/changes")
    async def changes(self, call: Call) -> Response:
        since = self._token(call, "from")
        # spec: `to` "may be used by the server as a hint": what changed since is said as well.
        self._token(call, "to")
        changed, left = await self._lists.since(call.user_id, since.position)
        return json_response({"changed": list(changed), "left": list(left)})

    def _token(self, call: Call, name: str) -> SyncToken:
        text = call.query(name)
        if text is None:
            raise missing(name)
        token = parse_token(text, self._start)
        if token.position < 0:
            raise invalid("That is no token of /sync")
        return token


def _users(body: JsonObject, name: str) -> dict[UserId, object]:
    """A map by user ids."""
    if name not in body:
        raise missing(name)
    given = body[name]
    if not isinstance(given, dict):
        raise bad_json(f"{name} must be a map of user ids")
    if len(given) > MAX_ASKED:
        raise invalid(f"{name} has at most {MAX_ASKED} users")
    try:
        return {parse_user_id(user_id): value for user_id, value in given.items()}
    except InvalidId as error:
        raise invalid(str(error)) from error


def _timeout_s(body: JsonObject) -> float:
    timeout_ms = body.get("timeout")
    if timeout_ms is None:
        return DEFAULT_TIMEOUT_MS / 1000
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float) or timeout_ms < 0:
        raise bad_json("timeout must be a number of milliseconds")
    return min(timeout_ms, MAX_TIMEOUT_MS) / 1000
