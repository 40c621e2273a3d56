"""HTML cut into tags and text, in linear time.

spec: Matrix client-server-api m.room.message msgtypes (the subset; HTML itself is far more). The standard
library's parser takes time that grows with the square of the input for such as `<a <a <a`, and raises for
others; this one never raises and never goes back. Comments, declarations and processing instructions vanish;
a `<` that begins no tag is text. What the tags mean is in html.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class StartTag:
    """`<name attribute="value">`; names in lower case, values unescaped, the first of equal names counts."""

    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class EndTag:
    """`</name>`"""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text between tags, character references resolved."""

    text: str


Token: TypeAlias = StartTag | EndTag | Text

# No alternative begins with a character that another begins with, none crosses a "<", and the possessive
# quantifiers (*+) give nothing back: each character is looked at a bounded number of times.
_TAG = re.compile(
    r"""<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*+)(?P<rest>(?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+)>"""
)
_ATTRIBUTE = re.compile(
    r"""([A-Za-z_][A-Za-z0-9_:-]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'=<>`]++)))?"""
)
_MAX_ATTRIBUTES = 16


def tokens(html: str) -> Iterator[Token]:
    """The tags and texts of `html` in order. Texts are never empty, and never two in a row."""
    pending: list[str] = []
    at = 0
    length = len(html)
    while at < length:
        opening = html.find("<", at)
        if opening < 0:
            pending.append(html[at:])
            break
        if opening > at:
            pending.append(html[at:opening])
        if html.startswith("<!--", opening):
            # An unclosed comment takes the rest with it, as in browsers.
            end = html.find("-->", opening + 4)
            at = length if end < 0 else end + 3
            continue
        if html.startswith(("<!", "<?"), opening):
            end = html.find(">", opening)
            at = length if end < 0 else end + 1
            continue
        match = _TAG.match(html, opening)
        if match is None:
            pending.append("<")
            at = opening + 1
            continue
        if pending:
            yield Text(unescape("".join(pending)))
            pending.clear()
        name = match["name"].lower()
        yield EndTag(name) if match["close"] else StartTag(name, _attributes(match["rest"]))
        at = match.end()
    if pending:
        yield Text(unescape("".join(pending)))


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if not text or text.isspace():
        return found
    for match in _ATTRIBUTE.finditer(text):
        name = match[1].lower()
        if name not in found:
            found[name] = unescape(match[2] or match[3] or match[4] or "")
            if len(found) == _MAX_ATTRIBUTES:
                break
    return found
