"""In front of every page: log in, or make an account. Passes on who is logged in already.

The page that somebody wanted stays in the address, so nothing is kept of what they came for.
spec: Matrix client-server-api user-registration (prompt=create)
"""

from collections.abc import Callable, Sequence

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.oauth.browsers import Browsers
from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.ids import InvalidId, parse_user_id, split_user_id
from tripoint.core.oauth.metadata import FORGOT
from tripoint.core.oauth.uris import form_target
from tripoint.net.http import Response
from tripoint.oauth.html import Child, Html, el
from tripoint.oauth.letter_forms import accepted_on, ask_by_page, email_field, letter_sent, make_fields
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

LOG_IN, MAKE, MAIL, OUT = "log-in", "make-account", "make-by-mail", "log-out"


class Gate:
    """`other_ways`: links to other ways of logging in (identity providers), for a page."""

    def __init__(
        self,
        accounts: AccountService,
        browsers: Browsers,
        other_ways: Callable[[Visitor], Sequence[Html]] = lambda _: (),
    ) -> None:
        self._accounts = accounts
        self._browsers = browsers
        self.other_ways = other_ways

    async def check(
        self, visitor: Visitor, client: str | None = None, *, leads_to: str | None = None
    ) -> Response | None:
        """What is shown instead of the page; None: somebody is logged in, and the page may go on.

        `client`: who it is that somebody is to let in; `leads_to`: to which other site the page sends them at once. A
        form that is not ours gets no further than this.
        """
        if leads_to is not None:
            visitor.form_targets = (form_target(leads_to),)
        wants_account = "create" in (visitor.query("prompt") or "").split()
        if visitor.posted:
            if not visitor.is_ours():
                return await self._show(visitor, client, wants_account, visitor.words("expired_form"), 403)
            do = visitor.field("do")
            if do == LOG_IN:
                return await self._log_in(visitor, client)
            if do == MAKE:
                return await self._make(visitor, client)
            if do == MAIL:
                return await self._write(visitor, client)
            if do == OUT:
                if visitor.visit is not None:
                    await self._browsers.close(visitor.visit)
                    visitor.logged_out()
                return visitor.redirect(visitor.target())
            if visitor.visit is None:
                return await self._show(visitor, client, False, visitor.words("expired_form"), 403)
            return None
        if visitor.visit is not None and not wants_account:
            return None
        return await self._show(visitor, client, wants_account, None)

    async def enter(self, visitor: Visitor, account: Account, target: str) -> Response:
        """Somebody has shown who they are: go on to a page as them."""
        visitor.logged_in(await self._browsers.open(account))
        return visitor.redirect(target)

    async def _log_in(self, visitor: Visitor, client: str | None) -> Response:
        try:
            visitor.check_secure()
            account = await self._accounts.check_password(
                self._localpart(visitor.field("name")), visitor.field("password"), address=visitor.request.address
            )
            return await self.enter(visitor, account, visitor.target(without=["prompt"]))
        except AccountRefused as refused:
            return await self._show(visitor, client, False, visitor.refused(refused), 403)

    async def _make(self, visitor: Visitor, client: str | None) -> Response:
        if visitor.field("password") != visitor.field("again"):
            return await self._show(visitor, client, True, visitor.words("passwords_differ"), 400)
        try:
            visitor.check_secure()
            account = await self._accounts.register(
                visitor.field("name").strip().lower(),
                visitor.field("password"),
                address=visitor.request.address,
                registration_token=visitor.field("token").strip() or None,
                accepted=accepted_on(visitor, self._accounts.terms),
            )
            return await self.enter(visitor, account, visitor.target(without=["prompt"]))
        except AccountRefused as refused:
            return await self._show(visitor, client, True, visitor.refused(refused), 400)

    async def _write(self, visitor: Visitor, client: str | None) -> Response:
        """The account is made on the page to which the letter leads (mail_pages.py), which then goes on to this one."""
        back = visitor.target(without=["prompt"])
        problem = await ask_by_page(self._accounts, visitor, Purpose.REGISTER_ON_PAGE, back)
        return letter_sent(visitor) if problem is None else await self._show(visitor, client, True, problem, 400)

    def _localpart(self, typed: str) -> str:
        """People type alice, Alice, @alice:example.org and alice@example.org."""
        name, server = typed.strip(), self._accounts.server_name
        if name.startswith("@"):
            try:
                localpart, where = split_user_id(parse_user_id(name))
            except InvalidId:
                return name.lower()
            return localpart.lower() if where == server else name.lower()
        return name.lower().removesuffix(f"@{server}")

    async def _show(
        self, visitor: Visitor, client: str | None, wants_account: bool, problem: str | None, status: int = 200
    ) -> Response:
        words, server = visitor.words, self._accounts.server_name
        mode = await self._accounts.registration_state()
        form: Html | None
        switch: Html | None
        forgot: Html | None = None
        if wants_account:
            # spec: prompt=create is for servers with accounts to make; what is typed stays but the passwords.
            closed = say(words("registration_closed"), alarm=True)
            form = closed if mode == "closed" else self._make_form(visitor, mode)
            other = visitor.target(without=["prompt"])
            switch = paragraph(words("have_account"), " ", el("a", words("log_in_link"), href=other))
            title, why = words("make_account", server=server), "make_account_for"
        else:
            form = self._log_in_form(visitor)
            link = el("a", words("make_account_link"), href=visitor.target(prompt="create"))
            switch = None if mode == "closed" else paragraph(words("no_account"), " ", link)
            forgot = self._forgot(visitor)
            title, why = words("log_in", server=server), "log_in_for"
        ways: Sequence[Child] = self.other_ways(visitor)
        between = el("h2", words("or_password")) if ways and not wants_account else None
        return visitor.page(
            title,
            say(problem, alarm=True),
            None if client is None else paragraph(words(why, client=client)),
            *ways,
            between,
            form,
            forgot,
            switch,
            status=status,
        )

    def _log_in_form(self, visitor: Visitor) -> Html:
        words = visitor.words
        name = (visitor.field("name") or visitor.query("login_hint") or "").removeprefix("mxid:")
        return visitor.form(
            labelled(words("name"), "name", complete="username", value=name[:255] or None, focus=not name),
            labelled(
                words("password"), "password", type_="password", complete="current-password", focus=bool(name)
            ),
            button(words("log_in_button")),
            do=LOG_IN,
        )

    def _forgot(self, visitor: Visitor) -> Html | None:
        if not self._accounts.contacts.is_on:
            return None
        return paragraph(el("a", visitor.words("forgot"), href=FORGOT))

    def _make_form(self, visitor: Visitor, mode: str) -> Html:
        words = visitor.words
        if self._accounts.email_required:
            text = paragraph(words("make_by_mail"))
            return visitor.form(text, email_field(visitor), button(words("send_letter")), do=MAIL)
        fields = make_fields(visitor, mode, self._accounts.terms)
        return visitor.form(*fields, button(words("make_account_button")), do=MAKE)


def other_account(visitor: Visitor) -> Html:
    """Who is logged in, and the way to be somebody else."""
    words = visitor.words
    return el(
        "div",
        words("not_you", user=visitor.account.user_id),
        " ",
        visitor.form(button(words("other_account"), class_="link"), do=OUT, class_="inline"),
        class_="quiet",
    )
