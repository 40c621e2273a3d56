"""The e-mail addresses of an account: shown, added by a letter, taken away. A part of the account page."""

from typing import Final

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.contacts import EMAIL
from tripoint.accounts.ports import AccountService
from tripoint.core.oauth.metadata import ACCOUNT
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el
from tripoint.oauth.letter_forms import ask_by_page, email_field, letter_sent
from tripoint.oauth.visitor import Visitor, button, paragraph, say

ADD: Final = "add-email"
REMOVE: Final = "remove-email"


class ContactPages:
    def __init__(self, accounts: AccountService) -> None:
        self._contacts = accounts.contacts
        self._accounts = accounts

    async def handle(self, visitor: Visitor) -> Response:
        words, user_id = visitor.words, visitor.account.user_id
        done = problem = None
        if visitor.posted and visitor.field("do") == REMOVE:
            await self._contacts.remove(user_id, EMAIL, visitor.field("address"))
            done = words("email_removed")
        elif visitor.posted and visitor.field("do") == ADD:
            problem = await ask_by_page(self._accounts, visitor, Purpose.ADD_ON_PAGE)
            if problem is None:
                return letter_sent(visitor)
        rows: list[Html] = []
        for one in await self._contacts.of(user_id):
            hidden = el("input", type="hidden", name="address", value=one.address)
            remove = visitor.form(hidden, button(words("email_remove"), class_="alarm"), do=REMOVE)
            rows.append(el("div", el("strong", one.address), remove))
        return visitor.page(
            words("emails"),
            say(done),
            say(problem, alarm=True),
            paragraph(words("emails_text")),
            *rows,
            visitor.form(email_field(visitor), button(words("send_letter")), do=ADD),
            paragraph(el("a", words("back"), href=ACCOUNT)),
            status=400 if problem else 200,
        )
