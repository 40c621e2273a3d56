"""Key documents: what a server publishes of its keys, read and judged, and our own made. Pure.

spec: Matrix server-server-api retrieving-server-keys, publishing-keys; getServerKey. Signatures are core/signing.py's.
Which key counts for what: a current key for requests and events until the document runs out, an old one for events
alone, from before it was retired. Fetching and keeping are ring.py's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName
from tripoint.core.json_view import int_at, object_at, text_at
from tripoint.core.signing import SigningKey, decode_base64, sign_json, verify_json
from tripoint.core.vendor import V

DAY_MS: Final = 24 * 3600 * 1000
# spec: "Servers MUST use the lesser of this field and 7 days into the future".
MAX_VALID_MS: Final = 7 * DAY_MS
# Our own documents. Short enough for a lost key to be gone after a day; others then ask us once in half a day.
OWN_VALID_MS: Final = DAY_MS
# docs/mapping.md 1.6
SAME_IDENTITY: Final = f"{V}.same_identity"
# Keys in one document. Real servers have one, and a few old ones.
MAX_KEYS: Final = 64

_KEY_ID = re.compile(r"ed25519:[A-Za-z0-9_]{1,64}\Z")


class BadKeyDocument(PeerError):
    """A key document that proves nothing: of another server, not signed by its own keys, malformed."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key of a server. `valid_until_ts_ms`: signatures made later do not count.

    `old`: the server has retired it; good for events from before that, never for requests.
    """

    key_id: str
    public_key: str
    valid_until_ts_ms: int
    old: bool = False

    def is_valid_at(self, ts_ms: int) -> bool:
        """Whether a signature made at `ts_ms` counts. Room versions 1 to 4 do not ask."""
        return ts_ms <= self.valid_until_ts_ms


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A checked document. `valid_until_ts_ms` is at most seven days after it was fetched; `said_valid_until_ts_ms`
    is what it says itself. `json` is as received, signatures of others included."""

    server: ServerName
    keys: Mapping[str, VerifyKey]
    valid_until_ts_ms: int
    said_valid_until_ts_ms: int
    fetched_ts_ms: int
    json: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key that this server no longer signs with."""

    key_id: str
    public_key: str
    expired_ts_ms: int


def parse_key_document(obj: JsonObject, server: ServerName, fetched_ts_ms: int) -> KeyDocument:
    """A document that is what `server` published. Raises BadKeyDocument or BadSignature.

    It must name that server and be signed by one of the keys that it lists as current, with every signature of
    those keys right. Keys of other algorithms are left out; a malformed entry spoils the whole.
    """
    if text_at(obj, "server_name") != server:
        raise BadKeyDocument("the keys are another server's")
    said = int_at(obj, "valid_until_ts")
    if said is None:
        raise BadKeyDocument("valid_until_ts is missing")
    current, old = object_at(obj, "verify_keys"), object_at(obj, "old_verify_keys")
    if len(current) + len(old) > MAX_KEYS:
        raise BadKeyDocument(f"more than {MAX_KEYS} keys")
    valid_until = min(said, fetched_ts_ms + MAX_VALID_MS)
    keys: dict[str, VerifyKey] = {}
    for key_id, entry in old.items():
        if _KEY_ID.match(key_id):
            expired = int_at(entry, "expired_ts") if isinstance(entry, dict) else None
            if expired is None:
                raise BadKeyDocument("an old key does not say when it expired")
            keys[key_id] = VerifyKey(key_id, _public_key(entry), expired, old=True)
    # After the old ones: what is listed as both is current.
    for key_id, entry in current.items():
        if _KEY_ID.match(key_id):
            keys[key_id] = VerifyKey(key_id, _public_key(entry), valid_until)
    verify_json(obj, server, {key.key_id: key.public_key for key in keys.values() if not key.old})
    return KeyDocument(server, keys, valid_until, said, fetched_ts_ms, obj)


def _public_key(entry: Json) -> str:
    key = text_at(entry, "key") if isinstance(entry, dict) else None
    try:
        if key is not None and len(decode_base64(key)) == 32:
            return key
    except ValueError:
        pass
    raise BadKeyDocument("a key is not 32 bytes in base64")


def make_key_document(
    server: ServerName, key: SigningKey, old_keys: Sequence[OldKey], now_ms: int, *, same_identity: bool = False
) -> JsonObject:
    """Our own document, signed. `old_keys`: newest last; of more than MAX_KEYS in all the oldest are left out.
    `same_identity`: the people of the XMPP domain of this name are ours (docs/mapping.md 1.6)."""
    retired = [one for one in old_keys if one.key_id != key.key_id][1 - MAX_KEYS :]
    old: JsonObject = {one.key_id: {"key": one.public_key, "expired_ts": one.expired_ts_ms} for one in retired}
    document: JsonObject = {
        "server_name": server,
        "verify_keys": {key.key_id: {"key": key.verify_key_b64}},
        "old_verify_keys": old,
        "valid_until_ts": now_ms + OWN_VALID_MS,
    }
    if same_identity:
        document[SAME_IDENTITY] = True
    return sign_json(document, server, key)
