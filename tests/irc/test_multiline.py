"""Limits of messages of several lines, and their pieces. spec: IRCv3 multiline; docs/mapping.md 10.7, 10.8, 24"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.irc.server import OPTIONS, SERVER, serve
from tripoint.core.canonical_json import Json
from tripoint.irc.cuts import cut_marks, cuts_in
from tripoint.irc.formatting import strip_codes
from tripoint.irc.multiline import CONCAT_TAG, Collected, pieces
from tripoint.irc.tables import MULTILINE_MAX_BYTES, MULTILINE_MAX_LINES
from tripoint.irc.wire import Line

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=600)


@given(TEXTS, st.integers(64, 400), st.sets(st.integers(0, 600), max_size=5))
def test_pieces_are_the_text(text: str, budget: int, cuts: set[int]) -> None:
    found = pieces(text, budget, sorted(cuts))
    if found is None:
        lines = text.count("\n") + len(cuts)
        assert lines >= MULTILINE_MAX_LINES or (len(text.encode()) <= budget and not cuts)
        return
    whole = ""
    for at, (piece, goes_on) in enumerate(found):
        assert len(piece.encode()) <= budget and "\n" not in piece
        assert not goes_on or (piece and at)
        whole += piece if goes_on or not at else "\n" + piece
    assert whole == text


# No CTCP, which has one line.
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\1"), min_size=1)


@given(st.lists(PARTS, min_size=2, max_size=9))
def test_a_line_is_cut_where_its_writer_cut_it(parts: list[str]) -> None:
    """Codes and what is in the text do not move the cuts; text in bold is still cut at the same letters."""
    batch = Collected("a", "#tea", {}, 0)
    for number, part in enumerate(parts):
        batch.add(Line("PRIVMSG", ("#tea", part), "", {CONCAT_TAG: ""} if number else {}))
    whole = batch.message()
    assert [piece for piece, _ in pieces(whole.params[1], 10_000, whole.cuts) or ()] == parts
    marks = cut_marks(whole.params[1], whole.cuts)
    plain = strip_codes(whole.params[1])
    again = cuts_in(plain, marks)
    shown = [strip_codes(whole.params[1][:cut]) for cut in whole.cuts]
    wanted = {len(text) for text in shown} - {0, len(plain)}
    assert set(again) == wanted
    assert {len(strip_codes(f"\x02{plain}"[:cut])) for cut in cuts_in(f"\x02{plain}", marks)} == wanted


@pytest.mark.parametrize("marks", [None, "3", {}, [True, "3", 2.5, -1, 0, 99], list(range(200))])
def test_marks_of_others_that_are_none(marks: Json) -> None:
    assert cuts_in("hello", marks) == ()
    assert cuts_in("\x02hello", marks) == ()


def test_the_limit_is_of_what_was_sent() -> None:
    """As many lines as may be sent are told as so many, though some of them do not fit behind the mask."""
    text = "\n".join(["x" * 300, *["x"] * (MULTILINE_MAX_LINES - 1)])
    found = pieces(text, 200)
    assert found is not None
    assert len(found) == MULTILINE_MAX_LINES + 1


@pytest.mark.parametrize("text", ["x\n" * MULTILINE_MAX_LINES + "x", "x" * (MULTILINE_MAX_BYTES + 1)])
def test_too_much_for_a_batch(text: str) -> None:
    assert pieces(text, 400) is None


def test_spaces_stay_at_ends() -> None:
    found = pieces("word " * 40, 64)
    assert found is not None
    assert [goes_on for _, goes_on in found] == [False, True, True, True]
    assert all(piece.endswith(" ") and not piece.startswith(" ") for piece, _ in found)


def test_limits() -> None:
    async def scenario() -> None:
        # One command a second: the lines of a batch cost nothing beside it.
        options = replace(OPTIONS, commands_per_s=1.0, commands_burst=20)
        async with serve(options=options) as server:
            alice = await server.account("alice", "batch", "draft/multiline", "standard-replies", "echo-message")
            alice.send("JOIN #tea")
            await alice.until("History")
            alice.send("BATCH +a draft/multiline #tea")
            alice.send(*[f"@batch=a PRIVMSG #tea :{number}" for number in range(MULTILINE_MAX_LINES)], "BATCH -a")
            got = await alice.until("BATCH -")
            assert len(got) == MULTILINE_MAX_LINES + 2
            alice.send("BATCH +b draft/multiline #tea")
            alice.send(*["@batch=b PRIVMSG #tea :x"] * (MULTILINE_MAX_LINES + 5), "BATCH -b")
            limit = f"MULTILINE_MAX_LINES {MULTILINE_MAX_LINES}"
            await alice.expect(f":{SERVER} FAIL BATCH {limit} :Multiline batch max-lines exceeded")
            alice.send("BATCH +c draft/multiline #tea")
            alice.send(*["@batch=c PRIVMSG #tea :" + "x" * 400] * 42, "BATCH -c")
            limit = f"MULTILINE_MAX_BYTES {MULTILINE_MAX_BYTES}"
            await alice.expect(f":{SERVER} FAIL BATCH {limit} :Multiline batch max-bytes exceeded")
            await alice.quiet()

    asyncio.run(asyncio.wait_for(scenario(), 30))
