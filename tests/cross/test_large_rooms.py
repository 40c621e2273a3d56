"""A room with more than a thousand members, as its people see it from each protocol.

spec: docs/mapping.md 4.7; RFC2812 3.2.5; XEP-0045 7.2.2; Matrix GET /joined_members
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.cross.world import IrcPerson, MatrixPerson, World, XmppPerson, world
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import Join, SendEvent

MEMBERS = 1_050
NOTE = "those with a rank, those online and those who talk are listed"


def user(name: str) -> UserId:
    return UserId(f"@{name}:example.org")


def quiet_name(number: int) -> str:
    return "q" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


async def _fill(at: World, room_id: RoomId) -> None:
    """Members who have no client: accounts are nothing to a room, so they need none."""
    for number in range(MEMBERS):
        await at.app.middle.service.do(Join(actor=user(quiet_name(number)), room_id=room_id))


async def _until(person: IrcPerson | XmppPerson, pattern: str) -> list[str]:
    """What comes, up to and with what is waited for."""
    came: list[str] = []
    while not came or not re.search(pattern, came[-1], re.S):
        came.append(await person.next())
    return came


async def _play(at: World) -> None:
    carol = await at.person("carol", "matrix", "account", [])
    assert isinstance(carol, MatrixPerson)
    await carol.send('POST /createRoom {"preset": "public_chat", "room_alias_name": "tea"}')
    room_id = RoomId(carol.answer[1]["room_id"])
    await _fill(at, room_id)

    alice = await at.person("alice", "irc", "account", [])
    bob = await at.person("bob", "xmpp", "account", [])
    assert isinstance(alice, IrcPerson)
    assert isinstance(bob, XmppPerson)

    # IRC: a rank is a reason to be listed, being online too; the rest is counted, once.
    await alice.send("JOIN #tea")
    names = [line for line in await _until(alice, " 366 ") if " 353 " in line]
    listed = [nick for line in names for nick in line.rpartition(" :")[2].split()]
    assert listed[0] == "~carol"
    assert "alice" in listed
    assert len(listed) < 200  # carol, alice, and of the others those who came last and are heard of
    told = await alice.pending()
    assert any(f"This room has {MEMBERS + 2} members: {NOTE}" in line for line in told)

    # XMPP: the same people.
    await bob.send(
        "<presence to='tea@rooms.example.org/bob'><x xmlns='http://jabber.org/protocol/muc'>"
        "<history maxstanzas='0'/></x></presence>"
    )
    occupants = [
        found[1]
        for stanza in await _until(bob, "<subject")
        if (found := re.search(r"<presence from='tea@rooms\.example\.org/([^']+)'", stanza))
    ]
    assert set(occupants) == {nick.lstrip("~&@%+") for nick in listed} | {"bob"}
    assert occupants[-1] == "bob"
    await _until(alice, ":bob!bob@example.org JOIN #tea")

    # Matrix: everybody.
    await carol.send(f"GET /rooms/<{room_id}>/joined_members")
    assert len(carol.answer[1]["joined"]) == MEMBERS + 3

    # A member whom nobody saw speaks: he is there before his words.
    quiet = next(name for name in map(quiet_name, range(MEMBERS)) if name not in listed)
    await bob.pending()
    await at.app.middle.service.do(
        SendEvent(
            actor=user(quiet),
            room_id=room_id,
            type="m.room.message",
            content={"msgtype": "m.text", "body": "a word"},
        )
    )
    assert await alice.next() == f":{quiet}!{quiet}@example.org JOIN #tea"
    assert await alice.next() == f":{quiet}!{quiet}@example.org PRIVMSG #tea :a word"
    assert f"<presence from='tea@rooms.example.org/{quiet}'" in await bob.next()
    assert "<body>a word</body>" in await bob.next()


# rows: 4.7
@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
def test_4_7_who_is_listed_of_a_thousand(sockets: bool, tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path / "data", sockets=sockets) as at:
            await _play(at)

    asyncio.run(asyncio.wait_for(run(), 60))
