"""One room's part of a sync, as bytes; equal parts are made once and shared.

spec: Matrix client-server GET /sync, "Joined Room", "Invited Room", "Left room"; "Lazy-loading room members"
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

import orjson

from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.render import Own, Renderer, is_of_a_moment
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.sticky import SECTION
from tripoint.matrix.sync.tokens import page_token
from tripoint.rooms.history import Bundle, ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.ports import Member, RoomReader, RoomView, StateMap
from tripoint.rooms.stripped import stripped_of
from tripoint.rooms.unread import Count, Unread

# spec: "Room summaries": up to five heroes.
HEROES = 5
_SHARED_CHUNKS = 512
_COUNTED_ROOMS = 1024
# A change of these changes the summary.
_SUMMED_UP = ("m.room.member", "m.room.name", "m.room.canonical_alias")


class Timeline:
    """The events of a chunk, oldest first. `limited`: earlier ones were left out; `start` is the position
    before the first. `whole`: without `limited`, every event since then is in it (no filter, nothing hidden).

    `membership`: what the reader was at the events that do not say it. `bundles`: what of their children goes with
    events. spec: "Aggregations of child events": of limited timelines
    """

    __slots__ = ("bundles", "items", "limited", "membership", "start", "whole")

    def __init__(
        self, items: Sequence[HistoryItem], limited: bool, start: int, *, whole: bool, membership: str | None = None
    ) -> None:
        self.membership = membership
        self.items = items
        self.limited = limited
        self.start = start
        self.whole = whole
        self.bundles: Mapping[EventId, Bundle] = {}


class Span:
    """The commonest of chunks: new messages for somebody who was inside all the time, and nothing else. What of it is
    the same for all readers with one filter. `senders`: whoever wrote one of them is answered apart."""

    __slots__ = ("_begin", "_said", "senders")

    def __init__(self, senders: Collection[UserId], begin: bytes) -> None:
        self.senders = senders
        self._begin = begin
        self._said: tuple[bytes, bytes] = (b"", b"")

    def chunk(self, unread: bytes) -> bytes:
        """The chunk of a reader of whom that is unread."""
        if self._said[0] != unread:
            self._said = unread, b"%s%s}" % (self._begin, unread)
        return self._said[1]


class RoomStates:
    """A room's state around a timeline that ends at position `upto`; the room may have moved on since.

    `present` is the state after it, `start` looks a key up before it.
    """

    def __init__(self, present: StateMap, timeline: Timeline) -> None:
        self.present = present
        self._timeline = timeline
        self._undone: dict[tuple[str, str], Event | None] | None = None

    @property
    def undone(self) -> Mapping[tuple[str, str], Event | None]:
        """What the timeline's first change of each key replaced."""
        if self._undone is None:
            self._undone = {}
            for item in self._timeline.items:
                event = item.event
                if event.state_key is not None:
                    self._undone.setdefault((event.type, event.state_key), item.replaced)
        return self._undone

    def start(self, key: tuple[str, str]) -> Event | None:
        """The state event under a key at the start of the timeline."""
        undone = self.undone
        return undone[key] if key in undone else self.present.get(key)

    def all_at_start(self) -> list[Event]:
        """The whole state at the start of the timeline."""
        undone = self.undone
        found = []
        for key, event in self.present.items():
            before = undone.get(key, event)
            if before is not None:
                found.append(before)
        return found


def present_state(room: RoomView, upto: int) -> StateMap:
    """The room's state at position `upto`: as it is now, with the newest events undone where it has moved on."""
    if room.last_position <= upto:
        return room.state
    state = dict(room.state)
    for item in reversed(room.recent):
        if item.position <= upto:
            break
        event = item.event
        if event.state_key is not None:
            if item.replaced is None:
                state.pop((event.type, event.state_key), None)
            else:
                state[event.type, event.state_key] = item.replaced
    return state


