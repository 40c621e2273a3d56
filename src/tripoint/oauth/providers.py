"""Logging in by an identity provider: there and back, a name for who is new, the link with an account.

An account is linked by whoever is logged in to both, never because two names are the same.
spec: Matrix client-server-api sso-login; OpenID Connect Core 3.1
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

import structlog

from tripoint.accounts.oauth.identities import Identities
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.errors import RemoteFailed
from tripoint.core.json_view import text_at
from tripoint.core.oauth.metadata import ACCOUNT, AUTHORIZE, CALLBACK, CONFIRM, FALLBACK, LINK, PROVIDER, SSO
from tripoint.core.oauth.openid import BadProvider, authorization_url, suggested_localpart
from tripoint.net.http import Response
from tripoint.oauth.gate import Gate
from tripoint.oauth.html import Html, el
from tripoint.oauth.letter_forms import accepted_on, terms_fields
from tripoint.oauth.pending import Pending, PendingLogIns, Purpose
from tripoint.oauth.provider_client import ProviderClient
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

log = structlog.get_logger("tripoint")

SSO_STAGE: Final = "m.login.sso"
CHOOSE, DO_LINK = "choose-name", "link"
MAX_DISPLAY_NAME: Final = 256
_PAGES: Final = frozenset({AUTHORIZE, LINK, ACCOUNT, SSO, FALLBACK})


class ProviderPages:
    """/oauth2/provider leads there, /oauth2/callback is where the provider leads back to."""

    def __init__(
        self,
        accounts: AccountService,
        oauth: Authorization,
        gate: Gate,
        clients: Sequence[ProviderClient],
        clock_s: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._oauth = oauth
        self._identities: Identities = oauth.identities
        self._gate = gate
        self._clients: Mapping[str, ProviderClient] = {one.provider.provider_id: one for one in clients}
        self._pending = PendingLogIns(clock_s)
        gate.other_ways = self.ways

    def ways(self, visitor: Visitor) -> Sequence[Html]:
        """A link for each provider, to be logged in to the page that the visitor wants."""
        to = visitor.target(without=["prompt"])
        return [
            el(
                "a",
                visitor.words("log_in_with", provider=client.provider.name),
                href=start_address(name, to),
                class_="button",
            )
            for name, client in self._clients.items()
        ]

    async def start(self, visitor: Visitor) -> Response:
        """Send a browser to the provider."""
        client = self._clients.get(visitor.query("provider") or "")
        to, session = visitor.query("to") or ACCOUNT, visitor.query("confirm")
        if client is None or not is_page(to):
            return visitor.problem(visitor.words("provider_state"), 404)
        try:
            endpoints = await client.endpoints()
        except (BadProvider, RemoteFailed) as error:
            return self._failed(visitor, client, error)
        purpose = Purpose.LOG_IN
        if session is not None:
            purpose, to = Purpose.CONFIRM, session
        elif visitor.query("link") is not None:
            instead = await self._gate.check(visitor, leads_to=endpoints.authorization)
            if instead is not None:
                return instead
            purpose = Purpose.LINK
        state, pending = self._pending.begin(client.provider.provider_id, purpose, to, visitor.browser)
        url = authorization_url(
            client.provider,
            endpoints,
            redirect_uri=self._oauth.base + CALLBACK,
            state=state,
            nonce=pending.nonce,
            verifier=pending.verifier,
        )
        return visitor.redirect(url)

    async def callback(self, visitor: Visitor) -> Response:
        """The provider leads back; what is still to be chosen is asked here, too."""
        state = visitor.query("state") or ""
        pending = self._pending.find(state, visitor.browser)
        client = None if pending is None else self._clients.get(pending.provider_id)
        if pending is None or client is None:
            return visitor.problem(visitor.words("provider_state"))
        if pending.subject is None:
            try:
                await self._learn(visitor, client, pending)
            except (BadProvider, RemoteFailed) as error:
                self._pending.end(state)
                return self._failed(visitor, client, error)
        try:
            return await self._go_on(visitor, client, state, pending)
        except AccountRefused as refused:
            return visitor.problem(visitor.refused(refused), 403)

    async def _learn(self, visitor: Visitor, client: ProviderClient, pending: Pending) -> None:
        error, code = visitor.query("error"), visitor.query("code")
        if error is not None or code is None:
            raise BadProvider((error or "no code")[:100])
        # spec: RFC9207 2.4
        issuer = visitor.query("iss")
        if issuer is not None and issuer != client.provider.issuer:
            raise BadProvider("the answer is another provider's")
        claims = await client.who(
            code, redirect_uri=self._oauth.base + CALLBACK, nonce=pending.nonce, verifier=pending.verifier
        )
        pending.subject = text_at(claims, "sub")
        pending.name = suggested_localpart(claims, client.provider.localpart_claim)
        pending.display_name = (text_at(claims, client.provider.display_name_claim) or "").strip()[:MAX_DISPLAY_NAME]

    async def _go_on(
        self, visitor: Visitor, client: ProviderClient, state: str, pending: Pending
    ) -> Response:
        provider, subject = client.provider, pending.subject
        assert subject is not None, "the provider has answered"
        user_id = await self._identities.find(provider.provider_id, subject)
        if pending.purpose is Purpose.CONFIRM:
            self._pending.end(state)
            found = self._oauth.confirmations.find(pending.to)
            if found is None or user_id is None or found.user_id != user_id:
                return visitor.problem(visitor.words("uia_unknown"), 403)
            found.passed[SSO_STAGE] = {"type": SSO_STAGE}
            return visitor.redirect(f"{CONFIRM}?{urlencode({'session': pending.to, 'stage': SSO_STAGE})}")
        if pending.purpose is Purpose.LINK:
            return await self._link(visitor, client, state, pending)
        if user_id is not None:
            self._pending.end(state)
            account = await self._accounts.check_open(user_id, address=visitor.request.address)
            return await self._gate.enter(visitor, account, pending.to)
        return await self._choose(visitor, client, state, pending)

    async def _choose(self, visitor: Visitor, client: ProviderClient, state: str, pending: Pending) -> Response:
        """Somebody is new here: under which name?"""
        words, provider, subject = visitor.words, client.provider, pending.subject
        assert subject is not None, "the provider has answered"
        if not provider.registers:
            self._pending.end(state)
            return visitor.problem(words("registration_closed"), 403)
        problem, name = None, pending.name
        if visitor.posted:
            name = visitor.field("name").strip().lower()
            if not visitor.is_ours():
                problem = words("expired_form")
            elif visitor.field("do") == CHOOSE:
                try:
                    account = await self._accounts.register_by_identity(
                        name,
                        pending.display_name,
                        provider=provider.provider_id,
                        subject=subject,
                        address=visitor.request.address,
                        accepted=accepted_on(visitor, self._accounts.terms),
                    )
                    self._pending.end(state)
                    return await self._gate.enter(visitor, account, pending.to)
                except AccountRefused as refused:
                    problem = visitor.refused(refused)
        link = start_address(provider.provider_id, ACCOUNT, link=True)
        return visitor.page(
            words("choose_name"),
            say(problem, alarm=True),
            paragraph(words("choose_name_text", server=self._accounts.server_name)),
            visitor.form(
                labelled(
                    words("name"), "name", hint=words("name_hint"), value=name or None, complete="username", focus=True
                ),
                *terms_fields(visitor, self._accounts.terms),
                button(words("make_account_button")),
                do=CHOOSE,
                action=_callback_address(state),
            ),
            paragraph(
                words("have_account"), " ", el("a", words("identity_link_with", provider=provider.name), href=link)
            ),
            status=400 if problem else 200,
        )

    async def _link(self, visitor: Visitor, client: ProviderClient, state: str, pending: Pending) -> Response:
        instead = await self._gate.check(visitor)
        if instead is not None:
            return instead
        words, provider, subject = visitor.words, client.provider, pending.subject
        assert subject is not None, "the provider has answered"
        if visitor.posted and visitor.field("do") == DO_LINK:
            await self._identities.link(provider.provider_id, subject, visitor.account.user_id)
            self._pending.end(state)
            return visitor.redirect(pending.to)
        user, name = visitor.account.user_id, pending.display_name or pending.name or subject
        return visitor.page(
            words("link_identity", provider=provider.name, user=user),
            paragraph(words("link_identity_text", user=user, name=name, provider=provider.name)),
            visitor.form(button(words("link_identity_button")), do=DO_LINK, action=_callback_address(state)),
        )

    def _failed(self, visitor: Visitor, client: ProviderClient, error: Exception) -> Response:
        name = client.provider.provider_id
        log.warning("oauth.provider_failed", provider=name, error=str(error))
        reason = str(error) if isinstance(error, BadProvider) else visitor.words("busy")
        return visitor.problem(visitor.words("provider_failed", provider=client.provider.name, reason=reason), 502)


def is_page(to: str) -> bool:
    """Whether an address is one of the pages for which one logs in: nobody is sent anywhere else."""
    try:
        parts = urlsplit(to)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc and parts.path in _PAGES and "\\" not in to


def start_address(provider_id: str, to: str, *, link: bool = False) -> str:
    """Where a log-in by a provider begins."""
    more = {"link": "1"} if link else {}
    return f"{PROVIDER}?{urlencode({'provider': provider_id, 'to': to, **more})}"


def confirm_address(provider_id: str, session: str) -> str:
    """Where somebody shows by a provider who they are, for a client that wants to know."""
    return f"{PROVIDER}?{urlencode({'provider': provider_id, 'confirm': session})}"


def _callback_address(state: str) -> str:
    # What the provider sent along is used up, and not for the history of the browser.
    return f"{CALLBACK}?{urlencode({'state': state})}"

