"""Third-party identifiers (an e-mail address, a phone number) and invitations to them: what identity servers hash, what
they answer, what stands in rooms. Pure.

spec: Matrix identity-service-api "Association lookup", POST /store-invite; client-server-api module
third-party-invites; appendices "3PID Types". Who asks identity servers: matrix/federation/identity.py; who invites:
rooms/third_party_invites.py
"""

import hashlib
import re
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import CanonicalJsonError, Json, JsonObject
from tripoint.core.email_address import parse_email_address
from tripoint.core.errors import PeerError
from tripoint.core.ids import InvalidId, UserId, parse_user_id
from tripoint.core.json_view import list_at, object_at, text_at
from tripoint.core.signing import BadSignature, encode_base64, signed_bytes, verify

# spec: store-invite: "characters [0-9a-zA-Z.=_-]", "must not exceed 255 characters and it must not be empty"
_TOKEN: Final = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")
# spec: appendices "E.164": digits alone
_PHONE: Final = re.compile(r"[0-9]{1,32}")
MAX_KEYS: Final = 10
MAX_NAME: Final = 255
_URL_SAFE: Final = str.maketrans("+/", "-_")
_STANDARD: Final = str.maketrans("-_", "+/")
# Keys times signatures that are tried.
_MAX_VERIFICATIONS: Final = 64


class ThirdPartyId(Struct, frozen=True):
    """`address` in the form in which it is hashed and compared: an e-mail address in lower case, digits."""

    medium: str
    address: str


class InviteKey(Struct, frozen=True):
    """A key with which the token of an invitation may be signed. `validity_url` None: it is valid for ever."""

    public_key: str
    validity_url: str | None


class StoredInvite(Struct, frozen=True):
    """An invitation as an identity server keeps it. `keys`: its own first, then one for this invitation alone."""

    token: str
    display_name: str
    keys: tuple[InviteKey, ...]

    def content(self) -> JsonObject:
        """Of the m.room.third_party_invite event whose state key is the token."""
        keys: list[Json] = []
        for key in self.keys:
            entry: dict[str, Json] = {"public_key": key.public_key}
            if key.validity_url is not None:
                entry["key_validity_url"] = key.validity_url
            keys.append(entry)
        first = self.keys[0]
        return {
            "display_name": self.display_name,
            "public_key": first.public_key,
            "key_validity_url": first.validity_url or "",
            "public_keys": keys,
        }


class SignedInvite(Struct, frozen=True):
    """The proof that somebody is meant by an invitation. `json` is all that was signed, with its signatures."""

    mxid: UserId
    token: str
    json: JsonObject


def parse_third_party_id(medium: str, address: str) -> ThirdPartyId:
    """Raises PeerError where no identity server could know it."""
    if medium == "email":
        return ThirdPartyId(medium, parse_email_address(address))
    if medium == "msisdn" and _PHONE.fullmatch(address):
        return ThirdPartyId(medium, address)
    raise PeerError("that is no e-mail address and no phone number")


def lookup_address(of: ThirdPartyId, algorithm: str, pepper: str) -> str:
    """What POST /lookup is asked for, by one of its algorithms: sha256 or none.

    spec: identity-service-api "Algorithms"
    """
    if algorithm == "none":
        return f"{of.address} {of.medium}"
    digest = hashlib.sha256(f"{of.address} {of.medium} {pepper}".encode()).digest()
    return encode_base64(digest).translate(_URL_SAFE)


def read_stored_invite(answer: JsonObject) -> StoredInvite:
    """The answer of POST /store-invite. Raises PeerError."""
    token, name = text_at(answer, "token"), text_at(answer, "display_name")
    if token is None or _TOKEN.fullmatch(token) is None:
        raise PeerError("the token of the invitation is none")
    if name is None or len(name) > MAX_NAME:
        raise PeerError("the invitation has no name to show")
    keys = _keys(list_at(answer, "public_keys"))
    if not keys:
        raise PeerError("the invitation has no keys")
    return StoredInvite(token, name, keys)


def read_signed_invite(value: Json) -> SignedInvite:
    """`signed` of a member event, or third_party_signed of POST /join. Raises PeerError; no signature is checked."""
    if not isinstance(value, dict):
        raise PeerError("the invitation is not signed")
    token = text_at(value, "token")
    if token is None or _TOKEN.fullmatch(token) is None or not object_at(value, "signatures"):
        raise PeerError("the signed invitation has no token, or no signatures")
    try:
        mxid = parse_user_id(text_at(value, "mxid") or "")
    except InvalidId as error:
        raise PeerError("the signed invitation names nobody") from error
    return SignedInvite(mxid, token, value)


def standard_key(public_key: str) -> str:
    """A key in the alphabet in which keys are read here.

    spec: m.room.third_party_invite: "using the standard or URL-safe alphabets"
    """
    return public_key.translate(_STANDARD)


def signing_key(invite: JsonObject, signed: SignedInvite) -> InviteKey | None:
    """Which of the keys in an m.room.third_party_invite event's content has signed; None: none of them."""
    keys = [*_keys([invite]), *_keys(list_at(invite, "public_keys"))]
    try:
        data = signed_bytes(signed.json)
    except CanonicalJsonError:
        return None
    tries = 0
    for by_server in object_at(signed.json, "signatures").values():
        for key_id, signature in by_server.items() if isinstance(by_server, dict) else ():
            if not key_id.startswith("ed25519:") or not isinstance(signature, str):
                continue
            for key in keys:
                tries += 1
                if tries > _MAX_VERIFICATIONS:
                    return None
                try:
                    verify(standard_key(key.public_key), data, signature)
                except BadSignature:
                    continue
                return key
    return None


def _keys(entries: list[Json]) -> tuple[InviteKey, ...]:
    found = []
    for entry in entries[:MAX_KEYS]:
        if not isinstance(entry, dict):
            continue
        key, url = text_at(entry, "public_key"), text_at(entry, "key_validity_url")
        if key is not None and len(key) <= MAX_NAME:
            found.append(InviteKey(key, url or None))
    return tuple(found)
