"""Dehydrated devices, at the paths of their proposal. spec: MSC3814

COMPAT: matrix-js-sdk (37) asks for events with POST and `next_batch` in the body, as an earlier text of the proposal
had it, and stops at the first answer without events: that form gets a `next_batch` always.
"""

import re
from collections.abc import Callable
from typing import Final

import orjson

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.refusals import KeyRefusal, KeyRefused
from tripoint.accounts.to_device import Page
from tripoint.core.device_keys import read_device_keys, read_one_time_keys
from tripoint.core.json_view import object_at
from tripoint.matrix.client.device_keys import reading_keys
from tripoint.matrix.errors import MatrixError, bad_json, bytes_response, invalid, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader

_PATH: Final = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
_BATCH = re.compile(r"d(\d{1,18})\Z")
MAX_DEVICE_ID: Final = 255
# Private keys of one device with its one-time keys, encrypted: some kB.
MAX_DATA_BYTES: Final = 65_536


class DehydratedDeviceEndpoints:
    """`now_ms` is the wall clock."""

    def __init__(self, encryption: Encryption, reader: RoomReader, now_ms: Callable[[], int]) -> None:
        self._dehydrated = encryption.dehydrated
        self._reader = reader
        self._now_ms = now_ms

    @endpoint("PUT", _PATH)
    async def put(self, call: Call) -> Response:
        body = call.json()
        for needed in ("device_id", "device_data", "device_keys"):
            if needed not in body:
                raise missing(needed)
        device_id, data, name = body["device_id"], body["device_data"], body.get("initial_device_display_name")
        if not isinstance(device_id, str) or not 0 < len(device_id) <= MAX_DEVICE_ID:
            raise bad_json("device_id must be a text of 1 to 255 characters")
        if not isinstance(data, dict) or not isinstance(data.get("algorithm"), str):
            raise bad_json("device_data must be an object with an algorithm")
        if len(orjson.dumps(data)) > MAX_DATA_BYTES:
            raise MatrixError(413, "M_TOO_LARGE", f"device_data has at most {MAX_DATA_BYTES} bytes")
        if name is not None and not isinstance(name, str):
            raise bad_json("initial_device_display_name must be a text")
        with reading_keys():
            keys = read_device_keys(body["device_keys"], call.user_id, device_id)
            one_time = read_one_time_keys(body.get("one_time_keys") or {}, "one_time_keys")
            fallback = read_one_time_keys(body.get("fallback_keys") or {}, "fallback_keys")
        if object_at(keys, "keys").get(f"curve25519:{device_id}") != device_id:
            # spec: MSC3814: the device id "MUST be the public Curve25519 identity key of the device"
            raise invalid("device_id must be the device's Curve25519 key")
        await self._dehydrated.put(call.user_id, device_id, data, name, keys, one_time, fallback, self._now_ms())
        return json_response({"device_id": device_id})

    @endpoint("GET", _PATH)
    async def get(self, call: Call) -> Response:
        found = await self._dehydrated.get(call.user_id)
        if found is None:
            raise KeyRefused(KeyRefusal.NO_DEHYDRATED_DEVICE)
        return json_response({"device_id": found[0], "device_data": found[1]})

    @endpoint("DELETE", _PATH)
    async def delete(self, call: Call) -> Response:
        return json_response({"device_id": await self._dehydrated.delete(call.user_id)})

    @endpoint("GET", _PATH + "/{device_id}/events")
    async def events(self, call: Call) -> Response:
        page = await self._page(call, call.query("from"))
        return _events(page, f"d{page.upto}" if page.more else None)

    @endpoint("POST", _PATH + "/{device_id}/events")
    async def events_by_post(self, call: Call) -> Response:
        batch = call.json_or_empty().get("next_batch")
        if batch is not None and not isinstance(batch, str):
            raise bad_json("next_batch must be a text")
        page = await self._page(call, batch)
        return _events(page, f"d{page.upto}" if page.events else batch or "d0")

    async def _page(self, call: Call, batch: str | None) -> Page:
        match = _BATCH.match(batch or "d0")
        if match is None:
            raise invalid("That is no token of this endpoint")
        upto = self._reader.stream_position().of()
        return await self._dehydrated.events(call.user_id, call.path["device_id"], int(match[1]), upto)


def _events(page: Page, next_batch: str | None) -> Response:
    body = b'{"events":[' + b",".join(page.events) + b"]"
    if next_batch is not None:
        body += b',"next_batch":' + orjson.dumps(next_batch)
    return bytes_response(body + b"}")
