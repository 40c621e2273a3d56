"""Rooms of several servers that are replaced: who goes along, who does not, what hostile servers get out of it.

spec: docs/mapping.md 21.4; Matrix client-server-api "Room Upgrades"
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cross.world import IrcPerson, World, XmppPerson
from tests.federation.servers import Islands, islands, server
from tests.federation.test_joining import ONE, TWO, account, make_room, room_of, rules, same_state, text, until
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms import following, resident
from tripoint.rooms.changes import MoveRefused, RoomMoved, UserChange
from tripoint.rooms.commands import (
    Invite,
    Join,
    SendEvent,
    SendState,
    SetAlias,
    SetRanks,
    UpgradeRoom,
)
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.succession import replacement_of
from tripoint.runtime.app import App

THREE = server("three.example")
CHANNEL = f"#tea:{ONE}"
MUC = f"tea%{ONE}@rooms.{TWO}"


class Scene:
    """alice has #tea on ONE; bob is in it on IRC, dora by XMPP, carol by nothing, all on TWO."""

    def __init__(self, made: Islands) -> None:
        self.made = made
        self.one, self.two = made.apps[ONE], made.apps[TWO]
        self.told: list[UserChange] = []

    async def start(self, version: str = "10", **how: object) -> None:
        self.alice = await account(self.one, "alice")
        self.room_id = await make_room(self.one, self.alice, alias_localpart="tea", room_version=version, **how)
        self.bob, self.carol, self.dora = [await account(self.two, name) for name in ("bob", "carol", "dora")]
        for user_id in (self.bob, self.carol, self.dora):
            if how:
                await self.one.middle.service.do(Invite(actor=self.alice, room_id=self.room_id, target=user_id))
            await self.two.middle.service.do(Join(actor=user_id, room_id=self.room_id, via=(ONE,)))
        self.two.middle.hub.watch_users(self.told.append)
        await self.connect()

    async def connect(self) -> None:
        self.world = World(self.two, sockets=False)
        self.irc = IrcPerson(await self.world.connect("irc"))
        await self.irc.log_in("bob", [])
        self.xmpp = XmppPerson(await self.world.connect("xmpp"), TWO)
        await self.xmpp.log_in("dora", [])

    async def enter(self) -> None:
        """Both are in the room as they see it, and have looked."""
        await heard(self.irc, lambda line: f" 366 bob {CHANNEL} " in line)
        presence = f"<presence to='{MUC}/dora'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        await self.xmpp.send(presence)
        await heard(self.xmpp, lambda stanza: "<subject" in stanza)
        await self.irc.pending()

    async def upgrade(self, app: App, actor: UserId, version: str = "12") -> RoomId:
        done = await app.middle.service.do(UpgradeRoom(actor=actor, room_id=self.room_id, room_version=version))
        assert done.room_id is not None
        return done.room_id

    async def entomb(self, replacement: str) -> None:
        content: JsonObject = {"body": "moved", "replacement_room": replacement}
        await self.one.middle.service.do(
            SendState(
                actor=self.alice, room_id=self.room_id, type="m.room.tombstone", state_key="", content=content
            )
        )

    async def moved(self, new: RoomId, *people: UserId) -> Room:
        room = await settled_room(self.two, new)
        wanted = {RoomMoved(user_id, self.room_id, new) for user_id in people}
        async with asyncio.timeout(15):
            while not wanted <= {one for one in self.told if isinstance(one, RoomMoved)}:  # noqa: ASYNC110 (bounded above)
                await asyncio.sleep(0.02)
        return room

    async def refusals(self, count: int) -> list[MoveRefused]:
        async with asyncio.timeout(15):
            while len(found := [one for one in self.told if isinstance(one, MoveRefused)]) < count:  # noqa: ASYNC110 (bounded above)
                await asyncio.sleep(0.02)
        return found


async def settled_room(app: App, room_id: RoomId) -> Room:
    async with asyncio.timeout(15):
        while (room := await app.middle.loaded.find(room_id)) is None or room.outside:  # noqa: ASYNC110 (bounded above)
            await asyncio.sleep(0.02)
    return room


async def heard(person: IrcPerson | XmppPerson, what: Callable[[str], bool]) -> list[str]:
    """Everything up to the first thing that is as wished."""
    lines = []
    async with asyncio.timeout(15):
        while True:
            lines.append(await person.next())
            if what(lines[-1]):
                return lines


@asynccontextmanager
async def scene(folder: Path, *more: str, version: str = "10", **how: object) -> AsyncIterator[Scene]:
    async with islands(folder, ONE, TWO, *more) as made:
        at = Scene(made)
        await at.start(version, **how)
        try:
            yield at
        finally:
            await at.world.close()


