"""Invitations to become a contact: a link with a token, and the request for a subscription that brings it.

Whoever comes with the token gets to see the inviter at once, and is asked for the same in return; an inviter who is
away need not come back for it. A token is good once, for a week. Kept, hashed, in the account's data; making an account
is another invitation (administration.py).
spec: XEP-0401 5.1, 5.3.1; XEP-0379 3.4, 3.5; RFC6121 3.4 (an approval that waits for the request).
"""

import hashlib
import secrets
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.vendor import V
from tripoint.xmpp.adhoc import Ask, Fields, Told, adhoc, field
from tripoint.xmpp.c2s.subscriptions import outbound, subscription_of, with_subscription
from tripoint.xmpp.c2s.users import MAX_ITEMS
from tripoint.xmpp.forms import FORM_TYPE
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import PREAUTH_NS
from tripoint.xmpp.wire import Element

INVITATIONS: Final = f"{V}.invitations"
# One waits for so long in somebody's mail, and so many of one person's do.
LIFE_MS: Final = 7 * 24 * 3_600_000
MAX_OPEN: Final = 20


@adhoc("urn:xmpp:invite#invite", "Invite somebody to be your contact", at=At.SERVER, spec="XEP-0401 5.1")
async def invite_contact(session: XmppSession, jid: Jid, fields: Fields | None) -> Ask | Told:
    """A link, at once."""
    token, doors = secrets.token_urlsafe(18), session.doors
    ends = doors.now_ms() + LIFE_MS
    async with session.users.invitations:
        open_ = await _open(doors, session.user_id)
        if len(open_) >= MAX_OPEN:
            raise Problem("resource-constraint", f"{MAX_OPEN} of your invitations wait already; each ends after a week")
        await _keep(doors, session.user_id, {**open_, _digest(token): ends})
    return Told(
        fields=f"<field type='hidden' var='{FORM_TYPE}'><value>urn:xmpp:invite#invitation</value></field>"
        + field("uri", "text-single", "Invitation", f"xmpp:{session.bare}?roster;preauth={token}")
        + field("expire", "text-single", "Until when", timestamp(ends))
    )


async def redeem(session: XmppSession, inviter: UserId, request: Element) -> bool:
    """Whether a request for a subscription brings a token of the one whom it is for; it is used up then."""
    preauth = request.child("preauth", PREAUTH_NS)
    token = None if preauth is None else preauth.get("token")
    if not token:
        return False
    async with session.users.invitations:
        open_ = await _open(session.doors, inviter)
        if open_.pop(_digest(token), None) is None:
            return False
        await _keep(session.doors, inviter, open_)
    return True


async def approve(session: XmppSession, inviter: UserId, guest: str) -> bool:
    """The next request of `guest` (a bare address) is granted; False where the inviter's roster is full."""
    async with session.users.rosters(inviter):
        roster = await session.users.roster_of(inviter)
        before = roster.get(guest)
        state = subscription_of(before)
        if before is None and len(roster) >= MAX_ITEMS:
            return False
        if not state.from_:
            approved = outbound("subscribed", state).state
            await session.users.put_item(inviter, with_subscription(before, guest, approved))
    return True


async def asks_back(session: XmppSession, inviter: UserId, guest: str) -> bool:
    """The inviter wants to see `guest` too: whether he asks for it now. spec: XEP-0379 3.5"""
    async with session.users.rosters(inviter):
        before = (await session.users.roster_of(inviter)).get(guest)
        state = subscription_of(before)
        if state.to or state.asked:
            return False
        asking = outbound("subscribe", state).state
        await session.users.put_item(inviter, with_subscription(before, guest, asking))
    return True


async def _open(doors: Doors, user_id: UserId) -> dict[str, int]:
    """Digests of tokens that are still good, and until when."""
    kept = (await doors.accounts.account_data(user_id, None, INVITATIONS) or {}).get("tokens")
    now = doors.now_ms()
    if not isinstance(kept, dict):
        return {}
    return {digest: ends for digest, ends in kept.items() if isinstance(ends, int) and ends > now}


async def _keep(doors: Doors, user_id: UserId, open_: dict[str, int]) -> None:
    tokens: JsonObject = {**open_}
    await doors.accounts.set_account_data(user_id, None, INVITATIONS, {"tokens": tokens})


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
