"""The list of a room's affiliations and its version, which moves with every change of it.

The version is a sum of keyed digests, one of each user with an affiliation: the same list has the same version
whatever the way to it, after a restart too, and a change costs two digests. Outcasts are not on the list: it is for
everybody who is in the room, and who is banned is for those who may ban to ask (XEP-0045 9.2).
spec: XEP-0463 5.2; docs/mapping.md 7. Pure. What was changed since a version that a client names is versions.py.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.projection import affiliation_in, is_public
from tripoint.xmpp.render import affiliations_version

_NOT_LISTED: Final = frozenset({"none", "outcast"})
_MASK: Final = 2**128 - 1


class Change(NamedTuple):
    """One user's new affiliation, not told yet."""

    user_id: UserId
    affiliation: str


class Affiliations:
    """As they were told to those who are in the room. `secret` is the server's; `root` names the list for ever."""

    def __init__(self, secret: bytes, root: RoomId, room: RoomView) -> None:
        self._key = hmac.digest(secret, b"affiliations " + root.encode(), "sha256")
        self._told: dict[UserId, str] = {}
        self._sum = 0
        # In the order in which they are told.
        self._waiting: dict[UserId, str] = {}
        for user_id in listable_users(room):
            self._put(user_id, listed_affiliation(room, user_id))

    @property
    def version(self) -> str:
        """Of what was told up to now."""
        return f"{self._sum:032x}"

    def __len__(self) -> int:
        return len(self._told)

    def items(self) -> Mapping[UserId, str]:
        """Everybody on the list."""
        return self._told

    def of(self, user_id: UserId) -> str:
        """``none`` for who is not on the list."""
        return self._told.get(user_id, "none")

    def look(self, room: RoomView, users: Iterable[UserId]) -> None:
        """The affiliations of these may be others now: those that are wait to be told."""
        for user_id in users:
            now = listed_affiliation(room, user_id)
            if now != self.of(user_id):
                self._waiting[user_id] = now
            else:
                self._waiting.pop(user_id, None)

    def waiting(self) -> list[Change]:
        """Changes of which nothing was told."""
        return [Change(user_id, affiliation) for user_id, affiliation in self._waiting.items()]

    def take(self, *users: UserId) -> str:
        """A stanza tells of these now: what it says of the list, "" if all are what they were. spec: XEP-0463 5.2.2"""
        since = self.version
        changed = False
        for user_id in users:
            now = self._waiting.pop(user_id, None)
            if now is not None:
                self._put(user_id, now)
                changed = True
        return affiliations_version(since=since, until=self.version) if changed else ""

    def _put(self, user_id: UserId, affiliation: str) -> None:
        before = self._told.pop(user_id, None)
        if before is not None:
            self._sum = (self._sum - self._digest(user_id, before)) & _MASK
        if affiliation != "none":
            self._told[user_id] = affiliation
            self._sum = (self._sum + self._digest(user_id, affiliation)) & _MASK

    def _digest(self, user_id: UserId, affiliation: str) -> int:
        # No affiliation has a space in its name, so no two pairs are the same text.
        text = f"{affiliation} {user_id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, key=self._key, digest_size=16).digest())


def listed_affiliation(room: RoomView, user_id: UserId) -> str:
    """What somebody is on the list; ``none``: he is not on it."""
    affiliation = affiliation_in(room, user_id)
    return "none" if affiliation in _NOT_LISTED else affiliation


def listable_users(room: RoomView) -> Iterable[UserId]:
    """Everybody who can be on the list: in a room for all, those alone who have a rank."""
    power = room.power
    if is_public(room) and power.users_default == 0:
        founder = () if power.exists else (power.creator,)
        return [UserId(one) for one in dict.fromkeys([*power.creators, *object_at(power.content, "users"), *founder])]
    return known_users(room)


def known_users(room: RoomView) -> Iterator[UserId]:
    """Everybody who can have an affiliation: members, invited and banned people, those whose rank waits for them."""
    members = room.members()
    yield from members
    for user_id in dict.fromkeys([*sorted(room.power.creators), *object_at(room.power.content, "users")]):
        if user_id not in members:
            yield UserId(user_id)
