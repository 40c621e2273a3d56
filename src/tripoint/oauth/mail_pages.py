"""Pages that letters lead to, and those that have letters sent: an address is confirmed, a password chosen anew, an
account made.

Programs look at links in letters before people do, so a link does nothing by itself: a button does. Who has the link is
who has the address; nobody needs to be logged in.
spec: Matrix client-server-api POST /register/email/requestToken, POST /account/password; accounts/contacts.py
"""

from typing import Final
from urllib.parse import urlsplit

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.contacts import Validation
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.uris import form_target
from tripoint.net.http import Response
from tripoint.oauth.gate import Gate
from tripoint.oauth.html import Html
from tripoint.oauth.letter_forms import accepted_on, ask_by_page, email_field, letter_sent, make_fields
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

GO_ON: Final = "go-on"


class ConfirmMailPage:
    """/mail/confirm?sid=…&token=…"""

    def __init__(self, accounts: AccountService, gate: Gate) -> None:
        self._accounts = accounts
        self._contacts = accounts.contacts
        self._gate = gate

    async def handle(self, visitor: Visitor) -> Response:
        sid, token = visitor.query("sid") or "", visitor.query("token") or ""
        found = await self._contacts.find(sid, token)
        if found is None:
            return visitor.problem(visitor.words("mail_bad_link"), 404)
        purpose, row = found
        problem = None
        if visitor.posted:
            try:
                if visitor.is_ours():
                    do = self._do if purpose.on_page else self._confirm
                    answer = await do(visitor, sid, token)
                    if isinstance(answer, Response):
                        return answer
                    problem = answer
                else:
                    problem = visitor.words("expired_form")
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        elif row.validated_ts_ms is not None:
            return self._confirmed(visitor, row)
        return await self._show(visitor, purpose, row, problem)

    # -- the client goes on by itself

    async def _confirm(self, visitor: Visitor, sid: str, token: str) -> Response | str:
        row = await self._contacts.confirm(sid, token)
        return visitor.redirect(row.next_link) if row.next_link is not None else self._confirmed(visitor, row)

    def _confirmed(self, visitor: Visitor, row: Validation) -> Response:
        words = visitor.words
        return visitor.page(words("mail_confirmed"), paragraph(words("mail_confirmed_text", address=row.address)))

    # -- the page goes on

    async def _do(self, visitor: Visitor, sid: str, token: str) -> Response | str:
        """What the link is for, or the sentence that says what is wrong with the form."""
        purpose, shown = await self._contacts.follow(sid, token)
        words = visitor.words
        if purpose is Purpose.ADD_ON_PAGE:
            assert shown.user_id is not None, "the account page asks for somebody"
            await self._accounts.check_open(shown.user_id, address=visitor.request.address)
            await self._contacts.add(shown.user_id, shown)
            return visitor.page(words("email_added"), paragraph(words("email_added_text", address=shown.address)))
        visitor.check_secure()
        if visitor.field("password") != visitor.field("again"):
            return words("passwords_differ")
        if purpose is Purpose.RESET_ON_PAGE:
            account = await self._accounts.reset_password(
                shown, visitor.field("password"), address=visitor.request.address
            )
            now = words("reset_password_now", user=account.user_id)
            return visitor.page(words("reset_password_done"), paragraph(now))
        account = await self._accounts.register(
            visitor.field("name").strip().lower(),
            visitor.field("password"),
            address=visitor.request.address,
            registration_token=visitor.field("token").strip() or None,
            accepted=accepted_on(visitor, self._accounts.terms),
            shown=shown,
        )
        return await self._gate.enter(visitor, account, shown.next_link or "/account")

    async def _show(self, visitor: Visitor, purpose: Purpose, row: Validation, problem: str | None) -> Response:
        words, status = visitor.words, 400 if problem else 200
        if row.next_link is not None and not purpose.on_page:
            visitor.form_targets = (form_target(row.next_link),)
        title, text, fields = "mail_confirm", words("mail_confirm_text", address=row.address), list[Html | None]()
        if purpose is Purpose.ADD_ON_PAGE:
            text = words("mail_confirm_add", address=row.address, user=row.user_id or "")
        elif purpose is Purpose.RESET_ON_PAGE:
            owner = await self._contacts.owner("email", row.address)
            title, text = "reset_password", words("reset_password_text", user=owner or "")
            fields = list(_new_password(visitor))
        elif purpose is Purpose.REGISTER_ON_PAGE:
            mode = await self._accounts.registration_state()
            title, text = "make_account", words("mail_confirm_account", address=row.address)
            fields = list(make_fields(visitor, mode, self._accounts.terms))
        elif row.next_link is not None:
            then = words("mail_then", host=urlsplit(row.next_link).hostname or "")
            text = f"{text} {then}"
        return visitor.page(
            words(title, server=self._accounts.server_name),
            say(problem, alarm=True),
            paragraph(text),
            visitor.form(*fields, button(words("uia_go_on")), do=GO_ON),
            status=status,
        )


class LeavePage:
    """/mail/leave?user=…&token=…: no more letters about unread messages. Mail programs post to it by themselves,
    without a form of ours (spec: RFC8058 3.2): who has the link may."""

    def __init__(self, accounts: AccountService) -> None:
        self._leaving = accounts.leaving

    async def handle(self, visitor: Visitor) -> Response:
        words, problem = visitor.words, None
        pusher = self._leaving.find(visitor.query("user") or "", visitor.query("token") or "")
        if pusher is None:
            return visitor.page(words("leave_done"), paragraph(words("leave_unknown")))
        if visitor.posted:
            try:
                await self._leaving.leave(pusher)
                return visitor.page(words("leave_done"), paragraph(words("leave_done_text", address=pusher.pushkey)))
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        return visitor.page(
            words("leave"),
            say(problem, alarm=True),
            paragraph(words("leave_text", address=pusher.pushkey)),
            visitor.form(button(words("leave_button")), do=GO_ON),
            status=503 if problem else 200,
        )


class ForgotPage:
    """/mail/forgot: a letter by which a password is chosen anew."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def handle(self, visitor: Visitor) -> Response:
        words, problem = visitor.words, None
        if not self._accounts.contacts.is_on:
            return visitor.problem(words("forgot_off"), 404)
        if visitor.posted:
            if not visitor.is_ours():
                problem = words("expired_form")
            else:
                problem = await ask_by_page(self._accounts, visitor, Purpose.RESET_ON_PAGE)
            if problem is None:
                return letter_sent(visitor)
        return visitor.page(
            words("forgot"),
            say(problem, alarm=True),
            paragraph(words("forgot_text")),
            visitor.form(email_field(visitor), button(words("send_letter")), do=GO_ON),
            status=400 if problem else 200,
        )


def _new_password(visitor: Visitor) -> tuple[Html, Html]:
    words = visitor.words
    return (
        labelled(words("new_password"), "password", type_="password", complete="new-password", focus=True),
        labelled(words("password_again"), "again", type_="password", complete="new-password"),
    )
