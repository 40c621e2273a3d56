"""The rooms of a user in the order of their activity, and what lists ask of them.

spec: MSC4186 "Lists", "Activity ordering", SlidingRoomFilter
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at, text_at, texts_at
from tripoint.rooms.changes import AccountDataChanged, EventCommitted, RoomChange, StateReset, UserChange
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.spaces import CHILD

# room, membership, position of the event that made it so
Membership = tuple[RoomId, tuple[str, int]]
# Rooms of which it is remembered what lists ask; one is some 200 bytes.
KEPT_ROOMS: Final = 50_000
KEPT_USERS: Final = 10_000
# Users whose rooms stay in order: those who are online. One with a hundred rooms is some 20 kB.
KEPT_ORDERS: Final = 5_000
_K = TypeVar("_K")
_V = TypeVar("_V")
_DIRECT: Final = "m.direct"
_TAG: Final = "m.tag"


class Facts(Struct, frozen=True):
    """What lists ask of a room, for all who are in it. `activity`: the position of the newest thing in it."""

    activity: int
    room_type: str | None
    encrypted: bool
    name: str


class Departure(Struct, frozen=True):
    """How a user came to be outside of a room. `moved`: the position of it. `entered`: was in it before."""

    moved: int
    by_self: bool
    entered: bool


class Place(Struct, frozen=True):
    """A room in a user's list. `moved`: the position of the event that made the membership so."""

    room_id: RoomId
    membership: str
    moved: int
    facts: Facts
    activity: int
    entered: bool = True


class Marks(Struct, frozen=True):
    """What a user has marked rooms as. `tags` by room."""

    directs: frozenset[str]
    tags: Mapping[str, frozenset[str]]


class Order(Struct, frozen=True):
    """The rooms of a user with these memberships, in order; `departed` are left out where a client knows nothing of
    them."""

    memberships: Sequence[Membership]
    places: dict[RoomId, Place]
    departed: Sequence[Place]


