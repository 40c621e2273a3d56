"""Push rules: conditions, which rule wins, actions, changes.  spec: Matrix client-server module push"""

from __future__ import annotations

import json
import re
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.graph_builder import KEY
from tests.core.spec_text import spec_file

from tripoint.core.event import Event, EventDraft, build_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.levels import PowerLevels
from tripoint.core.push_changes import (
    BadRule,
    NoSuchNeighbour,
    NoSuchRule,
    TooManyRules,
    copy_room_rule,
    delete_rule,
    put_rule,
    set_actions,
    set_enabled,
)
from tripoint.core.push_conditions import Surroundings, compile_condition, parse_path
from tripoint.core.push_rules import KINDS, PushRule, PushRules, Verdict, read_actions, read_rules
from tripoint.core.room_version import get_room_version
from tripoint.core.sealed import BARE

V11 = get_room_version("11")
ME = UserId("@me:one.example")
BOB = UserId("@bob:one.example")
ROOM = "!tea:one.example"


def event(content: dict[str, Any], type_: str = "m.room.message", state_key: str | None = None) -> Event:
    draft = EventDraft(type_, BOB, content, state_key=state_key)
    return build_event(
        draft, V11, room_id=RoomId(ROOM), prev_events=[EventId("$p")], auth_events=[], depth=2, origin_server_ts=1,
        server=ServerName("one.example"), key=KEY,
    )  # fmt: skip


def said(body: str, **more: Any) -> Event:
    return event({"msgtype": "m.text", "body": body, **more})


def around(members: int = 3, name: str | None = "Me", **levels: Any) -> Surroundings:
    return Surroundings(members, name, PowerLevels(levels, V11))


def holds(condition: Any, of: Event, where: Surroundings | None = None) -> bool:
    return compile_condition(condition)(of, where or around())


def match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


@pytest.mark.parametrize(
    ("pattern", "value", "wanted"),
    [
        # The examples of the text.
        ("lunc?*", "Lunch plans", True),
        ("lunc?*", "LUNCH", True),
        ("lunc?*", " lunch", False),
        ("lunc?*", "lunc", False),
        ("lunc?*", None, False),
        ("*", 5, False),
        ("", "", True),
        ("", "x", False),
        ("a.c", "abc", False),
        ("*x*y*", "xaay", True),
        ("*x*y*", "yaax", False),
    ],
)
def test_event_match_is_about_the_whole_value(pattern: str, value: Any, wanted: bool) -> None:
    assert holds(match("content.topic", pattern), event({"topic": value}, "m.room.topic", "")) is wanted


@pytest.mark.parametrize(
    ("pattern", "body", "wanted"),
    [
        ("ex*ple", "An example event.", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "An exciting triple-whammy", True),
        ("cake", "Cake!", True),
        ("cake", "cakes", False),
        ("cake", "cup_cake", False),
        ("cake", "pan-cake", True),
        ("cake*lie", "the cake is a lie", True),
        ("cake*lie", "the cake is a liege, no lie", True),
        ("c?ke", "a coke", True),
        ("@room", "hello @room", True),
        ("a+b", "aab", False),
        ("*", "", True),
        ("über", "ÜBER alles", True),
        ("x*y", "line x\nline y", True),
    ],
)
def test_words_in_a_body(pattern: str, body: str, wanted: bool) -> None:
    assert holds(match("content.body", pattern), said(body)) is wanted
    content = put_rule(
        read_rules(ME, None), "content", "w", {"pattern": pattern, "actions": ["notify", {"set_tweak": "highlight"}]},
        before=None, after=None,
    )  # fmt: skip
    assert content.judge(said(body), around()).highlight is wanted


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    body = "a " * 16_000
    started = process_time()
    for pattern in ("a*" * 30 + "b", "*a" * 30 + "b", "a?" * 30 + "*b"):
        assert not holds(match("content.body", pattern), said(body))
    assert process_time() - started < 2


