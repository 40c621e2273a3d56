"""SSO for clients of the legacy API: log in on this server's pages, and take a token back to the client.

spec: Matrix client-server-api sso-login; "Homeservers SHOULD confirm with the user that they are happy to grant access
to their matrix account to the site named in the redirectUrl".
"""

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.uris import form_target, shown_host
from tripoint.net.http import Response
from tripoint.oauth.gate import Gate, other_account
from tripoint.oauth.providers import start_address
from tripoint.oauth.visitor import Visitor, button, paragraph, say

GO_ON = "go-on"
# Schemes that a browser carries out itself instead of going anywhere.
_DANGEROUS: Final = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "view-source"})
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]*\Z")
MAX_URL: Final = 2048


class SsoPage:
    """/sso?redirectUrl=…"""

    def __init__(self, accounts: AccountService, gate: Gate) -> None:
        self._accounts = accounts
        self._gate = gate

    async def handle(self, visitor: Visitor) -> Response:
        words, url = visitor.words, visitor.query("redirectUrl") or ""
        if not is_redirect(url):
            return visitor.problem(words("wrong_redirect"))
        provider = visitor.query("provider")
        if provider is not None and visitor.visit is None:
            # spec: "The server MUST respond with an HTTP redirect to the SSO interface for that IdP."
            return visitor.redirect(start_address(provider, visitor.target(without=["provider", "prompt"])))
        instead = await self._gate.check(visitor)
        if instead is not None:
            return instead
        problem = None
        if visitor.posted and visitor.field("do") == GO_ON:
            try:
                token = await self._accounts.make_sso_token(visitor.account.user_id)
                return visitor.redirect(with_token(url, token))
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        host = shown_host(url)
        visitor.form_targets = (form_target(url),)
        return visitor.page(
            words("sso_title", host=host),
            say(problem, alarm=True),
            paragraph(words("sso_text", user=visitor.account.user_id, host=host)),
            paragraph(words("sso_warn"), class_="quiet"),
            visitor.form(button(words("sso_button")), do=GO_ON),
            other_account(visitor),
        )


def is_redirect(url: str) -> bool:
    """Whether a browser can be sent there: an address with a scheme that leads to a client."""
    if len(url) > MAX_URL or _URL.match(url) is None or set(url) & set(";,'\"\\"):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme in _DANGEROUS or "@" in parts.netloc:
        return False
    return bool(parts.hostname) if parts.scheme in ("http", "https") else True


def with_token(url: str, token: str) -> str:
    """spec: "If it already includes one or more loginToken parameters, they should be removed"."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "loginToken"]
    return parts._replace(query=urlencode([*kept, ("loginToken", token)])).geturl()
