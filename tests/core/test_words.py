"""Words of texts and questions.  docs/mapping.md 14.5"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.searchable import searchable_text
from tripoint.core.words import MAX_ASKED, MAX_WORD, Term, folded, read_question, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fasting is HARD, is it?", ["fasting", "is", "hard", "it"]),
        ("café ÉLAN Straße", ["cafe", "elan", "strasse"]),
        ("foo_bar baz-9", ["foo", "bar", "baz", "9"]),
        ("日本語", ["日本", "本語", "語"]),
        ("안녕", ["안녕", "녕"]),
        ("see日本now", ["see", "日本", "本", "now"]),
        ("\uff21\uff22\uff23 ﬁne", ["abc", "fine"]),
        ("नमस्ते", ["नमस्ते"]),
        ("...!", []),
        ("x" * 100, ["x" * MAX_WORD]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("asked", "text", "found"),
    [
        ("fast", "Fasting is hard", True),  # spec: IRCv3 search, second example
        ("is", "island", False),  # two letters are looked for whole
        ("hard fasting", "Fasting is hard", True),  # in any order
        ("hard missing", "Fasting is hard", False),
        ('"is hard"', "Fasting is\n hard", True),
        ('"hard is"', "Fasting is hard", False),
        ('"fast"', "fasting", False),  # in quotes a word is whole
        ("fasting -hard", "Fasting is hard", False),
        ("fasting -soft", "Fasting is hard", True),
        ("CAFÉ", "the cafe", True),
        ("語", "日本語", True),
        ("本語", "日本語", True),
        ("日語", "日本語", False),
        ("語日本", "日本語日", False),  # its pairs are there, not the run
        ("안녕", "안녕하세요", True),
    ],
)
def test_question(asked: str, text: str, found: bool) -> None:
    assert (read_question(asked).rank(text) > 0) is found


def test_a_question_without_words_is_none() -> None:
    assert not read_question("!!! -- \"\"")
    assert not read_question("-only")


def test_a_question_is_bounded() -> None:
    many = read_question(" ".join(f"word{n}" for n in range(1000)))
    assert len(many.terms) == MAX_ASKED


@given(st.text())
def test_what_is_indexed_is_asked_for_alike(text: str) -> None:
    """Every term of a question that is a text's own words is among the text's words: the index cannot miss it."""
    words = words_of(text)
    question = read_question(text.replace('"', " ").replace("-", " "))
    for term in question.terms:
        assert term.word in words or (term.beginning and any(word.startswith(term.word) for word in words))
    assert folded(folded(text)) == folded(text)


def test_terms() -> None:
    assert read_question("tea 語").terms == (Term("tea", beginning=True), Term("語", beginning=True))


@pytest.mark.parametrize(
    ("type_", "content", "text"),
    [
        ("m.room.message", {"body": "hello"}, "hello"),
        ("m.room.message", {}, ""),
        (
            "m.room.message",
            {"body": "* new", "m.new_content": {"body": "new"}, "m.relates_to": {"rel_type": "m.replace"}},
            "new",
        ),
        ("m.room.message", {"body": "> <@a:b> old\n\nmine"}, "mine"),
        ("m.room.name", {"name": "Tea"}, "Tea"),
        (
            "m.room.topic",
            {"topic": "T", "m.topic": {"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": "plain"}]}},
            "T plain",
        ),
        ("m.room.encrypted", {"body": "x"}, ""),
    ],
)
def test_searchable_text(type_: str, content: dict[str, object], text: str) -> None:
    assert searchable_text(type_, content) == text  # type: ignore[arg-type]  # JSON written by hand


@given(st.text(st.characters(max_codepoint=127), max_size=300))
def test_words_of_ascii_are_runs_of_letters_and_digits(text: str) -> None:
    runs = re.findall("[0-9a-z]+", text.lower())
    assert words_of(text) == list(dict.fromkeys(run[:MAX_WORD] for run in runs))
