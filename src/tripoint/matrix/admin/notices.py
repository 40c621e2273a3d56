"""Server notices: what the operators tell one of their people, on whatever protocol they are (rooms/server_notices.py).

docs/mapping.md 10.13; docs/operate/administration.md
"""

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import ServerName, parse_user_id, server_of
from tripoint.matrix.admin.asking import V1, not_found, not_here
from tripoint.matrix.body import needed_text
from tripoint.matrix.errors import bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import Origin, SendNotice
from tripoint.rooms.ports import RoomService


class NoticeEndpoints:
    def __init__(self, accounts: AccountService, rooms: RoomService, server: ServerName) -> None:
        self._accounts = accounts
        self._rooms = rooms
        self._server = server

    @endpoint("POST", f"{V1}/send_server_notice", auth=Auth.ADMIN)
    async def send(self, call: Call) -> Response:
        return await self._send(call, None)

    @endpoint("PUT", f"{V1}/send_server_notice/{{txn_id}}", auth=Auth.ADMIN)
    async def send_once(self, call: Call) -> Response:
        scope = f"send_server_notice/{call.path['txn_id']}"
        return await self._send(call, call.by(call.path["txn_id"], once=True, scope=scope))

    async def _send(self, call: Call, origin: Origin | None) -> Response:
        """A text alone, as every protocol can show one."""
        body = call.json()
        target = parse_user_id(needed_text(body, "user_id"))
        if server_of(target) != self._server:
            raise invalid("That user does not belong to this server")
        content = body.get("content")
        if content is None:
            raise missing("content")
        if not isinstance(content, dict) or not isinstance(content.get("body"), str):
            raise bad_json("content is an object with a body")
        if body.get("state_key") is not None or body.get("type") not in (None, "m.room.message"):
            raise not_here("A notice is a message (m.room.message)")
        if content.get("msgtype") not in (None, "m.text", "m.notice"):
            raise not_here("A notice is a text (m.text)")
        if not await self._accounts.is_local_user(target):
            raise not_found("There is no such user")
        done = await self._rooms.do(
            SendNotice(actor=call.user_id, origin=origin, target=target, text=str(content["body"]))
        )
        return json_response({"event_id": done.event_id})