@pytest.mark.parametrize("omitted", [True, False])
@pytest.mark.parametrize("wished", ["11", "12"])
def test_members_here_follow_what_is_done_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, omitted: bool, wished: str
) -> None:
    """Whether the members of the new room come with it or later."""
    if omitted:
        monkeypatch.setattr(resident, "OMIT_ABOVE", 0)
        monkeypatch.setattr(following, "WHOLE_UPTO", 0)

    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            say = SendEvent(actor=at.alice, room_id=at.room_id, type="m.room.message", content=text("before"))
            await at.one.middle.service.do(say)
            await heard(at.irc, lambda line: line.endswith(f"PRIVMSG {CHANNEL} :before"))
            new = await at.upgrade(at.one, at.alice, wished)
            room = await at.moved(new, at.bob, at.dora)
            assert room.membership(at.carol) == "leave"  # no client that would not know where to go
            lines = await heard(at.irc, lambda line: line.endswith(f"NOTICE {CHANNEL} :This room was upgraded"))
            assert not [line for line in lines if " JOIN " in line or " PART " in line or " MODE " in line]
            stanzas = await heard(at.xmpp, lambda stanza: "<status code='104'/>" in stanza)
            assert not [stanza for stanza in stanzas if "destroy" in stanza]
            say = SendEvent(actor=at.alice, room_id=new, type="m.room.message", content=text("after"))
            await at.one.middle.service.do(say)
            await heard(at.irc, lambda line: line.endswith(f"PRIVMSG {CHANNEL} :after"))
            await heard(at.xmpp, lambda stanza: f"from='{MUC}/alice" in stanza and "<body>after</body>" in stanza)
            await at.irc.send(f"PRIVMSG {CHANNEL} :here too")
            await until(at.one, new, lambda room: said(room)[-1:] == ["here too"])
            # The channel has one history, and its name means the new room.
            chain = await at.two.middle.reader.lineage(new)
            assert [one.room_id for one in chain] == [new, at.room_id]
            assert await at.two.irc.network.find_room(CHANNEL, at.bob) == new
            await until(at.two, new, lambda room: room.partial is None)
            await same_state([at.one, at.two], new)

    run(work, 60)


def said(room: RoomView) -> list[object]:
    return [item.event.content.get("body") for item in room.recent if item.event.type == "m.room.message"]


def test_names_of_this_server_go_along(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            alias = RoomAlias(f"#kettle:{TWO}")
            await at.two.middle.service.do(SetAlias(actor=at.bob, room_id=at.room_id, alias=alias))
            new = await at.upgrade(at.one, at.alice)
            await at.moved(new, at.bob)
            await at.two.middle.following.settled()
            assert await at.two.middle.reader.resolve_alias(alias) == new
            assert await at.two.middle.reader.resolve_alias(RoomAlias(CHANNEL)) == new

    run(work, 60)


def test_an_operator_of_another_server_upgrades(tmp_path: Path) -> None:
    """The new room is TWO's, though the old one was ONE's: ONE's own people follow."""

    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            ranks = SetRanks(actor=at.alice, room_id=at.room_id, ranks=((at.carol, Rank.OWNER),))
            await at.one.middle.service.do(ranks)
            await until(at.two, at.room_id, lambda room: room.rank(at.carol) is Rank.OWNER)
            home = World(at.one, sockets=False)
            chatter = IrcPerson(await home.connect("irc"))
            await chatter.log_in("alice", [])
            await heard(chatter, lambda line: " 366 alice #tea " in line)
            await chatter.pending()
            new = await at.upgrade(at.two, at.carol)
            room = await settled_room(at.one, new)
            await until(at.one, new, lambda room: room.membership(at.alice) == "join")
            lines = await heard(chatter, lambda line: line.endswith("NOTICE #tea :This room was upgraded"))
            assert not [line for line in lines if " JOIN " in line]
            # Nobody has told ONE what the new room is called: the names of ONE moved all the same.
            await at.one.middle.following.settled()
            assert list(room.aliases) == [RoomAlias(CHANNEL)]
            await chatter.send("PRIVMSG #tea :good evening")
            await heard(at.irc, lambda line: "PRIVMSG" in line and line.endswith(":good evening"))
            await home.close()

    run(work, 60)


def test_who_is_not_let_in_hears_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "GRACE_S", 0.2)

    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            new = await make_room(
                at.one,
                at.alice,
                alias_localpart="club",
                creation_content={"predecessor": {"room_id": at.room_id}},
                initial_state=rules("invite"),
            )
            await at.entomb(new)
            found = await at.refusals(2)
            assert {(one.user_id, one.stays) for one in found} == {(at.bob, False), (at.dora, False)}
            lines = await heard(at.irc, lambda line: f":bob!bob@{TWO} PART {CHANNEL}" in line)
            assert any(line.startswith(f":{TWO} 403 bob {CHANNEL} :This room was upgraded") for line in lines)
            stanzas = await heard(at.xmpp, lambda stanza: "<destroy jid='" in stanza)
            assert f"from='{MUC}/dora'" in stanzas[-1] and "type='unavailable'" in stanzas[-1]
            # Members they are: the account has the old room, and who is invited later gets there.
            assert (await room_of(at.two, at.room_id)).membership(at.bob) == "join"
            await at.one.middle.service.do(Invite(actor=at.alice, room_id=new, target=at.bob))
            await heard(at.irc, lambda line: " INVITE bob " in line)
            await at.two.middle.service.do(Join(actor=at.bob, room_id=new, via=(ONE,)))
            await at.moved(new, at.bob)

    run(work, 60)


