"""People of other XMPP servers, for whom users of this server stand: where they can be.

spec: docs/mapping.md 1.7, 15.8, 23.1
"""

from tripoint.core.ids import ServerName, UserId
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.refusals import Refusal, Refused


def check_can_enter_rooms(user_id: UserId, server: ServerName) -> None:
    """Raise Refused for who can be written to but enters no room: nobody would accept the invitation."""
    if stand_in_address(user_id, server) is not None:
        raise Refused(
            Refusal.INVITES_BLOCKED,
            "They are on another XMPP server, from where rooms of this server cannot be entered; write to them instead",
        )
