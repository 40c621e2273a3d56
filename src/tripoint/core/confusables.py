"""Names that look alike: a skeleton for nicks, account names and display names in one room.

spec: UTS 39 4 (skeleton = NFD, map to prototypes, NFD), docs/mapping.md 1.2, 1.9, 2.6.
This is not the whole confusables.txt. It covers what can occur in an account name (0 and o,
1 and l and I, rn and m, vv and w) and the Cyrillic, Greek, full-width, mathematical and
accent-free look-alikes of Latin letters that occur in nicks. It does not cover look-alikes between two
scripts of which neither is Latin. Two strings are confusable when their skeletons are equal; a skeleton is
never shown to anybody.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Within ASCII; `rn` and `vv` are pairs, below. As in UTS 39 a capital I is an l, a small i is itself.
_ASCII: Final = {"0": "o", "1": "l", "I": "l", "|": "l"}

# Latin letter <- letters of other scripts that are drawn like it (lower case, and upper case where the upper
# case has no lower-case twin with the same look).
_OTHERS: Final = {
    "a": "аɑα",  # Cyrillic a, Latin alpha, Greek alpha
    "b": "ЬьƄ",
    "c": "сϲⅽᴄ",
    "d": "ԁⅾ",
    "e": "еҽ℮",
    "f": "ϝẝ",
    "g": "ɡց",
    "h": "һհ",
    "i": "іıιⅰ",
    "l": "ӏⅼ׀ǀŀ",
    "j": "јϳ",
    "k": "кκⲕ",
    "m": "мⅿ",
    "n": "пηո",
    "o": "оοσօ๐০ဝ",
    "p": "рρ⍴",
    "q": "ԛգ",
    "r": "гᴦⲅ",
    "s": "ѕꜱ",
    "t": "тτ",
    "u": "υսʋ",
    "v": "ѵνⅴᴠ",
    "w": "ԝѡա",
    "x": "хχⅹ×",
    "y": "уүγ",
    "z": "ᴢʐ",
}

# Capitals whose lower-case form looks different from the Latin letter that the capital looks like.
_CAPITALS: Final = {
    "a": "АΑ", "b": "ВΒ", "c": "С", "e": "ЕΕ", "h": "НΗ", "j": "Ј", "k": "КΚ", "m": "МΜ", "n": "Ν", "o": "ОΟ",
    "p": "РΡ", "s": "Ѕ", "t": "ТΤ", "x": "ХΧ", "y": "УΥҮ", "z": "Ζ", "l": "ІΙӀ",
}  # fmt: skip


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for latin, others in _CAPITALS.items():
        table.update((ord(char), latin) for char in others)
    for latin, others in _OTHERS.items():
        table.update((ord(char), latin) for char in others)
    table.update((ord(char), to) for char, to in _ASCII.items())
    return table


_TABLE: Final = _table()


def skeleton(text: str) -> str:
    """The form in which look-alikes are equal: `paypa1`, `paypaI` and `раураl` give one skeleton.

    Invisible and combining characters vanish, so an accent does not make another name.
    """
    plain = "".join(
        char
        for char in unicodedata.normalize("NFKD", text)
        if unicodedata.category(char) not in ("Mn", "Me", "Cf", "Cc")
    )
    # Capitals first: a Cyrillic capital looks like one Latin letter and its small form like another.
    mapped = plain.translate(_TABLE).casefold().translate(_TABLE)
    return mapped.replace("rn", "m").replace("vv", "w")


def skeletons(text: str) -> frozenset[str]:
    """Skeletons of the name as written and in small letters: where names are compared without regard to case,
    two are confusable when these sets meet (`ALICE` is alice there, though its capital I looks like an l)."""
    return frozenset((skeleton(text), skeleton(text.casefold())))
