"""Authorisation rules, rule by rule and version by version.  spec: Matrix rooms/v3 to v12, "Authorisation rules"

Numbers are those of version 12. Alice of one.example makes the rooms; Carol and Dave are of two.example.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.graph_builder import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    RoomBuilder,
    ids_of,
    join,
    powers,
    rule,
)

from tripoint.core.auth_rules import (
    NotAllowed,
    auth_keys_for,
    check_auth_events_selection,
    check_event_auth,
    needed_keys_for,
    state_of,
)
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event, StateKey
from tripoint.core.ids import EventId, ServerName
from tripoint.core.room_version import ROOM_VERSIONS, SUPPORTED
from tripoint.core.signing import SigningKey, sign_json

ALL = SUPPORTED
BEFORE_12 = [v for v in ALL if v != "12"]
LENIENT_LEVELS = [v for v in ALL if int(v) < 10]
STRICT_LEVELS = [v for v in ALL if int(v) >= 10]

State = dict[StateKey, Event]


def verdict(event: Event, state: State) -> str:
    """The name of the rule that forbids the event, or "" if it is allowed."""
    try:
        check_event_auth(event, state)
    except NotAllowed as error:
        assert error.reason and str(error).startswith(error.rule)
        return error.rule
    return ""


def member(room: RoomBuilder, state: State, sender: str, target: str, membership: str, **more: Any) -> str:
    event = room.make(sender, "m.room.member", {"membership": membership, **more}, target, state=ids_of(state))
    # A join directly after the create event is another rule.
    event.prev_events = (room.make(ALICE, "x", {}).event_id,)
    return verdict(event, state)


def send(room: RoomBuilder, state: State, sender: str, event_type: str, content: JsonObject, key: str | None) -> str:
    return verdict(room.make(sender, event_type, content, key, state=ids_of(state)), state)


# -- 1. m.room.create


@pytest.mark.parametrize("number", ALL)
def test_create(number: str) -> None:
    room = RoomBuilder(number)
    assert verdict(room.create, {}) == ""
    with_parents = room.make(ALICE, "x", {})
    create = RoomBuilder(number).create
    create.prev_events = (with_parents.event_id,)
    assert verdict(create, {}) == "create.has_parents"
    assert verdict(RoomBuilder(number, room_version="999").create, {}) == "create.unknown_version"
    assert verdict(RoomBuilder(number, room_version=[]).create, {}) == "create.unknown_version"
    # "recognised": versions that we know of, whether or not they are supported.
    assert verdict(RoomBuilder(number, room_version="1").create, {}) == ""


@pytest.mark.parametrize("number", ALL)
def test_create_names_a_creator_until_version_10(number: str) -> None:
    room = RoomBuilder(number)
    room.create.content = {"room_version": number}
    assert verdict(room.create, {}) == ("create.no_creator" if int(number) <= 10 else "")


@pytest.mark.parametrize("number", BEFORE_12)
def test_create_in_another_servers_room(number: str) -> None:
    room = RoomBuilder(number)
    room.create.sender = CAROL
    assert verdict(room.create, {}) == "create.other_server"


@pytest.mark.parametrize("number", ["11", "12"])
@pytest.mark.parametrize("additional", [None, "x", {}, [5], ["bob"], ["@bob"], [BOB, "@a:b c"]])
def test_additional_creators_are_user_ids(number: str, additional: Any) -> None:
    create = RoomBuilder(number, additional_creators=additional).create
    assert verdict(create, {}) == ("create.additional_creators" if number == "12" else "")


def test_additional_creators() -> None:
    assert verdict(RoomBuilder("12", additional_creators=[BOB, CAROL]).create, {}) == ""
    assert verdict(RoomBuilder("12", additional_creators=[]).create, {}) == ""


# -- 2. and 3.


@pytest.mark.parametrize("number", ALL)
def test_a_room_needs_its_create_event(number: str) -> None:
    room, other = RoomBuilder(number), RoomBuilder(number, name="other")
    state = room.line(join(ALICE))
    message = room.make(ALICE, "m.room.message", {})
    assert verdict(message, state) == ""
    del state[room.create.key]
    assert verdict(message, state) == "room.no_create"
    state[room.create.key] = other.create
    assert verdict(message, state) == ("room.not_its_create" if number == "12" else "")


@pytest.mark.parametrize("number", ALL)
def test_selection_of_auth_events(number: str) -> None:
    version = ROOM_VERSIONS[number]
    create = [] if number == "12" else [("m.room.create", "")]
    base = [*create, ("m.room.power_levels", ""), ("m.room.member", ALICE)]

    def keys(event_type: str, state_key: str | None, **content: Any) -> list[StateKey]:
        found = auth_keys_for(event_type, ALICE, state_key, content, version)
        assert len(found) == len(set(found))
        assert set(needed_keys_for(event_type, ALICE, state_key, content, version)) - set(found) <= {
            ("m.room.create", "")
        }
        return found

    assert keys("m.room.create", "") == []
    assert keys("m.room.message", None) == keys("m.room.topic", "") == base
    rules = [("m.room.join_rules", "")]
    assert keys("m.room.member", ALICE, membership="join") == base + rules
    assert keys("m.room.member", ALICE, membership="knock") == base + rules
    assert keys("m.room.member", ALICE, membership="leave") == base
    assert keys("m.room.member", BOB, membership="ban") == [*base, ("m.room.member", BOB)]
    assert keys("m.room.member", BOB, membership="invite") == [*base, ("m.room.member", BOB), *rules]
    third = {"signed": {"token": "t"}}
    assert keys("m.room.member", BOB, membership="invite", third_party_invite=third)[-1] == (
        "m.room.third_party_invite", "t",
    )  # fmt: skip
    assert len(keys("m.room.member", BOB, membership="invite", third_party_invite=[])) == len(base) + 2
    authorised = keys("m.room.member", ALICE, membership="join", join_authorised_via_users_server=CAROL)
    assert (("m.room.member", CAROL) in authorised) is (int(number) >= 8)
    assert ("m.room.member", CAROL) not in keys(
        "m.room.member", ALICE, membership="leave", join_authorised_via_users_server=CAROL
    )


@pytest.mark.parametrize("number", ALL)
def test_cited_auth_events(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"), powers(ALICE))
    event = room.make(ALICE, "m.room.message", {}, state=ids_of(state))
    cited = [room.events[i] for i in event.auth_events]
    assert (room.create in cited) is (number != "12")

    def outcome(auth_events: list[Event], *rejected: Event) -> str:
        try:
            check_auth_events_selection(event, auth_events, {e.event_id for e in rejected})
        except NotAllowed as error:
            return error.rule
        return ""

    assert outcome(cited) == ""
    again = room.make(ALICE, "m.room.member", {"membership": "join", "displayname": "A"}, ALICE)
    assert outcome([*cited, again]) == "auth_events.duplicate"
    assert outcome([*cited, state["m.room.join_rules", ""]]) == "auth_events.unexpected"
    assert outcome([*cited, event]) == "auth_events.unexpected"
    assert outcome(cited, cited[-1]) == "auth_events.rejected"
    assert outcome(cited[1:]) == ("" if number == "12" else "auth_events.no_create")
    if number == "12":
        # "m.room.create MUST NOT be selected for auth_events"
        assert outcome([*cited, room.create]) == "auth_events.unexpected"
    elsewhere = RoomBuilder(number, creator=CAROL, n=1).line(join(CAROL), powers(CAROL))
    foreign = [*[e for e in cited if e.type != "m.room.power_levels"], elsewhere["m.room.power_levels", ""]]
    assert outcome(foreign) == "auth_events.other_room"
    check_auth_events_selection(room.create, [])


# -- 4.


@pytest.mark.parametrize("number", ALL)
def test_rooms_that_do_not_federate(number: str) -> None:
    for federate, expected in ((False, "room.not_federated"), (True, ""), ("false", "")):
        room = RoomBuilder(number, **{"m.federate": federate})
        state = room.line(join(ALICE), rule(ALICE, "public"))
        assert member(room, state, CAROL, CAROL, "join") == expected
        assert member(room, state, BOB, BOB, "join") == ""


@pytest.mark.parametrize("number", ALL)
def test_aliases_have_a_rule_until_version_5(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), powers(ALICE, users={} if number == "12" else {ALICE: 100}))
    results = (
        send(room, state, CAROL, "m.room.aliases", {}, "two.example"),
        send(room, state, ALICE, "m.room.aliases", {}, "two.example"),
        send(room, state, ALICE, "m.room.aliases", {}, None),
    )
    if int(number) <= 5:
        assert results == ("", "aliases.other_server", "aliases.no_state_key")
    else:
        assert results == ("sender.not_joined", "", "")


# -- 5.1 and 5.8


@pytest.mark.parametrize("number", ALL)
def test_memberships_that_are_none(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE))
    for content, key in (({"membership": "join"}, None), ({}, ALICE), ({"membership": None}, ALICE)):
        assert send(room, state, ALICE, "m.room.member", content, key) == "member.malformed"  # type: ignore[arg-type]
    for membership in ("x", 5, [], {"a": 1}):
        assert member(room, state, ALICE, ALICE, membership) == "member.unknown"  # type: ignore[arg-type]


# -- 5.3 join


@pytest.mark.parametrize("number", ALL)
def test_the_creator_joins_first(number: str) -> None:
    room = RoomBuilder(number)
    state: State = {room.create.key: room.create}
    first = room.make(ALICE, "m.room.member", {"membership": "join"}, ALICE, parents=(room.create,))
    assert verdict(first, state) == ""
    # "If the only previous event is an m.room.create and the state_key is the creator"
    other = room.make(BOB, "m.room.member", {"membership": "join"}, BOB, parents=(room.create,))
    assert verdict(other, state) == "member.join.not_invited"
    late = room.make(ALICE, "m.room.member", {"membership": "join"}, ALICE, parents=(first,))
    assert verdict(late, state) == "member.join.not_invited"
    two = room.make(ALICE, "m.room.member", {"membership": "join"}, ALICE, parents=(room.create, first))
    assert verdict(two, state) == "member.join.not_invited"


def test_the_creator_is_named_in_content_until_version_10() -> None:
    for number, named in (("10", True), ("11", False)):
        room = RoomBuilder(number)
        room.create.content = {**room.create.content, "creator": BOB}
        state: State = {room.create.key: room.create}
        for user in (ALICE, BOB):
            first = room.make(user, "m.room.member", {"membership": "join"}, user, parents=(room.create,))
            assert (verdict(first, state) == "") is ((user == BOB) is named)


JOINS = [
    # (join rule, membership before, first version in which that is allowed, verdict otherwise)
    ("public", "leave", 3, ""),
    ("public", "invite", 3, ""),
    ("public", "ban", 99, "member.join.banned"),
    ("invite", "leave", 99, "member.join.not_invited"),
    ("invite", "invite", 3, ""),
    ("invite", "join", 3, ""),
    ("invite", "ban", 99, "member.join.banned"),
    ("knock", "invite", 7, "member.join.rule"),
    ("knock", "join", 7, "member.join.rule"),
    ("knock", "leave", 99, None),
    ("restricted", "invite", 8, "member.join.rule"),
    ("restricted", "join", 8, "member.join.rule"),
    ("restricted", "leave", 99, None),
    ("restricted", "ban", 99, "member.join.banned"),
    ("knock_restricted", "invite", 10, "member.join.rule"),
    ("knock_restricted", "leave", 99, None),
    ("private", "invite", 99, "member.join.rule"),
    ("nonsense", "join", 99, "member.join.rule"),
]


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize(("join_rule", "before", "since", "otherwise"), JOINS)
def test_joining(number: str, join_rule: str, before: str, since: int, otherwise: str | None) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, join_rule))
    state["m.room.member", BOB] = room.make(ALICE, "m.room.member", {"membership": before}, BOB)
    result = member(room, state, BOB, BOB, "join")
    if int(number) >= since:
        assert result == ""
    elif otherwise is None:
        assert result.startswith("member.join.")
    else:
        assert result == otherwise
    assert member(room, state, ALICE, BOB, "join") == "member.join.other_user"


@pytest.mark.parametrize("content", [{}, {"join_rule": 5}, None])
def test_without_a_join_rule_one_is_invited(content: JsonObject | None) -> None:
    room = RoomBuilder("12")
    state = room.line(join(ALICE))
    if content is not None:
        event = room.make(ALICE, "m.room.join_rules", content, "")
        state[event.key] = event
    assert member(room, state, BOB, BOB, "join") == "member.join.not_invited"


@pytest.mark.parametrize("number", [v for v in ALL if int(v) >= 8])
@pytest.mark.parametrize("join_rule", ["restricted", "knock_restricted"])
def test_restricted_joins(number: str, join_rule: str) -> None:
    room = RoomBuilder(number)
    creator_entry = {} if number == "12" else {ALICE: 100}
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, invite=50, users=creator_entry),
        rule(ALICE, join_rule),
    )  # fmt: skip
    if join_rule == "knock_restricted" and int(number) < 10:
        assert member(room, state, CAROL, CAROL, "join", join_authorised_via_users_server=ALICE) == "member.join.rule"
        return
    # 5.3.5.2: joined, and with the level to invite
    by = "member.join.not_authorised"
    assert member(room, state, CAROL, CAROL, "join", join_authorised_via_users_server=ALICE) == ""
    assert member(room, state, CAROL, CAROL, "join", join_authorised_via_users_server=BOB) == by
    assert member(room, state, CAROL, CAROL, "join", join_authorised_via_users_server=DAVE) == by
    assert member(room, state, CAROL, CAROL, "join", join_authorised_via_users_server=5) == by
    assert member(room, state, CAROL, CAROL, "join") == by


# -- 5.4 invite


@pytest.mark.parametrize("number", ALL)
def test_inviting(number: str) -> None:
    room = RoomBuilder(number)
    creator_entry = {} if number == "12" else {ALICE: 100}
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, invite=10, users={**creator_entry, BOB: 9})
    )
    assert member(room, state, ALICE, CAROL, "invite") == ""
    assert member(room, state, BOB, CAROL, "invite") == "member.invite.level"
    assert member(room, state, CAROL, DAVE, "invite") == "member.invite.sender_not_joined"
    assert member(room, state, ALICE, BOB, "invite") == "member.invite.already_joined"
    state["m.room.member", CAROL] = room.make(ALICE, "m.room.member", {"membership": "ban"}, CAROL)
    assert member(room, state, ALICE, CAROL, "invite") == "member.invite.banned"
    # "The invite level defaults to 0 if unspecified."
    open_room = RoomBuilder(number)
    open_state = open_room.line(join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, users=creator_entry))
    assert member(open_room, open_state, BOB, CAROL, "invite") == ""


THIRD = SigningKey("ed25519:0", b"\x07" * 32)


def _third_party(room: RoomBuilder, **keys: Any) -> tuple[State, JsonObject]:
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB))
    invite = room.make(ALICE, "m.room.third_party_invite", {"display_name": "C", **keys}, "tok")
    state[invite.key] = invite
    signed = sign_json({"mxid": CAROL, "token": "tok"}, ServerName("id.example"), THIRD)
    return state, {"display_name": "C", "signed": signed}


@pytest.mark.parametrize("number", ALL)
def test_third_party_invites(number: str) -> None:
    room = RoomBuilder(number)
    state, third = _third_party(room, public_key=THIRD.verify_key_b64)

    def invite(third_party: Any, sender: str = ALICE, target: str = CAROL) -> str:
        return member(room, state, sender, target, "invite", third_party_invite=third_party)

    signed: JsonObject = third["signed"]  # type: ignore[assignment]
    assert invite(third) == ""
    # Allowed before the sender's membership and level are looked at: 5.4.2 comes later.
    assert invite(third, target=DAVE) == "member.invite.third_party.other_user"
    for malformed in ({}, {"signed": 5}, [], {"signed": {}}, {"signed": {"mxid": CAROL}}, {"signed": {"token": "t"}}):
        assert invite(malformed) == "member.invite.third_party.malformed"
    assert invite({"signed": {**signed, "token": "no"}}) == "member.invite.third_party.unknown"
    assert invite(third, sender=BOB) == "member.invite.third_party.sender"
    for changed in (
        {**signed, "extra": 1},
        {**signed, "signatures": {}},
        {**signed, "signatures": 5},
        {**signed, "signatures": {"id.example": 5}},
        {**signed, "signatures": {"id.example": {"ed25519:0": 5}}},
        {**signed, "signatures": {"id.example": {"rsa:0": "x"}}},
    ):
        assert invite({"signed": changed}) == "member.invite.third_party.signature"
    state["m.room.member", CAROL] = room.make(ALICE, "m.room.member", {"membership": "ban"}, CAROL)
    assert invite(third) == "member.invite.banned"


def test_third_party_keys_may_be_a_list() -> None:
    room = RoomBuilder("12")
    keys = [5, {"public_key": "x"}, {"public_key": THIRD.verify_key_b64}]
    state, third = _third_party(room, public_keys=keys)
    assert member(room, state, ALICE, CAROL, "invite", third_party_invite=third) == ""
    state, third = _third_party(room, public_keys=keys[:2])
    assert member(room, state, ALICE, CAROL, "invite", third_party_invite=third) == (
        "member.invite.third_party.signature"
    )


def test_third_party_keys_may_be_in_the_url_safe_alphabet() -> None:
    """spec: m.room.third_party_invite public_key: "using the standard or URL-safe alphabets" """
    keys = [SigningKey("ed25519:0", bytes([number]) * 32) for number in range(99)]
    key = next(key for key in keys if "/" in key.verify_key_b64)
    room = RoomBuilder("12")
    state, _ = _third_party(room, public_key=key.verify_key_b64.replace("+", "-").replace("/", "_"))
    third: JsonObject = {"signed": sign_json({"mxid": CAROL, "token": "tok"}, ServerName("id.example"), key)}
    assert member(room, state, ALICE, CAROL, "invite", third_party_invite=third) == ""


def test_third_party_signatures_are_tried_a_bounded_number_of_times() -> None:
    room = RoomBuilder("12")
    state, third = _third_party(room, public_keys=[{"public_key": THIRD.verify_key_b64}] * 80)
    wrong = {f"ed25519:{n}": "A" * 86 for n in range(80)}
    signed: JsonObject = {**third["signed"], "signatures": {"a": wrong}}  # type: ignore[dict-item]
    assert member(room, state, ALICE, CAROL, "invite", third_party_invite={"signed": signed}) == (
        "member.invite.third_party.signature"
    )


# -- 5.5 leave, 5.6 ban


@pytest.mark.parametrize("number", ALL)
def test_leaving(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB))
    assert member(room, state, BOB, BOB, "leave") == ""
    assert member(room, state, CAROL, CAROL, "leave") == "member.leave.not_there"
    for before, expected in (("invite", ""), ("ban", "member.leave.not_there"), ("leave", "member.leave.not_there"),
                             ("knock", "" if int(number) >= 7 else "member.leave.not_there")):  # fmt: skip
        state["m.room.member", CAROL] = room.make(ALICE, "m.room.member", {"membership": before}, CAROL)
        assert member(room, state, CAROL, CAROL, "leave") == expected


@pytest.mark.parametrize("number", ALL)
def test_kicking_banning_and_unbanning(number: str) -> None:
    room = RoomBuilder(number)
    creator_entry = {} if number == "12" else {ALICE: 100}
    users = {**creator_entry, BOB: 50, CAROL: 30, DAVE: 30}
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), powers(ALICE, users=users, kick=30, ban=50)
    )
    eve = "@eve:two.example"
    state["m.room.member", eve] = room.make(eve, "m.room.member", {"membership": "join"}, eve)
    assert member(room, state, DAVE, eve, "leave") == "member.leave.sender_not_joined"
    assert member(room, state, eve, CAROL, "leave") == "member.kick.level"
    assert member(room, state, CAROL, DAVE, "leave") == "member.kick.equal"
    assert member(room, state, CAROL, BOB, "leave") == "member.kick.equal"
    assert member(room, state, CAROL, eve, "leave") == ""
    assert member(room, state, BOB, CAROL, "leave") == ""
    assert member(room, state, DAVE, eve, "ban") == "member.ban.sender_not_joined"
    assert member(room, state, CAROL, eve, "ban") == "member.ban.level"
    assert member(room, state, BOB, BOB, "ban") == "member.ban.equal"
    assert member(room, state, BOB, ALICE, "ban") == "member.ban.equal"
    assert member(room, state, BOB, CAROL, "ban") == ""
    # "To unban somebody, you must have power level greater than or equal to both the kick and ban levels, and
    # greater than the target user's power level."
    state["m.room.member", eve] = room.make(BOB, "m.room.member", {"membership": "ban"}, eve)
    assert member(room, state, CAROL, eve, "leave") == "member.unban.level"
    assert member(room, state, BOB, eve, "leave") == ""
    assert member(room, state, ALICE, BOB, "ban") == ""


# -- 5.7 knock


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize("join_rule", ["knock", "knock_restricted", "public", "invite", "restricted"])
def test_knocking(number: str, join_rule: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, join_rule))
    result = member(room, state, BOB, BOB, "knock")
    if int(number) < 7:
        assert result == "member.unknown"
    elif join_rule == "knock" or (join_rule == "knock_restricted" and int(number) >= 10):
        assert result == ""
        assert member(room, state, ALICE, BOB, "knock") == "member.knock.other_user"
        for before in ("ban", "invite", "join", "knock", "leave"):
            state["m.room.member", BOB] = room.make(ALICE, "m.room.member", {"membership": before}, BOB)
            expected = "member.knock.membership" if before in ("ban", "invite", "join") else ""
            assert member(room, state, BOB, BOB, "knock") == expected
    else:
        assert result == "member.knock.rule"


# -- 6. to 9.


@pytest.mark.parametrize("number", ALL)
def test_sending(number: str) -> None:
    room = RoomBuilder(number)
    creator_entry = {} if number == "12" else {ALICE: 100}
    levels = {"users": {**creator_entry, BOB: 20}, "events": {"m.room.topic": 20, "x": 21}, "events_default": 5}
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), powers(ALICE, **levels))
    # 6.
    assert send(room, state, DAVE, "m.room.message", {}, None) == "sender.not_joined"
    # 7. "greater than or equal to the invite level", whatever `events` says
    assert send(room, state, CAROL, "m.room.third_party_invite", {}, "t") == ""
    # 8.
    assert send(room, state, CAROL, "m.room.message", {}, None) == "sender.level"
    assert send(room, state, BOB, "m.room.message", {}, None) == ""
    assert send(room, state, BOB, "m.room.topic", {}, "") == ""
    assert send(room, state, BOB, "x", {}, None) == "sender.level"
    assert send(room, state, BOB, "m.room.name", {}, "") == "sender.level"
    assert send(room, state, ALICE, "m.room.name", {}, "") == ""
    # 9.
    assert send(room, state, ALICE, "y", {}, BOB) == "state_key.other_user"
    assert send(room, state, ALICE, "y", {}, ALICE) == ""
    assert send(room, state, ALICE, "y", {}, "@") == "state_key.other_user"
    # Redactions are not decided here from version 3 on.
    first = number in ("1", "2")
    assert send(room, state, BOB, "m.room.redaction", {}, None) == ("redaction.level" if first else "")


@pytest.mark.parametrize("number", ALL)
def test_levels_before_there_are_levels(number: str) -> None:
    # spec: m.room.power_levels: the creator has 100, others 0; state_default is 50, events_default 0.
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB))
    assert send(room, state, BOB, "m.room.message", {}, None) == ""
    assert send(room, state, BOB, "m.room.topic", {}, "") == "sender.level"
    assert send(room, state, ALICE, "m.room.topic", {}, "") == ""


# -- 10. m.room.power_levels


@pytest.fixture
def crew() -> dict[str, tuple[RoomBuilder, State]]:
    """Per version a room where Alice makes the rules, Bob has 60, Carol 60 and Dave 30."""
    made = {}
    for number in ALL:
        room = RoomBuilder(number)
        creator_entry = {} if number == "12" else {ALICE: 100}
        state = room.line(
            join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL), join(DAVE),
            powers(ALICE, **LEVELS, users={**creator_entry, BOB: 60, CAROL: 60, DAVE: 30}),
        )  # fmt: skip
        made[number] = room, state
    return made


LEVELS: dict[str, Any] = {
    "ban": 50, "kick": 70, "state_default": 30, "events": {"m.room.power_levels": 30, "low": 10, "high": 80},
    "notifications": {"room": 20, "high": 80},
}  # fmt: skip

# Changes by Bob, who has 60; each is applied to the room's levels. None removes an entry.
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"ban": 60}, ""),
    ({"ban": 61}, "power_levels.above_own"),
    ({"ban": None}, ""),
    ({"kick": 50}, "power_levels.above_own"),  # 10.6.1: the current value is above his
    ({"kick": None}, "power_levels.above_own"),
    ({"redact": 60}, ""),  # 10.6: added
    ({"redact": 61}, "power_levels.above_own"),
    ({"users_default": -5, "events_default": 60, "invite": 3}, ""),
    ({"users_default": 61}, "power_levels.above_own"),
    ({"unknown": 100}, ""),
    ({"events": {"low": 60}}, ""),
    ({"events": {"low": 61}}, "power_levels.above_own"),
    ({"events": {"low": None}}, ""),
    ({"events": {"high": 10}}, "power_levels.above_own"),
    ({"events": {"high": None}}, "power_levels.above_own"),
    ({"events": {"new": 60}}, ""),
    ({"events": {"new": 61}}, "power_levels.above_own"),
    ({"users": {DAVE: 60}}, ""),
    ({"users": {DAVE: 61}}, "power_levels.above_own"),
    ({"users": {DAVE: None}}, ""),
    ({"users": {CAROL: 10}}, "power_levels.equal"),  # 10.9: as high as himself
    ({"users": {CAROL: None}}, "power_levels.equal"),
    ({"users": {BOB: 59}}, ""),  # "other than the sender's own entry"
    ({"users": {BOB: None}}, ""),
    ({"users": {BOB: 61}}, "power_levels.above_own"),
    ({"users": {"@new:x": 60}}, ""),
    ({"users": {"@new:x": 61}}, "power_levels.above_own"),
    ({"users": {"new": 1}}, "power_levels.users"),
    ({"users": {"@new": 1}}, "power_levels.users"),
    ({"users": {"@new:x": "x"}}, "power_levels.users"),
    ({"users": {"@new:x": []}}, "power_levels.users"),
    ({"users": {"@new:x": True}}, "power_levels.users"),
]


def _changed(content: JsonObject, changes: dict[str, Any]) -> JsonObject:
    new = dict(content)
    for key, value in changes.items():
        old = new.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            new[key] = {k: v for k, v in {**old, **value}.items() if v is not None}
        elif value is None:
            new.pop(key, None)
        else:
            new[key] = value
    return new


@pytest.mark.parametrize(("changes", "expected"), CHANGES)
def test_changing_levels(crew: dict[str, tuple[RoomBuilder, State]], changes: dict[str, Any], expected: str) -> None:
    for number, (room, state) in crew.items():
        current = state["m.room.power_levels", ""].content
        result = send(room, state, BOB, "m.room.power_levels", _changed(current, changes), "")
        assert result == expected, number


def test_notifications_count_from_version_6_on(crew: dict[str, tuple[RoomBuilder, State]]) -> None:
    for number, (room, state) in crew.items():
        current = state["m.room.power_levels", ""].content
        for changes in ({"notifications": {"high": 10}}, {"notifications": {"room": 61}}, {"notifications": None}):
            result = send(room, state, BOB, "m.room.power_levels", _changed(current, changes), "")
            assert result == ("power_levels.above_own" if int(number) >= 6 else ""), number


@pytest.mark.parametrize(
    "changes",
    [{"ban": "50"}, {"ban": " +050 "}, {"users": {DAVE: "30"}}, {"events": {"low": "10"}}],
)
def test_levels_as_text_until_version_9(crew: dict[str, tuple[RoomBuilder, State]], changes: dict[str, Any]) -> None:
    # The same levels written as strings: no change where strings count, no integers from version 10 on.
    for number, (room, state) in crew.items():
        current = state["m.room.power_levels", ""].content
        result = send(room, state, BOB, "m.room.power_levels", _changed(current, changes), "")
        if int(number) < 10:
            assert result == "", number
        else:
            assert result in ("power_levels.not_integer", "power_levels.users"), number


@pytest.mark.parametrize(
    "changes", [{"ban": "x"}, {"ban": [50]}, {"invite": None, "kick": True}, {"events": {"low": "1_0"}}, {"redact": ""}]
)
def test_levels_that_are_none(crew: dict[str, tuple[RoomBuilder, State]], changes: dict[str, Any]) -> None:
    for number, (room, state) in crew.items():
        current = state["m.room.power_levels", ""].content
        result = send(room, state, ALICE, "m.room.power_levels", _changed(current, changes), "")
        assert result == "power_levels.not_integer", number


@pytest.mark.parametrize("number", STRICT_LEVELS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"events": []}, "power_levels.not_integer"),
        ({"events": {"a": "1"}}, "power_levels.not_integer"),
        ({"notifications": {"a": None}}, "power_levels.not_integer"),
        ({"notifications": 5}, "power_levels.not_integer"),
        ({"state_default": None}, "power_levels.not_integer"),
        ({"users": []}, "power_levels.users"),
        ({"users": None}, "power_levels.users"),
        ({}, ""),
        ({"events": {}, "notifications": {}, "users": {}}, ""),
    ],
)
def test_the_first_levels_from_version_10_on(number: str, content: JsonObject, expected: str) -> None:
    room = RoomBuilder(number)
    assert send(room, room.line(join(ALICE)), ALICE, "m.room.power_levels", content, "") == expected


@pytest.mark.parametrize("number", LENIENT_LEVELS)
@pytest.mark.parametrize("content", [{"events": []}, {"ban": "x"}, {"notifications": 5}, {"users": {ALICE: "100"}}])
def test_the_first_levels_until_version_9(number: str, content: JsonObject) -> None:
    # Only `users` is looked at, and "if there is no previous m.room.power_levels event in the room, allow".
    room = RoomBuilder(number)
    assert send(room, room.line(join(ALICE)), ALICE, "m.room.power_levels", content, "") == ""
    assert send(room, room.line(join(ALICE)), ALICE, "m.room.power_levels", {"users": []}, "") == "power_levels.users"


@pytest.mark.parametrize("number", ["3", "4", "5"])
def test_levels_as_floats_until_version_5(number: str) -> None:
    # "@bob:localhost 50.57 ... have the same effective power level of 50"
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, users={ALICE: 100, BOB: 50}))
    state["m.room.power_levels", ""].content = {"users": {ALICE: 100, BOB: 50.57}, "events": {"x": 51, "y": 5.01e1}}
    assert send(room, state, BOB, "x", {}, None) == "sender.level"
    assert send(room, state, BOB, "y", {}, None) == ""


def test_creators_of_version_12() -> None:
    room = RoomBuilder("12", additional_creators=[BOB])
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(BOB), join(CAROL),
        powers(ALICE, users={CAROL: 2**53 - 1}, events={"m.room.power_levels": 2**53 - 1}),
    )  # fmt: skip
    # 10.4
    for creator in (ALICE, BOB):
        for sender in (ALICE, BOB, CAROL):
            content: JsonObject = {"users": {CAROL: 2**53 - 1, creator: 100}}
            assert send(room, state, sender, "m.room.power_levels", content, "") == "power_levels.creator"
    # Infinite: above the highest number, so Carol can be lowered, and cannot touch them.
    assert send(room, state, BOB, "m.room.power_levels", {"users": {}}, "") == ""
    assert member(room, state, BOB, CAROL, "ban") == ""
    assert member(room, state, CAROL, BOB, "leave") == "member.kick.equal"
    assert member(room, state, ALICE, BOB, "leave") == "member.kick.equal"
    # The key means nothing before version 12.
    old = RoomBuilder("11", additional_creators=[BOB])
    old_state = old.line(join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, users={ALICE: 100}))
    assert send(old, old_state, BOB, "m.room.topic", {}, "") == "sender.level"


@pytest.mark.parametrize("number", ALL)
def test_levels_under_another_state_key_are_nobodys(number: str) -> None:
    room = RoomBuilder(number)
    creator_entry = {} if number == "12" else {ALICE: 100}
    state = room.line(join(ALICE), rule(ALICE, "public"), join(BOB), powers(ALICE, users={**creator_entry, BOB: 50}))
    greedy: JsonObject = {"users": {BOB: 90}, "ban": 99}
    assert send(room, state, BOB, "m.room.power_levels", greedy, "") == "power_levels.above_own"
    assert send(room, state, BOB, "m.room.power_levels", greedy, "x") == ""
    # What is no user is refused there too.
    assert send(room, state, BOB, "m.room.power_levels", {"users": {"bob": 1}}, "x") == "power_levels.users"


@pytest.mark.parametrize("number", ["1", "5", "9"])
def test_tables_that_are_none(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(join(ALICE), rule(ALICE, "public"), powers(ALICE, users={ALICE: 100}))
    for value in ("50", ["x"], 5, None):
        verdict = send(room, state, ALICE, "m.room.power_levels", {"users": {ALICE: 100}, "events": value}, "")
        assert verdict == "power_levels.not_integer"
    for empty in ({}, [], ""):
        assert send(room, state, ALICE, "m.room.power_levels", {"users": {ALICE: 100}, "events": empty}, "") == ""


# -- Versions 1 and 2


@pytest.mark.parametrize("number", ["1", "2"])
def test_redactions_by_rule_11_of_the_first_versions(number: str) -> None:
    room = RoomBuilder(number)
    state = room.line(
        join(ALICE), rule(ALICE, "public"), join(CAROL), powers(ALICE, users={ALICE: 50}, redact=50)
    )

    def redaction(sender: str, target: str | None) -> str:
        redacts = None if target is None else EventId(target)
        return verdict(room.make(sender, "m.room.redaction", {}, state=ids_of(state), redacts=redacts), state)

    assert redaction(CAROL, "$2:two.example") == ""
    # The domain of the ids is compared, not of the senders; the whole domain.
    for target in ("$2:one.example", "$2:two.example:8448", "$2", None):
        assert redaction(CAROL, target) == "redaction.level"
    assert redaction(ALICE, "$2:two.example") == ""


def test_state_of() -> None:
    room = RoomBuilder("12")
    state = room.line(join(ALICE), join(ALICE))
    assert state_of(room.events.values()) == state
