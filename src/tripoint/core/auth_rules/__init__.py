"""Authorisation rules: whether an event is permitted by a given state. For room versions 1 to 12.

spec: Matrix rooms/v1 to v12 "Authorisation rules", server-server-api auth-events-selection. The numbers in
comments are those of version 12; differences between versions are fields of RoomVersion. Start with rules.py.
"""

from tripoint.core.auth_rules.not_allowed import NotAllowed
from tripoint.core.auth_rules.rules import check_event_auth
from tripoint.core.auth_rules.selection import (
    auth_keys_for,
    check_auth_events_selection,
    needed_keys_for,
    needed_keys_of,
    state_of,
)

__all__ = [
    "NotAllowed",
    "auth_keys_for",
    "check_auth_events_selection",
    "check_event_auth",
    "needed_keys_for",
    "needed_keys_of",
    "state_of",
]
