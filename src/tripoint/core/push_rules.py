"""A user's push rules: which rule an event meets first, and what that rule says to do. Pure.

spec: Matrix client-server module push, "Push Rules", "Actions". Conditions are push_conditions.py's, the rules that
everybody begins with push_defaults.py's, and changing rules push_changes.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import UserId
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.push_conditions import Condition, Surroundings, compile_condition, is_from, is_in, says
from tripoint.core.push_defaults import MASTER, PERSONAL, default_rules

# In the order in which they are asked.
KINDS: Final = ("override", "content", "room", "sender", "underride")
NOTIFY: Final = "notify"
ACCOUNT_DATA: Final = "m.push_rules"


class PushRule(Struct, frozen=True):
    """One rule. `conditions`: of override and underride rules; `pattern`: of content rules."""

    rule_id: str
    actions: tuple[Json, ...]
    enabled: bool = True
    default: bool = False
    conditions: tuple[Json, ...] = ()
    pattern: str = ""

    def json(self, kind: str) -> JsonObject:
        """As clients see it."""
        rule: JsonObject = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if kind in ("override", "underride"):
            rule["conditions"] = list(self.conditions)
        elif kind == "content":
            rule["pattern"] = self.pattern
        return rule


class Verdict(Struct, frozen=True):
    """What becomes of an event for one reader. `tweaks` go to push gateways as they are."""

    notify: bool = False
    highlight: bool = False
    tweaks: Mapping[str, Json] = {}
    actions: tuple[Json, ...] = ()


SILENT: Final = Verdict()
Rules = Mapping[str, tuple[PushRule, ...]]
# Rooms whose rules stay picked out, and types of which most events are.
_ROOMS: Final = 256
_COMMON: Final = frozenset({"m.room.message", "m.room.encrypted", "m.room.member", "m.reaction"})


class _Compiled(Struct, frozen=True):
    """A rule that can be asked. `room`, `type`: what these are in small letters where it can match at all."""

    room: str | None
    type: str | None
    conditions: tuple[Condition, ...]
    verdict: Verdict


class PushRules:
    """All rules of a user, ready to be asked."""

    __slots__ = ("_about_rooms", "_compiled", "_picked", "rules")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._compiled: list[_Compiled] | None = None
        self._about_rooms = False
        # Of hundreds of muted rooms an event is asked about its own, and a message about no member.
        self._picked: dict[tuple[str, str], list[_Compiled]] = {}

    def content(self) -> JsonObject:
        """The content of m.push_rules."""
        return {"global": {kind: [rule.json(kind) for rule in self.rules[kind]] for kind in KINDS}}

    def find(self, kind: str, rule_id: str) -> PushRule | None:
        return next((rule for rule in self.rules.get(kind, ()) if rule.rule_id == rule_id), None)

    def judge(self, event: Event, around: Surroundings) -> Verdict:
        """What the first rule that matches says; SILENT where none does. Own events are for the caller to leave out."""
        for rule in self._asked(event.room_id, event.type):
            for condition in rule.conditions:
                if not condition(event, around):
                    break
            else:
                return rule.verdict
        return SILENT

    def _asked(self, room_id: str, type_: str) -> list[_Compiled]:
        """The rules that can match such an event, in their order."""
        if self._compiled is None:
            self._compiled = [
                _compiled(kind, rule) for kind in KINDS for rule in self.rules[kind] if rule.enabled
            ]
            self._about_rooms = any(rule.room is not None for rule in self._compiled)
        key = (room_id if self._about_rooms else "", type_ if type_ in _COMMON else "")
        found = self._picked.get(key)
        if found is None:
            if len(self._picked) >= _ROOMS:
                self._picked.clear()
            rooms, types = (None, key[0].lower()), (None, key[1])
            found = self._picked[key] = [
                rule for rule in self._compiled if rule.room in rooms and (not key[1] or rule.type in types)
            ]
        return found


def _compiled(kind: str, rule: PushRule) -> _Compiled:
    room = rule.rule_id.lower() if kind == "room" else _only(rule, "room_id")
    return _Compiled(room, _only(rule, "type"), _conditions(kind, rule), read_actions(rule.actions))


def _only(rule: PushRule, key: str) -> str | None:
    """What a property must be for a rule's conditions to hold, in small letters; None: several things."""
    for condition in rule.conditions:
        if isinstance(condition, dict) and condition.get("kind") == "event_match" and condition.get("key") == key:
            pattern = text_at(condition, "pattern")
            if pattern is not None and "*" not in pattern and "?" not in pattern:
                return pattern.lower()
    return None


def _conditions(kind: str, rule: PushRule) -> tuple[Condition, ...]:
    if kind == "content":
        return (says(rule.pattern),)
    if kind == "room":
        return (is_in(rule.rule_id),)
    if kind == "sender":
        return (is_from(rule.rule_id),)
    return tuple(compile_condition(condition) for condition in rule.conditions)


def read_actions(actions: Sequence[Json]) -> Verdict:
    """What a list of actions comes to. Historical and unknown actions are as if they were not there."""
    tweaks: dict[str, Json] = {}
    for action in actions:
        if isinstance(action, dict) and (name := text_at(action, "set_tweak")) is not None:
            # spec: a highlight without a value is true; of other tweaks nothing is said.
            tweaks[name] = action.get("value", True if name == "highlight" else None)
    notify = NOTIFY in actions
    return Verdict(notify, notify and tweaks.get("highlight") is True, tweaks, tuple(actions) if notify else ())


def read_rules(user_id: UserId, stored: JsonObject | None) -> PushRules:
    """Rules as they were stored (the content of m.push_rules), with the default rules of today.

    Of default rules only what a user may change is kept: whether they are enabled, and their actions.
    """
    sets = object_at(stored or {}, "global")
    rules: dict[str, tuple[PushRule, ...]] = {}
    for kind in KINDS:
        kept = [rule for entry in list_at(sets, kind) if (rule := _read_rule(entry)) is not None]
        changed = {rule.rule_id: rule for rule in kept if rule.rule_id.startswith(".")}
        own = [rule for rule in kept if not rule.rule_id.startswith(".")]
        defaults = []
        for default in default_rules(user_id).get(kind, ()):
            rule = _default(default)
            before = changed.get(rule.rule_id)
            if before is not None:
                rule = PushRule(rule.rule_id, before.actions, before.enabled, True, rule.conditions)
            defaults.append(rule)
        # spec: "They operate at a lower priority than user-defined rules, except for the .m.rule.master rule"
        first = [rule for rule in defaults if rule.rule_id == MASTER]
        rules[kind] = (*first, *own, *(rule for rule in defaults if rule.rule_id != MASTER))
    return PushRules(rules)


# Default rules that are the same for everybody are one object for all of them.
_SHARED: dict[str, PushRule] = {}


def _default(rule: JsonObject) -> PushRule:
    rule_id = text_at(rule, "rule_id") or ""
    shared = _SHARED.get(rule_id)
    if shared is not None:
        return shared
    conditions = tuple(list_at(rule, "conditions"))
    made = PushRule(rule_id, tuple(list_at(rule, "actions")), rule["enabled"] is True, True, conditions)
    if rule_id not in PERSONAL:
        _SHARED[rule_id] = made
    return made


def _read_rule(entry: Json) -> PushRule | None:
    if not isinstance(entry, dict) or (rule_id := text_at(entry, "rule_id")) is None:
        return None
    return PushRule(
        rule_id,
        tuple(list_at(entry, "actions")),
        entry.get("enabled") is not False,
        False,
        tuple(list_at(entry, "conditions")),
        text_at(entry, "pattern") or "",
    )