def told_in_full(timeline: Timeline, present: StateMap) -> Timeline:
    """The timeline from where on it ends in the state `present`.

    Where the reader may not see a change, or filters it out, and sees an older one of the same key, the client
    would go on believing the older one: the timeline then begins behind that, as a limited one.
    """
    if timeline.whole:
        return timeline
    last = {item.event.key: item for item in timeline.items if item.event.is_state}
    outdated = 0
    for key, item in last.items():
        event = present.get(key)
        if event is None or event.event_id != item.event.event_id:
            outdated = max(outdated, item.position)
    if not outdated:
        return timeline
    items = [item for item in timeline.items if item.position > outdated]
    shorter = Timeline(items, True, outdated, whole=False, membership=timeline.membership)
    shorter.bundles = timeline.bundles
    return shorter


def unread_counts(unread: Unread, threads_apart: bool) -> bytes:
    """The members of a chunk that say how much is unread. spec: "Unread Notification Counts", "Threads" """
    main = unread.main if threads_apart else unread.together()
    parts = [b'"unread_notifications":', _count(main)]
    if threads_apart:
        threads = (b"%s:%s" % (orjson.dumps(root), _count(count)) for root, count in unread.threads.items())
        parts += [b',"unread_thread_notifications":{', b",".join(threads), b"}"]
    return b"".join(parts)


def _count(count: Count) -> bytes:
    return b'{"highlight_count":%d,"notification_count":%d}' % (count.highlights, count.notifications)


