"""*playback: what bouncers' clients ask to be shown, by the times up to which they have seen things.

A client with the capability is shown nothing by itself when it comes (missed.py): it says ``PLAY * <time>``.
spec: the protocol of ZNC's module "playback", version 0.1.x; docs/mapping.md 14.4.  Read next: commands/history.py.
"""

from __future__ import annotations

import re
from typing import Final

from tripoint.irc.commands.history import chain_of, conversations, said_at, window
from tripoint.irc.render import fitted
from tripoint.irc.replay import Place
from tripoint.irc.servers import matches
from tripoint.irc.session import IrcSession
from tripoint.rooms.history import Direction

NICK: Final = "*playback"
# The newest lines of one conversation, and of all of them together: a client's send queue holds these.
MAX_LINES: Final = 500
MAX_LINES_IN_ALL: Final = 2000
# Seconds since 1970.
_TIME: Final = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)
_USAGE: Final = "PLAY <target>{,<target>} [<from> [<to>]] | LIST [<target>{,<target>}], with times in seconds"


async def ask_playback(session: IrcSession, text: str) -> None:
    """One request."""
    words = text.split()
    command = words[0].upper() if words else ""
    if command == "PLAY" and 2 <= len(words) <= 4:
        times = [_read_time(word) for word in words[2:]]
        if None not in times:
            await _play(session, words[1], *(time for time in times if time is not None))
            return
    elif command == "LIST" and len(words) <= 2:
        await _list(session, words[1] if len(words) == 2 else "*")
        return
    elif command == "CLEAR":
        _say(session, "What was said is kept by the rooms, for all who read them; nothing is cleared here")
        return
    _say(session, _USAGE)


async def _play(session: IrcSession, wanted: str, after_ms: int = 0, before_ms: int = 0) -> None:
    """Lines after one time and before another, 0 for none; each conversation is a batch, oldest first."""
    left = MAX_LINES_IN_ALL
    stamped = "server-time" not in session.caps
    for place in await _places(session, wanted):
        chain = await chain_of(session, place)
        low = await chain.before_time(after_ms + 1) if after_ms else chain.beginning
        high = await chain.before_time(before_ms) if before_ms else chain.now
        limit = min(left, MAX_LINES)
        lines = await window(
            session, place, chain, low, high, Direction.BACKWARD, limit, play=False, stamped=stamped
        )
        if lines:
            session.own_batch("chathistory", (place.name,), lines)
            left -= len(lines)
        if left <= 0:
            return


async def _list(session: IrcSession, wanted: str) -> None:
    """Of each conversation when something was said first and last."""
    for place in await _places(session, wanted):
        first, last = [await said_at(session, place, way) for way in (Direction.FORWARD, Direction.BACKWARD)]
        if first is not None and last is not None:
            _say(session, f"{place.name} {first / 1000:.3f} {last / 1000:.3f}")


async def _places(session: IrcSession, wanted: str) -> list[Place]:
    """The conversations whose names these are, or meet these masks."""
    masks = [mask for mask in wanted.split(",") if mask]
    return [
        place async for place in conversations(session) if any(matches(mask, place.name) for mask in masks)
    ]


def _read_time(word: str) -> int | None:
    """Milliseconds; finer digits are cut."""
    found = _TIME.fullmatch(word)
    return None if found is None else int(found[1]) * 1000 + int((found[2] or "0").ljust(3, "0")[:3])


def _say(session: IrcSession, text: str) -> None:
    source = f":{NICK}!playback@services.{session.names.server}"
    session.outbox.respond(fitted(f"{source} PRIVMSG {session.nick}", text), [])
