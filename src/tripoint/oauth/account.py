"""The account page: profile, password, encryption identity, the end of the account. Sessions are sessions.py's.

Clients send people here with `action`, and `device_id` where it is about a session.
spec: Matrix client-server-api oauth-20-account-management
"""

from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.oauth.metadata import (
    ACCOUNT,
    CROSS_SIGNING,
    DEACTIVATE,
    DEVICES,
    PROFILE,
    TERMS,
)
from tripoint.net.http import Response
from tripoint.oauth.app_password_pages import AppPasswordPages
from tripoint.oauth.contact_pages import ContactPages
from tripoint.oauth.gate import Gate, other_account
from tripoint.oauth.html import Html, el
from tripoint.oauth.identity_pages import IdentityPages
from tripoint.oauth.sessions import SessionPages
from tripoint.oauth.terms_pages import TermsPages
from tripoint.oauth.visitor import Visitor, bullets, button, labelled, paragraph, say
from tripoint.rooms.commands import SetProfile
from tripoint.rooms.ports import RoomService
from tripoint.rooms.refusals import Refused

PASSWORD = "password"
IDENTITIES = "identities"
APPS = "apps"
EMAILS = "emails"
MAX_DISPLAY_NAME = 256


class AccountPages:
    def __init__(self, rooms: RoomService, accounts: AccountService, oauth: Authorization, gate: Gate) -> None:
        self._rooms = rooms
        self._accounts = accounts
        self._oauth = oauth
        self._gate = gate
        self._sessions = SessionPages(accounts)
        self._apps = AppPasswordPages(accounts)
        self._identities = IdentityPages(accounts, oauth)
        self._contacts = ContactPages(accounts)
        self._terms = TermsPages(accounts)

    async def handle(self, visitor: Visitor) -> Response:
        instead = await self._gate.check(visitor)
        if instead is not None:
            return instead
        action = visitor.query("action") or ""
        try:
            # COMPAT: before the specification took them up, clients had names without the prefix (MSC4191).
            match action:
                case "org.matrix.profile" | "profile":
                    return await self._profile(visitor)
                case "org.matrix.devices_list" | "org.matrix.sessions_list" | "sessions_list":
                    return await self._sessions.listed(visitor)
                case "org.matrix.device_view" | "org.matrix.session_view" | "session_view":
                    return await self._sessions.view(visitor)
                case "org.matrix.device_delete" | "org.matrix.session_end" | "session_end":
                    return await self._sessions.delete(visitor)
                case "org.matrix.cross_signing_reset":
                    return self._reset(visitor)
                case "org.matrix.account_deactivate":
                    return await self._deactivate(visitor)
                case "password":
                    return await self._password(visitor)
                case "apps":
                    return await self._apps.handle(visitor)
                case "emails" if self._accounts.contacts.is_on:
                    return await self._contacts.handle(visitor)
                case "terms" if self._accounts.consents.of_all:
                    return await self._terms.handle(visitor)
                case "identities" if self._oauth.providers:
                    return await self._identities.handle(visitor)
        except AccountRefused as refused:
            return visitor.problem(visitor.refused(refused))
        return await self._overview(visitor)

    async def _overview(self, visitor: Visitor) -> Response:
        words = visitor.words
        to_accept = await self._accounts.consents.lacking(visitor.account.user_id)
        return visitor.page(
            words("account"),
            paragraph(el("strong", visitor.account.user_id)),
            bullets(
                *([_link(words("terms_title"), TERMS)] if to_accept else []),
                _link(words("profile"), PROFILE),
                _link(words("sessions"), DEVICES),
                _link(words("change_password"), PASSWORD),
                _link(words("apps"), APPS),
                *([_link(words("emails"), EMAILS)] if self._accounts.contacts.is_on else []),
                *([_link(words("identities"), IDENTITIES)] if self._oauth.providers else []),
                _link(words("reset_title"), CROSS_SIGNING),
                _link(words("deactivate"), DEACTIVATE),
                class_="rows",
            ),
            other_account(visitor),
        )

    async def _profile(self, visitor: Visitor) -> Response:
        words, account = visitor.words, visitor.account
        done = problem = None
        if visitor.posted:
            name = visitor.field("displayname").strip()[:MAX_DISPLAY_NAME]
            try:
                await self._rooms.do(SetProfile(actor=account.user_id, field="displayname", value=name or None))
                done = words("saved")
            except Refused as refused:
                problem = refused.text
        profile = await self._accounts.profile(account.user_id)
        return visitor.page(
            words("profile"),
            say(done),
            say(problem, alarm=True),
            visitor.form(
                labelled(
                    words("display_name"),
                    "displayname",
                    hint=words("display_name_hint"),
                    complete="nickname",
                    value=profile.get("displayname", ""),
                    required=False,
                ),
                button(words("save")),
                do="profile",
            ),
            back(visitor),
        )

    async def _password(self, visitor: Visitor) -> Response:
        words, account = visitor.words, visitor.account
        has_one = await self._accounts.has_password(account.user_id)
        problem = None
        if visitor.posted:
            try:
                visitor.check_secure()
                if visitor.field("password") != visitor.field("again"):
                    problem = words("passwords_differ")
                else:
                    if has_one:
                        await self._check_password(visitor)
                    await self._change_password(visitor)
                    return visitor.page(words("change_password"), say(words("password_changed")), back(visitor))
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        current = labelled(words("current_password"), "current", type_="password", complete="current-password")
        return visitor.page(
            words("change_password"),
            say(problem, alarm=True),
            visitor.form(
                # Password managers look for whose it is.
                el("input", type="hidden", name="name", value=account.name, autocomplete="username"),
                current if has_one else None,
                labelled(words("new_password"), "password", type_="password", complete="new-password"),
                labelled(words("password_again"), "again", type_="password", complete="new-password"),
                button(words("save")),
                do=PASSWORD,
            ),
            back(visitor),
            status=400 if problem else 200,
        )

    async def _change_password(self, visitor: Visitor) -> None:
        visit = visitor.visit
        assert visit is not None, "the gate was passed"
        await self._accounts.change_password(
            visit.account.user_id, visitor.field("password"), keep_device=None, keep_browser=visit.token_hash
        )

    async def _check_password(self, visitor: Visitor) -> None:
        await self._accounts.check_password(
            visitor.account.name, visitor.field("current"), address=visitor.request.address
        )

    def _reset(self, visitor: Visitor) -> Response:
        """spec: Matrix client-server-api oauth-authentication: the client goes on with its session."""
        words = visitor.words
        if visitor.posted:
            self._oauth.allow_reset(visitor.account.user_id)
            return visitor.page(words("reset_title_done"), say(words("reset_done")))
        return visitor.page(
            words("reset_title"),
            paragraph(words("reset_text")),
            visitor.form(button(words("reset_button"), class_="alarm"), do="reset"),
            other_account(visitor),
        )

    async def _deactivate(self, visitor: Visitor) -> Response:
        words, account = visitor.words, visitor.account
        has_one = await self._accounts.has_password(account.user_id)
        problem = None
        if visitor.posted:
            try:
                visitor.check_secure()
                if visitor.field("name").strip() != account.name:
                    problem = words("deactivate_wrong")
                else:
                    if has_one:
                        await self._check_password(visitor)
                    await self._accounts.deactivate(account.user_id)
                    visitor.logged_out()
                    return visitor.page(words("deactivated"), paragraph(words("deactivated_text")))
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        current = labelled(words("password"), "current", type_="password", complete="current-password")
        return visitor.page(
            words("deactivate"),
            say(problem, alarm=True),
            paragraph(words("deactivate_text", user=account.user_id)),
            visitor.form(
                labelled(words("deactivate_confirm", name=account.name), "name"),
                current if has_one else None,
                button(words("deactivate_button"), class_="alarm"),
                do="deactivate",
            ),
            back(visitor),
            status=400 if problem else 200,
        )


def _link(text: str, action: str) -> Html:
    return el("a", text, href=f"{ACCOUNT}?action={action}")


def back(visitor: Visitor) -> Html:
    return paragraph(el("a", visitor.words("back"), href=ACCOUNT))


