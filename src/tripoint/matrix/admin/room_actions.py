"""What is done to rooms: deleted, purged, entered for somebody, given an administrator.

docs/operate/administration.md. The work is rooms/deleting.py's and rooms/purging.py's (rooms/jobs.py).
"""

from tripoint.accounts.ports import AccountService
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, parse_user_id, server_of
from tripoint.core.power import Rank
from tripoint.matrix.admin.asking import V1, V2, not_found, room_named, room_of
from tripoint.matrix.body import bool_in, needed_text, number_in, text_in
from tripoint.matrix.errors import MatrixError, invalid, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms import deleting, purging
from tripoint.rooms.commands import Forced, Invite, Join, SetRanks
from tripoint.rooms.desk import Desk
from tripoint.rooms.jobs import Job, Progress
from tripoint.rooms.ports import RoomReader, RoomService
from tripoint.rooms.refusals import Refusal, Refused


class RoomActionEndpoints:
    def __init__(
        self, accounts: AccountService, rooms: RoomService, reader: RoomReader, desk: Desk, server: ServerName
    ) -> None:
        self._accounts = accounts
        self._rooms = rooms
        self._reader = reader
        self._desk = desk
        self._server = server

    # -- deleting

    @endpoint("DELETE", f"{V1}/rooms/{{room_id}}", auth=Auth.ADMIN)
    async def delete(self, call: Call) -> Response:
        """Answers when it is done: of a large room later than clients wait."""
        return json_response(await self._desk.deleting.work(await self._wish(call), Progress()))

    @endpoint("DELETE", f"{V2}/rooms/{{room_id}}", auth=Auth.ADMIN)
    async def delete_later(self, call: Call) -> Response:
        return json_response({"delete_id": await self._desk.jobs.add(deleting.KIND, await self._wish(call))})

    async def _wish(self, call: Call) -> JsonObject:
        room_id, body = room_of(call), call.json_or_empty()
        maker = text_in(body, "new_room_user_id")
        if maker is not None:
            user_id = parse_user_id(maker)
            if server_of(user_id) != self._server or not await self._accounts.is_local_user(user_id):
                raise invalid("new_room_user_id is a user of this server")
        return deleting.wish(
            room_id,
            call.user_id,
            block=bool_in(body, "block") is True,
            purge=bool_in(body, "purge") is not False,
            force_purge=bool_in(body, "force_purge") is True,
            new_room_user_id=None if maker is None else UserId(maker),
            room_name=text_in(body, "room_name"),
            message=text_in(body, "message"),
        )

    @endpoint("GET", f"{V2}/rooms/{{room_id}}/delete_status", auth=Auth.ADMIN)
    async def deletions_of_room(self, call: Call) -> Response:
        room_id = room_of(call)
        found = [job for job in self._desk.jobs.listed(deleting.KIND) if job.wish["room_id"] == room_id]
        if not found:
            raise not_found("That room was not deleted")
        return json_response({"results": [_deletion(job) for job in found]})

    @endpoint("GET", f"{V2}/rooms/delete_status/{{delete_id}}", auth=Auth.ADMIN)
    async def deletion(self, call: Call) -> Response:
        job = self._desk.jobs.get(call.path["delete_id"], deleting.KIND)
        if job is None:
            raise not_found("There is nothing of that id")
        return json_response(_deletion(job))

    # -- purging

    @endpoint("POST", f"{V1}/purge_history/{{room_id}}", auth=Auth.ADMIN)
    async def purge(self, call: Call) -> Response:
        event_id = text_in(call.json_or_empty(), "purge_up_to_event_id")
        return await self._purge(call, None if event_id is None else EventId(event_id))

    @endpoint("POST", f"{V1}/purge_history/{{room_id}}/{{event_id}}", auth=Auth.ADMIN)
    async def purge_before(self, call: Call) -> Response:
        return await self._purge(call, EventId(call.path["event_id"]))

    async def _purge(self, call: Call, event_id: EventId | None) -> Response:
        """Up to an event, that one left, or up to a time."""
        room_id, body = room_of(call), call.json_or_empty()
        ts_ms = number_in(body, "purge_up_to_ts")
        if event_id is not None:
            upto = await self._desk.purging.position_of(room_id, event_id) - 1
        elif ts_ms is not None:
            upto = await self._desk.purging.position_at(room_id, ts_ms)
        else:
            raise missing("purge_up_to_event_id or purge_up_to_ts")
        wish = purging.wish(room_id, upto, own=bool_in(body, "delete_local_events") is True)
        return json_response({"purge_id": await self._desk.jobs.add(purging.KIND, wish)})

    @endpoint("GET", f"{V1}/purge_history_status/{{purge_id}}", auth=Auth.ADMIN)
    async def purge_status(self, call: Call) -> Response:
        job = self._desk.jobs.get(call.path["purge_id"], purging.KIND)
        if job is None:
            raise not_found("There is nothing of that id")
        return json_response({"status": job.status, **({} if job.error is None else {"error": job.error})})

    # -- people

    @endpoint("POST", f"{V1}/join/{{room}}", auth=Auth.ADMIN)
    async def join(self, call: Call) -> Response:
        """Take somebody of this server into a room: invited, if need be, by the administrator or whoever may."""
        user_id = parse_user_id(needed_text(call.json(), "user_id"))
        if server_of(user_id) != self._server:
            raise invalid("That user does not belong to this server")
        if not await self._accounts.is_local_user(user_id):
            raise not_found("There is no such user")
        room_id = await room_named(self._reader, call.path["room"])
        via = tuple(await self._reader.ways_to(room_id))
        join = Join(actor=user_id, room_id=room_id, via=via)
        try:
            await self._rooms.do(Forced(actor=call.user_id, wish=join))
        except Refused as refused:
            if refused.refusal is not Refusal.NO_AUTHORITY or await self._reader.is_here(room_id):
                raise
            await self._rooms.do(join)
        return json_response({"room_id": room_id})

    @endpoint("POST", f"{V1}/rooms/{{room}}/make_room_admin", auth=Auth.ADMIN)
    async def make_room_admin(self, call: Call) -> Response:
        """Give somebody, the administrator if nobody is named, the highest rank that anybody of this server can give;
        who is not inside is invited."""
        user_id = parse_user_id(text_in(call.json_or_empty(), "user_id") or call.user_id)
        room_id = await room_named(self._reader, call.path["room"])
        room = await self._reader.room(room_id)
        await self._grant(call.user_id, room_id, user_id)
        if room.membership(user_id) not in ("join", "invite") and room.join_rule != "public":
            invitation = Invite(actor=call.user_id, room_id=room_id, target=user_id)
            await self._rooms.do(Forced(actor=call.user_id, wish=invitation))
        return json_response({})

    async def _grant(self, by: UserId, room_id: RoomId, user_id: UserId) -> None:
        lacking: Refused | None = None
        for rank in (Rank.OWNER, Rank.ADMIN):
            wish = SetRanks(actor=by, room_id=room_id, ranks=((user_id, rank),), absent=True)
            try:
                await self._rooms.do(Forced(actor=by, wish=wish))
                return
            except Refused as refused:
                if refused.refusal not in (Refusal.NO_AUTHORITY, Refusal.RANK_IMPOSSIBLE, Refusal.SAME_POWER):
                    raise
                lacking = refused
        raise MatrixError(400, "M_UNKNOWN", "Nobody of this server has the power to do that there") from lacking


def _deletion(job: Job) -> JsonObject:
    body: dict[str, Json] = {
        "delete_id": job.job_id,
        "room_id": job.wish["room_id"],
        "status": job.status,
        "shutdown_room": {**job.result},
    }
    if job.error is not None:
        body["error"] = job.error
    return body
