"""The page on which somebody lets in a device that cannot show one: they type its code.

spec: RFC8628 3.3, 5.4; Matrix client-server-api device-authorisation-flow
"""

from tripoint.accounts.oauth.codes import DeviceGrant
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.clients import Client
from tripoint.core.oauth.requests import shown_user_code
from tripoint.net.http import Response
from tripoint.oauth.authorize import ALLOW, DENY, about_client
from tripoint.oauth.gate import Gate, other_account
from tripoint.oauth.html import el
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

LOOK = "look"


class LinkPage:
    """/link, and /link?user_code=… for those who come by an address that has the code in it."""

    def __init__(self, oauth: Authorization, gate: Gate) -> None:
        self._oauth = oauth
        self._gate = gate

    async def handle(self, visitor: Visitor) -> Response:
        instead = await self._gate.check(visitor)
        if instead is not None:
            return instead
        typed = visitor.field("user_code") if visitor.posted else visitor.query("user_code") or ""
        if not typed.strip():
            return self._ask_code(visitor)
        try:
            found = await self._oauth.find_user_code(
                typed, account=visitor.account, address=visitor.request.address
            )
            if found is None:
                return self._ask_code(visitor, visitor.words("link_unknown"), typed)
            grant, client = found
            do = visitor.field("do") if visitor.posted else LOOK
            if do not in (ALLOW, DENY):
                return self._ask(visitor, grant, client)
            await self._oauth.answer_device(grant, client, visitor.account, allowed=do == ALLOW)
        except AccountRefused as refused:
            return self._ask_code(visitor, visitor.refused(refused), typed)
        words = visitor.words
        if do == ALLOW:
            return visitor.page(words("link_done"), paragraph(words("link_done_text")))
        return visitor.page(words("link_denied"))

    def _ask_code(self, visitor: Visitor, problem: str | None = None, typed: str = "") -> Response:
        words = visitor.words
        return visitor.page(
            words("link_title"),
            say(problem, alarm=True),
            paragraph(words("link_enter")),
            visitor.form(
                labelled(words("link_code"), "user_code", value=typed[:20] or None, class_="code", focus=True),
                button(words("link_button")),
                do=LOOK,
                action=visitor.request.path,
            ),
            other_account(visitor),
            status=200 if problem is None else 400,
        )

    def _ask(self, visitor: Visitor, grant: DeviceGrant, client: Client) -> Response:
        """spec: RFC8628 3.3.1, 5.4: the code is shown again, so that somebody who was sent a link compares."""
        words = visitor.words
        code = el("input", type="hidden", name="user_code", value=grant.user_code)
        return visitor.page(
            words("consent", client=client.name(words.wanted)),
            paragraph(words("link_check"), " ", el("strong", shown_user_code(grant.user_code), class_="code")),
            say(words("link_warn")),
            about_client(visitor, client),
            paragraph(words("consent_device", id=grant.device_id), class_="quiet"),
            visitor.form(code, button(words("allow")), do=ALLOW, action=visitor.request.path),
            visitor.form(code, button(words("deny"), class_=None), do=DENY, action=visitor.request.path),
            other_account(visitor),
        )
