"""Who somebody is and whether they are here: WHO, WHOIS, AWAY, SETNAME, USERHOST, ISON.

spec: RFC2812 3.6, 4.1, 4.8; IRCv3 whox, setname, away-notify; docs/mapping.md 2.3, 4.7, 13.6, 17.4.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from tripoint.accounts.server_bans import banned_text
from tripoint.core.ids import UserId, server_of
from tripoint.core.power import Rank
from tripoint.irc import numerics as n
from tripoint.irc.banning import visitor_of
from tripoint.irc.channel import Channel
from tripoint.irc.events import rank_shown
from tripoint.irc.metadata import NAME
from tripoint.irc.monitors import in_lines
from tripoint.irc.operators import Privilege
from tripoint.irc.projection import prefix, shown_rank
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.render import as_word, cut, one_line
from tripoint.irc.servers import check_server
from tripoint.irc.services import ABOUT, service_named
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import AWAYLEN, BOT_MODE, MAX_TARGETS, NAMELEN, fold
from tripoint.irc.telling import away_text
from tripoint.irc.wire import Line
from tripoint.rooms.commands import SetProfile
from tripoint.rooms.refusals import Refusal

# Rows that WHO of a pattern gives at most: what others use.
MAX_WHO = 500
# Members whose profiles are looked at in one turn.
_AT_ONCE = 100
# Nicks that one ISON asks for: more than a line of short ones holds.
MAX_ISON = 100
# spec: IRCv3 whox: the order of the fields is fixed.
WHOX_ORDER = "tcuihsnfdlaor"


class WhoRow(Struct, frozen=True):
    """One user in a WHO reply. `channel` is ``*`` outside a channel."""

    user_id: UserId
    channel: str
    flags: str
    realname: str


@command("WHO", spec="RFC2812 3.6.1, IRCv3 whox")
async def who(session: IrcSession, line: Line) -> None:
    """WHO <mask> [o] [%<fields>[,<token>]]: who somebody is, or is in a channel; with o the operators among them."""
    mask = line.param(0, "*")  # spec: RFC2812 3.6.1: "0" is everybody too
    operators = line.param(1).partition("%")[0] == "o"
    fields, _, token = line.param(1).partition("%")[2].partition(",")
    whox = "%" in line.param(1)
    if "t" in fields and not re.fullmatch(r"\d{1,3}", token):
        token = "0"
    for row in await _who_rows(session, "*" if mask == "0" else mask):
        if operators and not session.names.who(row.user_id).operator:
            continue
        if whox:
            session.numeric(n.RPL_WHOSPCRPL, *_whox_words(session, row, fields, token))
        else:
            user, host = session.names.username_and_host(row.user_id)
            nick = session.names.nick(row.user_id)
            server, realname = server_of(row.user_id), f"0 {row.realname}"
            session.numeric(n.RPL_WHOREPLY, row.channel, user, host, server, nick, row.flags, realname)
    session.numeric(n.RPL_ENDOFWHO, echo(mask), "End of WHO list")


async def _who_rows(session: IrcSession, mask: str) -> list[WhoRow]:
    if mask.startswith("#"):
        channel = session.network.channels.named(mask)
        if channel is None or channel.room_id not in session.channels:
            return []
        shown = [user_id for user_id in channel.room.joined() if channel.shows(user_id)]
        return [await _channel_row(session, channel, user_id) async for user_id in _by_and_by(shown)]
    if any(c in mask for c in "*?"):
        return await _matching_rows(session, mask)
    user_id = await session.network.find_user(mask)
    if user_id is None:
        return await _matching_rows(session, mask)
    shared = _shared(session, user_id)
    if shared:
        return [await _channel_row(session, shared[0], user_id)]
    return [WhoRow(user_id, "*", _flags(session, user_id, Rank.PLAIN), await session.network.realname(user_id))]


async def _matching_rows(session: IrcSession, mask: str) -> list[WhoRow]:
    """Users in our channels who match; nobody can list strangers.

    spec: RFC2812 3.6.1: "matched against users' host, server, real name and nickname"; their user names too
    """
    pattern = re.compile(re.escape(fold(mask)).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
    names, rows = session.names, dict[UserId, WhoRow]()
    for channel in list(session.channels.values()):
        if channel.direct:
            continue
        async for user_id in _by_and_by(list(channel.room.joined())):
            if user_id in rows or not channel.shows(user_id):
                continue
            realname = await _realname(session, channel, user_id)
            words = (names.nick(user_id), *names.username_and_host(user_id), server_of(user_id), realname)
            if any(pattern.fullmatch(fold(word)) for word in words):
                rows[user_id] = await _channel_row(session, channel, user_id)
                if len(rows) == MAX_WHO:
                    return list(rows.values())
    return list(rows.values())


async def _by_and_by(users: list[UserId]) -> AsyncIterator[UserId]:
    """One after the other; others have their turn in between."""
    for at, user_id in enumerate(users, 1):
        yield user_id
        if at % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def _channel_row(session: IrcSession, channel: Channel, user_id: UserId) -> WhoRow:
    realname = await _realname(session, channel, user_id)
    flags = _flags(session, user_id, shown_rank(channel.room, user_id))
    return WhoRow(user_id, channel.name, flags, realname)


async def _realname(session: IrcSession, channel: Channel, user_id: UserId) -> str:
    """As Network.realname, of a member of a channel: of other servers' users that one is as good as any."""
    if server_of(user_id) == session.names.server:
        return await session.network.realname(user_id)
    member = channel.room.member(user_id)
    return session.names.realname(user_id, None if member is None else member.displayname)


