"""Files as administrators see them, and what they do to them: quarantine, protection, deletion, who uploaded how much.

docs/operate/administration.md
"""

from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import ServerName
from tripoint.core.listings import MEDIA_ORDERS, MEDIA_USE_ORDERS, MediaQuery, MediaUseQuery
from tripoint.core.mxc import Mxc, make_mxc
from tripoint.matrix.admin.asking import (
    V1,
    backward_of,
    flag_of,
    next_page,
    not_found,
    order_of,
    page_of,
    room_of,
    user_of,
)
from tripoint.matrix.errors import invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.media.ports import MediaAdministration, StoredFile
from tripoint.net.http import Response
from tripoint.rooms.desk import Desk


class AdminMediaEndpoints:
    def __init__(
        self, files: MediaAdministration, desk: Desk, server: ServerName, now_ms: Callable[[], int]
    ) -> None:
        self._files = files
        self._desk = desk
        self._server = server
        self._now_ms = now_ms

    # -- one file

    @endpoint("GET", f"{V1}/media/{{server_name}}/{{media_id}}", auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        file = await self._files.find(_named(call))
        if file is None:
            raise not_found("There is no such file")
        local = file.mxc.server == self._server
        body: JsonObject = {
            **_line(file),
            "media_origin": None if local else file.mxc.server,
            "user_id": file.uploader,
            "filesystem_id": None,
            "url_cache": None,
            "authenticated": True,
        }
        return json_response({"media_info": body})

    @endpoint("DELETE", f"{V1}/media/{{server_name}}/{{media_id}}", auth=Auth.ADMIN)
    async def delete(self, call: Call) -> Response:
        mxc = _named(call)
        if mxc.server != self._server:
            raise invalid("That file belongs to another server; what is kept of it is purged")
        if not await self._files.delete(mxc):
            raise not_found("There is no such file")
        return json_response({"deleted_media": [mxc.media_id], "total": 1})

    @endpoint("POST", f"{V1}/media/quarantine/{{server_name}}/{{media_id}}", auth=Auth.ADMIN)
    async def quarantine(self, call: Call) -> Response:
        await self._files.quarantine([_named(call)], by=call.user_id)
        return json_response({})

    @endpoint("POST", f"{V1}/media/unquarantine/{{server_name}}/{{media_id}}", auth=Auth.ADMIN)
    async def release(self, call: Call) -> Response:
        await self._files.release(_named(call))
        return json_response({})

    @endpoint("POST", f"{V1}/media/protect/{{media_id}}", auth=Auth.ADMIN)
    async def protect(self, call: Call) -> Response:
        return await self._protect(call, on=True)

    @endpoint("POST", f"{V1}/media/unprotect/{{media_id}}", auth=Auth.ADMIN)
    async def unprotect(self, call: Call) -> Response:
        return await self._protect(call, on=False)

    async def _protect(self, call: Call, *, on: bool) -> Response:
        if not await self._files.protect(make_mxc(self._server, call.path["media_id"]), on=on):
            raise not_found("There is no such file")
        return json_response({})

    # -- those of a room, of a user

    @endpoint("GET", f"{V1}/room/{{room_id}}/media", auth=Auth.ADMIN)
    async def of_room(self, call: Call) -> Response:
        found = await self._desk.inspection.files_of(room_of(call))
        local: list[Json] = [str(mxc) for mxc in found if mxc.server == self._server]
        remote: list[Json] = [str(mxc) for mxc in found if mxc.server != self._server]
        return json_response({"local": local, "remote": remote})

    @endpoint(
        "POST", f"{V1}/room/{{room_id}}/media/quarantine", f"{V1}/quarantine_media/{{room_id}}", auth=Auth.ADMIN
    )
    async def quarantine_room(self, call: Call) -> Response:
        found = await self._desk.inspection.files_of(room_of(call))
        return json_response({"num_quarantined": await self._files.quarantine(found, by=call.user_id)})

    @endpoint("POST", f"{V1}/user/{{user_id}}/media/quarantine", auth=Auth.ADMIN)
    async def quarantine_user(self, call: Call) -> Response:
        count = await self._files.quarantine_of_user(user_of(call, self._server), by=call.user_id)
        return json_response({"num_quarantined": count})

    @endpoint("GET", f"{V1}/users/{{user_id}}/media", auth=Auth.ADMIN)
    async def of_user(self, call: Call) -> Response:
        query = self._query(call)
        files, total = await self._files.of_user(query)
        body: dict[str, Json] = {"media": [_line(file) for file in files], "total": total}
        more = next_page(query.page, len(files), total)
        if more is not None:
            body["next_token"] = more
        return json_response(body)

    @endpoint("DELETE", f"{V1}/users/{{user_id}}/media", auth=Auth.ADMIN)
    async def delete_of_user(self, call: Call) -> Response:
        """A page of them, as it would be listed."""
        files, _ = await self._files.of_user(self._query(call))
        deleted = [file.mxc for file in files if await self._files.delete(file.mxc)]
        return json_response(_deleted(deleted))

    def _query(self, call: Call) -> MediaQuery:
        """Without an order, the newest first."""
        ordered = call.query("order_by") is not None
        return MediaQuery(
            page_of(call),
            user_of(call, self._server),
            order_of(call, MEDIA_ORDERS, "created_ts"),
            backward_of(call, "f" if ordered else "b"),
        )

    # -- as a whole

    @endpoint("POST", f"{V1}/media/delete", f"{V1}/media/{{server_name}}/delete", auth=Auth.ADMIN)
    async def delete_old(self, call: Call) -> Response:
        """Files of this server that nobody asked for since `before_ts`, of `size_gt` bytes and more; `keep_profiles`
        (unless it is false): not the pictures of profiles and rooms."""
        server = call.path.get("server_name")
        if server not in (None, self._server):
            raise invalid("Files of other servers are purged, not deleted")
        deleted = await self._files.delete_unused(
            local=True,
            before_ms=self._before(call),
            larger_than=(call.number("size_gt") or -1) + 1,
            pictures=flag_of(call, "keep_profiles") is False,
        )
        return json_response(_deleted(deleted))

    @endpoint("POST", f"{V1}/purge_media_cache", auth=Auth.ADMIN)
    async def purge_cache(self, call: Call) -> Response:
        """What is kept of other servers' files and nobody asked for since `before_ts`."""
        gone = await self._files.delete_unused(local=False, before_ms=self._before(call), pictures=True)
        return json_response({"deleted": len(gone)})

    def _before(self, call: Call) -> int:
        before_ms = call.number("before_ts")
        if before_ms is None:
            raise missing("before_ts")
        if before_ms > self._now_ms():
            raise invalid("before_ts is in ms since 1970, and not in the future")
        return before_ms

    @endpoint("GET", f"{V1}/statistics/users/media", auth=Auth.ADMIN)
    async def statistics(self, call: Call) -> Response:
        page, from_ms, until_ms = page_of(call), call.number("from_ts") or 0, call.number("until_ts")
        if until_ms is not None and until_ms <= from_ms:
            raise invalid("until_ts is after from_ts")
        if call.query("search_term") == "":
            raise invalid("search_term is not empty")
        query = MediaUseQuery(
            page,
            from_ms=from_ms,
            until_ms=until_ms,
            name=call.query("search_term"),
            order=order_of(call, MEDIA_USE_ORDERS, "user_id"),
            backward=backward_of(call),
        )
        found, total = await self._files.use(query)
        users: list[Json] = [
            {
                "user_id": one.user_id,
                "displayname": one.displayname,
                "media_count": one.count,
                "media_length": one.size,
            }
            for one in found
        ]
        body: dict[str, Json] = {"users": users, "total": total}
        more = next_page(page, len(found), total)
        if more is not None:
            body["next_token"] = more
        return json_response(body)


def _named(call: Call) -> Mxc:
    return make_mxc(call.path["server_name"], call.path["media_id"])


def _line(file: StoredFile) -> JsonObject:
    by = file.quarantined_by or ("" if file.quarantined else None)
    return {
        "media_id": file.mxc.media_id,
        "media_type": file.type,
        "media_length": file.size,
        "upload_name": file.filename,
        "created_ts": file.created_ts_ms,
        "last_access_ts": file.used_ts_ms,
        # By the command line it was nobody by name.
        "quarantined_by": "tripoint" if by == "" else by,
        "safe_from_quarantine": file.protected,
    }


def _deleted(names: Sequence[Mxc]) -> JsonObject:
    return {"deleted_media": [mxc.media_id for mxc in names], "total": len(names)}
