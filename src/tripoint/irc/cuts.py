"""Where the writer of a message has cut its long lines, kept with the message. Pure.

A mark is how many characters are before the cut, codes not counted: codes, and what a name is called, are written anew
for every reader. Marks are for IRC alone: to all others a line is a line.
spec: IRCv3 multiline "Fallback", docs/mapping.md 10.7.  Read next: multiline.py, messages.py.
"""

from __future__ import annotations

from typing import Final

from tripoint.core.canonical_json import Json
from tripoint.core.vendor import V
from tripoint.irc.formatting import PLAIN, apply_code, has_codes, strip_codes
from tripoint.irc.tables import MULTILINE_MAX_LINES

CUTS_KEY: Final = f"{V}.irc.cuts"


def cut_marks(text: str, cuts: tuple[int, ...], skipped: int = 0) -> list[Json]:
    """Marks of cuts, which are indices in a text with codes. `skipped`: characters at its start that do not count."""
    counted = (len(strip_codes(text[:cut])) - skipped for cut in cuts)
    return [mark for mark in counted if mark > 0]


def cuts_in(text: str, marks: Json) -> tuple[int, ...]:
    """Indices in a text with codes, in order, of what somebody wrote as marks; what is none is left out."""
    if not isinstance(marks, list) or len(marks) > MULTILINE_MAX_LINES:
        return ()
    wanted = {mark for mark in marks if isinstance(mark, int) and not isinstance(mark, bool)}
    if not has_codes(text):
        return tuple(sorted(mark for mark in wanted if 0 < mark < len(text)))
    found: list[int] = []
    at = seen = 0
    while at < len(text):
        if text[at] < " " and has_codes(text[at]):
            _, at = apply_code(text, at, PLAIN)
            continue
        if seen in wanted and seen:
            found.append(at)
        at, seen = at + 1, seen + 1
    return tuple(found)
