"""Lists of masks: who is kept out of a room, who is not although a mask says so, who needs no invitation.

A ban of a server is m.room.server_acl, any other ban by mask an m.policy.rule.user in the room itself; the two other
lists are the project's own state. All of them are read here from any room's state, whoever wrote it.
spec: docs/mapping.md 9.2, 9.3, 9.5; Matrix client-server-api m.policy.rule.user, m.room.server_acl.
Who is let in is entry.py's; what masks mean is core/masks.py's.
"""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import ServerName, UserId
from tripoint.core.json_view import text_at
from tripoint.core.masks import (
    Mask,
    MaskRefused,
    Matcher,
    mask_of_entity,
    mask_of_server,
    parse_mask,
    server_glob_meets,
)
from tripoint.core.vendor import V
from tripoint.rooms.commands import Command, Done, MaskList, SetMask
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import USER_RULE, Room

MASKS = f"{V}.room.masks"
MASK = f"{V}.mask"
ACL = "m.room.server_acl"
BAN = "m.ban"
# docs/mapping.md 0 (MAXLIST): each join is held against all of them.
MAX_MASKS = 500
_KEYS = {MaskList.EXEMPT: "e", MaskList.INVITE: "I"}

PutState = Callable[[Room, Command, str, str, JsonObject], Awaitable[Done]]


class ListedMask(Struct, frozen=True):
    """An entry of a list, who put it there, and when (ms since 1970)."""

    mask: str
    sender: UserId
    ts_ms: int


def rule_mask(event: Event | None) -> str | None:
    """The mask that a rule about users is; None for one that is taken back, or that recommends something else."""
    if event is None or text_at(event.content, "recommendation") != BAN:
        return None
    entity = text_at(event.content, "entity")
    return (text_at(event.content, MASK) or mask_of_entity(entity)) if entity else None


def texts_of(event: Event | None, key: str) -> tuple[str, ...]:
    """A list of texts in the content of an event; what is none is not there."""
    value = event.content.get(key) if event is not None else None
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def listed_masks(room: RoomView, which: MaskList) -> Sequence[ListedMask]:
    """A list of a room, in no order that means anything. Bans of single users are members with that membership."""
    if which is MaskList.BAN:
        acl = room.state.get((ACL, ""))
        found = [_listed(acl, mask_of_server(glob)) for glob in texts_of(acl, "deny")] if acl is not None else []
        for rule in room.user_rules():
            mask = rule_mask(rule)
            if mask is not None:
                found.append(_listed(rule, mask))
        return found
    event = room.state.get((MASKS, ""))
    return [] if event is None else [_listed(event, mask) for mask in texts_of(event, _KEYS[which])]


def _listed(event: Event, mask: str) -> ListedMask:
    return ListedMask(mask, event.sender, event.origin_server_ts)


def mask_differences(before: Event | None, after: Event | None) -> list[tuple[MaskList, bool, str]]:
    """What a new event of a mask list, in the place of another, puts on (True) and takes off (False)."""
    some = after or before
    if some is None:
        return []
    steps: list[tuple[MaskList, bool, str]] = []
    if some.type == USER_RULE:
        old, new = rule_mask(before), rule_mask(after)
        if old != new:
            steps += [(MaskList.BAN, on, mask) for on, mask in ((False, old), (True, new)) if mask is not None]
    elif some.type == ACL:
        steps += _differences(MaskList.BAN, texts_of(before, "deny"), texts_of(after, "deny"))
        steps = [(which, on, mask_of_server(glob)) for which, on, glob in steps]
    elif some.type == MASKS:
        for which, key in _KEYS.items():
            steps += _differences(which, texts_of(before, key), texts_of(after, key))
    return steps


def _differences(
    which: MaskList, old: tuple[str, ...], new: tuple[str, ...]
) -> list[tuple[MaskList, bool, str]]:
    gone = [(which, False, one) for one in dict.fromkeys(old) if one not in new]
    return gone + [(which, True, one) for one in dict.fromkeys(new) if one not in old]


def ban_that_meets(room: RoomView, user_id: UserId, guise: str | None = None) -> Event | None:
    """The rule of the room that keeps this user out; None if there is none, or an exception says otherwise."""
    found = None
    for rule in room.user_rules():
        entity = text_at(rule.content, "entity")
        if entity and rule_mask(rule) is not None and Matcher([entity]).meets(user_id, guise):
            found = rule
            break
    return None if found is None or meets_list(room, MaskList.EXEMPT, user_id, guise) else found