def _flags(session: IrcSession, user_id: UserId, rank: Rank) -> str:
    """``H`` here, ``G`` gone; then the prefixes.  spec: docs/mapping.md 4.7: offline members show G."""
    here = "H" if session.reader.presence(user_id).presence == "online" else "G"
    who = session.names.who(user_id)
    # spec: RFC2812 3.6.1: "*" for operators; IRCv3 bot-mode: the letter of BOT.
    here += ("*" if who.operator else "") + (BOT_MODE if who.bot else "")
    return here + (prefix(rank, multi="multi-prefix" in session.caps) if rank_shown(rank) else "")


def _whox_words(session: IrcSession, row: WhoRow, fields: str, token: str) -> list[str]:
    user, host = session.names.username_and_host(row.user_id)
    words: Mapping[str, str] = {
        "t": token,
        "c": row.channel,
        "u": user,
        # Addresses are not shown: spec: IRCv3 whox names this placeholder.
        "i": "255.255.255.255",
        "h": host,
        "s": server_of(row.user_id),
        "n": session.names.nick(row.user_id),
        "f": row.flags,
        "d": "0",
        "l": "0",
        "a": session.names.account(row.user_id) or "0",
        "o": "n/a",
        "r": row.realname,
    }
    return [words[letter] for letter in WHOX_ORDER if letter in fields]


def _shared(session: IrcSession, user_id: UserId) -> list[Channel]:
    """Our channels that the user is in."""
    return [channel for channel in session.channels.values() if not channel.direct and user_id in channel.room.joined()]


