"""State resolution of every room version: the same outcome as matrix-synapse's.  spec: Matrix rooms/v1, v2, v12"""

import pytest

from tests.agreement.conflicts import make_case
from tests.agreement.synapse_peer import ask_synapse
from tripoint.core.state_res import resolve

pytestmark = pytest.mark.interop

BATCH = 500


def differing(seeds: range) -> list[str]:
    """What is not the same, in words."""
    cases = [make_case(seed) for seed in seeds]
    answers = ask_synapse([case.question() for case in cases])
    found = []
    for case, answer in zip(cases, answers, strict=True):
        ours = resolve(case.room.version, case.sets, case.room.events)
        theirs = {(type_, state_key): event_id for type_, state_key, event_id in answer}
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                where = f"seed {case.seed}, version {case.room.version.id}, {key}"
                found.append(f"{where}: {ours.get(key)}, Synapse {theirs.get(key)}")
    return found


def test_as_synapse() -> None:
    assert differing(range(BATCH)) == []


@pytest.mark.soak
@pytest.mark.parametrize("batch", range(1, 41))
def test_as_synapse_for_long(batch: int) -> None:
    assert differing(range(batch * BATCH, (batch + 1) * BATCH)) == []


def test_the_cases_are_worth_it() -> None:
    """Most resolve something, in many of them the sides lose something each."""
    cases = [make_case(seed) for seed in range(240)]
    conflicted = [case for case in cases if any(state != case.sets[0] for state in case.sets)]
    assert len(conflicted) > 220
    chosen = 0
    for case in conflicted:
        result = resolve(case.room.version, case.sets, case.room.events)
        chosen += result not in case.sets
    assert chosen > 100
