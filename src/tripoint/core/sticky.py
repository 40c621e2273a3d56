"""Sticky events: how long an event asks to be delivered to everybody, whatever else happened since. Pure.

spec: MSC4354 "Proposal" and "Unstable Prefix"
"""

from typing import Final

from tripoint.core.canonical_json import Json, JsonObject

# In the PDU, beside `content`: what is encrypted stays sticky. Redaction takes it away.
KEY: Final = "msc4354_sticky"
DURATION: Final = "duration_ms"
MAX_STICKY_MS: Final = 3_600_000


def is_sticky_ms(value: Json) -> bool:
    """spec: "Valid values are the integer range 0-3600000 (1 hour)." """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STICKY_MS


def sticky_ms_in(pdu: JsonObject) -> int | None:
    """The duration that a PDU names; None where it is not sticky."""
    sticky = pdu.get(KEY)
    if not isinstance(sticky, dict):
        return None
    duration = sticky.get(DURATION)
    return duration if isinstance(duration, int) and is_sticky_ms(duration) else None


def sticky_until_ms(sticky_ms: int, origin_server_ts: int, received_ms: int) -> int:
    """When an event stops being sticky. Nobody extends that by a time in the future.

    spec: "The start time is min(received_ts, origin_server_ts)."
    """
    return min(received_ms, origin_server_ts) + sticky_ms
