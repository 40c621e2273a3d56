"""Changing push rules: what a client may write, and where a rule comes to stand. Pure.

spec: Matrix client-server module push, "Push Rules: API"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from msgspec.structs import replace

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import InvalidId, parse_user_id
from tripoint.core.json_view import text_at
from tripoint.core.push_defaults import MASTER
from tripoint.core.push_rules import KINDS, NOTIFY, PushRule, PushRules

# What all rules of a user may take, as JSON: all of them are looked at for every message.
MAX_BYTES: Final = 128 * 1024
MAX_RULE_ID_BYTES: Final = 255
# Rules that look for words in every message.
MAX_PATTERNS: Final = 100
# spec: "Clients and homeservers MUST ignore these actions"
_HISTORICAL: Final = frozenset({"dont_notify", "coalesce"})
_KEYS: Final = ("set_tweak", "value")


class BadRule(Exception):
    """A client may not write this. The text is for the person."""


class NoSuchRule(Exception):
    """There is no rule of this kind and name."""


class NoSuchNeighbour(Exception):
    """The rule that another was to stand beside is not there, or is one of the server's."""


class TooManyRules(Exception):
    """All rules together are larger than MAX_BYTES, or look for more words than MAX_PATTERNS."""


def put_rule(
    rules: PushRules, kind: str, rule_id: str, body: JsonObject, *, before: str | None, after: str | None
) -> PushRules:
    """Add a rule, or write one anew. BadRule, NoSuchNeighbour, TooManyRules.

    `before`: it becomes the next more important one than that; `after`: the next less important one. A rule that is
    there keeps its place where neither is given, and stays disabled where it was.
    """
    _check_name(kind, rule_id)
    old = rules.find(kind, rule_id)
    conditions: Sequence[Json] = ()
    pattern = ""
    if kind in ("override", "underride"):
        conditions = _conditions(body.get("conditions", []))
    elif kind == "content":
        pattern = text_at(body, "pattern") or ""
        if not pattern:
            raise BadRule("A content rule needs a pattern")
    enabled = old is None or old.enabled
    rule = PushRule(rule_id, _actions(body.get("actions")), enabled, False, tuple(conditions), pattern)
    others = [one for one in rules.rules[kind] if one.rule_id != rule_id]
    place = _place(others, before, after)
    if place is None:
        place = _own_from(others) if old is None else rules.rules[kind].index(old)
    others.insert(place, rule)
    return _checked(_with(rules, kind, others))


def delete_rule(rules: PushRules, kind: str, rule_id: str) -> PushRules:
    """NoSuchRule; BadRule for one of the server's."""
    rule = _found(rules, kind, rule_id)
    if rule.default:
        raise BadRule("A rule of the server cannot be deleted; disable it")
    return _with(rules, kind, [one for one in rules.rules[kind] if one is not rule])


def set_enabled(rules: PushRules, kind: str, rule_id: str, enabled: bool) -> PushRules:
    """NoSuchRule."""
    rule = _found(rules, kind, rule_id)
    return _instead(rules, kind, rule, replace(rule, enabled=enabled))


def set_actions(rules: PushRules, kind: str, rule_id: str, actions: Json) -> PushRules:
    """NoSuchRule, BadRule, TooManyRules."""
    rule = _found(rules, kind, rule_id)
    return _checked(_instead(rules, kind, rule, replace(rule, actions=_actions(actions))))


def copy_room_rule(rules: PushRules, old: str, new: str) -> PushRules:
    """A room was replaced: what is said of it is said of the new one too. spec: "Room Upgrades" """
    rule = rules.find("room", old)
    if rule is None or rules.find("room", new) is not None:
        return rules
    return _with(rules, "room", [replace(rule, rule_id=new), *rules.rules["room"]])


def _check_name(kind: str, rule_id: str) -> None:
    if kind not in KINDS:
        raise BadRule(f"There are no {kind} rules")
    if rule_id.startswith("."):
        raise BadRule("Names that begin with a dot are the server's")
    if not rule_id or "/" in rule_id or "\\" in rule_id:
        raise BadRule("The name of a rule has no slashes or backslashes, and is not empty")
    if len(rule_id.encode()) > MAX_RULE_ID_BYTES:
        raise BadRule(f"The name of a rule has at most {MAX_RULE_ID_BYTES} bytes")
    if kind == "room" and not rule_id.startswith("!"):
        raise BadRule("The name of a room rule is a room id")
    if kind == "sender":
        try:
            parse_user_id(rule_id)
        except InvalidId as error:
            raise BadRule("The name of a sender rule is a user id") from error


def _conditions(value: Json) -> Sequence[Json]:
    """Kinds that are not known stay: another server program, or this one later, may know them."""
    if not isinstance(value, list):
        raise BadRule("conditions must be a list")
    for condition in value:
        if not isinstance(condition, dict) or text_at(condition, "kind") is None:
            raise BadRule("A condition is an object with a kind")
    return value


def _actions(value: Json) -> tuple[Json, ...]:
    if not isinstance(value, list):
        raise BadRule("actions must be a list")
    actions: list[Json] = []
    for action in value:
        if isinstance(action, dict):
            if text_at(action, "set_tweak") is None:
                raise BadRule("An action that is an object has a set_tweak")
            actions.append({key: action[key] for key in _KEYS if key in action})
        elif action == NOTIFY:
            actions.append(action)
        elif not isinstance(action, str) or action not in _HISTORICAL:
            raise BadRule("Actions are notify, or set a tweak")
    return tuple(actions)


def _place(others: Sequence[PushRule], before: str | None, after: str | None) -> int | None:
    """Where a rule goes that was put beside another; `before` says it where both are given."""
    for neighbour, behind in ((before, 0), (after, 1)):
        if neighbour is not None:
            for place, one in enumerate(others):
                if one.rule_id == neighbour and not one.default:
                    return place + behind
            raise NoSuchNeighbour(neighbour)
    return None


def _own_from(others: Sequence[PushRule]) -> int:
    """Where a user's own rules begin: behind .m.rule.master, before the other rules of the server."""
    return 1 if others and others[0].rule_id == MASTER else 0


def _found(rules: PushRules, kind: str, rule_id: str) -> PushRule:
    rule = rules.find(kind, rule_id)
    if rule is None:
        raise NoSuchRule(rule_id)
    return rule


def _instead(rules: PushRules, kind: str, old: PushRule, new: PushRule) -> PushRules:
    return _with(rules, kind, [new if one is old else one for one in rules.rules[kind]])


def _with(rules: PushRules, kind: str, changed: Sequence[PushRule]) -> PushRules:
    return PushRules({**rules.rules, kind: tuple(changed)})


def _checked(rules: PushRules) -> PushRules:
    if len(orjson.dumps(rules.content())) > MAX_BYTES or _patterns(rules) > MAX_PATTERNS:
        raise TooManyRules
    return rules


def _patterns(rules: PushRules) -> int:
    conditions = (
        condition for kind in ("override", "underride") for rule in rules.rules[kind] for condition in rule.conditions
    )
    return len(rules.rules["content"]) + sum(
        isinstance(one, dict) and (one.get("key") == "content.body" or one.get("kind") == "contains_display_name")
        for one in conditions
    )
