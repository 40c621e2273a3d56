"""What those who read a room now do not see of it, for clients that want to say it another way (this project's own).

spec: docs/mapping.md 22.5. Numbers alone: who reads by what is nobody's business.
"""

from collections.abc import Sequence

from tripoint.core.ids import RoomId
from tripoint.matrix.errors import json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.readers import ReadersOf, lacking
from tripoint.rooms.refusals import Refusal, Refused


class FeatureEndpoints:
    """`views`: where people read rooms whose clients do not show everything."""

    def __init__(self, reader: RoomReader, views: Sequence[ReadersOf]) -> None:
        self._reader = reader
        self._views = views

    @endpoint("GET", "/_matrix/client/unstable/dev.tripoint/room_features/{roomId}")
    async def lacking(self, call: Call) -> Response:
        """`{"readers": people who are there by IRC or XMPP, "lacking": {feature: how many of them lack it}}`."""
        room = await self._reader.room(RoomId(call.path["roomId"]))
        if room.membership(call.user_id) != "join":
            raise Refused(Refusal.NOT_JOINED)
        count, found = lacking(self._views, room.room_id)
        return json_response({"readers": count, "lacking": {feature.value: many for feature, many in found.items()}})
