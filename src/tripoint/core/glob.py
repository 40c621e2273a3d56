"""Globs as Matrix has them: `*` is any number of characters, `?` exactly one, everything else itself.

spec: Matrix appendices glob-style-matching. They come from other people: what a glob costs is linear in the text.
"""

import re


def glob_expression(glob: str) -> str:
    """A regular expression that matches the whole text; use it with re.DOTALL.

    What follows a star is found at its first place and that place is not given up again (an atomic group): for
    globs that finds a match where there is one, and never goes back and forth over many stars.
    """
    first, *later = [_literal(part) for part in glob.split("*")]
    if not later:
        return first + r"\Z"
    *middle, last = later
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}\\Z"


def _literal(text: str) -> str:
    return "".join("." if c == "?" else re.escape(c) for c in text)


def glob_match(pattern: str, type_: str) -> bool:
    """spec: client-server Filtering: `*` stands for any run of characters."""
    if "*" not in pattern:
        return pattern == type_
    first, *rest = pattern.split("*")
    if not type_.startswith(first):
        return False
    place = len(first)
    for index, part in enumerate(rest):
        if index == len(rest) - 1:
            return len(type_) - len(part) >= place and type_.endswith(part)
        found = type_.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True
