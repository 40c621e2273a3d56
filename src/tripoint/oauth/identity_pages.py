"""What an account is linked with at identity providers: shown, linked, taken away. A part of the account page."""

from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.core.oauth.metadata import ACCOUNT
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el
from tripoint.oauth.providers import start_address
from tripoint.oauth.visitor import Visitor, button, paragraph, say

UNLINK = "unlink"


class IdentityPages:
    def __init__(self, accounts: AccountService, oauth: Authorization) -> None:
        self._accounts = accounts
        self._oauth = oauth

    async def handle(self, visitor: Visitor) -> Response:
        words, user_id, identities = visitor.words, visitor.account.user_id, self._oauth.identities
        done = problem = None
        linked = await identities.of(user_id)
        if visitor.posted and visitor.field("do") == UNLINK:
            wanted = [one for one in linked if one.provider == visitor.field("provider")]
            others = len(linked) > len(wanted) or await self._accounts.has_password(user_id)
            if wanted and not others:
                problem = words("identity_needed")
            else:
                for one in wanted:
                    await identities.unlink(one.provider, one.subject)
                done, linked = words("identity_unlinked"), await identities.of(user_id)
        names = {one.provider for one in linked}
        rows: list[Html] = []
        for provider in self._oauth.providers:
            if provider.provider_id in names:
                hidden = el("input", type="hidden", name="provider", value=provider.provider_id)
                text = words("identity_unlink", provider=provider.name)
                rows.append(visitor.form(hidden, button(text, class_="alarm"), do=UNLINK))
            else:
                to = f"{ACCOUNT}?action=identities"
                href = start_address(provider.provider_id, to, link=True)
                rows.append(el("a", words("identity_link_with", provider=provider.name), href=href, class_="button"))
        return visitor.page(
            words("identities"),
            say(done),
            say(problem, alarm=True),
            *rows,
            paragraph(el("a", words("back"), href=ACCOUNT)),
            status=400 if problem else 200,
        )
