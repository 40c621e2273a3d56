"""Rooms with forks at random, for comparing resolutions: what honest servers make, and what they never would.

A case is made of its seed alone. States of sides differ by what was done there, by servers that were told old
states, and by events that no rule allows; auth events are sometimes out of date; clocks and depths lie.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.core.graph_builder import ALICE, BOB, CAROL, DAVE, RoomBuilder, ids_of
from tripoint.core.auth_rules import NotAllowed, auth_keys_for, check_event_auth
from tripoint.core.event import Event, StateKey
from tripoint.core.ids import EventId
from tripoint.core.levels import CREATE, privileged_creators_of
from tripoint.core.room_version import ROOM_VERSIONS

USERS = (ALICE, BOB, CAROL, DAVE)
VERSIONS = tuple(ROOM_VERSIONS)
POWER = ("m.room.power_levels", "")
# What somebody does, as often as it stands here.
KINDS = ("topic", "topic", "member", "member", "own", "own", "rules", "power", "power", "odd", "say")


@dataclass
class Side:
    """One side of a fork: the state there, and the last event."""

    state: dict[StateKey, Event]
    last: Event


@dataclass
class Case:
    """Conflicting states of one room."""

    seed: int
    room: RoomBuilder
    sets: list[dict[StateKey, EventId]]
    sides: list[Side] = field(default_factory=list)

    def question(self) -> dict[str, Any]:
        """What synapse_driver.py is asked."""
        return {
            "ask": "resolve",
            "version": self.room.version.id,
            "events": [event.json.decode() for event in self.room.events.values()],
            "sets": [[[*key, event_id] for key, event_id in state.items()] for state in self.sets],
            "in_flight": _paths(self.room.events) < 20_000,
        }


def _paths(events: Mapping[EventId, Event]) -> int:
    """How many paths over auth_events there are: Synapse walks each of those among events it has not stored."""
    count: dict[EventId, int] = {}
    for event_id, event in events.items():  # made in an order in which auth events come first
        count[event_id] = 1 + sum(count.get(auth_id, 0) for auth_id in event.auth_events)
    return sum(count.values())


def make_case(seed: int) -> Case:
    """The case of a seed; versions take turns."""
    dice = random.Random(seed)
    version = VERSIONS[seed % len(VERSIONS)]
    return Maker(dice, version).case(seed)


class Maker:
    """Makes rooms with dice."""

    def __init__(self, dice: random.Random, version: str) -> None:
        self.dice = dice
        extra: dict[str, Any] = {}
        if version == "12" and dice.random() < 0.4:
            extra["additional_creators"] = [BOB]
        # In such rooms Synapse lets nobody of another server be the target of a membership either.
        self.targets = USERS
        if dice.random() < 0.05:
            extra["m.federate"] = False
            self.targets = (ALICE, BOB)
        self.room = RoomBuilder(version, **extra)
        self.rules = self.room.version
        self.users = {} if self.rules.privileged_creators else {ALICE: 100}

    def case(self, seed: int) -> Case:
        dice = self.dice
        trunk = Side({CREATE: self.room.create}, self.room.create)
        self.put(trunk, ALICE, "m.room.member", {"membership": "join"}, ALICE)
        if dice.random() < 0.9:
            self.put(trunk, ALICE, "m.room.join_rules", {"join_rule": "public"}, "")
        if dice.random() < 0.9:
            self.put(trunk, ALICE, "m.room.power_levels", {"users": {**self.users, BOB: 50, CAROL: 50}}, "")
        for user in (BOB, CAROL, DAVE):
            if dice.random() < 0.8:
                self.put(trunk, user, "m.room.member", {"membership": "join"}, user)
        past = [trunk]
        sides = [trunk]
        for _ in range(dice.randint(6, 30)):
            if len(sides) < 4 and dice.random() < 0.25:
                start = dice.choice(past)
                sides.append(Side(dict(start.state), start.last))
            side = dice.choice(sides)
            before = Side(dict(side.state), side.last)
            if self.something(side):
                past.append(before)
        if len(sides) < 2:
            sides.append(Side(dict(past[0].state), past[0].last))
        for side in sides:
            # A server that was told an old state, or one with a hole.
            if dice.random() < 0.2:
                key = dice.choice(list(side.state))
                other = dice.choice(past).state.get(key)
                if other is not None:
                    side.state[key] = other
                elif key != CREATE:
                    del side.state[key]
        return Case(seed, self.room, [dict(ids_of(side.state)) for side in sides], sides)

    def put(
        self, side: Side, sender: str, type_: str, content: dict[str, Any], state_key: str | None, force: bool = False
    ) -> bool:
        """An event on a side, if the rules allow it there or `force`; whether it was made."""
        dice = self.dice
        at_ms = None
        if dice.random() < 0.4:
            at_ms = 1_000 * dice.choice([0, 1, 1, 2, 5, 10**6, -3])
        state = dict(side.state)
        if force and dice.random() < 0.5:
            # It cites what is not the state: something older, or of another side.
            for key in auth_keys_for(type_, sender, state_key, content, self.rules):
                others = [e for e in self.room.events.values() if e.is_state and e.key == key]
                if key != CREATE and others:
                    state[key] = dice.choice(others)
        event = self.room.make(
            sender, type_, content, state_key, state=ids_of(state), parents=(side.last,), at_ms=at_ms
        )
        try:
            check_event_auth(event, side.state)
        except NotAllowed:
            if not force:
                del self.room.events[event.event_id]
                return False
        side.last = event
        if event.is_state:
            side.state[event.key] = event
        return True

    def something(self, side: Side) -> bool:
        """One thing somebody tries."""
        dice = self.dice
        sender, target = dice.choice(USERS), dice.choice(self.targets)
        force = dice.random() < 0.08
        what = dice.choice(KINDS)
        n = dice.randrange(10**6)
        if what == "topic":
            return self.put(side, sender, "m.room.topic", {"topic": str(n)}, "", force)
        if what == "member":
            membership = dice.choice(["ban", "ban", "leave", "invite", "knock"])
            return self.put(side, sender, "m.room.member", {"membership": membership, "n": n}, target, force)
        if what == "own":
            content: dict[str, Any] = {"membership": dice.choice(["join", "join", "join", "leave", "knock"]), "n": n}
            if dice.random() < 0.3:
                content["join_authorised_via_users_server"] = dice.choice(USERS)
            return self.put(side, sender, "m.room.member", content, sender, force)
        if what == "rules":
            rules = ["public", "public", "invite", "knock", "restricted", "knock_restricted", "private"]
            return self.put(side, sender, "m.room.join_rules", {"join_rule": dice.choice(rules)}, "", force)
        if what == "power":
            return self.put(side, sender, "m.room.power_levels", self.levels(side, target), "", force)
        if what == "say":
            return self.put(side, sender, "m.room.message", {"body": str(n)}, None, force)
        # State that looks like power and has another key; aliases; state of one's own.
        type_, state_key = dice.choice(
            [
                ("m.room.power_levels", "x"), ("m.room.join_rules", "x"), ("m.room.aliases", "one.example"),
                ("m.room.aliases", "two.example"), ("org.example.own", sender), ("m.room.third_party_invite", "t"),
                ("m.room.redaction", ""), ("m.room.name", ""),
            ]
        )  # fmt: skip
        if type_ == "m.room.redaction" and self.rules.redaction_in_auth_rules:
            # Without a target it is allowed by Synapse, and not by the text.
            return False
        return self.put(side, sender, type_, {"n": n, "join_rule": "public"}, state_key, force)

    def levels(self, side: Side, target: str) -> dict[str, Any]:
        dice = self.dice
        before = side.state.get(POWER)
        content: dict[str, Any] = json.loads(json.dumps(before.content)) if before is not None else {}
        users = content.get("users", dict(self.users))
        level: Any = dice.choice([0, 25, 50, 50, 90, 100])
        if self.rules.lenient_power_levels and dice.random() < 0.2:
            level = str(level)
        creators = privileged_creators_of(self.room.create)
        content["users"] = {user: at for user, at in {**users, target: level}.items() if user not in creators}
        if dice.random() < 0.3:
            name = dice.choice(["ban", "kick", "invite", "state_default", "events_default", "users_default", "redact"])
            content[name] = dice.choice([0, 25, 50, 75])
        if dice.random() < 0.3:
            type_ = dice.choice(["m.room.topic", "m.room.power_levels", "m.room.join_rules", "m.room.member"])
            content["events"] = {**content.get("events", {}), type_: dice.choice([0, 25, 50, 75])}
        return content
