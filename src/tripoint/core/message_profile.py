"""A name that one message alone goes under: who a bot or a bridge speaks for. Pure.

The name is the writer's word and no identity: readers see who wrote it beside it.
spec: MSC4144 (per-message profiles), by the stable name and the one that bridges send; docs/mapping.md 10.14
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at, text_at

KEYS: Final = ("m.per_message_profile", "com.beeper.per_message_profile")
MAX_BYTES: Final = 255
# spec: MSC4144 "HTML fallback": the expression that takes it out
_HTML_FALLBACK: Final = re.compile(r'<strong\s+data-mx-profile-fallback(?:="")?\s*>([^<]+): </strong\s*>')


def under_name(content: JsonObject, name: str) -> JsonObject:
    """A message under this name, which stands in its text too, for clients that know no such profiles."""
    found: JsonObject = {**content, "body": f"{name}: {text_at(content, 'body') or ''}"}
    html = text_at(content, "formatted_body")
    if html is not None:
        found["formatted_body"] = f"<strong data-mx-profile-fallback>{escape(name, quote=False)}: </strong>{html}"
    for key in KEYS:
        found[key] = {"id": name, "displayname": name, "has_fallback": True}
    return found


def profile_name(content: JsonObject) -> str | None:
    """The name of the message; None where it goes under its sender's."""
    for key in KEYS:
        if key in content:
            name = text_at(object_at(content, key), "displayname")
            if name and name.strip() and len(name.encode("utf-8", "replace")) <= MAX_BYTES and "\0" not in name:
                return name
    return None


def without_fallback(content: JsonObject, name: str) -> JsonObject:
    """The content without the name that stands in its text for clients that know no such profiles.

    spec: MSC4144 "Fallbacks for old clients"
    """
    if not any(object_at(content, key).get("has_fallback") is True for key in KEYS):
        return content
    found = dict(content)
    body, html = text_at(content, "body"), text_at(content, "formatted_body")
    if body is not None:
        found["body"] = body.removeprefix(f"{name}: ")
    if html is not None:
        found["formatted_body"] = _HTML_FALLBACK.sub("", html, count=1)
    return found
