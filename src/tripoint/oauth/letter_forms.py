"""Parts of pages that make accounts and have letters sent, which several pages share."""

import secrets
from collections.abc import Sequence
from typing import Final

from tripoint.accounts.contact_letters import Purpose
from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.terms import Accepted, Terms
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el
from tripoint.oauth.visitor import Visitor, labelled, paragraph

# What the field of a document is called, before its id.
_TERMS: Final = "terms."


async def ask_by_page(
    accounts: AccountService, visitor: Visitor, purpose: Purpose, next_link: str | None = None
) -> str | None:
    """Send a letter to the address that was typed; None, or what is wrong. The answer is the same whoever has it."""
    account = None if visitor.visit is None else visitor.visit.account.user_id
    try:
        await accounts.contacts.ask(
            purpose,
            visitor.field("email"),
            secrets.token_urlsafe(18),
            1,
            next_link,
            address=visitor.request.address,
            user_id=account if purpose.is_add else None,
            languages=visitor.languages,
        )
    except AccountRefused as refused:
        return visitor.refused(refused)
    return None


def letter_sent(visitor: Visitor) -> Response:
    words, address = visitor.words, visitor.field("email")[:254]
    return visitor.page(words("letter_sent"), paragraph(words("letter_sent_text", address=address)))


def email_field(visitor: Visitor) -> Html:
    return labelled(
        visitor.words("email"), "email", type_="email", complete="email", value=visitor.field("email")[:254] or None
    )


def terms_fields(visitor: Visitor, terms: Sequence[Terms]) -> list[Html]:
    """A box to tick for each document, with a link to it in the person's language. spec: Matrix client-server-api
    "Terms of service at registration": "a checkbox to accept each policy, including a link to the provided URL" """
    found = []
    for one in terms:
        text, ticked = one.text_for(visitor.words.wanted), visitor.field(_TERMS + one.document) == one.version
        box = el(
            "input",
            type="checkbox",
            name=_TERMS + one.document,
            value=one.version,
            required=True,
            checked=ticked,
        )
        link = el("a", text.name, href=text.url, target="_blank", rel="noopener")
        found.append(el("label", box, " ", visitor.words("terms_accept"), " ", link, class_="tick"))
    return found


def accepted_on(visitor: Visitor, terms: Sequence[Terms]) -> Accepted:
    """Which boxes were ticked, and for which version."""
    given = {one.document: visitor.field(_TERMS + one.document) for one in terms}
    return {document: version for document, version in given.items() if version}


def make_fields(visitor: Visitor, mode: str, terms: Sequence[Terms]) -> tuple[Html | None, ...]:
    """What somebody types who makes an account; `mode`: whether that takes a registration token."""
    words = visitor.words
    token = None
    if mode == "token":
        hint = words("registration_token_hint")
        token = labelled(words("registration_token"), "token", hint=hint, value=visitor.field("token") or None)
    return (
        labelled(
            words("name"),
            "name",
            hint=words("name_hint"),
            complete="username",
            value=visitor.field("name") or None,
            focus=True,
        ),
        labelled(words("new_password"), "password", type_="password", complete="new-password"),
        labelled(words("password_again"), "again", type_="password", complete="new-password"),
        token,
        *terms_fields(visitor, terms),
    )
