"""Key documents: what is believed of them.

spec: Matrix server-server-api publishing-keys, getServerKey
"""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import Clock
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, sign_json, verify_json
from tripoint.matrix.keys.document import (
    DAY_MS,
    MAX_KEYS,
    MAX_VALID_MS,
    OldKey,
    make_key_document,
    parse_key_document,
)
from tripoint.matrix.keys.own import RENEW_MS, OwnKeys

SERVER = ServerName("example.org")
KEY = SigningKey("ed25519:abc123", bytes(range(32)))
OLD = SigningKey("ed25519:0ldK3y", bytes(32))
NOW = 1_700_000_000_000
Changes = dict[str, Any]


def document(*signers: SigningKey, server: ServerName = SERVER, **changes: Any) -> JsonObject:
    """A document of SERVER signed by KEY, or by these; None leaves a member out."""
    base: JsonObject = {
        "server_name": SERVER,
        "verify_keys": {KEY.key_id: {"key": KEY.verify_key_b64}},
        "old_verify_keys": {OLD.key_id: {"key": OLD.verify_key_b64, "expired_ts": NOW - 5000}},
        "valid_until_ts": NOW + DAY_MS,
    }
    made = {name: value for name, value in {**base, **changes}.items() if value is not None}
    for signer in signers or (KEY,):
        made = sign_json(made, server, signer)
    return made


def test_keys_and_what_they_are_good_for() -> None:
    found = parse_key_document(document(), SERVER, NOW)
    current, old = found.keys[KEY.key_id], found.keys[OLD.key_id]
    assert (current.public_key, current.old, current.valid_until_ts_ms) == (KEY.verify_key_b64, False, NOW + DAY_MS)
    assert (old.public_key, old.old, old.valid_until_ts_ms) == (OLD.verify_key_b64, True, NOW - 5000)
    assert current.is_valid_at(NOW + DAY_MS) and not current.is_valid_at(NOW + DAY_MS + 1)
    assert old.is_valid_at(NOW - 5000) and not old.is_valid_at(NOW - 4999)


def test_nothing_is_valid_for_more_than_a_week() -> None:
    """spec: "Servers MUST use the lesser of this field and 7 days into the future"."""
    found = parse_key_document(document(valid_until_ts=NOW + 400 * DAY_MS), SERVER, NOW)
    assert found.keys[KEY.key_id].valid_until_ts_ms == found.valid_until_ts_ms == NOW + MAX_VALID_MS
    assert found.said_valid_until_ts_ms == NOW + 400 * DAY_MS


def test_a_document_that_ran_out_is_read_for_old_events() -> None:
    found = parse_key_document(document(valid_until_ts=NOW - DAY_MS), SERVER, NOW)
    assert not found.keys[KEY.key_id].is_valid_at(NOW)


def test_keys_of_other_algorithms_are_left_out() -> None:
    keys = {KEY.key_id: {"key": KEY.verify_key_b64}, "future:1": {"key": 5}, "ed25519:no-dash": {"key": ""}}
    assert set(parse_key_document(document(verify_keys=keys), SERVER, NOW).keys) == {KEY.key_id, OLD.key_id}


def test_a_key_that_is_listed_as_both_is_current() -> None:
    old = {KEY.key_id: {"key": KEY.verify_key_b64, "expired_ts": 5}}
    assert not parse_key_document(document(old_verify_keys=old), SERVER, NOW).keys[KEY.key_id].old


def test_old_keys_may_be_missing() -> None:
    assert set(parse_key_document(document(old_verify_keys=None), SERVER, NOW).keys) == {KEY.key_id}