_PIECES = st.text("ab_ *?.", max_size=8)


@given(_PIECES, st.text("ab_ .\n", max_size=10))
def test_globs_in_a_body_are_as_the_text_defines_them(pattern: str, body: str) -> None:
    def boundary(at: int) -> bool:
        ends = at in (0, len(body))
        return ends or re.match(r"[A-Za-z0-9_]", body[at - 1]) is None or re.match(r"[A-Za-z0-9_]", body[at]) is None

    whole = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)
    slow = any(
        whole.fullmatch(body[start:end])
        for start in range(len(body) + 1)
        for end in range(start, len(body) + 1)
        if boundary(start) and boundary(end)
    )
    assert holds(match("content.body", pattern), said(body)) is slow


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to.rel_type", ("content", "m.relates_to", "rel_type")),
        (r"content.a\\.b", ("content", "a\\", "b")),
        (r"content.a\b", ("content", r"a\b")),
        ("a..b", ("a", "", "b")),
        ("a\\", ("a\\",)),
    ],
)
def test_paths_of_properties(path: str, wanted: tuple[str, ...]) -> None:
    assert parse_path(path) == wanted


@pytest.mark.parametrize(
    ("value", "held", "wanted"),
    [
        (True, True, True),
        (True, "true", False),
        (True, 1, False),
        (1, True, False),
        (None, None, True),
        ("x", "X", False),
        ([], [], False),
        ({}, {}, False),
        (1.5, 1.5, False),
    ],
)
def test_event_property_is_exact(value: Any, held: Any, wanted: bool) -> None:
    condition = {"kind": "event_property_is", "key": r"content.m\.federate", "value": value}
    of = said("x", **{"m.federate": held}) if held != 1.5 else said("x")
    assert holds(condition, of) is wanted
    assert not holds(condition, said("x")), "absent"
    condition = {"kind": "event_property_contains", "key": "content.list", "value": value}
    assert holds(condition, said("x", list=["other", held if held != 1.5 else 0])) is wanted
    assert not holds(condition, said("x", list=value if value != 1.5 else 0)), "not a list"


@pytest.mark.parametrize(
    ("asked", "members", "wanted"),
    [
        ("2", 2, True), ("2", 3, False), ("==2", 2, True), ("<2", 1, True), ("<2", 2, False), (">2", 3, True),
        (">=2", 2, True), ("<=2", 2, True), ("<=2", 3, False), ("", 0, False), ("=2", 2, False), ("x", 2, False),
        ("-2", -2, False), (2, 2, False),
    ],
)  # fmt: skip
def test_room_member_count(asked: Any, members: int, wanted: bool) -> None:
    assert holds({"kind": "room_member_count", "is": asked}, said("x"), around(members)) is wanted


def test_the_other_conditions() -> None:
    permission = {"kind": "sender_notification_permission", "key": "room"}
    assert not holds(permission, said("x"))
    assert holds(permission, said("x"), around(users={BOB: 50}))
    assert holds(permission, said("x"), around(notifications={"room": 0}))
    assert not holds({"kind": "sender_notification_permission"}, said("x"), around(users={BOB: 100}))
    named = {"kind": "contains_display_name"}
    assert holds(named, said("hello me!")) and not holds(named, said("some"))
    assert not holds(named, said("me"), around(name=None)) and not holds(named, said(""), around(name=""))
    assert holds(named, said("hi *?* there"), around(name="*?*")) and not holds(named, said("abc"), around(name="*"))
    for unknown in ({"kind": "device"}, {}, 5, None, [], {"kind": 7}, match("content.body", "x") | {"key": 7}):
        assert not holds(unknown, said("x"))


def test_the_default_rules_are_those_of_the_specification() -> None:
    text = spec_file("matrix/spec/content/client-server-api/modules/push.md")
    text = text[text.index("##### Default Override Rules") : text.index("#### Push Rules: API")]
    text = text.replace("[the user's Matrix ID]", ME)
    wanted = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.S)]
    content: Any = read_rules(ME, None).content()
    assert [*content["global"]["override"], *content["global"]["underride"]] == wanted
    assert all(content["global"][kind] == [] for kind in ("content", "room", "sender"))


