"""Asks matrix-synapse: reads cases as lines of JSON, answers each with one line. Runs in Synapse's own environment.

    {"ask": "resolve", "version", "events": [PDU text], "sets": [[[type, state_key, id]]], "in_flight": bool}
        → [[type, state_key, id]]
    {"ask": "authorise", "version", "events": [PDU text], "event": id, "state": [id], "rejected": [id]}
        → [allowed by its auth events, allowed by the state]; an exception's name where Synapse has no answer
    {"ask": "ids", "version", "events": [PDU text]} → [[event id, reference hash]]

Nothing of tripoint is imported here, and nothing else of the tests. What Synapse takes from its database (auth
chains, their difference, the conflicted state subgraph) is worked out here from the definitions of the text.
"""

import asyncio
import base64
import json
import sys

from synapse import event_auth
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.crypto.event_signing import compute_event_reference_hash
from synapse.events import make_event_from_json
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


class Store:
    """The part of Synapse's store that is asked for here."""

    def __init__(self, events):
        self.events = events

    async def get_events(self, event_ids, redact_behaviour=None, get_prev_content=False, allow_rejected=False):
        return {i: self.events[i] for i in event_ids if i in self.events}

    def chain(self, event_ids):
        """rooms/v2: the full auth chain, with the events themselves."""
        seen, waiting = set(), list(event_ids)
        while waiting:
            event_id = waiting.pop()
            if event_id not in seen:
                seen.add(event_id)
                waiting.extend(self.events[event_id].auth_event_ids())
        return seen

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted, additional):
        chains = [self.chain(state) for state in state_sets]
        difference = set.union(*chains) - set.intersection(*chains) if chains else set()
        subgraph = None
        if conflicted is not None:
            # rooms/v12: on a path from one conflicted event to another.
            starts = set(conflicted)
            reached = self.chain(starts | set(additional or ()))
            subgraph = {i for i in reached if i in starts or self.chain([i]) & starts}
        return StateDifference(difference, subgraph)


class NoClock:
    async def sleep(self, duration):
        pass


def read(case):
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    rejected = set(case.get("rejected", ()))
    events = {}
    for text in case["events"]:
        event = make_event_from_json(text, version)
        if event.event_id in rejected:
            event = make_event_from_json(text, version, rejected_reason="auth_error")
        events[event.event_id] = event
    return version, events


async def resolve(case):
    version, events = read(case)
    sets = [{(type_, state_key): i for type_, state_key, i in state} for state in case["sets"]]
    room_id = next(iter(events.values())).room_id
    if version.state_res == StateResolutionVersions.V1:
        result = await v1.resolve_events_with_store(room_id, version, sets, None, Store(events).get_events)
    else:
        in_flight = dict(events) if case["in_flight"] else None
        result = await v2.resolve_events_with_store(NoClock(), room_id, version, sets, in_flight, Store(events))
    return sorted([*key, event_id] for key, event_id in result.items())


async def authorise(case):
    version, events = read(case)
    event = events[case["event"]]
    state = {(events[i].type, events[i].state_key): events[i] for i in case["state"]}

    async def by_its_auth_events():
        event_auth.validate_event_for_room_version(event)
        await event_auth.check_state_independent_auth_rules(Store(events), event)
        event_auth.check_state_dependent_auth_rules(event, [events[i] for i in event.auth_event_ids()])

    async def by_the_state():
        keys = event_auth.auth_types_for_event(version, event)
        event_auth.check_state_dependent_auth_rules(event, [state[key] for key in keys if key in state])

    return [await outcome(by_its_auth_events()), await outcome(by_the_state())]


async def outcome(check):
    try:
        await check
    except SynapseError:
        return False
    except Exception as error:  # what Synapse does not expect: such an event is not taken in either
        return type(error).__name__
    return True


async def ids(case):
    _, events = read(case)
    return [[i, base64.b64encode(compute_event_reference_hash(e)[1]).decode()] for i, e in events.items()]


ASK = {"resolve": resolve, "authorise": authorise, "ids": ids}


async def answer(line):
    case = json.loads(line)
    return json.dumps(await ASK[case["ask"]](case))


for line in sys.stdin:
    print(asyncio.run(answer(line)), flush=True)
