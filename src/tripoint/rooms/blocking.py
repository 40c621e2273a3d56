"""Whom everybody has blocked: one list per account, whichever protocol wrote it, known without waiting.

The list of users is Matrix's m.ignored_user_list; masks and whole servers, which that has no place for, stand beside
it, and so do addresses that are no account's: those that speak XMPP compare them, and nobody else meets one. What
somebody blocked says, types, reads and where he invites to does not reach the account, on any protocol; who is in which
room stays visible. Who wants no invitations at all says so beside it. Only the accounts that block somebody, or
invitations, are in memory.
spec: docs/mapping.md 16; Matrix client-server-api "Ignoring Users", "Invite permission"; XEP-0191.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence, Set

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import InvalidId, RoomId, ServerName, UserId, server_of, split_user_id
from tripoint.core.json_view import object_at
from tripoint.core.masks import MaskRefused, Matcher, parse_mask
from tripoint.core.stand_ins import guise_of, stand_in_id
from tripoint.core.vendor import V
from tripoint.rooms.changes import AccountDataChanged, UserChange
from tripoint.rooms.commands import AllowInvites, BlockUsers, Done
from tripoint.rooms.refusals import Refusal, Refused

IGNORED = "m.ignored_user_list"
MASKS = f"{V}.block_masks"
INVITES = "m.invite_permission_config"
# The account data that is read here.
TYPES = (IGNORED, MASKS, INVITES)
# docs/mapping.md 0 (SILENCE=100) for masks; users are as many as people can dislike.
MAX_MASKS = 100
MAX_ADDRESSES = 500
MAX_USERS = 5000

SetAccountData = Callable[[UserId, RoomId | None, str, JsonObject], Awaitable[None]]


class BlockList(Struct, frozen=True):
    """Whom an account has blocked, in the order in which it did."""

    users: tuple[UserId, ...] = ()
    masks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


EMPTY = BlockList()


class Blocks:
    """All lists; take() each stored one, then hear of changes. The handler of BlockUsers and AllowInvites.

    `server` is this one. `same`: servers whose people are those of the XMPP domain of their name, as far as that is
    proven: who is blocked under one of the two names is under the other (docs/mapping.md 1.6).
    """

    def __init__(self, set_account_data: SetAccountData, server: ServerName) -> None:
        self.same: Set[str] = frozenset()
        self._server = server
        self._set_account_data = set_account_data
        self._content: dict[tuple[UserId, str], JsonObject] = {}
        self._lists: dict[UserId, tuple[BlockList, frozenset[UserId], Matcher]] = {}
        self._by_address: dict[str, frozenset[UserId]] = {}

    def take(self, user_id: UserId, type_: str, content: JsonObject) -> None:
        """Account data of one of the TYPES, as it is now."""
        if content:
            self._content[user_id, type_] = content
        else:
            self._content.pop((user_id, type_), None)
        if type_ == INVITES:
            return
        found = self._read(user_id)
        self._note_addresses(user_id, self.of(user_id).addresses, found.addresses)
        if found == EMPTY:
            self._lists.pop(user_id, None)
        else:
            matcher = Matcher(_entities(found.masks))
            self._lists[user_id] = found, frozenset(found.users), matcher

    def user_changed(self, change: UserChange) -> None:
        """Hears of every user's changes, before the front ends do."""
        if isinstance(change, AccountDataChanged) and change.room_id is None and change.type in TYPES:
            self.take(change.user_id, change.type, change.content)

    def of(self, user_id: UserId) -> BlockList:
        """Whom an account has blocked."""
        found = self._lists.get(user_id)
        return EMPTY if found is None else found[0]

    def blocks(self, viewer: UserId, sender: UserId) -> bool:
        """Whether `viewer` is not to hear of what `sender` does. Called for every message and reader."""
        found = self._lists.get(viewer)
        if found is None or viewer == sender:
            return False
        # Masks meet people of other XMPP servers by their own names (docs/mapping.md 16.2).
        if sender in found[1] or found[2].meets(sender, guise_of(sender, self._server)):
            return True
        return bool(self.same) and self._twin(sender) in found[1]

    def _twin(self, user_id: UserId) -> UserId | None:
        """The other user who is the same person."""
        shown = guise_of(user_id, self._server)
        if shown is not None:
            return UserId(shown) if server_of(UserId(shown)) in self.same else None
        localpart, home = split_user_id(user_id)
        if home not in self.same:
            return None
        try:
            return stand_in_id(f"{localpart}@{home}", self._server)
        except InvalidId:
            return None

    def address_blockers(self, addresses: Iterable[str]) -> frozenset[UserId]:
        """Accounts that have blocked one of these addresses: of whoever sends, from the narrowest to the widest."""
        if not self._by_address:
            return _NOBODY
        return _NOBODY.union(*(self._by_address.get(one, _NOBODY) for one in addresses))

    def _note_addresses(self, user_id: UserId, before: Iterable[str], now: Iterable[str]) -> None:
        for address in before:
            left = self._by_address.get(address, _NOBODY) - {user_id}
            if left:
                self._by_address[address] = left
            else:
                self._by_address.pop(address, None)
        for address in now:
            self._by_address[address] = self._by_address.get(address, _NOBODY) | {user_id}

    def refuses_invites(self, user_id: UserId) -> bool:
        """Whether an account wants no invitations. spec: m.invite_permission_config"""
        return self._content.get((user_id, INVITES), {}).get("default_action") == "block"

    def hides_invitation(self, user_id: UserId, sender: UserId) -> bool:
        """Whether an invitation that is there is not shown: spec: "Invite permission", "Ignoring Users"."""
        return self.refuses_invites(user_id) or self.blocks(user_id, sender)

    async def allow_invites(self, command: AllowInvites) -> Done:
        """See commands.AllowInvites."""
        if self.refuses_invites(command.actor) is command.allowed:
            content = dict(self._content.get((command.actor, INVITES), {}))
            content.pop("default_action", None)
            if not command.allowed:
                content["default_action"] = "block"
            await self._set_account_data(command.actor, None, INVITES, content)
        return Done()

    def has_any(self, viewer: UserId) -> bool:
        """Whether an account blocks anybody."""
        return viewer in self._lists

    def blockers(self, sender: UserId) -> frozenset[UserId]:
        """Accounts that have blocked this user."""
        if not self._lists:
            return _NOBODY
        return frozenset(viewer for viewer in self._lists if self.blocks(viewer, sender))

    async def change(self, command: BlockUsers) -> Done:
        """See commands.BlockUsers."""
        before = self.of(command.actor)
        users, masks = _edited(before, command)
        addresses = _with_addresses(before.addresses, command)
        if len(masks) > MAX_MASKS or len(users) > MAX_USERS or len(addresses) > MAX_ADDRESSES:
            raise Refused(Refusal.LIST_FULL, "Your list of blocked people is full")
        if users != before.users:
            content = self._content.get((command.actor, IGNORED), {})
            known = object_at(content, "ignored_users")
            ignored: JsonObject = {user_id: known.get(user_id, {}) for user_id in users}
            await self._set_account_data(command.actor, None, IGNORED, {**content, "ignored_users": ignored})
        if (masks, addresses) != (before.masks, before.addresses):
            content = {"masks": list(masks), **({"addresses": list(addresses)} if addresses else {})}
            await self._set_account_data(command.actor, None, MASKS, content)
        return Done()

    def _read(self, user_id: UserId) -> BlockList:
        ignored = object_at(self._content.get((user_id, IGNORED), {}), "ignored_users")
        beside = self._content.get((user_id, MASKS), {})
        return BlockList(
            tuple(UserId(one) for one in list(ignored)[:MAX_USERS]),
            tuple(_texts(beside.get("masks"))[:MAX_MASKS]),
            tuple(dict.fromkeys(_texts(beside.get("addresses"))[:MAX_ADDRESSES])),
        )


