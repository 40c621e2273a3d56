"""Masks: who is meant by `nick!user@host` and the like, as globs on user ids and server names.

What IRC writes and what a room's state holds are two spellings of one thing: a mask becomes an entity of
m.policy.rule.user, an entry of m.room.server_acl, or is refused because it speaks of addresses, which no room knows.
spec: docs/mapping.md 9.1-9.5; Matrix client-server-api m.policy.rule.user, appendices glob-style-matching. Pure.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Final

from msgspec import Struct

from tripoint.core.glob import glob_expression
from tripoint.core.ids import ServerName, UserId

# docs/mapping.md 9.3: with fewer, a mask meets nearly everybody.
MIN_LITERALS: Final = 3
# State keys of a room are 255 bytes at most; "rule:" stands before the mask in one.
MAX_MASK_BYTES: Final = 200
_SERVER: Final = re.compile(r"[A-Za-z0-9*?.:_-]+")


class MaskRefused(Exception):
    """A mask that cannot be; `reason` says why, for the person who wrote it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Mask(Struct, frozen=True):
    """A mask that was understood.

    `text` is its full form, `entity` the glob on user ids that it is, `server` the glob on server names where it
    means everybody of a server.
    """

    text: str
    entity: str
    server: str | None = None


def parse_mask(text: str) -> Mask:
    """`nick!user@host`, any part of it missing or a glob. Raises MaskRefused.

    A user's id holds one name and one server: of nick and user, which are the same name here, one says whom.
    """
    if len(text.encode()) > MAX_MASK_BYTES or not text.isprintable() or " " in text:
        raise MaskRefused("That is no mask: nick!user@host, with * and ? for what does not matter")
    nick, user, host = _parts(text)
    if _is_address(host):
        raise MaskRefused("Addresses are not visible to channel operators")
    if not _SERVER.fullmatch(host):
        raise MaskRefused("That is no mask: nick!user@host, with * and ? for what does not matter")
    if ":" in nick:
        # A nick of another server's user says both (docs/mapping.md 2.2).
        nick, _, its_host = nick.partition(":")
        if host == "*":
            host = its_host
        elif its_host != host:
            raise MaskRefused("The nick of the mask names one server and its host another")
    if "*" not in (nick, user) and nick != user:
        raise MaskRefused("A mask says whom by nick or by user name: one of the two has to be *")
    name = user if nick == "*" else nick
    host = host.lower()
    if sum(1 for char in name + host if char not in "*?.") < MIN_LITERALS:
        raise MaskRefused(f"A mask needs at least {MIN_LITERALS} characters that are not * or ?")
    full = f"{nick}!{user}@{host}"
    return Mask(full, f"@{name}:{host}", host if name == "*" else None)


def _parts(text: str) -> tuple[str, str, str]:
    nick, bang, rest = text.partition("!")
    if not bang:
        # "*@host" and "nick" are what people write for short.
        user, at, host = text.partition("@")
        return ("*", user or "*", host or "*") if at else (text or "*", "*", "*")
    user, _, host = rest.partition("@")
    return nick or "*", user or "*", host or "*"


def _is_address(host: str) -> bool:
    """An IPv4 or IPv6 address, a network, or a glob of one."""
    plain = host.strip("[]")
    try:
        ip_network(plain, strict=False)
    except ValueError:
        pass
    else:
        return True
    try:
        ip_address(plain.replace("*", "0").replace("?", "0"))
    except ValueError:
        return bool(re.fullmatch(r"[0-9]+(\.[0-9*?]+)+", plain)) or plain.count(":") > 1
    return True


def mask_of_entity(entity: str) -> str:
    """How an entity of a rule that was not made from a mask is shown as one."""
    name, _, host = entity.removeprefix("@").partition(":")
    return f"*!{name or '*'}@{host or '*'}"


def mask_of_server(server: str) -> str:
    """How an entry of an access control list is shown."""
    return f"*!*@{server}"


class Matcher:
    """Whether a user is met by any of some entities. Letters are compared without case, as IRC does."""

    def __init__(self, entities: list[str]) -> None:
        self._expression = (
            re.compile("|".join(map(glob_expression, entities)), re.IGNORECASE | re.DOTALL) if entities else None
        )

    def meets(self, user_id: UserId, guise: str | None = None) -> bool:
        """`guise`: another id-like name by which a user is known, as guests are (docs/mapping.md 1.9)."""
        if self._expression is None:
            return False
        names = (user_id,) if guise is None else (user_id, guise)
        return any(self._expression.match(name) for name in names)


def server_glob_meets(glob: str, server: ServerName) -> bool:
    """Whether an entry of an access control list is about this server."""
    host = server.rpartition(":")[0] if re.search(r":[0-9]+\Z", server) else server
    return re.match(glob_expression(glob), host, re.IGNORECASE | re.DOTALL) is not None
