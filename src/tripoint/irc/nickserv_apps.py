"""NickServ APPPASS: passwords for single clients, on IRC and XMPP alike.

spec: docs/mapping.md 18.2.  What they are is tripoint/accounts/app_passwords.py's.
"""

from __future__ import annotations

from tripoint.irc.connection import NEEDS_TLS
from tripoint.irc.services import Request, service_command

_USAGE = "APPPASS ADD <name>, APPPASS DEL <id> and APPPASS LIST is what I know"


@service_command("NickServ", "APPPASS", "ADD <name>|DEL <id>|LIST: passwords for single clients", min_words=1)
async def app_passwords(request: Request) -> None:
    """APPPASS ADD <name>; APPPASS DEL <id>; APPPASS LIST. The id is that of SESSIONS."""
    session = request.session
    if session.account.guest:
        request.say("You have no account here; REGISTER makes one")
        return
    what, name = request.word(0).upper(), " ".join(request.words[1:])
    known = session.accounts.app_passwords
    if what == "LIST":
        mine = await known.of(session.user_id)
        for app in mine:
            request.say(f"{app.device_id}: {app.name}")
        request.say(f"End of app passwords ({len(mine)})")
    elif what == "ADD" and name and not session.passwords_allowed:
        request.say(NEEDS_TLS)
    elif what == "ADD" and name:
        password = await known.add(session.user_id, name)
        request.say(f"The password for {name}, which is shown this once: {password}")
        request.say("It lets in on IRC and XMPP, and ends with its session (SESSIONS) or with your password")
    elif what == "DEL" and name:
        if name not in {app.device_id for app in await known.of(session.user_id)}:
            request.say("You have no such app password; APPPASS LIST shows them")
            return
        await session.accounts.log_out(session.user_id, [name], reason="Its password was taken away")
        request.say(f"{name} is good no more, and its sessions have ended")
    else:
        request.say(_USAGE)
