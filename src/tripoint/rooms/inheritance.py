"""What a room that takes the place of another has from it: state, levels, bans, who is invited. Pure.

State that says something about who sent it stays behind: membership but for bans, m.space.parent (it counts by its
sender's rights in the parent), what others than Matrix and this project have defined. Pins name messages of the old
room, so they stay too.
spec: Matrix client-server-api "Room Upgrades" (Server behaviour); rooms/v12; docs/mapping.md 21.4.
Read next: upgrading.py.
"""

from typing import Final

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import InvalidId, ServerName, UserId, parse_user_id, server_of
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.levels import read_level
from tripoint.core.power import PowerLevels
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.commands import StateDraft
from tripoint.rooms.masks import MASKS
from tripoint.rooms.policy import POLICY
from tripoint.rooms.policy_lists import LISTS
from tripoint.rooms.ports import Member, RoomView
from tripoint.rooms.room import USER_RULE
from tripoint.rooms.settings import FOREIGN, LIMITS, MENTIONS, SLOW, SPELLING, TEXT_RULES, TLS_ONLY

JOIN_RULES: Final = "m.room.join_rules"
POWER: Final = "m.room.power_levels"
_SINGLE: Final = (
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    POLICY[0],
    FOREIGN,
    LIMITS,
    MENTIONS,
    SLOW,
    TEXT_RULES,
    TLS_ONLY,
    MASKS,
    LISTS,
)
# Kinds with a state key that says what they are about. The children of a space are what it is for.
_RULES: Final = frozenset({USER_RULE, "m.policy.rule.server", "m.policy.rule.room"})
_CHILD: Final = "m.space.child"
# spec: createRoom: from version 12 on the level of m.room.tombstone MUST be above that of other state.
TOMBSTONE_LEVEL: Final = 150
OWNER_LEVEL: Final = 100
_PLAIN_LEVELS: Final = ("ban", "events_default", "invite", "kick", "redact", "state_default", "users_default")
# spec: appendices "Canonical JSON": the largest integer. Old versions had text, of any length.
_MOST: Final = 2**53 - 1
# What people say: levels of their own for these would let them go on in a room that was left.
_SPEECH: Final = ("m.room.message", "m.room.encrypted", "m.reaction", "m.sticker")


def creation_content(old: RoomView, version: RoomVersion, last: str | None, creators: tuple[UserId, ...]) -> JsonObject:
    """What the create event has from the old room. `last`: the last event there; `creators` beside the sender.

    spec: "the create event of the new room needs the tombstone's id" no more from version 12 on, where the tombstone
    names a room id that is the hash of the create event: `event_id` is left out there.
    """
    content: JsonObject = {}
    before = old.state["m.room.create", ""].content
    for key in ("type", "m.federate"):
        if key in before:
            content[key] = before[key]
    predecessor: JsonObject = {"room_id": old.room_id}
    if last is not None and not version.room_id_is_create_hash:
        predecessor["event_id"] = last
    content["predecessor"] = predecessor
    if version.privileged_creators and creators:
        content["additional_creators"] = list(creators)
    return content


def inherited_state(old: RoomView, version: RoomVersion) -> list[StateDraft]:
    """State that goes over as it is, in an order in which each event is allowed; the levels are not among it."""
    drafts = [
        StateDraft(type_, "", event.content) for type_ in _SINGLE if (event := old.state.get((type_, ""))) is not None
    ]
    for (type_, state_key), event in old.state.items():
        if event.content and (type_ in _RULES or type_ == _CHILD):
            drafts.append(StateDraft(type_, state_key, event.content))
    drafts.append(StateDraft(JOIN_RULES, "", join_rules_for(old, version)))
    return drafts


def join_rules_for(old: RoomView, version: RoomVersion) -> JsonObject:
    """The old room's join rules, or the nearest that the version has and that let in nobody else."""
    event = old.state.get((JOIN_RULES, ""))
    content: JsonObject = {"join_rule": "invite"} if event is None else dict(event.content)
    rule = text_at(content, "join_rule")
    if rule == "knock_restricted" and not version.knock_restricted_join:
        rule = "restricted"
    if (rule == "restricted" and not version.restricted_join) or (rule == "knock" and not version.knock_join):
        rule = "invite"
        content.pop("allow", None)
    content["join_rule"] = rule or "invite"
    return content


