"""Users of this server that stand for people of other XMPP servers: `@_xmpp_bob=40other.org:example.org`. Pure.

spec: docs/mapping.md 1.7; Matrix appendices, "Mapping from other character sets": bytes outside of the grammar
as `=hh`, capitals behind `_`, `_` doubled. Nobody logs in as one: new accounts begin with a letter.
"""

import re
from typing import Final

from tripoint.core.ids import ServerName, UserId, make_user_id, split_user_id

PREFIX: Final = "_xmpp_"
_KEPT: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-/")
_ENCODED: Final = re.compile(rb"=([0-9a-f]{2})|_([a-z_])|([a-z0-9./-])")


def stand_in_id(bare: str, server: ServerName) -> UserId:
    """The user who stands for the person of a bare JID. Raises InvalidId where it would be too long."""
    made = []
    for byte in bare.encode():
        if byte in _KEPT:
            made.append(chr(byte))
        elif byte == 0x5F:
            made.append("__")
        elif 0x41 <= byte <= 0x5A:
            made.append("_" + chr(byte).lower())
        else:
            made.append(f"={byte:02x}")
    return make_user_id(PREFIX + "".join(made), server)


def stand_in_address(user_id: UserId, server: ServerName) -> str | None:
    """The bare JID of the person for whom a user of `server` stands; None for everybody else."""
    address = _decoded(user_id, server)
    return address if address is not None and "@" in address else None


def _decoded(user_id: UserId, server: ServerName) -> str | None:
    if not user_id.startswith("@" + PREFIX):
        return None
    localpart, its_server = split_user_id(user_id)
    if its_server != server:
        return None
    rest, read, at = localpart[len(PREFIX) :].encode(), bytearray(), 0
    while at < len(rest):
        found = _ENCODED.match(rest, at)
        if found is None:
            return None
        if found[1] is not None:
            read.append(int(found[1], 16))
        elif found[2] is not None:
            read += found[2].upper()
        else:
            read += found[3]
        at = found.end()
    try:
        address = read.decode()
    except UnicodeDecodeError:
        return None
    return None if "/" in address else address


def guise_of(user_id: UserId, server: ServerName) -> str | None:
    """Under which other name masks meet somebody of another server: `@bob:other.org`, and that server itself, which is
    `@:other.org`. docs/mapping.md 9.3"""
    address = _decoded(user_id, server)
    if address is None:
        return None
    return "@" + ":".join(address.rsplit("@", 1)) if "@" in address else f"@:{address}"
