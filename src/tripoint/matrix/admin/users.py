"""Accounts: lists of them, one of them, making and changing one.

docs/operate/administration.md. What is done to one besides is user_actions.py's.
"""

from tripoint.accounts.administration import ListedAccount
from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import ServerName, UserId, split_user_id
from tripoint.core.listings import ACCOUNT_ORDERS, AccountQuery
from tripoint.matrix.admin.asking import (
    V1,
    V2,
    V3,
    backward_of,
    flag_of,
    next_page,
    not_found,
    not_here,
    order_of,
    page_of,
    user_of,
)
from tripoint.matrix.body import bool_in, text_in
from tripoint.matrix.client.contacts import shown_contacts
from tripoint.matrix.errors import MatrixError, bad_json, invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.commands import SetProfile
from tripoint.rooms.ports import RoomService

_IDENTITIES = "Who somebody is at an identity provider is said by logging in there"
# What only other servers of this API have, and what is said of it where somebody wants to set it.
_NOT_HERE = {
    "user_type": "This server has no types of users",
}


class UserEndpoints:
    def __init__(self, accounts: AccountService, rooms: RoomService, server: ServerName) -> None:
        self._accounts = accounts
        self._rooms = rooms
        self._server = server

    @endpoint("GET", f"{V2}/users", auth=Auth.ADMIN)
    async def list_v2(self, call: Call) -> Response:
        """`deactivated=true`: with those that were closed, which are left out otherwise."""
        return await self._listed(call, None if flag_of(call, "deactivated") else False)

    @endpoint("GET", f"{V3}/users", auth=Auth.ADMIN)
    async def list_v3(self, call: Call) -> Response:
        """`deactivated`: those that were closed alone, or without them."""
        return await self._listed(call, flag_of(call, "deactivated"))

    async def _listed(self, call: Call, deactivated: bool | None) -> Response:
        page = page_of(call)
        guests = flag_of(call, "guests")
        query = AccountQuery(
            page,
            user_id=call.query("user_id"),
            name=call.query("name"),
            guests=guests is not False,
            locked=flag_of(call, "locked") is True,
            deactivated=deactivated,
            admins=flag_of(call, "admins"),
            order=order_of(call, ACCOUNT_ORDERS, "name"),
            backward=backward_of(call),
        )
        rows, total = await self._accounts.administration.listed(query)
        body: dict[str, Json] = {"users": [_line(row) for row in rows], "total": total}
        more = next_page(page, len(rows), total)
        if more is not None:
            body["next_token"] = str(more)
        return json_response(body)

    @endpoint("GET", f"{V2}/users/{{user_id}}", auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        return json_response(await self._shown(user_of(call, self._server)))

    @endpoint("PUT", f"{V2}/users/{{user_id}}", auth=Auth.ADMIN)
    async def put(self, call: Call) -> Response:
        """Make an account, or change what the body names of one."""
        user_id, body = user_of(call, self._server), call.json()
        _check(call, user_id, body)
        await self._check_identities(user_id, body)
        found = await self._accounts.administration.account(user_id)
        if found is None:
            return await self._make(user_id, body)
        await self._change(found, body)
        return json_response(await self._shown(user_id))

    async def _check_identities(self, user_id: UserId, body: JsonObject) -> None:
        """What was shown may come back, as tools do that change something else; nothing may come to it or go."""
        given = body.get("external_ids")
        if given is None:
            return
        entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else None
        if entries is None or not isinstance(given, list) or len(entries) != len(given):
            raise bad_json("external_ids is a list of objects with auth_provider and external_id")
        named = {(text_in(entry, "auth_provider"), text_in(entry, "external_id")) for entry in entries}
        known = await self._accounts.administration.identities(user_id)
        if named != {(one.provider, one.subject) for one in known}:
            raise not_here(_IDENTITIES)

    async def _make(self, user_id: UserId, body: JsonObject) -> Response:
        if bool_in(body, "deactivated"):
            raise invalid("An account that is not there cannot be closed")
        name = split_user_id(user_id)[0]
        admin = bool_in(body, "admin") is True
        await self._accounts.add_account(name, text_in(body, "password"), admin=admin)
        await self._set_profile(user_id, body)
        await self._set_contacts(user_id, body)
        await self._set_states(user_id, body)
        return json_response(await self._shown(user_id), 201)

    async def _change(self, found: ListedAccount, body: JsonObject) -> None:
        user_id, closed = found.account.user_id, found.account.deactivated
        wish, password = bool_in(body, "deactivated"), text_in(body, "password")
        if wish is False and closed:
            await self._accounts.administration.reactivate(user_id, password)
            closed = False
        elif password is not None and not closed:
            keep = bool_in(body, "logout_devices") is False
            await self._accounts.change_password(user_id, password, keep_device=None, logout_devices=not keep)
        if wish is True and not closed:
            await self._accounts.deactivate(user_id)
            return
        if closed:
            return
        await self._set_profile(user_id, body)
        await self._set_contacts(user_id, body)
        admin = bool_in(body, "admin")
        if admin is not None:
            await self._accounts.administration.set_admin(user_id, admin)
        await self._set_states(user_id, body)

    async def _set_profile(self, user_id: UserId, body: JsonObject) -> None:
        for field in ("displayname", "avatar_url"):
            if field in body:
                await self._rooms.do(SetProfile(actor=user_id, field=field, value=text_in(body, field) or None))

    async def _set_contacts(self, user_id: UserId, body: JsonObject) -> None:
        addresses = _addresses(body)
        if addresses is not None:
            await self._accounts.contacts.put_all(user_id, addresses)

    async def _set_states(self, user_id: UserId, body: JsonObject) -> None:
        locked, suspended = bool_in(body, "locked"), bool_in(body, "suspended")
        if locked is not None:
            await self._accounts.set_locked(user_id, locked)
        if suspended is not None:
            await self._accounts.set_suspended(user_id, suspended)

    async def _shown(self, user_id: UserId) -> JsonObject:
        row = await self._accounts.administration.account(user_id)
        if row is None:
            raise not_found("There is no such user")
        account = row.account
        known = await self._accounts.administration.identities(user_id)
        accepted = await self._accounts.administration.accepted(user_id)
        service = self._accounts.app_services.owner_of(user_id)
        return {
            "name": account.user_id,
            "displayname": row.displayname,
            "avatar_url": row.avatar_url,
            "admin": account.admin,
            "deactivated": account.deactivated,
            "erased": account.erased,
            "locked": account.locked,
            "suspended": account.suspended,
            "shadow_banned": account.shadow_banned,
            "is_guest": account.guest,
            # In seconds here, in milliseconds in lists: so do the tools read it.
            "creation_ts": account.created_ts_ms // 1000,
            "last_seen_ts": row.last_seen_ts_ms,
            "appservice_id": None if service is None else service.service_id,
            "consent_server_notice_sent": None,
            # One document of these tools' API; here there may be several, with the newest in its place.
            "consent_version": accepted[-1].version if accepted else None,
            "consent_ts": accepted[-1].accepted_ts_ms if accepted else None,
            "accepted_terms": [
                {"id": one.document, "version": one.version, "accepted_ts": one.accepted_ts_ms} for one in accepted
            ],
            "user_type": None,
            "threepids": shown_contacts(await self._accounts.contacts.of(user_id)),
            "external_ids": [{"auth_provider": one.provider, "external_id": one.subject} for one in known],
        }

    @endpoint("GET", f"{V1}/users/{{user_id}}/admin", auth=Auth.ADMIN)
    async def is_admin(self, call: Call) -> Response:
        row = await self._accounts.administration.account(user_of(call, self._server))
        if row is None:
            raise not_found("There is no such user")
        return json_response({"admin": row.account.admin})

    @endpoint("PUT", f"{V1}/users/{{user_id}}/admin", auth=Auth.ADMIN)
    async def set_admin(self, call: Call) -> Response:
        user_id = user_of(call, self._server)
        admin = bool_in(call.json(), "admin")
        if admin is None:
            raise MatrixError(400, "M_MISSING_PARAM", "admin is missing")
        _check(call, user_id, call.json())
        await self._accounts.administration.set_admin(user_id, admin)
        return json_response({})

    @endpoint("GET", f"{V1}/auth_providers/{{provider}}/users/{{external_id}}", auth=Auth.ADMIN)
    async def by_identity(self, call: Call) -> Response:
        found = await self._accounts.administration.of_identity(call.path["provider"], call.path["external_id"])
        if found is None:
            raise not_found("There is no such user")
        return json_response({"user_id": found})

    @endpoint("GET", f"{V1}/threepid/{{medium}}/users/{{address}}", auth=Auth.ADMIN)
    async def by_threepid(self, call: Call) -> Response:
        found = await self._accounts.contacts.owner(call.path["medium"], call.path["address"])
        if found is None:
            raise not_found("There is no such user")
        return json_response({"user_id": found})

    @endpoint("GET", f"{V1}/username_available", auth=Auth.ADMIN)
    async def is_available(self, call: Call) -> Response:
        """Whether an administrator could make an account of this name."""
        name = call.query("username")
        if not name:
            raise MatrixError(400, "M_MISSING_PARAM", "username is missing")
        await self._accounts.check_new_name(name)
        return json_response({"available": True})


def _check(call: Call, user_id: UserId, body: JsonObject) -> None:
    """What nobody may ask for, before anything is done."""
    for name, why in _NOT_HERE.items():
        if body.get(name):
            raise not_here(why)
    _addresses(body)
    for name in ("admin", "locked", "suspended", "deactivated", "logout_devices"):
        bool_in(body, name)
    for name in ("password", "displayname", "avatar_url"):
        text_in(body, name)
    if bool_in(body, "deactivated") and bool_in(body, "locked"):
        raise bad_json("An account is closed or locked")
    if user_id == call.user_id:
        if bool_in(body, "admin") is False:
            raise invalid("You may not take your own rights away")
        if bool_in(body, "locked") or bool_in(body, "suspended"):
            raise invalid("You may not lock yourself out")


def _addresses(body: JsonObject) -> list[str] | None:
    """The e-mail addresses that an account is to have, all of them; None where nothing is said of them."""
    given = body.get("threepids")
    if given is None:
        return None
    found: list[str] = []
    for one in given if isinstance(given, list) else [None]:
        medium, address = (one.get("medium"), one.get("address")) if isinstance(one, dict) else (None, None)
        if not isinstance(medium, str) or not isinstance(address, str):
            raise bad_json("threepids is a list of objects with medium and address")
        if medium != "email":
            raise not_here("This server knows no phone numbers")
        found.append(address)
    return found


def _line(row: ListedAccount) -> JsonObject:
    account = row.account
    return {
        "name": account.user_id,
        "user_type": None,
        "is_guest": account.guest,
        "admin": account.admin,
        "deactivated": account.deactivated,
        "erased": account.erased,
        "locked": account.locked,
        "suspended": account.suspended,
        "shadow_banned": account.shadow_banned,
        "displayname": row.displayname,
        "avatar_url": row.avatar_url,
        "creation_ts": account.created_ts_ms,
        "last_seen_ts": row.last_seen_ts_ms,
    }
