"""Bans from the server as IRC operators write them: masks, durations, reasons; who would meet them.

Commands and OperServ share this.  spec: docs/mapping.md 9.4, 18.4.  Read next: tripoint/core/server_bans.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import structlog

from tripoint.core.ids import server_of
from tripoint.core.server_bans import (
    BanIndex,
    BanKind,
    BanRefused,
    ServerBan,
    Visitor,
    parse_ban,
    parse_duration,
)
from tripoint.irc import numerics as n
from tripoint.irc.operators import Notice
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.session import IrcSession, echo

log = structlog.get_logger()

MAX_REASON = 200
NAMES = {BanKind.KLINE: "K-line", BanKind.DLINE: "D-line", BanKind.XLINE: "X-line"}
NUMERICS = {BanKind.KLINE: n.RPL_STATSKLINE, BanKind.DLINE: n.RPL_STATSDLINE, BanKind.XLINE: n.RPL_STATSXLINE}


def visitor_of(session: IrcSession) -> Visitor:
    """A session as bans see it."""
    negotiation = session.negotiation
    hosts = [negotiation.hostname]
    if session.account.guest:
        hosts.append(session.names.own_host(session.user_id))
    names = [session.account.name, session.nick, negotiation.username]
    if negotiation.ident is not None:
        names.append(negotiation.ident)
    return Visitor(
        session.address,
        names if session.account.guest else names[:1],
        [host for host in hosts if host is not None],
        negotiation.realname,
    )


def split_ban(words: tuple[str, ...]) -> tuple[int, str, str]:
    """``[<duration>] <mask> [:<reason>]``: (seconds, 0 for ever; mask; reason). Pure. Raises Failed."""
    rest = list(words)
    seconds = parse_duration(rest[0]) if len(rest) > 1 else None
    if seconds is not None:
        rest.pop(0)
    elif len(rest) > 1 and rest[0].removeprefix("-").isdecimal():
        raise Failed("INVALID_PARAMS", echo(rest[0]), text="A duration is like 30m, 12h, 7d; a plain number is minutes")
    if not rest or not rest[0]:
        raise Failed("INVALID_PARAMS", text="A mask is needed")
    return seconds or 0, rest[0], " ".join(rest[1:]).strip()[:MAX_REASON]


async def mask_of(session: IrcSession, kind: BanKind, text: str) -> str:
    """The mask that is meant: a nick stands for the account, or for the address that a guest comes from."""
    if kind is BanKind.KLINE and text and not set(text) & set("@!*?"):
        user_id = await session.network.find_user(text)
        if user_id is None:
            raise IrcRefused(n.ERR_NOSUCHNICK, echo(text), "There is no such user; a mask has an @ in it")
        if server_of(user_id) != session.names.server:
            why = "They are of another server: channels keep them out, by MODE +b"
            raise Failed("INVALID_PARAMS", echo(text), text=why)
        host = session.names.own_host(user_id) if session.names.is_our_guest(user_id) else None
        text = f"*@{host}" if host is not None else f"{user_id[1:].partition(':')[0]}@*"
    try:
        return parse_ban(kind, text)
    except BanRefused as refused:
        raise Failed("INVALID_PARAMS", echo(text), text=refused.reason) from None


async def set_ban(session: IrcSession, kind: BanKind, words: tuple[str, ...]) -> str:
    """Set a ban and say so to operators; what was done, for who did it. Raises Failed, IrcRefused, AccountRefused."""
    seconds, text, reason = split_ban(words)
    mask = await mask_of(session, kind, text)
    now = session.network.now_ms()
    until = now + seconds * 1000 if seconds else None
    ban = ServerBan(kind, mask, reason, session.user_id, now, until)
    if BanIndex((ban,)).of_visitor(visitor_of(session), now) is not None:
        raise Failed("INVALID_PARAMS", echo(mask), text="That would ban yourself")
    met = len(list(_meeting(session, ban)))
    await session.accounts.bans.put(ban)
    log.info("irc.server_ban", kind=kind.name, mask=mask, by=session.account.name, until_ms=until)
    what = f"{NAMES[kind]} on {mask}, {until_text(until)}"
    session.network.notify(Notice.BANS, f"{session.mask} banned: {what} ({reason or 'no reason'}); {met} on IRC met it")
    return f"{what}; {met} connected on IRC met it"


def _meeting(session: IrcSession, ban: ServerBan) -> Iterator[IrcSession]:
    index = BanIndex((ban,))
    for other in session.network.sessions:
        if index.of_visitor(visitor_of(other), ban.created_ts_ms) is not None:
            yield other


async def drop_ban(session: IrcSession, kind: BanKind, text: str) -> str:
    """Take a ban off; what was done. Raises Failed where there is none."""
    try:
        mask = parse_ban(kind, text)
    except BanRefused:
        mask = text
    if not await session.accounts.bans.drop(kind, mask):
        raise Failed("INVALID_PARAMS", echo(text), text=f"There is no {NAMES[kind]} on that")
    log.info("irc.server_ban_dropped", kind=kind.name, mask=mask, by=session.account.name)
    session.network.notify(Notice.BANS, f"{session.mask} took the {NAMES[kind]} on {mask} off")
    return f"The {NAMES[kind]} on {mask} is off"


def until_text(until_ms: int | None) -> str:
    """When a ban ends."""
    if until_ms is None:
        return "for ever"
    return f"until {datetime.fromtimestamp(until_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def ban_lines(session: IrcSession, kind: BanKind) -> Iterator[tuple[str, str]]:
    """(mask, words) of every ban that holds."""
    for ban in session.accounts.bans.listed(kind):
        setter = session.names.nick(session.accounts.user_id(ban.setter[1:].partition(":")[0]))
        yield ban.mask, f"{until_text(ban.expires_ts_ms)}, by {setter}: {ban.reason or 'no reason'}"
