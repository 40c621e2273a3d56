"""What IRC and XMPP clients believe of a channel, over upgrades: after each their picture is the new room.

Whatever the old room was like, and however the new one differs: made by an upgrade, or by hand with other topics,
levels, bans, members. spec: docs/mapping.md 21.4, 5.5
"""

import random

import pytest

from tests.federation.islands import Island, islands
from tests.federation.viewers import IrcViewer, XmppViewer, front_ends, irc_viewer, xmpp_viewer
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId
from tripoint.core.power import Rank
from tripoint.irc import moving
from tripoint.rooms.commands import (
    Ban,
    Command,
    CreateRoom,
    Join,
    Kick,
    Leave,
    SendState,
    SetRanks,
    SetTopic,
    Template,
    Unban,
    UpgradeRoom,
)
from tripoint.rooms.refusals import Refused

CROWD = [f"user{number}" for number in range(6)]


class Walk:
    """anna owns #tea; alice is there by IRC, bob by XMPP, a crowd by neither."""

    def __init__(self, dice: random.Random, island: Island) -> None:
        self.dice = dice
        self.island = island
        self.do = island.party.do

    async def start(self, version: str) -> None:
        self.anna, self.alice, self.bob = await self.island.party.accounts("anna", "alice", "bob")
        self.crowd = await self.island.party.accounts(*CROWD)
        done = await self.do(
            CreateRoom(actor=self.anna, template=Template.CHANNEL, room_version=version, alias_localpart="tea")
        )
        assert done.room_id is not None
        self.room_id: RoomId = done.room_id
        for user_id in (self.alice, self.bob, *self.crowd):
            await self.do(Join(actor=user_id, room_id=self.room_id))

    async def something(self) -> None:
        """Anything that views show, by who may."""
        dice, room_id = self.dice, self.room_id
        target = dice.choice(self.crowd)
        rank = dice.choice([Rank.OP, Rank.HALFOP, Rank.VOICE, Rank.PLAIN, Rank.MUTED])
        command: Command = dice.choice(
            [
                SetRanks(actor=self.anna, room_id=room_id, ranks=((target, rank),)),
                SetRanks(actor=self.anna, room_id=room_id, ranks=((dice.choice([self.alice, self.bob]), rank),)),
                Ban(actor=self.anna, room_id=room_id, target=target),
                Kick(actor=self.anna, room_id=room_id, target=target),
                Unban(actor=self.anna, room_id=room_id, target=target),
                Join(actor=target, room_id=room_id),
                Leave(actor=target, room_id=room_id),
                SetTopic(actor=self.anna, room_id=room_id, topic=dice.choice(["", "hot", "cold"])),
                self.state("m.room.guest_access", {"guest_access": dice.choice(["can_join", "forbidden"])}),
            ]
        )
        try:
            await self.do(command)
        except Refused:
            return

    def state(self, type_: str, content: JsonObject) -> SendState:
        return SendState(actor=self.anna, room_id=self.room_id, type=type_, state_key="", content=content)

    async def upgrade(self) -> None:
        version = self.dice.choice(["9", "11", "12"])
        done = await self.do(UpgradeRoom(actor=self.anna, room_id=self.room_id, room_version=version))
        assert done.room_id is not None
        self.room_id = done.room_id

    async def replace_by_hand(self) -> None:
        """A new room that has little of the old one; some are in it before anybody knows what it is."""
        old = self.room_id
        done = await self.do(
            CreateRoom(
                actor=self.anna,
                template=Template.CHANNEL,
                room_version=self.dice.choice(["10", "12"]),
                topic=self.dice.choice([None, "new leaves"]),
                creation_content={"predecessor": {"room_id": old}},
            )
        )
        assert done.room_id is not None
        self.room_id = done.room_id
        for user_id in self.crowd:
            if self.dice.random() < 0.5:
                await self.do(Join(actor=user_id, room_id=self.room_id))
        if self.dice.random() < 0.5:
            await self.something()
        self.room_id = old
        await self.do(self.state("m.room.tombstone", {"body": "moved", "replacement_room": done.room_id}))
        self.room_id = done.room_id


