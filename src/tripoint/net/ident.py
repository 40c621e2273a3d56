"""What a machine says which of its users a connection belongs to.

It says what it likes: the answer tells one user of a shared machine from another, and proves nothing to others.
spec: RFC1413.  Read next: strangers.py, which asks where the configuration says so.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

PORT: Final = 113
# spec: RFC1413 6: a reply holds a user id of up to 512 octets, and little else.
MAX_REPLY_BYTES: Final = 1000
_USER: Final = re.compile(r"[A-Za-z0-9_.~+-]{1,32}")


def parse_reply(line: bytes, theirs: int, ours: int) -> str | None:
    """The user id of a reply about these two ports; None for an error, and for what no line of IRC can carry. Pure."""
    parts = line.decode("latin-1").rstrip("\r\n").split(":", 3)
    if len(parts) != 4 or parts[1].strip().upper() != "USERID":
        return None
    ports = [word.strip() for word in parts[0].split(",")]
    if ports != [str(theirs), str(ours)]:
        return None
    user = parts[3].strip()
    return user if _USER.fullmatch(user) else None


async def user_of(address: str, theirs: int, ours: int, *, port: int = PORT) -> str | None:
    """Ask the machine at `address` about the connection from its port `theirs` to our port `ours`.

    None without an answer. Give it a deadline.
    """
    try:
        reader, writer = await asyncio.open_connection(address, port, limit=MAX_REPLY_BYTES)
    except OSError:
        return None
    try:
        # spec: RFC1413 4: the port on the machine that is asked comes first
        writer.write(f"{theirs}, {ours}\r\n".encode())
        return parse_reply(await reader.readline(), theirs, ours)
    except (OSError, ValueError):  # ValueError: a line that has no end
        return None
    finally:
        writer.close()
