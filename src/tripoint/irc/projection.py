"""Users and rooms of the middle in the words of IRC: nicks, masks, accounts, channel names, prefixes, modes.

Names that depend on something that can change (display names, room names) are kept in the name table and
never recomputed (MAPPING 0, 2.2, 3.5).  The rules by which names are made are in names.py.
spec: docs/mapping.md 1, 2, 3, 7, 8.  Read next: tripoint/irc/render.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Final

from tripoint.core.ids import RoomAlias, RoomId, ServerName, UserId, server_of
from tripoint.core.json_view import object_at
from tripoint.core.notices import writes_notices
from tripoint.core.power import PowerLevels, Rank, moderated, op_is_owner
from tripoint.irc.names import alias_of_channel, channel_of_alias, is_nick, nick_of, room_slug, slug_nick
from tripoint.irc.render import Who, one_line
from tripoint.irc.tables import fold
from tripoint.media.ports import FileLinks
from tripoint.rooms.ports import NameTable, RoomView
from tripoint.rooms.settings import asks_password, member_limit, spelling, text_rule, tls_only
from tripoint.rooms.succession import predecessor_of

_NICKS: Final = "irc_nick"
_SLUGS: Final = "slug"
_SAFE_USERNAME: Final = re.compile(r"[A-Za-z0-9._=/+-]{1,32}")
# What guests are called in the middle; nobody registers such a name (MAPPING 1.9).
_GUEST: Final = re.compile(r"guest-[0-9]+")
_SAFE_ACCOUNT: Final = re.compile(r"[!-9;-~][!-~]{0,99}")
# A mask is in front of nearly everything: with a nick of 90 bytes and a channel of 200 a line still has room.
_MAX_HOST: Final = 64


class Names:
    """Which nick a user has and which channel name a room, and back; what address a file. One for all IRC sessions."""

    def __init__(
        self,
        server: ServerName,
        table: NameTable,
        files: FileLinks,
        is_bot: Callable[[UserId], bool] = lambda user_id: False,
        called: Callable[[UserId], str | None] = lambda user_id: None,
    ) -> None:
        """`is_bot`: users of application services that say so of themselves (docs/mapping.md 1.12). `called`: what
        somebody is called everywhere, where that is known.
        """
        self._is_bot = is_bot
        self._called = called
        self.server = server
        self.files = files
        self._table = table
        self._nicks: dict[UserId, str] = {}
        self._users: dict[str, UserId] = {}
        self._masks: dict[UserId, str] = {}
        self._guests: dict[UserId, str] = {}
        self._realnames: dict[UserId, str] = {}  # of guests alone
        # The hosts that accounts have in the place of the server's name (MAPPING 18.4).
        self._hosts: dict[UserId, str] = {}
        # Who is a bot or an operator now; nearly nobody.
        self._marks: dict[UserId, Who] = {}
        # Guests who were told to have quit and have not left their rooms yet: not shown, and not told again.
        self.gone: set[UserId] = set()
        self._slugs: dict[RoomId, str] = {}
        self._slug_rooms: dict[str, RoomId] = {}
        # Which room has an alias of another server as its channel name. Any room can claim one.
        self._claimed: dict[str, RoomId] = {}
        self._claims: dict[RoomId, str] = {}
        # Upper case that names of channels have, as their rooms were last seen (MAPPING 3.7); few have any.
        self._spellings: dict[RoomId, str] = {}

    async def load(self) -> None:
        """Take the names that were given in earlier runs."""
        for user_id, nick in (await self._table.load_names(_NICKS, "")).items():
            self._keep(UserId(user_id), nick)
        for room_id, channel in (await self._table.load_names(_SLUGS, "")).items():
            self._slugs[RoomId(room_id)] = channel
            self._slug_rooms[fold(channel)] = RoomId(room_id)

    # --- users -------------------------------------------------------------------------------------------

    def nick(self, user_id: UserId, displayname: str | None = None) -> str:
        """The nick of any user; given once, it stays.  `displayname` matters for slugs alone."""
        nick = self._nicks.get(user_id)
        if nick is None:
            nick = nick_of(user_id, self.server, displayname or "")
            holder = self._users.get(fold(nick))
            if holder is not None and holder != user_id:
                # spec: docs/mapping.md 2.4: the first holder keeps it, the later gets the slug form.
                nick = slug_nick(user_id, displayname or "", hash_length=8)
            self._keep(user_id, nick)
            if "~" in nick:
                self._table.put_name(_NICKS, "", user_id, nick)
        return nick

    def user(self, nick: str) -> UserId | None:
        """Who has this nick, among those that were ever seen here."""
        return self._users.get(fold(nick))

    def local_user(self, nick: str) -> UserId:
        """The account that this nick would be; whether there is one is for the account service."""
        return UserId(f"@{fold(nick)}:{self.server}")

    def mask(self, user_id: UserId) -> str:
        """``nick!user@host``, the source of the user's lines.  spec: docs/mapping.md 1.1, 1.5, 1.9"""
        mask = self._masks.get(user_id)
        if mask is None:
            nick = self.nick(user_id)
            username, host = self.username_and_host(user_id)
            from_server = writes_notices(user_id, self.server)
            mask = self._masks[user_id] = nick if from_server else f"{nick}!{username}@{host}"
        return mask

    def username_and_host(self, user_id: UserId) -> tuple[str, str]:
        """What stands after ``!`` and after ``@``. Nothing in them tells an address."""
        localpart, _, server = user_id[1:].partition(":")
        username = localpart if _SAFE_USERNAME.fullmatch(localpart) else "user"
        host = self._guests.get(user_id) or self._hosts.get(user_id, server)
        return username, re.sub(r"[^A-Za-z0-9.-]", "-", host)[:_MAX_HOST] or "unknown"

    def account(self, user_id: UserId) -> str | None:
        """The account name as tags and WHOIS show it: the localpart, ``localpart:server`` for remote users.

        None for guests, those too who are long gone and speak from history alone (MAPPING 1.9).
        """
        if user_id in self._guests or writes_notices(user_id, self.server):
            return None
        localpart, _, server = user_id[1:].partition(":")
        if server == self.server and _GUEST.fullmatch(localpart):
            return None
        name = localpart if server == self.server else f"{localpart}:{server}"
        return name if _SAFE_ACCOUNT.fullmatch(name) else self.nick(user_id)

    def who(self, user_id: UserId) -> Who:
        """What tags say of a user."""
        marks = self._marks.get(user_id) if self._marks else None
        return Who(self.account(user_id), self._is_bot(user_id)) if marks is None else marks

    def mark(self, user_id: UserId, *, bot: bool, operator: bool) -> None:
        """A user is, or is not any more, a bot or an operator."""
        bot = bot or self._is_bot(user_id)
        if bot or operator:
            self._marks[user_id] = Who(self.account(user_id), bot, operator)
        else:
            self._marks.pop(user_id, None)

    def set_host(self, user_id: UserId, host: str | None) -> None:
        """What is shown of an account in the place of the server's name; None: that."""
        if host is None:
            self._hosts.pop(user_id, None)
        else:
            self._hosts[user_id] = host
        self._masks.pop(user_id, None)

    def own_host(self, user_id: UserId) -> str | None:
        """The host of a guest, or one that an account was given; None for all others."""
        return self._guests.get(user_id) or self._hosts.get(user_id)

    def set_guest(self, user_id: UserId, nick: str, host: str, realname: str = "") -> None:
        """A guest of ours has, or changes to, this nick. `realname`: what else it calls itself; "" as before."""
        realname = realname or self._realnames.get(user_id, "")
        self.forget(user_id)
        self._guests[user_id] = host
        self._keep(user_id, nick)
        if realname:
            self.set_realname(user_id, realname)

    def set_realname(self, user_id: UserId, realname: str) -> None:
        """A guest of ours calls itself so, beside its nick."""
        self._realnames[user_id] = realname

    def realname(self, user_id: UserId, displayname: str | None) -> str:
        """What stands where IRC has the real name: the display name; of a guest, whose nick that is, its own word.

        spec: docs/mapping.md 2.3
        """
        own = self._realnames.get(user_id) if self._realnames else None
        return one_line(own or displayname or "") or self.nick(user_id, displayname)

    def realname_in(self, user_id: UserId, displayname: str | None) -> str:
        """As `realname`, of a member whom a room calls `displayname`: what he is called everywhere counts (2.5)."""
        called = self._called(user_id) if server_of(user_id) == self.server else None
        return self.realname(user_id, displayname if called is None else called)

    def forget(self, user_id: UserId) -> None:
        """A guest is gone, or its nick changes."""
        nick = self._nicks.pop(user_id, None)
        if nick is not None and self._users.get(fold(nick)) == user_id:
            del self._users[fold(nick)]
        self._masks.pop(user_id, None)
        self._guests.pop(user_id, None)
        self._realnames.pop(user_id, None)

    def is_our_guest(self, user_id: UserId) -> bool:
        return user_id in self._guests

    def is_past_guest(self, user_id: UserId) -> bool:
        """Whether this was a guest of ours, and is one no more."""
        localpart, _, server = user_id[1:].partition(":")
        return server == self.server and user_id not in self._guests and _GUEST.fullmatch(localpart) is not None

    def past_guest_mask(self, user_id: UserId, displayname: str | None) -> str:
        """The source of what a guest who is gone once said; the nick that it had is remembered for nobody."""
        localpart = user_id[1:].partition(":")[0]
        nick = displayname if displayname is not None and is_nick(displayname) else localpart
        return f"{nick}!{localpart}@guest.{self.server}"

    def _keep(self, user_id: UserId, nick: str) -> None:
        self._nicks[user_id] = nick
        self._users[fold(nick)] = user_id
        self._masks.pop(user_id, None)

    # --- rooms -------------------------------------------------------------------------------------------

    def channel(self, room: RoomView) -> str:
        """The channel name: the canonical alias where IRC can carry it, else a slug that stays.

        Whoever may set the state of a room can claim any alias: one of ours has to be the room's, one of
        another server is the first room's that claims it.
        """
        spelled = spelling(room)
        if spelled is not None:
            self._spellings[room.room_id] = spelled
        elif self._spellings:
            self._spellings.pop(room.room_id, None)
        alias = room.canonical_alias
        if alias is not None and server_of(alias) == self.server and alias not in room.aliases:
            alias = None
        if alias is None and predecessor_of(room) is not None and room.aliases:
            # Names of this server move with a room that another server replaced; what it is called there may not.
            alias = room.aliases[0]
        members: tuple[str, ...] = ()
        if alias is None and room.room_id not in self._slugs:
            first = islice(room.joined().items(), 3)
            members = tuple(member.displayname or self.nick(user_id) for user_id, member in first)
        if alias is not None and not room.is_here(self.server):
            # An invitation is another server's word; what it claims to be called is not taken from a room of ours.
            channel = channel_of_alias(alias, self.server)
            if channel is not None and self._claimed.get(fold(channel), room.room_id) == room.room_id:
                return channel
            alias = None
        return self.channel_of(room.room_id, alias, room.name, members)

    def channel_of(
        self, room_id: RoomId, alias: RoomAlias | None, name: str | None, members: tuple[str, ...] = ()
    ) -> str:
        """As `channel`, for a room of which only this is known."""
        if alias is not None:
            channel = channel_of_alias(alias, self.server)
            if channel is not None and (server_of(alias) == self.server or self._claim(room_id, channel)):
                spelled = self._spellings.get(room_id, channel)
                return spelled if fold(spelled) == fold(channel) else channel
        slug = self._slugs.get(room_id)
        if slug is None:
            slug = room_slug(room_id, name or "", members)
            self._slugs[room_id] = slug
            self._slug_rooms[fold(slug)] = room_id
            self._table.put_name(_SLUGS, "", room_id, slug)
        return slug

    def _claim(self, room_id: RoomId, channel: str) -> bool:
        """Whether a room has this name of another server's, now if not before."""
        key = fold(channel)
        if self._claimed.setdefault(key, room_id) != room_id:
            return False
        former = self._claims.get(room_id)
        if former != key:
            if former is not None:
                del self._claimed[former]
            self._claims[room_id] = key
        return True

    def hand_on(self, old: RoomView, new: RoomView, shown: str | None) -> None:
        """`new` has taken the place of `old`: it goes by its name, unless it has one that IRC can carry.

        `shown`: what `old` is called where somebody hears it. A name of this server is an alias, and moved with it.
        """
        claim = self._claims.pop(old.room_id, None)
        if claim is not None:
            self._claims[new.room_id] = self._claims.get(new.room_id, claim)
            self._claimed[claim] = new.room_id
        name = shown if shown is not None else self._slugs.get(old.room_id, claim)
        alias = None if name is None else alias_of_channel(name, self.server)
        is_ours = alias is not None and server_of(RoomAlias(alias)) == self.server
        own = new.canonical_alias
        has_one = own is not None and channel_of_alias(own, self.server) is not None
        if name is None or is_ours or has_one or new.room_id in self._slugs:
            return
        self._slugs[new.room_id] = name
        self._slug_rooms[fold(name)] = new.room_id
        self._table.put_name(_SLUGS, "", new.room_id, name)

    def slug_room(self, channel: str) -> RoomId | None:
        """The room that was given this slug."""
        return self._slug_rooms.get(fold(channel))

    def alias(self, channel: str) -> str | None:
        """The alias that a channel name means, not folded; None for a slug and for what is no channel name."""
        return alias_of_channel(channel, self.server)


