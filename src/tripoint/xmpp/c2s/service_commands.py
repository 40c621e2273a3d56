"""Every command of the services as a command of XMPP: one form with the words that follow it on IRC.

spec: XEP-0050; docs/mapping.md 18.1. What the services do is accounts.ports.ServiceDesk.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final

from tripoint.accounts.ports import ServiceCommand
from tripoint.core.vendor import NS
from tripoint.xmpp.adhoc import AdhocEntry, Ask, Fields, Told, field, offers, one
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.session import XmppSession

_NODE: Final = NS + "#service"
_SPEC: Final = "docs/mapping.md 18.1"


@offers(At.SERVER)
def services(session: XmppSession) -> Iterable[AdhocEntry]:
    """What the account may ask the services for."""
    desk = session.doors.desk
    for command in () if desk is None else desk.commands(session.account):
        node = f"{_NODE}/{command.service.lower()}/{command.name.lower()}"
        yield AdhocEntry(node, f"{command.service} {command.name}", _SPEC, partial(_run, command))


async def _run(command: ServiceCommand, session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    title = f"{command.service} {command.name}"
    words, _, about = command.usage.rpartition(": ")
    if fields is None and words:
        return Ask(title, field("words", "text-single", f"{about or command.usage}. Words: {words}"))
    desk = session.doors.desk
    assert desk is not None  # who offered this
    said = "" if fields is None else one(fields, "words")
    try:
        lines = await desk.run(
            session.account, command.service, command.name, said, address=session.address, secure=session.secure
        )
    except KeyError:
        raise Problem("item-not-found", "There is no such command here") from None
    return Told("\n".join(lines) or "Done")
