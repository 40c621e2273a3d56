"""What rooms ask of other servers. Types only; federation implements it.

Everything that comes back has had its format, signatures and hashes checked (an event whose hash does not
fit comes redacted), but nothing else: accept.py judges it.
"""

from collections.abc import Sequence
from typing import Protocol

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName


class RemoteServers(Protocol):
    """Questions to another server about a room that both are in. Each raises core.errors.RemoteFailed."""

    async def missing_events(
        self,
        server: ServerName,
        room_id: RoomId,
        earliest: Sequence[EventId],
        latest: Sequence[EventId],
        limit: int,
    ) -> Sequence[Event]:
        """Events between what we have (`earliest`) and what we were sent (`latest`), at most `limit`.

        spec: server-server-api POST /get_missing_events
        """

    async def state_ids(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[EventId], Sequence[EventId]]:
        """(state, auth chain) before an event. spec: server-server-api GET /state_ids"""

    async def events(
        self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId]
    ) -> Sequence[Event]:
        """Single events; those that the server does not give are left out. spec: GET /event"""
