"""Devices and keys as other servers describe them: what has the right shape, and nothing else. Pure.

Whether keys and signatures are good is for clients, who alone know whom they trust. spec: Matrix server-server-api
getUserDevices, queryUserEncryptionKeys, claimUserEncryptionKeys
"""

from collections.abc import Mapping

from tripoint.accounts.remote_lists import RemoteDevice
from tripoint.core.canonical_json import MAX_SAFE_INTEGER, Json, JsonObject
from tripoint.core.device_keys import BadKeys, check_device_keys, read_cross_signing_key, read_one_time_keys
from tripoint.core.ids import UserId
from tripoint.core.json_view import int_at, text_at


def read_stream_id(content: JsonObject) -> int | None:
    """The version of a list; None where it is none that can be stored."""
    stream_id = int_at(content, "stream_id")
    return stream_id if stream_id is not None and 0 <= stream_id <= MAX_SAFE_INTEGER else None


def read_remote_device(user_id: UserId, entry: JsonObject) -> RemoteDevice | None:
    """A device as another server describes it (getUserDevices); None: it has no keys, or none that can be used."""
    device_id, keys = text_at(entry, "device_id"), entry.get("keys")
    if not device_id or len(device_id) > 255 or not isinstance(keys, dict):
        return None
    bare = {name: value for name, value in keys.items() if name != "unsigned"}
    try:
        checked = check_device_keys(bare, user_id, device_id)
    except BadKeys:
        return None
    name = text_at(entry, "device_display_name")
    return RemoteDevice(device_id, checked, None if name is None else name[:255])


def read_remote_keys(user_id: UserId, keys: Mapping[str, Json]) -> dict[str, JsonObject]:
    """Cross-signing keys by usage, those that have the right shape."""
    found: dict[str, JsonObject] = {}
    for usage, value in keys.items():
        try:
            if value is not None:
                found[usage] = read_cross_signing_key(value, user_id, usage).json
        except BadKeys:
            continue
    return found


def read_claimed_key(value: Json, algorithm: str) -> JsonObject | None:
    """A claimed key as another server gives it, if it is of the algorithm that was asked for."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    try:
        (key,) = read_one_time_keys(value, "one_time_keys")
    except BadKeys:
        return None
    return value if key.algorithm == algorithm else None