# --- rank and modes ------------------------------------------------------------------------------------

# Highest first, as in PREFIX; what a rank is announced with (MAPPING 7: `+q` comes as `+qo`).
MODES_OF_RANK: Final = {
    Rank.OWNER: "qo",
    Rank.ADMIN: "ao",
    Rank.OP: "o",
    Rank.HALFOP: "h",
    Rank.VOICE: "v",
}
PREFIX_OF_RANK: Final = {
    Rank.OWNER: "~@",
    Rank.ADMIN: "&@",
    Rank.OP: "@",
    Rank.HALFOP: "%",
    Rank.VOICE: "+",
}
RANK_OF_MODE: Final = {
    "q": Rank.OWNER,
    "a": Rank.ADMIN,
    "o": Rank.OP,
    "h": Rank.HALFOP,
    "v": Rank.VOICE,
}


def prefix(rank: Rank, *, multi: bool) -> str:
    """All prefixes of a rank with `multi-prefix`, else the highest one."""
    signs = PREFIX_OF_RANK.get(rank, "")
    return signs if multi else signs[:1]


TEXT_RULES_OF_MODE: Final = {"C": "no_ctcp", "c": "no_colour"}


def invite_only(room: RoomView) -> bool:
    """``+i``: every join rule but `public`, unless it is a key that opens (MAPPING 8.4, 8.5)."""
    return room.join_rule != "public" and not asks_password(room.state)