@command("WHOIS", cost=2, spec="RFC2812 3.6.2")
async def whois(session: IrcSession, line: Line) -> None:
    """WHOIS [<server>] <nick>{,<nick>}."""
    if line.param(1) and await session.network.find_user(line.params[0]) is None:
        check_server(session, line.param(0))
    nicks = list(dict.fromkeys(nick for nick in (line.param(1) or line.param(0)).split(",") if nick))
    if not nicks:
        raise IrcRefused(n.ERR_NONICKNAMEGIVEN, "No nickname given")
    for nick in nicks[:MAX_TARGETS]:
        user_id = await session.network.find_user(nick)
        if (service := service_named(nick)) is not None:
            _whois_service(session, service)
        elif user_id is None:
            session.numeric(n.ERR_NOSUCHNICK, echo(nick), Refusal.NO_SUCH_USER.value)
        else:
            await _whois_one(session, user_id)
        session.numeric(n.RPL_ENDOFWHOIS, echo(nick), "End of /WHOIS list")
    if len(nicks) > MAX_TARGETS:
        raise IrcRefused(n.ERR_TOOMANYTARGETS, echo(nicks[MAX_TARGETS]), "Too many targets")


def _whois_service(session: IrcSession, name: str) -> None:
    """Services are nobody, but people look at whom they write to."""
    server = session.names.server
    session.numeric(n.RPL_WHOISUSER, name, name, f"services.{server}", "*", f"{name} {ABOUT[name]}")
    session.numeric(n.RPL_WHOISSERVER, name, server, session.network.title)
    session.numeric(n.RPL_WHOISSPECIAL, name, f"is a service of this server: /msg {name} HELP")


async def _whois_one(session: IrcSession, user_id: UserId) -> None:
    names = session.names
    nick = names.nick(user_id)
    user, host = names.username_and_host(user_id)
    session.numeric(n.RPL_WHOISUSER, nick, user, host, "*", await session.network.realname(user_id))
    shared = _shared(session, user_id)
    multi = "multi-prefix" in session.caps
    for words in in_lines((prefix(shown_rank(c.room, user_id), multi=multi) + c.name for c in shared), " "):
        session.numeric(n.RPL_WHOISCHANNELS, nick, words)
    home = server_of(user_id)
    title = session.network.title if home == names.server else "another server"
    session.numeric(n.RPL_WHOISSERVER, nick, home, title)
    who = names.who(user_id)
    live = list(session.network.sessions.of(user_id))
    operator = next((other.operator for other in live if other.operator is not None), None)
    if operator is not None:
        session.numeric(n.RPL_WHOISOPERATOR, nick, operator.title)
    if who.bot:
        session.numeric(n.RPL_WHOISBOT, nick, f"is a bot on {session.network.title}")
    account = who.account
    if account is not None:
        session.numeric(n.RPL_WHOISACCOUNT, nick, account, "is logged in as")
    # spec: docs/mapping.md 17.4: who somebody is on the other protocols.
    session.numeric(n.RPL_WHOISSPECIAL, nick, f"is {one_line(user_id)}")
    presence = session.reader.presence(user_id)
    away = away_text(presence.presence, presence.status_msg)
    if away is not None:
        session.numeric(n.RPL_AWAY, nick, away)
    if live and (user_id == session.user_id or session.has(Privilege.LOOK)):
        _whois_connections(session, nick, live)
    if live:
        now = session.network.now_ms()
        idle = (now - max(other.active_ts_ms for other in live)) // 1000
        since = min(other.connected_ts_ms for other in live) // 1000
        session.numeric(n.RPL_WHOISIDLE, nick, str(idle), str(since), "seconds idle, signon time")
        if all(other.secure for other in live):
            session.numeric(n.RPL_WHOISSECURE, nick, "is using a secure connection")


def _whois_connections(session: IrcSession, nick: str, live: list[IrcSession]) -> None:
    """What only the user and operators see: where the connections come from, and what they have shown.

    spec: docs/mapping.md 17.4
    """
    for place in dict.fromkeys(place for other in live for place in (other.negotiation.hostname, other.address)):
        if place is not None:
            session.numeric(n.RPL_WHOISACTUALLY, nick, as_word(place), "is actually using host")
    for shown in dict.fromkeys(other.negotiation.certificate for other in live if other.negotiation.certificate):
        session.numeric(n.RPL_WHOISCERTFP, nick, f"has client certificate fingerprint {shown}")
    for gateway in dict.fromkeys(other.negotiation.gateway for other in live if other.negotiation.gateway):
        session.numeric(n.RPL_WHOISSPECIAL, nick, f"is connected by the web gateway {gateway}")
    for ident in dict.fromkeys(other.negotiation.ident for other in live if other.negotiation.ident):
        session.numeric(n.RPL_WHOISSPECIAL, nick, f"is called {ident} by their machine")
    modes = "".join(sorted({letter for other in live for letter in other.modes} | {"i"}))
    session.numeric(n.RPL_WHOISMODES, nick, f"is using modes +{modes}")


