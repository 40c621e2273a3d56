"""What the OAuth endpoints and pages do to accounts: agree to a client, trade codes, refresh, revoke.

spec: Matrix client-server-api oauth-20-api; RFC6749 4.1, 5, 6; RFC7009; RFC8628. Raises OAuthError for what a client
did wrong and AccountRefused for what accounts refuse.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from tripoint.accounts.confirmations import Confirmations
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.oauth.browsers import Browsers
from tripoint.accounts.oauth.clients import Clients
from tripoint.accounts.oauth.codes import DEVICE_MS, CodeGrant, Codes, DeviceGrant
from tripoint.accounts.oauth.id_tokens import IdTokens
from tripoint.accounts.oauth.identities import Identities
from tripoint.accounts.ports import Account, AccountService, LogIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import network_of
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.oauth.clients import DEVICE, Client
from tripoint.core.oauth.errors import OAuthError, invalid_grant
from tripoint.core.oauth.metadata import WELL_KNOWN, issuer_of, server_metadata
from tripoint.core.oauth.providers import Provider
from tripoint.core.oauth.requests import AuthorizationRequest, Scope, check_verifier, read_user_code
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream

# spec: RFC8628 3.2, 3.5: how often a device may ask, and by how much it slows down when it was too quick.
INTERVAL_S: Final = 5
MAX_WAITING: Final = 10_000
# spec: RFC8628 5.1: user codes are short, so guesses are counted.
GUESSES: Final = Rate(10, 1 / 60)
# Device codes that one address may ask for.
DEVICE_RATE: Final = Rate(10, 1 / 30)
# How long somebody who said yes to new cross-signing keys has for them.
RESET_MS: Final = 600_000
MAX_RESETS: Final = 10_000


class Granted(Struct, frozen=True):
    """Tokens, with the scope that they are for, and an ID token where one was asked for."""

    log_in: LogIn
    scope: str
    id_token: str | None = None


class DeviceCodes(Struct, frozen=True):
    """What a device that waits is told."""

    device_code: str
    user_code: str
    expires_in_s: int
    interval_s: int


class Authorization:
    """The authorization server's own part. `base` is where clients reach this server, without a slash at the end:
    set once the listeners are up; empty: there is no OAuth here. `languages`: in which there are pages; `providers`: by
    which people log in; `confirmations`: what clients are asked to show."""

    def __init__(
        self, store: AccountStore, stream: Stream, accounts: AccountService, base: str, clock_ms: Callable[[], int]
    ) -> None:
        self.base = base.rstrip("/")
        self.languages: Sequence[str] = ()
        self.providers: Sequence[Provider] = ()
        self.confirmations = Confirmations(lambda: clock_ms() / 1000)
        self._accounts = accounts
        self._clock_ms = clock_ms
        self.id_tokens = IdTokens(store, stream, clock_ms)
        self.clients = Clients(store, stream, clock_ms)
        self.browsers = Browsers(store, stream, accounts.account, clock_ms)
        self.identities = Identities(store, stream)
        self._codes = Codes(store, stream, clock_ms)
        self._turns = InTurn()
        self._guesses = TokenBuckets(GUESSES)
        self._device_pace = TokenBuckets(DEVICE_RATE)
        self._polled: OrderedDict[str, tuple[int, int]] = OrderedDict()  # device code -> (at ms, interval s)
        self._resets: OrderedDict[UserId, int] = OrderedDict()  # who may replace their keys, until when

    @property
    def is_on(self) -> bool:
        return bool(self.base)

    @property
    def configuration(self) -> str | None:
        """Where clients that need an access token learn how to get one. spec: RFC7628 3.2.2: "https" """
        return f"{self.base}{WELL_KNOWN}" if self.base.startswith("https:") else None

    async def metadata(self) -> JsonObject:
        """What this server says of itself. spec: Matrix client-server-api GET /auth_metadata"""
        closed = await self._accounts.registration_state() == "closed"
        return server_metadata(self.base, self.languages, registration=not closed)

    # -- authorisation codes

    async def agree(self, account: Account, client: Client, request: AuthorizationRequest) -> str:
        """Somebody lets a client in: the code that the browser takes to it."""
        await self.clients.used(client)
        return await self._codes.put_code(
            CodeGrant(
                client.client_id,
                request.redirect_uri,
                request.named_redirect,
                request.challenge,
                request.scope.text,
                request.scope.device_id,
                account.user_id,
                request.scope.openid,
                request.nonce,
            )
        )

    async def trade_code(
        self, client: Client, code: str, redirect_uri: str | None, verifier: str | None
    ) -> Granted:
        """Tokens for an authorisation code. A code that comes again ends what it gave. spec: RFC6749 4.1.2, 4.1.3"""
        async with self._turns(code):
            found = await self._codes.find(code)
            grant, expired = found or (None, False)
            if not isinstance(grant, CodeGrant) or grant.client_id != client.client_id:
                raise invalid_grant("this code is not known, or not this client's")
            if grant.used:
                await self._end(grant)
                raise invalid_grant("this code was used before; what it gave is revoked")
            if expired:
                raise invalid_grant("this code has expired")
            if (redirect_uri or grant.named_redirect) and redirect_uri != grant.redirect_uri:
                raise invalid_grant("redirect_uri is not the one of the authorisation request")
            check_verifier(grant.challenge, verifier)
            # Used before anything is given: what goes wrong in between costs the client a new login, nobody an account.
            await self._codes.use(code, grant)
            granted = await self._open(grant.user_id, client, grant.device_id, grant.scope)
            return granted if not grant.openid else await self._with_id_token(granted, client, grant)

    async def _with_id_token(self, granted: Granted, client: Client, grant: CodeGrant) -> Granted:
        token = await self.id_tokens.make(
            issuer_of(self.base),
            client.client_id,
            grant.user_id,
            grant.nonce,
            granted.log_in.access_token or "",
        )
        return Granted(granted.log_in, granted.scope, token)

    async def _end(self, grant: CodeGrant) -> None:
        for device in await self._accounts.devices(grant.user_id):
            if device.device_id == grant.device_id:
                await self._accounts.log_out(
                    grant.user_id, [grant.device_id], reason="the code of this login was used twice"
                )

    # -- devices that cannot show a page

    async def ask_device(self, client: Client, scope: Scope, *, address: str) -> DeviceCodes:
        """A device waits for somebody to let it in. RATE_LIMITED."""
        if DEVICE not in client.grant_types:
            raise OAuthError("unauthorized_client", "this client did not register for the device authorization grant")
        self._take(self._device_pace, network_of(address))
        await self.clients.trim()
        device_code, user_code = await self._codes.put_device(client.client_id, scope.text, scope.device_id)
        return DeviceCodes(device_code, user_code, DEVICE_MS // 1000, INTERVAL_S)

    async def find_user_code(self, text: str, *, account: Account, address: str) -> tuple[DeviceGrant, Client] | None:
        """What waits under the code that somebody typed. RATE_LIMITED after too many wrong ones."""
        for key in (account.user_id, network_of(address)):
            wait_s = self._guesses.wait_s(key, self._clock_ms() / 1000)
            if wait_s > 0:
                raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
        code = read_user_code(text)
        grant = None if code is None else await self._codes.find_device(code)
        client = None if grant is None else await self.clients.find(grant.client_id)
        if grant is None or client is None:
            for key in (account.user_id, network_of(address)):
                self._guesses.take(key, self._clock_ms() / 1000)
            return None
        return grant, client

    async def answer_device(self, grant: DeviceGrant, client: Client, account: Account, *, allowed: bool) -> None:
        """Somebody lets the device that waits in, or does not."""
        if allowed:
            await self.clients.used(client)
        answered = DeviceGrant(
            grant.client_id, grant.scope, grant.device_id, grant.user_code, account.user_id, allowed
        )
        await self._codes.answer_device(grant.user_code, answered)

    async def trade_device_code(self, client: Client, device_code: str) -> Granted:
        """Tokens for a device code, once somebody has agreed. spec: RFC8628 3.5"""
        async with self._turns(device_code):
            found = await self._codes.find(device_code)
            grant, expired = found or (None, False)
            if not isinstance(grant, DeviceGrant) or grant.client_id != client.client_id:
                raise invalid_grant("this device code is not known, or not this client's")
            if expired:
                await self._codes.drop(device_code)
                raise OAuthError("expired_token", "nobody has agreed in time")
            self._check_pace(device_code)
            if grant.allowed is None or grant.user_id is None:
                raise OAuthError("authorization_pending", "nobody has answered yet")
            await self._codes.drop(device_code)
            self._polled.pop(device_code, None)
            if not grant.allowed:
                raise OAuthError("access_denied", "the request was denied")
            return await self._open(grant.user_id, client, grant.device_id, grant.scope)

    def _check_pace(self, device_code: str) -> None:
        now_ms = self._clock_ms()
        known = self._polled.pop(device_code, None)
        interval_s = INTERVAL_S if known is None else known[1]
        # A second less: the clocks of two machines, and the way between them.
        hurried = known is not None and now_ms - known[0] < (interval_s - 1) * 1000
        if hurried:
            interval_s += 5
        self._polled[device_code] = (now_ms, interval_s)
        if len(self._polled) > MAX_WAITING:
            self._polled.popitem(last=False)
        if hurried:
            raise OAuthError("slow_down", f"ask every {interval_s} seconds")

    # -- tokens

    async def _open(self, user_id: UserId, client: Client, device_id: str, scope: str) -> Granted:
        account = await self._accounts.account(user_id)
        if account is None:
            raise invalid_grant("the account is gone")
        try:
            opened = await self._accounts.log_in(
                account,
                protocol="matrix",
                device_id=device_id,
                display_name=client.name(()),
                tokens=True,
                refreshable=True,
                client_id=client.client_id,
            )
        except AccountRefused as refused:
            raise _as_grant(refused) from refused
        return Granted(opened, scope)

    async def refresh(self, client: Client, refresh_token: str) -> LogIn:
        """New tokens for a refresh token of this client. spec: refresh-token-grant"""
        try:
            return await self._accounts.refresh(refresh_token, client_id=client.client_id)
        except AccountRefused as refused:
            raise _as_grant(refused) from refused

    async def revoke(self, token: str) -> None:
        """Log out the device of an access or refresh token; a token that means nothing is revoked already."""
        await self._accounts.revoke(token)

    # -- new cross-signing keys

    def allow_reset(self, user_id: UserId) -> None:
        """Somebody has said on the pages that their cross-signing keys may be replaced."""
        self._resets.pop(user_id, None)
        self._resets[user_id] = self._clock_ms() + RESET_MS
        if len(self._resets) > MAX_RESETS:
            self._resets.popitem(last=False)

    def is_reset_allowed(self, user_id: UserId) -> bool:
        """As take_reset(), without using it up."""
        return self._resets.get(user_id, 0) > self._clock_ms()

    def take_reset(self, user_id: UserId) -> bool:
        """Whether they have said so, within the last minutes; it is used up by this."""
        return self._resets.pop(user_id, 0) > self._clock_ms()

    def _take(self, buckets: TokenBuckets, key: str) -> None:
        wait_s = buckets.take(key, self._clock_ms() / 1000)
        if wait_s > 0:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)


def _as_grant(refused: AccountRefused) -> Exception:
    """What accounts refuse, as a client understands it; what passes by itself stays what it is."""
    if refused.refusal in (AccountRefusal.SERVER_BUSY, AccountRefusal.RATE_LIMITED):
        return refused
    return invalid_grant(refused.text.replace('"', "'"))
