"""What may be said when on a socket for syncs. spec: docs/clients/sync-socket.md"""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.matrix.sync_socket.dialogue import Ask, BadMessage, Dialogue, Kind, LogIn, Phase

ANSWER = b'{"next_batch":"s2_1","rooms":{}}'


def at(phase: Phase) -> Dialogue:
    """A dialogue that has come so far."""
    dialogue = Dialogue(named=phase is not Phase.NAMELESS)
    if phase in (Phase.ASKING, Phase.TOLD):
        dialogue.receive(b'{"sync":{"since":"s1","full_state":true}}')
    if phase is Phase.TOLD:
        assert dialogue.told(ANSWER) == b'{"sync":' + ANSWER + b"}"
    assert dialogue.phase is phase
    return dialogue


@pytest.mark.parametrize(
    ("message", "phases"),
    [
        ('{"access_token":"a"}', set(Phase)),
        ('{"sync":{}}', set(Phase) - {Phase.NAMELESS}),
        ('{"sliding_sync":{}}', set(Phase) - {Phase.NAMELESS}),
        ('{"ack":"s2_1"}', {Phase.TOLD}),
        ('{"ack":"s1"}', set()),
        ('{"ack":1}', set()),
        ("", set()),
        ("[]", set()),
        ("{}", set()),
        ('{"sync":{},"ack":"s2_1"}', set()),
        ('{"sync":[]}', set()),
        ('{"sync":{"timeout":-1}}', set()),
        ('{"sync":{"timeout":true}}', set()),
        ('{"sync":{"since":1}}', set()),
        ('{"sync":{"full_state":"true"}}', set()),
        ('{"sync":{"filter":1}}', set()),
        ('{"sliding_sync":{"timeout":"1"}}', set()),
        ('{"access_token":""}', set()),
        ('{"hello":{}}', set()),
    ],
)
def test_what_may_be_said_when(message: str, phases: set[Phase]) -> None:
    for phase in Phase:
        if phase in phases:
            assert isinstance(at(phase).receive(message.encode()), Ask | LogIn)
        else:
            with pytest.raises(BadMessage) as raised:
                at(phase).receive(message.encode())
            assert 0 < len(str(raised.value).encode()) <= 123  # spec: RFC6455 5.5


def test_an_acknowledgement_asks_for_what_comes_after() -> None:
    dialogue = at(Phase.TOLD)
    asked = dialogue.receive(b'{"ack":"s2_1"}')
    assert asked == Ask(Kind.SYNC, {"since": "s2_1", "timeout": 30_000}) and dialogue.phase is Phase.ASKING
    asked = dialogue.receive(b'{"sliding_sync":{"lists":{},"timeout":1}}')
    assert asked == Ask(Kind.SLIDING_SYNC, {"lists": {}, "timeout": 1})
    assert dialogue.told(b'{"pos":"p1","lists":{}}') == b'{"sliding_sync":{"pos":"p1","lists":{}}}'
    # Empty answers do not go to and fro as fast as they can.
    assert dialogue.receive(b'{"ack":"p1"}') == Ask(Kind.SLIDING_SYNC, {"lists": {}, "timeout": 5_000, "pos": "p1"})


def test_an_error_ends_what_was_asked() -> None:
    dialogue = at(Phase.ASKING)
    told = orjson.loads(dialogue.refused(400, b'{"errcode":"M_UNKNOWN_POS","error":"no"}'))
    assert told == {"error": {"status": 400, "errcode": "M_UNKNOWN_POS", "error": "no"}}
    assert dialogue.phase is Phase.READY
    nameless = at(Phase.NAMELESS)
    nameless.refused(401, b'{"errcode":"M_UNKNOWN_TOKEN"}')
    assert nameless.phase is Phase.NAMELESS


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b'{"ack":"s2_1"}', b'{"sync":{}}', b'{"access_token":"a"}'])))
def test_garbage_is_a_bad_message_and_nothing_else(messages: list[bytes]) -> None:
    dialogue = Dialogue(named=True)
    for message in messages:
        try:
            dialogue.receive(message)
        except BadMessage:
            continue
        if dialogue.phase is Phase.ASKING:
            dialogue.told(ANSWER)
