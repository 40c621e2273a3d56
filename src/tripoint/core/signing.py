"""Signing keys of servers, signing and verifying of JSON objects.

spec: Matrix appendices signing-json, checking-for-a-signature, cryptographic-key-representation.
libsodium (PyNaCl) signs, vodozemac (ed25519-dalek, strict) verifies since it is the faster one. Where two
verifiers differ, rooms split: libsodium decides, so an encoding that only dalek takes is refused here.
Drawing the random seed and fetching other servers' keys is the caller's. Read next: event.py.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair
from vodozemac import Ed25519PublicKey, Ed25519Signature

from tripoint.core.canonical_json import CanonicalJsonError, JsonObject, encode
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName

_VERSION = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_PREFIX: Final = "ed25519:"


class BadSignature(PeerError):
    """No valid signature: missing, of an unknown key, not decodable, or wrong."""


class InvalidSigningKey(ValueError):
    """Text or bytes that are no Ed25519 signing key."""


def encode_base64(data: bytes) -> str:
    """Unpadded base64. spec: Matrix appendices unpadded-base64"""
    return b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    """Bytes of standard base64, padded or not. Raise ValueError for any other character or length."""
    try:
        raw = text.rstrip("=").encode("ascii")
        return b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64") from None


class SigningKey:
    """An Ed25519 key with which a server signs, and its key id (`ed25519:<version>`)."""

    __slots__ = ("_seed", "_signing", "key_id", "verify_key_b64")

    key_id: str
    verify_key_b64: str

    def __init__(self, key_id: str, seed: bytes) -> None:
        """`seed`: 32 random bytes, from the caller. Raise InvalidSigningKey for anything else."""
        if not key_id.startswith(_PREFIX) or not _VERSION.match(key_id[len(_PREFIX) :]):
            raise InvalidSigningKey("a key id is ed25519: and letters, digits or _")
        if len(seed) != 32:
            raise InvalidSigningKey("a signing key needs 32 bytes")
        public, self._signing = crypto_sign_seed_keypair(seed)
        self._seed = seed
        self.key_id = key_id
        self.verify_key_b64 = encode_base64(public)

    def sign(self, data: bytes) -> str:
        """Signature of `data` in unpadded base64."""
        signature: bytes = crypto_sign(data, self._signing)[:64]
        return b64encode(signature)[:86].decode()

    @classmethod
    def from_text(cls, text: str) -> SigningKey:
        """Read a line `ed25519 <version> <seed in base64>`, the form key files have among homeservers."""
        parts = text.split()
        if len(parts) != 3 or parts[0] != "ed25519":
            raise InvalidSigningKey("a signing key file is one line: ed25519 <version> <base64>")
        try:
            seed = decode_base64(parts[2])
        except ValueError:
            raise InvalidSigningKey("the signing key is not base64") from None
        return cls(_PREFIX + parts[1], seed)

    def to_text(self) -> str:
        """The line that from_text reads. Secret: it holds the seed."""
        return f"ed25519 {self.key_id[len(_PREFIX) :]} {encode_base64(self._seed)}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"


def verify(public_key_b64: str, data: bytes, signature_b64: str) -> None:
    """Raise BadSignature unless the signature of `data` by this Ed25519 key is valid.

    Small-order keys and commitments, and encodings that are not canonical, are refused as libsodium does.
    """
    try:
        raw = decode_base64(signature_b64)
    except ValueError:
        raise BadSignature("the signature is not base64") from None
    if len(raw) != 64 or _not_canonical(raw[:32]):
        raise BadSignature("the signature is not an Ed25519 signature")
    key = _public_key(public_key_b64)
    try:
        key.verify_signature(data, Ed25519Signature.from_base64(encode_base64(raw)))
    except ValueError:
        raise BadSignature("the signature is wrong") from None


@lru_cache(maxsize=4096)  # of the servers heard of lately; a key object is some 200 bytes
def _public_key(public_key_b64: str) -> Ed25519PublicKey:
    try:
        raw = decode_base64(public_key_b64)
        if len(raw) == 32 and not _not_canonical(raw):
            return Ed25519PublicKey.from_base64(encode_base64(raw))
    except ValueError:
        pass
    raise BadSignature("the key is not an Ed25519 key")


def _not_canonical(point: bytes) -> bool:
    """Whether the y coordinate is p (2^255 - 19) or more: dalek reduces it, libsodium refuses."""
    return point[0] >= 0xED and point[31] & 0x7F == 0x7F and point[1:31] == b"\xff" * 30


def signed_bytes(obj: JsonObject) -> bytes:
    """What a signature of this object covers: canonical JSON without `signatures` and `unsigned`.

    Raise CanonicalJsonError where the object has no strict canonical form.
    """
    return encode({key: value for key, value in obj.items() if key not in ("signatures", "unsigned")})


def sign_json(obj: JsonObject, server: ServerName, key: SigningKey) -> JsonObject:
    """A copy of the object with this server's signature added to those that it has.

    spec: Matrix appendices signing-details
    """
    old = obj.get("signatures")
    signatures: JsonObject = dict(old) if type(old) is dict else {}
    mine = signatures.get(server)
    own: JsonObject = dict(mine) if type(mine) is dict else {}
    own[key.key_id] = key.sign(signed_bytes(obj))
    signatures[server] = own
    return {**obj, "signatures": signatures}


def verify_json(obj: JsonObject, server: ServerName, keys: Mapping[str, str]) -> None:
    """Raise BadSignature unless `server` has signed the object with one of `keys` (key id → public key).

    Every signature of that server whose key is given must be right; those of unknown keys or algorithms are
    left out. spec: Matrix appendices checking-for-a-signature
    """
    try:
        data = signed_bytes(obj)
    except CanonicalJsonError:
        raise BadSignature("the object has no canonical form") from None
    check_signatures(obj.get("signatures"), server, keys, data)


def check_signatures(signatures: object, server: ServerName, keys: Mapping[str, str], data: bytes) -> None:
    """Raise BadSignature unless `signatures` (of an object whose signed bytes are `data`) holds one of
    `server`.

    The steps and their numbers are those of the appendix.
    """
    # 1. An entry with the name of the entity.
    own = signatures.get(server) if isinstance(signatures, dict) else None
    if not isinstance(own, dict):
        raise BadSignature("not signed by this server")
    # 2, 3. Algorithms that we understand, keys that we have.
    known = [key_id for key_id in own if key_id.startswith(_PREFIX) and key_id in keys]
    if not known:
        raise BadSignature("not signed with a known key of this server")
    # 4 to 7.
    for key_id in known:
        signature = own[key_id]
        if not isinstance(signature, str):
            raise BadSignature("the signature is not a string")
        verify(keys[key_id], data, signature)
