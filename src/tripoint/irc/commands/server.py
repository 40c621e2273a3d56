"""About the server: PING, PONG, MOTD, LUSERS, VERSION, ISUPPORT, LIST.

spec: RFC2812 3.4, 3.7, 3.2.6; IRCv3 extended-isupport; Modern IRC "LIST message", ELIST; docs/mapping.md 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tripoint.irc import numerics as n
from tripoint.irc.directory import remote_rooms, remote_server
from tripoint.irc.events import topic_text
from tripoint.irc.names import channel_of_alias
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.servers import check_server
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import fold
from tripoint.irc.welcome import show_isupport, show_lusers, show_motd, version
from tripoint.irc.wire import Line
from tripoint.rooms.ports import PublicRoom, RoomView
from tripoint.rooms.settings import spelling

# Rows of LIST; a client that asks for all of a big server gets this many and can narrow its question.
MAX_LIST = 2000


@command("PING", cost=0, spec="RFC2812 3.7.2")
async def ping(session: IrcSession, line: Line) -> None:
    """PING <token>: answered with PONG and the token."""
    if not line.param(0):
        raise IrcRefused(n.ERR_NOORIGIN, "No origin specified")
    session.reply("PONG", session.names.server, line.params[0])


@command("PONG", cost=0, spec="RFC2812 3.7.3")
async def pong(session: IrcSession, line: Line) -> None:
    """PONG <token>: the answer to a PING. Any line shows that the client lives; there is nothing to answer."""


@command("MOTD", cost=2, spec="RFC2812 3.4.1")
async def motd(session: IrcSession, line: Line) -> None:
    """MOTD [<server>]: the message of the day."""
    check_server(session, line.param(0))
    show_motd(session)


@command("LUSERS", cost=2, spec="RFC2812 3.4.2")
async def lusers(session: IrcSession, line: Line) -> None:
    """LUSERS [<mask> [<server>]]: counts of this server."""
    check_server(session, line.param(1))
    show_lusers(session)


@command("VERSION", cost=2, spec="RFC2812 3.4.3")
async def show_version(session: IrcSession, line: Line) -> None:
    """VERSION [<server>]: which version runs here, and what it supports."""
    check_server(session, line.param(0))
    text = "one room, three protocols"
    session.numeric(n.RPL_VERSION, version(), session.names.server, text)
    show_isupport(session)


@command("ISUPPORT", cost=2, spec="IRCv3 extended-isupport")
async def isupport(session: IrcSession, line: Line) -> None:
    """ISUPPORT: what the server supports."""
    show_isupport(session)


Condition = Callable[[PublicRoom, str], bool]


@command("LIST", cost=4, spec="RFC2812 3.2.6, Modern IRC LIST")
async def list_(session: IrcSession, line: Line) -> None:
    """LIST [<channel or condition>{,<channel or condition>}] [<condition>{,<condition>}]: channels in the directory.

    Conditions: <n and >n members, C<n and C>n minutes old, T<n and T>n minutes since the topic was set, masks, and
    masks behind an exclamation mark. *:remote.org asks another server.
    """
    text, names = line.param(0), session.names
    if line.param(1) and not _CONDITION.match(line.params[1]):
        check_server(session, line.params[1])  # spec: RFC2812 3.2.6 has a server there, Modern IRC conditions
    elif line.param(1):
        text = f"{text},{line.params[1]}"
    remote = remote_server(text, names.server)
    if remote is not None:
        rooms = await remote_rooms(session, remote[1])
        rest = text.partition(",")[2]
        # Its channels have its name behind theirs here.
        text = f"{remote[0]}:*" + (f",{rest}" if rest else "")
    else:
        rooms = [*_own_secrets(session), *await session.reader.public_rooms(search=None, limit=MAX_LIST, offset=0)]
    conditions = parse_elist(text, session.network.now_ms())
    rows: list[tuple[str, PublicRoom]] = []
    for room in rooms:
        if room.room_type is not None:
            continue  # spaces are not channels: docs/mapping.md 22.1
        if remote is None:
            view = session.reader.peek(room.room_id)
            if view is not None and spelling(view) is not None:
                name = names.channel(view)  # the directory knows aliases alone
            else:
                name = names.channel_of(room.room_id, room.alias, room.name)
        else:
            name = channel_of_alias(room.alias or "", names.server) or ""
        if not name:
            continue  # IRC cannot carry what it is called
        if all(condition(room, name) for condition in conditions):
            rows.append((name, room))
    # The largest first, and those of one size by name: whoever asks twice finds them where they were.
    rows.sort(key=lambda row: (-row[1].joined, fold(row[0])))
    session.numeric(n.RPL_LISTSTART, "Channel", "Users  Name")
    for name, room in rows:
        session.numeric(n.RPL_LIST, name, str(room.joined), topic_text(room.topic or ""))
    session.numeric(n.RPL_LISTEND, "End of /LIST")


def _own_secrets(session: IrcSession) -> list[PublicRoom]:
    """The secret channels that one is on: hidden from the others alone.  spec: RFC2811 4.2.6, Modern IRC "Secret" """
    rooms = [channel.room for channel in session.channels.values() if not channel.direct and not channel.room.listed]
    return [_as_listed(room) for room in rooms]


def _as_listed(room: RoomView) -> PublicRoom:
    """A room as a row of the directory, as far as LIST needs it."""
    topic = room.topic_event
    return PublicRoom(
        room_id=room.room_id,
        alias=room.canonical_alias,
        name=room.name,
        topic=room.topic,
        joined=room.joined_count(),
        join_rule=room.join_rule,
        world_readable=False,
        guest_can_join=room.guest_access == "can_join",
        avatar_url=None,
        room_type=None,
        created_ts_ms=room.created_ts_ms,
        topic_ts_ms=None if topic is None else topic.origin_server_ts,
    )


_CONDITION = re.compile(r"[<>!#*?]|[CT][<>]")
_TIMED = re.compile(r"([CT])([<>])(\d{1,9})", re.ASCII)


def parse_elist(text: str, now_ms: int) -> list[Condition]:
    """ELIST=CMNTU: ``<n`` ``>n`` users, ``C`` and ``T`` minutes since creation and topic, masks, ``!`` masks.

    Plain channel names are masks without wildcards; several masks: any of them.  Pure.
    """
    conditions: list[Condition] = []
    wanted: list[re.Pattern[str]] = []
    for word in text.split(","):
        timed = _TIMED.fullmatch(word)
        if timed:
            conditions.append(_timed(timed[1], timed[2], int(timed[3]), now_ms))
        elif word[:1] in ("<", ">") and word[1:].isascii() and word[1:].isdigit():
            conditions.append(_counted(word[0], int(word[1:])))
        elif word.startswith("!") and len(word) > 1:
            conditions.append(_unlike(_mask(word[1:])))
        elif word:
            wanted.append(_mask(word))
    if wanted:
        conditions.append(lambda _, name: any(mask.fullmatch(fold(name)) for mask in wanted))
    return conditions


def _mask(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(fold(word)).replace(r"\*", ".*").replace(r"\?", "."))


def _unlike(mask: re.Pattern[str]) -> Condition:
    return lambda _, name: not mask.fullmatch(fold(name))


def _counted(sign: str, number: int) -> Condition:
    if sign == "<":
        return lambda room, _: room.joined < number
    return lambda room, _: room.joined > number


def _timed(what: str, sign: str, minutes: int, now_ms: int) -> Condition:
    """``C>60``: created more than an hour ago; ``T<5``: topic changed within five minutes."""
    border = now_ms - minutes * 60_000

    def check(room: PublicRoom, name: str) -> bool:
        at = room.created_ts_ms if what == "C" else room.topic_ts_ms
        if at is None:
            return False
        return at < border if sign == ">" else at > border

    return check
