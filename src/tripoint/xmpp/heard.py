"""Whether others hear what somebody says that is nothing for the rooms: it is passed on and not kept.

What is kept meets the same rules where it is written (rooms/service.py). spec: docs/mapping.md 18.3
"""

from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.session import XmppSession


def is_heard(session: XmppSession) -> bool:
    """Whether what a session says reaches anybody else; shadow-banned accounts are not told that it does not.
    Refused(ACCOUNT_SUSPENDED)."""
    accounts = session.doors.accounts
    if accounts.is_suspended(session.user_id):
        raise Refused(Refusal.ACCOUNT_SUSPENDED)
    return not accounts.is_shadow_banned(session.user_id)
