"""Telling who wrote to somebody of another XMPP server that it did not arrive: in the conversation, where those read it
who wrote by IRC or Matrix. An XMPP client that is there gets an error instead.

spec: docs/mapping.md 15.8
"""

from typing import Final

import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.commands import SendEvent
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.c2s.conversation import MESSAGE
from tripoint.xmpp.session import Doors

log = structlog.get_logger()

# What is repeated of another server's reason.
MAX_REASON: Final = 300


async def say_undelivered(doors: Doors, writer: UserId, stand_in: UserId, why: str) -> None:
    """A notice by who stands for the reader, to the writer, who is of this server."""
    try:
        room_id = await doors.reader.direct_room(writer, stand_in)
        if room_id is None:
            return
        whom = stand_in_address(stand_in, doors.domains.server)
        content: JsonObject = {"msgtype": "m.notice", "body": f"Not delivered to {whom}: {why[:MAX_REASON]}"}
        await doors.rooms.do(SendEvent(actor=stand_in, room_id=room_id, type=MESSAGE, content=content))
    except Refused as refused:
        log.info("xmpp.s2s.not_told", reason=refused.text)
