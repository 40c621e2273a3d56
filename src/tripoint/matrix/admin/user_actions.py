"""What is done to one account: closed, given a password, logged in as, shadow-banned, given limits, made to be
forgotten; and what it is in.

docs/operate/administration.md
"""

from tripoint.accounts.ports import AccountService
from tripoint.accounts.pushers import HTTP
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, parse_room_id, parse_user_id, server_of
from tripoint.core.token_bucket import Rate
from tripoint.matrix.admin.asking import V1, not_found, not_here, user_of
from tripoint.matrix.body import bool_in, needed_text, number_in, text_in
from tripoint.matrix.client.pushers import shown_pusher
from tripoint.matrix.errors import bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms import erasing
from tripoint.rooms.desk import Desk
from tripoint.rooms.ports import RoomReader

MAX_ROOMS = 1000


class UserActionEndpoints:
    def __init__(self, accounts: AccountService, reader: RoomReader, desk: Desk, server: ServerName) -> None:
        self._accounts = accounts
        self._reader = reader
        self._desk = desk
        self._server = server

    @endpoint("POST", f"{V1}/deactivate/{{user_id}}", auth=Auth.ADMIN)
    async def deactivate(self, call: Call) -> Response:
        """Of one that is closed already, too: what could not be done then is done now."""
        user_id = user_of(call, self._server)
        if await self._accounts.account(user_id) is None:
            raise not_found("There is no such user")
        await self._accounts.deactivate(user_id, erase=bool_in(call.json_or_empty(), "erase") is True)
        return json_response({"id_server_unbind_result": "no-support"})

    @endpoint("POST", f"{V1}/reset_password/{{user_id}}", auth=Auth.ADMIN)
    async def reset_password(self, call: Call) -> Response:
        user_id, body = await self._known(call), call.json()
        password = needed_text(body, "new_password")
        logout = bool_in(body, "logout_devices") is not False
        await self._accounts.change_password(user_id, password, keep_device=None, logout_devices=logout)
        return json_response({})

    @endpoint("PUT", f"{V1}/suspend/{{user_id}}", auth=Auth.ADMIN)
    async def suspend(self, call: Call) -> Response:
        user_id, suspended = await self._known(call), bool_in(call.json(), "suspend")
        if suspended is None:
            raise missing("suspend")
        if user_id == call.user_id:
            raise invalid("You may not suspend yourself")
        await self._accounts.set_suspended(user_id, suspended)
        return json_response({f"user_{user_id}_suspended": suspended})

    @endpoint("GET", f"{V1}/whois/{{user_id}}", auth=Auth.ADMIN)
    async def whois(self, call: Call) -> Response:
        user_id = await self._known(call)
        devices: JsonObject = {
            device.device_id: {"sessions": [{"connections": [{"last_seen": device.last_seen_ts_ms}]}]}
            for device in await self._accounts.devices(user_id)
        }
        return json_response({"user_id": user_id, "devices": devices})

    @endpoint("GET", f"{V1}/users/{{user_id}}/joined_rooms", auth=Auth.ADMIN)
    async def joined_rooms(self, call: Call) -> Response:
        """Of other servers' users too: those rooms of theirs that this server is in."""
        user_id = parse_user_id(call.path["user_id"])
        if server_of(user_id) == self._server:
            await self._known(call)
        rooms = await self._desk.inspection.joined_rooms(user_id)
        return json_response({"joined_rooms": list(rooms), "total": len(rooms)})

    @endpoint("GET", f"{V1}/users/{{user_id}}/memberships", auth=Auth.ADMIN)
    async def memberships(self, call: Call) -> Response:
        found = await self._reader.memberships(await self._known(call))
        return json_response({"memberships": {str(room_id): membership for room_id, membership in found.items()}})

    @endpoint("GET", f"{V1}/users/{{user_id}}/pushers", auth=Auth.ADMIN)
    async def pushers(self, call: Call) -> Response:
        pushers = [shown_pusher(one) for one in self._accounts.pushers.of(await self._known(call)) if one.kind == HTTP]
        return json_response({"pushers": list(pushers), "total": len(pushers)})

    @endpoint("GET", f"{V1}/users/{{user_id}}/accountdata", auth=Auth.ADMIN)
    async def account_data(self, call: Call) -> Response:
        kept = await self._accounts.all_account_data(await self._known(call))
        everywhere: JsonObject = {type_: content for (room, type_), content in kept.items() if room is None}
        rooms: dict[str, dict[str, Json]] = {}
        for (room_id, type_), content in kept.items():
            if room_id is not None:
                rooms.setdefault(room_id, {})[type_] = content
        return json_response({"account_data": {"global": everywhere, "rooms": {**rooms}}})

    @endpoint("POST", f"{V1}/users/{{user_id}}/login", auth=Auth.ADMIN)
    async def log_in_as(self, call: Call) -> Response:
        """A token for somebody else's account. Its owner sees the session among theirs, and can end it."""
        user_id, body = await self._known(call), call.json_or_empty()
        if user_id == call.user_id:
            raise invalid("You are logged in as yourself already")
        until_ms = number_in(body, "valid_until_ms")
        account = await self._accounts.account(user_id)
        assert account is not None
        made = await self._accounts.log_in(
            account,
            protocol="matrix",
            display_name=f"Administrator {call.caller.account.name}",
            tokens=True,
            expires_ts_ms=until_ms,
        )
        return json_response({"access_token": made.access_token or ""})

    @endpoint("POST", f"{V1}/users/{{user_id}}/shadow_ban", auth=Auth.ADMIN)
    async def shadow_ban(self, call: Call) -> Response:
        user_id = await self._known(call)
        if user_id == call.user_id:
            raise invalid("You may not ban yourself")
        await self._accounts.administration.set_shadow_banned(user_id, True)
        return json_response({})

    @endpoint("DELETE", f"{V1}/users/{{user_id}}/shadow_ban", auth=Auth.ADMIN)
    async def end_shadow_ban(self, call: Call) -> Response:
        await self._accounts.administration.set_shadow_banned(await self._known(call), False)
        return json_response({})

    @endpoint("GET", f"{V1}/users/{{user_id}}/override_ratelimit", auth=Auth.ADMIN)
    async def own_limit(self, call: Call) -> Response:
        """{} of who has what everybody has."""
        return json_response(_limit(self._desk.own_limits.of(await self._known(call))))

    @endpoint("POST", f"{V1}/users/{{user_id}}/override_ratelimit", auth=Auth.ADMIN)
    async def give_limit(self, call: Call) -> Response:
        """0 for both, which is what stands there where nothing is said: no limit."""
        user_id, body = await self._known(call), call.json_or_empty()
        per_s, burst = number_in(body, "messages_per_second") or 0, number_in(body, "burst_count") or 0
        rate = Rate(max(burst, 1) if per_s else burst, per_s)
        await self._desk.own_limits.give(user_id, rate)
        return json_response({"messages_per_second": per_s, "burst_count": burst})

    @endpoint("DELETE", f"{V1}/users/{{user_id}}/override_ratelimit", auth=Auth.ADMIN)
    async def take_limit(self, call: Call) -> Response:
        await self._desk.own_limits.give(await self._known(call), None)
        return json_response({})

    @endpoint("POST", f"{V1}/account_validity/validity", auth=Auth.ADMIN)
    async def validity(self, call: Call) -> Response:
        raise not_here("Accounts of this server do not expire")

    @endpoint("POST", f"{V1}/user/{{user_id}}/redact", auth=Auth.ADMIN)
    async def redact(self, call: Call) -> Response:
        """Take back what somebody said, in the background: `rooms` (none: all that they are in), `reason`, `limit` (for
        each room), `use_admin`. The user may be of another server."""
        user_id, body = parse_user_id(call.path["user_id"]), call.json()
        rooms = body.get("rooms")
        if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
            raise bad_json("rooms is a list of rooms") if rooms is not None else missing("rooms")
        wanted: list[RoomId] = [parse_room_id(str(room)) for room in rooms]
        if not wanted:
            wanted = list(await self._desk.inspection.joined_rooms(user_id))
        if len(wanted) > MAX_ROOMS:
            raise invalid(f"At most {MAX_ROOMS} rooms at a time")
        limit = number_in(body, "limit")
        if limit == 0:
            raise invalid("limit is 1 or more")
        wish = erasing.wish(
            user_id,
            wanted,
            call.user_id,
            reason=text_in(body, "reason"),
            limit=limit,
            use_admin=bool_in(body, "use_admin") is True,
        )
        return json_response({"redact_id": await self._desk.jobs.add(erasing.KIND, wish)})

    @endpoint("GET", f"{V1}/user/redact_status/{{redact_id}}", auth=Auth.ADMIN)
    async def redact_status(self, call: Call) -> Response:
        job = self._desk.jobs.get(call.path["redact_id"], erasing.KIND)
        if job is None:
            raise not_found("There is nothing of that id")
        body: JsonObject = {"status": job.status, **job.result}
        if job.error is not None:
            body["error"] = job.error
        return json_response(body)

    async def _known(self, call: Call) -> UserId:
        user_id = user_of(call, self._server)
        account = await self._accounts.account(user_id)
        if account is None or account.deactivated:
            raise not_found("There is no such user")
        return user_id


def _limit(rate: Rate | None) -> JsonObject:
    return {} if rate is None else {"messages_per_second": int(rate.per_s), "burst_count": int(rate.burst)}