def inherited_levels(
    old: RoomView, version: RoomVersion, owner: UserId, creators: tuple[UserId, ...], without: UserId | None
) -> JsonObject:
    """The power levels of the new room, which `owner` makes. `without`: who hands the room over and keeps no level.

    Where creators have power of their own they have no level; where they lose it they have the highest one that the
    room knows. spec: rooms/v12; MSC4289 (tombstone level)
    """
    power = old.power
    content: JsonObject = dict(power.content)
    users: JsonObject = {}
    for user_id, level in _numbers(object_at(content, "users")).items():
        if user_id != without and _is_user_id(user_id):
            users[user_id] = level
    events = _numbers(object_at(content, "events"))
    for key in _PLAIN_LEVELS:
        if key in content:
            content[key] = _level(content[key])
    if version.privileged_creators:
        default, now = power.state_default, events.get("m.room.tombstone")
        if not isinstance(now, int) or now <= default or not power.creators:
            events["m.room.tombstone"] = max(TOMBSTONE_LEVEL, default + 1, power.event("m.room.tombstone", True))
        # Who was a creator and is none any more does not fall to nothing.
        users.update(dict.fromkeys(sorted(power.creators - {without}), OWNER_LEVEL))
        for user_id in (owner, *creators):
            users.pop(user_id, None)
    elif power.creators or without is not None or not power.exists:
        level = max(OWNER_LEVEL, _highest(events, content))
        former = power.creators if power.exists or power.creators else {UserId(power.creator)}
        users.update(dict.fromkeys(sorted({owner, *former} - {without}), level))
    content["users"], content["events"] = users, events
    if "notifications" in content:
        content["notifications"] = _numbers(object_at(content, "notifications"))
    return content


def _is_user_id(text: str) -> bool:
    # spec: rooms/v10 "users ... keys that are not valid user IDs": such an event is rejected
    try:
        parse_user_id(text)
    except InvalidId:
        return False
    return True


def _numbers(levels: JsonObject) -> JsonObject:
    """The levels that are ones, as numbers: old versions have them as text too."""
    return {key: _level(level) for key, level in levels.items() if read_level(level, lenient=True) is not None}


def _highest(events: JsonObject, content: JsonObject) -> int:
    """The highest level that anything needs."""
    needed = [*events.values(), *(content.get(key) for key in ("ban", "kick", "redact", "state_default", "invite"))]
    return max((level for level in needed if isinstance(level, int)), default=0)


def closed_levels(power: PowerLevels) -> JsonObject:
    """The levels of a room that was left: nobody but those with rights speaks there or invites.

    spec: "setting events_default and invite to the greater of 50 and users_default + 1"
    """
    content: JsonObject = dict(power.content)
    level = max(50, power.users_default + 1)
    content["events_default"] = max(level, _level(content.get("events_default")))
    content["invite"] = max(level, power.invite)
    events: JsonObject = dict(object_at(content, "events"))
    for kind in _SPEECH:
        if kind in events and _level(events[kind]) < level:
            events[kind] = level
    if events:
        content["events"] = events
    return content


def _level(value: Json) -> int:
    return max(-_MOST, min(_MOST, read_level(value, lenient=True) or 0))


def bans_of(old: RoomView) -> list[Member]:
    """Who is banned from a room."""
    return [member for member in old.members().values() if member.membership == "ban"]


def ban_content(member: Member) -> JsonObject:
    """A ban with its reason."""
    reason = text_at(member.event.content, "reason")
    return {"membership": "ban"} if reason is None else {"membership": "ban", "reason": reason}


def carried_member(member: Member, membership: str) -> JsonObject:
    """The member event of somebody who is called in the new room what he is called in the old one."""
    content: JsonObject = {"membership": membership}
    if member.displayname is not None:
        content["displayname"] = member.displayname
    if member.avatar_url is not None:
        content["avatar_url"] = member.avatar_url
    return content


def moved_aliases(old: RoomView, server: ServerName) -> tuple[JsonObject, JsonObject] | None:
    """(new, old) contents of m.room.canonical_alias: the names of `server` go over, others' stay. None: none does."""
    event = old.state.get(("m.room.canonical_alias", ""))
    if event is None:
        return None
    here: JsonObject = {}
    there: JsonObject = dict(event.content)
    local = set(old.aliases)
    alias = text_at(there, "alias")
    if alias in local:
        here["alias"] = there.pop("alias")
        if SPELLING in there:
            here[SPELLING] = there.pop(SPELLING)
    alternatives = list_at(there, "alt_aliases")
    ours: list[Json] = [one for one in alternatives if one in local]
    if ours:
        here["alt_aliases"] = ours
        there["alt_aliases"] = [one for one in alternatives if one not in local]
    return (here, there) if here else None


def people_to_invite(old: RoomView, server: ServerName, owner: UserId) -> tuple[list[Member], list[Member]]:
    """Members who need an invitation into the new room: (of this server, of others)."""
    here: list[Member] = []
    away: list[Member] = []
    for user_id, member in old.joined().items():
        if user_id != owner:
            (here if server_of(user_id) == server else away).append(member)
    return here, away