LOUD = Verdict(True, True, {"highlight": True}, ("notify", {"set_tweak": "highlight"}))


@pytest.mark.parametrize(
    ("of", "members", "notify", "highlight", "sound"),
    [
        (said("hello"), 3, True, False, None),
        (said("hello"), 2, True, False, "default"),
        (event({"msgtype": "m.notice", "body": "x"}), 3, False, False, None),
        (said("hi", **{"m.mentions": {"user_ids": [ME]}}), 3, True, True, "default"),
        (said(f"hi {ME} me", **{"m.mentions": {}}), 3, True, False, None),
        (said("@room", **{"m.mentions": {"room": True}}), 3, True, False, None),  # without the level
        (event({"membership": "invite"}, "m.room.member", ME), 3, True, False, "default"),
        (event({"membership": "join"}, "m.room.member", BOB), 3, False, False, None),
        (event({"replacement_room": "!x:y"}, "m.room.tombstone", ""), 3, True, True, None),
        (event({"key": "x"}, "m.reaction"), 3, False, False, None),
        (event({"deny": []}, "m.room.server_acl", ""), 3, False, False, None),
        (said("*", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$a"}}), 2, False, False, None),
        (event({}, "m.call.invite"), 3, True, False, "ring"),
        (event({}, "m.room.encrypted"), 2, True, False, "default"),
        (event({}, "m.room.encrypted"), 3, True, False, None),
        (event({"topic": "x"}, "m.room.topic", ""), 3, False, False, None),
    ],
)
def test_what_the_default_rules_say(of: Event, members: int, notify: bool, highlight: bool, sound: str | None) -> None:
    verdict = read_rules(ME, None).judge(of, around(members))
    assert (verdict.notify, verdict.highlight, verdict.tweaks.get("sound")) == (notify, highlight, sound)


def test_everybody_is_called_by_who_may() -> None:
    of = said("@room", **{"m.mentions": {"room": True}})
    assert read_rules(ME, None).judge(of, around(users={BOB: 50})) == LOUD


def test_actions() -> None:
    assert read_actions(["dont_notify"]) == read_actions([]) == read_actions(["coalesce", 5])
    assert read_actions(["notify", {"set_tweak": "highlight", "value": False}]).highlight is False
    assert not read_actions([{"set_tweak": "highlight"}]).highlight, "no notification, no highlight"


def put(rules: PushRules, kind: str, rule_id: str, **body: Any) -> PushRules:
    before, after = body.pop("before", None), body.pop("after", None)
    return put_rule(rules, kind, rule_id, {"actions": [], **body}, before=before, after=after)


def found(rules: PushRules, kind: str, rule_id: str) -> PushRule:
    rule = rules.find(kind, rule_id)
    assert rule is not None
    return rule


def ids(rules: PushRules, kind: str) -> list[str]:
    return [rule.rule_id for rule in rules.rules[kind] if not rule.default]


def test_kinds_are_asked_in_their_order() -> None:
    """Each later kind is overruled by each earlier one; a disabled rule is as if it were not there."""
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "override": ("o", {"conditions": []}),
        "content": ("c", {"pattern": "tea"}),
        "room": (ROOM, {}),
        "sender": (BOB, {}),
        "underride": ("u", {"conditions": []}),
    }
    rules = read_rules(ME, None)
    for kind, (rule_id, body) in bodies.items():
        rules = put(rules, kind, rule_id, **body, actions=["notify", {"set_tweak": "sound", "value": kind}])
    for kind in KINDS:
        assert rules.judge(said("tea"), around()).tweaks["sound"] == kind
        rules = set_enabled(rules, kind, bodies[kind][0], False)
    assert rules.judge(said("tea"), around()) == read_rules(ME, None).judge(said("tea"), around())
    rules = set_enabled(put(rules, "override", "loud", actions=["notify"]), "override", ".m.rule.master", True)
    assert not rules.judge(said("tea"), around()).notify, "the master rule is before the user's own"


def test_places() -> None:
    rules = read_rules(ME, None)
    for name in ("one", "two", "three"):
        rules = put(rules, "override", name)
    assert ids(rules, "override") == ["three", "two", "one"]
    assert [rule.rule_id for rule in rules.rules["override"]][:2] == [".m.rule.master", "three"]
    assert ids(put(rules, "override", "x", before="one"), "override") == ["three", "two", "x", "one"]
    assert ids(put(rules, "override", "x", after="three"), "override") == ["three", "x", "two", "one"]
    assert ids(put(rules, "override", "x", before="one", after="three"), "override") == ["three", "two", "x", "one"]
    assert ids(put(rules, "override", "three", after="one"), "override") == ["two", "one", "three"]
    assert ids(put(rules, "override", "two"), "override") == ["three", "two", "one"], "it stays where it is"
    for neighbour in ("nobody", ".m.rule.master", "two"):
        with pytest.raises(NoSuchNeighbour):
            put(rules, "override", "two", before=neighbour)


def test_what_is_refused() -> None:
    rules = read_rules(ME, None)
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("override", ".m.rule.master", {}), ("override", "a/b", {}), ("override", "a\\b", {}), ("override", "", {}),
        ("nothing", "a", {}), ("override", "a" * 256, {}), ("content", "a", {}), ("content", "a", {"pattern": 5}),
        ("override", "a", {"conditions": 5}), ("override", "a", {"conditions": [5]}), ("room", "tea", {}),
        ("sender", "bob", {}), ("override", "a", {"actions": "notify"}), ("override", "a", {"actions": ["shout"]}),
        ("override", "a", {"actions": [{}]}), ("override", "a", {"actions": None}),
    ]  # fmt: skip
    for kind, rule_id, body in refused:
        with pytest.raises(BadRule):
            put(rules, kind, rule_id, **body)
    with pytest.raises(TooManyRules):
        put(rules, "content", "a", pattern="x" * 140_000)
    with pytest.raises(NoSuchRule):
        delete_rule(rules, "override", "a")
    with pytest.raises(BadRule):
        delete_rule(rules, "override", ".m.rule.master")
    with pytest.raises(NoSuchRule):
        set_enabled(rules, "nothing", "a", True)
    kept = found(put(rules, "override", "a", actions=["dont_notify", "notify"]), "override", "a")
    assert kept.actions == ("notify",)


