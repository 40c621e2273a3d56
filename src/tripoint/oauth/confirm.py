"""The page on which somebody shows what a client cannot ask for by itself: the password, a registration token.

spec: Matrix client-server-api fallback. The script is the specification's: it tells the client that it may go on.
"""

from typing import Final

from tripoint.accounts.confirmations import Confirmation
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import split_user_id
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el
from tripoint.oauth.providers import confirm_address
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

PASSWORD, TOKEN, DUMMY = "m.login.password", "m.login.registration_token", "m.login.dummy"
SSO: Final = "m.login.sso"
DONE: Final = (
    "if(window.onAuthDone){window.onAuthDone()}"
    'else if(window.opener&&window.opener.postMessage){window.opener.postMessage("authDone","*")}'
)

# What clients want to do, by the name that the front end has for it.
_WHAT: Final = {
    "password": "what_password",
    "devices": "what_devices",
    "deactivate": "what_deactivate",
    "device_signing": "what_signing",
    "login token": "what_token",
    "threepid": "what_threepid",
}


class ConfirmPage:
    """/confirm?session=…&stage=…"""

    def __init__(self, accounts: AccountService, oauth: Authorization) -> None:
        self._accounts = accounts
        self._oauth = oauth
        self._confirmations = oauth.confirmations

    async def handle(self, visitor: Visitor) -> Response:
        words = visitor.words
        found = self._confirmations.find(visitor.query("session") or "")
        stage = visitor.query("stage") or ""
        if found is None or stage not in found.stages or stage not in (PASSWORD, TOKEN, DUMMY, SSO):
            return visitor.problem(words("uia_unknown"), 404)
        if found.passed is not None:
            return _done(visitor)
        if stage == SSO:
            return await self._by_provider(visitor, found)
        problem = None
        if visitor.posted:
            try:
                if not visitor.is_ours():
                    problem = words("expired_form")
                else:
                    await self._pass(visitor, found, stage)
                    return _done(visitor)
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        return visitor.page(
            words("uia_title"),
            say(problem, alarm=True),
            *_fields(visitor, found, stage),
            status=403 if problem else 200,
        )

    async def _by_provider(self, visitor: Visitor, found: Confirmation) -> Response:
        """spec: sso-login: "Homeservers SHOULD confirm that the user is happy for the operation to go ahead"."""
        assert found.user_id is not None, "an identity is somebody's"
        words, session = visitor.words, visitor.query("session") or ""
        linked = {one.provider for one in await self._oauth.identities.of(found.user_id)}
        ways = [
            el(
                "a",
                words("log_in_with", provider=one.name),
                href=confirm_address(one.provider_id, session),
                class_="button",
            )
            for one in self._oauth.providers
            if one.provider_id in linked
        ]
        return visitor.page(words("uia_title"), paragraph(words("uia_sso", what=words(_WHAT[found.what]))), *ways)

    async def _pass(self, visitor: Visitor, found: Confirmation, stage: str) -> None:
        if stage == PASSWORD:
            assert found.user_id is not None, "a password is somebody's"
            visitor.check_secure()
            name, _ = split_user_id(found.user_id)
            await self._accounts.check_password(name, visitor.field("password"), address=visitor.request.address)
            found.passed = {"type": PASSWORD}
        elif stage == TOKEN:
            token = visitor.field("token").strip()
            if not await self._accounts.registration_tokens.is_valid(token):
                raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN)
            found.passed = {"type": TOKEN, "token": token}
        else:
            found.passed = {"type": DUMMY}


def _fields(visitor: Visitor, found: Confirmation, stage: str) -> list[Html]:
    words = visitor.words
    if stage == PASSWORD:
        field = labelled(
            words("password"), "password", type_="password", complete="current-password", focus=True
        )
        text = words("uia_password", what=words(_WHAT[found.what]))
    elif stage == TOKEN:
        field = labelled(words("registration_token"), "token", hint=words("registration_token_hint"), focus=True)
        text = words("uia_token")
    else:
        return [paragraph(words("uia_dummy")), visitor.form(button(words("uia_go_on")), do="confirm")]
    return [paragraph(text), visitor.form(field, button(words("uia_go_on")), do="confirm")]


def _done(visitor: Visitor) -> Response:
    words = visitor.words
    return visitor.page(words("uia_done"), paragraph(words("uia_done_text")), script=DONE)