_NOBODY: frozenset[UserId] = frozenset()


def _edited(present: BlockList, command: BlockUsers) -> tuple[tuple[UserId, ...], tuple[str, ...]]:
    users, masks = dict.fromkeys(present.users), dict.fromkeys(present.masks)
    for user_id in command.users:
        if user_id == command.actor:
            raise Refused(Refusal.BAD_MASK, "You cannot block yourself")
        if command.on:
            users[user_id] = None
        else:
            users.pop(user_id, None)
    for text in command.masks:
        try:
            mask = parse_mask(text)
        except MaskRefused as error:
            if command.on:
                raise Refused(Refusal.BAD_MASK, error.reason) from None
            masks.pop(text, None)
            continue
        if command.on and Matcher([mask.entity]).meets(command.actor):
            raise Refused(Refusal.BAD_MASK, "That would block yourself")
        if command.on:
            masks[mask.text] = None
        else:
            masks.pop(mask.text, None)
    return tuple(users), tuple(masks)


def _with_addresses(present: tuple[str, ...], command: BlockUsers) -> tuple[str, ...]:
    if command.on:
        return tuple(dict.fromkeys((*present, *command.addresses)))
    return tuple(one for one in present if one not in command.addresses)


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _entities(masks: Iterable[str]) -> list[str]:
    found = []
    for text in masks:
        try:
            found.append(parse_mask(text).entity)
        except MaskRefused:
            continue
    return found


def others_of(pair: str | None, user_id: UserId) -> Sequence[UserId]:
    """The other one of a direct room's pair ("user user"), if `user_id` is one of the two."""
    both = [] if pair is None else [UserId(one) for one in pair.split(" ")]
    return [one for one in both if one != user_id] if user_id in both else []
