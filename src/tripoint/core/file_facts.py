"""What is known of a file beside what Matrix has words for: hashes, a description, when it was made, small pictures.

It stands in the content of its message under V.file and comes back to whoever has words for it. Pure.
spec: XEP-0446 2, XEP-0300 3; docs/mapping.md 12.1, 12.4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.json_view import object_at, text_at
from tripoint.core.vendor import V

KEY: Final = f"{V}.file"
SHA_256: Final = "sha-256"
MAX_HASHES: Final = 8
MAX_PREVIEWS: Final = 3
MAX_TEXT: Final = 1000
MAX_URI: Final = 4096
_ALGORITHM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{4,128}={0,2}\Z")
_TYPE: Final = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}\Z", re.ASCII)
_MAX_NUMBER: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture that is not here: where it is to be had (cid:, data:, https:), and of which kind and size."""

    uri: str
    type: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`hashes`: algorithm, as XEP-0300 3 names it, and the digest in base64; `made`: a date as XEP-0082 has it."""

    hashes: tuple[tuple[str, str], ...] = ()
    description: str | None = None
    made: str | None = None
    previews: tuple[Preview, ...] = ()

    def content(self) -> JsonObject:
        """For the content of an event; nothing where nothing is known."""
        facts: JsonObject = {}
        if self.hashes:
            facts["hashes"] = dict(self.hashes)
        if self.description:
            facts["description"] = self.description
        if self.made:
            facts["made"] = self.made
        if self.previews:
            facts["previews"] = [_preview_json(one) for one in self.previews]
        return {KEY: facts} if facts else {}


NO_FACTS: Final = FileFacts()


def facts_in(content: JsonObject) -> FileFacts:
    """What an event says of its file: anybody may have written it, so what cannot be is left out."""
    found = object_at(content, KEY)
    if not found:
        return NO_FACTS
    previews = found.get("previews")
    return FileFacts(
        clean_hashes(object_at(found, "hashes").items()),
        _short(text_at(found, "description")),
        _short(text_at(found, "made")),
        clean_previews(previews if isinstance(previews, list) else []),
    )


def sha_256(digest_hex: str) -> tuple[str, str]:
    """A SHA-256 in hex as an entry of `hashes`."""
    return SHA_256, base64.b64encode(bytes.fromhex(digest_hex)).decode()


def clean_hashes(given: Iterable[tuple[str, Json]]) -> tuple[tuple[str, str], ...]:
    """Those that can be hashes, one of each algorithm. spec: XEP-0300 3 (no white space)"""
    found: dict[str, str] = {}
    for algorithm, digest in given:
        if isinstance(digest, str) and _ALGORITHM.match(algorithm) and _BASE64.match(digest):
            found.setdefault(algorithm, digest)
    return tuple(found.items())[:MAX_HASHES]


def clean_previews(given: list[Json]) -> tuple[Preview, ...]:
    """Those that can be small pictures."""
    found = []
    for one in given[:MAX_PREVIEWS]:
        uri = text_at(one, "uri") if isinstance(one, dict) else None
        if isinstance(one, dict) and uri and len(uri) <= MAX_URI:
            kind = text_at(one, "type")
            found.append(
                Preview(uri, kind if kind and _TYPE.match(kind) else None, number_in(one, "w"), number_in(one, "h"))
            )
    return tuple(found)


def number_in(facts: JsonObject, key: str) -> int | None:
    """A size as its sender states it: anybody may write anything there."""
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
        return None
    return value


def _preview_json(preview: Preview) -> JsonObject:
    facts: JsonObject = {"uri": preview.uri}
    for key, value in (("type", preview.type), ("w", preview.width), ("h", preview.height)):
        if value is not None:
            facts[key] = value
    return facts


def _short(text: str | None) -> str | None:
    return text[:MAX_TEXT] if text else None
