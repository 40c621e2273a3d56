"""This server and ejabberd: people of each write to those of the other, and enter the rooms of the other."""

import re
from pathlib import Path

import pytest
from tests.interop.ejabberd_server import running_ejabberd
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
from tests.xmpp.server import Client


async def what_is_kept(town: Town) -> None:
    """Both archives have what both said, and the room's is asked by who is in it. spec: XEP-0313 4, 5; XEP-0359"""
    alice, bob = town.alice, town.bob
    alice.send(f"<message to='{town.bob_jid}' type='chat' id='m1'><body>says-alice-1</body></message>")
    heard = await comes(bob, "<body>says-alice-1</body>", f"by='{town.bob_jid}'")
    assert heard.count("<stanza-id ") == 1, "ids that somebody else's archive gave are not passed on"
    bob.send(f"<message to='{ALICE}' type='chat' id='m2'><body>says-bob-1</body></message>")
    heard = await comes(alice, "<body>says-bob-1</body>", f"by='{ALICE}'")
    assert heard.count("<stanza-id ") == 1
    for client, other in ((alice, town.bob_jid), (bob, ALICE)):
        assert _bodies(await _archive(client, "", other)) == ["says-alice-1", "says-bob-1"]
    room = f"tea@muc.{town.server.name}"
    for client, nick in ((bob, "bob"), (alice, "alice")):
        client.send(f"<presence to='{room}/{nick}'>{MUC}</presence>")
        await comes(client, f"from='{room}'", "<subject")
    alice.send(f"<message to='{room}' type='groupchat' id='g1'><body>says-alice-2</body></message>")
    await comes(alice, f"from='{room}/alice'", "<body>says-alice-2</body>")
    bob.send(f"<message to='{room}' type='groupchat' id='g2'><body>says-bob-2</body></message>")
    await comes(alice, f"from='{room}/bob'", "<body>says-bob-2</body>")
    assert _bodies(await _archive(alice, room, None)) == ["says-alice-2", "says-bob-2"]


async def what_does_not_arrive(town: Town) -> None:
    """spec: RFC6121 8.5.1, 8.5.3.2.1; RFC6120 8.3.3, 10.4.3"""
    alice, bob, theirs = town.alice, town.bob, town.server.name
    # Nobody has that name, there and here.
    alice.send(f"<message to='nobody@{theirs}' type='chat' id='e1'><body>says-alice-1</body></message>")
    await comes(alice, "id='e1'", "type='error'", f"from='nobody@{theirs}'", "<service-unavailable ")
    bob.send(f"<message to='nobody@{OURS}' type='chat' id='e2'><body>says-bob-1</body></message>")
    await comes(bob, "id='e2'", "type='error'", f"from='nobody@{OURS}'", "<service-unavailable ")
    # A resource that is not there, and a request that nobody takes.
    version = "<query xmlns='jabber:iq:version'/>"
    assert "<service-unavailable " in await alice.ask(
        f"<iq type='get' id='e3' to='{town.bob_jid}/gone'>{version}</iq>"
    )
    assert "<service-unavailable " in await bob.ask(f"<iq type='get' id='e4' to='{ALICE}/gone'>{version}</iq>")
    assert "<service-unavailable " in await bob.ask(f"<iq type='get' id='e5' to='{OURS}'><x xmlns='no:such'/></iq>")
    # Rooms that are not there, or let nobody in from elsewhere.
    bob.send(f"<presence to='none@rooms.{OURS}/bob'>{MUC}</presence>")
    await comes(bob, "type='error'", f"from='none@rooms.{OURS}/bob'", "<not-allowed ")
    bob.send(f"<message to='none@rooms.{OURS}' type='groupchat' id='e6'><body>says-bob-2</body></message>")
    await comes(bob, "id='e6'", "type='error'")
    # A name that is in no DNS; and nobody is told twice of one error.
    alice.send("<message to='x@gone.example' type='chat' id='e7'><body>says-alice-2</body></message>")
    await comes(alice, "id='e7'", "type='error'", "<remote-server-not-found ")
    alice.send(f"<message to='nobody@{theirs}' type='error' id='e8'><body>says-alice-3</body></message>")
    await alice.quiet()
    # It goes away with what is sent to it.
    town.server.process.kill()
    town.server.process.wait(10)
    alice.send(f"<message to='{town.bob_jid}' type='chat' id='e9'><body>says-alice-4</body></message>")
    await comes(alice, "id='e9'", "type='error'", "<remote-server-")


async def _archive(client: Client, to: str, with_: str | None) -> list[str]:
    """What an archive gives, in its order. `to`: the room; "" for one's own."""
    form = (
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value>"
        f"</field><field var='with'><value>{with_}</value></field></x>"
        if with_
        else ""
    )
    where = f" to='{to}'" if to else ""
    client.send(f"<iq type='set' id='mam'{where}><query xmlns='urn:xmpp:mam:2'>{form}</query></iq>")
    found = []
    while True:
        text = await client.xml()
        if " id='mam'" in text and text.startswith("<iq"):
            assert "<fin " in text and "complete='true'" in text, text
            return found
        if "<forwarded " in text:
            found.append(text)


def _bodies(results: list[str]) -> list[str]:
    return [body for one in results for body in re.findall("<body>([^<]*)</body>", one)]


@pytest.mark.parametrize("proof", ["external", "dialback"])
@pytest.mark.parametrize(
    "work",
    [
        people_talk_and_see_each_other,
        a_room_of_theirs,
        somebody_of_theirs_in_a_room_of_ours,
        what_is_kept,
        what_does_not_arrive,
    ],
)
def test_ejabberd(tmp_path: Path, work: Work, proof: str) -> None:
    with_both(tmp_path, running_ejabberd, "ej.example", work, proof=proof)
