"""Channels with more members than a client wants to hear of. spec: docs/mapping.md 4.7"""

from __future__ import annotations

import asyncio

import pytest

from tests.irc.server import SERVER, serve
from tripoint.core.ids import UserId
from tripoint.core.power import Rank
from tripoint.rooms import listing
from tripoint.rooms.commands import Ban, CreateRoom, Join, Leave, SendEvent, SetRanks, Template


def user(name: str) -> UserId:
    return UserId(f"@{name}:{SERVER}")


def test_who_is_listed_and_who_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FULL_LIST_MEMBERS", 3)

    async def scenario() -> None:
        async with serve() as server:
            do = server.middle.service.do
            for name in ("carol", "dave", "eve", "fay", "gil", "hal"):
                await server.middle.accounts.register(name, "correct horse", address="x")
            done = await do(CreateRoom(actor=user("carol"), template=Template.CHANNEL, alias_localpart="tea"))
            room_id = done.room_id
            assert room_id is not None
            for name in ("dave", "eve", "fay", "gil"):
                await do(Join(actor=user(name), room_id=room_id))

            async def say(name: str, words: str) -> None:
                content = {"msgtype": "m.text", "body": words, "m.mentions": {}}
                await do(SendEvent(actor=user(name), room_id=room_id, type="m.room.message", content=content))

            await say("dave", "hello")  # heard before anybody was here: he is listed
            bob = await server.account("bob")
            bob.send("JOIN #tea")
            await bob.expect(f":bob!bob@{SERVER} JOIN #tea", f":{SERVER} 353 bob @ #tea :~carol dave bob")
            await bob.expect(f":{SERVER} 366 *")
            note = "This room has 6 members: those with a rank, those online and those who talk are listed"
            await bob.expect(f":{SERVER} NOTICE bob :[#tea] {note}", ":* NOTICE bob :[#tea] History is kept here*")
            # Who speaks, comes online or gets a rank is shown first.
            await say("eve", "hi")
            await bob.expect(f":eve!eve@{SERVER} JOIN #tea", f":eve!eve@{SERVER} PRIVMSG #tea :hi")
            server.middle.presence.set(user("fay"), "elsewhere", "online", None)
            await bob.expect(f":fay!fay@{SERVER} JOIN #tea")
            await do(SetRanks(actor=user("carol"), room_id=room_id, ranks=((user("gil"), Rank.OP),)))
            await bob.expect(f":gil!gil@{SERVER} JOIN #tea", ":carol!* MODE #tea +o gil")
            await bob.quiet()
            # Who comes and goes without a word is not told of; who is thrown out is.
            await do(Join(actor=user("hal"), room_id=room_id))
            await do(Leave(actor=user("hal"), room_id=room_id))
            await bob.quiet()
            await do(Join(actor=user("hal"), room_id=room_id))
            await do(Ban(actor=user("carol"), room_id=room_id, target=user("hal"), reason="no"))
            await bob.expect(
                ":carol!* MODE #tea +b ~a:hal", f":hal!hal@{SERVER} JOIN #tea", ":carol!* KICK #tea hal :no"
            )
            await do(Leave(actor=user("eve"), room_id=room_id))
            await bob.expect(f":eve!eve@{SERVER} PART #tea")
            bob.send("NAMES #tea")
            await bob.expect(f":{SERVER} 353 bob @ #tea :~carol dave *", f":{SERVER} 366 *")
            assert sum(" 352 " in line for line in await bob.answer("WHO #tea")) == 5
            # It is said once.
            bob.send("PART #tea", "JOIN #tea")
            await bob.until(" 366 ")
            await bob.quiet()

    asyncio.run(asyncio.wait_for(scenario(), 30))
