"""This server and Prosody: people of each write to those of the other, and enter the rooms of the other."""

from pathlib import Path

import pytest
from tests.interop.prosody_server import running_prosody
from tests.interop.xmpp_neighbours import (
    Work,
    a_room_of_theirs,
    people_talk_and_see_each_other,
    somebody_of_theirs_in_a_room_of_ours,
    with_both,
)


@pytest.mark.parametrize("proof", ["external", "dialback"])
@pytest.mark.parametrize(
    "work", [people_talk_and_see_each_other, a_room_of_theirs, somebody_of_theirs_in_a_room_of_ours]
)
def test_prosody(tmp_path: Path, work: Work, proof: str) -> None:
    with_both(tmp_path, running_prosody, "pro.example", work, proof=proof)
