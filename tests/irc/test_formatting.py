"""Control codes and long lines.  spec: Modern IRC formatting; docs/mapping.md 10.5-10.8"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.irc.formatting import (
    PALETTE,
    PLAIN,
    Style,
    nearest_colour,
    parse_codes,
    render_codes,
    strip_codes,
)
from tripoint.irc.splitting import split_line, split_message

BOLD = Style(bold=True)
RED = Style(foreground=PALETTE[4])

PARSED = [
    ("plain", [("plain", PLAIN)]),
    ("", []),
    ("a\x02b\x02c", [("a", PLAIN), ("b", BOLD), ("c", PLAIN)]),
    ("\x02a\x0fb", [("a", BOLD), ("b", PLAIN)]),
    ("\x02a\x1db", [("a", BOLD), ("b", Style(bold=True, italic=True))]),
    (
        "\x1fa\x1f\x1eb\x1e\x11c\x11\x16d",
        [
            ("a", Style(underline=True)),
            ("b", Style(strike=True)),
            ("c", Style(monospace=True)),
            ("d", Style(reverse=True)),
        ],
    ),
    # spec: Modern IRC formatting "Forms of Color Codes"
    ("\x034red\x03 x", [("red", RED), (" x", PLAIN)]),
    ("\x0304,01a", [("a", Style(foreground=PALETTE[4], background=PALETTE[1]))]),
    ("\x034,a", [(",a", RED)]),
    ("\x03,a", [(",a", PLAIN)]),
    ("\x03123", [("3", Style(foreground=PALETTE[12]))]),
    (
        "\x034,1a\x033b",
        [
            ("a", Style(foreground=PALETTE[4], background=PALETTE[1])),
            ("b", Style(foreground=PALETTE[3], background=PALETTE[1])),
        ],
    ),
    ("\x034a\x0399b", [("a", RED), ("b", PLAIN)]),
    ("\x04FF0000a\x04b", [("a", Style(foreground="ff0000")), ("b", PLAIN)]),
    ("\x02\x02a", [("a", PLAIN)]),
]


@pytest.mark.parametrize(("text", "runs"), PARSED)
def test_codes_are_parsed(text: str, runs: list[tuple[str, Style]]) -> None:
    assert parse_codes(text) == runs


STYLES = st.builds(
    Style,
    *[st.booleans()] * 6,
    st.sampled_from(("", *PALETTE)),
    st.sampled_from(("", *PALETTE)),
)
WORDS = st.text(st.sampled_from("a,1 é9😀"), min_size=1, max_size=5)


@given(st.lists(st.tuples(WORDS, STYLES), max_size=6))
def test_runs_survive_the_wire(runs: list[tuple[str, Style]]) -> None:
    merged: list[tuple[str, Style]] = []
    for text, style in runs:
        if merged and merged[-1][1] == style:
            merged[-1] = (merged[-1][0] + text, style)
        else:
            merged.append((text, style))
    assert parse_codes(render_codes(merged)) == merged


@given(st.text(st.sampled_from("\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1fab12,é")))
def test_any_codes_parse(text: str) -> None:
    runs = parse_codes(text)
    assert all(part for part, _ in runs)
    assert all(one[1] != two[1] for one, two in pairwise(runs))
    assert strip_codes(text) == "".join(part for part, _ in runs)


def test_the_nearest_colour() -> None:
    assert nearest_colour("fe0101") == 4
    assert [PALETTE[nearest_colour(value)] for value in PALETTE] == list(PALETTE)


def test_short_text_is_one_line() -> None:
    assert split_message("hello", 400) == ["hello"]
    assert split_message("", 400) == []


def test_blank_lines_are_dropped() -> None:
    assert split_message("a\n\n \nb\r", 400) == ["a", "b"]


def test_a_cut_prefers_a_space() -> None:
    assert split_line("word " * 20, 64)[0] == "word " * 12 + "word"


@pytest.mark.parametrize(
    "unit",
    ["é", "e\u0301", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "漢"],
)
def test_a_cut_is_between_graphemes(unit: str) -> None:
    for line in split_line(unit * 100, 64):
        assert len(line) % len(unit) == 0
        assert len(line.encode()) <= 64


def test_bold_goes_on_after_a_cut() -> None:
    first, second = split_line("\x02" + "x" * 80, 64)
    assert parse_codes(first) == [("x" * 63, BOLD)]
    assert parse_codes(second) == [("x" * 17, BOLD)]


@given(st.text(max_size=400), st.integers(64, 200))
def test_a_split_keeps_every_character_but_spaces(text: str, budget: int) -> None:
    text = text.replace("\n", "").encode("utf-8", "ignore").decode()
    lines = split_line(text, budget)
    assert all(len(line.encode()) <= budget for line in lines)
    assert strip_codes("".join(lines)).replace(" ", "") == strip_codes(text).replace(" ", "")


def test_a_very_long_text_is_cut_short_with_a_pointer() -> None:
    text = "\n".join(f"line {number}" for number in range(20))
    assert split_message(text, 400) == ["line 0", "line 1", "line 2", "... [20 lines]"]
    assert split_message(text, 400, lambda: "https://x/m/1")[-1] == "... [20 lines] https://x/m/1"
