"""What is new in one room for a client that was told something of it, or nothing yet.

A room is told anew and in full (`initial`) where the client could not put together what it knows and what is new: it
was outside in between, or state changed without an event. A StateStub is never needed: state goes in no other way.
spec: MSC4186 "Room results", "Changing room configs"
"""

from collections.abc import Callable, Mapping, Sequence

import orjson
from msgspec.structs import replace

from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import text_at
from tripoint.matrix.render import member_event
from tripoint.matrix.sliding.bumps import Bumps
from tripoint.matrix.sliding.connections import MAX_MEMBERS, Told, unknown_pos
from tripoint.matrix.sliding.places import Place
from tripoint.matrix.sliding.request import Config
from tripoint.matrix.sliding.required_state import MEMBER, StateKey
from tripoint.matrix.sliding.words import Ask, Result, Words, as_object, counts
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.rooms import RoomChunks, Timeline, present_state
from tripoint.matrix.sync.stays import Stay, stay_since
from tripoint.rooms.changes import EventCommitted
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refused
from tripoint.rooms.unread import Count

_NAME: StateKey = ("m.room.name", "")
_AVATAR: StateKey = ("m.room.avatar", "")


class Results:
    """Makes them. `departure` finds how somebody left a room lately, `receipt_at` where in the stream a receipt moved
    last in a room."""

    def __init__(
        self,
        reader: RoomReader,
        chunks: RoomChunks,
        words: Words,
        bumps: Bumps,
        departure: Callable[[RoomId, UserId], EventCommitted | None],
        receipt_at: Callable[[RoomId], int],
    ) -> None:
        self._reader = reader
        self._chunks = chunks
        self._words = words
        self._bumps = bumps
        self._departure = departure
        self._receipt_at = receipt_at

    async def of(
        self, ask: Ask, place: Place, config: Config, told: Told | None, lists: Sequence[str]
    ) -> Result:
        """A room that a request wants so, and that is in these of its lists."""
        is_dm = place.room_id in ask.marks.directs
        if told is not None and _knows_all(told, place, config, is_dm):
            if place.membership != "join" or self._receipt_at(place.room_id) <= told.position:
                return Result(None, told)
            return await self._read(ask, place, told)
        room = self._reader.peek(place.room_id) or await self._reader.room(place.room_id)
        common = self._words.common(ask, place.membership, lists)
        if place.membership == "join":
            return await self._joined(ask, room, place, config, told, is_dm, common)
        if told is not None and (told.moved, told.membership) == (place.moved, place.membership):
            # Outside nothing happens any more; only what is wanted of it can grow.
            if not place.entered or (told.limit >= config.timeline_limit and told.config == config):
                return Result(None, told)
            told = None
        if place.entered and place.membership in ("leave", "ban"):
            return await self._left(ask, room, place, config, told, is_dm, common)
        return self._outside(ask, room, place, config, common)

    def ended(self, ask: Ask, room_id: RoomId, told: Told, lists: Sequence[str]) -> Result:
        """A room that was told of and is not among the user's rooms any more: it ended, or was forgotten elsewhere.
        M_UNKNOWN_POS where it is not known how it came to that."""
        if told.membership in ("leave", "ban"):
            return Result(None, told)
        change = self._departure(room_id, ask.user_id)
        if change is None:
            raise unknown_pos()
        parts = self._words.common(ask, "leave", lists)
        item = HistoryItem(change.position, change.event, None, change.replaced)
        timeline = Timeline((item,), False, told.position, whole=True)
        parts.append(b'"bump_stamp":%d' % change.position)
        self._words.timeline(ask, timeline, parts)
        self._words.state([change.event], parts)
        return Result(as_object(parts), told)

    # -- inside

    async def _read(self, ask: Ask, place: Place, told: Told) -> Result:
        """A room where nothing happened but that somebody has read something, perhaps the user."""
        unread = await self._unread(ask, place.room_id)
        room = self._reader.peek(place.room_id)
        # An event of which the list of rooms has not heard yet may be there already.
        still = room is None or room.last_position <= told.position
        now = replace(told, position=ask.upto if still else told.position, unread=unread)
        return Result(None if unread == told.unread else as_object(counts(unread)), now)

    async def _unread(self, ask: Ask, room_id: RoomId) -> Count | None:
        """The merged form does not have it any more."""
        return None if ask.stable else (await self._reader.unread(room_id, ask.user_id)).together()

    async def _joined(
        self,
        ask: Ask,
        room: RoomView,
        place: Place,
        config: Config,
        told: Told | None,
        is_dm: bool,
        parts: list[bytes],
    ) -> Result:
        user_id, upto, limit = ask.user_id, ask.upto, config.timeline_limit
        initial = told is None or told.membership != "join"
        if told is not None and not initial:
            initial = max(room.reset_position, room.completed_position) > told.position
            if not initial and place.moved > told.position:
                stay, _, _ = await stay_since(self._reader, room, user_id, told.position)
                initial = stay is not Stay.STAYED
        since = 0 if told is None or initial else told.position
        timeline, start, expanded = await self._timeline(ask, room, place, limit, None if initial else told)
        await self._chunks.bundle(room, user_id, timeline)
        bump = await self._bumps.of(room, user_id)
        unread = await self._unread(ask, room.room_id)
        # Nothing is awaited from here on.
        present = present_state(room, upto)
        moved = [] if initial else self._chunks.moved(room, since, upto)
        keys, known = _wanted(config, None if initial else told, present, moved, timeline)
        if initial:
            parts.append(b'"initial":true')
        if expanded:
            parts.append(b'"expanded_timeline":true' if ask.stable else b'"unstable_expanded_timeline":true')
        summed = initial or self._chunks.sums_changed(room, since)
        news = initial or summed or bool(keys or timeline.items or timeline.limited)
        for key, name, field in ((_NAME, "name", "name"), (_AVATAR, "avatar", "url")):
            if initial or key in moved:
                news = True
                event = present.get(key)
                value = None if event is None else text_at(event.content, field) or None
                if value is not None or not initial:
                    parts.append(b'"%s":%s' % (name.encode(), orjson.dumps(value)))
        if is_dm if initial or told is None else is_dm != told.is_dm:
            news = True
            parts.append(b'"is_dm":true' if is_dm else b'"is_dm":false')
        now = Told(
            position=upto,
            membership="join",
            moved=place.moved,
            limit=limit if initial or timeline.limited or told is None else max(limit, told.limit),
            config=config,
            start=start,
            is_dm=is_dm,
            unread=unread,
            members=known,
        )
        if initial or told is None or unread != told.unread:
            news = True
            parts += counts(unread)
        if not news:
            return Result(None, now)
        if summed:
            joined, invited = self._chunks.counts(room)
            parts.append(b'"joined_count":%d,"invited_count":%d' % (joined, invited))
            if not room.name:
                parts.append(b'"heroes":' + self._words.heroes(room, user_id))
        parts.append(b'"bump_stamp":%d' % bump)
        if initial or timeline.items or timeline.limited:
            self._words.timeline(ask, timeline, parts)
        self._words.state([present[key] for key in keys], parts)
        return Result(as_object(parts), now, frozenset(item.event.event_id for item in timeline.items))

    async def _timeline(
        self, ask: Ask, room: RoomView, place: Place, limit: int, told: Told | None
    ) -> tuple[Timeline, int, bool]:
        """(the timeline, after which position the client has all events with it, whether it holds what was told).

        `told` None: whatever was told does not count.
        """
        user_id, upto, wanted = ask.user_id, ask.upto, SyncFilter(timeline_limit=max(1, limit))
        if told is not None and limit <= told.limit:
            timeline = await self._chunks.timeline(
                room, user_id, wanted, since=told.position, upto=upto, all_visible=True
            )
            timeline = _cut(timeline, limit, upto)
            return timeline, timeline.start if timeline.limited else told.start, False
        # Whoever has been inside since before the oldest of them sees all that memory holds.
        from_here = max(room.recent_from, place.moved)
        timeline = await self._chunks.timeline(room, user_id, wanted, since=from_here, upto=upto, all_visible=True)
        if not timeline.limited:
            timeline = await self._chunks.timeline(room, user_id, wanted, since=0, upto=upto, all_visible=False)
        timeline = _cut(timeline, limit, upto)
        if told is None:
            return timeline, timeline.start, False
        if timeline.start >= told.start:
            # All that is older was told, without a gap: only the new is new.
            items = [item for item in timeline.items if item.position > told.position]
            gap = timeline.start > told.position
            start = timeline.start if gap else told.position
            shorter = Timeline(items, gap, start, whole=False, membership=timeline.membership)
            return shorter, timeline.start if gap else told.start, False
        return timeline, timeline.start, True

    # -- outside

    async def _left(
        self,
        ask: Ask,
        room: RoomView,
        place: Place,
        config: Config,
        told: Told | None,
        is_dm: bool,
        parts: list[bytes],
    ) -> Result:
        """What happened until the user left."""
        user_id, moved = ask.user_id, place.moved
        inside = told is not None and told.membership == "join" and told.config == config
        since = told.position if told is not None and inside else 0
        wanted = SyncFilter(timeline_limit=max(1, config.timeline_limit))
        timeline = await self._chunks.timeline(room, user_id, wanted, since=since, upto=moved, all_visible=False)
        timeline = _cut(timeline, config.timeline_limit, moved)
        await self._chunks.bundle(room, user_id, timeline)
        try:
            present = dict(await self._reader.readable_state(room.room_id, user_id, moved))
        except Refused:
            present = {}
        own = member_event(user_id)
        if room.state_positions.get(own) == moved:
            present[own] = room.state[own]
        keys = config.state.select(present)
        if inside:
            before = await self._reader.readable_state(room.room_id, user_id, since)
            keys = [key for key in keys if present[key] is not before.get(key)]
        if config.state.lazy_members:
            keys = list(dict.fromkeys((*keys, *((MEMBER, user) for user in _people(timeline.items)))))
            present |= await self._late_members(room, present, timeline)
        if not inside:
            parts.append(b'"initial":true')
            for key, name, field in ((_NAME, "name", "name"), (_AVATAR, "avatar", "url")):
                event = present.get(key)
                value = None if event is None else text_at(event.content, field)
                if value:
                    parts.append(b'"%s":%s' % (name.encode(), orjson.dumps(value)))
            if is_dm:
                parts.append(b'"is_dm":true')
        parts.append(b'"bump_stamp":%d' % moved)
        self._words.timeline(ask, timeline, parts)
        self._words.state([present[key] for key in keys if key in present], parts)
        now = Told(
            position=ask.upto,
            membership=place.membership,
            moved=moved,
            limit=config.timeline_limit,
            config=config,
            is_dm=is_dm,
        )
        return Result(as_object(parts), now, frozenset(item.event.event_id for item in timeline.items))

    async def _late_members(
        self, room: RoomView, present: Mapping[StateKey, Event], timeline: Timeline
    ) -> dict[StateKey, Event]:
        """Members whom a timeline needs and who came after the user left: in a world-readable room he sees what was
        said until he was banned."""
        late: dict[StateKey, Event] = {}
        for item in timeline.items:
            event = item.event
            if event.is_state and event.type == MEMBER and event.key not in present:
                late[event.key] = event
            sender = member_event(event.sender)
            if sender not in present and sender not in late:
                member = await self._reader.member_at(room.room_id, event.sender, item.position)
                if member is not None:
                    late[sender] = member
        return late

    def _outside(
        self, ask: Ask, room: RoomView, place: Place, config: Config, parts: list[bytes]
    ) -> Result:
        """A room that the user is invited to, or knocks at, or was turned away from."""
        parts.append(b'"initial":true,"bump_stamp":%d' % place.moved)
        own = room.state.get(member_event(ask.user_id))
        if ask.stable:
            parts.append(b'"stripped_state":[' + self._chunks.stripped(room, ask.user_id) + b"]")
        elif place.membership in ("invite", "knock"):
            parts.append(b'"invite_state":[' + self._chunks.stripped(room, ask.user_id) + b"]")
        elif own is not None:
            # The earlier form has no `membership`; a client sees by his own event that he was turned away.
            self._words.state([own], parts)
        now = Told(
            position=ask.upto,
            membership=place.membership,
            moved=place.moved,
            limit=config.timeline_limit,
            config=config,
            is_dm=place.room_id in ask.marks.directs,
        )
        return Result(as_object(parts), now)

