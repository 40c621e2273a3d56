"""The page on which somebody shows what a client cannot ask for by itself: each stage that is offered has one.

spec: Matrix client-server-api fallback. The script is the specification's: it tells the client that it may go on.
"""

import secrets
from typing import Final
from urllib.parse import urlencode

from tripoint.accounts.confirmations import Confirmation
from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import split_user_id
from tripoint.core.json_view import object_at, text_at
from tripoint.core.oauth.metadata import ACCOUNT, CONFIRM, CROSS_SIGNING
from tripoint.core.terms import lacking, read_policies
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el
from tripoint.oauth.letter_forms import accepted_on, email_field, terms_fields
from tripoint.oauth.providers import confirm_address
from tripoint.oauth.visitor import Visitor, button, labelled, paragraph, say

PASSWORD, TOKEN, DUMMY = "m.login.password", "m.login.registration_token", "m.login.dummy"
SSO, EMAIL, TERMS = "m.login.sso", "m.login.email.identity", "m.login.terms"
OAUTH: Final = ("m.oauth", "org.matrix.cross_signing_reset")
STAGES: Final = (PASSWORD, TOKEN, DUMMY, SSO, EMAIL, TERMS, *OAUTH)
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
# What an address is shown for, by the purpose of the session.
_LETTERS: Final = {"register": Purpose.REGISTER, "password reset": Purpose.RESET}
_ASK: Final = "ask"


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
        if found is None or stage not in found.stages or stage not in STAGES:
            return visitor.problem(words("uia_unknown"), 404)
        if stage in found.passed:
            return _done(visitor)
        if stage == SSO:
            return await self._by_provider(visitor, found)
        if stage in OAUTH:
            return self._by_account_page(visitor, found)
        problem = None
        if visitor.posted:
            try:
                if not visitor.is_ours():
                    problem = words("expired_form")
                elif stage == EMAIL and visitor.field("do") == _ASK:
                    await self._write(visitor, found)
                else:
                    found.passed[stage] = await self._pass(visitor, found, stage)
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

    def _by_account_page(self, visitor: Visitor, found: Confirmation) -> Response:
        """spec: oauth-authentication: it is done on the account page; here is the way there, and the end of it."""
        assert found.user_id is not None, "keys are somebody's"
        words = visitor.words
        if self._oauth.is_reset_allowed(found.user_id):
            return _done(visitor)
        again = urlencode({"session": visitor.query("session") or "", "stage": visitor.query("stage") or ""})
        return visitor.page(
            words("uia_title"),
            paragraph(words("uia_account_page", user=found.user_id)),
            el("a", words("reset_title"), href=f"{ACCOUNT}?action={CROSS_SIGNING}", target="_blank", class_="button"),
            paragraph(el("a", words("uia_go_on"), href=f"{CONFIRM}?{again}")),
        )

    async def _write(self, visitor: Visitor, found: Confirmation) -> None:
        """Send a letter to the address that was typed; its link confirms it to nobody but this session."""
        secret = secrets.token_urlsafe(18)
        sid = await self._accounts.contacts.ask(
            _LETTERS[found.purpose],
            visitor.field("email"),
            secret,
            1,
            None,
            address=visitor.request.address,
            languages=visitor.languages,
        )
        found.pending = {"type": EMAIL, "threepid_creds": {"sid": sid, "client_secret": secret}}

    async def _pass(self, visitor: Visitor, found: Confirmation, stage: str) -> JsonObject:
        """What a client would say that shows the same. AccountRefused where nothing is shown."""
        if stage == PASSWORD:
            assert found.user_id is not None, "a password is somebody's"
            visitor.check_secure()
            name, _ = split_user_id(found.user_id)
            await self._accounts.check_password(name, visitor.field("password"), address=visitor.request.address)
            return {"type": PASSWORD}
        if stage == TOKEN:
            token = visitor.field("token").strip()
            if not await self._accounts.registration_tokens.is_valid(token):
                raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN)
            return {"type": TOKEN, "token": token}
        if stage == TERMS:
            presented = read_policies(found.params.get(TERMS, {}))
            if lacking(presented, accepted_on(visitor, presented)):
                raise AccountRefused(AccountRefusal.TERMS_NEEDED)
        elif stage == EMAIL:
            if found.pending is None:
                raise AccountRefused(AccountRefusal.NOT_CONFIRMED)
            creds = object_at(found.pending, "threepid_creds")
            sid, secret = text_at(creds, "sid") or "", text_at(creds, "client_secret") or ""
            await self._accounts.contacts.check_shown(_LETTERS[found.purpose], sid, secret)
            return found.pending
        return {"type": stage}


def _fields(visitor: Visitor, found: Confirmation, stage: str) -> list[Html]:
    words = visitor.words
    fields: list[Html] = []
    if stage == PASSWORD:
        fields = [labelled(words("password"), "password", type_="password", complete="current-password", focus=True)]
        text = words("uia_password", what=words(_WHAT[found.what]))
    elif stage == TOKEN:
        fields = [labelled(words("registration_token"), "token", hint=words("registration_token_hint"), focus=True)]
        text = words("uia_token")
    elif stage == TERMS:
        fields = list(terms_fields(visitor, read_policies(found.params.get(TERMS, {}))))
        text = words("uia_terms")
    elif stage == EMAIL:
        ask = visitor.form(email_field(visitor), button(words("send_letter")), do=_ASK)
        if found.pending is None:
            return [paragraph(words("uia_email")), ask]
        return [
            paragraph(words("uia_email_sent")),
            visitor.form(button(words("uia_go_on")), do="confirm"),
            el("h2", words("uia_email_again")),
            ask,
        ]
    else:
        text = words("uia_dummy")
    return [paragraph(text), visitor.form(*fields, button(words("uia_go_on")), do="confirm")]


def _done(visitor: Visitor) -> Response:
    words = visitor.words
    return visitor.page(words("uia_done"), paragraph(words("uia_done_text")), script=DONE)