class RoomChunks:
    """Makes chunks."""

    def __init__(self, reader: RoomReader, renderer: Renderer) -> None:
        self._reader = reader
        self._renderer = renderer
        self._shared: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._spans: OrderedDict[tuple[RoomId, int, int, str, bool], Span | None] = OrderedDict()
        self._counted: OrderedDict[RoomId, tuple[int, int, list[UserId], list[UserId]]] = OrderedDict()

    async def timeline(
        self, room: RoomView, user_id: UserId, wanted: SyncFilter, *, since: int, upto: int, all_visible: bool
    ) -> Timeline:
        """The newest events after `since`, as many as the filter asks for. `all_visible`: the reader was
        joined all the time since then, so memory may answer."""
        limit = wanted.timeline_limit
        event_filter = wanted.timeline
        if event_filter.passes_none:
            return Timeline((), False, since, whole=False)
        # Nothing of whom one has blocked. State that changed without an event is not in the timeline.
        picky = self._blocks_any(user_id)
        whole = event_filter.passes_all and all_visible and room.reset_position <= since and not picky
        if all_visible and since >= room.recent_from:
            found = []
            for item in reversed(room.recent):
                if item.position <= since:
                    break
                event = item.event
                if picky and event.state_key is None and self._reader.blocks(user_id, event.sender):
                    continue
                if item.position <= upto and (whole or event_filter.wants(event)):
                    found.append(item)
                    if len(found) > limit:
                        break
            return _newest(found, limit, since, whole=whole, membership="join")
        page = await self._reader.history(
            HistoryQuery(
                room_id=room.room_id,
                viewer=user_id,
                direction=Direction.BACKWARD,
                anchor=ByPosition(upto),
                until=ByPosition(since),
                limit=limit + 1,  # one more tells whether the timeline is limited
                types=event_filter.types,
                not_types=event_filter.not_types,
                senders=_users(event_filter.senders),
                not_senders=_users(event_filter.not_senders) or (),
                contains_url=event_filter.contains_url,
                with_replaced=True,
            )
        )
        timeline = _newest(page.items, limit, since, whole=whole)
        if page.end is not None and not timeline.limited:
            # The reader stopped looking: there may be more, and paging on from there finds it.
            return Timeline(timeline.items, True, page.end, whole=whole)
        return timeline

    def span(self, room: RoomView, wanted: SyncFilter, since: int, upto: int) -> Span | None:
        """What happened between two positions, where that is messages alone and all of them; None where it is more,
        or has to be put together for each reader. Receipts, typing and the like are not looked at.
        """
        key = (room.room_id, since, upto, wanted.key, wanted.state_after)
        if key in self._spans:
            return self._spans[key]
        made = self._span(room, wanted, since, upto)
        self._spans[key] = made
        if len(self._spans) > _SHARED_CHUNKS:
            self._spans.popitem(last=False)
        return made

    def _span(self, room: RoomView, wanted: SyncFilter, since: int, upto: int) -> Span | None:
        if since < max(room.recent_from, room.reset_position, room.completed_position):
            return None
        if not wanted.timeline.passes_all or wanted.redundant_members:
            return None
        found = []
        for item in reversed(room.recent):
            if item.position <= since:
                break
            if item.position <= upto:
                if item.event.is_state or is_of_a_moment(item.event):
                    return None
                found.append(item)
        if not 0 < len(found) <= wanted.timeline_limit:
            return None
        timeline = Timeline(found[::-1], False, since, whole=True, membership="join")
        told = self._told(timeline, (), wanted, {})
        return Span(
            {item.event.sender for item in found},
            b"".join((*told, b',"ephemeral":{"events":[]},"account_data":{"events":[]},')),
        )

    async def bundle(self, room: RoomView, user_id: UserId, timeline: Timeline) -> None:
        """Find out what goes with the events of a timeline that leaves out earlier ones."""
        if timeline.limited and timeline.items:
            timeline.bundles = await self._reader.bundles(room.room_id, user_id, timeline.items)

    def _blocks_any(self, user_id: UserId) -> bool:
        blocked = self._reader.block_list(user_id)
        return bool(blocked.users or blocked.masks)

    def changed(self, room: RoomView, states: RoomStates, timeline: Timeline, since: int, upto: int) -> list[Event]:
        """State that changed after `since` and that the timeline alone does not tell: before its start, or left
        out of it by a filter."""
        if timeline.whole and not timeline.limited:
            return []
        undone = states.undone
        told = []
        for key in self.moved(room, since, upto):
            event = undone[key] if key in undone else states.present.get(key)
            if event is not None:
                told.append(event)
        return told

    def changed_after(self, room: RoomView, states: RoomStates, since: int, upto: int) -> list[Event]:
        """State that changed after `since`, as it is at the end of the timeline (use_state_after)."""
        present = states.present
        return [present[key] for key in self.moved(room, since, upto) if key in present]

    def changed_members(self, room: RoomView, since: int, upto: int) -> set[str]:
        """User ids whose membership or profile changed after `since`."""
        return {state_key for type_, state_key in self.moved(room, since, upto) if type_ == "m.room.member"}

    def moved(self, room: RoomView, since: int, upto: int) -> list[tuple[str, str]]:
        """Keys of the state that changed after `since`; if again after `upto`, then perhaps only then."""
        if since >= room.recent_from and since >= room.reset_position:
            keys = (i.event.key for i in room.recent if since < i.position <= upto and i.event.is_state)
            return list(dict.fromkeys(keys))
        return [key for key, position in room.state_positions.items() if position > since]

    def sums_changed(self, room: RoomView, since: int) -> bool:
        """Whether anything that the summary counts or names changed after `since`."""
        if room.completed_position > since:
            return True
        if since >= room.recent_from and since >= room.reset_position:
            for item in reversed(room.recent):
                if item.position <= since:
                    return False
                if item.event.type in _SUMMED_UP and item.event.is_state:
                    return True
            return False
        return any(position > since and key[0] in _SUMMED_UP for key, position in room.state_positions.items())

    def joined(
        self,
        room: RoomView,
        timeline: Timeline,
        state: Sequence[Event],
        wanted: SyncFilter,
        *,
        ephemeral: Sequence[bytes],
        account_data: Sequence[bytes],
        unread: bytes,
        transactions: dict[str, Own],
        summary: bytes | None,
        sticky: Sequence[bytes],
        share_as: tuple[object, ...] | None,
    ) -> bytes:
        """The chunk of a joined room. With `share_as`, a key that holds for all readers of this same chunk,
        it is kept for the others who were woken by the same event."""
        key = None
        own = account_data or transactions or summary is not None or timeline.bundles or sticky
        if share_as is not None and not own and not any(is_of_a_moment(item.event) for item in timeline.items):
            ids = tuple(event.event_id for event in state)
            key = (room.room_id, *share_as, wanted.state_after, ids, tuple(ephemeral), unread)
            found = self._shared.get(key)
            if found is not None:
                return found
        parts = [
            *self._told(timeline, state, wanted, transactions),
            b',"ephemeral":{"events":[',
            b",".join(ephemeral),
            b']},"account_data":{"events":[',
            b",".join(account_data),
            b"]},",
            unread,
        ]
        if summary is not None:
            parts.append(b',"summary":' + summary)
        if sticky:
            parts.append(b',"%s":{"events":[%s]}' % (SECTION.encode(), b",".join(sticky)))
        parts.append(b"}")
        chunk = b"".join(parts)
        if key is not None:
            self._shared[key] = chunk
            if len(self._shared) > _SHARED_CHUNKS:
                self._shared.popitem(last=False)
        return chunk

    def left(
        self,
        timeline: Timeline,
        state: Sequence[Event],
        wanted: SyncFilter,
        *,
        account_data: Sequence[bytes],
        transactions: dict[str, Own],
    ) -> bytes:
        """The chunk of a room that one has left."""
        parts = self._told(timeline, state, wanted, transactions)
        return b"".join((*parts, b',"account_data":{"events":[', b",".join(account_data), b"]}}"))

    def _told(
        self, timeline: Timeline, state: Sequence[Event], wanted: SyncFilter, transactions: Mapping[str, Own]
    ) -> list[bytes]:
        """Timeline and state, from the chunk's opening brace on."""
        render = self._renderer
        if not wanted.state.passes_all:
            state = [event for event in state if wanted.state.wants(event)]
        bundles = timeline.bundles
        items = [
            render.timeline(
                item, transactions.get(item.event.event_id), bundles.get(item.event.event_id), timeline.membership
            )
            for item in timeline.items
        ]
        states = [render.state(event) for event in state]
        if wanted.form is not None:
            items = [wanted.form.of(item.event, shown) for item, shown in zip(timeline.items, items, strict=True)]
            states = [wanted.form.of(event, shown) for event, shown in zip(state, states, strict=True)]
        return [
            b'{"timeline":{"events":[',
            b",".join(items),
            b'],"limited":true,"prev_batch":"' if timeline.limited else b'],"limited":false,"prev_batch":"',
            page_token(timeline.start).encode(),
            b'"},"state_after":{"events":[' if wanted.state_after else b'"},"state":{"events":[',
            b",".join(states),
            b"]}",
        ]

    def summary(self, room: RoomView, user_id: UserId) -> tuple[bytes, Sequence[UserId]]:
        """(RoomSummary, its heroes). spec: heroes only where the room has no name of its own."""
        joined, invited = self.counts(room)
        summary: dict[str, object] = {"m.joined_member_count": joined, "m.invited_member_count": invited}
        heroes: Sequence[UserId] = ()
        if not room.name and not room.canonical_alias:
            heroes = summary["m.heroes"] = self.heroes(room, user_id)
        return orjson.dumps(summary), heroes

    def counts(self, room: RoomView) -> tuple[int, int]:
        """(joined, invited)"""
        return self._count(room)[:2]

    def heroes(self, room: RoomView, user_id: UserId) -> list[UserId]:
        """Who stands for the name of a room that has none, as a user sees it."""
        _, _, present, gone = self._count(room)
        heroes = [hero for hero in present if hero != user_id][:HEROES]
        return heroes or [hero for hero in gone if hero != user_id][:HEROES]

    def _count(self, room: RoomView) -> tuple[int, int, list[UserId], list[UserId]]:
        """(joined, invited, first members inside, first members gone), counted once for all readers."""
        at = max(room.last_position, room.reset_position, room.completed_position)
        known = self._counted.get(room.room_id)
        if known is not None and known[0] == at:
            return len(room.joined()), known[1], known[2], known[3]
        invited = 0
        inside: list[Member] = []
        gone: list[Member] = []
        for member in room.members().values():
            if member.membership in ("join", "invite"):
                invited += member.membership == "invite"
                inside.append(member)
            elif member.membership in ("leave", "ban"):
                gone.append(member)
        firsts = ([m.user_id for m in inside[: HEROES + 1]], [m.user_id for m in gone[: HEROES + 1]])
        self._counted[room.room_id] = (at, invited, *firsts)
        if len(self._counted) > _COUNTED_ROOMS:
            self._counted.popitem(last=False)
        return len(room.joined()), invited, *firsts

    def invited(self, room: RoomView, user_id: UserId) -> bytes:
        """The chunk of a room one is invited to."""
        return b'{"invite_state":{"events":[' + self.stripped(room, user_id) + b"]}}"

    def knocked(self, room: RoomView, user_id: UserId) -> bytes:
        return b'{"knock_state":{"events":[' + self.stripped(room, user_id) + b"]}}"

    def stripped(self, room: RoomView, user_id: UserId) -> bytes:
        """Stripped state events for somebody who is outside, with commas between."""
        member = room.state.get(("m.room.member", user_id))
        people = () if member is None else dict.fromkeys((member.sender, user_id))
        events = stripped_of(room.state, *people)
        return b",".join(self._renderer.stripped(event) for event in events)

    def forget(self, room_id: RoomId) -> None:
        """A message of the room was redacted: chunks that showed it are not given again."""
        for key in [key for key in self._shared if key[0] == room_id]:
            del self._shared[key]
        for span in [span for span in self._spans if span[0] == room_id]:
            del self._spans[span]


