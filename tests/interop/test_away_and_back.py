"""Three tripoints, one room: the server of an IRC user is switched off, the others go on, it returns and has it all.

An IRC user on A, an occupant on XMPP on B, somebody on Matrix on C. While A is away those on B and C talk and rule;
whoever comes back to A finds all of it, once, in the order in which the others have it, under the same ids.
spec: docs/mapping.md 4.2, 14.1, 21; Matrix server-server-api "Transactions", POST /get_missing_events
"""

import asyncio
import re
from pathlib import Path

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.matrix_person import Person, nothing_lost_nothing_doubled, same_state
from tests.interop.peer import PASSWORD, until
from tests.interop.slix_peer import SlixPeer
from tests.interop.two_servers import World, tripoints

pytestmark = pytest.mark.interop

# More than servers give of a gap in one answer.
ROUNDS = 60
PATIENCE_S = 60.0


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_the_server_of_an_irc_user_is_away_and_comes_back(tmp_path: Path, ending: str) -> None:
    with tripoints(tmp_path, "a", "b", "c") as world:
        world.run(_story(world, ending))


async def _story(world: World, ending: str) -> None:
    a, b = world.servers["a"], world.servers["b"]
    anna = IrcPeer("anna")
    ben = SlixPeer("ben", room="tea%a.example")
    cleo = await world.person("c", "cleo")
    peers: list[IrcPeer | SlixPeer] = [anna, ben]
    try:
        # Everybody is in the room of A, and talks.
        for peer, server in ((anna, a), (ben, b)):
            await peer.start(server.process)
            await peer.join()
        room = await cleo.join("#tea:a.example")
        await _talk([anna, ben], cleo, room, 1)

        # A goes.
        await anna.stop()
        await asyncio.to_thread(a.kill if ending == "killed" else a.stop)

        # The others go on.
        for number in range(2, ROUNDS):
            await _talk([ben], cleo, room, number)

        # A returns: anna is put back into her channel by itself, and all can be read there.
        await asyncio.to_thread(a.start)
        back = IrcPeer("anna", registers=False, capabilities=("batch", "draft/chathistory"))
        peers.append(back)
        await back.start(a.process)
        await until(back.in_room, lambda: "not put back into the channel:\n" + "\n".join(back.lines))
        on_a = await _log_in(Person(a, "anna"))
        # Who speaks before the server has caught up speaks beside the others, and not after them.
        await on_a.until(lambda: f"says-cleo-{ROUNDS - 1}" in on_a.said(room), PATIENCE_S)
        await _talk([back, ben], cleo, room, ROUNDS)
        said = [(event["content"]["body"], event["event_id"]) for event in await _messages(cleo, room)]
        assert len(said) == 3 + 2 * (ROUNDS - 2) + 3

        # On B the occupant has seen it all as it was said; on A it is in the history of IRC and of Matrix.
        assert [(one.text, one.msgid) for one in ben.seen()] == said
        assert await _irc_history(back) == said[-100:]
        assert [(event["content"]["body"], event["event_id"]) for event in await _messages(on_a, room)] == said
        await same_state(room, on_a, cleo)
        await nothing_lost_nothing_doubled(room, [event_id for _, event_id in said], on_a, cleo)
    finally:
        await asyncio.gather(*(peer.stop() for peer in peers), return_exceptions=True)


async def _talk(peers: list[IrcPeer | SlixPeer], cleo: Person, room: str, number: int) -> None:
    """Each of them says something when all have heard what was said before, and so does cleo."""
    for peer in peers:
        text = f"says-{peer.account}-{number}"
        await peer.say(text)
        await cleo.until(lambda text=text: text in cleo.said(room))  # type: ignore[misc]
        await _all_have(peers, text)
    await cleo.send(room, f"says-cleo-{number}")
    await _all_have(peers, f"says-cleo-{number}")


async def _all_have(peers: list[IrcPeer | SlixPeer], text: str) -> None:
    for peer in peers:
        await until(
            lambda peer=peer: text in [one.text for one in peer.seen()],  # type: ignore[misc]
            lambda peer=peer: f"{peer.account} has no {text}: {peer.seen()[-5:]}",  # type: ignore[misc]
        )


async def _messages(person: Person, room: str) -> list[dict]:  # type: ignore[type-arg]
    return [event for event in await person.history(room) if event["type"] == "m.room.message"]


async def _irc_history(irc: IrcPeer) -> list[tuple[str, str]]:
    """(text, id) of the newest hundred messages of the channel, as CHATHISTORY gives them."""
    start = len(irc.lines)
    irc.connection.send_raw(f"CHATHISTORY LATEST {irc.channel} * 100")
    ended = re.compile(r"batch .*'?-")
    await until(
        lambda: any(ended.search(line) for line in irc.lines[start:]), lambda: "\n".join(irc.lines[start:][-20:])
    )
    found = []
    for line in irc.lines[start:]:
        text, msgid = re.search(r"\['(says-[a-z]+-\d+)'\]", line), re.search(r"msgid=([^; ]+)", line)
        if text and msgid and " pubmsg " in line:
            found.append((text[1], msgid[1]))
    return found


async def _log_in(person: Person) -> Person:
    name = person.user_id.partition(":")[0][1:]
    identifier = {"type": "m.id.user", "user": name}
    answer = await person.call(
        "POST", "/login", {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    )
    person.token = answer["access_token"]
    return person
