"""Registration tokens: with one, somebody makes an account on a server whose registration asks for it.

spec: Matrix client-server-api token-authenticated-registration; appendices "Opaque Identifiers"
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.confusables import skeleton
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import DropRegistrationToken, PutRegistrationToken

# spec: "with maximum length of 64 characters"
_TOKEN = re.compile(r"[0-9A-Za-z._~-]{1,64}\Z")
MAX_TOKENS: Final = 10_000
KEPT_MS: Final = 86_400_000


class RegistrationTokens:
    """All tokens, straight from the store: `tripoint user invite` writes there too.

    `check_name` raises AccountRefused for a name that no new account could have. Call start() once.
    """

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        clock_ms: Callable[[], int],
        check_name: Callable[[str], object],
    ) -> None:
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._check_name = check_name
        self._keeping: dict[str, PutRegistrationToken] = {}  # shape of a name -> the token that it is kept for
        # Who reads a token in order to use it up holds this: one for one use must not be read by a second before.
        self.turn = asyncio.Lock()

    async def start(self) -> None:
        """Read the names that are kept."""
        for row in await self._store.load_registration_tokens():
            if row.username is not None and self._is_good(row):
                self._keeping[skeleton(row.username)] = row

    def keeping(self, name: str) -> PutRegistrationToken | None:
        """The token for which a name, or one that looks like it, is kept."""
        row = self._keeping.get(skeleton(name))
        return row if row is not None and self._is_good(row) else None

    def used_up(self, row: PutRegistrationToken) -> None:
        """An account was made with it."""
        if row.username is not None:
            self._keeping.pop(skeleton(row.username), None)

    async def use(self, token: str | None, *, was_valid: bool = False) -> PutRegistrationToken:
        """The write that uses up one use. `was_valid`: it may have expired since. REGISTRATION_TOKEN_NEEDED,
        BAD_REGISTRATION_TOKEN."""
        if token is None:
            raise AccountRefused(AccountRefusal.REGISTRATION_TOKEN_NEEDED)
        row = await self._store.load_registration_token(token)
        if row is None or row.uses_left == 0 or not (was_valid or self._is_good(row)):
            raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN)
        left = None if row.uses_left is None else row.uses_left - 1
        return PutRegistrationToken(token, left, row.expires_ts_ms, row.username, row.completed + 1)

    async def is_valid(self, token: str) -> bool:
        """Whether an account could be made with it now."""
        row = await self._store.load_registration_token(token)
        return row is not None and self._is_good(row)

    def _is_good(self, row: PutRegistrationToken) -> bool:
        expired = row.expires_ts_ms is not None and row.expires_ts_ms <= self._clock_ms()
        return not expired and row.uses_left != 0

    def _is_over(self, row: PutRegistrationToken) -> bool:
        """Whether nobody can use it any more: somebody who has shown it in time may need some hours for the rest."""
        expired = row.expires_ts_ms is not None and row.expires_ts_ms + KEPT_MS <= self._clock_ms()
        return expired or row.uses_left == 0

    async def add(
        self, token: str | None, uses: int | None, life_s: int | None, *, username: str | None = None
    ) -> str:
        """Make one; None for `uses` and `life_s`: as often and as long as one likes. Without a `token`, one is made up.
        `username`: for the account of this name alone, which nobody else gets as long as the token is good.

        BAD_REGISTRATION_TOKEN where that cannot be one, or is one already; NAME_TAKEN, BAD_NAME.
        """
        expires = None if life_s is None else self._clock_ms() + life_s * 1000
        return await self.put(token, uses, expires, username=username)

    async def put(
        self, token: str | None, uses: int | None, expires_ts_ms: int | None, *, username: str | None = None
    ) -> str:
        """As add(), until a time (ms since 1970)."""
        async with self.turn:
            listed = await self._store.load_registration_tokens()
            if token is None:
                # Without dashes: with one in front a command line takes it for an option.
                token = secrets.token_urlsafe(12).replace("-", "_")
            elif _TOKEN.match(token) is None or any(one.token == token for one in listed):
                raise AccountRefused(
                    AccountRefusal.BAD_REGISTRATION_TOKEN,
                    "A new token has 1 to 64 of a-z, A-Z, 0-9, '.', '_', '~' and '-', and is no other's name",
                )
            over = [one.token for one in listed if self._is_over(one)]
            if len(listed) - len(over) >= MAX_TOKENS:
                raise AccountRefused(AccountRefusal.SERVER_BUSY, "There are too many tokens; take some away first")
            if username is not None:
                self._check_name(username)
            # Those that nobody can use any more go with the next one that is made.
            gone = [DropRegistrationToken(one) for one in over]
            row = PutRegistrationToken(token, uses, expires_ts_ms, username)
            await commit(self._stream, [*gone, row])
            if username is not None:
                self._keeping[skeleton(username)] = row
            return token

    async def listed(self) -> Sequence[PutRegistrationToken]:
        """Those that are good for something, by name."""
        return [one for one in await self._store.load_registration_tokens() if self._is_good(one)]

    async def every(self) -> Sequence[tuple[PutRegistrationToken, bool]]:
        """All of them by name, and whether each is good for something."""
        return [(one, self._is_good(one)) for one in await self._store.load_registration_tokens()]

    async def find(self, token: str) -> PutRegistrationToken | None:
        """One, whether it is good for something or not."""
        return await self._store.load_registration_token(token)

    async def change(
        self, token: str, *, uses_left: int | None, expires_ts_ms: int | None
    ) -> PutRegistrationToken | None:
        """How often and how long it is good from now on; None where there is none of that name."""
        async with self.turn:
            row = await self._store.load_registration_token(token)
            if row is None:
                return None
            changed = replace(row, uses_left=uses_left, expires_ts_ms=expires_ts_ms)
            await commit(self._stream, [changed])
            if changed.username is not None:
                self._keeping[skeleton(changed.username)] = changed
            return changed

    async def drop(self, token: str) -> bool:
        """Take one away; False if there is none of that name."""
        async with self.turn:
            row = await self._store.load_registration_token(token)
            if row is None:
                return False
            await commit(self._stream, [DropRegistrationToken(token)])
            self.used_up(row)
            return True


def token_line(row: PutRegistrationToken, now_ms: int) -> str:
    """One for people: how often and how long it is good."""
    uses = "any number of uses" if row.uses_left is None else f"{row.uses_left} use{'s' if row.uses_left != 1 else ''}"
    if row.username is not None:
        uses = f"for {row.username}"
    if row.expires_ts_ms is None:
        return f"{row.token}: {uses}, for ever"
    # Hours that have begun count: who made it for two days is told two days.
    hours = -(-max(0, row.expires_ts_ms - now_ms) // 3_600_000)
    return f"{row.token}: {uses}, {f'{round(hours / 24)} days' if hours >= 48 else f'{hours} hours'}"
