"""The authorization endpoint: a client asks to be let in, somebody says yes or no.

spec: RFC6749 3.1, 4.1.1, 4.1.2; RFC9207 2; Matrix client-server-api authorisation-code-flow
"""

from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.clients import Client
from tripoint.core.oauth.errors import OAuthError
from tripoint.core.oauth.metadata import issuer_of
from tripoint.core.oauth.requests import (
    AuthorizationRequest,
    Refusing,
    Rejected,
    read_authorization,
    single,
)
from tripoint.core.oauth.uris import form_target, shown_host, with_answer
from tripoint.net.http import Response
from tripoint.oauth.gate import Gate, other_account
from tripoint.oauth.html import Html, el, join
from tripoint.oauth.visitor import Visitor, bullets, button, paragraph, say

ALLOW, DENY = "allow", "deny"


class AuthorizePage:
    """GET shows, POST answers; the request stays in the address."""

    def __init__(self, accounts: AccountService, oauth: Authorization, gate: Gate) -> None:
        self._accounts = accounts
        self._oauth = oauth
        self._gate = gate

    async def handle(self, visitor: Visitor) -> Response:
        words, parameters = visitor.words, visitor.request.queries()
        # spec: RFC6749 4.1.2.1: with a wrong client or redirect URI, nobody is sent anywhere.
        try:
            client_id, asked = single(parameters, "client_id"), single(parameters, "redirect_uri")
        except OAuthError as error:
            return visitor.problem(words("bad_request", reason=error.description))
        client = None if client_id is None else await self._oauth.clients.find(client_id)
        if client is None:
            return visitor.problem(words("unknown_client"))
        redirect_uri = client.redirect(asked)
        if redirect_uri is None:
            return visitor.problem(words("wrong_redirect"))
        try:
            request = read_authorization(parameters, client, redirect_uri)
        except Rejected as rejected:
            return self._refuse(visitor, rejected.to, rejected.error)
        instead = await self._gate.check(visitor, client.name(words.wanted))
        if instead is not None:
            return instead
        if not visitor.posted:
            return await self._ask(visitor, client, request)
        to = Refusing(redirect_uri, request.state, request.fragment)
        if visitor.field("do") == DENY:
            return self._refuse(visitor, to, OAuthError("access_denied", "the request was denied"))
        if visitor.field("do") != ALLOW:
            return await self._ask(visitor, client, request)
        try:
            code = await self._oauth.agree(visitor.account, client, request)
        except AccountRefused as refused:
            return await self._ask(visitor, client, request, visitor.refused(refused))
        return self._answer(visitor, to, {"code": code})

    async def _ask(
        self, visitor: Visitor, client: Client, request: AuthorizationRequest, problem: str | None = None
    ) -> Response:
        words = visitor.words
        visitor.form_targets = (form_target(request.redirect_uri),)
        replaced = None
        for device in await self._accounts.devices(visitor.account.user_id):
            if device.device_id == request.scope.device_id:
                name = device.display_name or device.device_id
                replaced = words("consent_replaces", device=name, id=device.device_id)
        return visitor.page(
            words("consent", client=client.name(words.wanted)),
            say(problem, alarm=True),
            say(replaced),
            about_client(visitor, client),
            paragraph(_where_then(visitor, request.redirect_uri)),
            paragraph(words("consent_device", id=request.scope.device_id), class_="quiet"),
            visitor.form(button(words("allow")), do=ALLOW),
            visitor.form(button(words("deny"), class_=None), do=DENY),
            other_account(visitor),
        )

    def _refuse(self, visitor: Visitor, to: Refusing, error: OAuthError) -> Response:
        return self._answer(visitor, to, {"error": error.error, "error_description": error.description})

    def _answer(self, visitor: Visitor, to: Refusing, parameters: dict[str, str]) -> Response:
        if to.state is not None:
            parameters["state"] = to.state
        parameters["iss"] = issuer_of(self._oauth.base)
        return visitor.redirect(with_answer(to.redirect_uri, parameters, fragment=to.fragment))


def _where_then(visitor: Visitor, redirect_uri: str) -> str:
    """Where the browser goes after the answer; what is no site is an app here."""
    if not redirect_uri.startswith("https:"):
        return visitor.words("consent_goes_home")
    return visitor.words("consent_goes_to", host=shown_host(redirect_uri))


def about_client(visitor: Visitor, client: Client) -> Html:
    """Who wants in, and what that means."""
    words = visitor.words
    pages = [
        el("a", words(text), href=address, target="_blank", rel="noopener noreferrer")
        for name, text in (("tos_uri", "terms"), ("policy_uri", "policy"))
        if (address := client.text(name, words.wanted)) is not None
    ]
    links = [piece for one in pages for piece in (" · ", one)][1:]
    user = visitor.account.user_id
    return join(
        paragraph(words("consent_who", client=client.name(words.wanted), host=client.host, user=user)),
        paragraph(words("consent_may")),
        bullets(words("may_read"), words("may_write"), words("may_rooms"), words("may_account")),
        paragraph(words("may_not"), class_="quiet"),
        paragraph(*links) if links else None,
    )