def channel_flags(room: RoomView) -> str:
    """The flag modes that are on, sorted. ``n`` always is (MAPPING 8.8)."""
    power = room.power
    flags = {"n"}
    if topic_protected(power):
        flags.add("t")
    if moderated(power):
        flags.add("m")
    # spec: docs/mapping.md 8.4: knock, restricted and knock_restricted show +i too.
    if invite_only(room):
        flags.add("i")
    if room.guest_access != "can_join":
        flags.add("R")
    if not room.listed:
        flags.add("s")
    if tls_only(room):
        flags.add("S")
    flags |= {letter for letter, rule in TEXT_RULES_OF_MODE.items() if text_rule(room.state, rule)}
    return "".join(sorted(flags))


def topic_protected(power: PowerLevels) -> bool:
    """``+t``: somebody with the default level may not set the topic."""
    return power.event("m.room.topic", is_state=True) > power.users_default


def channel_args(room: RoomView) -> dict[str, str]:
    """The modes that are on and have a parameter; of a key, that there is one (MAPPING 8.5)."""
    args = {}
    if asks_password(room.state):
        args["k"] = "*"
    limit = member_limit(room)
    if limit is not None:
        args["l"] = str(limit)
    return args


def muted_users(power: PowerLevels) -> frozenset[UserId]:
    """Who is muted by name, in the room or not: the ``~m:`` entries of the ban list (MAPPING 7, 9.6)."""
    named = object_at(power.content, "users")
    return frozenset(UserId(name) for name in named if power.user(name) < 0)


def shown_rank(room: RoomView, user_id: UserId) -> Rank:
    """The rank of a member as IRC shows it."""
    return as_shown(room.rank(user_id), room.power)


def as_shown(rank: Rank, power: PowerLevels) -> Rank:
    """Where the room has no op below owner, ops are owners (MAPPING 7.10)."""
    return Rank.OWNER if rank is Rank.OP and op_is_owner(power) else rank


def rank_letters(rank: Rank) -> str:
    """Mode letters with which a shown rank is announced."""
    return MODES_OF_RANK.get(rank, "")
