"""Running the server by commands: accounts, sessions, announcements; for accounts that are administrators.

What there is besides, bans above all, are the commands of OperServ (service_commands.py). What can be looked at is
looking.py's.
spec: XEP-0133 4, 5, 8.2; XEP-0401 5.4; docs/mapping.md 18.3, 18.4.
"""

from functools import partial
from typing import Final

from tripoint.core.ids import UserId, server_of
from tripoint.xmpp.adhoc import Ask, Fields, Handle, Told, adhoc, field, one
from tripoint.xmpp.forms import FORM_TYPE
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid, parse_user_jid, prepare_local
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.render import body, room_message, timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.wire import escape_text

NS: Final = "http://jabber.org/protocol/admin"
# What one request changes; a form lists people by hand.
MAX_ACCOUNTS: Final = 100
MAX_LISTED: Final = 500
# An invitation waits for a week in somebody's mail.
INVITATION_MS: Final = 7 * 24 * 3_600_000
WHO, WHOM, _PASSWORD = "accountjid", "accountjids", "password"
TYPE = f"<field type='hidden' var='{FORM_TYPE}'><value>{NS}</value></field>"
command = partial(adhoc, at=At.SERVER, may=lambda session: session.account.admin)


def ask_for(title: str, *fields: str) -> Ask:
    return Ask(title, TYPE + "".join(fields))


def values(var: str, kind: str, values: list[str]) -> str:
    inside = "".join([f"<value>{escape_text(value)}</value>" for value in values])
    return f"<field var='{var}' type='{kind}'>{inside}</field>"


def _addresses(session: XmppSession, fields: Fields, var: str) -> list[tuple[Jid, UserId]]:
    """Whom a form names: people of this server, each once. spec: XEP-0004 3.3 (jid-multi), 4"""
    if fields.get(FORM_TYPE, [NS]) != [NS]:
        raise Problem("bad-request", f"The form is not of the type {NS}")
    found: dict[Jid, UserId] = {}
    for text in [value.strip() for value in fields.get(var, ()) if value.strip()]:
        try:
            jid = parse_jid(text)
            user_id = parse_user_jid(jid.bare, session.doors.domains)
        except InvalidJid:
            raise Problem("not-acceptable", f"Not an address: {text}") from None
        if user_id is None or server_of(user_id) != session.doors.domains.server:
            raise Problem("not-acceptable", f"Not of this server: {text}")
        found[jid] = user_id
    if not 0 < len(found) <= MAX_ACCOUNTS:
        raise Problem("not-acceptable", f"Name 1 to {MAX_ACCOUNTS} accounts")
    return list(found.items())


async def accounts_named(session: XmppSession, fields: Fields, var: str, *, others: bool = False) -> list[UserId]:
    """Accounts that are there. `others`: not one's own, which nobody is to lose by a slip."""
    users = list(dict.fromkeys([user_id for _, user_id in _addresses(session, fields, var)]))
    for user_id in users:
        if not await session.doors.accounts.is_local_user(user_id):
            raise Problem("item-not-found", f"There is no such account: {session.users.jid_of(user_id)}")
        if others and user_id == session.user_id:
            raise Problem("conflict", "This is your own account")
    return users


async def one_account(session: XmppSession, fields: Fields, var: str) -> UserId:
    users = await accounts_named(session, fields, var)
    if len(users) != 1:
        raise Problem("not-acceptable", "Name one account")
    return users[0]


# -- accounts


