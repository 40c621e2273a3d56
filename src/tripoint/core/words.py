"""Words of a text, for searching: what is put into an index, and what is asked of it.

A word is a run of letters, marks and digits, without case and without the accents of Latin, Greek and Cyrillic letters.
Chinese, Japanese, Korean, Thai and their like write words without spaces, or put endings to them: runs of those are
taken apart into pairs of neighbouring letters, so that any part of a run is found.  Pure.

docs/mapping.md 14.5
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

# Scripts whose runs are taken apart: Thai, Lao, Tibetan, Myanmar, Khmer, kana, bopomofo, Han and Hangul.
_PAIRED: Final = (
    "\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
# Letters and digits are what \w has without the underline; marks belong to the letter before them.
_MARKS: Final = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0dff\u200c\u200d"
)
_RUN: Final = re.compile(f"([{_PAIRED}]+)|((?:[^\\W_{_PAIRED}][{_MARKS}]*)+)")
# Letters and digits of ASCII in small letters, and spaces for everything between them.
_ASCII: Final = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_ASKED: Final = re.compile(r'(-?)"([^"]*)"?|(\S+)')
# Beyond this a word is cut; what is longer is no word that anybody types.
MAX_WORD: Final = 64
# So many words of one question count.
MAX_ASKED: Final = 16
# A shorter word is looked for whole: as a beginning it would find too much.
MIN_BEGINNING: Final = 3


def folded(text: str) -> str:
    """A text without case, accents and compatibility forms, as words are compared."""
    if text.isascii():
        return text.lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFKC", bare).casefold()


def words_of(text: str) -> list[str]:
    """The words of a text for an index, each once, in the order of their first places."""
    return list(dict.fromkeys(_parts(folded(text))))


def _parts(bare: str) -> list[str]:
    """Words and pairs of a folded text."""
    if bare.isascii():
        words = bare.encode().translate(_ASCII).decode().split()
        return [word[:MAX_WORD] for word in words] if len(bare) > MAX_WORD else words
    found: list[str] = []
    for run, word in _RUN.findall(bare):
        if run:
            found += (run[at : at + 2] for at in range(len(run)))
        else:
            found.append(word[:MAX_WORD])
    return found


@dataclass(frozen=True, slots=True)
class Term:
    """One word or pair that an index is asked for; `beginning`: words that begin so count too."""

    word: str
    beginning: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. Everything in `terms` has to be there; nothing of `without`.

    `phrases` are folded pieces of text that have to stand there as they are: pairs alone would find a run in any order.
    `highlights` are the words as a reader may mark them.
    """

    terms: tuple[Term, ...]
    without: tuple[str, ...]
    phrases: tuple[str, ...]
    highlights: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.terms)

    def rank(self, text: str) -> float:
        """How well a text answers: 0 not at all, else more for more of its words being asked for."""
        bare = " ".join(folded(text).split())
        words = _parts(bare)
        if any(phrase not in bare for phrase in self.phrases) or any(word in words for word in self.without):
            return 0.0
        hits = 0.0
        for term in self.terms:
            whole = words.count(term.word)
            begun = sum(word.startswith(term.word) for word in words) - whole if term.beginning else 0
            if not whole and not begun:
                return 0.0
            hits += whole + begun / 2
        return hits / (len(words) + 8)  # a short text that says it once is not everything


def read_question(text: str) -> Question:
    """What somebody typed: words that all have to be there, "phrases in quotes", and -words that must not."""
    terms: dict[Term, None] = {}
    without: list[str] = []
    phrases: list[str] = []
    highlights: dict[str, None] = {}
    for minus, quoted, bare in _ASKED.findall(text):
        if bare.startswith("-") and len(bare) > 1:
            minus, bare = "-", bare[1:]
        piece = folded(quoted or bare)
        words = _parts(piece)
        if not words or len(terms) + len(words) > MAX_ASKED:
            continue
        if minus:
            if len(words) == 1:
                without.append(words[0])
            continue
        if quoted:
            phrases.append(" ".join(piece.split()))
        for run, word in _RUN.findall(piece):
            highlights[run or word] = None
            if run:
                phrases.append(run)
                pairs = [run[at : at + 2] for at in range(len(run) - 1)]
                terms.update(dict.fromkeys([Term(pair) for pair in pairs] or [Term(run, beginning=True)]))
            else:
                cut = word[:MAX_WORD]
                terms[Term(cut, beginning=not quoted and len(cut) >= MIN_BEGINNING)] = None
    return Question(tuple(terms), tuple(without), tuple(phrases), tuple(highlights))
