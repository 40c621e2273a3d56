"""What has changed on a room's list of affiliations since the version that a client knows.

The versions that were told, and where in the room's history, are kept: the last ones of each room. What is different
since is found in the state of the room; who asks for a version that is not kept any more is sent the whole list.
spec: XEP-0463 5.1, 5.2.1, 5.2.3, 6.  Read next: affiliations.py.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId
from tripoint.core.json_view import object_at
from tripoint.rooms.ports import NameTable, RoomReader, RoomView
from tripoint.xmpp.muc.affiliations import Affiliations
from tripoint.xmpp.muc.view import MucView
from tripoint.xmpp.projection import is_public
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.render import Shared, affiliations_version, room_message, stanza_error
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CLIENT_NS, MUC_AFFILIATIONS_NS, MUC_NS, MUC_USER_NS
from tripoint.xmpp.wire import Element, escape_attribute

declare_feature(MUC_AFFILIATIONS_NS, at=(At.ROOM,), spec="XEP-0463 4")

_KIND: Final = "muc_versions"  # name table: room -> number of a slot -> version and position
# How many versions of a room are kept; one that is older means the whole list.
KEPT: Final = 32
# So many differences are told even where the whole list is shorter.
FEW: Final = 20
# Users in one message of a list that is longer.
MAX_ITEMS: Final = 200
_NOT_YOURS: Final = "You were not in this room when its list was so; ask for the whole list"


class Told(NamedTuple):
    """A version that somebody was told: the how manieth, and a position in the history at which the list was so."""

    number: int
    version: str
    position: int


class Past(NamedTuple):
    """What is needed to tell what has changed since a version. `position`: the list was so there; None: not known.

    `levels`: the contents of the power levels since, the one that held then first.
    """

    since: str | None
    position: int | None
    levels: Sequence[JsonObject]


class ToldVersions:
    """Those of one room that are kept, oldest first. spec: XEP-0463 5.2.1 (the last N)"""

    def __init__(self, room_id: RoomId, names: NameTable, kept: Iterable[str]) -> None:
        self._room_id = room_id
        self._names = names
        self._told = sorted(Told(int(number), version, int(at)) for number, version, at in map(str.split, kept))

    def record(self, version: str, position: int) -> None:
        """The list is so now."""
        newest = self._told[-1] if self._told else Told(0, "", 0)
        if newest.version == version:
            return
        told = Told(newest.number + 1, version, position)
        self._told = [*self._told, told][-KEPT:]
        kept = f"{told.number} {told.version} {told.position}"
        self._names.put_name(_KIND, self._room_id, str(told.number % KEPT), kept)

    def times(self, version: str) -> Sequence[tuple[int, int | None]]:
        """From where to where in the history it was the version; None: up to now."""
        ends = [*(told.position for told in self._told[1:]), None]
        return [(told.position, end) for told, end in zip(self._told, ends, strict=True) if told.version == version]


class Versions:
    """The versions of every room that somebody is in by XMPP."""

    def __init__(self, reader: RoomReader, names: NameTable) -> None:
        self._reader = reader
        self._names = names
        self._rooms: dict[RoomId, ToldVersions] = {}

    def told(self, view: MucView) -> None:
        """Everybody who is in the room has heard how the list is now."""
        versions = self._rooms.get(view.room.room_id)
        if versions is not None:
            versions.record(view.affiliations.version, view.position)

    def forget(self, room_id: RoomId) -> None:
        """Nobody is in the room any more; what was told is kept all the same."""
        self._rooms.pop(room_id, None)

    async def load(self, session: XmppSession, view: MucView, presence: Element) -> Past | None:
        """What who enters has to be told before anything else; None: it is not asked for. Problem: it is not for them.

        spec: XEP-0463 5.1, 6
        """
        room_id = view.room.room_id
        versions = self._rooms.get(room_id)
        if versions is None:
            kept = await self._names.load_names(_KIND, room_id)
            versions = self._rooms.setdefault(room_id, ToldVersions(room_id, self._names, kept.values()))
        x = presence.child("x", MUC_NS)
        asked = None if x is None else x.child("mav", MUC_AFFILIATIONS_NS)
        if asked is None:
            return None
        since = asked.get("since")
        times = versions.times(since) if since else ()
        if not times or since == view.affiliations.version:
            return Past(since, None, ())
        await self._check_was_there(session, room_id, times)
        position = times[-1][0]
        levels = await self._reader.state_changes(room_id, "m.room.power_levels", "", after=position)
        return Past(since, position, [event.content for event in levels])

    async def _check_was_there(
        self, session: XmppSession, room_id: RoomId, times: Sequence[tuple[int, int | None]]
    ) -> None:
        own = await self._reader.own_memberships(room_id, session.user_id)
        ends = [*(position for position, _ in own[1:]), None]
        for (came, membership), went in zip(own, ends, strict=True):
            if membership == "join" and any(
                (end is None or came < end) and (went is None or went > begin) for begin, end in times
            ):
                return
        raise Problem("forbidden", _NOT_YOURS)


def answer(view: MucView, past: Past) -> list[Shared]:
    """What is different since, or the whole list; nothing where the client has the list as it is.

    spec: XEP-0463 5.2.1
    """
    affiliations = view.affiliations
    if past.since == affiliations.version:
        return []
    changed = None if past.position is None else _changed(view.room, past.position, past.levels)
    if changed is None or len(changed) > max(len(affiliations), FEW):
        return _messages(view, affiliations, affiliations.items(), None)
    return _messages(view, affiliations, changed, past.since)


def _changed(room: RoomView, position: int, levels: Sequence[JsonObject]) -> Collection[UserId] | None:
    """Everybody whose affiliation may be another one since; None: that may be anybody."""
    positions = room.state_positions
    if max(room.reset_position, room.completed_position, positions.get(("m.room.join_rules", ""), 0)) > position:
        return None
    if any({**one, "users": None} != {**levels[0], "users": None} for one in levels):
        return None  # what a level means is another thing
    named = [object_at(one, "users") for one in levels]
    ranked = {UserId(one) for users in named for one in users}
    moved = {UserId(key) for (kind, key), at in positions.items() if kind == "m.room.member" and at > position}
    if is_public(room):
        # Who comes and goes is what he was; who is banned, or back, may have had a rank.
        moved &= ranked | room.power.creators
    return moved | {one for one in ranked if len({users.get(one) for users in named}) > 1}


def _messages(
    view: MucView, affiliations: Affiliations, users: Collection[UserId], since: str | None
) -> list[Shared]:
    """One message, or several of which each begins where the one before it ended."""
    listed, told = list(users), []
    starts = range(0, max(len(listed), 1), MAX_ITEMS)
    for start in starts:
        last = start == starts[-1]
        until = affiliations.version if last else f"{affiliations.version}-{start // MAX_ITEMS}"
        items = [_item(view, user_id, affiliations.of(user_id)) for user_id in listed[start : start + MAX_ITEMS]]
        version = affiliations_version(since=since, until=until)
        x = f"<x xmlns='{MUC_USER_NS}'>{version}{''.join(items)}</x>"
        told.append(room_message(view.jid, x, kind="normal"))
        since = until
    return told


def _item(view: MucView, user_id: UserId, affiliation: str) -> str:
    return f"<item jid='{escape_attribute(view.bare_jid(user_id))}' affiliation='{affiliation}'/>"


def refusal(session: XmppSession, view: MucView, presence: Element, problem: Problem) -> bytes:
    """The list is not for who enters, who enters all the same. spec: XEP-0463 5.2.3 (a message)"""
    opening = Element("message", CLIENT_NS, {"to": view.jid} | ({"id": i} if (i := presence.get("id")) else {}))
    return stanza_error(opening, session.full, problem, view.jid)
