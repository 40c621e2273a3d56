"""Rule 10: who may change which power level.

spec: Matrix rooms/v12 authorisation rules 10 (rule 9 in versions 6 to 11, 10 in 3 to 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tripoint.core.auth_rules.not_allowed import NotAllowed
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import InvalidId, parse_user_id
from tripoint.core.json_view import object_at
from tripoint.core.levels import Level, PowerLevels, read_level

_NAMED: Final = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def check_power_levels(event: Event, current: PowerLevels) -> None:
    """Raise NotAllowed unless rule 10 permits this m.room.power_levels event. `current`: the levels before
    it."""
    version, new = event.version, event.content
    lenient = version.lenient_power_levels
    # 10.1, 10.2 (from version 10 on)
    if not lenient:
        for name in _NAMED:
            if name in new and type(new[name]) is not int:
                raise NotAllowed("power_levels.not_integer", f"{name} is not an integer")
        for name in ("events", "notifications"):
            if name in new:
                _check_integers(new[name], name)
    # 10.3
    users = new.get("users", {})
    if not isinstance(users, dict):
        raise NotAllowed("power_levels.users", "users is not an object")
    for user, value in users.items():
        try:
            parse_user_id(user)
        except InvalidId:
            raise NotAllowed("power_levels.users", "users holds something that is no user") from None
        if read_level(value, lenient) is None:
            raise NotAllowed("power_levels.users", "a user's level is not an integer")
    # 10.4 (from version 12 on; creators is empty before)
    if not current.creators.isdisjoint(users):
        raise NotAllowed("power_levels.creator", "creators have no entry: their level is infinite")
    # 10.5
    if not current.exists:
        return
    own = current.user(event.sender)
    # 10.6
    _check_entries(_NAMED, current.content, new, own, lenient)
    # 10.7, 10.8 (`notifications` from version 6 on)
    tables = ("events", "notifications") if version.notifications_in_auth_rules else ("events",)
    for table in tables:
        if not isinstance(new.get(table, {}), dict) and new[table] not in ("", []):
            # Before version 10 only: as with entries below. What is empty holds nothing to compare.
            raise NotAllowed("power_levels.not_integer", f"{table} is not an object")
        before, after = object_at(current.content, table), object_at(new, table)
        _check_entries(before.keys() | after.keys(), before, after, own, lenient)
    # 10.9, 10.10
    _check_users(object_at(current.content, "users"), users, event.sender, own, lenient)


def _check_integers(table: Json, name: str) -> None:
    if not isinstance(table, dict) or any(type(value) is not int for value in table.values()):
        raise NotAllowed("power_levels.not_integer", f"{name} is not an object of integers")


def _check_entries(
    names: Iterable[str], before: JsonObject, after: JsonObject, own: Level, lenient: bool
) -> None:
    """Altering an entry needs at least its current and its new value. Compared as levels, not as text."""
    for name in names:
        old = read_level(before[name], lenient) if name in before else None
        new = read_level(after[name], lenient) if name in after else None
        if new is None and name in after:
            # Before version 10 only: the text does not say how to compare what is no level. Nothing does.
            raise NotAllowed("power_levels.not_integer", f"{name} is not an integer")
        if old == new:
            continue
        if old is not None and old > own:
            raise NotAllowed("power_levels.above_own", f"{name} is above the sender's own power level")
        if new is not None and new > own:
            raise NotAllowed("power_levels.above_own", f"{name} would be above the sender's own power level")


def _check_users(before: JsonObject, after: JsonObject, sender: str, own: Level, lenient: bool) -> None:
    for user in before.keys() | after.keys():
        old = read_level(before[user], lenient) if user in before else None
        new = read_level(after[user], lenient) if user in after else None
        if old == new:
            continue
        # 10.9
        if old is not None and user != sender and old >= own:
            raise NotAllowed("power_levels.equal", "that user has the sender's power level or more")
        # 10.10
        if new is not None and new > own:
            raise NotAllowed("power_levels.above_own", "a user would be above the sender's power level")