def test_what_is_stored_is_read_again() -> None:
    rules = read_rules(ME, None)
    rules = put(rules, "content", "cake", pattern="cake", actions=["notify"])
    rules = put(rules, "override", "x", conditions=[{"kind": "org.example.unknown", "a": 1}])
    rules = set_enabled(rules, "override", "x", False)
    rules = put(rules, "room", ROOM)
    rules = set_actions(set_enabled(rules, "override", ".m.rule.master", True), "underride", ".m.rule.call", [])
    again = read_rules(ME, json.loads(json.dumps(rules.content())))
    assert again.content() == rules.content()
    assert read_rules(ME, {"global": {"override": [5, {"rule_id": ".m.rule.gone"}], "content": 7}}).content() == (
        read_rules(ME, None).content()
    ), "of the server's rules those of today, and nothing that is no rule"
    # A rule that was disabled stays so when it is written anew.
    assert found(put(again, "override", "x"), "override", "x").enabled is False


def test_a_rule_about_a_room_goes_along() -> None:
    rules = put(read_rules(ME, None), "room", ROOM)
    along = copy_room_rule(rules, ROOM, "!new")
    assert ids(along, "room") == ["!new", ROOM]
    assert copy_room_rule(along, ROOM, "!new") is along and copy_room_rule(rules, "!other", "!new") is rules


