"""All pages and endpoints of this package: which address is whose."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.metadata import (
    ACCOUNT,
    AUTHORIZE,
    CALLBACK,
    CONFIRM,
    CONFIRM_MAIL,
    DEVICE_AUTHORIZATION,
    FALLBACK,
    FORGOT,
    KEYS,
    LEAVE_MAIL,
    LINK,
    PROVIDER,
    REGISTER,
    REVOKE,
    SSO,
    TOKEN,
    WELL_KNOWN,
)
from tripoint.core.server_bans import Visitor as Banned
from tripoint.net.http import Request, Response
from tripoint.oauth.account import AccountPages
from tripoint.oauth.authorize import AuthorizePage
from tripoint.oauth.confirm import ConfirmPage
from tripoint.oauth.endpoints import OAuthEndpoints
from tripoint.oauth.fallback import FallbackPage
from tripoint.oauth.gate import Gate
from tripoint.oauth.link import LinkPage
from tripoint.oauth.mail_pages import ConfirmMailPage, ForgotPage, LeavePage
from tripoint.oauth.provider_client import ProviderClient
from tripoint.oauth.providers import ProviderPages
from tripoint.oauth.sso import SsoPage
from tripoint.oauth.visitor import Visitor
from tripoint.oauth.words import LANGUAGES
from tripoint.rooms.ports import RoomService

# spec: RFC8414 3, and what clients looked for before it.
METADATA: Final = (WELL_KNOWN, "/.well-known/oauth-authorization-server")
# Pages that make no sense without OAuth.
_OAUTH: Final = frozenset({AUTHORIZE, LINK, PROVIDER, CALLBACK})
Page = Callable[[Visitor], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class OAuthFrontEnd:
    """`secret`: 32 bytes of this server's own; `plaintext_passwords`: see listen.plaintext_passwords."""

    def __init__(
        self,
        rooms: RoomService,
        accounts: AccountService,
        oauth: Authorization,
        *,
        secret: bytes,
        now_ms: Callable[[], int],
        plaintext_passwords: bool,
        providers: Sequence[ProviderClient] = (),
    ) -> None:
        self._accounts = accounts
        self._oauth = oauth
        self._secret = secret
        self._plaintext = plaintext_passwords
        self.gate = Gate(accounts, oauth.browsers)
        oauth.languages = LANGUAGES
        oauth.providers = [one.provider for one in providers]
        by_provider = ProviderPages(accounts, oauth, self.gate, providers, lambda: now_ms() / 1000)
        endpoints = OAuthEndpoints(oauth, now_ms)
        self._pages: dict[str, Page] = {
            AUTHORIZE: AuthorizePage(accounts, oauth, self.gate).handle,
            LINK: LinkPage(oauth, self.gate).handle,
            ACCOUNT: AccountPages(rooms, accounts, oauth, self.gate).handle,
            SSO: SsoPage(accounts, self.gate).handle,
            CONFIRM: ConfirmPage(accounts, oauth).handle,
            FALLBACK: FallbackPage(accounts, self.gate).handle,
            CONFIRM_MAIL: ConfirmMailPage(accounts, self.gate).handle,
            FORGOT: ForgotPage(accounts).handle,
            LEAVE_MAIL: LeavePage(accounts).handle,
            PROVIDER: by_provider.start,
            CALLBACK: by_provider.callback,
        }
        self._endpoints: dict[tuple[str, str], Endpoint] = {
            ("GET", KEYS): endpoints.keys,
            ("POST", TOKEN): endpoints.token,
            ("POST", REVOKE): endpoints.revoke,
            ("POST", REGISTER): endpoints.register,
            ("POST", DEVICE_AUTHORIZATION): endpoints.device_authorization,
            **{("GET", path): endpoints.metadata for path in METADATA},
        }

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None for an address that is not of this package, or is of OAuth while there is none."""
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = self._endpoints.get((method, request.path))
        if endpoint is not None and self._oauth.is_on:
            self._accounts.bans.check(Banned(request.address, ()))
            return await endpoint(request)
        page = self._pages.get(request.path)
        if page is None or method not in ("GET", "POST") or (request.path in _OAUTH and not self._oauth.is_on):
            return None
        visitor = await self.visitor(request)
        try:
            self._accounts.bans.check(Banned(request.address, ()))
        except AccountRefused as refused:
            return visitor.problem(visitor.refused(refused), 403)
        return await page(visitor)

    async def visitor(self, request: Request) -> Visitor:
        """Who asks for a page."""
        visitor = Visitor(request, self._secret, base=self._oauth.base, plaintext=self._plaintext)
        await visitor.recognise(self._oauth.browsers)
        return visitor
