"""METADATA of a client that is not connected yet: its subscriptions, and the profile of the account that it is.

One line at a time; what lasts is in the negotiation and in the profile. Who has not logged in has no profile: he is
answered as a guest is.
spec: IRCv3 metadata "before-connect".  Read next: commands/metadata.py.
"""

from __future__ import annotations

from typing import Final

from tripoint.accounts.ports import Account
from tripoint.core.ids import UserId
from tripoint.irc.connection import IrcConnection
from tripoint.irc.session import IrcSession
from tripoint.irc.wire import Line

# What a client calls itself, and is called, while it has no nick.
NOBODY: Final = "*"
# Who has not logged in; there is no such user.
NOT_YET: Final = Account(UserId(""), "", guest=True, admin=False, created_ts_ms=0)


class EarlySession(IrcSession):
    """A client before 001. No other knows of it, and it hears nothing but answers."""

    __slots__ = ()

    @property
    def nick(self) -> str:
        return NOBODY

    async def take(self, line: Line) -> None:
        """Carry out a line. The connection has its label already."""
        negotiation: IrcConnection = self.negotiation
        self.subscribed = negotiation.subscribed
        await self._handle(line)
        negotiation.subscribed = self.subscribed
