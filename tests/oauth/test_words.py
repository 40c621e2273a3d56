"""What the pages say in each language."""

import re
from string import Formatter

import pytest

from tripoint.accounts.refusals import AccountRefusal
from tripoint.core.languages import read_accept_language
from tripoint.core.oauth.clients import Client
from tripoint.oauth.words import DEFAULT, LANGUAGES, WORDS, choose_words

OWN = "refused_"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_says_what_english_says(language: str) -> None:
    own, english = WORDS[language], WORDS[DEFAULT]
    assert {name for name in own if not name.startswith(OWN)} == set(english)
    for name, text in own.items():
        if name.startswith(OWN):
            assert name.removeprefix(OWN).upper() in AccountRefusal.__members__
        else:
            assert _placeholders(text) == _placeholders(english[name]), name


def _placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}


def test_every_sentence_is_said_somewhere() -> None:
    from tools.source import SRC

    code = "".join(path.read_text("utf-8") for path in (SRC / "tripoint" / "oauth").rglob("*.py"))
    said = set(re.findall(r'"([a-z_]+)"', code))
    assert [name for name in WORDS[DEFAULT] if name not in said] == []


@pytest.mark.parametrize(
    ("locales", "header", "language"),
    [
        (None, None, "en"),
        (None, "de", "de"),
        (None, "de-CH, en;q=0.9", "de"),
        (None, "tlh, *;q=0.1", "en"),
        (None, "en;q=0.5, de;q=0.9", "de"),
        (None, "de;q=0, en", "en"),
        (None, ";;;,,,q=", "en"),
        ("de-AT fr", "en", "de"),
        ("tlh", "de", "de"),
        ("../../x", None, "en"),
    ],
)
def test_the_language_is_the_person_s(locales: str | None, header: str | None, language: str) -> None:
    assert choose_words(locales, header).language == language


def test_languages_of_equal_weight_stay_in_order() -> None:
    assert read_accept_language("fr, de;q=0.8, it;q=0.8, es;q=0.9") == ["fr", "es", "de", "it"]


def test_a_client_is_called_as_it_wants_in_that_language() -> None:
    client = Client("x", "https://a.example/", "web", (), (), {"client_name": "A", "client_name#de-CH": "B"})
    assert client.name(choose_words(None, "de-CH").wanted) == "B"
    assert client.name(choose_words(None, "de").wanted) == "A"
    assert Client("x", "https://a.example/", "web", (), (), {}).name(()) == "a.example"
