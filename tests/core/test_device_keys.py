"""Keys as they are read and shown: what has the right shape, whose signatures are for whom.

spec: Matrix client-server-api device-keys, one-time-and-fallback-keys, key-and-signature-security
"""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.core.spec_text import spec_file

from tripoint.core.canonical_json import JsonObject
from tripoint.core.device_keys import (
    BadKeys,
    Signature,
    check_device_keys,
    is_shown,
    read_cross_signing_key,
    read_device_keys,
    read_one_time_keys,
    same_key,
    signatures_of,
    with_signatures,
)
from tripoint.core.errors import PeerError
from tripoint.core.ids import UserId

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
USER_SIGNING = "ed25519:user+signing"


@pytest.mark.parametrize(
    ("signer", "key_id", "owner", "viewer", "shown"),
    [
        # "signatures made by the user's own master signing, self-signing or user-signing keys"
        (ALICE, "ed25519:any", BOB, ALICE, True),
        (ALICE, USER_SIGNING, BOB, ALICE, True),
        # "signatures made by the user's own devices about their own master key"
        (ALICE, "ed25519:DEVICE", ALICE, ALICE, True),
        # "signatures made by other users' self-signing keys about their respective devices", by their master keys
        # about their self-signing key, by their devices about their master keys
        (BOB, "ed25519:self+signing", BOB, ALICE, True),
        (BOB, "ed25519:DEVICE", BOB, None, True),
        # "Users will not be able to see signatures made by other users' user-signing keys"
        (BOB, USER_SIGNING, BOB, ALICE, False),
        (BOB, "ed25519:any", ALICE, ALICE, False),
        (BOB, "ed25519:any", ALICE, None, False),
    ],
)
def test_whose_signatures_are_shown_to_whom(
    signer: UserId, key_id: str, owner: UserId, viewer: UserId | None, shown: bool
) -> None:
    assert is_shown(Signature(signer, key_id, "s"), owner, viewer, USER_SIGNING) is shown


def test_signatures_are_added_to_those_that_are_there() -> None:
    key: JsonObject = {"a": 1, "signatures": {ALICE: {"ed25519:1": "x"}}}
    more = [Signature(ALICE, "ed25519:2", "y"), Signature(BOB, "ed25519:3", "z")]
    whole = with_signatures(key, more)
    assert whole["signatures"] == {ALICE: {"ed25519:1": "x", "ed25519:2": "y"}, BOB: {"ed25519:3": "z"}}
    assert signatures_of(whole) == [Signature(ALICE, "ed25519:1", "x"), *more]
    assert key["signatures"] == {ALICE: {"ed25519:1": "x"}} and same_key(key, whole)
    assert with_signatures({"a": 1}, []) == {"a": 1}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["user_id", "device_id", "keys", "signatures", "algorithms", "usage", "key", "a:b", ALICE]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=10,
)


@given(JSON)
def test_garbage_gives_errors_of_the_peer_alone(value: Any) -> None:
    for read in (
        lambda: read_device_keys(value, ALICE, "D"),
        lambda: check_device_keys(value, ALICE, "D"),
        lambda: read_one_time_keys(value, "one_time_keys"),
        lambda: read_cross_signing_key(value, ALICE, "master"),
    ):
        try:
            read()
        except PeerError:
            pass


def test_the_examples_of_the_specification_have_the_right_shape() -> None:
    api = "matrix/spec/data/api/client-server"
    keys_api = yaml.safe_load(spec_file(f"{api}/keys.yaml"))["paths"]
    query = keys_api["/keys/query"]["post"]
    answer = query["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    for user_id, devices in answer["device_keys"]["example"].items():
        for device_id, keys in devices.items():
            assert check_device_keys(keys, user_id, device_id)["keys"] == keys["keys"]
    upload = keys_api["/keys/upload"]["post"]
    sent = upload["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for name in ("one_time_keys", "fallback_keys"):
        for key in read_one_time_keys(sent[name]["example"], name):
            assert key.algorithm == "signed_curve25519"
    signing = yaml.safe_load(spec_file(f"{api}/cross_signing.yaml"))
    body = signing["paths"]["/keys/device_signing/upload"]["post"]["requestBody"]
    example = body["content"]["application/json"]["schema"]["example"]
    for usage in ("self_signing", "user_signing"):
        # Its names are not those of the keys, as the definition wants them: an example, not a vector.
        with pytest.raises(BadKeys, match="named"):
            read_cross_signing_key(example[f"{usage}_key"], "@alice:example.com", usage)
    master = read_cross_signing_key(example["master_key"], "@alice:example.com", "master")
    assert master.public_key == "base64+master+public+key"
