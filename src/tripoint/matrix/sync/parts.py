"""One room's part of one device's answer: what happened there, as far as this reader is to hear of it.

spec: Matrix client-server GET /sync, "Joined Room", "Left room"; "Lazy-loading room members"
Read next: rooms.py, which turns it into bytes.
"""

from collections.abc import Mapping, Sequence

from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.matrix.render import Renderer, member_event
from tripoint.matrix.sync.account_data import AccountDataNews, Entry
from tripoint.matrix.sync.ephemera import Ephemera
from tripoint.matrix.sync.filters import SyncFilter
from tripoint.matrix.sync.heard import Heard, is_outside
from tripoint.matrix.sync.rooms import (
    RoomChunks,
    RoomStates,
    Span,
    Timeline,
    lazy_members,
    present_state,
    told_in_full,
    unread_counts,
)
from tripoint.matrix.sync.stays import Stay, stay_since
from tripoint.matrix.sync.sticky import StickyNews, rendered, sticky_items
from tripoint.matrix.sync.tokens import SyncToken
from tripoint.rooms.blocking import EMPTY
from tripoint.rooms.history import HistoryItem
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refused


class Answer:
    """One answer in the making: whose, from where to where. `members`: which members a lazy-loading device was told
    of, by room, and in the answer up to which position."""

    __slots__ = ("full_state", "members", "session", "since", "sticky", "upto", "user_id", "wanted")

    def __init__(
        self,
        user_id: UserId,
        session: str,
        since: SyncToken | None,
        upto: SyncToken,
        wanted: SyncFilter,
        full_state: bool,
        members: dict[RoomId, dict[UserId, int]],
        sticky: StickyNews,
    ) -> None:
        self.sticky = sticky
        self.user_id = user_id
        self.session = session
        self.since = since
        self.upto = upto
        self.wanted = wanted
        self.full_state = full_state
        self.members = members

    def wants(self, membership: str, moved: int) -> bool:
        """Whether to tell of a room that the user is not joined to, where the membership moved at a position."""
        if self.since is not None:
            return moved > self.since.position
        return self.wanted.include_leave or not is_outside(membership)


