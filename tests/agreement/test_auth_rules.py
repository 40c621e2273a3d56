"""Authorisation rules of every room version: allowed where matrix-synapse allows it.  spec: Matrix rooms/v1 to v12

The events are any that somebody could send, with contents of any kind, at states that rooms can be in.
"""

import random
from dataclasses import dataclass
from typing import Any

import pytest

from tests.agreement.conflicts import USERS, VERSIONS, Maker, Side
from tests.agreement.synapse_peer import ask_synapse
from tests.core.graph_builder import ALICE, BOB
from tripoint.core.auth_rules import (
    NotAllowed,
    auth_keys_for,
    check_auth_events_selection,
    check_event_auth,
    state_of,
)
from tripoint.core.event import Event, InvalidEvent, StateKey, required_signers
from tripoint.core.event_format import reference_hash
from tripoint.core.ids import EventId
from tripoint.core.levels import CREATE
from tripoint.core.signing import SigningKey, encode_base64, sign_json

pytestmark = pytest.mark.interop

CASES = 2_000
BATCH = 1_000

INVITE_KEY = SigningKey("ed25519:0", b"\x07" * 32)
# No booleans: until version 9 Synapse takes true for 1, and the text says integers.
ODD: tuple[Any, ...] = (None, "", "50", " 50 ", "+5", "5x", 50, -1, 2**53 - 1, [], {}, "é")
LEVELS = ("ban", "kick", "invite", "redact", "state_default", "events_default", "users_default")


@dataclass
class Case:
    """An event, the state it meets, and which of the room's events were rejected."""

    seed: int
    event: Event
    events: dict[EventId, Event]
    state: dict[StateKey, Event]
    rejected: frozenset[EventId]

    def question(self) -> dict[str, Any]:
        return {
            "ask": "authorise",
            "version": self.event.version.id,
            "events": [event.json.decode() for event in self.events.values()],
            "event": self.event.event_id,
            "state": [event.event_id for event in self.state.values()],
            "rejected": list(self.rejected),
        }

    def ours(self) -> list[bool]:
        """[allowed by its auth events, allowed by the state]"""
        cited = [self.events[i] for i in self.event.auth_events]

        def by_auth_events() -> None:
            if not required_signers(self.event) <= self.event.signatures.keys():
                raise NotAllowed("signature")
            check_auth_events_selection(self.event, cited, self.rejected)
            state = state_of(cited)
            if self.event.version.room_id_is_create_hash:
                state[CREATE] = self.state[CREATE]
            check_event_auth(self.event, state)

        def by_state() -> None:
            check_event_auth(self.event, self.state)

        outcome = []
        for check in (by_auth_events, by_state):
            try:
                check()
            except NotAllowed:
                outcome.append(False)
            else:
                outcome.append(True)
        return outcome


def make_case(seed: int) -> Case:
    """The case of a seed; versions take turns. A few steps of a room, then one event of any kind."""
    dice = random.Random(seed)
    version = VERSIONS[seed % len(VERSIONS)]
    maker = Maker(dice, version)
    room = maker.room
    side = Side({CREATE: room.create}, room.create)
    maker.put(side, ALICE, "m.room.member", {"membership": "join"}, ALICE)
    if dice.random() < 0.8:
        maker.put(side, ALICE, "m.room.join_rules", {"join_rule": "public"}, "")
        for user in USERS[1:]:
            if dice.random() < 0.7:
                maker.put(side, user, "m.room.member", {"membership": "join"}, user)
    if dice.random() < 0.8:
        maker.put(side, ALICE, "m.room.power_levels", {"users": {**maker.users, BOB: 50}}, "")
    if dice.random() < 0.3:
        token = {"public_key": INVITE_KEY.verify_key_b64, "public_keys": [{"public_key": "AAAA"}]}
        maker.put(side, ALICE, "m.room.third_party_invite", token, "token")
    for _ in range(dice.randint(0, 12)):
        maker.something(side)
    sender, type_, content, state_key = any_event(dice, maker)
    cited = dict(side.state)
    if dice.random() < 0.3:
        # Out of date, too many, too few.
        for key in list(cited):
            others = [e for e in room.events.values() if e.is_state and e.key == key]
            if dice.random() < 0.4:
                cited[key] = dice.choice(others)
            elif dice.random() < 0.05 and key != CREATE:
                del cited[key]
    keys = auth_keys_for(type_, sender, state_key, content, room.version)
    auth = [cited[key].event_id for key in keys if key in cited]
    if dice.random() < 0.03:
        auth.append(dice.choice([*(e.event_id for e in side.state.values() if e.key != CREATE), *auth]))
    # A redaction without a target is allowed by Synapse in versions 1 and 2, and not by the text.
    redacts = EventId(dice.choice(["$x:one.example", "$x:two.example"])) if type_ == "m.room.redaction" else None
    try:
        event = room.make(
            sender, type_, content, state_key, auth=auth[:10], parents=(side.last,), redacts=redacts
        )
    except InvalidEvent:
        return make_case(seed + 10**9)
    rejected = frozenset(
        i for i in auth if dice.random() < 0.01 and room.events[i].type != "m.room.create"
    )
    return Case(seed, event, dict(room.events), dict(side.state), rejected)


