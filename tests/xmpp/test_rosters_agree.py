"""Whatever happens in a room, everybody who is in it ends up with the same list of occupants.

Random steps from XMPP and from the other protocols; each client keeps the list as XEP-0045 7.2.2, 7.6 and 7.14
say, and at the end it is what the room says. spec: XEP-0045 7.1: the list ends with oneself
"""

import asyncio
import random
import re

import pytest

from tests.xmpp.server import SERVER, TestServer, serve
from tripoint.core.ids import UserId
from tripoint.core.power import Rank
from tripoint.rooms.commands import (
    Ban,
    CreateRoom,
    Join,
    Kick,
    Leave,
    SendEvent,
    SetRanks,
    SetRoomNick,
    Template,
    Unban,
)
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.wire import Element

ROOM = f"tea@rooms.{SERVER}"
MUC_USER = "http://jabber.org/protocol/muc#user"
NAMES = ("ann", "bob", "cy", "dan")
NICKS = ("ann", "Ann", "bob", "Robert", "x y", "🐈", "cy", "Dan")


def user(name: str) -> UserId:
    return UserId(f"@{name}:{SERVER}")


class Member:
    """One XMPP session and the list of occupants that its client shows."""

    def __init__(self, name: str, client) -> None:
        self.name = name
        self.client = client
        self.inside = False
        self.entering = False
        self.roster: dict[str, tuple[str, str]] = {}
        self.seen: list[str] = []

    def take(self, stanza: Element) -> None:
        nick = (stanza.get("from") or "").partition("/")[2]
        if stanza.name == "message" and stanza.get("type") == "groupchat":
            if nick and stanza.child("body", "jabber:client") is not None:
                assert nick in self.roster or stanza.child("delay", "urn:xmpp:delay") is not None, (
                    f"{self.name} heard somebody who is not there: {stanza}"
                )
            return
        x = stanza.child("x", MUC_USER)
        if stanza.name != "presence" or x is None or stanza.get("type") == "error":
            return
        codes = {child.get("code") for child in x.elements() if child.name == "status"}
        item = x.child("item", MUC_USER)
        if stanza.get("type") == "unavailable":
            if "333" in codes:
                return
            if "110" in codes and "303" not in codes:
                self.inside = False
                self.roster.clear()
                return
            assert nick in self.roster, f"{self.name} lost somebody who was not there: {stanza}"
            del self.roster[nick]
            return
        if "110" in codes:
            self.inside = True
        self.roster[nick] = (item.get("affiliation"), item.get("role"))

    async def catch_up(self) -> None:
        self.client._pings += 1
        mark = f"mark{self.client._pings}"
        self.client.send(f"<iq type='get' id='{mark}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        while True:
            stanza = await self.client.stanza()
            if stanza.get("id") == mark:
                return
            self.take(stanza)


async def step(server: TestServer, room_id, members: list[Member], dice: random.Random) -> None:
    member = dice.choice(members)
    nick = dice.choice(NICKS)
    kind = dice.randrange(9)
    if kind <= 1:
        # Joining again shows everything again: on top of a list that was right it changes nothing.
        member.client.send(
            f"<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>"
            f"<history maxstanzas='{dice.randrange(3)}'/></x></presence>"
        )
    elif kind == 2:
        member.client.send(f"<presence to='{ROOM}/{nick}'/>")
    elif kind == 3:
        member.client.send(f"<presence type='unavailable' to='{ROOM}/{nick}'/>")
    elif kind == 4:
        member.client.send(f"<message type='groupchat' to='{ROOM}'><body>hi</body></message>")
    else:
        target = user(dice.choice(NAMES))
        owner = user("owner")
        command = dice.choice(
            [
                Kick(actor=owner, room_id=room_id, target=target),
                Ban(actor=owner, room_id=room_id, target=target),
                Unban(actor=owner, room_id=room_id, target=target),
                Join(actor=target, room_id=room_id),
                Leave(actor=target, room_id=room_id),
                SetRoomNick(actor=target, room_id=room_id, nick=nick),
                SetRanks(
                    actor=owner, room_id=room_id, ranks=((target, dice.choice([Rank.OP, Rank.PLAIN, Rank.MUTED])),)
                ),
                SendEvent(
                    actor=target, room_id=room_id, type="m.room.message", content={"msgtype": "m.text", "body": "yo"}
                ),
            ]
        )
        try:
            await server.middle.service.do(command)
        except Refused:
            pass
    if dice.random() < 0.5:
        await member.catch_up()


async def play(seed: int) -> None:
    dice = random.Random(seed)
    async with serve() as server:
        await server.make_account("owner")
        done = await server.middle.service.do(
            CreateRoom(actor=user("owner"), template=Template.MUC, alias_localpart="tea")
        )
        members = [Member(name, await server.online(name)) for name in NAMES]
        members.append(Member("ann", await server.online("ann", "second")))
        for member in members:
            await member.client.skip()
        for _ in range(60):
            await step(server, done.room_id, members, dice)
        for _ in range(2):  # what the last of them asked for reaches the first
            for member in members:
                await member.catch_up()
        view = server.front.muc.view(done.room_id, ROOM)
        room = await server.middle.reader.room(done.room_id)
        for member in members:
            if not member.inside:
                assert member.client is not None
                continue
            assert view is not None and room.membership(user(member.name)) == "join"
            expected = {
                who.nick: (who.standing.affiliation, who.standing.role)
                for who in view.occupants.values()
                if not who.hidden
            }
            assert member.roster == expected, f"seed {seed}: {member.name}"
        if view is not None:
            assert set(view.occupants) == set(room.joined())
            nicks = [who.nick for who in view.occupants.values()]
            assert len(nicks) == len(set(nicks))
            assert all(re.fullmatch(r"[^\x00-\x1f]+", nick) for nick in nicks)


@pytest.mark.parametrize("seed", range(12))
def test_rosters_agree(seed):
    asyncio.run(play(seed))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_rosters_agree_long(seed):
    asyncio.run(play(seed))
