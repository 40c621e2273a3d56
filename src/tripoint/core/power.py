"""Standing: the one ladder on which the three protocols show what somebody may do in a room.

spec: docs/mapping.md 7. A rank is a display of power levels, never a second rule set; a grant writes the
level that yields exactly the wanted rank, and nothing else. IRC makes prefixes of ranks, XMPP affiliations
and roles, each in its own projection.py. Levels themselves: levels.py; what the rules say:
auth_rules/power_levels.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at
from tripoint.core.levels import CREATOR_LEVEL, Level, PowerLevels
from tripoint.core.room_version import RoomVersion

__all__ = [
    "CREATOR_LEVEL",
    "GrantRefused",
    "Level",
    "PowerLevels",
    "Rank",
    "anybody_sets_topic",
    "change_levels",
    "change_ranks",
    "grant",
    "moderated",
    "op_is_owner",
    "preset_power_levels",
    "rank_of",
    "revoke",
    "room_template",
]


class Rank(Enum):
    """From the top down. The values are names for logs and wires of our own; order: `Rank.OP.above(...)`."""

    OWNER = "owner"
    ADMIN = "admin"
    OP = "op"
    HALFOP = "halfop"
    VOICE = "voice"
    PLAIN = "plain"
    UNVOICED = "unvoiced"
    MUTED = "muted"
    BANNED = "banned"

    def above(self, other: Rank) -> bool:
        """Whether this rank stands higher on the ladder than `other`."""
        return _ORDER[self] < _ORDER[other]


_ORDER: Final = {rank: place for place, rank in enumerate(Rank)}

_POWER_LEVELS: Final = "m.room.power_levels"
_ADMIN_LEVEL: Final = 75
_HALFOP_LEVEL: Final = 25
_MUTED_LEVEL: Final = -1


class GrantRefused(Exception):
    """A rank cannot be given or taken; `reason` says why, in words for the one who tried."""

    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _own(levels: PowerLevels) -> int:
    return levels.event(_POWER_LEVELS, is_state=True)


def _speak(levels: PowerLevels) -> int:
    return levels.event("m.room.message", is_state=False)


def moderated(levels: PowerLevels) -> bool:
    """Whether ordinary members need voice (`+m`). docs/mapping.md 8.3"""
    return _speak(levels) > 0


def anybody_sets_topic(levels: PowerLevels) -> bool:
    """Whether who has no rank may change the topic. docs/mapping.md 8.2"""
    return levels.event("m.room.topic", is_state=True) <= levels.users_default


def op_is_owner(levels: PowerLevels) -> bool:
    """Whether this room has no op below owner, so that `+o` is shown as `+qo`. docs/mapping.md 7.10"""
    return _own(levels) <= max(50, levels.ban)


def rank_of(levels: PowerLevels, user_id: str, membership: str) -> Rank:
    """The user's rank at these levels. docs/mapping.md 7, the table: the first test that holds."""
    if membership == "ban":
        return Rank.BANNED
    return _rank_at(levels, levels.user(user_id))


def _rank_at(levels: PowerLevels, level: Level) -> Rank:
    ban, speak = levels.ban, _speak(levels)
    if level >= max(_own(levels), ban):
        return Rank.OWNER
    if level >= ban:
        return Rank.ADMIN if level >= _ADMIN_LEVEL else Rank.OP
    above_default = level > levels.users_default
    if above_default and level >= levels.kick:
        return Rank.HALFOP
    if level >= speak:
        return Rank.VOICE if above_default else Rank.PLAIN
    # Below zero comes before "+m, no voice": who was muted stays in the list of the muted while a room is
    # moderated, and somebody can be muted there. Where speak <= 0 whoever cannot speak is below zero.
    return Rank.MUTED if level < 0 else Rank.UNVOICED


def _level_for(levels: PowerLevels, rank: Rank) -> int | None:
    """What a grant of this rank writes; None: the entry is removed."""
    if rank is Rank.OWNER:
        return max(100, _own(levels))
    if rank is Rank.ADMIN:
        return _ADMIN_LEVEL
    if rank is Rank.OP:
        return max(50, levels.ban)
    if rank is Rank.HALFOP:
        return _HALFOP_LEVEL
    if rank is Rank.VOICE:
        # Where everybody may speak it is a rank all the same: IRC shows it, a MUC has it on its list of members.
        return max(_speak(levels), levels.users_default + 1)
    if rank is Rank.MUTED:
        return _MUTED_LEVEL
    return None


def grant(levels: PowerLevels, actor: UserId, user_id: UserId, rank: Rank) -> JsonObject:
    """The m.room.power_levels content after `actor` has given `user_id` this rank.

    Equal to `levels.content` where the user has the rank already: then nothing is to be sent. Raise
    GrantRefused where the rank does not exist in this room or the rules forbid it. A ban is no level: banned
    is a wrong call.
    """
    return change_ranks(levels, actor, {user_id: rank})


