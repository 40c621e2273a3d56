"""Server access control lists: which servers a room lets take part.

spec: Matrix client-server-api "Server Access Control Lists (ACLs) for rooms", m.room.server_acl; server-server-api
"Server Access Control Lists (ACLs)"; appendices glob-style-matching
"""

import re
from ipaddress import AddressValueError, IPv4Address

from tripoint.core.canonical_json import JsonObject
from tripoint.core.glob import glob_expression
from tripoint.core.ids import ServerName


class ServerAcl:
    """One m.room.server_acl. Lists of the wrong type count as missing, entries of the wrong type as not there."""

    def __init__(self, content: JsonObject) -> None:
        self._ip_literals = content.get("allow_ip_literals") is not False
        self._allow = _matcher(content.get("allow"))
        self._deny = _matcher(content.get("deny"))

    def allows(self, server: ServerName) -> bool:
        """Whether a server may take part in the room. Its port does not matter."""
        host, is_literal = host_of(server)
        if is_literal and not self._ip_literals:
            return False
        if self._deny is not None and self._deny.match(host):
            return False
        return self._allow is not None and self._allow.match(host) is not None


def host_of(server: ServerName) -> tuple[str, bool]:
    """(the name without its port, whether it is an IP literal)"""
    if server.startswith("["):
        return server[: server.find("]") + 1], True
    host = server.partition(":")[0]
    try:
        IPv4Address(host)
    except AddressValueError:
        return host, False
    return host, True


def _matcher(value: object) -> "re.Pattern[str] | None":
    """One expression for all globs of a list; None matches nothing."""
    if not isinstance(value, list):
        return None
    globs = [one for one in value if isinstance(one, str)]
    return re.compile("|".join(map(glob_expression, globs)), re.IGNORECASE | re.DOTALL) if globs else None