def test_words_that_are_looked_for_are_bounded() -> None:
    rules = read_rules(ME, None)
    for number in range(99):
        rules = put(rules, "content", str(number), pattern="x")
    condition = [match("content.body", "x")]
    rules = put(rules, "underride", "last", conditions=condition)
    for kind, body in (("content", {"pattern": "x"}), ("override", {"conditions": condition})):
        with pytest.raises(TooManyRules):
            put(rules, kind, "more", **body)
    assert found(put(rules, "content", "5", pattern="y"), "content", "5").pattern == "y"


_CASED = st.sampled_from([ROOM, ROOM.upper(), "!other:one.example", "*", "!tea*"])


@given(st.lists(st.tuples(_CASED, st.booleans()), max_size=6))
def test_rules_about_rooms_are_asked_in_their_order(wanted: list[tuple[str, bool]]) -> None:
    """As if each were asked, though only those of the event's own room are."""
    rules, slow = read_rules(ME, None), []
    for number, (pattern, notify) in enumerate(wanted):
        sound = {"set_tweak": "sound", "value": str(number)}
        conditions = [match("room_id", pattern)]
        rules = put(rules, "override", str(number), conditions=conditions, actions=["notify", sound] if notify else [])
        if holds(conditions[0], said("x")):
            slow = [(notify, str(number))]
    verdict = rules.judge(said("x"), around())
    assert rules.judge(said("y"), around()) == verdict
    if slow:
        assert (verdict.notify, verdict.tweaks.get("sound")) == (slow[0][0], slow[0][1] if slow[0][0] else None)
    else:
        assert verdict == read_rules(ME, None).judge(said("x"), around())


def test_hundreds_of_muted_rooms_cost_nothing() -> None:
    rules = read_rules(ME, None)
    for number in range(700):
        room = f"!{number}:one.example"
        rules = PushRules({**rules.rules, "override": (*rules.rules["override"], _muting(room))})
    of = said("x")
    rules.judge(of, around())
    looked_at = rules._asked(of.room_id, of.type)
    assert len(looked_at) < 40, "those of other rooms are not looked at again"


def _muting(room: str) -> PushRule:
    return PushRule(room, (), conditions=({"kind": "event_match", "key": "room_id", "pattern": room},))


def test_what_clients_of_xmpp_encrypted_is_judged_as_encrypted() -> None:
    """docs/mapping.md 19.10; spec: .m.rule.encrypted, .m.rule.encrypted_room_one_to_one"""
    rules = read_rules(ME, None)
    sealed = event({"dev.tripoint.xmpp.payload": "<e/>", "dev.tripoint.xmpp.encrypted": "urn:xmpp:omemo:2"}, BARE)
    plain = event({"dev.tripoint.xmpp.payload": "<store/>"}, BARE)
    assert (rules.judge(sealed, around()).notify, rules.judge(plain, around()).notify) == (True, False)
    assert rules.judge(sealed, around(members=2)).tweaks == {"sound": "default"}
    assert holds(match("type", "m.room.encrypted"), sealed)
    assert not holds(match("type", "m.room.encrypted"), plain)
    assert holds(match("type", BARE), plain)


@pytest.mark.parametrize("type_", ["m.room.message", "M.Room.Message", "m.room.member", "m.reaction", "org.tea"])
def test_rules_of_a_type_hold_for_that_type_alone(type_: str) -> None:
    """Which rules are asked depends on the type; case is not looked at, globs are asked always."""
    rules = read_rules(ME, None)
    for pattern in ("m.room.MESSAGE", "m.r*", "m.react?on", "m.room.member"):
        conditions = [match("type", pattern)]
        only = put(rules, "override", "mine", conditions=conditions, actions=["notify", {"set_tweak": "mine"}])
        of = event({}, type_)
        assert ("mine" in only.judge(of, around()).tweaks) is holds(conditions[0], of), pattern
