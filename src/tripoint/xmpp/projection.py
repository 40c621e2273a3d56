"""Rooms and users of the middle in the words of XMPP: affiliation and role, nicks in a room, occupant ids.

spec: docs/mapping.md 2.6, 2.7 (nicks), 7 (standing), 8.13 (occupant ids); XEP-0045 5, XEP-0421 4.1.
Pure. Addresses are in jid.py, stanzas in render.py.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tripoint.core.confusables import skeletons
from tripoint.core.ids import RoomId, ServerName, UserId, server_of, split_user_id
from tripoint.core.power import Rank
from tripoint.core.precis import PrecisError, is_freeform_char, is_resourceprep_stable, prepare_opaque
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.ports import RoomView
from tripoint.rooms.settings import asks_password
from tripoint.xmpp.jid import (
    Domains,
    alias_jid_local,
    room_id_jid_local,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What XEP-0045 5 calls affiliation (lasting) and role (this visit). Here both follow the rank.

    `hat`: the name of a rank that these two do not tell from others; "" for those that they do. docs/mapping.md 7
    """

    affiliation: str
    role: str
    hat: str = ""


_STANDINGS: Final = {
    Rank.OWNER: Standing("owner", "moderator"),
    Rank.ADMIN: Standing("admin", "moderator", "admin"),
    Rank.OP: Standing("admin", "moderator"),
    Rank.HALFOP: Standing("member", "moderator", "halfop"),
    Rank.VOICE: Standing("member", "participant"),
    Rank.BANNED: Standing("outcast", "none"),
}
_ORDINARY_ROLES: Final = {Rank.PLAIN: "participant", Rank.UNVOICED: "visitor", Rank.MUTED: "visitor"}


def standing_of(rank: Rank, *, public: bool) -> Standing:
    """docs/mapping.md 7. Whoever is in a room that is not public is a member of it."""
    role = _ORDINARY_ROLES.get(rank)
    if role is not None:
        return Standing("none" if public else "member", role)
    return _STANDINGS[rank]


def standing_in(room: RoomView, user_id: UserId) -> Standing:
    """The standing of a joined or banned user."""
    return standing_of(room.rank(user_id), public=is_public(room))


def affiliation_in(room: RoomView, user_id: UserId) -> str:
    """The affiliation of anybody, in the room or not: ranks and invitations last. spec: XEP-0045 5.2"""
    membership = room.membership(user_id)
    rank = room.rank(user_id)
    if membership in ("join", "ban") or rank.above(Rank.PLAIN):
        return standing_of(rank, public=is_public(room)).affiliation
    # docs/mapping.md 7.5: whoever is invited to a members-only room is on its list of members.
    return "member" if membership == "invite" and not is_public(room) else "none"


def is_public(room: RoomView) -> bool:
    """Whether anybody may enter, who knows the password if there is one: the opposite of members-only (mapping 8.4)."""
    return room.join_rule == "public" or asks_password(room.state)


def room_jid(room: RoomView, domains: Domains) -> str:
    """The bare JID under which a room is entered: its canonical alias, a local one, or its id. mapping 3

    Whoever may set the state of a room can claim any alias as the canonical one; one of ours has to be the room's.
    """
    for alias in (room.canonical_alias, *room.aliases):
        if alias is not None and server_of(alias) == domains.server and alias not in room.aliases:
            continue
        local = None if alias is None else alias_jid_local(alias, domains.server)
        if local is not None:
            return f"{local}@{domains.rooms}"
    return f"{room_id_jid_local(room.room_id)}@{domains.rooms}"


