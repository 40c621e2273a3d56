"""App passwords of an account: listed and made. A part of the account page; each ends as a session does.

spec: docs/mapping.md 18.2
"""

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.metadata import ACCOUNT
from tripoint.net.http import Response
from tripoint.oauth.html import el
from tripoint.oauth.sessions import session_address
from tripoint.oauth.visitor import Visitor, bullets, button, labelled, paragraph, say

MAKE = "make_app_password"
MAX_NAME = 60


class AppPasswordPages:
    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def handle(self, visitor: Visitor) -> Response:
        words, account = visitor.words, visitor.account
        apps, has_password = self._accounts.app_passwords, await self._accounts.has_password(account.user_id)
        made = problem = None
        name = visitor.field("app").strip()[:MAX_NAME]
        if visitor.posted and visitor.field("do") == MAKE and name:
            try:
                visitor.check_secure()
                if has_password:
                    current = visitor.field("current")
                    await self._accounts.check_password(account.name, current, address=visitor.request.address)
                made = await apps.add(account.user_id, name)
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        rows = [
            el("a", one.name or one.device_id, href=session_address(one.device_id))
            for one in await apps.of(account.user_id)
        ]
        current = labelled(words("current_password"), "current", type_="password", complete="current-password")
        return visitor.page(
            words("apps"),
            say(problem, alarm=True),
            say(None if made is None else words("app_made", name=name)),
            None if made is None else paragraph(el("code", made)),
            paragraph(words("apps_intro")),
            bullets(*rows, class_="rows") if rows else None,
            visitor.form(
                labelled(words("app_name"), "app"),
                current if has_password else None,
                button(words("app_make")),
                do=MAKE,
            ),
            paragraph(el("a", words("back"), href=ACCOUNT)),
            status=400 if problem else 200,
        )