def change_ranks(levels: PowerLevels, actor: UserId, wishes: Mapping[UserId, Rank]) -> JsonObject:
    """As `grant`, for several users at once: one event, all or nothing. docs/mapping.md 7.1"""
    changes: dict[UserId, int | None] = {}
    for user_id, rank in wishes.items():
        if rank is Rank.BANNED:
            raise ValueError("a ban is a membership, not a level")
        present = _rank_at(levels, levels.user(user_id))
        # 7.7: exact numbers survive: writing the same rank again changes nothing.
        if present is rank or (rank is Rank.OP and present is Rank.OWNER and op_is_owner(levels)):
            continue
        if user_id in levels.creators:
            raise GrantRefused("They made this room: a creator's rank cannot be changed")
        if rank in _NO_ENTRY and present in _NO_ENTRY and levels.user_entry(user_id) is None:
            continue
        changes[user_id] = _checked_level(levels, rank)
    if not changes:
        return levels.content
    return change_levels(levels, actor, changes)


# Which of the two it is follows from the room being moderated; both mean that nothing is written.
_NO_ENTRY: Final = frozenset({Rank.PLAIN, Rank.UNVOICED})


def _checked_level(levels: PowerLevels, rank: Rank) -> int | None:
    # 7.0: the level written must yield exactly the rank asked for.
    level = _level_for(levels, rank)
    if level is None:
        if _rank_at(levels, levels.users_default) not in _NO_ENTRY:
            raise GrantRefused("Everybody has more than this by the room's default power level")
        return None
    if rank is Rank.HALFOP and levels.kick > _HALFOP_LEVEL:
        raise GrantRefused(f"This room has no half-operators: kicking needs power level {levels.kick}")
    result = _rank_at(levels, level)
    if result is rank:
        return level
    # 7.10: a room without ops below owner gives `+o` as `+qo`, and the caller warns.
    if rank is Rank.OP and result is Rank.OWNER and op_is_owner(levels):
        return level
    raise GrantRefused(
        f"The power levels of this room leave no room for {rank.value}: level {level} is {result.value} here"
    )


def revoke(levels: PowerLevels, actor: UserId, user_id: UserId, rank: Rank) -> JsonObject:
    """The content after `actor` has taken the rank that `user_id` shows.

    The entry is removed. Where the user shows another rank nothing changes, and the content is the present
    one (7.2). Raise GrantRefused as `grant` does.
    """
    present = _rank_at(levels, levels.user(user_id))
    shown = {present, Rank.OP} if present is Rank.OWNER and op_is_owner(levels) else {present}
    if rank not in shown:
        return levels.content
    if user_id in levels.creators:
        raise GrantRefused("They made this room: a creator's rank cannot be changed")
    if levels.exists and levels.user_entry(user_id) is None:
        raise GrantRefused("Everybody has this rank here: it comes from the room's default power level")
    return change_levels(levels, actor, {user_id: None})


def change_levels(
    levels: PowerLevels, actor: UserId, changes: Mapping[UserId, int | None]
) -> JsonObject:
    """The content with these users' exact levels; None removes an entry.

    Raise GrantRefused where the authorisation rules would reject the event, in words that say who and how
    much (7.3). spec: Matrix rooms/v12 authorisation rules 8, 10.4, 10.9, 10.10
    """
    own, actor_level = _own(levels), levels.user(actor)
    if actor_level < own:
        raise GrantRefused(f"Changing ranks needs power level {own}; you have {actor_level}")
    content = dict(levels.content)
    users = dict(object_at(levels.content, "users"))
    if not levels.exists and levels.creator and not levels.creators:
        # Until now the creator's 100 was implied; the first event has to say it.
        users[levels.creator] = 100
    for user_id, level in changes.items():
        entry = levels.user_entry(user_id)
        if entry == level:
            continue
        if user_id in levels.creators:
            raise GrantRefused("They made this room: a creator's rank cannot be changed")
        if entry is not None and user_id != actor and entry >= actor_level:
            if entry == actor_level:
                raise GrantRefused(f"They have the same power level ({entry}) as you")
            raise GrantRefused(f"They have a higher power level ({entry}) than you ({actor_level})")
        if level is None:
            users.pop(user_id, None)
            continue
        if level > actor_level:
            raise GrantRefused(f"You cannot give power level {level}: you have {actor_level}")
        users[user_id] = level
    content["users"] = users
    return content


def room_template(creator: UserId, version: RoomVersion) -> JsonObject:
    """m.room.power_levels of a room made from IRC or XMPP: half-operators exist there. docs/mapping.md 7.8"""
    return {
        "ban": 50,
        "events": {
            "m.room.avatar": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": 100,
            "m.room.topic": 50,
        },
        "events_default": 0,
        "invite": 50,
        "kick": 25,
        "redact": 50,
        "state_default": 50,
        "users": {} if version.privileged_creators else {creator: 100},
        "users_default": 0,
    }


def preset_power_levels(
    creator: UserId, version: RoomVersion, trusted: tuple[UserId, ...] = ()
) -> JsonObject:
    """m.room.power_levels of a room made over the Matrix client API, before the client's own overrides.

    `trusted` have the creator's level (trusted_private_chat); where creators are privileged they belong into
    additional_creators instead. spec: client-server-api createRoom presets and its
    power_level_content_override
    """
    users: JsonObject = {}
    tombstone = 100
    if version.privileged_creators:
        # spec: createRoom: from version 12 on m.room.tombstone should be above the other levels, so that who
        # is merely an admin cannot move the room away.
        tombstone = 150
    else:
        users[creator] = 100
        users.update((user, 100) for user in trusted)
    return {
        "ban": 50,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone,
        },
        "events_default": 0,
        "invite": 0,
        "kick": 50,
        "redact": 50,
        "state_default": 50,
        "users": users,
        "users_default": 0,
    }
