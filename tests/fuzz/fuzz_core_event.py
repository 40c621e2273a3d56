"""Coverage-guided fuzzing of events.

Run: python tests/fuzz/fuzz_core_event.py -max_total_time=60 tests/fuzz/corpus/core_event

The first byte picks the room version, the rest is a PDU. Checks that only InvalidEvent comes out, that what is taken
reads back the same, that redaction keeps id, and that the rules answer yes or NotAllowed. Needs atheris.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.core.auth_rules import NotAllowed, check_event_auth, needed_keys_of
    from tripoint.core.canonical_json import CanonicalJsonError, canonicalise
    from tripoint.core.errors import PeerError
    from tripoint.core.event import (
        InvalidEvent,
        check_content_hash,
        load_event,
        parse_event,
        redact,
        reference_id,
        required_signers,
        verify_event_signature,
    )
    from tripoint.core.ids import ServerName
    from tripoint.core.message import view_message
    from tripoint.core.room_version import ROOM_VERSIONS, SUPPORTED

KEYS = {"ed25519:test": "oy2n2Hxq0RBiCjLDgs3xUmV2MUnoKD6vKYmc8PBnZb8"}


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer."""
    version = ROOM_VERSIONS[SUPPORTED[(data[0] if data else 0) % len(SUPPORTED)]]
    try:
        canonicalise(data[1:])
    except CanonicalJsonError:
        pass
    try:
        event = parse_event(data[1:], version)
    except InvalidEvent:
        return
    assert parse_event(event.json, version) == event
    assert load_event(event.json, event.event_id, version).content == event.content
    copy = redact(event)
    assert reference_id(copy.pdu, version) == event.event_id
    check_content_hash(event)
    view_message(event.content)
    needed_keys_of(event)
    try:
        required_signers(event)
        verify_event_signature(event, ServerName("one.example"), KEYS)
    except PeerError:
        pass
    # Against the event itself in every place that the rules look at.
    state = dict.fromkeys(needed_keys_of(event), event)
    for given in ({}, state):
        try:
            check_event_auth(event, given)
        except NotAllowed:
            pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
