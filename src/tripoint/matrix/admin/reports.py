"""What people reported: lists, one report with what it is about, dealt with. Reports come from every protocol.

docs/mapping.md 9.13; docs/operate/administration.md
"""

from typing import Final

import orjson

from tripoint.accounts.ports import AccountService
from tripoint.accounts.reports import Report
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import RoomAlias, RoomId
from tripoint.matrix.admin.asking import V1, backward_of, next_page, not_found, page_of
from tripoint.matrix.errors import bytes_response, invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.matrix.render import Renderer
from tripoint.net.http import Response
from tripoint.rooms.desk import Desk
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refused

# As many as wait at most are looked through: somebody has to deal with them.
MAX_LOOKED_AT: Final = 100_000


class ReportAdminEndpoints:
    def __init__(self, accounts: AccountService, reader: RoomReader, renderer: Renderer, desk: Desk) -> None:
        self._accounts = accounts
        self._reader = reader
        self._renderer = renderer
        self._desk = desk

    @endpoint("GET", f"{V1}/event_reports", auth=Auth.ADMIN)
    async def of_events(self, call: Call) -> Response:
        """Those of messages, the newest first; `user_id` (who reported), `room_id`, `event_sender_user_id`: parts."""
        page, backward = page_of(call), backward_of(call, "b")
        reporter, room, sender = (call.query(name) or "" for name in ("user_id", "room_id", "event_sender_user_id"))
        found = [
            report
            for report in await self._accounts.reports.waiting(MAX_LOOKED_AT)
            if report.event_id is not None
            and reporter in report.reporter
            and room in (report.room_id or "")
            and sender in (report.user_id or "")
        ]
        if backward:
            found.reverse()
        shown = found[page.start : page.start + page.limit]
        body: dict[str, Json] = {
            "event_reports": [await self._line(report) for report in shown],
            "total": len(found),
        }
        more = next_page(page, len(shown), len(found))
        if more is not None:
            body["next_token"] = more
        return json_response(body)

    @endpoint("GET", f"{V1}/event_reports/{{report_id}}", auth=Auth.ADMIN)
    async def of_event(self, call: Call) -> Response:
        report = await self._one(call)
        if report.event_id is None:
            raise not_found("There is no report of a message of that number")
        line = dict(await self._line(report))
        event = b"null"
        try:
            event = self._renderer.event((await self._desk.inspection.find_event(report.event_id)).event)
        except Refused:
            pass  # it went with its room
        return bytes_response(orjson.dumps(line)[:-1] + b',"event_json":' + event + b"}")

    @endpoint("DELETE", f"{V1}/event_reports/{{report_id}}", auth=Auth.ADMIN)
    async def event_done(self, call: Call) -> Response:
        await self._accounts.reports.done((await self._one(call)).number)
        return json_response({})

    @endpoint("GET", f"{V1}/user_reports", auth=Auth.ADMIN)
    async def of_users(self, call: Call) -> Response:
        """Those of people; `user_id` (who reported), `target_user_id`: parts."""
        page, backward = page_of(call), backward_of(call, "b")
        reporter, target = call.query("user_id") or "", call.query("target_user_id") or ""
        found = [
            report
            for report in await self._accounts.reports.waiting(MAX_LOOKED_AT)
            if _is_of_user(report) and reporter in report.reporter and target in (report.user_id or "")
        ]
        if backward:
            found.reverse()
        shown = found[page.start : page.start + page.limit]
        body: dict[str, Json] = {"user_reports": [_user_line(report) for report in shown], "total": len(found)}
        more = next_page(page, len(shown), len(found))
        if more is not None:
            body["next_token"] = more
        return json_response(body)

    @endpoint("GET", f"{V1}/user_reports/{{report_id}}", auth=Auth.ADMIN)
    async def of_user(self, call: Call) -> Response:
        report = await self._one(call)
        if not _is_of_user(report):
            raise not_found("There is no report of a user of that number")
        return json_response(_user_line(report))

    @endpoint("DELETE", f"{V1}/user_reports/{{report_id}}", auth=Auth.ADMIN)
    async def user_done(self, call: Call) -> Response:
        await self._accounts.reports.done((await self._one(call)).number)
        return json_response({})

    async def _one(self, call: Call) -> Report:
        text = call.path["report_id"]
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise invalid("The number of a report is a whole number")
        for report in await self._accounts.reports.waiting(MAX_LOOKED_AT):
            if report.number == int(text):
                return report
        raise not_found("There is no report of that number")

    async def _line(self, report: Report) -> JsonObject:
        name, alias = await self._room(report.room_id)
        return {
            "id": report.number,
            "received_ts": report.ts_ms,
            "room_id": report.room_id,
            "name": name,
            "canonical_alias": alias,
            "event_id": report.event_id,
            "user_id": report.reporter,
            "sender": report.user_id,
            "reason": report.reason,
            "score": None,
        }

    async def _room(self, room_id: RoomId | None) -> tuple[str | None, RoomAlias | None]:
        if room_id is None:
            return None, None
        try:
            room = await self._reader.room(room_id)
        except Refused:
            return None, None
        return room.name, room.canonical_alias


def _is_of_user(report: Report) -> bool:
    return report.event_id is None and report.room_id is None and report.user_id is not None


def _user_line(report: Report) -> JsonObject:
    return {
        "id": report.number,
        "received_ts": report.ts_ms,
        "user_id": report.reporter,
        "target_user_id": report.user_id,
        "reason": report.reason,
    }
