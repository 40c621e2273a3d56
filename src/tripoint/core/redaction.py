"""Redaction: what stays of an event when its contents are taken away, as data per room version.

spec: Matrix rooms/v1 to v12, "Redactions". The same algorithm makes the form that is signed and whose hash is
the event's id. Who may redact is not here (power.py, auth_rules). Read next: event.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tripoint.core.canonical_json import JsonObject

_TOP_LEVEL: Final = frozenset(
    {
        "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
        "prev_events", "auth_events", "origin_server_ts",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What survives redaction.

    `content_keys`: of the content of the types named, these keys; of all other types nothing.
    `whole_content`: types whose content stays as it is.
    `third_party_signed`: whether m.room.member keeps `third_party_invite.signed`.
    """

    top_level: frozenset[str]
    content_keys: Mapping[str, frozenset[str]]
    whole_content: frozenset[str] = frozenset()
    third_party_signed: bool = False

    def allowing(self, event_type: str, *keys: str) -> RedactionRules:
        """These rules with `keys` kept of `event_type` as well."""
        kept = self.content_keys.get(event_type, frozenset()) | frozenset(keys)
        return replace(self, content_keys={**self.content_keys, event_type: kept})

    def redact(self, pdu: JsonObject) -> JsonObject:
        """A redacted copy of a PDU's JSON; containers that stay are shared with the original."""
        kept = self.top_level
        redacted = {key: value for key, value in pdu.items() if key in kept}
        event_type = pdu.get("type")
        if event_type in self.whole_content:
            return redacted
        keys = self.content_keys.get(event_type) if type(event_type) is str else None
        content = pdu.get("content")
        if keys is None or type(content) is not dict:
            redacted["content"] = {}
            return redacted
        new_content: JsonObject = {key: value for key, value in content.items() if key in keys}
        if self.third_party_signed and event_type == "m.room.member":
            invite = content.get("third_party_invite")
            if type(invite) is dict:
                # The text does not say what stays of an invite without `signed`. The empty object is what
                # deployed servers hash.
                new_content["third_party_invite"] = {k: v for k, v in invite.items() if k == "signed"}
        redacted["content"] = new_content
        return redacted


REDACTION_V1: Final = RedactionRules(
    top_level=_TOP_LEVEL | {"prev_state", "origin", "membership"},
    content_keys={
        "m.room.member": frozenset({"membership"}),
        "m.room.create": frozenset({"creator"}),
        "m.room.join_rules": frozenset({"join_rule"}),
        "m.room.power_levels": frozenset(
            {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
        ),
        "m.room.aliases": frozenset({"aliases"}),
        "m.room.history_visibility": frozenset({"history_visibility"}),
    },
)
# "All significant meaning for m.room.aliases has been removed from the redaction algorithm."
REDACTION_V6: Final = replace(
    REDACTION_V1,
    content_keys={k: v for k, v in REDACTION_V1.content_keys.items() if k != "m.room.aliases"},
)
REDACTION_V8: Final = REDACTION_V6.allowing("m.room.join_rules", "allow")
REDACTION_V9: Final = REDACTION_V8.allowing("m.room.member", "join_authorised_via_users_server")
REDACTION_V11: Final = replace(
    REDACTION_V9.allowing("m.room.power_levels", "invite").allowing("m.room.redaction", "redacts"),
    top_level=_TOP_LEVEL,
    whole_content=frozenset({"m.room.create"}),
    third_party_signed=True,
)
