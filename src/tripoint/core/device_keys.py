"""Keys of devices and users for end-to-end encryption: what clients and other servers say, read and checked. Pure.

The server vouches for none of these keys; it keeps those that hold together, so that a client's mistake is told to
that client and not to everybody who tries to use them.
spec: Matrix client-server-api device-keys, one-time-and-fallback-keys, cross-signing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import CanonicalJsonError, JsonObject, encode
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.core.signing import verify_json

ED25519: Final = "ed25519:"
MASTER, SELF_SIGNING, USER_SIGNING = "master", "self_signing", "user_signing"
USAGES: Final = (MASTER, SELF_SIGNING, USER_SIGNING)
# Larger ones serve nobody, and each is carried to everybody who shares a room. Usual ones have some 800 bytes.
MAX_KEYS_BYTES: Final = 16_384
MAX_NAME: Final = 255


class BadKeys(PeerError):
    """Keys that do not have the shape that they must have."""


class Signature(Struct, frozen=True):
    """One signature on a key; `key_id` is that of the key that made it, with its algorithm."""

    signer: UserId
    key_id: str
    signature: str


class CrossSigningKey(Struct, frozen=True):
    """A key of a user's own tree; `public_key` is unpadded base64 and its name too."""

    user_id: UserId
    usage: str
    public_key: str
    json: JsonObject

    @property
    def key_id(self) -> str:
        return ED25519 + self.public_key


class OneTimeKey(Struct, frozen=True):
    """`json` is canonical: the same key that comes twice has the same bytes."""

    algorithm: str
    key_id: str
    json: bytes


def read_device_keys(value: object, user_id: str, device_id: str) -> JsonObject:
    """The identity keys of this very device, without signatures of others and without `unsigned`.

    Raises BadKeys, and BadSignature unless the device's own Ed25519 key is there and has signed them.
    spec: client-server-api uploading-keys: "must include the public part of the device's Ed25519 key, and must be
    signed by that key"
    """
    keys = check_device_keys(value, user_id, device_id)
    own = object_at(object_at(keys, "signatures"), user_id)
    fingerprint = text_at(object_at(keys, "keys"), ED25519 + device_id)
    if fingerprint is None:
        raise BadKeys(f"keys has no {ED25519}{device_id}")
    kept: JsonObject = {**keys, "signatures": {user_id: own}}
    kept.pop("unsigned", None)
    check_signature(kept, user_id, {ED25519 + device_id: fingerprint})
    return kept


def check_device_keys(value: object, user_id: str, device_id: str) -> JsonObject:
    """As read_device_keys, the shape alone. For keys of other servers, which only clients can judge."""
    keys = _object(value, "device_keys")
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise BadKeys("device_keys are for another device")
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(name, str) for name in algorithms):
        raise BadKeys("algorithms must be a list of texts")
    _check_texts(keys, "keys")
    _check_signatures(keys)
    _check_size(keys)
    return keys


def read_one_time_keys(value: object, what: str) -> list[OneTimeKey]:
    """Keys by `<algorithm>:<key_id>`, as /keys/upload takes them. `what`: the name of the member, for errors.

    A key is a text, or an object with the text `key`; signed ones must be objects with signatures.
    """
    found = []
    for name, key in _object(value, what).items():
        algorithm, colon, key_id = name.partition(":")
        if not (algorithm and colon and key_id) or len(name) > MAX_NAME:
            raise BadKeys(f"{what} are named <algorithm>:<key id>")
        if isinstance(key, dict):
            if not isinstance(key.get("key"), str):
                raise BadKeys(f"a key object of {what} has a text named key")
            _check_signatures(key)
        elif not isinstance(key, str) or algorithm.startswith("signed_"):
            raise BadKeys(f"{name} must be a key object with signatures")
        _check_size(key)
        found.append(OneTimeKey(algorithm, key_id, _encoded(key)))
    return found


