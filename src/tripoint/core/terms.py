"""Documents that whoever makes an account has to accept: terms of service, a privacy policy.

Each has an id, a version, and an address in one or more languages. Which of them somebody has accepted is kept with the
account, as {id: version}. spec: Matrix client-server-api "Terms of service at registration"
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.json_view import text_at

# What somebody has accepted, and which version of it.
Accepted = Mapping[str, str]
NOTHING_ACCEPTED: Final[Accepted] = {}

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# spec: Definition: m.login.terms params: languages are those of the keys beside "version".
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


class TermsText(Struct, frozen=True):
    """A document as people read it in one language."""

    language: str
    name: str
    url: str


class Terms(Struct, frozen=True):
    """One document. `texts` has at least one."""

    document: str
    version: str
    texts: tuple[TermsText, ...]

    def text_for(self, wanted: Sequence[str] = ()) -> TermsText:
        """The text in the first of the languages `wanted` that there is; else in English, else the first.

        A tag is met by itself, then by its language alone: de-AT by de.
        """
        for tag in (*wanted, "en"):
            for text in self.texts:
                if text.language.lower() in (tag.lower(), tag.partition("-")[0].lower()):
                    return text
        return self.texts[0]


def is_document_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def is_language(text: str) -> bool:
    """Whether a document can have a text under this tag: "version" is no language."""
    return _LANGUAGE.fullmatch(text) is not None and text != "version"


def lacking(terms: Sequence[Terms], accepted: Accepted) -> list[Terms]:
    """Those that are not accepted in their present version."""
    return [one for one in terms if accepted.get(one.document) != one.version]


def all_of(terms: Sequence[Terms]) -> Accepted:
    """What somebody has accepted who accepts all of these."""
    return {one.document: one.version for one in terms}


def in_words(terms: Sequence[Terms], wanted: Sequence[str] = ()) -> str:
    """Names and addresses, for protocols that have a line for it: "Terms of Service (https://…), Privacy (https://…)"."""
    texts = [one.text_for(wanted) for one in terms]
    return ", ".join(f"{text.name} ({text.url})" for text in texts)


def write_policies(terms: Sequence[Terms]) -> JsonObject:
    """The parameters of the stage m.login.terms."""
    policies: dict[str, Json] = {}
    for one in terms:
        texts: dict[str, Json] = {text.language: {"name": text.name, "url": text.url} for text in one.texts}
        policies[one.document] = {"version": one.version, **texts}
    return {"policies": policies}


def read_policies(params: JsonObject) -> list[Terms]:
    """What write_policies() has written."""
    found: list[Terms] = []
    policies = params.get("policies")
    for document, policy in policies.items() if isinstance(policies, dict) else ():
        if isinstance(policy, dict):
            texts = tuple(
                TermsText(language, text_at(text, "name") or "", text_at(text, "url") or "")
                for language, text in policy.items()
                if isinstance(text, dict)
            )
            found.append(Terms(document, text_at(policy, "version") or "", texts))
    return found
