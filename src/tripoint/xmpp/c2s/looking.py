"""What administrators look at by commands: accounts, who is here by XMPP, and what each of them is about.

spec: XEP-0133 4.8-4.10, 4.13-4.22. Nobody's password, and no contact's words.  Read next: administration.py.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from tripoint.core.listings import AccountQuery, Page
from tripoint.xmpp.adhoc import Ask, Fields, Handle, Told, field, one
from tripoint.xmpp.c2s.administration import MAX_LISTED, NS, TYPE, WHO, WHOM, ask_for, command, one_account, values
from tripoint.xmpp.c2s.users import LiveUser, render_item
from tripoint.xmpp.jid import Jid, escape_local
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import ROSTER_NS

_SIZES: Final = (25, 50, 100, 200, MAX_LISTED)
_PAGE: Final = 500
_AWAY: Final = re.compile("<show>(away|xa)</show>")
# The first so many, and how many there are.
Find = Callable[[XmppSession, int], Awaitable[tuple[list[str], int]]]


@command(f"{NS}#get-user-lastlogin", "Last time somebody was here", spec="XEP-0133 4.9")
async def last_login(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """On whatever protocol."""
    if fields is None:
        return ask_for("Last time somebody was here", field(WHOM, "jid-multi", "Who", required=True))
    user_id = await one_account(session, fields, WHOM)
    seen = [device.last_seen_ts_ms for device in await session.doors.accounts.devices(user_id)]
    last = [timestamp(max(seen))] if seen else []
    shown = values(WHOM, "jid-multi", [session.users.jid_of(user_id)]) + values("lastlogin", "text-single", last)
    return Told(fields=TYPE + shown)


@command(f"{NS}#get-user-roster", "Somebody's contacts", spec="XEP-0133 4.8")
async def roster(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """As he sees them himself."""
    if fields is None:
        return ask_for("Somebody's contacts", field(WHOM, "jid-multi", "Whose", required=True))
    user_id = await one_account(session, fields, WHOM)
    items = await session.users.roster_of(user_id)
    shown = "".join([render_item(item) for item in items.values() if item.shown])
    whose = values(WHOM, "jid-multi", [session.users.jid_of(user_id)])
    return Told(fields=f"{TYPE}{whose}<query xmlns='{ROSTER_NS}'>{shown}</query>")


@command(f"{NS}#user-stats", "What somebody is about", spec="XEP-0133 4.10")
async def statistics(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """Of XMPP: how many contacts, which clients, from where."""
    if fields is None:
        return ask_for("What somebody is about", field(WHO, "jid-single", "Who", required=True))
    user_id = await one_account(session, fields, WHO)
    items = await session.users.roster_of(user_id)
    live = session.users.live(user_id)
    here = [] if live is None else list(live.sessions.values())
    return Told(
        fields=TYPE
        + values("ipaddresses", "text-multi", sorted({other.address for other in here if other.address}))
        + values("rostersize", "text-single", [str(sum(item.shown for item in items.values()))])
        + values("onlineresources", "text-multi", sorted(other.jid.resource for other in here))
    )


# -- how many, and who


def _is_active(user: LiveUser) -> bool:
    """Whether one of somebody's clients says that he is there. XEP-0133 4.16 leaves open who is idle."""
    return any(not _AWAY.search(one.presence or "") for one in user.available())


def _here(session: XmppSession, wanted: Callable[[LiveUser], bool]) -> list[str]:
    """Bare addresses of those who are connected by XMPP, in their order."""
    users = ((user_id, session.users.live(user_id)) for user_id in session.users.everybody())
    return sorted(session.users.jid_of(user_id) for user_id, live in users if live is not None and wanted(live))


async def _registered(session: XmppSession, limit: int) -> tuple[list[str], int]:
    """Accounts that are not closed, the first so many of them, and how many there are."""
    query = AccountQuery(Page(0, limit), guests=False, deactivated=False)
    found, total = await session.doors.accounts.administration.listed(query)
    return [_address(session, one.account.name) for one in found], total


async def _disabled(session: XmppSession, limit: int) -> tuple[list[str], int]:
    """Those of them that are locked. docs/mapping.md 18.3"""
    listed = session.doors.accounts.administration.listed
    found: list[str] = []
    total, start = 1, 0
    while start < total:
        page, total = await listed(AccountQuery(Page(start, _PAGE), guests=False, deactivated=False))
        found += [_address(session, one.account.name) for one in page if one.account.locked]
        start += _PAGE
    return found[:limit], len(found)


def _address(session: XmppSession, name: str) -> str:
    return f"{escape_local(name)}@{session.doors.domains.server}"


async def _online(session: XmppSession, limit: int) -> tuple[list[str], int]:
    here = _here(session, lambda _: True)
    return here[:limit], len(here)


async def _active(session: XmppSession, limit: int) -> tuple[list[str], int]:
    here = _here(session, _is_active)
    return here[:limit], len(here)


async def _idle(session: XmppSession, limit: int) -> tuple[list[str], int]:
    here = _here(session, lambda user: not _is_active(user))
    return here[:limit], len(here)


def _counting(kind: str, find: Find) -> Handle:
    async def count(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
        """How many; nothing is asked for."""
        _, number = await find(session, 1)
        return Told(fields=TYPE + values(f"{kind}usersnum", "text-single", [str(number)]))

    return count


def _listing(kind: str, title: str, find: Find) -> Handle:
    async def show(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
        """Up to as many as the form says."""
        if fields is None:
            sizes = [*((str(size), str(size)) for size in _SIZES), ("none", "None")]
            return ask_for(title, field("max_items", "list-single", "How many to show", "25", sizes))
        text = one(fields, "max_items") or "none"
        if text != "none" and not (text.isascii() and text.isdecimal() and 0 < len(text) < 6):
            raise Problem("not-acceptable", "max_items is a whole number")
        found, _ = await find(session, MAX_LISTED if text == "none" else min(int(text), MAX_LISTED))
        return Told(fields=TYPE + values(f"{kind}userjids", "jid-multi", found))

    return show


for _kind, _title, _find, _number, _list in (
    ("registered", "Accounts", _registered, "4.13", "4.18"),
    ("disabled", "Disabled accounts", _disabled, "4.14", "4.19"),
    ("online", "Who is here by XMPP", _online, "4.15", "4.20"),
    ("active", "Who is here and not away", _active, "4.16", "4.21"),
    ("idle", "Who is here and away", _idle, "4.17", "4.22"),
):
    command(f"{NS}#get-{_kind}-users-num", f"{_title}: how many", spec=f"XEP-0133 {_number}")(_counting(_kind, _find))
    command(f"{NS}#get-{_kind}-users-list", _title, spec=f"XEP-0133 {_list}")(_listing(_kind, _title, _find))