def test_a_room_that_nobody_says_to_be_the_next_is_left_at_once(tmp_path: Path) -> None:
    """Whoever may write a tombstone could bring everybody anywhere; he brings one, who leaves again."""

    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            trap = await make_room(at.one, at.alice, alias_localpart="trap")
            await at.entomb(trap)
            found = await at.refusals(2)
            assert all(one.stays for one in found)
            await until(at.one, trap, lambda room: set(room.joined()) == {at.alice})
            came = [
                item.event.state_key
                for item in (await room_of(at.one, trap)).recent
                if item.event.type == "m.room.member" and item.event.content.get("membership") == "join"
            ]
            assert len(came) == 2  # alice, and one of theirs
            # The old room is what it was.
            await heard(at.irc, lambda line: f"NOTICE {CHANNEL} :This room names another one" in line)
            await at.irc.send(f"PRIVMSG {CHANNEL} :still here")
            await heard(at.xmpp, lambda stanza: "<body>still here</body>" in stanza)
            assert await at.two.middle.reader.newest(at.room_id) == at.room_id

    run(work, 60)


def test_what_leads_nowhere_changes_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            for wrong in (at.room_id, "!", "no room", f"!nothing:{ONE}"):
                await at.entomb(wrong)
            await until(at.two, at.room_id, lambda room: replacement_of(room) == f"!nothing:{ONE}")
            found = await at.refusals(2)
            await at.two.middle.following.settled()
            assert {(one.new, one.stays) for one in found} == {(f"!nothing:{ONE}", True)}
            await at.irc.send(f"PRIVMSG {CHANNEL} :still here")
            await heard(at.xmpp, lambda stanza: "<body>still here</body>" in stanza)

    run(work, 60)


def test_who_was_away_finds_the_new_room(tmp_path: Path) -> None:
    """The server was stopped meanwhile, and nobody has followed: members land in it when they come."""

    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.enter()
            await at.world.close()
            for number in range(3):
                say = SendEvent(actor=at.alice, room_id=at.room_id, type="m.room.message", content=text(str(number)))
                await at.one.middle.service.do(say)
            await until(at.two, at.room_id, lambda room: said(room)[-1:] == ["2"])
            for user_id in (at.bob, at.dora):
                async with asyncio.timeout(10):
                    while at.two.middle.presence.is_on_a_view(user_id):  # noqa: ASYNC110 (bounded above)
                        await asyncio.sleep(0.02)
            new = await at.upgrade(at.one, at.alice)
            await until(at.two, at.room_id, lambda room: replacement_of(room) == new)
            await at.two.middle.following.settled()
            assert await at.two.middle.loaded.find(new) is None
            await at.made.stop(TWO)
            at.two = await at.made.start(TWO)
            at.two.middle.hub.watch_users(at.told.append)
            await at.connect()
            lines = await heard(at.irc, lambda line: f" 366 bob {CHANNEL} " in line)
            assert f":bob!bob@{TWO} JOIN {CHANNEL}" in lines
            # What he missed of the old room he is shown in the channel that it is now.
            await at.moved(new, at.bob)
            await at.two.irc.settled()
            missed = [line for line in [*lines, *await at.irc.pending()] if f" PRIVMSG {CHANNEL} " in line]
            assert [line[-1] for line in missed] == ["0", "1", "2"]
            # By XMPP the address that she knows.
            presence = f"<presence to='{MUC}/dora'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            await at.xmpp.send(presence)
            await at.moved(new, at.dora)
            query = HistoryQuery(room_id=new, viewer=at.bob, direction=Direction.BACKWARD, limit=5)
            assert (await at.two.middle.reader.history(query)).items

    run(work, 60)


def test_a_room_that_is_not_whole_yet_is_not_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "OMIT_ABOVE", 0)

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            levels: JsonObject = {"users": {alice: 100, bob: 100}}
            room_id = await make_room(one, alice, power_levels_override=levels, room_version="11")
            gate = asyncio.Event()
            questions = two.middle.door.servers
            state = questions.state

            async def later(*arguments: object) -> object:
                await gate.wait()
                return await state(*arguments)  # type: ignore[arg-type]

            questions.state = later  # type: ignore[method-assign, assignment]
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            command = UpgradeRoom(actor=bob, room_id=room_id)
            with pytest.raises(Refused) as caught:
                await two.middle.service.do(command)
            assert caught.value.refusal is Refusal.SERVER_BUSY
            gate.set()
            await until(two, room_id, lambda room: room.partial is None)
            done = await two.middle.service.do(command)
            assert done.created

    run(work, 60)


def test_members_of_other_servers_are_invited_where_the_room_is_not_open(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path, initial_state=rules("invite")) as at:
            await heard(at.irc, lambda line: " 366 bob " in line)
            new = await at.upgrade(at.one, at.alice)
            await at.moved(new, at.bob, at.dora)
            room = await room_of(at.two, new)
            async with asyncio.timeout(45):
                while room.membership(at.carol) != "invite":  # noqa: ASYNC110 (bounded above)
                    await asyncio.sleep(0.02)

    run(work, 60)
