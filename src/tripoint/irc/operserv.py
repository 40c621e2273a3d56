"""OperServ: what operators do to the server, as words to somebody who is not there.

The same as the commands of commands/operators.py and commands/server_bans.py, which clients without an alias for them
find easier to send so.  spec: docs/mapping.md 9.4, 18.1, 18.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.accounts.greetings import Greeting, TooLong
from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.registration_tokens import token_line
from tripoint.accounts.reports import report_line
from tripoint.core.errors import PeerError
from tripoint.core.ids import EventId
from tripoint.core.server_bans import BanKind, parse_duration
from tripoint.irc.banning import NAMES, ban_lines, drop_ban, set_ban
from tripoint.irc.commands.operators import kill_user
from tripoint.irc.operators import Notice, Privilege
from tripoint.irc.render import Outgoing, fitted
from tripoint.irc.services import Request, service_command
from tripoint.irc.session import echo
from tripoint.irc.tables import fold
from tripoint.rooms.commands import Report, SendNotice

MAX_REPORTS = 30
_HOW = "ADD [<duration>] <mask> [<reason>] | DEL <mask> | LIST"


async def _ban(request: Request, kind: BanKind) -> None:
    session, action, words = request.session, request.word(0).upper(), request.words[1:]
    if action == "ADD" and words:
        request.say(await set_ban(session, kind, words))
    elif action == "DEL" and words:
        request.say(await drop_ban(session, kind, " ".join(words)))
    elif action == "LIST":
        listed = list(ban_lines(session, kind))
        for mask, text in listed:
            request.say(f"{mask}: {text}")
        request.say(f"End of {NAMES[kind]}s ({len(listed)})")
    else:
        request.say(f"Say what to do: {_HOW}")


@service_command("OperServ", "KLINE", f"{_HOW}: keep accounts and guests out", min_words=1, privilege=Privilege.BAN)
async def kline(request: Request) -> None:
    """KLINE."""
    await _ban(request, BanKind.KLINE)


@service_command("OperServ", "DLINE", f"{_HOW}: take no connections from there", min_words=1, privilege=Privilege.BAN)
async def dline(request: Request) -> None:
    """DLINE."""
    await _ban(request, BanKind.DLINE)


@service_command("OperServ", "XLINE", f"{_HOW}: keep such real names out", min_words=1, privilege=Privilege.BAN)
async def xline(request: Request) -> None:
    """XLINE."""
    await _ban(request, BanKind.XLINE)


@service_command(
    "OperServ", "KILL", "<nick> <reason>: close somebody's connections", min_words=2, privilege=Privilege.KILL
)
async def kill(request: Request) -> None:
    """KILL."""
    nick, _, reason = request.rest.partition(" ")
    await kill_user(request.session, await request.session.user_named(nick), echo(nick), reason.strip())
    request.say(f"The connections of {nick} are closed")


@service_command(
    "OperServ", "REPORT", "<msgid>|<nick>|<channel> [<reason>]: tell the administrators of it", min_words=1
)
async def report(request: Request) -> None:
    """REPORT.  spec: docs/mapping.md 9.13"""
    session, word = request.session, request.word(0)
    reason = request.rest.partition(" ")[2].strip()
    if word.startswith("$"):
        command = Report(actor=session.user_id, event_ids=(EventId(word),), reason=reason)
    elif word.startswith("#"):
        command = Report(actor=session.user_id, room_id=await session.room_named(word), reason=reason)
    else:
        command = Report(actor=session.user_id, target=await session.user_named(word), reason=reason)
    await session.do(command)
    request.say("The administrators are told")


async def _account(request: Request) -> Account:
    """The account that a request names, if an operator may do something to it."""
    accounts = request.session.accounts
    account = await accounts.account(accounts.user_id(fold(request.word(0))))
    if account is None or account.guest or account.deactivated:
        raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
    if account.admin:
        raise PeerError(f"{account.name} is an administrator")
    return account


@service_command(
    "OperServ",
    "SUSPEND",
    "<account> [OFF]: it can read and leave rooms, and nothing else",
    min_words=1,
    privilege=Privilege.BAN,
)
async def suspend(request: Request) -> None:
    """SUSPEND.  spec: docs/mapping.md 18.3"""
    account, on = await _account(request), request.word(1).upper() != "OFF"
    await request.session.accounts.set_suspended(account.user_id, on)
    request.session.network.notify(Notice.BANS, f"{request.session.mask} {'' if on else 'un'}suspended {account.name}")
    request.say(f"{account.name} is {'suspended' if on else 'not suspended any more'}")


@service_command(
    "OperServ", "LOCK", "<account> [OFF]: nobody gets in with it", min_words=1, privilege=Privilege.BAN
)
async def lock(request: Request) -> None:
    """LOCK.  spec: docs/mapping.md 18.3"""
    account, on = await _account(request), request.word(1).upper() != "OFF"
    await request.session.accounts.set_locked(account.user_id, on)
    request.session.network.notify(Notice.BANS, f"{request.session.mask} {'' if on else 'un'}locked {account.name}")
    request.say(f"{account.name} is {'locked' if on else 'not locked any more'}")


@service_command(
    "OperServ",
    "REPORTS",
    "[DONE <number>]: what people reported, and that one was dealt with",
    privilege=Privilege.REPORTS,
)
async def reports(request: Request) -> None:
    """REPORTS.  spec: docs/mapping.md 9.13"""
    session = request.session
    if request.word(0).upper() == "DONE":
        if not request.word(1).isascii() or not request.word(1).isdecimal():
            request.say("Which one? REPORTS shows their numbers")
            return
        done = await session.accounts.reports.done(int(request.word(1)[:18]))
        request.say(f"Report {request.word(1)} is dealt with" if done else "There is no such report")
        return
    waiting = await session.accounts.reports.waiting(MAX_REPORTS)
    for one in waiting:
        request.say(report_line(one))
    request.say(f"End of reports ({len(waiting)})")


_INVITE = "ADD [<uses>|*] [<duration>] [<token>] | DEL <token> | LIST"


@service_command(
    "OperServ",
    "INVITE",
    f"{_INVITE}: registration tokens, with which accounts are made",
    min_words=1,
    privilege=Privilege.INVITE,
)
async def invite(request: Request) -> None:
    """INVITE.  spec: Matrix client-server-api token-authenticated-registration; docs/mapping.md 18.1"""
    session, words = request.session, request.words[1:]
    tokens = session.accounts.registration_tokens
    match request.word(0).upper():
        case "ADD":
            uses, life_s, name = _invitation(words)
            token = await tokens.add(name, uses, life_s)
            [row] = [one for one in await tokens.listed() if one.token == token]
            request.say(f"Whoever has this makes an account: {token_line(row, session.network.now_ms())}")
        case "DEL" if words:
            gone = await tokens.drop(words[0])
            request.say(f"Nobody can use {words[0]} any more" if gone else "There is no such token")
        case "LIST":
            listed = await tokens.listed()
            for row in listed:
                request.say(token_line(row, session.network.now_ms()))
            request.say(f"End of tokens ({len(listed)})")
        case _:
            request.say(f"Say what to do: {_INVITE}")


def _invitation(words: Sequence[str]) -> tuple[int | None, int | None, str | None]:
    """Uses (None: any number), seconds (None: for ever) and name (None: made up) of a new token; once and for thirty
    days where nothing is said."""
    rest = list(words)
    uses: int | None = 1
    if rest and (rest[0] == "*" or (rest[0].isascii() and rest[0].isdecimal() and len(rest[0]) <= 6)):
        first = rest.pop(0)
        uses = None if first == "*" else max(1, int(first))
    life_s: int | None = 30 * 86_400
    given = parse_duration(rest[0]) if rest else None
    if given is not None:
        life_s = given or None
        rest.pop(0)
    return uses, life_s, rest[0] if rest else None


@service_command(
    "OperServ",
    "NOTICE",
    "<account> <text>: the server tells them, on whichever protocol they come next",
    min_words=2,
    privilege=Privilege.MASS,
)
async def notice(request: Request) -> None:
    """NOTICE.  spec: docs/mapping.md 10.13"""
    session, text = request.session, request.rest.partition(" ")[2].strip()
    account = await session.accounts.account(session.names.local_user(request.word(0)))
    if account is None:
        raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
    await session.do(SendNotice(actor=session.user_id, target=account.user_id, text=text))
    session.network.notify(Notice.FORCED, f"{session.mask} had {account.name} told something")
    request.say(f"{account.name} is told")


@service_command(
    "OperServ", "GLOBAL", "<text>: a notice to everybody who is on IRC now", min_words=1, privilege=Privilege.MASS
)
async def global_(request: Request) -> None:
    """GLOBAL."""
    session, text = request.session, request.rest
    network, server = session.network, session.names.server
    source = f":OperServ!OperServ@services.{server}"
    others = [other for other in network.sessions if other is not session]
    for other in others:
        other.tell(Outgoing([fitted(f"{source} NOTICE {other.nick}", text)], ts_ms=network.now_ms()))
    network.notify(Notice.FORCED, f"{session.mask} said to everybody: {text}")
    request.say(f"Said to {len(others)} on IRC")


_GREETING = "SHOW | SET <text> | OFF | RESET"


async def _greet(request: Request, which: Greeting) -> None:
    greetings, action = request.session.accounts.greetings, request.word(0).upper()
    text = request.rest.partition(" ")[2].strip()
    if action == "SET" and text:
        try:
            # A line of IRC holds no end of a line: \\n is one.
            await greetings.put(which, text.replace("\\n", "\n"))
        except TooLong as error:
            request.say(str(error))
            return
    elif action == "OFF":
        await greetings.put(which, "")
    elif action == "RESET":
        await greetings.put(which, None)
    elif action != "SHOW":
        request.say(f"Say what to do: {_GREETING}")
        return
    present = greetings.text(which)
    if present is None:
        request.say("Nothing is set: it is as the configuration says")
    for line in (present or "").splitlines():
        request.say(line)
    if present == "":
        request.say("Nothing is said")


@service_command(
    "OperServ",
    "MOTD",
    f"{_GREETING}: the message of the day, in the place of the configuration's; \\n ends a line",
    min_words=1,
    privilege=Privilege.MASS,
)
async def motd(request: Request) -> None:
    """MOTD.  spec: docs/mapping.md 10.15"""
    await _greet(request, Greeting.MOTD)


@service_command(
    "OperServ",
    "WELCOME",
    f"{_GREETING}: what every new account is told; \\n ends a line",
    min_words=1,
    privilege=Privilege.MASS,
)
async def welcome(request: Request) -> None:
    """WELCOME.  spec: docs/mapping.md 10.15"""
    await _greet(request, Greeting.WELCOME)
