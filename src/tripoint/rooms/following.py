"""Going along when a room was replaced: whoever sees rooms by IRC or XMPP is brought into the one that took its place.

Matrix clients show a tombstone and a button; clients of IRC and XMPP know neither. So this server follows for its
members who are there by such a client, as far as the rules of the new room let them in, whoever replaced the room, here
or elsewhere. Who is not there now follows when he comes (FollowRoom). A tombstone is believed only where the new room
says the same (succession.py). What is known only after entering it: who entered then leaves again.

Everything here is found again in the state of rooms, so nothing is lost when the server stops. Work is bounded: WORKERS
rooms at a time, QUEUE that wait, PACE for each account; what does not fit is done when somebody comes.
spec: Matrix client-server-api "Room Upgrades"; docs/mapping.md 21.4. Replacing a room is upgrading.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from tripoint.bus.interface import Bus
from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, server_of
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.rooms.changes import (
    DirectoryChanged,
    EventCommitted,
    MembershipChanged,
    MoveRefused,
    RoomChange,
    RoomMoved,
    StateReset,
    UserChange,
)
from tripoint.rooms.commands import Done, FollowRoom, Join, Leave
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.entry import Entry
from tripoint.rooms.inheritance import carried_member
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.succession import MAX_CHAIN, TOMBSTONE, newest, predecessor_of, replacement_of, succeeds
from tripoint.rooms.writer import Part, Writer
from tripoint.store.interface import RoomStore, StoreError
from tripoint.store.writes import PutAlias, PutName, Write

log = structlog.get_logger()

# The name table of what RoomMoved has told: scope is the user, old room to new one.
MOVED: Final = "moved"
WORKERS: Final = 4
QUEUE: Final = 1000
# Joins of one commit.
AT_ONCE: Final = 50
# Members who try to be the first in a room that this server is not in; what keeps out three keeps out all.
MAX_FIRST: Final = 3
# How long an invitation into a room of other servers may take that follows a tombstone, and into one of ours; the same
# is how soon, and how often, it is tried again with one.
GRACE_S: Final = 5.0
AGAIN_S: Final = 1.0
TRIES: Final = 3
# Larger rooms are entered without waiting for all members: of those nobody is shown everybody (rooms/listing.py).
WHOLE_UPTO: Final = 1000
# A chain of rooms costs a join for every link, and whoever makes rooms can make another: a community that moves its
# rooms at once is let through, somebody who goes on and on is not.
PACE: Final = Rate(60, 1 / 60)
# These say nothing about the one who asks: the room cannot be reached, or is not one.
_UNKNOWN: Final = frozenset(
    {
        Refusal.NO_SUCH_ROOM,
        Refusal.REMOTE_TIMEOUT,
        Refusal.SERVER_BUSY,
        Refusal.RATE_LIMITED,
        Refusal.BAD_CONTENT,
        Refusal.ROOM_INCOMPATIBLE,
        Refusal.VERSION_UNSUPPORTED,
    }
)
NOT_ITS_PLACE: Final = "This room names another one as its successor, which does not name it in turn"
TOO_OFTEN: Final = "Rooms that you are in are being replaced too often; you were not taken along"

MoveKept = Callable[[UserId, RoomId, RoomId], Awaitable[None]]


class Following:
    """The handler of FollowRoom, and who hears of tombstones (`room_changed`) and of joins (`user_changed`).

    `keep_along` takes what an account has kept about a room over to another; `is_closed`: rooms that nobody of this
    server enters (closing.py).
    """

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        writer: Writer,
        store: RoomStore,
        membership: Membership,
        entry: Entry,
        elsewhere: Elsewhere,
        room_bus: Bus[RoomChange],
        user_bus: Bus[UserChange],
        *,
        is_on_a_view: Callable[[UserId], bool],
        is_closed: Callable[[RoomId], bool],
        keep_along: MoveKept,
        clock_s: Callable[[], float],
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._writer = writer
        self._store = store
        self._membership = membership
        self._entry = entry
        self._elsewhere = elsewhere
        self._room_bus = room_bus
        self._user_bus = user_bus
        self._is_on_a_view = is_on_a_view
        self._is_closed = is_closed
        self._keep_along = keep_along
        self._clock_s = clock_s
        self._pace = TokenBuckets(PACE)
        # Rooms to look after; and where it is for one user alone, he and the room that he came into.
        self._waiting: dict[tuple[RoomId, tuple[UserId, RoomId] | None], None] = {}
        # Who may be about to be invited: (user, new room) -> old room, and what is done when nobody does.
        self._hoping: dict[tuple[UserId, RoomId], tuple[RoomId, asyncio.TimerHandle]] = {}
        self._tries: dict[tuple[UserId, RoomId], int] = {}
        self._busy: set[RoomId] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._settling: set[tuple[UserId, RoomId]] = set()

    # -- what is heard

    def room_changed(self, change: RoomChange) -> None:
        """A room may have been replaced. Only looks; what is done is done later."""
        if isinstance(change, EventCommitted):
            if change.event.type == TOMBSTONE[0] and change.event.state_key == "":
                self._note(change.room_id, None)
        elif isinstance(change, StateReset) and any(
            after is not None and after.key == TOMBSTONE for _, after in change.changed
        ):
            self._note(change.room_id, None)

    def user_changed(self, change: UserChange) -> None:
        """Somebody came into a room that may have taken the place of one of his, or is invited into it."""
        if not isinstance(change, MembershipChanged):
            return
        if change.membership == "join":
            self._tries.pop((change.user_id, change.room_id), None)
            room = self._rooms.peek(change.room_id)
            old = None if room is None else predecessor_of(room)
            if old is not None:
                self._note(old, (change.user_id, change.room_id))
        elif change.membership == "invite":
            hoped = self._hoping.pop((change.user_id, change.room_id), None)
            if hoped is not None:
                hoped[1].cancel()
                self._note(hoped[0], (change.user_id, change.room_id))

    def _note(self, room_id: RoomId, whom: tuple[UserId, RoomId] | None) -> None:
        if len(self._waiting) >= QUEUE:
            log.warning("room.not_followed_now", room_id=room_id)
            return
        self._waiting[room_id, whom] = None
        if len(self._workers) < WORKERS:
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def close(self) -> None:
        """End what is running; the rooms themselves say what is left to do."""
        for worker in self._workers:
            worker.cancel()
        for _, timer in self._hoping.values():
            timer.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until nothing is left to be done: for tests."""
        while self._workers:
            await asyncio.gather(*self._workers)

    async def _work(self) -> None:
        while (item := next((one for one in self._waiting if one[0] not in self._busy), None)) is not None:
            del self._waiting[item]
            room_id, whom = item
            self._busy.add(room_id)
            try:
                await self._look_after(room_id, whom)
            except (Refused, StoreError) as error:
                log.warning("room.not_followed", room_id=room_id, reason=str(error))
            except Exception:  # the others have their turn; the bug is told
                log.exception("room.following_failed", room_id=room_id)
            finally:
                self._busy.discard(room_id)

    # -- a room

    async def _look_after(self, room_id: RoomId, whom: tuple[UserId, RoomId] | None) -> None:
        old = await self._rooms.find(room_id)
        target = None if old is None else replacement_of(old)
        if old is None or target is None or self._is_closed(room_id):
            return
        if whom is not None and whom[1] != target:
            return  # he came into a room that only says that it has taken the place of his
        new = await self._elsewhere.present(target)
        here: list[UserId] = [one for one in old.joined() if server_of(one) == self._server] if whom is None else []
        if whom is not None and old.membership(whom[0]) == "join":
            here.append(whom[0])
        people = [
            one for one in here if self._is_on_a_view(one) and (new is None or new.head_membership(one) != "join")
        ]
        if new is None:
            new = await self._enter(old, target, people)
        elif not succeeds(new, old):
            self._refuse(people, old, target, NOT_ITS_PLACE, stays=True)
            return
        if new is None or await newest(old, self._elsewhere.present) is old:
            return  # nobody is in it, or the rooms follow each other in a ring
        await self._take_over(old, new)
        await self._bring(old, new, [one for one in people if new.head_membership(one) != "join"])
        for one in here:
            if new.membership(one) == "join":
                await self._settle(one, old, new)
        if whom is None and replacement_of(new) is not None:
            self._note(new.room_id, None)  # it was replaced itself before anybody came

    async def _enter(self, old: Room, target: RoomId, people: Sequence[UserId]) -> Room | None:
        """Be the first of this server in the new room. None: nobody got in."""
        refused: Refused | None = None
        for number, user_id in enumerate(people):
            try:
                if number >= MAX_FIRST and refused is not None:
                    raise refused
                return await self._first(old, target, user_id)
            except Refused as error:
                refused = error
                if error.refusal in _UNKNOWN:
                    self._refuse(people[number:], old, target, error.text, stays=True)
                    return None
                self._kept_out(user_id, old, target, error)
        return None

    def _kept_out(self, user_id: UserId, old: Room, target: RoomId, refused: Refused) -> None:
        """Somebody may not enter the new room. Whoever replaces a room that is not open invites its members when it is
        there: that may be on its way."""
        key, new = (user_id, target), self._rooms.peek(target)
        ours = new is not None and not new.outside and server_of(new.create_event.sender) == self._server
        if key in self._hoping:
            return
        tries = self._tries.pop(key, 0)
        if refused.refusal is not Refusal.NOT_INVITED or tries >= TRIES or len(self._hoping) >= QUEUE:
            self._refuse((user_id,), old, target, refused.text, stays=refused.refusal in _UNKNOWN)
            return
        # Whoever invites asks us first: an invitation that is known here may not count there yet.
        invited = new is not None and new.head_membership(user_id) == "invite"
        self._tries[key] = tries + 1

        def waited() -> None:
            self._hoping.pop(key, None)
            if invited:
                self._note(old.room_id, key)
            else:
                self._tries.pop(key, None)
                self._refuse((user_id,), old, target, refused.text, stays=False)

        timer = asyncio.get_running_loop().call_later(AGAIN_S if invited or ours else GRACE_S, waited)
        self._hoping[key] = (old.room_id, timer)

    async def _first(self, old: Room, target: RoomId, user_id: UserId) -> Room:
        """Join a room that this server is not in; it has to be what the old room says."""
        self._take_pace(user_id)
        tombstone = old.state[TOMBSTONE]
        nick = _own_nick(old, user_id)
        # Who goes over is in a room that works meanwhile, and would be told that everybody has left.
        whole = old.joined_count() <= WHOLE_UPTO
        await self._membership.join(
            Join(actor=user_id, room_id=target, via=(server_of(tombstone.sender),), nick=nick, whole=whole)
        )
        new = await self._rooms.get(target)
        if succeeds(new, old):
            return new
        log.warning("room.claims_to_be_replaced", room_id=old.room_id, replacement=target)
        await self._membership.leave(Leave(actor=user_id, room_id=target))
        raise Refused(Refusal.BAD_CONTENT, NOT_ITS_PLACE)

    async def _bring(self, old: Room, new: Room, people: Sequence[UserId]) -> None:
        """Join all of these to a room that this server is in, in as few commits as it takes."""
        if new.partial is not None:
            # Whether they may enter is known by those who know all members: each is asked for by itself.
            for user_id in people:
                await self._bring_one(old, new, user_id)
            return
        for start in range(0, len(people), AT_ONCE):
            await self._bring_some(old, new, people[start : start + AT_ONCE])
            await asyncio.sleep(0)

    async def _bring_some(self, old: Room, new: Room, people: Sequence[UserId]) -> None:
        transaction = self._writer.begin(new)
        by_themselves: list[UserId] = []
        for user_id in people:
            member = old.member(user_id)
            if member is None or member.membership != "join" or new.head_membership(user_id) == "join":
                continue
            try:
                self._take_pace(user_id)
                way = self._entry.decide(new, Join(actor=user_id, room_id=new.room_id))
                if way.authorised:
                    by_themselves.append(user_id)
                    continue
                if way.invited_by is not None:
                    content = carried_member(member, "invite")
                    transaction.append(way.invited_by, "m.room.member", content, state_key=user_id)
                transaction.append(user_id, "m.room.member", carried_member(member, "join"), state_key=user_id)
            except Refused as refused:
                self._kept_out(user_id, old, new.room_id, refused)
        if transaction.events:
            try:
                await self._writer.commit(new, transaction)
            except Refused as refused:
                self._refuse(people, old, new.room_id, refused.text, stays=True)
        for user_id in by_themselves:
            await self._bring_one(old, new, user_id)

    async def _bring_one(self, old: Room, new: Room, user_id: UserId) -> None:
        try:
            await self._join(old, new, user_id)
        except Refused as refused:
            self._kept_out(user_id, old, new.room_id, refused)

    async def _join(self, old: Room, new: Room, user_id: UserId) -> None:
        self._take_pace(user_id)
        await self._membership.join(Join(actor=user_id, room_id=new.room_id, nick=_own_nick(old, user_id)))

    def _take_pace(self, user_id: UserId) -> None:
        if self._pace.take(user_id, self._clock_s()) > 0:
            raise Refused(Refusal.RATE_LIMITED, TOO_OFTEN)

    def _refuse(self, people: Sequence[UserId], old: Room, new: RoomId, text: str, *, stays: bool) -> None:
        for user_id in people:
            log.info("room.not_followed_by", room_id=old.room_id, replacement=new, user_id=user_id, reason=text)
            self._user_bus.publish(MoveRefused(user_id, old.room_id, new, text, stays))

    # -- what goes over

    async def _take_over(self, old: Room, new: Room) -> None:
        """Names of this server, the place in its directory and the pair of a direct room belong to the new room."""
        aliases = tuple(alias for alias in old.aliases if server_of(alias) == self._server)
        pair = new.row.direct_pair or old.row.direct_pair
        if not aliases and not old.row.listed and pair == new.row.direct_pair:
            return
        writes: list[Write] = []
        for alias in aliases:
            writes.append(PutAlias(alias, new.room_key, await self._maker_of(alias, old)))
        gone = replace(old.row, listed=False)
        come = replace(new.row, listed=new.row.listed or old.row.listed, direct_pair=pair)

        def moved() -> None:
            new.set_aliases((*new.aliases, *aliases))
            old.set_aliases(alias for alias in old.aliases if alias not in aliases)

        nothing = (Part(old, self._writer.begin(old), gone), Part(new, self._writer.begin(new), come))
        await self._writer.commit_together(nothing, writes=writes, on_commit=moved)
        for room in (old, new):
            self._room_bus.publish(DirectoryChanged(room.room_id))

    async def _maker_of(self, alias: RoomAlias, old: Room) -> UserId:
        return await self._store.load_alias_creator(alias) or old.create_event.sender

    async def _settle(self, user_id: UserId, old: Room, new: Room) -> None:
        """What an account has kept about the old room is kept about the new one; said once, over restarts too."""
        key = (user_id, old.room_id)
        if old.membership(user_id) != "join" or new.membership(user_id) != "join" or key in self._settling:
            return
        self._settling.add(key)
        try:
            known = await self._store.load_names(MOVED, user_id)
            if known.get(old.room_id) == new.room_id:
                return
            await self._keep_along(user_id, old.room_id, new.room_id)
            await self._writer.write([PutName(MOVED, user_id, old.room_id, new.room_id)])
            self._user_bus.publish(RoomMoved(user_id, old.room_id, new.room_id))
        finally:
            self._settling.discard(key)

    # -- one who comes

    async def follow(self, command: FollowRoom) -> Done:
        """See commands.FollowRoom."""
        actor = command.actor
        old = await self._rooms.get(command.room_id)
        start = old
        if await newest(old, self._elsewhere.present) is old and not self._leads_on(old):
            return Done(old.room_id)
        for _ in range(MAX_CHAIN):
            target = replacement_of(old)
            if target is None or self._is_closed(old.room_id) or target == start.room_id:
                break
            new = await self._elsewhere.present(target)
            if new is None:
                if old.membership(actor) != "join":
                    break
                try:
                    new = await self._first(old, target, actor)
                except Refused as refused:
                    if refused.refusal in _UNKNOWN:
                        break
                    raise
            elif not succeeds(new, old):
                break
            elif new.membership(actor) != "join":
                await self._join(old, new, actor)
            await self._take_over(old, new)
            await self._settle(actor, old, new)
            old = new
        return Done(old.room_id, created=old is not start)

    def _leads_on(self, room: Room) -> bool:
        """Whether a room leads to one that is not known here."""
        target = replacement_of(room)
        return target is not None and ((new := self._rooms.peek(target)) is None or new.outside)


def _own_nick(old: Room, user_id: UserId) -> str | None:
    """What a member is called in the old room."""
    member = old.member(user_id)
    return None if member is None else member.displayname
