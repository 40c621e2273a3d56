"""What a file is called and what kind it is, as HTTP headers say it and as people read it.

spec: Matrix client-server-api "Serving inline content"; RFC6266 4 (Content-Disposition). Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

UNKNOWN_TYPE: Final = "application/octet-stream"
MAX_FILENAME: Final = 255
_TURNING: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"
_TYPE: Final = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*((?:;[ -~]*)?)\Z")
_CHARSET: Final = re.compile(rf";\s*charset=\"?({_TOKEN})\"?\s*(?:;|\Z)", re.IGNORECASE)
_PARAMETER: Final = re.compile(rf";\s*({_TOKEN})\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\"\s]+)")
# spec: "Serving inline content": what no browser runs, whatever is in it.
INLINE_TYPES: Final = frozenset(
    {
        *("text/css", "text/plain", "text/csv", "application/json", "application/ld+json"),
        *("image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        *("audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav"),
        *("audio/x-wav", "audio/x-pn-wav", "audio/flac", "audio/x-flac"),
    }
)


def clean_type(text: str | None) -> str:
    """A content type fit for a header: `type/subtype` in lower case, with its charset if it is text.

    What is none is application/octet-stream.
    """
    found = _TYPE.match(text or "")
    if found is None:
        return UNKNOWN_TYPE
    kind = found.group(1).lower()
    charset = _CHARSET.search(found.group(2)) if kind.startswith("text/") else None
    return f"{kind}; charset={charset.group(1).lower()}" if charset is not None else kind


def bare_type(text: str) -> str:
    """The type without its parameters."""
    return text.partition(";")[0].strip()


def clean_filename(text: str | None) -> str | None:
    """A file's name without folders, control characters and what turns text around; None if nothing is left."""
    if text is None:
        return None
    last = re.split(r"[/\\]", text)[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in _TURNING).strip()
    kept = kept[:MAX_FILENAME].strip()
    return None if kept in ("", ".", "..") else kept


def content_disposition(content_type: str, filename: str | None) -> str:
    """`inline` for what browsers may show in place, else `attachment`; with the name in the form every browser reads.

    spec: RFC6266 4.3: `filename*` beside a plain form where the name is not ASCII
    """
    kind = "inline" if bare_type(content_type) in INLINE_TYPES else "attachment"
    if filename is None:
        return kind
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    if plain == filename:
        return f'{kind}; filename="{plain}"'
    return f"{kind}; filename=\"{plain}\"; filename*=utf-8''{quote(filename, safe='')}"


def disposition_filename(header: str | None) -> str | None:
    """The file's name in a Content-Disposition header. spec: RFC6266 4.3: `filename*` goes before `filename`."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header or ""):
        found.setdefault(name.lower(), value)
    extended = found.get("filename*")
    if extended is not None:
        charset, _, rest = extended.partition("'")
        _, _, encoded = rest.partition("'")
        try:
            return clean_filename(unquote_to_bytes(encoded).decode(charset or "utf-8"))
        except (LookupError, UnicodeDecodeError):
            pass
    plain = found.get("filename")
    if plain is None:
        return None
    if plain.startswith('"'):
        plain = re.sub(r"\\(.)", r"\1", plain[1:-1])
    try:
        # Headers are read as Latin-1; who put UTF-8 there meant UTF-8.
        plain = plain.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        pass
    return clean_filename(plain)


def readable_size(size: int) -> str:
    """1536 as "1.5 KiB"."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95 or unit == "GiB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 or unit != "KiB" else f"{value:.0f} {unit}"