class RoomParts:
    """Makes them."""

    def __init__(
        self,
        reader: RoomReader,
        chunks: RoomChunks,
        renderer: Renderer,
        ephemera: Ephemera,
        account_data: AccountDataNews,
        heard: Heard,
    ) -> None:
        self._reader = reader
        self._chunks = chunks
        self._renderer = renderer
        self._ephemera = ephemera
        self._account_data = account_data
        self._heard = heard

    async def of(
        self, one: Answer, room_id: RoomId, membership: str, moved: int, data: Sequence[Entry]
    ) -> bytes | None:
        """A room's part of an answer; None where there is nothing to say. Refused(NO_SUCH_ROOM)."""
        room = self._reader.peek(room_id) or await self._reader.room(room_id)
        if membership == "join":
            return await self._joined(one, room, moved, data)
        if membership == "invite":
            invitation = room.member(one.user_id)
            if invitation is not None and self._reader.hides_invitation(one.user_id, invitation.event.sender):
                return None
            return self._chunks.invited(room, one.user_id)
        if membership == "knock":
            return self._chunks.knocked(room, one.user_id)
        return await self._left(one, room, moved, data)

    async def _joined(
        self, one: Answer, room: RoomView, moved: int, data: Sequence[Entry]
    ) -> bytes | None:
        since, wanted, user_id, upto = one.since, one.wanted.in_room(room.room_id), one.user_id, one.upto.position
        position = since.position if since is not None else 0
        span = self._span(one, room, moved, data, wanted)
        if span is not None:
            left = await self._reader.unread(room.room_id, user_id)
            return span.chunk(unread_counts(left, wanted.threads_apart))
        stay, start, inside = (Stay.CAME, 0, 0) if since is None else (Stay.STAYED, position, position)
        if since is not None and moved > position:
            stay, start, inside = await stay_since(self._reader, room, user_id, position)
        # Members that came late are told whoever wants them all.
        late = not wanted.lazy_members and position < room.completed_position <= upto
        whole = stay is not Stay.STAYED or one.full_state or late
        if stay is not Stay.STAYED and since is not None:
            # What was kept for the room while the user was outside is news too.
            data = await self._account_data.of_room(user_id, room.room_id)
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=start, upto=upto, all_visible=stay is Stay.STAYED
        )
        await self._chunks.bundle(room, user_id, timeline)
        ephemeral, marker = await self._ephemera.of_room(
            room.room_id, user_id, since if stay is Stay.STAYED else None, wanted
        )
        stuck = since.stuck if since is not None and stay is Stay.STAYED else -1
        sticky = await sticky_items(self._reader, room.room_id, user_id, one.sticky, stuck)
        unread = unread_counts(await self._reader.unread(room.room_id, user_id), wanted.threads_apart)
        # Nothing is awaited from here on.
        present = present_state(room, upto)
        if not wanted.state_after:
            timeline = told_in_full(timeline, present)
        shown = {item.event.event_id for item in timeline.items} if sticky else frozenset[EventId]()
        sticky_said = rendered(self._renderer, sticky, shown)
        states = RoomStates(present, timeline)
        if wanted.state_after:
            full = whole
            state = [*states.present.values()] if full else self._chunks.changed_after(room, states, start, upto)
        elif whole:
            state = states.all_at_start()
        else:
            state = self._chunks.changed(room, states, timeline, start, upto)
        summary = None
        heroes: Sequence[UserId] = ()
        if whole or self._chunks.sums_changed(room, position):
            summary, heroes = self._chunks.summary(room, user_id)
        if wanted.lazy_members:
            needed = (user_id, *heroes) if whole else heroes
            told = one.members.get(room.room_id, {})
            # Of a room where the user was before, the device may know members that changed since.
            changed = self._chunks.changed_members(room, inside, upto) if whole and inside else None
            state, now_known = lazy_members(
                state, states, timeline, wanted, needed, told, None if whole else position, changed or ()
            )
        account_data = [entry for type_, entry in data if wanted.room_account_data.wants_type(type_)]
        if marker is not None and wanted.room_account_data.wants_type("m.fully_read"):
            account_data.append(marker)
        if not (timeline.items or timeline.limited or state or ephemeral or account_data or summary or sticky_said):
            return None
        if wanted.lazy_members:
            in_timeline = (i.event.state_key for i in timeline.items if i.event.type == "m.room.member")
            now_known.update(UserId(key) for key in in_timeline if key is not None)
            members = {} if whole else one.members.get(room.room_id, {})
            members.update(dict.fromkeys(now_known, upto))
            one.members[room.room_id] = members
        return self._chunks.joined(
            room,
            timeline,
            state,
            wanted,
            ephemeral=ephemeral,
            account_data=account_data,
            unread=unread,
            transactions=self._heard.own_transactions(timeline.items, one.session),
            summary=summary,
            sticky=sticky_said,
            share_as=None if whole or self._reader.block_list(user_id) != EMPTY else (start, upto, wanted.key),
        )

    def _span(
        self, one: Answer, room: RoomView, moved: int, data: Sequence[Entry], wanted: SyncFilter
    ) -> Span | None:
        """What this reader is told of a room, where it is what everybody is told, but for what is unread."""
        since, user_id = one.since, one.user_id
        if since is None or one.full_state or data or moved > since.position or room.room_id in one.sticky.rooms:
            return None
        position = since.position
        if self._ephemera.changed(room.room_id, position, since.ephemeral) or self._reader.block_list(user_id) != EMPTY:
            return None
        span = self._chunks.span(room, wanted, position, one.upto.position)
        # Whoever wrote one of the messages gets it with its transaction id.
        if span is None or user_id in span.senders:
            return None
        if wanted.lazy_members:
            told = one.members.get(room.room_id)
            if told is None or any(told.get(sender, position + 1) > position for sender in span.senders):
                return None
        return span

    async def _left(
        self, one: Answer, room: RoomView, moved: int, data: Sequence[Entry]
    ) -> bytes:
        """What happened until one left."""
        since, wanted, user_id = one.since, one.wanted.in_room(room.room_id), one.user_id
        position = since.position if since is not None else 0
        then, entered, inside = "leave", since is None, 0
        for at, membership in await self._reader.own_memberships(room.room_id, user_id):
            if at <= position:
                inside = at if then == "join" and membership != "join" else inside
                then = membership
            elif at <= moved and membership == "join":
                entered = True
        timeline = await self._chunks.timeline(
            room, user_id, wanted, since=position, upto=moved, all_visible=False
        )
        await self._chunks.bundle(room, user_id, timeline)
        try:
            present = dict(await self._reader.readable_state(room.room_id, user_id, moved))
        except Refused:
            present = {}  # never inside: there is one's own membership to tell of and nothing else
        # The state is that of the departure; what became of the user later (a ban) is told with it.
        own = member_event(user_id)
        if room.state_positions.get(own) == moved:
            present[own] = room.state[own]
        if not wanted.state_after:
            timeline = told_in_full(timeline, present)
        states = RoomStates(present, timeline)
        whole = then != "join" and entered
        if whole:
            state = [*present.values()] if wanted.state_after else states.all_at_start()
        elif then != "join":
            # An invitation refused, or outside before: the rest was told then, or is not for this user.
            event = present.get(own) if wanted.state_after or not timeline.items else None
            state = [] if event is None else [event]
        else:
            before = await self._reader.readable_state(room.room_id, user_id, position)
            state = []
            for key, event in present.items():
                told = event if wanted.state_after else states.start(key)
                known_before = before.get(key)
                if told is not None and (known_before is None or told.event_id != known_before.event_id):
                    state.append(told)
        if wanted.lazy_members:
            told_before = one.members.get(room.room_id, {})
            known = await self._reader.readable_state(room.room_id, user_id, inside - 1) if whole and inside else {}
            # Of an earlier stay the device may know members that changed since.
            changed = {key[1] for key, event in known.items() if present.get(key) is not event}
            state, _ = lazy_members(
                state, states, timeline, wanted, (user_id,), told_before, None if whole else position, changed
            )
        account_data = [entry for type_, entry in data if wanted.room_account_data.wants_type(type_)]
        transactions = self._heard.own_transactions(timeline.items, one.session)
        return self._chunks.left(timeline, state, wanted, account_data=account_data, transactions=transactions)

    def ended(self, one: Answer, memberships: Mapping[RoomId, tuple[str, int]]) -> list[tuple[RoomId, bytes]]:
        """Rooms that the user has left since and that are not among the user's rooms any more."""
        assert one.since is not None
        found = []
        for change in self._heard.departures(one.user_id, one.since.position):
            if change.room_id not in memberships and one.wanted.wants_room(change.room_id):
                item = HistoryItem(change.position, change.event, None, change.replaced)
                timeline = Timeline((item,), False, one.since.position, whole=True)
                chunk = self._chunks.left(timeline, (), one.wanted, account_data=(), transactions={})
                found.append((change.room_id, chunk))
        return found
