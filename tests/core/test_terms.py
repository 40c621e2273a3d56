"""Documents to be accepted: which language somebody gets, which are lacking, what the stage says.

spec: Matrix client-server-api "Terms of service at registration"
"""

import pytest

from tripoint.core.terms import (
    Terms,
    TermsText,
    all_of,
    in_words,
    is_language,
    lacking,
    read_policies,
    write_policies,
)

EN, DE, BR = (TermsText(tag, f"name {tag}", f"https://x.example/{tag}") for tag in ("en", "de", "pt-BR"))
TERMS = Terms("terms_of_service", "1.2", (DE, EN, BR))


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ((), EN),
        (("fr",), EN),
        (("de",), DE),
        (("de-AT", "en"), DE),
        (("PT-br",), BR),
        (("fr", "de"), DE),
        # Portuguese of Portugal is not that of Brazil.
        (("pt-PT",), EN),
    ],
)
def test_the_language_of_a_person(wanted: tuple[str, ...], text: TermsText) -> None:
    assert TERMS.text_for(wanted) == text


def test_without_english_it_is_the_first() -> None:
    assert Terms("a", "1", (DE, BR)).text_for(["fr"]) == DE


def test_a_version_is_accepted_and_no_other() -> None:
    other = Terms("privacy", "2", (EN,))
    assert lacking([TERMS, other], {"terms_of_service": "1.2", "privacy": "1"}) == [other]
    assert lacking([TERMS, other], all_of([TERMS, other])) == []
    assert lacking([], {}) == []


def test_parameters_of_the_stage_are_read_as_they_were_written() -> None:
    params = write_policies([TERMS])
    assert params == {
        "policies": {
            "terms_of_service": {
                "version": "1.2",
                "de": {"name": "name de", "url": "https://x.example/de"},
                "en": {"name": "name en", "url": "https://x.example/en"},
                "pt-BR": {"name": "name pt-BR", "url": "https://x.example/pt-BR"},
            }
        }
    }
    assert read_policies(params) == [TERMS]
    assert read_policies({}) == []


def test_in_one_line() -> None:
    assert in_words([TERMS, Terms("p", "1", (BR,))], ["de"]) == (
        "name de (https://x.example/de), name pt-BR (https://x.example/pt-BR)"
    )


def test_version_is_no_language() -> None:
    assert is_language("en") and is_language("zh-Hant-TW")
    assert not is_language("version") and not is_language("") and not is_language("de_DE")
