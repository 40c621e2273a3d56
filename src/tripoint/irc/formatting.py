"""IRC control codes to runs of styled text and back. Pure.

A run is text with one style; the neutral rich text of the project is made from runs, and runs from it, in
`richtext.py` beside this file.  spec: Modern IRC formatting; docs/mapping.md 10.5, 10.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

BOLD = "\x02"
COLOUR = "\x03"
HEX_COLOUR = "\x04"
RESET = "\x0f"
MONOSPACE = "\x11"
REVERSE = "\x16"
ITALIC = "\x1d"
STRIKE = "\x1e"
UNDERLINE = "\x1f"

# Each code switches one attribute of Style on or off.
TOGGLES = {
    BOLD: "bold",
    ITALIC: "italic",
    UNDERLINE: "underline",
    STRIKE: "strike",
    MONOSPACE: "monospace",
    REVERSE: "reverse",
}

# spec: Modern IRC formatting "Colors": 0-15 have only names there; these are what most clients show.
# "Colors 16-98": the table of that document.
PALETTE = tuple(
    """
    ffffff 000000 00007f 009300 ff0000 7f0000 9c009c fc7f00
    ffff00 00fc00 009393 00ffff 0000fc ff00ff 7f7f7f d2d2d2
    470000 472100 474700 324700 004700 00472c 004747 002747 000047 2e0047 470047 47002a
    740000 743a00 747400 517400 007400 007449 007474 004074 000074 4b0074 740074 740045
    b50000 b56300 b5b500 7db500 00b500 00b571 00b5b5 0063b5 0000b5 7500b5 b500b5 b5006b
    ff0000 ff8c00 ffff00 b2ff00 00ff00 00ffa0 00ffff 008cff 0000ff a500ff ff00ff ff0098
    ff5959 ffb459 ffff71 cfff60 6fff6f 65ffc9 6dffff 59b4ff 5959ff c459ff ff66ff ff59bc
    ff9c9c ffd39c ffff9c e2ff9c 9cff9c 9cffdb 9cffff 9cd3ff 9c9cff dc9cff ff9cff ff94d3
    000000 131313 282828 363636 4d4d4d 656565 818181 9f9f9f bcbcbc e2e2e2 ffffff
    """.split()  # noqa: SIM905 - a table reads better without quotes
)
DEFAULT_COLOUR = 99

_CODES = re.compile("[\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f]")
_COLOUR_ARGUMENT = re.compile(r"(\d{1,2})(?:,(\d{1,2}))?", re.ASCII)
_HEX_ARGUMENT = re.compile(r"([0-9A-Fa-f]{6})(?:,([0-9A-Fa-f]{6}))?", re.ASCII)


class Style(msgspec.Struct, frozen=True):
    """How a run looks. Colours are six lower-case hex digits, "" for the reader's own."""

    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    monospace: bool = False
    reverse: bool = False
    foreground: str = ""
    background: str = ""


PLAIN = Style()
Run = tuple[str, Style]


def has_codes(text: str) -> bool:
    """Whether `text` holds any control code. False for nearly every line, so it is asked first."""
    return _CODES.search(text) is not None


def strip_codes(text: str) -> str:
    """The text as it reads, without codes and their arguments."""
    return "".join(part for part, _ in parse_codes(text)) if has_codes(text) else text


def parse_codes(text: str) -> list[Run]:
    """Runs in order; none is empty, and neighbours differ in style. Never fails."""
    runs: list[Run] = []
    style = PLAIN
    at = 0
    while at < len(text):
        found = _CODES.search(text, at)
        end = found.start() if found else len(text)
        if end > at:
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text[at:end], style)
            else:
                runs.append((text[at:end], style))
        if not found:
            break
        style, at = apply_code(text, end, style)
    return runs


def apply_code(text: str, at: int, style: Style) -> tuple[Style, int]:
    """The style after the code at `at`, and the index behind the code and its argument."""
    code = text[at]
    at += 1
    if code == RESET:
        return PLAIN, at
    if code in (COLOUR, HEX_COLOUR):
        pattern = _COLOUR_ARGUMENT if code == COLOUR else _HEX_ARGUMENT
        found = pattern.match(text, at)
        if not found:
            # spec: Modern IRC formatting "Forms of Color Codes": the bare code resets both colours.
            return msgspec.structs.replace(style, foreground="", background=""), at
        # spec: "If only the foreground color is set, the background color stays the same."
        background = style.background if found[2] is None else _hex(found[2])
        return msgspec.structs.replace(style, foreground=_hex(found[1]), background=background), found.end()
    name = TOGGLES[code]
    return msgspec.structs.replace(style, **{name: not getattr(style, name)}), at


def _hex(word: str) -> str:
    if len(word) == 6:
        return word.lower()
    number = int(word)
    return "" if number == DEFAULT_COLOUR else PALETTE[number]


def render_codes(runs: Iterable[Run]) -> str:
    """Text with codes. Parsing it gives the runs back, but for colours outside the palette (the nearest)."""
    out: list[str] = []
    before = PLAIN
    for text, style in runs:
        if style != before:
            out.append(switch_codes(before, style, text[:1]))
            before = style
        out.append(text)
    if before != PLAIN:
        out.append(switch_codes(before, PLAIN, ""))
    return "".join(out)


def switch_codes(before: Style, after: Style, following: str) -> str:
    """The codes between two runs; `following` is the first character of the second one."""
    if after == PLAIN:
        return RESET
    codes = ""
    if (before.foreground and not after.foreground) or (before.background and not after.background):
        codes, before = RESET, PLAIN
    for code, name in TOGGLES.items():
        if getattr(before, name) != getattr(after, name):
            codes += code
    if (before.foreground, before.background) != (after.foreground, after.background):
        foreground = nearest_colour(after.foreground) if after.foreground else DEFAULT_COLOUR
        codes += f"{COLOUR}{foreground:02}"
        if after.background:
            codes += f",{nearest_colour(after.background):02}"
        elif following == ",":
            # spec: "Mistaken Eating of Text": two bold codes keep a comma from being read as an argument.
            codes += BOLD + BOLD
    return codes


def nearest_colour(value: str) -> int:
    """The number in the palette closest to six hex digits; the lowest of equals."""
    number = _EXACT.get(value)
    if number is not None:
        return number
    red, green, blue = (int(value[at : at + 2], 16) for at in (0, 2, 4))
    return min(
        range(len(PALETTE)),
        key=lambda n: (_RGB[n][0] - red) ** 2 + (_RGB[n][1] - green) ** 2 + (_RGB[n][2] - blue) ** 2,
    )


_RGB = tuple((int(v[:2], 16), int(v[2:4], 16), int(v[4:], 16)) for v in PALETTE)
_EXACT = {value: number for number, value in reversed(list(enumerate(PALETTE)))}
