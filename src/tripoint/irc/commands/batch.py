"""BATCH of a client: messages of several lines.

spec: IRCv3 client-batch, multiline; docs/mapping.md 10.7, 24 (one message, one token).  What is collected, and which
mistakes there are: tripoint/irc/multiline.py.
"""

from __future__ import annotations

import re
from typing import Final

from tripoint.irc import numerics as n
from tripoint.irc.multiline import BATCH_TYPE, Collected
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import COMMANDS, command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.wire import Line

_REFERENCE: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


@command("BATCH", min_params=1, spec="IRCv3 client-batch, multiline")
async def batch(session: IrcSession, line: Line) -> None:
    """BATCH +<reference> draft/multiline <target>, lines tagged with the reference, BATCH -<reference>."""
    if BATCH_TYPE not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "BATCH", f"Ask for the {BATCH_TYPE} capability first")
    sign, reference = line.params[0][:1], line.params[0][1:]
    if sign not in ("+", "-") or not _REFERENCE.fullmatch(reference):
        raise Failed("INVALID_REFTAG", echo(reference), text="A batch is opened with + and closed with -, and a name")
    if sign == "-":
        await _close(session, reference)
        return
    if session.collected is not None and not session.collected.failed:
        session.collected.failed = True
        raise Failed("MULTILINE_INVALID", text="One batch at a time: close the one before first")
    kind, target = line.param(1), line.param(2)
    session.collected = Collected(reference, target, line.tags, session.network.now_ms())
    if kind != BATCH_TYPE:
        session.collected.failed = session.collected.answered = True
        raise Failed("UNKNOWN_TYPE", reference, echo(kind), text="There is no such type of batch")
    if not target or "," in target:
        session.collected.failed = session.collected.answered = True
        raise Failed("MULTILINE_INVALID", text="A multiline batch has one target")


async def _close(session: IrcSession, reference: str) -> None:
    collected = session.collected
    if collected is None or collected.reference != reference:
        raise Failed("MULTILINE_INVALID", text="There is no such batch")
    session.collected = None
    if not collected.failed:
        message = collected.message()
        if not message.utf8:
            session.warn_encoding(message)
        await COMMANDS[message.command].handler(session, message)
