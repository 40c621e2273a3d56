"""Words that lead to an answer for clients without tags. spec: docs/mapping.md 11.6, 11.7"""

from __future__ import annotations

import pytest

from tripoint.irc.lead import Lead


@pytest.mark.parametrize(
    ("lead", "text", "shown"),
    [
        (Lead(), "yes", "yes"),
        (Lead(nick="bob"), "yes", "bob: yes"),
        (Lead(nick="bob"), "yes, Bob!", "yes, Bob!"),
        (Lead(nick="bob"), "@bob yes", "@bob yes"),
        (Lead(nick="bob"), "\x02bob\x0f yes", "\x02bob\x0f yes"),
        (Lead(nick="bob"), "bobby yes", "bob: bobby yes"),
        (Lead(nick="a|b"), "ask a|b", "ask a|b"),
        (Lead(nick="bob", quoted="who\n\x02is\x0f it?"), "me", "> bob: who | is it?\nbob: me"),
        (Lead(nick="bob", quoted="x" * 70), "bob: y", f"> bob: {'x' * 60}\nbob: y"),
        (Lead(thread="$root"), "yes", "[x4lo] yes"),
    ],
)
def test_lead(lead: Lead, text: str, shown: str) -> None:
    got = lead.before(text, emote=False)
    assert got[:1] == "[" and got[5:] == shown[5:] if lead.thread else got == shown


def test_an_emote_begins_with_who_acts() -> None:
    assert Lead(nick="bob", quoted="x").before("waves", emote=True) == "waves"
    assert Lead(thread="$root", nick="bob").before("waves", emote=True).endswith("] waves")
