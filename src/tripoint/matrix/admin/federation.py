"""Other servers as administrators see them: which there are, whether they answer, which rooms they share, trying again.

docs/operate/administration.md. Sending is federation/sender.py's.
"""

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.matrix.admin.asking import V1, backward_of, next_page, not_found, order_of, page_of
from tripoint.matrix.errors import invalid, json_response
from tripoint.matrix.federation.sender import Destination, Sender
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.desk import Desk

_ORDERS = ("destination", "retry_last_ts", "retry_interval", "failure_ts", "last_successful_stream_ordering")


class DestinationEndpoints:
    def __init__(self, sender: Sender, desk: Desk, server: ServerName) -> None:
        self._sender = sender
        self._desk = desk
        self._server = server

    @endpoint("GET", f"{V1}/federation/destinations", auth=Auth.ADMIN)
    async def listed(self, call: Call) -> Response:
        """`destination`: a part of the name."""
        page, part = page_of(call), (call.query("destination") or "").lower()
        order = order_of(call, _ORDERS, "destination")
        known = {*await self._desk.inspection.servers(), *self._sender.known()} - {self._server}
        lines = [_line(self._sender.destination(name)) for name in sorted(known) if part in name.lower()]
        lines.sort(key=lambda line: _key(line[order]), reverse=backward_of(call))
        shown: list[Json] = [*lines[page.start : page.start + page.limit]]
        body: dict[str, Json] = {"destinations": shown, "total": len(lines)}
        more = next_page(page, len(shown), len(lines))
        if more is not None:
            body["next_token"] = str(more)
        return json_response(body)

    @endpoint("GET", f"{V1}/federation/destinations/{{destination}}", auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        return json_response(_line(self._sender.destination(await self._known(call))))

    @endpoint("GET", f"{V1}/federation/destinations/{{destination}}/rooms", auth=Auth.ADMIN)
    async def rooms(self, call: Call) -> Response:
        """The rooms that somebody of that server is in."""
        server, page = await self._known(call), page_of(call)
        found = sorted(await self._desk.inspection.rooms_of_server(server), reverse=backward_of(call))
        position = self._sender.destination(server).position
        rooms: list[Json] = [
            {"room_id": room_id, "stream_ordering": position}
            for room_id in found[page.start : page.start + page.limit]
        ]
        body: dict[str, Json] = {"rooms": rooms, "total": len(found)}
        more = next_page(page, len(rooms), len(found))
        if more is not None:
            body["next_token"] = str(more)
        return json_response(body)

    @endpoint("POST", f"{V1}/federation/destinations/{{destination}}/reset_connection", auth=Auth.ADMIN)
    async def try_again(self, call: Call) -> Response:
        """A server that did not answer is tried at once."""
        if not self._sender.try_again(await self._known(call)):
            raise invalid("That server answers; there is nothing to try again")
        return json_response({})

    async def _known(self, call: Call) -> ServerName:
        server = parse_server_name(call.path["destination"])
        if server in self._sender.known() or server in await self._desk.inspection.servers():
            return server
        raise not_found("Nothing is known of that server")


def _line(found: Destination) -> JsonObject:
    failing = found.failing
    return {
        "destination": found.server,
        "failure_ts": None if failing is None else failing.since_ms,
        "retry_last_ts": 0 if failing is None else max(0, failing.retry_at_ms - failing.interval_ms),
        "retry_interval": 0 if failing is None else failing.interval_ms,
        "last_successful_stream_ordering": found.position,
    }


def _key(value: Json) -> tuple[bool, float, str]:
    return value is not None, value if isinstance(value, int) else 0, value if isinstance(value, str) else ""
