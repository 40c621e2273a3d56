"""A client without an account: the guest that it is, from its resource to its end.

The guest is made with the resource, so that a client that resumes an earlier session needs none; with the login where
that has to say who it is. It ends with its session, which may outlive a connection (XEP-0198).
spec: XEP-0175 3; RFC4505; docs/mapping.md 1.9, 4.11, docs/decisions/guests.md.
"""

from collections.abc import Callable, Coroutine

import structlog

from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.ids import UserId

log = structlog.get_logger()

Spawn = Callable[[Coroutine[object, object, None]], None]


class GuestLogin:
    """Of one stream whose client has logged in as nobody. `unbound`: the guest that no session has to end yet."""

    def __init__(self, accounts: AccountService, spawn: Spawn) -> None:
        self._accounts = accounts
        self._spawn = spawn
        self.unbound: Account | None = None

    async def become(self, address: str) -> Account:
        """The guest that this client is now. Raises AccountRefused."""
        if self.unbound is None:
            self.unbound = await self._accounts.create_numbered_guest(address=address)
        return self.unbound

    def has_session(self) -> None:
        """A session has the guest, and ends it."""
        self.unbound = None

    def drop(self) -> None:
        """The stream is over, or goes on with an earlier session: a guest that was made for nothing ends."""
        guest, self.unbound = self.unbound, None
        if guest is not None:
            self._spawn(end_guest(self._accounts, guest.user_id))


async def end_guest(accounts: AccountService, user_id: UserId) -> None:
    """A guest's session is over. docs/mapping.md 4.11"""
    try:
        await accounts.end_guest(user_id)
    except AccountRefused as refused:
        log.warning("xmpp.guest_not_ended", reason=refused.text)
