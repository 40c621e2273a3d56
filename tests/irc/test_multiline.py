"""Limits of messages of several lines, and their pieces. spec: IRCv3 multiline; docs/mapping.md 10.7, 10.8, 24"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.irc.server import OPTIONS, SERVER, serve
from tripoint.irc.multiline import pieces
from tripoint.irc.tables import MULTILINE_MAX_BYTES, MULTILINE_MAX_LINES


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=600), st.integers(64, 400))
def test_pieces_are_the_text(text: str, budget: int) -> None:
    found = pieces(text, budget)
    if found is None:
        assert text.count("\n") >= MULTILINE_MAX_LINES or len(text.encode()) <= budget
        return
    whole = ""
    for at, (piece, goes_on) in enumerate(found):
        assert len(piece.encode()) <= budget and "\n" not in piece
        assert not goes_on or (piece and at)
        whole += piece if goes_on or not at else "\n" + piece
    assert whole == text


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