def meets_list(room: RoomView, which: MaskList, user_id: UserId, guise: str | None = None) -> bool:
    """Whether a user is on a list of the project's own state. Others may have written what is no mask there."""
    entities = []
    for mask in texts_of(room.state.get((MASKS, "")), _KEYS[which])[:MAX_MASKS]:
        try:
            entities.append(parse_mask(mask).entity)
        except MaskRefused:
            continue
    return Matcher(entities).meets(user_id, guise)


class Masks:
    """The handler of SetMask. `put_state` writes one state event, or refuses."""

    def __init__(self, rooms: LoadedRooms, put_state: PutState, server: ServerName) -> None:
        self._rooms = rooms
        self._put_state = put_state
        self._server = server

    async def set(self, command: SetMask) -> Done:
        """See commands.SetMask."""
        room = await self._rooms.get(command.room_id)
        if room.head_membership(command.actor) != "join":
            raise Refused(Refusal.NOT_JOINED)
        try:
            mask = parse_mask(command.mask)
        except MaskRefused as error:
            if command.on:
                raise Refused(Refusal.BAD_MASK, error.reason) from None
            # What somebody else wrote can be taken off by the name under which it is listed.
            mask = Mask(command.mask, "")
        if command.list is not MaskList.BAN:
            return await self._listed(room, command, mask)
        if not command.on:
            return await self._unban(room, command, mask)
        power = room.head_power()
        if power.user(command.actor) < power.ban:
            raise Refused(Refusal.POWER_TOO_LOW, "You may not ban from this room")
        if len(listed_masks(room, MaskList.BAN)) >= MAX_MASKS:
            raise Refused(Refusal.LIST_FULL)
        if mask.server is not None and not mask.server.endswith(f".guest.{self._server}"):
            if server_glob_meets(mask.server, self._server):
                raise Refused(Refusal.BAD_MASK, f"That would shut this server ({self._server}) out")
            if power.user(command.actor) >= power.event(ACL, is_state=True):
                return await self._deny(room, command, mask.server)
        content: JsonObject = {
            "entity": mask.entity,
            "recommendation": BAN,
            "reason": f"Banned by mask: {mask.text}",
            MASK: mask.text,
        }
        return await self._put_state(room, command, USER_RULE, f"rule:{mask.text}", content)

    async def _deny(self, room: Room, command: SetMask, server: str) -> Done:
        """docs/mapping.md 9.2: a first access control list lets everybody else in."""
        event = room.head_event(ACL)
        content: JsonObject = {"allow": ["*"]} if event is None else dict(event.content)
        deny = texts_of(event, "deny")
        if any(one.lower() == server for one in deny):
            return Done(room.room_id)
        content["deny"] = [*deny, server]
        return await self._put_state(room, command, ACL, "", content)

    async def _unban(self, room: Room, command: SetMask, mask: Mask) -> Done:
        """Off every place where a ban by mask can stand."""
        done: Done | None = None
        event = room.head_event(ACL)
        deny = texts_of(event, "deny")
        left = [one for one in deny if mask_of_server(one).lower() != mask.text.lower()]
        if event is not None and len(left) < len(deny):
            done = await self._put_state(room, command, ACL, "", {**event.content, "deny": list(left)})
        for rule in room.user_rules():
            shown = rule_mask(rule)
            if shown is not None and shown.lower() in (mask.text.lower(), command.mask.lower()):
                # spec: "Moderation policy lists": a rule without its fields is taken back.
                done = await self._put_state(room, command, USER_RULE, rule.state_key or "", {})
        if done is None:
            raise Refused(Refusal.NO_SUCH_MASK)
        return done

    async def _listed(self, room: Room, command: SetMask, mask: Mask) -> Done:
        """+e and +I."""
        event = room.head_event(MASKS)
        key = _KEYS[command.list]
        present = texts_of(event, key)
        same = [one for one in present if one.lower() in (mask.text.lower(), command.mask.lower())]
        if command.on:
            if same:
                return Done(room.room_id)
            if len(present) >= MAX_MASKS:
                raise Refused(Refusal.LIST_FULL)
            left = [*present, mask.text]
        else:
            if not same:
                raise Refused(Refusal.NO_SUCH_MASK)
            left = [one for one in present if one not in same]
        content: JsonObject = {} if event is None else dict(event.content)
        content[key] = list(left)
        return await self._put_state(room, command, MASKS, "", content)
