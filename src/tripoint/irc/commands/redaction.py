"""Taking back what was said: REDACT.

spec: IRCv3 message-redaction; docs/mapping.md 11.9, 11.10, 11.13, 25. What readers see is in events.py.
"""

from __future__ import annotations

from tripoint.core.ids import EventId, RoomId
from tripoint.core.in_words import is_spoken
from tripoint.irc import numerics as n
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line
from tripoint.rooms.commands import Redact
from tripoint.rooms.refusals import Refusal, Refused

_CAPABILITY = "draft/message-redaction"


@command("REDACT", min_params=2, spec="IRCv3 message-redaction")
async def redact(session: IrcSession, line: Line) -> None:
    """REDACT <target> <msgid> [:<reason>]. One's own, or with the right any; on every protocol it is gone."""
    if _CAPABILITY not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "REDACT", f"Ask for the {_CAPABILITY} capability first")
    target, msgid = line.params[0], line.params[1]
    try:
        room_id = await _room(session, target)
    except IrcRefused as refused:
        # spec: IRCv3 message-redaction "Errors"
        raise Failed("INVALID_TARGET", echo(target), text=refused.params[-1]) from None
    try:
        await take_back(session, room_id, msgid, line.param(2) or None)
    except Refused as refused:
        code = _CODES.get(refused.refusal)
        if code is None:
            raise
        raise Failed(code, echo(target), echo(msgid), text=refused.text) from refused


async def take_back(session: IrcSession, room_id: RoomId, msgid: str, reason: str | None) -> None:
    """Redact a message or a reaction. Raises Refused: NO_SUCH_EVENT for what is neither or is gone already."""
    item = await session.reader.event(room_id, EventId(msgid), session.user_id)
    # spec: IRCv3 message-redaction: the id "MUST be a PRIVMSG, NOTICE, or TAGMSG".
    if not (is_spoken(item.event) or item.event.type == "m.reaction") or item.redacted_because is not None:
        raise Refused(Refusal.NO_SUCH_EVENT)
    await session.do(
        Redact(
            actor=session.user_id,
            room_id=room_id,
            event_id=item.event.event_id,
            reason=reason,
            origin=session.origin(),
        )
    )


_CODES = {Refusal.NO_SUCH_EVENT: "UNKNOWN_MSGID", Refusal.POWER_TOO_LOW: "REDACT_FORBIDDEN"}


async def _room(session: IrcSession, target: str) -> RoomId:
    """The channel, or the direct room with a user; none is made for this."""
    if target.startswith("#"):
        return await session.room_named(target)
    user_id = await session.user_named(target)
    room_id = await session.reader.direct_room(session.user_id, user_id)
    if room_id is None:
        raise Failed("INVALID_TARGET", echo(target), text="You have no messages with them")
    return room_id