async def _walk(seed: int, rounds: int) -> None:
    dice = random.Random(seed)
    async with islands("a.org") as (island,), front_ends(island) as (irc, xmpp):
        walk = Walk(dice, island)
        await walk.start(dice.choice(["6", "11", "12"]))
        chatter: IrcViewer = await irc_viewer(irc, "alice", "#tea")
        jabberer: XmppViewer = await xmpp_viewer(xmpp, "bob", "tea@rooms.a.org")
        await jabberer.enter()

        async def check() -> None:
            await island.party.middle.following.settled()
            await irc.settled()
            await xmpp.settled()
            room = await island.party.middle.loaded.get(walk.room_id)
            await chatter.look()
            await jabberer.look()
            assert chatter.inside and jabberer.inside
            chatter.check(room)
            jabberer.check(room)

        await check()
        for _ in range(rounds):
            for _ in range(dice.randrange(8)):
                await walk.something()
            await check()
            await dice.choice([walk.upgrade, walk.upgrade, walk.replace_by_hand])()
            await check()
            for _ in range(dice.randrange(4)):
                await walk.something()
            await check()
        # Over all of them the session stayed what it was.
        assert not [line for line in chatter.lines if ":alice!alice@a.org PART" in line]


@pytest.mark.parametrize("seed", range(8))
def test_pictures_agree_after_every_upgrade(seed: int) -> None:
    run(lambda: _walk(seed, 4), 60)


def test_pictures_agree_where_too_much_differs_to_say_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "MAX_STEPS", -1)

    async def work() -> None:
        async with islands("a.org") as (island,), front_ends(island) as (irc, _):
            walk = Walk(random.Random(1), island)
            await walk.start("11")
            chatter = await irc_viewer(irc, "alice", "#tea")
            await chatter.look()
            await walk.upgrade()
            await island.party.middle.following.settled()
            await chatter.look()
            chatter.check(await island.party.middle.loaded.get(walk.room_id))
            assert chatter.inside
            assert any(":alice!alice@a.org PART #tea" in line for line in chatter.lines)

    run(work)


def test_who_knows_both_rooms_already_has_one_channel() -> None:
    """The account is in the new room, under another name, before the old one says anything."""

    async def work() -> None:
        async with islands("a.org") as (island,), front_ends(island) as (irc, xmpp):
            walk = Walk(random.Random(1), island)
            await walk.start("11")
            chatter = await irc_viewer(irc, "alice", "#tea")
            jabberer = await xmpp_viewer(xmpp, "bob", "tea@rooms.a.org")
            await jabberer.enter()
            await chatter.look()
            old = walk.room_id
            done = await walk.do(
                CreateRoom(
                    actor=walk.anna, template=Template.CHANNEL, creation_content={"predecessor": {"room_id": old}}
                )
            )
            assert done.room_id is not None
            for user_id in (walk.alice, walk.bob, walk.crowd[0]):
                await walk.do(Join(actor=user_id, room_id=done.room_id))
            await irc.settled()
            assert len([c for c in irc.network.channels.all() if not c.direct]) == 2
            await walk.do(walk.state("m.room.tombstone", {"body": "moved", "replacement_room": done.room_id}))
            await island.party.middle.following.settled()
            room = await island.party.middle.loaded.get(done.room_id)
            (channel,) = irc.network.channels.all()
            assert (channel.room, channel.name) == (room, "#tea")
            await chatter.person.send("PRIVMSG #tea :one channel")
            await chatter.person.pending()
            await jabberer.look()
            jabberer.check(room)
            assert any("<body>one channel</body>" in stanza for stanza in jabberer.stanzas)

    run(work)
