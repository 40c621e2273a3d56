"""Signing JSON.  spec: Matrix appendices signing-json, cryptographic-test-vectors"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_sign_open,
)
from nacl.exceptions import BadSignatureError

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.core.signing import (
    BadSignature,
    InvalidSigningKey,
    SigningKey,
    decode_base64,
    encode_base64,
    sign_json,
    verify,
    verify_json,
)

# The vectors' key: "the 32-byte value given by the following Base64-encoded string as the seed".
SEED = decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
DOMAIN = ServerName("domain")
KEY = SigningKey("ed25519:1", SEED)
KEYS = {KEY.key_id: KEY.verify_key_b64}


@pytest.mark.parametrize(
    ("obj", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_vectors_of_the_appendix(obj: JsonObject, signature: str) -> None:
    signed = sign_json(obj, DOMAIN, KEY)
    assert signed == {**obj, "signatures": {"domain": {"ed25519:1": signature}}}
    verify_json(signed, DOMAIN, KEYS)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
     ("foobar", "Zm9vYmFy")],
)  # fmt: skip
def test_unpadded_base64(text: str, encoded: str) -> None:
    assert encode_base64(text.encode()) == encoded
    # "implementations SHOULD accept input with or without padding characters"
    for given_text in (encoded, encoded + "=" * (-len(encoded) % 4)):
        assert decode_base64(given_text) == text.encode()


@pytest.mark.parametrize("text", ["a", "ab-_", "é", "Zg Zg", "Z=g"])
def test_what_is_not_base64(text: str) -> None:
    with pytest.raises(ValueError):
        decode_base64(text)


def test_signatures_do_not_cover_unsigned_and_signatures() -> None:
    first = sign_json({"a": 1, "unsigned": {"age_ts": 922834800000}}, DOMAIN, KEY)
    other = SigningKey("ed25519:2", bytes(32))
    both = sign_json(first, DOMAIN, other)
    assert set(both["signatures"]["domain"]) == {"ed25519:1", "ed25519:2"}  # type: ignore[index,call-overload,arg-type]
    verify_json({**both, "unsigned": {"other": 1}}, DOMAIN, KEYS)
    verify_json(both, DOMAIN, {**KEYS, other.key_id: other.verify_key_b64})
    assert first["signatures"] != both["signatures"], "signing makes a copy"
    with pytest.raises(BadSignature):
        verify_json({**both, "a": 2}, DOMAIN, KEYS)


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        {},
        {"domain": []},
        {"domain": {}},
        {"other": {"ed25519:1": "x"}},
        {"domain": {"ed448:1": "x"}},
        {"domain": {"ed25519:unknown": "x"}},
        {"domain": {"ed25519:1": 5}},
        {"domain": {"ed25519:1": "!"}},
        {"domain": {"ed25519:1": "AAAA"}},
        {"domain": {"ed25519:1": "A" * 86}},
    ],
)
def test_no_valid_signature(signatures: object) -> None:
    with pytest.raises(BadSignature):
        verify_json({"signatures": signatures}, DOMAIN, KEYS)  # type: ignore[dict-item]


def test_an_unknown_key_beside_a_known_one_is_left_out() -> None:
    # spec: "If a signature is from an unknown or expired key, it is skipped."
    signed = sign_json({"a": 1}, DOMAIN, KEY)
    signed["signatures"]["domain"]["ed25519:p"] = "garbage"  # type: ignore[index,call-overload]
    verify_json(signed, DOMAIN, KEYS)


def test_a_signed_float_is_no_signature() -> None:
    signed = sign_json({"a": 1}, DOMAIN, KEY)
    with pytest.raises(BadSignature):
        verify_json({**signed, "a": 1.0}, DOMAIN, KEYS)


@pytest.mark.parametrize("key", ["", "AAAA", "!", "A" * 43, "A" * 44])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(BadSignature):
        verify(key, b"", KEY.sign(b""))


def test_key_files() -> None:
    text = KEY.to_text()
    # The last digit of the vector has two bits beyond 32 bytes, set there and not here.
    assert text == "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n"
    again = SigningKey.from_text(text)
    assert (again.key_id, again.verify_key_b64) == (KEY.key_id, KEY.verify_key_b64)
    assert "YJDB" not in repr(KEY)
    for bad in ("", "ed25519 1", "ed25519 1 AAAA", "rsa 1 " + encode_base64(SEED), "ed25519 a:b " + encode_base64(SEED),
                "ed25519 1 ?"):  # fmt: skip
        with pytest.raises(InvalidSigningKey):
            SigningKey.from_text(bad)
    for key_id, seed in (("1", SEED), ("ed25519:", SEED), ("ed25519:a b", SEED), ("ed25519:1", b"short")):
        with pytest.raises(InvalidSigningKey):
            SigningKey(key_id, seed)


# -- Contract of the two verifiers. A difference between servers here splits rooms; libsodium decides.

ORDER = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
IDENTITY = (1).to_bytes(32, "little")
MINUS_ONE = (P - 1).to_bytes(32, "little")  # the point of order 2
# A point of order 8, and one of order 4 (y = 0).
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ORDER_4 = bytes(32)


def _libsodium_takes(public: bytes, data: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + data, public)
    except BadSignatureError:
        return False
    return True


def _we_take(public: bytes, data: bytes, signature: bytes) -> bool:
    try:
        verify(encode_base64(public), data, encode_base64(signature))
    except BadSignature:
        return False
    return True


def _mixed_key_signature(data: bytes, torsion: bytes) -> tuple[bytes, bytes]:
    """A key with a small-order part, and a signature of some message near `data` that holds for it without
    multiplying by the cofactor: possible where the challenge is a multiple of 8."""
    scalar = crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"key").digest())
    public = crypto_core_ed25519_add(crypto_scalarmult_ed25519_base_noclamp(scalar), torsion)
    nonce = crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"nonce").digest())
    commitment = crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = int.from_bytes(hashlib.sha512(commitment + public + data).digest(), "little") % ORDER
    total = (int.from_bytes(nonce, "little") + challenge * int.from_bytes(scalar, "little")) % ORDER
    return public, commitment + total.to_bytes(32, "little")


def _vectors() -> list[tuple[str, bytes, bytes, bytes]]:
    public = decode_base64(KEY.verify_key_b64)
    good = decode_base64(KEY.sign(b"m"))
    zero = bytes(32)
    s_plus_order = (int.from_bytes(good[32:], "little") + ORDER).to_bytes(32, "little")
    vectors = [
        ("good", public, b"m", good),
        ("other message", public, b"n", good),
        ("S not reduced", public, b"m", good[:32] + s_plus_order),
        ("S of all ones", public, b"m", good[:32] + b"\xff" * 32),
        ("R small", public, b"m", IDENTITY + good[32:]),
        ("sign of R flipped", public, b"m", good[:31] + bytes([good[31] ^ 0x80]) + good[32:]),
        ("empty", public, b"m", bytes(64)),
    ]
    for name, point in (("identity", IDENTITY), ("order 2", MINUS_ONE), ("order 4", ORDER_4), ("order 8", ORDER_8)):
        vectors.append((f"key of {name}, R identity", point, b"m", IDENTITY + zero))
        vectors.append((f"key and R of {name}", point, b"m", point + zero))
        vectors.append((f"R of {name}", public, b"m", point + good[32:]))
    # y = p + 1 is 1 again, written in a way that is not canonical; y = p is 0; y = 2^255 - 1 is 18.
    for name, value in (("p + 1", P + 1), ("p", P), ("2^255 - 1", 2**255 - 1), ("p + 3", P + 3)):
        encoded = value.to_bytes(32, "little")
        vectors.append((f"key written as {name}", encoded, b"m", IDENTITY + zero))
        vectors.append((f"R written as {name}", public, b"m", encoded + good[32:]))
        signed = bytes([*encoded[:31], encoded[31] | 0x80])
        vectors.append((f"key written as {name}, negative", signed, b"m", IDENTITY + zero))
    for number in range(40):
        # Of forty messages some have a challenge that is a multiple of 8: valid without, invalid with care.
        mixed, signature = _mixed_key_signature(b"m%d" % number, ORDER_8)
        vectors.append((f"mixed-order key {number}", mixed, b"m%d" % number, signature))
    return vectors


VECTORS = _vectors()


@pytest.mark.parametrize(("name", "public", "data", "signature"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_verifiers_agree(name: str, public: bytes, data: bytes, signature: bytes) -> None:
    assert _we_take(public, data, signature) == _libsodium_takes(public, data, signature)


def test_the_vectors_are_of_both_kinds() -> None:
    taken = [name for name, *vector in VECTORS if _libsodium_takes(*vector)]
    assert "good" in taken and any("mixed" in name for name in taken)
    assert not any("identity" in name or "written" in name or "not reduced" in name for name in taken)


@given(st.binary(max_size=200), st.binary(min_size=64, max_size=64), st.binary(min_size=32, max_size=32))
def test_verifiers_agree_on_garbage(data: bytes, signature: bytes, public: bytes) -> None:
    assert _we_take(public, data, signature) == _libsodium_takes(public, data, signature)
