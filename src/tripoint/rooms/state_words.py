"""What state of a room is about, for the person who may not change it: types of events are words for programs.

spec: docs/mapping.md 25, one sentence for all protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import FOREIGN, LIMITS, MENTIONS, SLOW, TEXT_RULES, TLS_ONLY

_WORDS: Final[Mapping[str, str]] = {
    "m.room.topic": "the topic",
    "m.room.name": "the name",
    "m.room.avatar": "the picture",
    "m.room.canonical_alias": "the address",
    "m.room.join_rules": "who may come in",
    "m.room.guest_access": "whether guests come in",
    "m.room.history_visibility": "who reads the history",
    "m.room.power_levels": "who may do what",
    "m.room.pinned_events": "what is pinned",
    "m.room.server_acl": "which servers take part",
    "m.space.child": "what is in the space",
    LIMITS: "how many may come in",
    SLOW: "the slow mode",
    TEXT_RULES: "the rules for texts",
    TLS_ONLY: "whether TLS is needed",
    FOREIGN: "whether people of other XMPP servers come in",
    MENTIONS: "whether mentions are sent on",
}


def level_needed(type_: str, level: float) -> Refused:
    """POWER_TOO_LOW of who may not change state of this type."""
    return Refused(Refusal.POWER_TOO_LOW, f"Changing {_WORDS.get(type_, type_)} here needs power level {level:g}")
