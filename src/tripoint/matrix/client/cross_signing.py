"""Cross-signing keys and signatures.

spec: Matrix client-server-api POST /keys/device_signing/upload, POST /keys/signatures/upload
"""

from typing import Final

from tripoint.accounts.cross_signing import UploadedKeys
from tripoint.accounts.encryption import Encryption
from tripoint.core.canonical_json import JsonObject
from tripoint.core.device_keys import CrossSigningKey, read_cross_signing_key
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId, parse_user_id, server_of
from tripoint.matrix.client.device_keys import reading_keys
from tripoint.matrix.client.login import LogInEndpoints
from tripoint.matrix.errors import EMPTY, bad_json, invalid, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

# Keys that are signed in one request: a client signs one at a time, or all of its own once.
MAX_SIGNED: Final = 1000


class CrossSigningEndpoints:
    def __init__(self, encryption: Encryption, log_in: LogInEndpoints, server: ServerName) -> None:
        self._signing = encryption.signing
        self._log_in = log_in
        self._server = server

    @endpoint("POST", "/_matrix/client/v3/keys/device_signing/upload")
    async def upload(self, call: Call) -> Response:
        body = call.json()
        uploaded = UploadedKeys(
            _key(call, body, "master"), _key(call, body, "self_signing"), _key(call, body, "user_signing")
        )
        confirmed = False
        while not confirmed:
            if await self._signing.brings_new(call.user_id, uploaded):
                if call.caller.client_id is None or call.caller.service is not None:
                    await self._log_in.check_password_stage(call, body.get("auth"), "device_signing")
                else:
                    self._log_in.check_reset_stage(call, body.get("auth"))
                confirmed = True
            if await self._signing.upload(call.user_id, uploaded, confirmed=confirmed):
                break
        return EMPTY

    @endpoint("POST", "/_matrix/client/v3/keys/signatures/upload")
    async def signatures(self, call: Call) -> Response:
        body = call.json()
        signed: dict[str, dict[str, object]] = {}
        for user_id, keys in body.items():
            try:
                parse_user_id(user_id)
            except PeerError as error:
                raise invalid(str(error)) from error
            if not isinstance(keys, dict):
                raise bad_json(f"{user_id} must be a map of key ids to signed objects")
            signed[user_id] = dict(keys)
        if sum(map(len, signed.values())) > MAX_SIGNED:
            raise invalid(f"At most {MAX_SIGNED} signed keys are taken at a time")
        failures = await self._signing.sign(call.user_id, signed, self._is_local)
        return json_response(
            {
                "failures": {
                    user_id: {key: {"errcode": no.errcode, "error": no.error} for key, no in keys.items()}
                    for user_id, keys in failures.items()
                }
            }
        )

    def _is_local(self, user_id: UserId) -> bool:
        return server_of(user_id) == self._server


def _key(call: Call, body: JsonObject, usage: str) -> CrossSigningKey | None:
    value = body.get(f"{usage}_key")
    if value is None:
        return None
    with reading_keys():
        return read_cross_signing_key(value, call.user_id, usage)
