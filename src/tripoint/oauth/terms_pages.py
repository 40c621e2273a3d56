"""What there is to read and accept, for accounts that exist. A part of the account page."""

from tripoint.accounts.ports import AccountService
from tripoint.core.oauth.metadata import ACCOUNT
from tripoint.core.oauth.metadata import TERMS as DO
from tripoint.core.terms import lacking
from tripoint.net.http import Response
from tripoint.oauth.html import el
from tripoint.oauth.letter_forms import accepted_on, terms_fields
from tripoint.oauth.visitor import Visitor, button, paragraph, say


class TermsPages:
    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def handle(self, visitor: Visitor) -> Response:
        words, user_id = visitor.words, visitor.account.user_id
        wanted = await self._accounts.consents.lacking(user_id)
        problem = None
        if visitor.posted and visitor.field("do") == DO and wanted:
            accepted = accepted_on(visitor, wanted)
            if lacking(wanted, accepted):
                problem = words("terms_tick")
            else:
                await self._accounts.consents.accept(user_id, accepted)
                wanted = await self._accounts.consents.lacking(user_id)
        if wanted:
            content = [
                say(problem, alarm=True),
                paragraph(words("terms_text")),
                visitor.form(*terms_fields(visitor, wanted), button(words("terms_button")), do=DO),
            ]
        else:
            content = [say(words("terms_done"))]
        return visitor.page(
            words("terms_title"),
            *content,
            paragraph(el("a", words("back"), href=ACCOUNT)),
            status=400 if problem else 200,
        )
