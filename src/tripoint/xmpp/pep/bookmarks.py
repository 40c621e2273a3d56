"""Bookmarks: the rooms that an account is in, whatever it entered them by, as a node that its clients hear of.

A room that the account is in has a bookmark with autojoin, and the other way round: who publishes one enters the room,
who takes it away, or takes autojoin off, leaves it. What a client says beside that (name, nick, extensions) is kept: by
the room's id for rooms that the account is or was in, by the address that was given for others. Bookmarks of rooms that
do not exist here are kept as they are. Rooms of two and encrypted ones are not shown.
How loud a room is (XEP-0492) is the account's push rules.
spec: XEP-0402; docs/mapping.md 4.2, 4.4, 19.2, 22.3. Read next: conference.py, old_bookmarks.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import RoomId, UserId
from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, NodeItem, SendLast
from tripoint.core.push_changes import TooManyRules
from tripoint.core.push_levels import RoomLevel, room_levels, set_room_level
from tripoint.core.push_rules import ACCOUNT_DATA as PUSH_RULES
from tripoint.core.push_rules import read_rules
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import (
    AccountDataChanged,
    DirectoryChanged,
    EventCommitted,
    MembershipChanged,
    NodeChanged,
    RoomChange,
    StateReset,
    UserChange,
)
from tripoint.rooms.commands import Join, Leave, Secret
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.succession import predecessor_of, replacement_of
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid
from tripoint.xmpp.muc.nicks import check_nick, wished_nick
from tripoint.xmpp.pep.conference import Conference, read_conference, stored_conference
from tripoint.xmpp.pep.notification_settings import level_in, with_level
from tripoint.xmpp.pep.notify import published, retracted
from tripoint.xmpp.projection import handle_of, is_valid_nick, room_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.tables import BOOKMARKS_NS
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.direct import DirectMessages
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.muc.service import Muc
    from tripoint.xmpp.pep.service import Pep
    from tripoint.xmpp.session import Doors, XmppSession

declare_feature(f"{BOOKMARKS_NS}#compat", at=(At.ACCOUNT,), spec="XEP-0402 5.3, 6")
declare_feature(f"{BOOKMARKS_NS}#compat-pep", at=(At.ACCOUNT,), spec="XEP-0402 5.3, 6")

# State that shows in a bookmark.
_SHOWN: Final = frozenset({"m.room.name", "m.room.canonical_alias", "m.room.encryption"})


class Bookmarks:
    """The node of bookmarks, of all accounts. See pep.service.LiveNode."""

    name = BOOKMARKS_NS
    config = NodeConfig(
        access=Access.WHITELIST, max_items=MAX_ITEMS, send_last=SendLast.NEVER, notify_retract=True, notify_delete=True
    )

    def __init__(
        self, doors: "Doors", users: "Users", muc: "Muc", direct: "DirectMessages", pep: "Pep", hub: Hub
    ) -> None:
        self._doors = doors
        self._users = users
        self._muc = muc
        self._direct = direct
        self._pep = pep
        # Of each account that is here: under which address each room was told, and what was said of it.
        self._told: dict[UserId, dict[RoomId, tuple[str, str]]] = {}
        # Rooms that are being entered or left because of a bookmark: told once, by who does it.
        self._quiet: set[tuple[UserId, RoomId]] = set()
        # Accounts of which bookmarks are kept: of all others nothing has to be looked up when they enter a room.
        self._keeping: set[UserId] = set()
        # How loud rooms are for each account that is here, as its clients were told last.
        self._levels: dict[UserId, Mapping[str, RoomLevel]] = {}
        hub.watch_users(self._user_changed)
        hub.watch_all_rooms(self._room_changed, messages=False)

    async def start(self) -> None:
        """Read whose bookmarks are kept."""
        self._keeping.update(await self._pep.stored.owners(BOOKMARKS_NS))

    # -- reading

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        found = await self.all(user_id)
        return [self._item(user_id, jid, conference) for jid, conference in found.items()][::-1][:limit]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        conference = (await self.all(user_id)).get(item_id)
        return None if conference is None else self._item(user_id, item_id, conference)

    async def all(self, user_id: UserId) -> dict[str, Conference]:
        """All bookmarks of an account by their addresses, the newest last."""
        stored = {item.item_id: item for item in await self._pep.stored.items(user_id, BOOKMARKS_NS)}
        joined: dict[str, Conference] = {}
        levels = await self._levels_of(user_id)
        for jid, room in (await self.rooms(user_id)).items():
            found = [item for key in _keys(room, jid) if (item := stored.pop(key, None)) is not None]
            kept = found[0] if found else None
            joined[jid] = self._now(room, user_id, kept, levels)
            if self._users.live(user_id) is not None:
                self._told.setdefault(user_id, {}).setdefault(room.room_id, (jid, ""))
        others: dict[str, Conference] = {}
        for key, item in list(stored.items())[::-1]:
            conference = stored_conference(item.payload)
            jid_of_left = key if not key.startswith("!") else await self._jid_of_left(RoomId(key), conference)
            if jid_of_left is not None:
                others[jid_of_left] = conference
        return {**others, **joined}

    async def rooms(self, user_id: UserId) -> dict[str, RoomView]:
        """The rooms that an account is in and that are shown on XMPP, by their addresses, the newest last."""
        found: dict[str, RoomView] = {}
        positions = await self._doors.reader.membership_positions(user_id)
        for room_id, (membership, _) in sorted(positions.items(), key=lambda row: row[1][1]):
            if membership == "join":
                room = await self._doors.reader.room(room_id)
                if await self.is_shown(room, user_id):
                    found[room_jid(room, self._doors.domains)] = room
        return found

    async def _jid_of_left(self, room_id: RoomId, conference: Conference) -> str | None:
        """The address of a room that is bookmarked and not entered; None for one that was left meanwhile."""
        if conference.autojoin:
            return None
        try:
            return room_jid(await self._doors.reader.room(room_id), self._doors.domains)
        except Refused:
            return None

    async def is_shown(self, room: RoomView, user_id: UserId) -> bool:
        """Whether a room that an account is in is one on XMPP. docs/mapping.md 4.2, 15.1, 19.2, 21.4, 22.1"""
        if room.membership(user_id) != "join" or room.encrypted:
            return False
        heir = replacement_of(room)
        if heir is not None and heir in self._doors.reader.joined_rooms(user_id):
            return False
        create = room.state.get(("m.room.create", ""))
        if create is not None and create.content.get("type") == "m.space":
            return False
        return not await self._direct.is_direct(room)

    async def _levels_of(self, user_id: UserId) -> Mapping[str, RoomLevel]:
        """How loud rooms are for an account. docs/mapping.md 22.3"""
        levels = room_levels(await self._doors.accounts.push_rules.of(user_id))
        if self._users.live(user_id) is not None:
            self._levels[user_id] = levels
        return levels

    def _now(
        self, room: RoomView, user_id: UserId, kept: NodeItem | None, levels: Mapping[str, RoomLevel]
    ) -> Conference:
        """The bookmark of a room that the account is in."""
        conference = Conference() if kept is None else stored_conference(kept.payload)
        nick = conference.nick or self._nick(room, user_id)
        extensions = with_level(conference.extensions, levels.get(room.room_id))
        name = conference.name or room.name or ""
        return replace(conference, name=name, nick=nick, autojoin=True, extensions=extensions)

    def _nick(self, room: RoomView, user_id: UserId) -> str:
        """What the account is called there. docs/mapping.md 2.6"""
        view = self._muc.view(room.room_id, room_jid(room, self._doors.domains))
        nick = None if view is None else view.nicks.nick(user_id)
        member = room.member(user_id)
        name = None if member is None else member.displayname
        if nick is None and name is not None and is_valid_nick(name):
            nick = name
        return nick or handle_of(user_id, self._doors.domains.server)

    def _item(self, user_id: UserId, jid: str, conference: Conference) -> NodeItem:
        return NodeItem(jid, conference.xml(), self._users.jid_of(user_id), 0)

    # -- what clients do

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Enter a room, or leave it, as `autojoin` says, and keep the rest."""
        jid = _room_address(item_id)
        await self.put(session, jid, read_conference(payload))
        return str(jid)

    async def put(self, session: "XmppSession", jid: Jid, wish: Conference) -> None:
        """The bookmark of this room is `wish`. Raises what entering or leaving raises, and then nothing is changed."""
        room_id = await self._room_of(session, jid)
        if room_id is None:
            # No room here, or none yet: its clients find out when they enter it.
            await self._keep(session, str(jid), wish)
            return
        room = await self._doors.reader.room(room_id)
        inside = room.membership(session.user_id) == "join"
        if wish.autojoin and room.encrypted:
            raise Refused(Refusal.ENCRYPTED)
        if wish.name == room.name:
            wish = replace(wish, name="")  # it goes on following the room's
        self._quiet.add((session.user_id, room_id))
        try:
            if wish.autojoin and not inside and room.is_here(self._doors.domains.server):
                wish = await self._enter(session, room, wish)
                inside = True
            elif not wish.autojoin and inside and not room.encrypted:
                await self._doors.rooms.do(Leave(actor=session.user_id, room_id=room_id))
        finally:
            self._quiet.discard((session.user_id, room_id))
        if inside:
            await self._set_level(session.user_id, room_id, level_in(wish.extensions))
        await self._keep(session, room_id if inside else str(jid), wish)

    async def _set_level(self, user_id: UserId, room_id: RoomId, level: RoomLevel | None) -> None:
        """A room is as loud as its bookmark says. What is told of that is the bookmark, by who keeps it."""
        rules = await self._doors.accounts.push_rules.of(user_id)
        if room_levels(rules).get(room_id) is level:
            return
        if user_id in self._levels:
            kept = {room: known for room, known in self._levels[user_id].items() if room != room_id}
            self._levels[user_id] = kept if level is None else {**kept, room_id: level}
        try:
            await self._doors.accounts.push_rules.change(user_id, lambda rules: set_room_level(rules, room_id, level))
        except TooManyRules:
            raise Problem("resource-constraint", "You have too many push rules") from None

    async def _enter(self, session: "XmppSession", room: RoomView, wish: Conference) -> Conference:
        """Enter, under the wished nick where it is free and valid; the bookmark without it where it is not.

        docs/mapping.md 2.7
        """
        view = await self._muc.open(room)
        view.holds += 1
        try:
            if wish.nick:
                await check_nick(session, view, wish.nick)
        except Problem:
            wish = replace(wish, nick="")
        finally:
            view.holds -= 1
            self._muc.close_if_empty(view)
        await self._doors.rooms.do(
            Join(
                actor=session.user_id,
                room_id=room.room_id,
                nick=wished_nick(session, wish.nick) if wish.nick else None,
                password=Secret(wish.password) if wish.password else None,
            )
        )
        return wish

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """Leave the room, and forget what was kept of it. docs/mapping.md 4.4"""
        user_id = session.user_id
        if item_id not in await self.all(user_id):
            raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
        room_id = await self._room_of(session, _room_address(item_id))
        if room_id is not None and (await self._doors.reader.memberships(user_id)).get(room_id) == "join":
            self._quiet.add((user_id, room_id))
            try:
                await self._doors.rooms.do(Leave(actor=user_id, room_id=room_id))
            finally:
                self._quiet.discard((user_id, room_id))
        for key in (room_id, item_id):
            if key is not None and await self._pep.stored.item(user_id, BOOKMARKS_NS, key) is not None:
                await self._pep.stored.retract(user_id, BOOKMARKS_NS, key)
        self._tell_gone(user_id, item_id)

    async def _room_of(self, session: "XmppSession", jid: Jid) -> RoomId | None:
        if jid.domain != self._doors.domains.rooms:
            return None
        return await self._muc.find(session, jid)

    async def _keep(self, session: "XmppSession", key: str, wish: Conference) -> None:
        item = NodeItem(key, wish.xml(), session.full, 0)
        await self._pep.stored.publish(session.user_id, BOOKMARKS_NS, item, default=self.config)

    # -- telling

    def ended(self, user_id: UserId) -> None:
        """The last session of an account is gone."""
        self._told.pop(user_id, None)
        self._levels.pop(user_id, None)

    def _hears(self, user_id: UserId) -> bool:
        return self._pep.hears_bookmarks(user_id)

    def _user_changed(self, change: UserChange) -> None:
        """See fanout.hub."""
        if isinstance(change, NodeChanged):
            if change.node == BOOKMARKS_NS and change.published:
                self._keeping.add(change.user_id)
                for item in change.published if self._hears(change.user_id) else ():
                    self._doors.spawn(self._tell_kept(change.user_id, item))
        elif isinstance(change, AccountDataChanged):
            if change.type == PUSH_RULES and self._hears(change.user_id):
                self._levels_changed(change)
        elif isinstance(change, MembershipChanged) and self._concerns(change):
            self._doors.spawn(self._came_or_went(change, quiet=(change.user_id, change.room_id) in self._quiet))

    def _levels_changed(self, change: AccountDataChanged) -> None:
        """Tell of the rooms that are louder or quieter than before."""
        before = self._levels.get(change.user_id, {})
        after = self._levels[change.user_id] = room_levels(read_rules(change.user_id, change.content))
        for room_id in sorted(before.keys() | after.keys()):
            if before.get(room_id) is not after.get(room_id):
                self._doors.spawn(self._tell_room(change.user_id, RoomId(room_id)))

    def _concerns(self, change: MembershipChanged) -> bool:
        moved = "join" in (change.membership, change.before)
        return moved and (change.user_id in self._keeping or self._hears(change.user_id))

    def _room_changed(self, change: RoomChange) -> None:
        """See fanout.hub: what shows in bookmarks of everybody who is in the room and here."""
        if isinstance(change, EventCommitted):
            if change.event.type not in _SHOWN:
                return
        elif isinstance(change, StateReset):
            if not any(event is not None and event.type in _SHOWN for pair in change.changed for event in pair):
                return
        elif not isinstance(change, DirectoryChanged):
            return
        room = self._doors.reader.peek(change.room_id)
        for user_id in () if room is None else self._users.everybody():
            if room is not None and room.membership(user_id) == "join" and self._hears(user_id):
                self._doors.spawn(self._tell_room(user_id, change.room_id))

    async def _came_or_went(self, change: MembershipChanged, *, quiet: bool) -> None:
        user_id, room_id = change.user_id, change.room_id
        if change.membership == "join":
            await self._adopt(user_id, room_id)
        if not quiet and self._hears(user_id):
            await self._tell_room(user_id, room_id)

    async def _adopt(self, user_id: UserId, room_id: RoomId) -> None:
        """A bookmark of a room that was not entered becomes that of the room: it goes when the room is left."""
        try:
            jid = room_jid(await self._doors.reader.room(room_id), self._doors.domains)
        except Refused:
            return
        item = await self._pep.stored.item(user_id, BOOKMARKS_NS, jid)
        if item is not None:
            kept = replace(stored_conference(item.payload), autojoin=True)
            moved = NodeItem(room_id, kept.xml(), item.publisher, 0)
            await self._pep.stored.publish(user_id, BOOKMARKS_NS, moved, default=self.config)
            await self._pep.stored.retract(user_id, BOOKMARKS_NS, jid)
            if (level := level_in(kept.extensions)) is not None:
                await self._set_level(user_id, room_id, level)

    async def _tell_kept(self, user_id: UserId, item: NodeItem) -> None:
        """What is kept of a bookmark changed."""
        if item.item_id.startswith("!"):
            await self._tell_room(user_id, RoomId(item.item_id), again=True)
        else:
            self._tell(user_id, item.item_id, stored_conference(item.payload))

    async def _tell_room(self, user_id: UserId, room_id: RoomId, *, again: bool = False) -> None:
        """A room's bookmark as it is now, under the address that it has now; `again`: even if it was told so before."""
        now = await self._bookmark_of(user_id, room_id)
        told = self._told.get(user_id, {})
        before = told.pop(room_id, None)
        if before is not None and (now is None or now[0] != before[0]) and before[0] not in await self.rooms(user_id):
            # Else another room is there now: one that took the place of this one (docs/mapping.md 21.4).
            self._tell_gone(user_id, before[0])
        if now is None:
            return
        jid, conference = now
        if self._users.live(user_id) is not None:
            self._told.setdefault(user_id, {})[room_id] = jid, conference.xml()
        if again or before != (jid, conference.xml()):
            self._tell(user_id, jid, conference)

    async def _bookmark_of(self, user_id: UserId, room_id: RoomId) -> tuple[str, Conference] | None:
        try:
            room = await self._doors.reader.room(room_id)
        except Refused:
            return None
        jid = room_jid(room, self._doors.domains)
        if await self.is_shown(room, user_id):
            found = [await self._pep.stored.item(user_id, BOOKMARKS_NS, key) for key in _keys(room, jid)]
            kept = next((item for item in found if item is not None), None)
            return jid, self._now(room, user_id, kept, await self._levels_of(user_id))
        kept = await self._pep.stored.item(user_id, BOOKMARKS_NS, room_id)
        if kept is None or stored_conference(kept.payload).autojoin:
            return None
        return jid, stored_conference(kept.payload)

    def _tell(self, user_id: UserId, jid: str, conference: Conference) -> None:
        item = self._item(user_id, jid, conference)
        self._pep.notifier.tell_owner(user_id, BOOKMARKS_NS, published(BOOKMARKS_NS, (item,)))
        self._pep.bookmarks_told(user_id)

    def _tell_gone(self, user_id: UserId, jid: str) -> None:
        told = self._told.get(user_id, {})
        for room_id in [room_id for room_id, known in told.items() if known[0] == jid]:
            del told[room_id]
        self._pep.notifier.tell_owner(user_id, BOOKMARKS_NS, retracted(BOOKMARKS_NS, (jid,)))
        self._pep.bookmarks_told(user_id)


def _keys(room: RoomView, jid: str) -> tuple[str, ...]:
    """Under what a bookmark may be kept: the room's id, the address that was given, the room that it replaced."""
    older = predecessor_of(room)
    return (room.room_id, jid) if older is None else (room.room_id, jid, older)


def _room_address(item_id: str | None) -> Jid:
    """spec: XEP-0402 2: the id of a bookmark is the room's address"""
    try:
        jid = parse_jid(item_id or "")
    except InvalidJid:
        raise Problem("jid-malformed", "The id of a bookmark is the address of a room") from None
    if not jid.local or jid.resource:
        raise Problem("bad-request", "The id of a bookmark is the address of a room")
    return jid