def occupant_id(secret: bytes, room_id: RoomId, user_id: UserId) -> str:
    """The id of a user in one room, for ever the same, telling nothing. spec: XEP-0421 4.1

    `secret` is the server's; its HMAC over the room id is the room's.
    """
    room_secret = hmac.digest(secret, room_id.encode(), "sha256")
    return hmac.new(room_secret, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


# -- nicks

# A nick is shown in one line of a list; nobody needs more, and it stands in every stanza of its holder.
MAX_NICK_BYTES: Final = 250
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def handle_of(user_id: UserId, server: ServerName) -> str:
    """The stable handle of a user where a display name cannot serve: localpart, or localpart:server; of people of
    other XMPP servers bob|other.org, as on IRC (docs/mapping.md 1.7).

    What would not be a nick in it is taken out; if nothing is left, a piece of the id's hash stands for it.
    """
    localpart, its_server = split_user_id(user_id)
    handle = localpart if its_server == server else f"{localpart}:{its_server}"
    if (address := stand_in_address(user_id, server)) is not None:
        handle = "|".join(address.rsplit("@", 1))
    cleaned = clean_nick(handle)
    if cleaned == handle:
        return handle
    digest = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{cleaned or 'user'}~{digest}"


def are_alike(one: str, other: str) -> bool:
    """Whether two nicks are too alike to be in one room. docs/mapping.md 2.6"""
    return not skeletons(one).isdisjoint(skeletons(other))


def is_valid_nick(nick: str) -> bool:
    """Whether a nick can be used as it is: OpaqueString, Resourceprep, no bidi controls, not too long."""
    if not nick or nick != nick.strip() or len(nick.encode("utf-8", "surrogatepass")) > MAX_NICK_BYTES:
        return False
    try:
        if prepare_opaque(nick) != nick:
            return False
    except PrecisError:
        return False
    return is_resourceprep_stable(nick) and not any(char in _BIDI_CONTROLS for char in nick)


def clean_nick(name: str) -> str:
    """`name` without what a nick may not hold; may be empty."""
    text = unicodedata.normalize("NFKC", name)
    kept = "".join(
        " " if unicodedata.category(char) == "Zs" else char
        for char in text
        if is_freeform_char(char) and char not in _BIDI_CONTROLS and is_resourceprep_stable(char)
    )
    kept = " ".join(kept.split())
    while len(kept.encode()) > MAX_NICK_BYTES:
        kept = kept[: MAX_NICK_BYTES // 2] if len(kept) > MAX_NICK_BYTES // 2 else kept[:-1]
    kept = kept.strip()
    return kept if is_valid_nick(kept) else ""


class Nicks:
    """Who has which nick in one room. First come, first kept; others' renames never change mine.

    `keep(user_id, nick)` is called when a nick was given, to remember it. `account_like(name)`: the local account
    that has this name, or one too much like it; nobody else is given that, in the room or not.
    """

    def __init__(
        self,
        server: ServerName,
        remembered: Mapping[str, str],
        keep: Callable[[UserId, str], None],
        account_like: Callable[[str], UserId | None],
    ) -> None:
        self._server = server
        self._keep = keep
        self._account_like = account_like
        self._nicks: dict[UserId, str] = {}
        self._names: dict[UserId, str | None] = {}
        self._holders: dict[str, UserId] = {}
        self._handles: dict[str, UserId] = {}
        self._remembered = {UserId(user_id): nick for user_id, nick in remembered.items()}

    def heir(self, keep: Callable[[UserId, str], None]) -> "Nicks":
        """The nicks of a room that takes the place of this one: who comes over is called what he was called."""
        known = {**self._remembered, **self._nicks}
        nicks = {str(user_id): nick for user_id, nick in known.items()}
        heir = Nicks(self._server, nicks, keep, self._account_like)
        for user_id, nick in self._remembered.items():
            keep(user_id, nick)
        return heir

    def nick(self, user_id: UserId) -> str | None:
        """The nick of somebody who has one now."""
        return self._nicks.get(user_id)

    def holder(self, nick: str) -> UserId | None:
        """Whose nick or handle this is, or whose it is too much like."""
        for key in skeletons(nick):
            found = self._holders.get(key) or self._handles.get(key)
            if found is not None:
                return found
        return None

    def assign(self, user_id: UserId, displayname: str | None) -> str:
        """The nick of a member with this display name; the one he has, if the name is the same as before."""
        current = self._nicks.get(user_id)
        if current is not None and self._names.get(user_id) == displayname:
            return current
        if current is not None:
            _drop(self._holders, current, user_id)
        nick = self._choose(user_id, displayname)
        self._nicks[user_id] = nick
        self._names[user_id] = displayname
        for key in skeletons(nick):
            self._holders[key] = user_id
        handle = handle_of(user_id, self._server)
        for key in skeletons(handle):
            self._handles[key] = user_id
        # The handle comes out again by itself; only what was chosen needs to be remembered.
        if self._remembered.get(user_id, handle) != nick:
            self._remembered[user_id] = nick
            self._keep(user_id, nick)
        return nick

    def release(self, user_id: UserId) -> None:
        """He has left: the nick is free."""
        nick = self._nicks.pop(user_id, None)
        self._names.pop(user_id, None)
        if nick is not None:
            _drop(self._holders, nick, user_id)
            _drop(self._handles, handle_of(user_id, self._server), user_id)

    def former(self, user_id: UserId, displayname: str | None) -> str:
        """The nick under which a message of somebody is shown who may be gone. Gives nothing away for good."""
        nick = self._nicks.get(user_id) or self._remembered.get(user_id)
        if nick is not None:
            return nick
        wish = displayname if displayname is not None else handle_of(user_id, self._server)
        holder = self.holder(wish)
        if is_valid_nick(wish) and holder in (None, user_id) and not self._is_anothers(wish, user_id):
            return wish
        return handle_of(user_id, self._server)

    def _choose(self, user_id: UserId, displayname: str | None) -> str:
        handle = handle_of(user_id, self._server)
        if displayname is None:
            wishes = [handle]
        else:
            cleaned = displayname if is_valid_nick(displayname) else clean_nick(displayname)
            wishes = [cleaned, f"{cleaned} ({handle})"] if cleaned else []
            wishes.append(handle)
        remembered = self._remembered.get(user_id)
        if len(wishes) > 2 and remembered == wishes[1]:
            # He was called so before, when somebody else had the name alone; who left is not a reason to rename.
            wishes.insert(0, remembered)
        for wish in wishes:
            if self._is_free(wish, user_id) and (wish in (handle, remembered) or not self._is_anothers(wish, user_id)):
                return wish
        number = 2
        while not self._is_free(f"{handle} {number}", user_id):
            number += 1
        return f"{handle} {number}"

    def _is_anothers(self, nick: str, user_id: UserId) -> bool:
        """Whether somebody else of this server is called so, here or not."""
        return self._account_like(nick) not in (None, user_id)

    def _is_free(self, nick: str, user_id: UserId) -> bool:
        """Nobody here has it, and it is not the handle of another member."""
        if not is_valid_nick(nick):
            return False
        return all(
            self._holders.get(key, user_id) == user_id and self._handles.get(key, user_id) == user_id
            for key in skeletons(nick)
        )


def _drop(table: dict[str, UserId], nick: str, user_id: UserId) -> None:
    for key in skeletons(nick):
        if table.get(key) == user_id:
            del table[key]