GOOD: JsonObject = {KEY.key_id: {"key": KEY.verify_key_b64}}
BAD: dict[str, JsonObject] = {
    "another server's": document(server_name="other.example"),
    "a name in other case": document(server_name="Example.org"),
    "no name": document(server_name=None),
    "not signed": {**document(), "signatures": {}},
    "signed by an old key alone": document(OLD),
    "signed in another's name": document(server=ServerName("other.example")),
    "signed by a key that is not listed": document(SigningKey("ed25519:x", bytes(32))),
    "a wrong signature": {**document(), "valid_until_ts": NOW + 1},
    "no validity": document(valid_until_ts=None),
    "validity as text": document(valid_until_ts=str(NOW)),
    "validity as a boolean": document(valid_until_ts=True),
    "no keys": document(verify_keys=None),
    "keys as a list": document(verify_keys=[]),
    "a key of 31 bytes": document(verify_keys={**GOOD, "ed25519:b": {"key": "A" * 42}}),
    "a key that is not base64": document(verify_keys={**GOOD, "ed25519:b": {"key": "ä"}}),
    "a key as text": document(verify_keys={KEY.key_id: KEY.verify_key_b64}),
    "an old key without its end": document(old_verify_keys={OLD.key_id: {"key": OLD.verify_key_b64}}),
    "an old key as text": document(old_verify_keys={OLD.key_id: "x"}),
    "too many keys": document(
        verify_keys={
            KEY.key_id: {"key": KEY.verify_key_b64},
            **{f"ed25519:{n}": {"key": KEY.verify_key_b64} for n in range(MAX_KEYS)},
        }
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_documents_that_prove_nothing(case: str) -> None:
    with pytest.raises(PeerError):
        parse_key_document(BAD[case], SERVER, NOW)


JUNK = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
MEMBERS = st.sampled_from(["server_name", "verify_keys", "old_verify_keys", "valid_until_ts", "signatures"])


@given(st.dictionaries(MEMBERS, JUNK | st.dictionaries(st.text(max_size=12), JUNK, max_size=3)))
def test_any_object_is_no_document_of_ours(obj: Changes) -> None:
    with pytest.raises(PeerError):
        parse_key_document({**document(), **obj, "signatures": obj.get("signatures", {})}, SERVER, NOW)


def test_our_own_document_is_what_others_accept() -> None:
    made = make_key_document(SERVER, KEY, [OldKey(OLD.key_id, OLD.verify_key_b64, NOW - 9)], NOW)
    found = parse_key_document(orjson.loads(orjson.dumps(made)), SERVER, NOW)
    assert found.keys[KEY.key_id].valid_until_ts_ms == NOW + DAY_MS
    assert found.keys[OLD.key_id].old and found.keys[OLD.key_id].valid_until_ts_ms == NOW - 9


def test_our_own_document_is_never_larger_than_what_others_accept() -> None:
    old = [OldKey(f"ed25519:o{n}", OLD.verify_key_b64, n) for n in range(200)]
    found = parse_key_document(make_key_document(SERVER, KEY, old, NOW), SERVER, NOW)
    assert len(found.keys) == MAX_KEYS
    assert "ed25519:o199" in found.keys and KEY.key_id in found.keys


def test_our_own_document_is_renewed_long_before_it_runs_out() -> None:
    """spec: "Originating servers should avoid returning responses that expire in less than an hour"."""
    clock = Clock()
    own = OwnKeys(SERVER, KEY, [], clock.ms)
    first = own.document()
    clock.now += RENEW_MS / 1000 - 1
    assert own.document() is first
    for _ in range(50):
        clock.now += 1800
        found = own.document()
        assert found.said_valid_until_ts_ms - clock.ms() >= DAY_MS - RENEW_MS
    clock.now -= 100_000
    assert own.document().said_valid_until_ts_ms == clock.ms() + DAY_MS


def test_as_notary_we_add_a_signature_and_change_nothing() -> None:
    notary = OwnKeys(ServerName("notary.example"), OLD, [], Clock().ms)
    theirs = document()
    signed = notary.sign(theirs)
    verify_json(signed, SERVER, {KEY.key_id: KEY.verify_key_b64})
    verify_json(signed, notary.server, {OLD.key_id: OLD.verify_key_b64})
    assert {**signed, "signatures": 0} == {**theirs, "signatures": 0}
