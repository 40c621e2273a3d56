"""What the project's own state says of a room: limit of members, slow mode, text without colours, password,
TLS, people of other XMPP servers.

Read from any room's state, whoever wrote it: what is not of the right type is not there. Each is enforced by servers
of this kind alone; others show the events and do nothing.
spec: docs/mapping.md 8.5, 8.6, 8.18, 8.19, 23.1, 26. Pure. Who enforces what: entry.py, messages.py,
room_passwords.py, foreigners.py.
"""

import re
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.json_view import text_at
from tripoint.core.vendor import V
from tripoint.rooms.ports import RoomView, StateMap

LIMITS: Final = f"{V}.room.limits"
SLOW: Final = f"{V}.room.slow"
TEXT_RULES: Final = f"{V}.room.irc"
TLS_ONLY: Final = f"{V}.room.tls_only"
FOREIGN: Final = f"{V}.room.foreign"
MENTIONS: Final = f"{V}.room.mentions"
PASSWORD: Final = f"{V}.password"
# In m.room.canonical_alias: the name of the channel with its upper case, which no alias has (docs/mapping.md 3.7).
SPELLING: Final = f"{V}.irc.name"
# A day: longer is a room that is moderated.
MAX_SLOW_S: Final = 86_400
MAX_LIMIT: Final = 1_000_000
_TAG: Final = re.compile(r"<[^<>]*>")
_COLOUR: Final = re.compile(r"""\s+(?:data-mx-(?:bg-)?color|color)\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", re.IGNORECASE)


def _number(state: StateMap, type_: str, key: str, most: int) -> int | None:
    event = state.get((type_, ""))
    value = event.content.get(key) if event is not None else None
    return min(value, most) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def member_limit(room: RoomView) -> int | None:
    """``+l``, maxusers: how many may be in (docs/mapping.md 8.6); None: as many as like."""
    return _number(room.state, LIMITS, "max_members", MAX_LIMIT)


def limit_content(limit: int | None) -> JsonObject:
    """The content of LIMITS."""
    return {} if limit is None else {"max_members": limit}


def slow_mode_s(room: RoomView) -> int:
    """Seconds between two messages of one person; 0: as fast as they like (docs/mapping.md 8.18)."""
    return _number(room.state, SLOW, "seconds", MAX_SLOW_S) or 0


def slow_content(seconds: int) -> JsonObject:
    """The content of SLOW."""
    return {"seconds": seconds} if seconds else {}


def spelling(room: RoomView) -> str | None:
    """How the name of a channel is written, if somebody has said so. It counts where it is the name in another case."""
    event = room.state.get(("m.room.canonical_alias", ""))
    return None if event is None else text_at(event.content, SPELLING)


def federated(room: RoomView) -> bool:
    """Whether users of other servers may take part. spec: rooms/v12.md, auth rules; docs/mapping.md 8.15"""
    created = room.state.get(("m.room.create", ""))
    return created is None or created.content.get("m.federate") is not False


def tls_only(room: RoomView) -> bool:
    """``+S``: whether only connections with TLS may hear the room (docs/mapping.md 8.10)."""
    event = room.state.get((TLS_ONLY, ""))
    return event is not None and event.content.get("required") is True


def text_rule(state: StateMap, rule: str) -> bool:
    """Whether `no_ctcp` or `no_colour` holds (docs/mapping.md 8.19)."""
    event = state.get((TEXT_RULES, ""))
    return event is not None and event.content.get(rule) is True


def says_of_foreigners(state: StateMap) -> bool | None:
    """Whether people of other XMPP servers may be in the room; None: it is not said (docs/mapping.md 23.1)."""
    event = state.get((FOREIGN, ""))
    value = None if event is None else event.content.get("xmpp")
    return value if isinstance(value, bool) else None


def foreign_content(lets_in: bool) -> JsonObject:
    """The content of FOREIGN."""
    return {"xmpp": lets_in}


def forwards_mentions(state: StateMap) -> bool:
    """Whether who is named while none of their clients is in the room is sent the message (docs/mapping.md 2.10)."""
    event = state.get((MENTIONS, ""))
    return event is None or event.content.get("forward") is not False


def most_mentions(state: StateMap) -> int | None:
    """How many people one message may mention (docs/mapping.md 2.11); None: nothing is said."""
    return _number(state, MENTIONS, "most", MAX_LIMIT)


def mentions_content(forward: bool, most: int | None) -> JsonObject:
    """The content of MENTIONS."""
    content: JsonObject = {} if forward else {"forward": False}
    return content if most is None else {**content, "most": most}


def asks_password(state: StateMap) -> bool:
    """``+k``: whether a password gives entry (docs/mapping.md 8.5)."""
    return rule_asks_password(state.get(("m.room.join_rules", "")))


def rule_asks_password(event: Event | None) -> bool:
    """As asks_password, of the join rules alone."""
    if event is None or text_at(event.content, "join_rule") not in ("restricted", "knock_restricted"):
        return False
    allow = event.content.get("allow")
    return isinstance(allow, list) and any(isinstance(one, dict) and one.get("type") == PASSWORD for one in allow)


def without_colours(content: JsonObject) -> JsonObject:
    """The content of a message without colours, that of an edit inside it too. The same object if it has none."""
    found = dict(content)
    html = content.get("formatted_body")
    if isinstance(html, str):
        found["formatted_body"] = _TAG.sub(lambda tag: _COLOUR.sub("", tag.group()), html)
    edited = content.get("m.new_content")
    if isinstance(edited, dict):
        found["m.new_content"] = without_colours(edited)
    return content if found == content else found
