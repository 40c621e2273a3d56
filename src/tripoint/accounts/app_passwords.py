"""App passwords: one for a client that is not to know the account's own, or for an account that has none.

Each is a device: it is seen among the account's sessions, and ends with the device or with a change of the password. It
is let in on IRC and XMPP, and changes nothing for which a password is asked.  spec: docs/mapping.md 18.2.  Its stored
form is beside the password's (passwords.py): NickServ (tripoint/irc/nickserv_apps.py) is the way to it.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from tripoint.accounts.devices import MAX_DISPLAY_NAME
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.passwords import Passwords
from tripoint.accounts.ports import AppPassword
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutDevice

# The proof of a login is tried on each of them.
MAX_APPS: Final = 20
# What kind of device an app password is.
PROTOCOL: Final = "app"
# spec: docs/mapping.md 18.2: 128 random bits; without what people take for one another: 26 times 5 bits
_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_LENGTH: Final = 26


class AppPasswords:
    """All of them, on disk."""

    def __init__(
        self, store: AccountStore, stream: Stream, passwords: Passwords, clock_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._stream = stream
        self._passwords = passwords
        self._clock_ms = clock_ms
        self._turns = InTurn()

    async def of(self, user_id: UserId) -> Sequence[AppPassword]:
        """Those that are good."""
        good = {key.device_id for key in (await self._passwords.verifier(user_id, "sha256")).apps}
        return [
            AppPassword(row.device_id, row.display_name or "")
            for row in await self._store.load_devices(user_id)
            if row.device_id in good
        ]

    async def add(self, user_id: UserId, name: str) -> str:
        """A new app password, which is told this once. TOO_MANY_APP_PASSWORDS, RATE_LIMITED, SERVER_BUSY."""
        async with self._turns(user_id):
            mine = [app.device_id for app in await self.of(user_id)]
            if len(mine) >= MAX_APPS:
                raise AccountRefused(AccountRefusal.TOO_MANY_APP_PASSWORDS)
            device_id = f"APP-{secrets.token_hex(4).upper()}"
            password = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
            forms = await self._passwords.with_app(user_id, device_id, password, mine)
            device = PutDevice(user_id, device_id, PROTOCOL, name[:MAX_DISPLAY_NAME], self._clock_ms())
            try:
                await self._stream.commit([device, *forms])
            except StoreError as error:
                raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
        return password
