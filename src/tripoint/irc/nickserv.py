"""NickServ: one's account: made, logged into, its password, its sessions.

spec: docs/mapping.md 4, 18.1, 19; IRCv3 account-registration for the same over REGISTER.
"""

from __future__ import annotations

from tripoint.core.terms import all_of
from tripoint.irc.connection import NEEDS_TLS
from tripoint.irc.identify import log_in_as, register_as
from tripoint.irc.services import Request, help_lines, service_command
from tripoint.irc.tables import fold
from tripoint.rooms.commands import AllowInvites, OpenDirect

_E2EE = (
    "Encrypted rooms can only be read in a client that holds the keys, which this server does not.",
    "Open them in a Matrix client with the same account; you stay a member while you are here.",
)
_SPACES = "A password with spaces cannot be told from what stands beside it here: "
MAX_SHOWN = 50


@service_command("NickServ", "HELP", "[E2EE|<command>]: what I know; about encrypted rooms")
async def help_(request: Request) -> None:
    """HELP, and HELP E2EE."""
    subject = request.word(0)
    lines = _E2EE if subject.upper() == "E2EE" else help_lines(request.session, "NickServ", subject)
    for line in lines:
        request.say(line)


@service_command(
    "NickServ", "REGISTER", "<password> [<email>]: make an account of your present nick", min_words=1, here=True
)
async def register(request: Request) -> None:
    """REGISTER <password> [<email>]."""
    session = request.session
    if not session.passwords_allowed:
        request.say(NEEDS_TLS)
        return
    if not session.account.guest:
        request.say(f"You are logged in as {session.account.name} already")
        return
    if len(request.words) > 2 or (len(request.words) == 2 and "@" not in request.word(1)):
        request.say(_SPACES + "choose another one, or make the account with /REGISTER")
        return
    # Said at the end: in between the client is neither called what it was, nor what it will be.
    await register_as(session, fold(session.nick), request.word(0), lambda account: None)
    request.say(f"Account {session.account.name} is made, and you are logged in")


@service_command(
    "NickServ", "TERMS", "[ACCEPT]: what there is to read and accept before an account is made", here=True
)
async def terms(request: Request) -> None:
    """TERMS; TERMS ACCEPT. What was accepted counts for accounts made over this connection, and for the account that
    one is logged in to where it is asked (docs/mapping.md 18.1)."""
    session, wanted = request.session, request.session.accounts.terms
    if not wanted:
        request.say("There is nothing to accept here")
        return
    if request.word(0).upper() == "ACCEPT" and session.presented == all_of(wanted):
        session.accepted = session.presented
        if await session.accounts.consents.lacking(session.user_id):
            await session.accounts.consents.accept(session.user_id, session.accepted)
            request.say("You have accepted that")
        else:
            request.say("You have accepted that; REGISTER makes an account")
        return
    for one in wanted:
        text = one.text_for()
        request.say(f"{text.name}, version {one.version}: {text.url}")
    session.presented = all_of(wanted)
    request.say("If you have read and accept that: /msg NickServ TERMS ACCEPT")


@service_command("NickServ", "IDENTIFY", "[<account>] <password>: log in", min_words=1, here=True)
async def identify(request: Request) -> None:
    """IDENTIFY [<account>] <password>. Behind an account everything is the password, with its spaces."""
    session = request.session
    if not session.passwords_allowed:
        request.say(NEEDS_TLS)
        return
    first, _, others = request.rest.partition(" ")
    name, password = (first, others) if others else (session.nick, first)
    let_in = await session.accounts.check_login(fold(name), password, address=session.address)
    account = let_in.account
    if account.user_id == session.user_id:
        request.say("You are logged in already")
        return
    await log_in_as(session, account)
    session.let_in_by = let_in.device_id
    request.say(f"You are now logged in as {account.name}")


@service_command("NickServ", "PASSWD", "<old password> <new password>: change your password", min_words=2)
async def change_password(request: Request) -> None:
    """PASSWD <old> <new>. Other sessions end (docs/mapping.md 18.2)."""
    session = request.session
    if session.account.guest:
        request.say("You have no account here; REGISTER makes one")
        return
    if not session.passwords_allowed:
        request.say(NEEDS_TLS)
        return
    if len(request.words) != 2:
        request.say(_SPACES + "change it in a client of another protocol, or to one without spaces first")
        return
    await session.accounts.check_password(session.account.name, request.word(0), address=session.address)
    await session.accounts.change_password(session.user_id, request.word(1), keep_device=session.device_id)
    request.say("Your password is changed; your other sessions have ended")


@service_command("NickServ", "SET", "INVITES ON|OFF: take invitations, or refuse and hide them all", min_words=2)
async def set_(request: Request) -> None:
    """SET INVITES ON|OFF.  spec: docs/mapping.md 16.4"""
    session, what, wish = request.session, request.word(0).upper(), request.word(1).upper()
    if session.account.guest:
        request.say("You have no account here; REGISTER makes one")
    elif what != "INVITES" or wish not in ("ON", "OFF"):
        request.say("What can be set is INVITES, ON or OFF")
    else:
        await session.do(AllowInvites(actor=session.user_id, allowed=wish == "ON"))
        request.say("You take invitations" if wish == "ON" else "You take no invitations now")


@service_command("NickServ", "PLAINDM", "<nick>: open an unencrypted conversation beside an encrypted one", min_words=1)
async def plain_direct(request: Request) -> None:
    """PLAINDM <nick>.  spec: docs/mapping.md 15.4"""
    session = request.session
    target = await session.user_named(request.word(0))
    await session.do(OpenDirect(actor=session.user_id, target=target, plain=True))
    nick = session.names.nick(target)
    request.say(f"What you write to {nick} from now on goes into an unencrypted conversation")


@service_command("NickServ", "SESSIONS", "[END <id>]: show your sessions, or end one")
async def sessions(request: Request) -> None:
    """SESSIONS; SESSIONS END <id>: the devices of the account (docs/mapping.md 4)."""
    session = request.session
    if session.account.guest:
        request.say("You have no account here; this is your only session")
        return
    devices = await session.accounts.devices(session.user_id)
    if request.word(0).upper() == "END":
        wanted = request.word(1)
        if wanted not in {device.device_id for device in devices}:
            request.say("You have no such session; SESSIONS lists them")
            return
        await session.accounts.log_out(session.user_id, [wanted], reason="Ended by yourself")
        request.say(f"Session {wanted} has ended")
        return
    if request.word(0):
        request.say("SESSIONS shows your sessions, and SESSIONS END <id> ends one")
        return
    for device in devices[:MAX_SHOWN]:
        here = " (this one)" if device.device_id == session.device_id else ""
        shown = {
            live.negotiation.certificate
            for live in session.network.sessions.of(session.user_id)
            if live.device_id == device.device_id and live.negotiation.certificate
        }
        with_ = f", with certificate {' and '.join(sorted(shown))}" if shown else ""
        request.say(f"{device.device_id}: {device.display_name or device.protocol}{here}{with_}")
    request.say(f"End of sessions ({len(devices)})")