@command("AWAY", spec="RFC2812 4.1, IRCv3 away-notify")
async def away(session: IrcSession, line: Line) -> None:
    """AWAY [:<text>]: be away, for this reason; without one, be back.  spec: docs/mapping.md 13.6"""
    session.away = cut(one_line(line.param(0)), AWAYLEN) or None
    session.network.presence.set(session.user_id, session.id, *session.presence)
    if session.away:
        session.numeric(n.RPL_NOWAWAY, "You have been marked as being away")
    else:
        session.numeric(n.RPL_UNAWAY, "You are no longer marked as being away")


@command("SETNAME", min_params=1, cost=2, spec="IRCv3 setname")
async def setname(session: IrcSession, line: Line) -> None:
    """SETNAME :<realname>: what you are called everywhere; of a guest, what WHOIS says of it.

    spec: docs/mapping.md 2.3. Who has not asked for the capability is not answered, as of old (setname).
    """
    name = line.params[0].strip()
    if not name:
        raise Failed("INVALID_REALNAME", text="A display name cannot be empty")
    if len(name.encode()) > NAMELEN:
        raise Failed("INVALID_REALNAME", text=f"A real name has at most {NAMELEN} bytes")
    session.changing_metadata = NAME
    try:
        if session.account.guest:
            _rename_guest(session, name)
        else:
            wish = SetProfile(actor=session.user_id, field="displayname", value=name, origin=session.origin())
            await session.do(wish)
    finally:
        session.changing_metadata = None


def _rename_guest(session: IrcSession, name: str) -> None:
    """A guest's display name is its nick (docs/mapping.md 1.9): its real name is known to IRC alone."""
    if (ban := session.accounts.bans.of_visitor(visitor_of(session)._replace(realname=name))) is not None:
        raise Failed("CANNOT_CHANGE_REALNAME", text=banned_text(ban))
    session.negotiation.realname = name
    session.names.set_realname(session.user_id, name)
    session.network.tell_realname(session.user_id, name)


@command("USERHOST", min_params=1, spec="RFC2812 4.8")
async def userhost(session: IrcSession, line: Line) -> None:
    """USERHOST <nick>{ <nick>}, at most five."""
    words = []
    for nick in line.params[:5]:
        user_id = await session.network.find_user(nick)
        if user_id is not None:
            user, host = session.names.username_and_host(user_id)
            here = session.reader.presence(user_id).presence == "online"
            operator = "*" if session.names.who(user_id).operator else ""
            words.append(f"{session.names.nick(user_id)}{operator}={'+' if here else '-'}{user}@{host}")
    session.numeric(n.RPL_USERHOST, " ".join(words))


@command("ISON", min_params=1, spec="RFC2812 4.9")
async def ison(session: IrcSession, line: Line) -> None:
    """ISON <nick>{ <nick>}: those of them who are here. Of a remote user whose presence is not known: not here."""
    here = []
    for nick in [nick for word in line.params for nick in word.split()][:MAX_ISON]:
        if (service := service_named(nick)) is not None:
            here.append(service)
            continue
        user_id = await session.network.find_user(nick)
        if user_id is not None and session.reader.presence(user_id).presence != "offline":
            here.append(session.names.nick(user_id))
    session.numeric(n.RPL_ISON, " ".join(dict.fromkeys(here)))
