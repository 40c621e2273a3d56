"""Servers that share a room, are apart for a while, and meet again with different pasts."""

import itertools
import random
from collections.abc import Awaitable, Callable

from tests.federation.islands import Island, bring_in, make_room
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.accept import Verdict
from tripoint.rooms.commands import Ban, Command, Join, Kick, Leave, SendEvent, SendState, SetRanks, SetTopic, Unban
from tripoint.rooms.refusals import Refused


async def trio(servers: list[Island], version: str, alias: str | None = None) -> tuple[RoomId, list[list[UserId]]]:
    """A room with one user of each server inside, another one outside; everybody has everything."""
    people = [await island.party.accounts("alice", "bob") for island in servers]
    room_id = await make_room(servers[0], people[0][0], version, alias)
    for number, island in enumerate(servers[1:], 1):
        join = await bring_in(servers[0], island, people[number][0], room_id)
        for other in servers[1:number]:
            assert await other.deliver(join) is Verdict.ACCEPTED
    for island in servers:
        island.outgoing.clear()
    return room_id, people


async def something(
    dice: random.Random, island: Island, people: list[list[UserId]], number: int, room_id: RoomId
) -> None:
    own = people[number]
    everybody = list(itertools.chain(*people))
    actor, target = dice.choice(own), dice.choice(everybody)
    ranks = [Rank.OP, Rank.PLAIN, Rank.VOICE, Rank.OWNER]
    said: JsonObject = {"msgtype": "m.text", "body": str(dice.random())[2:]}
    commands: list[Command] = [
        SendEvent(actor=actor, room_id=room_id, type="m.room.message", content=said),
        SetTopic(actor=actor, room_id=room_id, topic=str(dice.random())),
        Join(actor=dice.choice(own), room_id=room_id),
        Leave(actor=own[1], room_id=room_id),
        Kick(actor=actor, room_id=room_id, target=target),
        Ban(actor=actor, room_id=room_id, target=target),
        Unban(actor=actor, room_id=room_id, target=target),
        SetRanks(actor=actor, room_id=room_id, ranks=((target, dice.choice(ranks)),)),
        SendState(actor=actor, room_id=room_id, type="org.example", state_key=actor, content={"n": number}),
        SendState(
            actor=actor,
            room_id=room_id,
            type="m.room.join_rules",
            state_key="",
            content={"join_rule": dice.choice(["public", "invite"])},
        ),
    ]
    island.party.clock.now += dice.choice([0, 0, 0.5])
    try:
        await island.party.do(dice.choice(commands))
    except Refused:
        pass


async def share_power(servers: list[Island], people: list[list[UserId]], room_id: RoomId) -> None:
    """Everybody's first user may do almost everything, so that there is something to disagree about."""
    levels = dict((await servers[0].party.middle.loaded.get(room_id)).power.content)
    users = dict(levels["users"]) if isinstance(levels["users"], dict) else {}
    levels["users"] = {**users, people[1][0]: 60, people[2][0]: 60}
    levels["events"] = {"m.room.power_levels": 50, "m.room.join_rules": 50, "m.room.topic": 0}
    await servers[0].party.do(
        SendState(actor=people[0][0], room_id=room_id, type="m.room.power_levels", state_key="", content=levels)
    )
    for other in servers[1:]:
        await other.deliver(servers[0].outgoing[-1])
    servers[0].outgoing.clear()


async def carry(
    dice: random.Random,
    servers: list[Island],
    undelivered: list[list[int]],
    *,
    everything: bool,
    after: Callable[[Island], Awaitable[None]] | None = None,
) -> None:
    """Deliver some or all of what each said to the others, in a random order. `after` each delivery."""
    parcels = []
    for sender, island in enumerate(servers):
        for receiver, other in enumerate(servers):
            if sender == receiver:
                continue
            start = undelivered[sender][receiver]
            end = len(island.outgoing) if everything else dice.randint(start, len(island.outgoing))
            undelivered[sender][receiver] = end
            parcels += [(other, event) for event in island.outgoing[start:end]]
    dice.shuffle(parcels)
    for other, event in parcels:
        await other.deliver(event)
        if after is not None:
            await after(other)
