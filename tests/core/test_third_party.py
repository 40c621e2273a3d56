"""Third-party identifiers and invitations to them.

spec: Matrix identity-service-api "Algorithms" (its vectors), POST /store-invite
"""

from typing import Any

import pytest

from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, sign_json
from tripoint.core.third_party import (
    InviteKey,
    ThirdPartyId,
    lookup_address,
    parse_third_party_id,
    read_signed_invite,
    read_stored_invite,
    signing_key,
)

KEY = SigningKey("ed25519:0", b"\x07" * 32)
URL = "https://id.example/_matrix/identity/v2/pubkey/isvalid"
STORED: dict[str, Any] = {
    "token": "sometoken",
    "public_keys": [{"public_key": "first", "key_validity_url": URL}, {"public_key": KEY.verify_key_b64}],
    "display_name": "f...@b...",
}


@pytest.mark.parametrize(
    ("medium", "address", "hashed"),
    [
        ("email", "alice@example.com", "4kenr7N9drpCJ4AfalmlGQVsOn3o2RHjkADUpXJWZUc"),
        ("email", "bob@example.com", "LJwSazmv46n0hlMlsb_iYxI0_HXEqy_yj6Jm636cdT8"),
        ("msisdn", "18005552067", "nlo35_T5fzSGZzJApqu8lgIudJvmOQtDaHtr-I4rU7I"),
    ],
)
def test_the_vectors_of_the_specification(medium: str, address: str, hashed: str) -> None:
    of = parse_third_party_id(medium, address)
    assert lookup_address(of, "sha256", "matrixrocks") == hashed
    assert lookup_address(of, "none", "matrixrocks") == f"{address} {medium}"


def test_an_address_has_one_form() -> None:
    assert parse_third_party_id("email", "Alice@Example.COM") == ThirdPartyId("email", "alice@example.com")
    for medium, address in (("email", "no address"), ("msisdn", "+49 170"), ("msisdn", ""), ("fax", "1")):
        with pytest.raises(PeerError):
            parse_third_party_id(medium, address)


def test_a_stored_invitation_becomes_an_event() -> None:
    assert read_stored_invite(STORED).content() == {
        "display_name": "f...@b...",
        "public_key": "first",
        "key_validity_url": URL,
        "public_keys": [{"public_key": "first", "key_validity_url": URL}, {"public_key": KEY.verify_key_b64}],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""},
        {"token": "a b"},
        {"token": "x" * 256},
        {"token": 5},
        {"display_name": None},
        {"display_name": "x" * 256},
        {"public_keys": []},
        {"public_keys": [5, {}]},
    ],
)
def test_answers_that_are_no_invitation(changes: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        read_stored_invite({**STORED, **changes})


def test_which_key_has_signed() -> None:
    content = read_stored_invite(STORED).content()
    # What a client gets from the identity server names the sender too, and is signed with it.
    made = {"mxid": "@c:x.example", "token": "sometoken", "sender": "@a:x.example"}
    signed = read_signed_invite(sign_json(made, ServerName("id.example"), KEY))
    assert signing_key(content, signed) == InviteKey(KEY.verify_key_b64, None)
    assert signing_key({**content, "public_keys": []}, signed) is None
    assert signing_key({}, signed) is None
    # The key of before there were lists has its page beside it.
    old = {"public_key": KEY.verify_key_b64, "key_validity_url": URL}
    assert signing_key(old, signed) == InviteKey(KEY.verify_key_b64, URL)
    other = read_signed_invite({**signed.json, "sender": "@b:x.example"})
    assert signing_key(content, other) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"mxid": "@c:x", "token": "t", "signatures": {}},
        {"mxid": "c", "token": "t", "signatures": {"a": {}}},
        {"mxid": "@c:x", "token": "", "signatures": {"a": {}}},
    ],
)
def test_what_is_not_signed(value: Any) -> None:
    with pytest.raises(PeerError):
        read_signed_invite(value)
