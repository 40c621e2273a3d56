"""PUT /sendToDevice. What waits for a device is told by /sync. spec: Matrix client-server-api sendToDevice"""

from typing import Final

from tripoint.accounts.encryption import Encryption
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import UserId, parse_user_id
from tripoint.matrix.errors import EMPTY, bad_json, invalid, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

# As the types of events, and what is kept of transaction ids.
MAX_TYPE: Final = 255
MAX_TXN_ID: Final = 255


class ToDeviceEndpoints:
    def __init__(self, encryption: Encryption) -> None:
        self._messages = encryption.messages

    @endpoint(
        "PUT",
        "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
        "/_matrix/client/r0/sendToDevice/{eventType}/{txnId}",
        guests=True,
    )
    async def send(self, call: Call) -> Response:
        type_, txn_id = call.path["eventType"], call.path["txnId"]
        if len(type_) > MAX_TYPE or len(txn_id) > MAX_TXN_ID:
            raise invalid("The type and the transaction id have at most 255 characters")
        body = call.json()
        if "messages" not in body:
            raise missing("messages")
        try:
            messages = read_messages(body["messages"])
        except PeerError as error:
            raise bad_json(str(error)) from error
        await self._messages.send(call.user_id, call.device_id, txn_id, type_, messages)
        return EMPTY


def read_messages(value: object) -> dict[UserId, dict[str, JsonObject]]:
    """Contents by user and device, as clients and servers say them. Raises PeerError."""
    if not isinstance(value, dict):
        raise PeerError("messages must be a map of user ids")
    messages: dict[UserId, dict[str, JsonObject]] = {}
    for user_id, devices in value.items():
        user = parse_user_id(user_id)
        if not isinstance(devices, dict):
            raise PeerError(f"messages for {user_id} must be a map of device ids")
        for content in devices.values():
            if not isinstance(content, dict):
                raise PeerError("the content of a message must be an object")
        messages[user] = devices
    return messages
