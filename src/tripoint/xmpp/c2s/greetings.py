"""The message of the day and the welcome: how administrators set them, and how who comes is told the first.

spec: XEP-0133 4.24-4.28; docs/mapping.md 10.15. What they are is accounts/greetings.py's.
"""

from typing import Final

from tripoint.accounts.greetings import Greeting, TooLong
from tripoint.xmpp.adhoc import Ask, Fields, Handle, Told
from tripoint.xmpp.c2s.administration import NS, TYPE, command
from tripoint.xmpp.forms import FORM_TYPE
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import body, room_message
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.wire import escape_text

_MOTD: Final = "Message of the day"
_WELCOME: Final = "Welcome of new accounts"


def _form(title: str, which: Greeting, text: str) -> Ask:
    values = "".join([f"<value>{escape_text(line)}</value>" for line in text.splitlines()])
    field = f"<field var='{which.value}' type='text-multi' label='{title}'><required/>{values}</field>"
    return Ask(title, TYPE + field)


def _setting(which: Greeting, title: str, *, shown: bool) -> Handle:
    async def put(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
        """Set it; the form shows what there is (`shown`)."""
        greetings = session.doors.accounts.greetings
        if fields is None:
            return _form(title, which, (greetings.text(which) or "") if shown else "")
        if fields.get(FORM_TYPE, [NS]) != [NS]:
            raise Problem("bad-request", f"The form is not of the type {NS}")
        text = "\n".join(fields.get(which.value, ())).strip()
        if not text:
            raise Problem("not-acceptable", "Say something, or delete it")
        try:
            await greetings.put(which, text)
        except TooLong as error:
            raise Problem("not-acceptable", str(error)) from None
        return Told()

    return put


def _deleting(which: Greeting) -> Handle:
    async def delete(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
        """There is none, whatever the configuration says."""
        await session.doors.accounts.greetings.put(which, "")
        return Told()

    return delete


command(f"{NS}#set-motd", "Set the message of the day", spec="XEP-0133 4.24")(
    _setting(Greeting.MOTD, _MOTD, shown=False)
)
command(f"{NS}#edit-motd", "Edit the message of the day", spec="XEP-0133 4.25")(
    _setting(Greeting.MOTD, _MOTD, shown=True)
)
command(f"{NS}#delete-motd", "Delete the message of the day", spec="XEP-0133 4.26")(_deleting(Greeting.MOTD))
command(f"{NS}#set-welcome", "Set the welcome of new accounts", spec="XEP-0133 4.27")(
    _setting(Greeting.WELCOME, _WELCOME, shown=True)
)
command(f"{NS}#delete-welcome", "Delete the welcome of new accounts", spec="XEP-0133 4.28")(
    _deleting(Greeting.WELCOME)
)


async def show_motd(session: XmppSession) -> None:
    """Tell a client that has come the message of the day, if its account was not told it. spec: XEP-0133 4.24"""
    greetings = session.doors.accounts.greetings
    if session.account.guest or not greetings.text(Greeting.MOTD):
        return
    text = await greetings.unshown_motd(session.user_id)
    if text:
        subject = f"<subject>{_MOTD}</subject>"
        told = room_message(session.doors.domains.server, subject + body(text), kind="headline")
        session.send_shared(told)
