"""Long text as several IRC lines. Pure.

Text is cut at spaces where there are any near the end, else between graphemes, never inside a character or a
formatting code; formatting that is on at a cut is switched on again on the next line.
spec: docs/mapping.md 10.7, 10.8.  The line limit itself is in wire.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from tripoint.irc.formatting import PLAIN, apply_code, has_codes, switch_codes

# MAPPING 10.8: a client without multiline gets the first lines and a pointer to the rest.
MAX_LINES = 8
MAX_BYTES = 4096
LINES_BEFORE_POINTER = 3
# A space further back than this is not worth a half-empty line (a URL, Chinese).
_LOOK_BACK = 80
_ZERO_WIDTH_JOINER = "\u200d"


def split_message(
    text: str, budget: int, url_of_whole: Callable[[], str | None] = lambda: None, cuts: Sequence[int] = ()
) -> list[str]:
    """The lines of one message: its own line breaks (blank ones dropped) and then each cut to `budget` bytes.

    `cuts` are indices where the writer has cut lines already (cuts.py). Beyond MAX_LINES lines or MAX_BYTES bytes
    only the first three are given, and then ``... [N lines]`` with where the whole text can be read, if there is such
    a place.
    """
    if "\n" not in text and not cuts and len(text) * 4 <= budget:
        return [text] if text else []
    lines: list[str] = []
    at = 0
    for piece in text.split("\n"):
        parts, codes = cut_at(piece, cuts, at), ""
        for number, part in enumerate(parts, 1):
            part = codes + part
            if part.strip():
                lines += split_line(part.rstrip("\r"), budget)
            if number < len(parts) and has_codes(part):
                codes = _codes_on_at_end(part, parts[number][:1])
        at += len(piece) + 1
    if len(lines) > MAX_LINES or sum(len(line.encode("utf-8", "replace")) for line in lines) > MAX_BYTES:
        rest, url = f"... [{len(lines)} lines]", url_of_whole()
        return [*lines[:LINES_BEFORE_POINTER], f"{rest} {url}" if url else rest]
    return lines


def cut_at(line: str, cuts: Sequence[int], at: int) -> list[str]:
    """A line that begins at index `at` of its message, in the pieces that the cuts make of it. None is empty."""
    inside = [cut - at for cut in cuts if at < cut < at + len(line)] if cuts else []
    if not inside:
        return [line]
    return [line[start:end] for start, end in zip([0, *inside], [*inside, len(line)], strict=True)]


def split_line(text: str, budget: int) -> list[str]:
    """`text` as lines of at most `budget` bytes each (at least 64, so that codes and one grapheme fit)."""
    budget = max(budget, 64)
    lines: list[str] = []
    while True:
        cut = _fit(text, budget)
        if cut == len(text):
            lines.append(text)
            return lines
        cut = _better_cut(text, cut)
        head, text = text[:cut], text[cut:].lstrip(" ")
        lines.append(head.rstrip(" ") or head)
        if has_codes(head):
            text = _codes_on_at_end(head, text[:1]) + text
        if not text:
            return lines


def fitting(text: str, budget: int) -> int:
    """How many characters make a piece of at most `budget` bytes that ends at a good place: behind a space, if any."""
    cut = _fit(text, max(budget, 64))
    if cut == len(text):
        return cut
    if text[cut - 1] == " ":
        return cut
    cut = _better_cut(text, cut - 1)
    return cut + 1 if text[cut] == " " else cut


def _fit(text: str, budget: int) -> int:
    """How many characters fit into `budget` bytes."""
    if len(text) <= budget and len(text.encode("utf-8", "replace")) <= budget:
        return len(text)
    # What is cut in the middle of a character is dropped by "ignore", so the length is of whole ones.
    return len(text[:budget].encode("utf-8", "replace")[:budget].decode("utf-8", "ignore"))


def _better_cut(text: str, cut: int) -> int:
    space = text.rfind(" ", max(cut // 2, cut - _LOOK_BACK), cut + 1)
    if space > 0:
        return space
    at = cut
    while at > max(1, cut - 16) and not _is_border(text, at):
        at -= 1
    return at if _is_border(text, at) else cut


def _is_border(text: str, at: int) -> bool:
    """Whether a line may end before ``text[at]``: UAX 29 as far as people need it."""
    before, after = text[at - 1], text[at]
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or after == _ZERO_WIDTH_JOINER:
        return False
    if before == _ZERO_WIDTH_JOINER or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    if _is_regional(after):
        flags = 0
        while at - flags > 0 and _is_regional(text[at - 1 - flags]):
            flags += 1
        return flags % 2 == 0
    # Inside \x03NN,NN or \x04RRGGBB: look for the code a few characters back.
    code = max(text.rfind("\x03", max(0, at - 13), at), text.rfind("\x04", max(0, at - 13), at))
    return code < 0 or apply_code(text, code, PLAIN)[1] <= at


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _codes_on_at_end(text: str, following: str) -> str:
    style = PLAIN
    at = 0
    while at < len(text):
        if text[at] < " " and has_codes(text[at]):
            style, at = apply_code(text, at, style)
        else:
            at += 1
    return "" if style == PLAIN else switch_codes(PLAIN, style, following)
