"""A room of several servers as IRC and XMPP clients see it, through forks and what their resolution undoes.

spec: docs/mapping.md 5.4, 5.5, 7.6, 21.2, 21.5, 27 (4)
"""

import random
from collections import Counter

import pytest

from tests.cross.truth import check_rules, truth_of
from tests.federation.islands import Island, islands
from tests.federation.quarrels import carry, share_power, something, trio
from tests.federation.viewers import IrcViewer, XmppViewer, front_ends, irc_viewer, xmpp_viewer
from tests.support.middle import run
from tripoint.core.ids import RoomId, UserId, server_of
from tripoint.core.power import Rank
from tripoint.rooms.changes import StateReset
from tripoint.rooms.commands import Ban, Command, Join, Kick, Leave, SendState, SetRanks, SetRoomNick, Unban
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.projection import room_jid


class Onlookers:
    """Clients of one server, who look after every step."""

    def __init__(self, island: Island, room_id: RoomId, irc: list[IrcViewer], xmpp: list[XmppViewer]) -> None:
        self._island = island
        self._room_id = room_id
        self._irc = irc
        self._xmpp = xmpp

    async def check(self, island: Island) -> None:
        if island is not self._island:
            return
        room = await island.party.middle.loaded.get(self._room_id)
        truth = truth_of(room)
        for viewer in (*self._irc, *self._xmpp):
            viewer.truth = truth
        joined = [user for user in room.joined() if server_of(user) == island.name]
        check_rules(island.party.middle.writer, room, truth, joined)
        for chatter in self._irc:
            await chatter.look()
            chatter.check(room)
        for jabberer in self._xmpp:
            await jabberer.look()
            jabberer.check(room)
            if not jabberer.inside and room.membership(island.party.middle.accounts.user_id(jabberer.nick)) == "join":
                await jabberer.enter()


async def _quarrel(
    dice: random.Random, island: Island, people: list[list[UserId]], number: int, kind: type[Command], room_id: RoomId
) -> None:
    """Every server does something of one kind before it hears of the others: forks that have to be resolved."""
    actor, target = people[number][0], dice.choice(people)[dice.randrange(2)]
    rank = dice.choice([Rank.OP, Rank.PLAIN, Rank.VOICE, Rank.MUTED])
    commands: dict[type[Command], Command] = {
        SetRanks: SetRanks(actor=actor, room_id=room_id, ranks=((target, rank),)),
        Ban: dice.choice((Ban, Kick, Unban))(actor=actor, room_id=room_id, target=target),
        Join: dice.choice((Join, Leave))(actor=people[number][1], room_id=room_id),
        SetRoomNick: SetRoomNick(actor=actor, room_id=room_id, nick=dice.choice(("same", "Ann", "o\u0308"))),
        SendState: SendState(
            actor=actor,
            room_id=room_id,
            type=dice.choice(("m.room.topic", "m.room.name", "m.room.join_rules", "m.room.guest_access")),
            state_key="",
            content={
                "topic": str(dice.random()),
                "join_rule": dice.choice(("public", "invite")),
                "guest_access": dice.choice(("can_join", "forbidden")),
            },
        ),
    }
    try:
        await island.party.do(commands[kind])
    except Refused:
        met["refused"] += 1


met: Counter[str] = Counter()


async def _walk(version: str, seed: int, steps: int) -> None:
    dice = random.Random(f"{version} {seed}")
    async with islands("a.org", "b.org", "c.org") as servers:
        room_id, people = await trio(servers, version, "tea")
        await share_power(servers, people, room_id)
        watched = servers[dice.randrange(3)]
        async with front_ends(watched) as (irc, xmpp):
            room = await watched.party.middle.loaded.get(room_id)
            chatters = [await irc_viewer(irc, name, irc.names.channel(room)) for name in ("alice", "bob")]
            jabberers = [await xmpp_viewer(xmpp, name, room_jid(room, xmpp.domains)) for name in ("alice", "bob")]
            onlookers = Onlookers(watched, room_id, chatters, jabberers)
            await onlookers.check(watched)
            undelivered: list[list[int]] = [[0] * 3 for _ in range(3)]
            for _ in range(steps):
                number = dice.randrange(3)
                await something(dice, servers[number], people, number, room_id)
                await onlookers.check(servers[number])
                if dice.random() < 0.2:
                    kind = dice.choice((SetRanks, Ban, Join, SetRoomNick, SendState))
                    for at, island in enumerate(servers):
                        await _quarrel(dice, island, people, at, kind, room_id)
                        await onlookers.check(island)
                if dice.random() < 0.25:
                    await carry(dice, servers, undelivered, everything=False, after=onlookers.check)
            await carry(dice, servers, undelivered, everything=True, after=onlookers.check)
            for change in watched.party.room_changes:
                if isinstance(change, StateReset):
                    met.update({event.type for pair in change.changed for event in pair if event is not None})
            met["irc"] += sum(chatter.inside for chatter in chatters)
            met["xmpp"] += sum(jabberer.inside for jabberer in jabberers)


@pytest.mark.parametrize("version", ("3", "6", "11", "12"))
@pytest.mark.parametrize("seed", range(12))
def test_every_picture_is_the_room_after_every_step(version: str, seed: int) -> None:
    run(lambda: _walk(version, seed, 60))


def test_the_walks_met_resets_of_every_kind() -> None:
    """The walks above would say nothing if nothing was ever undone, or nobody was left to see it."""
    for kind in ("m.room.member", "m.room.power_levels", "m.room.topic", "m.room.join_rules", "irc", "xmpp"):
        assert met[kind], kind


@pytest.mark.soak
@pytest.mark.parametrize("version", ("3", "6", "8", "10", "11", "12"))
@pytest.mark.parametrize("seed", range(100, 150))
def test_pictures_hold_for_long(version: str, seed: int) -> None:
    run(lambda: _walk(version, seed, 120), 120)
