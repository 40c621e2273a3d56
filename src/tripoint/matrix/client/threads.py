"""Threads of all rooms in which something is new, page by page. spec: MSC4360 "Companion endpoint" """


from tripoint.matrix.errors import bytes_response, invalid
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.sliding.threads import DEFAULT_LIMIT, MAX_LIMIT, ThreadPlace, Threads, parse_place
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import parse_token
from tripoint.net.http import Response
from tripoint.rooms.history import BEGINNING, ThreadUpdatesQuery
from tripoint.rooms.ports import RoomReader


class ThreadUpdateEndpoints:
    def __init__(self, reader: RoomReader, threads: Threads, sync: SyncServer) -> None:
        self._reader = reader
        self._threads = threads
        self._sync = sync

    @endpoint("GET", "/_matrix/client/unstable/io.element.msc4360/thread_updates")
    async def updates(self, call: Call) -> Response:
        if call.query("dir") != "b":
            raise invalid("dir is b")
        limit = call.number("limit")
        if limit is not None and limit < 1:
            raise invalid("limit is above 0")
        to, from_ = call.query("to"), call.query("from")
        after = BEGINNING if to is None else parse_token(to, self._sync.start).position
        now = self._reader.stream_position().of()
        place = ThreadPlace(now, now) if from_ is None else parse_place(from_)
        query = ThreadUpdatesQuery(
            viewer=call.user_id,
            after=after,
            upto=min(place.upto, now),
            end=min(place.end, now),
            limit=min(limit or DEFAULT_LIMIT, MAX_LIMIT),
        )
        page = await self._reader.thread_updates(query)
        parts = [b'{"chunk":', await self._threads.text(call.user_id, call.session, page.updates, roots=True)]
        if page.end is not None:
            parts.append(b',"next_batch":"%s"' % ThreadPlace(page.end, query.end).text().encode())
        return bytes_response(b"".join([*parts, b"}"]))