def read_cross_signing_key(value: object, user_id: str, usage: str) -> CrossSigningKey:
    """A cross-signing key of this user and for this usage. Raises BadKeys. Signatures are the caller's to check.

    spec: client-server-api definitions/cross_signing_key: "exactly one property, in the form ed25519:<public key>"
    """
    name = f"{usage}_key"
    key = _object(value, name)
    usages = key.get("usage")
    if key.get("user_id") != user_id:
        raise BadKeys(f"{name} is for another user")
    if not isinstance(usages, list) or usage not in usages:
        raise BadKeys(f"usage of {name} must hold {usage}")
    keys = _check_texts(key, "keys")
    if len(keys) != 1:
        raise BadKeys(f"{name} must hold one key")
    ((key_id, public_key),) = keys.items()
    if key_id != f"{ED25519}{public_key}" or len(key_id) > MAX_NAME:
        raise BadKeys(f"{name} must be named {ED25519}<public key>")
    kept = {name: part for name, part in key.items() if name not in ("signatures", "unsigned")}
    if "signatures" in key:
        _check_signatures(key)
        # What others have signed comes by another way, and is not for everybody.
        own = object_at(object_at(key, "signatures"), user_id)
        if own:
            kept["signatures"] = {user_id: own}
    _check_size(kept)
    return CrossSigningKey(UserId(user_id), usage, public_key, kept)


def same_key(one: JsonObject, other: JsonObject) -> bool:
    """Whether two say the same, signatures and `unsigned` apart."""
    return _bare(one) == _bare(other)


def check_signature(obj: JsonObject, signer: str, keys: Mapping[str, str]) -> None:
    """Raise BadSignature unless `signer` has signed the object with one of `keys` (key id → public key)."""
    verify_json(obj, ServerName(signer), keys)


def signatures_of(obj: JsonObject) -> list[Signature]:
    """Every signature of an object that has the right shape; others are left out."""
    found = []
    signatures = object_at(obj, "signatures")
    for signer in signatures:
        own = object_at(signatures, signer)
        found += [Signature(UserId(signer), key_id, text) for key_id, text in own.items() if isinstance(text, str)]
    return found


def with_signatures(obj: JsonObject, more: Iterable[Signature]) -> JsonObject:
    """A copy with these signatures added to those that it has."""
    before = object_at(obj, "signatures")
    signatures: JsonObject = {signer: dict(object_at(before, signer)) for signer in before}
    for one in more:
        own = signatures.setdefault(one.signer, {})
        assert isinstance(own, dict), "made here"
        own[one.key_id] = one.signature
    return {**obj, "signatures": signatures} if signatures else obj


def is_shown(signature: Signature, owner: str, viewer: str | None, user_signing_id: str | None) -> bool:
    """Whether `viewer` (None: another server) may see a signature on a key of `owner`.

    `user_signing_id`: the key id of the owner's user-signing key. spec: client-server-api key-and-signature-security:
    one's own, and what others signed of themselves with other keys than the user-signing one.
    """
    if signature.signer == viewer:
        return True
    return signature.signer == owner and signature.key_id != user_signing_id


def _bare(obj: JsonObject) -> JsonObject:
    return {key: value for key, value in obj.items() if key not in ("signatures", "unsigned")}


def _object(value: object, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise BadKeys(f"{name} must be an object")
    return value


def _check_texts(obj: JsonObject, name: str) -> dict[str, str]:
    found = _object(obj.get(name), name)
    texts = {key: value for key, value in found.items() if isinstance(value, str)}
    if len(texts) != len(found):
        raise BadKeys(f"{name} must be a map of texts")
    return texts


def _check_signatures(obj: JsonObject) -> None:
    signatures = _object(obj.get("signatures"), "signatures")
    for signer in signatures:
        _check_texts(signatures, signer)


def _encoded(value: object) -> bytes:
    try:
        return encode(value)  # type: ignore[arg-type]  # JSON that a client sent
    except CanonicalJsonError as error:
        raise BadKeys("keys hold what has no canonical form, such as a number with a fraction") from error


def _check_size(value: object) -> None:
    if len(_encoded(value)) > MAX_KEYS_BYTES:
        raise BadKeys(f"one key has at most {MAX_KEYS_BYTES} bytes")


