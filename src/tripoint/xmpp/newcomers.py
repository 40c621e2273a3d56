"""People of other XMPP servers for whom nobody stands here yet: how many of them come, and who is not taken.

spec: docs/mapping.md 1.7, 15.8, 23.1, 24
"""

from collections.abc import Callable
from typing import Final

from tripoint.accounts.ports import AccountService
from tripoint.core.ids import UserId
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.refusals import Problem

# How many people of one domain, and of all, are new to this server.
NEW_OF_DOMAIN: Final = Rate(50, 0.1)
NEW_OF_ALL: Final = Rate(1000, 2.0)


class Newcomers:
    """Makes who stands for them."""

    def __init__(self, accounts: AccountService, monotonic: Callable[[], float]) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._of_domain = TokenBuckets(NEW_OF_DOMAIN)
        self._of_all = TokenBuckets(NEW_OF_ALL)

    async def make_known(self, user_id: UserId, jid: Jid) -> None:
        """Somebody begins to do what is kept here. Raises Problem for too many, and for who was locked out here."""
        account = await self._accounts.account(user_id)
        if account is not None:
            if account.locked or account.deactivated:
                raise Problem("forbidden", "You are locked out of this server")
            return
        now = self._monotonic()
        if self._of_domain.take(jid.domain, now) or self._of_all.take("", now):
            raise Problem("resource-constraint", "Too many people of other servers come at once; try again later")
        await self._accounts.stand_in(str(jid.bare))
