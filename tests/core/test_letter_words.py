"""What letters say in the languages of an operator: which one somebody gets, and what no file can do."""

import re
import tomllib
from pathlib import Path

import pytest

from tripoint.core.letter_words import ENGLISH, LetterWords, check_words

GERMAN = {"reset_subject": "Ein neues Passwort bei {server}", "good_hours": "Der Link gilt {hours} Stunden, einmal."}
BRAZIL = {"reset_subject": "Uma nova senha em {server}"}
WORDS = LetterWords({"de": GERMAN, "pt-BR": BRAZIL})


@pytest.mark.parametrize(
    ("wanted", "subject"),
    [
        ([], "A new password at x.example"),
        (["fr"], "A new password at x.example"),
        (["de"], "Ein neues Passwort bei x.example"),
        (["de-AT", "en"], "Ein neues Passwort bei x.example"),
        (["fr", "DE"], "Ein neues Passwort bei x.example"),
        (["pt-br"], "Uma nova senha em x.example"),
        (["pt"], "A new password at x.example"),
        # Whoever has English first gets English.
        (["en-GB", "de"], "A new password at x.example"),
    ],
)
def test_the_language_of_the_reader(wanted: list[str], subject: str) -> None:
    assert WORDS.in_language(wanted)("reset_subject", server="x.example") == subject


def test_what_a_language_lacks_is_in_english() -> None:
    say = WORDS.in_language(["de"])
    assert say("good_hours", hours="24") == "Der Link gilt 24 Stunden, einmal."
    assert say("not_you") == ENGLISH["not_you"]


def test_what_is_filled_in_is_no_placeholder_itself() -> None:
    assert "{account}" in LetterWords().in_language([])("reset_text", account="{account}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resett_subject": "x"}, "there is no sentence resett_subject"),
        ({"not_you": 5}, "not_you is a line of text"),
        ({"not_you": " "}, "not_you is a line of text"),
        ({"not_you": "a\nb"}, "not_you is a line of text"),
        ({"not_you": "x" * 1001}, "not_you is a line of text"),
        (
            {"reset_subject": "A new password"},
            "reset_subject has other placeholders than the English sentence, which has {server}",
        ),
        ({"reset_subject": "{server} {account}"}, "reset_subject has other placeholders"),
        ({"reset_subject": "{server.__class__}"}, "reset_subject has other placeholders"),
        ({"reset_subject": "{server!r}"}, "reset_subject has other placeholders"),
        ({"reset_subject": "{server:>1000000}"}, "reset_subject has other placeholders"),
        ({"reset_subject": "{server[0]}"}, "reset_subject has other placeholders"),
        ({"reset_subject": "{server"}, "reset_subject has other placeholders"),
        ({"not_you": "{0}"}, "not_you has other placeholders than the English sentence, which has none"),
    ],
)
def test_sentences_that_cannot_be_used(given: dict[str, object], said: str) -> None:
    (mistake,) = check_words(given)
    assert mistake.startswith(said)


def test_the_english_ones_can_and_the_documentation_has_them_all() -> None:
    assert check_words(ENGLISH) == []
    text = (Path(__file__).parents[2] / "docs" / "operate" / "letters.md").read_text("utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None and tomllib.loads(block[1]) == dict(ENGLISH)
