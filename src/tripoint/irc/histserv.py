"""HistServ: what was said before, for clients that have no command for it.

PLAY is CHATHISTORY in words, and DELETE is REDACT; what a channel keeps for whom is said by INFO.
spec: docs/mapping.md 8.14, 11.9, 14.1, 14.3, 18.1.  Read next: commands/history.py, commands/redaction.py.
"""

from __future__ import annotations

from typing import Final

from tripoint.core.server_bans import parse_duration
from tripoint.irc.commands.history import chain_of, place_for, window
from tripoint.irc.commands.redaction import take_back
from tripoint.irc.services import Request, service_command
from tripoint.irc.session import echo
from tripoint.irc.tables import MAX_HISTORY
from tripoint.rooms.history import Direction
from tripoint.rooms.refusals import Refusal, Refused

DEFAULT_LINES: Final = 50
_HOW_MUCH: Final = f"Say how many lines, up to {MAX_HISTORY}, or how far back: 30m, 12h, 2d"
_WHO_READS: Final = {
    "joined": "its members, from when they entered",
    "invited": "its members, from when they were invited",
    "shared": "its members, from the beginning",
    "world_readable": "everybody, from the beginning",
}


@service_command(
    "HistServ", "PLAY", "<channel>|<nick> [<lines>|<time>]: show what was said", min_words=1, here=True
)
async def play(request: Request) -> None:
    """PLAY <channel>|<nick> [<lines>|<time>]: the newest lines, or those of the last minutes, hours or days."""
    session, wish = request.session, request.word(1)
    lines, back_s = DEFAULT_LINES, 0
    if wish.isascii() and wish.isdecimal():
        lines = int(wish) if len(wish) < 6 else 0
    elif wish:
        lines, back_s = MAX_HISTORY, parse_duration(wish) or 0
    if not 1 <= lines <= MAX_HISTORY or (wish and not wish.isdecimal() and not back_s):
        request.say(_HOW_MUCH)
        return
    place = await place_for(session, "PLAY", request.word(0))
    if place is None:
        request.say(f"Nothing was said between you and {echo(request.word(0))} yet")
        return
    chain = await chain_of(session, place)
    since = chain.beginning if not back_s else await chain.before_time(session.network.now_ms() - back_s * 1000)
    stamped = "server-time" not in session.caps
    shown = await window(
        session, place, chain, since, chain.now, Direction.BACKWARD, lines, play=False, stamped=stamped
    )
    if not shown:
        request.say(f"Nothing was said in {place.name}" + (" since then" if back_s else " that you may read"))
        return
    session.own_batch("chathistory", (place.name,), shown)
    request.say(f"That was {place.name}; its times are UTC" if stamped else f"That was {place.name}")


@service_command(
    "HistServ", "DELETE", "<channel>|<nick> <message id> [<reason>]: take back what was said", min_words=2
)
async def delete(request: Request) -> None:
    """DELETE <channel>|<nick> <message id> [<reason>]: one's own, or with the right anybody's."""
    session = request.session
    place = await place_for(session, "DELETE", request.word(0))
    if place is None:
        raise Refused(Refusal.NO_SUCH_EVENT)
    await take_back(session, place.room_id, request.word(1), " ".join(request.words[2:]) or None)
    request.say(f"It is taken back in {place.name}, on every protocol")


@service_command("HistServ", "INFO", "<channel>: who may read what was said there", min_words=1)
async def info(request: Request) -> None:
    """INFO <channel>."""
    session = request.session
    place = await place_for(session, "INFO", request.word(0))
    if place is None:
        raise Refused(Refusal.NO_SUCH_ROOM)
    room = await session.reader.room(place.room_id)
    request.say(f"What is said in {place.name} is read by {_WHO_READS[room.history_visibility]}")
    request.say(f"You may ask for {MAX_HISTORY} lines at once")