def any_event(dice: random.Random, maker: Maker) -> tuple[str, str, dict[str, Any], str | None]:
    """(sender, type, content, state key)"""
    sender, target = dice.choice([*USERS, ALICE, ALICE, BOB]), dice.choice(maker.targets)
    kind = dice.randrange(10)
    if kind < 4:
        membership = dice.choice(["join", "invite", "leave", "ban", "knock", "join", "invite", "dance"])
        content: dict[str, Any] = {"membership": membership}
        if membership == "join" and dice.random() < 0.3:
            # Synapse wants the other server's signature of joins alone, the text of whatever has the key.
            content["join_authorised_via_users_server"] = dice.choice(USERS)
        if membership == "invite" and dice.random() < 0.4:
            content["third_party_invite"] = third_party_invite(dice, target)
        return sender, "m.room.member", content, dice.choice([target, sender])
    if kind < 7:
        return sender, "m.room.power_levels", levels(dice, maker), dice.choice(["", "", "", "x"])
    if kind == 7:
        return sender, "m.room.redaction", {}, None
    type_ = dice.choice(
        ["m.room.message", "m.room.topic", "m.room.aliases", "m.room.third_party_invite", "m.room.join_rules", "x"]
    )
    state_key = dice.choice([None, "", "one.example", "two.example", "@", sender, target])
    return sender, type_, {"join_rule": "public"}, state_key


def third_party_invite(dice: random.Random, target: str) -> dict[str, Any]:
    mxid, token = dice.choice([target, target, target, BOB]), dice.choice(["token", "other"])
    signed: dict[str, Any] = {"mxid": mxid, "token": token}
    key = INVITE_KEY if dice.random() < 0.8 else SigningKey("ed25519:0", b"\x08" * 32)
    signed = sign_json(signed, "id.example", key)  # type: ignore[arg-type]
    return {"display_name": "x", "signed": signed}


def levels(dice: random.Random, maker: Maker) -> dict[str, Any]:
    users = {**maker.users}
    for user in USERS:
        if dice.random() < 0.3:
            users[user] = dice.choice([0, 25, 50, 75, 100])
    content: dict[str, Any] = {"users": users}
    for name in LEVELS:
        if dice.random() < 0.1:
            content[name] = dice.choice([0, 25, 50, 75, 100])
    if dice.random() < 0.2:
        content["events"] = {"m.room.topic": dice.choice([0, 50, 75])}
    if dice.random() < 0.2:
        content["notifications"] = {"room": dice.choice([0, 50, 75])}
    odd = dice.choice([*LEVELS, "users", "events", "notifications", "user", "event", "notification", *(["none"] * 40)])
    if odd == "user":
        users[dice.choice([*USERS, "bob", "@bob", "@b:c"])] = dice.choice(ODD)
    elif odd == "event":
        content["events"] = {"x": dice.choice(ODD)}
    elif odd == "notification":
        content["notifications"] = {"x": dice.choice(ODD)}
    elif odd != "none":
        content[odd] = dice.choice(ODD)
    return content


def differing(seeds: range) -> list[str]:
    cases = [make_case(seed) for seed in seeds]
    answers = ask_synapse([case.question() for case in cases])
    found = []
    for case, answer in zip(cases, answers, strict=True):
        ours = case.ours()
        # Where Synapse fails in another way than with its own errors the event is not taken in either.
        theirs = [allowed is True for allowed in answer]
        if ours != theirs:
            event = case.event
            found.append(
                f"seed {case.seed}, version {event.version.id}: {event.sender} {event.type} {event.state_key!r} "
                f"{event.content}: {ours}, Synapse {answer}"
            )
    return found


@pytest.mark.parametrize("batch", range(CASES // BATCH))
def test_as_synapse(batch: int) -> None:
    assert differing(range(batch * BATCH, (batch + 1) * BATCH)) == []


@pytest.mark.soak
@pytest.mark.parametrize("batch", range(100, 120))
def test_as_synapse_for_long(batch: int) -> None:
    assert differing(range(batch * BATCH, (batch + 1) * BATCH)) == []


def test_the_cases_are_worth_it() -> None:
    outcomes = [tuple(make_case(seed).ours()) for seed in range(600)]
    for outcome in ((True, True), (False, False), (True, False), (False, True)):
        assert outcomes.count(outcome) > 1, outcome


def test_ids_and_hashes_as_synapse() -> None:
    cases = [make_case(seed) for seed in range(48)]
    asked = [{**case.question(), "ask": "ids"} for case in cases]
    for case, answer in zip(cases, ask_synapse(asked), strict=True):
        hashes = {e.event_id: encode_base64(reference_hash(e.pdu, e.version)) for e in case.events.values()}
        assert {event_id: digest.rstrip("=") for event_id, digest in answer} == hashes
