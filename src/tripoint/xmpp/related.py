"""What the events of a page refer to, looked up before the page is rendered: rendering itself never waits.

spec: docs/mapping.md 11.6, 11.9-11.12. Read next: muc/archive.py, c2s/archive.py.
"""

from collections.abc import Sequence

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.relations import relation_in
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.reactions import REACTION, reacted_to, reactions_of


class Related:
    """Messages that are answered or taken back, what took them back, and the reactions of those who reacted."""

    def __init__(self, reader: RoomReader, room_id: RoomId, viewer: UserId) -> None:
        self._reader = reader
        self._room_id = room_id
        self._viewer = viewer
        self._items: dict[str, HistoryItem | None] = {}
        self._reactions: dict[UserId, dict[str, dict[str, EventId]]] = {}

    async def look_up(self, items: Sequence[HistoryItem]) -> None:
        """Everything that these refer to. Raises Refused for anything but what cannot be seen."""
        self._items.update((item.event.event_id, item) for item in items)
        for item in items:
            event = item.event
            if item.redacted_because is not None:
                await self._load(item.redacted_because.event_id)
            elif event.type == "m.room.redaction":
                await self._load(event.redacts)
            elif event.type == REACTION:
                about = reacted_to(event)
                await self._load(None if about is None else about[0])
                if event.sender not in self._reactions:
                    self._reactions[event.sender] = await self._reactions_of(event.sender)
            else:
                await self._load(relation_in(event.content).answers)

    async def _load(self, event_id: str | None) -> None:
        if event_id is None or event_id in self._items:
            return
        try:
            self._items[event_id] = await self._reader.event(self._room_id, EventId(event_id), self._viewer)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_EVENT:
                raise
            self._items[event_id] = None

    async def _reactions_of(self, user_id: UserId) -> dict[str, dict[str, EventId]]:
        try:
            return await reactions_of(self._reader, self._room_id, user_id)
        except Refused:
            return {}  # nobody of this room any more

    def find(self, event_id: str) -> HistoryItem | None:
        return self._items.get(event_id)

    def reactions(self, user_id: UserId, target: str) -> Sequence[str]:
        """The keys that somebody has on a message now."""
        return tuple(self._reactions.get(user_id, {}).get(target, ()))