@command(f"{NS}#add-user", "Add an account", spec="XEP-0133 4.1")
async def add_user(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """An account, whether people may register themselves or not."""
    if fields is None:
        return ask_for(
            "Add an account",
            field(WHO, "jid-single", "Its address", required=True),
            field(_PASSWORD, "text-private", "Its password", required=True),
            field("password-verify", "text-private", "The password again", required=True),
        )
    ((address, _),) = _addresses(session, {**fields, WHO: fields.get(WHO, [])[:1]}, WHO)
    if fields.get(_PASSWORD) != fields.get("password-verify") or not one(fields, _PASSWORD):
        raise Problem("not-acceptable", "The two passwords differ, or there is none")
    await session.doors.accounts.add_account(prepare_local(address.local), fields[_PASSWORD][0], admin=False)
    return Told("The account is there")


@command(f"{NS}#delete-user", "Delete accounts", spec="XEP-0133 4.2")
async def delete_users(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """For good: they leave their rooms, and nobody gets their names."""
    if fields is None:
        return ask_for("Delete accounts", field(WHOM, "jid-multi", "Their addresses", required=True))
    for user_id in await accounts_named(session, fields, WHOM, others=True):
        await session.doors.accounts.deactivate(user_id)
    return Told()


@command("urn:xmpp:invite#create-account", "Invite somebody to make an account", spec="XEP-0401 5.4")
async def invite_account(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """A token for one account, in an address that clients open. A name that is given is kept for who has the token."""
    accounts, doors = session.doors.accounts, session.doors
    if await accounts.registration_state() == "closed":
        raise Problem("not-allowed", "This server takes no registrations")
    if fields is None:
        return Ask(
            "Invite somebody to make an account",
            field("username", "text-single", "The name of the account (empty: whoever makes it chooses)"),
        )
    name = one(fields, "username")
    try:
        username = prepare_local(name) if name else None
    except InvalidJid:
        raise Problem("not-acceptable", "That is no name for an account") from None
    ends = doors.now_ms() + INVITATION_MS
    token = await accounts.registration_tokens.add(None, 1, INVITATION_MS // 1000, username=username)
    at = doors.domains.server if username is None else f"{username}@{doors.domains.server}"
    uri = f"xmpp:{at}?register;preauth={token}"
    return Told(
        fields=f"<field type='hidden' var='{FORM_TYPE}'><value>urn:xmpp:invite#invitation</value></field>"
        + field("uri", "text-single", "Invitation", uri)
        + field("expire", "text-single", "Until when", timestamp(ends))
    )


def _locking(locked: bool) -> Handle:
    async def lock(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
        """Lock accounts, or let them in again. docs/mapping.md 18.3"""
        title = "Disable accounts" if locked else "Enable accounts again"
        if fields is None:
            return ask_for(title, field(WHOM, "jid-multi", "Their addresses", required=True))
        for user_id in await accounts_named(session, fields, WHOM, others=locked):
            await session.doors.accounts.set_locked(user_id, locked)
        return Told()

    return lock


command(f"{NS}#disable-user", "Disable accounts", spec="XEP-0133 4.3")(_locking(locked=True))
command(f"{NS}#reenable-user", "Enable accounts again", spec="XEP-0133 4.4")(_locking(locked=False))


@command(f"{NS}#end-user-session", "End sessions", spec="XEP-0133 4.5")
async def end_sessions(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """All XMPP sessions of an account, or the one of a full JID; they may come back."""
    if fields is None:
        return ask_for("End sessions", field(WHOM, "jid-multi", "Whose, or which", required=True))
    ended = 0
    for address, user_id in _addresses(session, fields, WHOM):
        user = session.users.live(user_id)
        for other in [] if user is None else list(user.sessions.values()):
            if not address.resource or other.jid.resource == address.resource:
                other.end("policy-violation", "An administrator ended this session")
                ended += 1
    return Told(f"{ended} ended")


@command(f"{NS}#change-user-password", "Change a password", spec="XEP-0133 4.7")
async def change_password(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Whoever is logged in with the old one is logged out."""
    if fields is None:
        return ask_for(
            "Change a password",
            field(WHO, "jid-single", "Whose", required=True),
            field(_PASSWORD, "text-private", "The new password", required=True),
        )
    user_id = await one_account(session, fields, WHO)
    if not one(fields, _PASSWORD):
        raise Problem("not-acceptable", "A password is needed")
    keep = session.device_id if user_id == session.user_id else None
    await session.doors.accounts.change_password(user_id, fields[_PASSWORD][0], keep_device=keep)
    return Told()


# -- telling


@command(f"{NS}#announce", "Tell everybody something", spec="XEP-0133 4.23")
async def announce(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """A headline to everybody who is here by XMPP, a notice to everybody on IRC."""
    if fields is None:
        return ask_for("Tell everybody something", field("announcement", "text-multi", "What", required=True))
    lines = fields.get("announcement", [])
    if not "".join(lines).strip():
        raise Problem("not-acceptable", "An announcement says something")
    told = room_message(session.doors.domains.server, body("\n".join(lines)), kind="headline")
    for other in session.users:
        if other.presence is not None:
            other.send_shared(told)
    desk = session.doors.desk
    if desk is not None and any((c.service, c.name) == ("OperServ", "GLOBAL") for c in desk.commands(session.account)):
        words = " ".join(lines)
        await desk.run(
            session.account, "OperServ", "GLOBAL", words, address=session.address, secure=session.secure
        )
    return Told()
