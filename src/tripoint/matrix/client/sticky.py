"""How a client asks for an event to be sticky. spec: MSC4354 "Proposal", "Unstable Prefix" """

from typing import Final

from tripoint.core.sticky import MAX_STICKY_MS, is_sticky_ms
from tripoint.matrix.errors import invalid
from tripoint.matrix.registry import Call

_PARAMETER: Final = "org.matrix.msc4354.sticky_duration_ms"


def sticky_ms_of(call: Call) -> int | None:
    """For how long; None for most. M_INVALID_PARAM."""
    sticky_ms = call.number(_PARAMETER)
    if sticky_ms is not None and not is_sticky_ms(sticky_ms):
        raise invalid(f"An event is sticky for {MAX_STICKY_MS} ms at most")
    return sticky_ms
