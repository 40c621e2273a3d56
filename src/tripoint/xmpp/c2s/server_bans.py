"""Bans of the server by forms, for its administrators: the same as KLINE, DLINE and XLINE on IRC.

spec: XEP-0050; docs/mapping.md 9.4, 18.1.  Read next: tripoint/accounts/server_bans.py.
"""

from datetime import UTC, datetime
from typing import Final

from tripoint.core.server_bans import (
    BanIndex,
    BanKind,
    BanRefused,
    ServerBan,
    Visitor,
    parse_ban,
    parse_duration,
)
from tripoint.core.vendor import NS
from tripoint.xmpp.adhoc import Ask, Fields, Told, adhoc, field, one
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.session import XmppSession

NODE: Final = NS + "#bans"
MAX_REASON: Final = 200
_ACTIONS = (("list", "Show them"), ("add", "Set one"), ("remove", "Take one off"))
_KINDS = (
    ("k", "Accounts and guests (name@where)"),
    ("d", "Addresses and networks"),
    ("x", "Real names on IRC"),
)


@adhoc(NODE, "Bans of the server", at=At.SERVER, spec="docs/mapping.md 9.4")
async def bans(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Show, set or take off what keeps somebody out of all protocols."""
    if not session.account.admin:
        raise Problem("forbidden", "This is for administrators of the server")
    if fields is None:
        return Ask(
            "Bans of the server",
            field("action", "list-single", "What to do", "list", _ACTIONS)
            + field("kind", "list-single", "Of which kind", "k", _KINDS)
            + field("mask", "text-single", "Whom")
            + field("duration", "text-single", "For how long (30m, 12h, 7d; empty: for ever)")
            + field("reason", "text-single", "Why"),
        )
    kind, action = _kind(one(fields, "kind") or "k"), one(fields, "action") or "list"
    listed = session.doors.accounts.bans
    if action == "list":
        columns = (("mask", "Whom"), ("until", "Until"), ("by", "Set by"), ("reason", "Why"))
        rows = [(ban.mask, _until(ban), ban.setter, ban.reason) for ban in listed.listed(kind)]
        return Told("" if rows else "There are none", "Bans of the server", columns, rows)
    try:
        mask = parse_ban(kind, one(fields, "mask"))
    except BanRefused as refused:
        raise Problem("not-acceptable", refused.reason) from None
    if action == "remove":
        if not await listed.drop(kind, mask):
            raise Problem("item-not-found", "There is no such ban")
        return Told(f"{mask} is off")
    if action != "add":
        raise Problem("bad-request", "Either show them, set one, or take one off")
    await listed.put(_new(session, kind, mask, fields))
    return Told(f"{mask} is banned")


def _kind(word: str) -> BanKind:
    try:
        return BanKind(word)
    except ValueError:
        raise Problem("bad-request", "There is no such kind of ban") from None


def _new(session: XmppSession, kind: BanKind, mask: str, fields: Fields) -> ServerBan:
    wish = one(fields, "duration")
    seconds = parse_duration(wish) if wish else 0
    if seconds is None:
        raise Problem("not-acceptable", "A duration is like 30m, 12h or 7d; a plain number is minutes")
    now = session.doors.now_ms()
    until = now + seconds * 1000 if seconds else None
    ban = ServerBan(kind, mask, one(fields, "reason")[:MAX_REASON], session.user_id, now, until)
    if BanIndex((ban,)).of_visitor(Visitor(session.address, (session.account.name,)), now) is not None:
        raise Problem("not-acceptable", "That would ban yourself")
    return ban


def _until(ban: ServerBan) -> str:
    """spec: XEP-0082 3.2"""
    if ban.expires_ts_ms is None:
        return "for ever"
    return f"{datetime.fromtimestamp(ban.expires_ts_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
