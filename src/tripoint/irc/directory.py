"""LIST of another server's directory: `LIST *:remote.org`.

What it sends is not to be trusted: what is no row of a directory is left out, and so much of it is shown.
spec: docs/mapping.md 6.1; Matrix server-server-api "Public Room Directory".  LIST itself is commands/server.py's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from tripoint.core.canonical_json import Json
from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    RoomId,
    ServerName,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
)
from tripoint.core.json_view import int_at, text_at
from tripoint.irc.session import IrcSession
from tripoint.rooms.ports import PublicRoom
from tripoint.rooms.refusals import Refusal, Refused

# Who asks waits for it, and so do the commands behind it.
PATIENCE_S: Final = 8.0
MAX_ROWS: Final = 500
_REMOTE: Final = re.compile(r"([^:,]*\*[^:,]*):(\S+)")


def remote_server(text: str, here: ServerName) -> tuple[str, ServerName] | None:
    """(mask of channels, server) where a LIST is of another server; None where it is of this one. Pure.

    Raises Refused where what stands behind the colon is no name of a server.
    """
    found = _REMOTE.fullmatch(text.partition(",")[0])
    if found is None:
        return None
    try:
        server = parse_server_name(found[2])
    except InvalidId as error:
        raise Refused(Refusal.BAD_ALIAS, f"That is no name of a server: {error}") from None
    return None if server == here else (found[1], server)


async def remote_rooms(session: IrcSession, server: ServerName) -> Sequence[PublicRoom]:
    """The rooms with an alias that another server lists. Raises Refused."""
    if session.account.guest:
        raise Refused(Refusal.GUESTS_FORBIDDEN)
    try:
        async with asyncio.timeout(PATIENCE_S):
            page = await session.reader.remote_rooms(server, {"limit": MAX_ROWS})
    except TimeoutError:
        raise Refused(Refusal.REMOTE_TIMEOUT) from None
    chunk = page.get("chunk")
    rows = [_row(entry) for entry in (chunk if isinstance(chunk, list) else [])[:MAX_ROWS]]
    return [row for row in rows if row is not None]


def _row(entry: Json) -> PublicRoom | None:
    if not isinstance(entry, dict):
        return None
    try:
        room_id: RoomId = parse_room_id(text_at(entry, "room_id") or "")
        alias: RoomAlias = parse_room_alias(text_at(entry, "canonical_alias") or "")
    except InvalidId:
        return None
    return PublicRoom(
        room_id,
        alias,
        text_at(entry, "name"),
        text_at(entry, "topic"),
        max(0, int_at(entry, "num_joined_members") or 0),
        text_at(entry, "join_rule") or "public",
        world_readable=entry.get("world_readable") is True,
        guest_can_join=entry.get("guest_can_join") is True,
        avatar_url=None,
        room_type=text_at(entry, "room_type"),
        created_ts_ms=0,
        topic_ts_ms=None,
    )
