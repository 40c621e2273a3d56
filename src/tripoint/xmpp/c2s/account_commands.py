"""What an account can be asked for by forms: its sessions, and whether it takes invitations.

spec: XEP-0050; docs/mapping.md 16.4, 18.1 (each is a NickServ command too)
"""

from typing import Final

from tripoint.core.vendor import NS
from tripoint.rooms.commands import AllowInvites, OpenDirect
from tripoint.xmpp.adhoc import Ask, Fields, Told, adhoc, field, one
from tripoint.xmpp.c2s.direct import PLAIN_DIRECT
from tripoint.xmpp.forms import boolean
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, parse_user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.session import XmppSession

INVITES_NODE: Final = NS + "#invites"
PLAIN_DIRECT_NODE: Final = NS + "#plaindm"
SESSIONS_NODE: Final = NS + "#sessions"
MAX_SHOWN: Final = 50
_SHOW: Final = ""


@adhoc(INVITES_NODE, "Invitations", at=At.SERVER, spec="docs/mapping.md 16.4")
async def invites(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Take invitations, or refuse and hide them all."""
    if fields is None:
        refused = session.doors.reader.refuses_invites(session.user_id)
        return Ask("Invitations", field("allowed", "boolean", "Others may invite you", "0" if refused else "1"))
    allowed = boolean(fields, "allowed")
    if allowed is None:
        raise Problem("not-acceptable", "Either they may, or not: 1 or 0")
    await session.doors.rooms.do(AllowInvites(actor=session.user_id, allowed=allowed))
    return Told("You take invitations" if allowed else "You take no invitations now")


@adhoc(PLAIN_DIRECT_NODE, PLAIN_DIRECT, at=At.SERVER, spec="docs/mapping.md 15.4")
async def plain_direct(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """A conversation that XMPP can show, beside one that is end-to-end encrypted."""
    if fields is None:
        return Ask(PLAIN_DIRECT, field("jid", "jid-single", "With whom", required=True))
    try:
        target = parse_user_jid(parse_jid(one(fields, "jid")).bare, session.doors.domains)
    except InvalidJid:
        raise Problem("jid-malformed", "That is not an address") from None
    if target is None:
        raise Problem("item-not-found", "That is nobody's address")
    await session.doors.rooms.do(OpenDirect(actor=session.user_id, target=target, plain=True))
    return Told(f"What you write to {one(fields, 'jid')} from now on goes into an unencrypted conversation")


@adhoc(SESSIONS_NODE, "Sessions", at=At.SERVER, spec="docs/mapping.md 4, 18.1")
async def sessions(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """The sessions of the account on all protocols; one can be ended."""
    accounts, user_id = session.doors.accounts, session.user_id
    devices = await accounts.devices(user_id)
    here = session.device_id
    shown = [
        (device.device_id, device.display_name or device.protocol, "yes" if device.device_id == here else "")
        for device in devices[:MAX_SHOWN]
    ]
    if fields is None:
        options = [(_SHOW, "None: show them"), *((device_id, f"{name} ({device_id})") for device_id, name, _ in shown)]
        return Ask("Sessions", field("end", "list-single", "Which to end", _SHOW, options))
    ended = one(fields, "end")
    if ended == _SHOW:
        columns = (("id", "Id"), ("name", "Client"), ("here", "This one"))
        return Told(f"You have {len(devices)}", "Sessions", columns, shown)
    if ended not in {device.device_id for device in devices}:
        raise Problem("item-not-found", "You have no such session")
    await accounts.log_out(user_id, [ended], reason="Ended by yourself")
    return Told(f"Session {ended} has ended")
