"""This server and Prosody: people of each write to those of the other, and enter the rooms of the other."""

from pathlib import Path

import pytest
from tests.interop.prosody_server import running_prosody
from tests.interop.xmpp_neighbours import (
    ALICE,
    MUC,
    OURS,
    Town,
    Work,
    a_room_of_theirs,
    comes,
    people_talk_and_see_each_other,
    somebody_of_theirs_in_a_room_of_ours,
    with_both,
)


async def one_connection_does_for_both(town: Town) -> None:
    """spec: XEP-0288: whoever opened it"""
    alice, bob, servers = town.alice, town.bob, town.app.xmpp.servers
    assert servers is not None
    alice.send(f"<message to='{town.bob_jid}' type='chat' id='m1'><body>says-alice-1</body></message>")
    await comes(bob, "<body>says-alice-1</body>")
    for number in range(20):
        bob.send(f"<message to='{ALICE}' type='chat' id='b{number}'><body>says-bob-{number}</body></message>")
    for number in range(20):
        await comes(alice, f"id='b{number}'", f"<body>says-bob-{number}</body>")
    bob.send(f"<message to='nobody@{OURS}' type='chat' id='e'><body>says-bob-99</body></message>")
    await comes(bob, "id='e'", "<service-unavailable ")
    # To ask about our key it opens a stream, and goes on to use that.
    asked = 1 if servers.links.proofs()[town.server.name] == "dialback" else 0
    assert len(servers.listener.connections) == asked
    # The other way round, from a room of theirs, which is a domain of its own.
    room = f"tea@muc.{town.server.name}"
    bob.send(f"<presence to='{room}/bob'>{MUC}</presence>")
    await comes(bob, f"from='{room}'", "<subject")
    bob.send(
        f"<message to='{room}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='{ALICE}'/></x></message>"
    )
    await comes(alice, f"from='{room}'", "<invite ")
    alice.send(f"<presence to='{room}/alice'>{MUC}</presence>")
    await comes(alice, f"from='{room}'", "<subject")
    assert len(servers.listener.connections) == 1 + asked
    assert set(servers.links.proofs()) == {town.server.name, f"muc.{town.server.name}"}
    assert len(servers.links._own()) == 1


@pytest.mark.parametrize("proof", ["external", "dialback"])
@pytest.mark.parametrize(
    "work",
    [
        people_talk_and_see_each_other,
        a_room_of_theirs,
        somebody_of_theirs_in_a_room_of_ours,
        one_connection_does_for_both,
    ],
)
def test_prosody(tmp_path: Path, work: Work, proof: str) -> None:
    with_both(tmp_path, running_prosody, "pro.example", work, proof=proof)