def _newest(
    newest_first: Sequence[HistoryItem], limit: int, since: int, *, whole: bool, membership: str | None = None
) -> Timeline:
    """A timeline of the first `limit` of these."""
    items = newest_first[:limit][::-1]
    if len(newest_first) > limit:
        return Timeline(items, True, items[0].position - 1, whole=whole, membership=membership)
    return Timeline(items, False, since, whole=whole, membership=membership)


def _users(names: Sequence[str] | None) -> tuple[UserId, ...] | None:
    return None if names is None else tuple(UserId(name) for name in names)


def lazy_members(
    state: Sequence[Event],
    states: RoomStates,
    timeline: Timeline,
    wanted: SyncFilter,
    needed: Sequence[UserId],
    told: Mapping[UserId, int],
    since: int | None,
    changed: Collection[str],
) -> tuple[list[Event], set[UserId]]:
    """(state, members that the device knows from now on) for a device that loads members lazily.

    `needed` are members beside the senders of the timeline. `told` says at which position the device was told
    of a member; `since` None: it is told everything anew, and of members those in `changed`. Otherwise every
    member in `state` has changed and is told, needed or not.
    spec: GET /sync: when limited, membership events of the gap are sent whether redundant or not
    """
    kept = [
        event
        for event in state
        if event.type != "m.room.member" or since is not None or event.state_key in changed
    ]
    there = {event.state_key for event in kept if event.type == "m.room.member"}
    known = {UserId(key) for key in there if key is not None}
    after = wanted.state_after
    for user_id in dict.fromkeys((*(item.event.sender for item in timeline.items), *needed)):
        if user_id in there:
            continue
        if since is not None and not wanted.redundant_members and told.get(user_id, since + 1) <= since:
            continue
        key = ("m.room.member", user_id)
        event = states.present.get(key) if after else states.start(key)
        if event is not None:
            kept.append(event)
            known.add(user_id)
    return kept, known
