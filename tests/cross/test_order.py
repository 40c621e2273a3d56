"""The same order and the same ids everywhere, under interleaved senders on all three protocols.

spec: docs/mapping.md 5, 11, 27.1
"""

import asyncio
import re
from pathlib import Path

import orjson
import pytest

from tests.cross.world import PATIENCE_S, ROOMS, Person, World, world

MESSAGES = 102
JOIN = f'<presence to="tea@{ROOMS}/NICK"><x xmlns="http://jabber.org/protocol/muc"/></presence>'


@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
def test_a_hundred_interleaved_messages(sockets: bool, tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path / "data", sockets=sockets) as at:
            await _run(at)

    asyncio.run(asyncio.wait_for(run(), 60))


async def _run(at: World) -> None:
    caps = ["message-tags", "echo-message"]
    alice = await at.person("alice", "irc", "account", caps)
    await alice.send("JOIN #tea")
    await alice.pending()
    bob = await at.person("bob", "xmpp", "account", [])
    await bob.send(JOIN.replace("NICK", "bob"))
    carol = await at.person("carol", "matrix", "account", [])
    await carol.send("POST /join/<#tea:example.org> {}")
    # One more account is there on all three at once.
    dave = [await at.person("dave", protocol, "account", caps) for protocol in ("irc", "matrix")]
    await dave[0].send("JOIN #tea")
    dave_xmpp = await at.person("dave", "xmpp", "account", [])
    await dave_xmpp.send(JOIN.replace("NICK", "dave"))
    readers = [alice, bob, carol, dave[0], dave[1], dave_xmpp]
    for reader in readers:
        await reader.pending()

    async def talk(person: Person, number: int) -> None:
        for n in range(number, MESSAGES, 3):
            if person is alice:
                await person.send(f"PRIVMSG #tea :message {n}")
            elif person is bob:
                words = f"<body>message {n}</body>"
                await person.send(f"<message to='tea@{ROOMS}' type='groupchat' id='b{n}'>{words}</message>")
            else:
                await person.send(f"say #tea:example.org message {n}")
            await asyncio.sleep(0)

    heard = await asyncio.gather(
        *(_hear(reader) for reader in readers),
        *(talk(person, number) for number, person in enumerate((alice, bob, carol))),
    )
    first = heard[0]
    assert len(first) == MESSAGES
    assert {text for _, text in first} == {f"message {n}" for n in range(MESSAGES)}
    for other in heard[1 : len(readers)]:
        assert other == first
    # Nothing comes twice.
    for reader in readers:
        assert not [text for text in await reader.pending() if "message " in text]


async def _hear(reader: Person) -> list[tuple[str, str]]:
    """(id, text) of every message, in order of arrival."""
    heard: list[tuple[str, str]] = []
    async with asyncio.timeout(PATIENCE_S * 3):
        while len(heard) < MESSAGES:
            got = await reader.next()
            if got.startswith("{"):
                event = orjson.loads(got)
                if event["type"] == "m.room.message":
                    heard.append((event["event_id"], event["content"]["body"]))
            elif got.startswith("<message"):
                body = re.search(r"<body>([^<]*)</body>", got)
                stanza_id = re.search(r"<stanza-id [^>]*id='([^']*)'", got)
                if body and stanza_id:
                    heard.append((stanza_id[1], body[1]))
            elif "PRIVMSG #tea" in got:
                line = re.match(r"@msgid=([^; ]*)\S* \S+ PRIVMSG #tea :(.*)", got)
                assert line, got
                heard.append((line[1], line[2]))
    return heard
