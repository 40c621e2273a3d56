"""Every no of the middle has a form on IRC, and every form can be sent.  spec: docs/mapping.md 25"""

import pytest

from tripoint.accounts.refusals import AccountRefusal
from tripoint.irc import numerics as n
from tripoint.irc.refusals import ACCOUNT_REFUSALS, ROOM_REFUSALS
from tripoint.rooms.refusals import Refusal


def test_every_refusal_is_mapped() -> None:
    assert set(ROOM_REFUSALS) == set(Refusal)
    assert set(ACCOUNT_REFUSALS) == set(AccountRefusal)


def test_every_mapping_says_something() -> None:
    for no in (*ROOM_REFUSALS.values(), *ACCOUNT_REFUSALS.values()):
        assert no.numeric is not None or no.code is not None


@pytest.mark.parametrize(
    ("refusal", "numeric"),
    [
        # docs/mapping.md 25, the table
        (Refusal.BANNED, "474"),
        (Refusal.NOT_INVITED, "473"),
        (Refusal.WRONG_ROOM_PASSWORD, "475"),
        (Refusal.ROOM_FULL, "471"),
        (Refusal.TOO_MANY_ROOMS, "405"),
        (Refusal.GUESTS_FORBIDDEN, "477"),
        (Refusal.NO_SUCH_ROOM, "403"),
        (Refusal.CREATION_OFF, "403"),
        (Refusal.POWER_TOO_LOW, "482"),
        (Refusal.CANNOT_SPEAK, "404"),
        (Refusal.NOT_JOINED, "442"),
        (Refusal.NO_SUCH_USER, "401"),
        (Refusal.REMOTE_TIMEOUT, "437"),
        (Refusal.TOO_LARGE, "417"),
    ],
)
def test_the_table_of_the_mapping(refusal: Refusal, numeric: str) -> None:
    assert ROOM_REFUSALS[refusal].numeric == numeric


def test_standard_replies_of_the_table() -> None:
    assert ROOM_REFUSALS[Refusal.ALIAS_TAKEN].code == "CHANNEL_NAME_IN_USE"
    assert ROOM_REFUSALS[Refusal.VERSION_UNSUPPORTED].code == "UNSUPPORTED_VERSION"
    assert ROOM_REFUSALS[Refusal.VERSION_UNSUPPORTED].numeric == n.ERR_NOSUCHCHANNEL
    assert ROOM_REFUSALS[Refusal.ENCRYPTED].code == "ENCRYPTED"
    assert ROOM_REFUSALS[Refusal.ENCRYPTED].numeric == n.ERR_NEEDREGGEDNICK
