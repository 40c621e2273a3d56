"""Power levels: who has how much, and what needs how much, with the room version's defaults.

spec: Matrix m.room.power_levels, rooms/v10 and v12 (integers, creators), server-server-api "Definitions".
This reads levels. What the rules make of them is in auth_rules/, what people call them (owner, op, voice) in
power.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event, StateKey
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at, text_at, texts_at
from tripoint.core.room_version import RoomVersion

Level: TypeAlias = int | float  # float only for CREATOR_LEVEL

CREATOR_LEVEL: Final[Level] = math.inf  # spec: rooms/v12: "infinitely high"
CREATE: Final[StateKey] = ("m.room.create", "")
POWER_LEVELS: Final[StateKey] = ("m.room.power_levels", "")

# spec: rooms/v3 m.room.power_levels-events-accept-values-as-strings. 309 digits is the range of a double,
# which the text sets for floats; without a limit a string of digits would be a way to keep us busy.
_LEVEL_TEXT = re.compile(r"\s*([+-]?[0-9]{1,309})\s*\Z", re.ASCII)


def read_level(value: Json, lenient: bool) -> int | None:
    """A level as the room version reads it, or None for what is no level.

    `lenient` (room versions before 10): decimal strings count, and floats cut at the point.
    """
    if type(value) is int:
        return value
    if not lenient:
        return None
    if isinstance(value, str):
        match = _LEVEL_TEXT.match(value)
        return int(match[1]) if match else None
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return None


def creator_of(create: Event) -> str:
    """Who made the room: content.creator until version 10 (unchecked text), the sender from 11 on."""
    if create.version.creator_in_content:
        return text_at(create.content, "creator") or ""
    return create.sender


def privileged_creators_of(create: Event) -> frozenset[str]:
    """The users whose level is infinite: none before version 12. spec: rooms/v12 authorisation rules"""
    if not create.version.privileged_creators:
        return frozenset()
    return frozenset((create.sender, *texts_at(create.content, "additional_creators")))


class PowerLevels:
    """The levels of a room at one state. Reads lazily and trusts nothing: what is no level counts as
    absent."""

    __slots__ = ("_events", "_lenient", "_users", "content", "creator", "creators", "exists")

    content: JsonObject  # of the m.room.power_levels event, {} without one; not to be changed
    creators: frozenset[str]  # with infinite level (version 12 on)
    creator: str  # has 100 while there is no m.room.power_levels event (before version 12)
    exists: bool  # whether there is an m.room.power_levels event

    def __init__(
        self,
        content: JsonObject | None,
        version: RoomVersion,
        *,
        creator: str = "",
        creators: frozenset[str] = frozenset(),
    ) -> None:
        self.exists = content is not None
        self.content = {} if content is None else content
        self.creator = creator
        self.creators = creators
        self._lenient = version.lenient_power_levels
        self._users = object_at(self.content, "users")
        self._events = object_at(self.content, "events")

    @classmethod
    def from_state(cls, state: Mapping[StateKey, Event], version: RoomVersion) -> PowerLevels:
        """The levels of a state. Without its create event nobody counts as creator."""
        create, event = state.get(CREATE), state.get(POWER_LEVELS)
        content = None if event is None else event.content
        if create is None:
            return cls(content, version)
        return cls(content, version, creator=creator_of(create), creators=privileged_creators_of(create))

    def with_content(self, content: JsonObject) -> PowerLevels:
        """The same room with another m.room.power_levels content."""
        other = object.__new__(PowerLevels)
        other.exists = True
        other.content = content
        other.creator, other.creators, other._lenient = self.creator, self.creators, self._lenient
        other._users = object_at(content, "users")
        other._events = object_at(content, "events")
        return other

    def user(self, user_id: str) -> Level:
        """The user's level: infinite for creators, else the entry, else the default."""
        if user_id in self.creators:
            return CREATOR_LEVEL
        entry = self.user_entry(user_id)
        if entry is not None:
            return entry
        if not self.exists and user_id == self.creator and user_id:
            return 100
        return self.users_default

    def user_entry(self, user_id: str) -> int | None:
        """The level written for this user, or None."""
        if user_id not in self._users:
            return None
        return read_level(self._users[user_id], self._lenient)

    def event(self, event_type: str, is_state: bool) -> int:
        """The required power level of an event type. spec: server-server-api definitions"""
        if event_type in self._events:
            level = read_level(self._events[event_type], self._lenient)
            if level is not None:
                return level
        return self.state_default if is_state else self.events_default

    def named(self, name: str, default: int) -> int:
        """A top-level level such as `ban`."""
        if name not in self.content:
            return default
        level = read_level(self.content[name], self._lenient)
        return default if level is None else level

    def may_call_everybody(self, user_id: str) -> bool:
        """Whether somebody's `@room` is heard. spec: user-and-room-mentions, m.room.power_levels `notifications`"""
        return self.user(user_id) >= self.notification("room")

    def notification(self, name: str) -> int:
        """The level for a kind of notification (`room` for @room), 50 unless set."""
        level = read_level(object_at(self.content, "notifications").get(name), self._lenient)
        return 50 if level is None else level

    @property
    def ban(self) -> int:
        return self.named("ban", 50)

    @property
    def kick(self) -> int:
        return self.named("kick", 50)

    @property
    def invite(self) -> int:
        return self.named("invite", 0)

    @property
    def redact(self) -> int:
        """The level for redacting other people's events, beyond that for sending m.room.redaction."""
        return self.named("redact", 50)

    @property
    def state_default(self) -> int:
        return self.named("state_default", 50)

    @property
    def events_default(self) -> int:
        return self.named("events_default", 0)

    @property
    def users_default(self) -> int:
        return self.named("users_default", 0)

    def may_send(self, user_id: UserId, event_type: str, is_state: bool) -> bool:
        """Whether the user's level reaches the event's; membership is another matter."""
        return self.user(user_id) >= self.event(event_type, is_state)