class Places:
    """Finds them; what it has found is kept until something happens in the room."""

    def __init__(self, reader: RoomReader, accounts: AccountService) -> None:
        self._reader = reader
        self._accounts = accounts
        self._facts: OrderedDict[RoomId, Facts] = OrderedDict()
        self._departures: OrderedDict[tuple[RoomId, UserId], Departure] = OrderedDict()
        self._marks: OrderedDict[UserId, Marks] = OrderedDict()
        self._orders: OrderedDict[UserId, Order] = OrderedDict()
        self._changes = 0

    def room_changed(self, change: RoomChange) -> None:
        if not isinstance(change, EventCommitted | StateReset):
            return
        self._facts.pop(change.room_id, None)
        self._changes += 1
        if not self._orders:
            return
        room = self._reader.peek(change.room_id)
        if room is None:
            self._orders.clear()
            return
        joined = room.joined()
        few, many = (joined, self._orders) if len(joined) < len(self._orders) else (self._orders, joined)
        for user_id in [user_id for user_id in few if user_id in many]:
            del self._orders[user_id]

    def user_changed(self, change: UserChange) -> None:
        if isinstance(change, AccountDataChanged) and change.type in (_DIRECT, _TAG):
            self._marks.pop(change.user_id, None)
            self._changes += 1

    async def marks(self, user_id: UserId) -> Marks:
        """The direct rooms and the tags of a user."""
        known = self._marks.get(user_id)
        while known is None:
            at = self._changes
            directs: set[str] = set()
            tags: dict[str, frozenset[str]] = {}
            for (room_id, type_), content in (await self._accounts.all_account_data(user_id)).items():
                if type_ == _DIRECT and room_id is None:
                    for person in content:
                        directs.update(texts_at(content, person))
                elif type_ == _TAG and room_id is not None:
                    tags[room_id] = frozenset(object_at(content, "tags"))
            known = Marks(frozenset(directs), tags)
            if at == self._changes:
                _keep(self._marks, user_id, known, KEPT_USERS)
        return known

    async def of(
        self, user_id: UserId, memberships: Sequence[Membership], told: Collection[RoomId]
    ) -> dict[RoomId, Place]:
        """The rooms of which a user may hear on a connection that was told of `told`, the most active first. As long
        as nothing happens it is the same dictionary, which nobody changes.

        spec: "Rooms that the user has been in but left are only included if the room was previously sent", "Rooms the
        user has been kicked or banned from will always be included", but for those "banned from, but never joined".
        """
        order = self._orders.get(user_id)
        if order is None or order.memberships != memberships:
            at = self._changes
            order = await self._order(user_id, memberships)
            # Whether an invitation is hidden may change at any time.
            if at == self._changes and not any(membership == "invite" for _, (membership, _) in memberships):
                _keep(self._orders, user_id, order, KEPT_ORDERS)
        departed = [place for place in order.departed if place.room_id in told]
        return _sorted([*order.places.values(), *departed]) if departed else order.places

    async def _order(self, user_id: UserId, memberships: Sequence[Membership]) -> Order:
        found: list[Place] = []
        departed: list[Place] = []
        for room_id, (membership, moved) in memberships:
            facts = self._facts.get(room_id)
            if facts is None:
                facts = await self._find(room_id)
                if facts is None:
                    continue
            if membership == "join":
                found.append(Place(room_id, membership, moved, facts, facts.activity))
                continue
            if membership in ("leave", "ban"):
                how = await self._departure(room_id, user_id, moved)
                place = Place(room_id, membership, moved, facts, moved, how.entered)
                only_if_told = how.by_self or (membership == "ban" and not how.entered)
                (departed if only_if_told else found).append(place)
            elif membership != "invite" or not await self._hides(room_id, user_id):
                found.append(Place(room_id, membership, moved, facts, moved, False))
        return Order(memberships, _sorted(found), departed)

    async def subscribed(self, user_id: UserId, room_id: RoomId, membership: str, moved: int) -> Place | None:
        """A room that is in nobody's list because the user left it, and that may be looked back at.

        spec: "the user must either be in the room, be invited/knocked to the room, or have historically been in"
        """
        if membership not in ("leave", "ban"):
            return None
        facts = self._facts.get(room_id) or await self._find(room_id)
        if facts is None or not (await self._departure(room_id, user_id, moved)).entered:
            return None
        return Place(room_id, membership, moved, facts, moved)

    async def children(self, memberships: Sequence[Membership], spaces: Collection[str]) -> set[str]:
        """Rooms that these spaces name, as far as the user, whose memberships these are, is in them."""
        found: set[str] = set()
        joined = {room_id for room_id, (membership, _) in memberships if membership == "join"}
        for space in dict.fromkeys(spaces):
            space_id = RoomId(space)
            if space_id not in joined:
                continue
            room = self._reader.peek(space_id) or await self._reader.room(space_id)
            for (type_, state_key), event in room.state.items():
                if type_ == CHILD and event.content.get("via"):
                    found.add(state_key)
        return found

    async def _find(self, room_id: RoomId) -> Facts | None:
        try:
            room = self._reader.peek(room_id) or await self._reader.room(room_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ROOM:
                raise
            return None  # it ended just now
        facts = _facts(room)
        _keep(self._facts, room_id, facts, KEPT_ROOMS)
        return facts

    async def _hides(self, room_id: RoomId, user_id: UserId) -> bool:
        room = self._reader.peek(room_id) or await self._reader.room(room_id)
        invitation = room.member(user_id)
        return invitation is not None and self._reader.hides_invitation(user_id, invitation.event.sender)

    async def _departure(self, room_id: RoomId, user_id: UserId, moved: int) -> Departure:
        known = self._departures.get((room_id, user_id))
        if known is None or known.moved != moved:
            room = self._reader.peek(room_id) or await self._reader.room(room_id)
            member = room.member(user_id)
            past = await self._reader.own_memberships(room_id, user_id)
            entered = any(membership == "join" and at <= moved for at, membership in past)
            known = Departure(moved, member is None or member.event.sender == user_id, entered)
            _keep(self._departures, (room_id, user_id), known, KEPT_ROOMS)
        return known


def _keep(kept: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)


def _sorted(places: list[Place]) -> dict[RoomId, Place]:
    places.sort(key=_activity, reverse=True)
    return {place.room_id: place for place in places}


def _activity(place: Place) -> int:
    return place.activity


def _facts(room: RoomView) -> Facts:
    create = room.state.get(("m.room.create", ""))
    return Facts(
        max(room.last_position, room.reset_position, room.completed_position),
        None if create is None else text_at(create.content, "type"),
        ("m.room.encryption", "") in room.state,
        (room.name or room.canonical_alias or "").casefold(),
    )
