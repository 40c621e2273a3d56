"""One room's part of a sync, as bytes; equal parts are made once and shared.

spec: Matrix client-server GET /sync, "Joined Room", "Invited Room", "Left room"; "Lazy-loading room members"
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import orjson

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.render import Renderer
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.tokens import page_token
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import RoomReader, RoomView

# spec: "Room summaries": up to five heroes.
HEROES = 5
# What an invitee or knocker is shown of a room (spec: "Stripped state").
STRIPPED = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)
_SHARED_CHUNKS = 512


class Timeline:
    """The events of a chunk, oldest first. `limited`: earlier ones were left out; `start` is the position
    before the first."""

    __slots__ = ("items", "limited", "start")

    def __init__(self, items: Sequence[HistoryItem], limited: bool, start: int) -> None:
        self.items = items
        self.limited = limited
        self.start = start


class RoomChunks:
    """Makes chunks. `transaction_id(event_id, session)` names the sender's own mark on an event."""

    def __init__(self, reader: RoomReader, renderer: Renderer) -> None:
        self._reader = reader
        self._renderer = renderer
        self._shared: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    async def timeline(
        self, room: RoomView, user_id: UserId, wanted: SyncFilter, *, since: int, upto: int, all_visible: bool
    ) -> Timeline:
        """The newest events after `since`, as many as the filter asks for. `all_visible`: the reader was
        joined all the time since then, so memory may answer."""
        limit = wanted.timeline_limit
        if all_visible and since >= room.recent_from:
            found = [item for item in room.recent if since < item.position <= upto]
            if not wanted.timeline.passes_all:
                found = [item for item in found if wanted.timeline.wants(item.event)]
            if len(found) > limit:
                return Timeline(found[-limit:], True, found[-limit].position - 1)
            return Timeline(found, False, since)
        event_filter = wanted.timeline
        page = await self._reader.history(
            HistoryQuery(
                room_id=room.room_id,
                viewer=user_id,
                direction=Direction.BACKWARD,
                anchor=ByPosition(upto),
                until=ByPosition(since),
                limit=limit,
                types=event_filter.types,
                not_types=event_filter.not_types,
                senders=_users(event_filter.senders),
                not_senders=_users(event_filter.not_senders) or (),
                contains_url=event_filter.contains_url,
                with_replaced=True,
            )
        )
        items = page.items[::-1]
        start = items[0].position - 1 if items and page.end is not None else since
        return Timeline(items, page.end is not None, start)

    def state_before(self, room: RoomView, timeline: Timeline) -> list[Event]:
        """The whole state at the start of the timeline: the present one with the timeline's changes undone."""
        undone: dict[tuple[str, str], Event | None] = {}
        for item in timeline.items:
            event = item.event
            if event.state_key is not None:
                undone.setdefault((event.type, event.state_key), item.replaced)
        state = []
        for key, event in room.state.items():
            if key in undone:
                before = undone[key]
                if before is not None:
                    state.append(before)
            else:
                state.append(event)
        return state

    def state_between(self, room: RoomView, timeline: Timeline, since: int) -> list[Event]:
        """State that changed after `since` and before the timeline's first event."""
        if not timeline.limited:
            return []
        changed = []
        in_timeline = {item.event.key: item for item in reversed(timeline.items) if item.event.is_state}
        for key, position in room.state_positions.items():
            first = in_timeline.get(key)
            if first is not None:
                if first.replaced is not None:
                    changed.append(first.replaced)
            elif since < position <= timeline.start:
                changed.append(room.state[key])
        return changed

    def lazy(self, state: Iterable[Event], room: RoomView, needed: Iterable[UserId]) -> list[Event]:
        """State without members, but with those of `needed` (who spoke, who reads)."""
        kept = [event for event in state if event.type != "m.room.member"]
        for user_id in dict.fromkeys(needed):
            event = room.state.get(("m.room.member", user_id))
            if event is not None:
                kept.append(event)
        return kept

    def joined(
        self,
        room: RoomView,
        timeline: Timeline,
        state: Sequence[Event],
        wanted: SyncFilter,
        *,
        ephemeral: Sequence[bytes],
        account_data: Sequence[bytes],
        transactions: dict[str, str],
        summary_for: UserId | None,
        share_as: tuple[object, ...] | None,
    ) -> bytes:
        """The chunk of a joined room. With `share_as`, a key that holds for all readers of this same chunk,
        it is kept for the others who were woken by the same event."""
        key = None
        if share_as is not None and not account_data and not transactions and summary_for is None:
            key = (room.room_id, *share_as, tuple(event.event_id for event in state), tuple(ephemeral))
            found = self._shared.get(key)
            if found is not None:
                return found
        render = self._renderer
        events = b",".join(
            render.timeline(item, transactions.get(item.event.event_id)) for item in timeline.items
        )
        if not wanted.state.passes_all:
            state = [event for event in state if wanted.state.wants(event)]
        parts = [
            b'{"timeline":{"events":[',
            events,
            b'],"limited":true,"prev_batch":"' if timeline.limited else b'],"limited":false,"prev_batch":"',
            page_token(timeline.start).encode(),
            b'"},"state":{"events":[',
            b",".join(render.state(event) for event in state),
            b']},"ephemeral":{"events":[',
            b",".join(ephemeral),
            b']},"account_data":{"events":[',
            b",".join(account_data),
            b"]}",
        ]
        if summary_for is not None:
            parts.append(b',"summary":' + self.summary(room, summary_for))
        parts.append(b"}")
        chunk = b"".join(parts)
        if key is not None:
            self._shared[key] = chunk
            if len(self._shared) > _SHARED_CHUNKS:
                self._shared.popitem(last=False)
        return chunk

    def summary(self, room: RoomView, user_id: UserId) -> bytes:
        """spec: "RoomSummary": heroes only where the room has no name of its own."""
        joined = room.joined()
        invited = sum(1 for member in room.members().values() if member.membership == "invite")
        summary: dict[str, object] = {
            "m.joined_member_count": len(joined),
            "m.invited_member_count": invited,
        }
        if not room.name and not room.canonical_alias:
            members = room.members()
            present = [m for m in members.values() if m.membership in ("join", "invite")]
            others = [m.user_id for m in present if m.user_id != user_id][:HEROES]
            if not others:
                gone = [m for m in members.values() if m.membership in ("leave", "ban")]
                others = [m.user_id for m in gone if m.user_id != user_id][:HEROES]
            summary["m.heroes"] = others
        return orjson.dumps(summary)

    def invited(self, room: RoomView, user_id: UserId) -> bytes:
        """The chunk of a room one is invited to."""
        return b'{"invite_state":{"events":[' + self._stripped(room, user_id) + b"]}}"

    def knocked(self, room: RoomView, user_id: UserId) -> bytes:
        return b'{"knock_state":{"events":[' + self._stripped(room, user_id) + b"]}}"

    def _stripped(self, room: RoomView, user_id: UserId) -> bytes:
        member = room.state.get(("m.room.member", user_id))
        keys = list(STRIPPED)
        events = [room.state[key] for key in keys if key in room.state]
        if member is not None:
            inviter = room.state.get(("m.room.member", member.sender))
            if inviter is not None and inviter is not member:
                events.append(inviter)
            events.append(member)
        return b",".join(self._renderer.stripped(event) for event in events)

    def left(self, timeline: Timeline, state: Sequence[Event]) -> bytes:
        """The chunk of a room that one has left."""
        render = self._renderer
        return b"".join(
            (
                b'{"timeline":{"events":[',
                b",".join(render.timeline(item) for item in timeline.items),
                b'],"limited":true,"prev_batch":"' if timeline.limited else b'],"limited":false,"prev_batch":"',
                page_token(timeline.start).encode(),
                b'"},"state":{"events":[',
                b",".join(render.state(event) for event in state),
                b']},"account_data":{"events":[]}}',
            )
        )

    def forget(self, room_id: RoomId) -> None:
        """A message of the room was redacted: chunks that showed it are not given again."""
        for key in [key for key in self._shared if key[0] == room_id]:
            del self._shared[key]


def _users(names: Sequence[str] | None) -> tuple[UserId, ...] | None:
    return None if names is None else tuple(UserId(name) for name in names)
