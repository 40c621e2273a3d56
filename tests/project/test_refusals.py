"""Each front end has an answer for every refusal of the middle, and says the middle's own sentence.

spec: docs/mapping.md 25: Matrix error text, IRC text and <text/> are the same string.
"""

import pytest

from tripoint.accounts.refusals import AccountRefusal, AccountRefused, KeyRefusal, KeyRefused
from tripoint.irc import refusals as irc
from tripoint.matrix import refusals as matrix
from tripoint.media import web
from tripoint.media.refusals import MediaRefusal, MediaRefused
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp import refusals as xmpp

TABLES = {
    "irc": (irc.ROOM_REFUSALS, irc.ACCOUNT_REFUSALS),
    "xmpp": (xmpp.REFUSALS, xmpp.ACCOUNT_REFUSALS),
    "matrix": (matrix.ROOM_ERRORS, matrix.ACCOUNT_ERRORS),
}


@pytest.mark.parametrize("front_end", TABLES)
def test_every_refusal_is_mapped(front_end: str) -> None:
    rooms, accounts = TABLES[front_end]
    assert set(rooms) == set(Refusal)
    assert set(accounts) == set(AccountRefusal)


@pytest.mark.parametrize("refusal", Refusal)
def test_a_room_says_the_same_on_matrix_and_xmpp(refusal: Refusal) -> None:
    refused = Refused(refusal, "Because & so")
    assert matrix.of_room(refused).error == "Because & so"
    problem = xmpp.problem_of(refused)
    assert "Because &amp; so</text>" in problem.render()
    assert problem.condition in xmpp.CONDITIONS


@pytest.mark.parametrize("refusal", AccountRefusal)
def test_an_account_says_the_same_on_matrix_and_xmpp(refusal: AccountRefusal) -> None:
    refused = AccountRefused(refusal, "Because & so")
    assert matrix.of_account(refused).error == "Because & so"
    assert "Because &amp; so</text>" in xmpp.problem_of(refused).render()


@pytest.mark.parametrize("refusal", MediaRefusal)
def test_media_are_refused_with_their_own_sentence(refusal: MediaRefusal) -> None:
    refused = MediaRefused(refusal, "Because & so")
    assert matrix.of_media(refused).error == "Because & so"
    assert "Because &amp; so</text>" in xmpp.problem_of(refused).render()
    assert 400 <= web.STATUSES[refusal] < 600


@pytest.mark.parametrize("refusal", KeyRefusal)
def test_keys_are_refused_with_their_own_sentence(refusal: KeyRefusal) -> None:
    """Only Matrix can ask for keys."""
    error = matrix.of_keys(KeyRefused(refusal, current="7"))
    assert error.error == refusal.value and error.extra == {"current_version": "7"}


@pytest.mark.parametrize("table", [irc.ROOM_REFUSALS, irc.ACCOUNT_REFUSALS])
def test_irc_has_a_numeric_or_a_code_for_each(table: dict[object, irc.No]) -> None:
    for no in table.values():
        assert no.numeric is not None or no.code is not None
        assert no.numeric is None or (no.numeric.isdigit() and len(no.numeric) == 3)
        assert no.code is None or no.code.replace("_", "").isupper()


def test_sentences_are_sentences() -> None:
    for refusal in (*Refusal, *AccountRefusal, *MediaRefusal):
        assert refusal.value[0].isupper()
        assert not refusal.value.endswith(".")