def _wanted(
    config: Config,
    told: Told | None,
    present: Mapping[StateKey, Event],
    moved: Sequence[StateKey],
    timeline: Timeline,
) -> tuple[list[StateKey], frozenset[str]]:
    """(keys of the state that is told with a timeline, the members that a lazily loading client knows then).

    `told` is what the client knows, None for nothing; `moved` the keys that changed since. spec: "Changes to
    `required_state`", "Lazy loaded memberships"
    """
    state = config.state
    before = None if told is None or told.config is None else told.config.state
    if before is None:
        keys = state.select(present)
    else:
        keys = [key for key in moved if key in present and state.wants(key)]
        if state is not before and state != before:
            keys += [key for key in state.select(present) if not before.wants(key) and key not in moved]
    if not state.lazy_members:
        return keys, frozenset()
    members = frozenset[str]() if told is None else told.members
    gap = told is None or timeline.start > told.position
    changed = [key[1] for key in moved if key[0] == MEMBER and (not gap or key[1] in members)]
    # spec: "clients must flush any 'membership' cache when `limited` is true"
    kept = frozenset[str]() if timeline.limited else members
    needed = [user for user in _people(timeline.items) if user not in kept]
    there = [key[1] for key in keys if key[0] == MEMBER]
    lazy = [user for user in dict.fromkeys((*changed, *needed)) if (MEMBER, user) in present]
    keys += [(MEMBER, user) for user in lazy if user not in there]
    known = kept.union(lazy, there)
    return keys, known if len(known) <= MAX_MEMBERS else frozenset()


def _knows_all(told: Told, place: Place, config: Config, is_dm: bool) -> bool:
    """Whether there is nothing to say, without looking into the room."""
    return (
        place.activity <= told.position
        and (told.config is config or told.config == config)
        and told.moved == place.moved
        and told.membership == place.membership
        and told.is_dm == is_dm
    )


def _cut(timeline: Timeline, limit: int, upto: int) -> Timeline:
    """The timeline of somebody who may have asked for none at all."""
    if limit > 0:
        return timeline
    some = bool(timeline.items)
    return Timeline((), some, upto if some else timeline.start, whole=False)


def _people(items: Sequence[HistoryItem]) -> Mapping[str, None]:
    """Who sent the events of a timeline, and whom its membership events are about."""
    people: dict[str, None] = {}
    for item in items:
        people[item.event.sender] = None
        if item.event.type == MEMBER and item.event.state_key is not None:
            people[item.event.state_key] = None
    return people
