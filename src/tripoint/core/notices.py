"""The user in whose name a server tells one of its people something. Pure.

Nobody logs in as it: new accounts begin with a letter. On IRC its lines come from the server, on XMPP from the server's
domain. spec: Matrix client-server module server-notices; docs/mapping.md 10.13
"""

from typing import Final

from tripoint.core.ids import ServerName, UserId

_LOCALPART: Final = "_server"


def notices_user(server: ServerName) -> UserId:
    """Who writes the notices of this server."""
    return UserId(f"@{_LOCALPART}:{server}")


def writes_notices(user_id: str, server: str) -> bool:
    """Whether this is the user who writes the notices of `server`."""
    return user_id.startswith(f"@{_LOCALPART}:") and user_id == f"@{_LOCALPART}:{server}"
