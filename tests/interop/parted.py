"""What becomes of a room when the link between its two servers is cut, or one of them is killed.

Nothing that was acknowledged to somebody is lost, nothing is there twice, and the state is one. Told for any two
servers: test_synapse_links.py and test_tripoint_links.py. spec: Matrix server-server-api "Transactions", "PDUs"; room
versions "State resolution"
"""

import asyncio

import aiohttp
import pytest
from tests.interop.matrix_person import Person, Refused, nothing_lost_nothing_doubled, same_state
from tests.interop.peer import until
from tests.interop.two_servers import World

# Waits between tries double from ten seconds here; a server that is heard from is tried at once.
PATIENCE_S = 60.0


async def room_of_two(world: World, home: str, version: str) -> tuple[str, Person, Person]:
    """A room with both servers in it, where the guest may set topic and name, and kick."""
    host, guest = await world.pair(home)
    levels = {"users": {guest.user_id: 50} if version == "12" else {guest.user_id: 50, host.user_id: 100}}
    room = await host.create(version, power_level_content_override=levels)
    await guest.join(room, via=host.server.name)
    await guest.hears(room, await host.send(room, "all here"))
    await host.hears(room, await guest.send(room, "yes"))
    return room, host, guest


async def meet_again(room: str, *people: Person) -> None:
    """Somebody speaks on each side, and all have heard it."""
    said = [await person.send(room, f"{person.user_id} is here") for person in people]
    for person in people:
        await person.until(lambda person=person: all(person.has(room, one) for one in said), PATIENCE_S)  # type: ignore[misc]


async def what_both_did_while_they_were_parted_becomes_one_room(world: World, home: str, version: str) -> None:
    room, host, guest = await room_of_two(world, home, version)
    third = await world.person(home, "third")
    await third.join(room)
    await guest.until(lambda: any(e.get("state_key") == third.user_id for e in guest.timeline[room]))
    world.cut()
    kept = []
    for number in range(5):
        kept.append(await host.send(room, f"here {number}"))
        kept.append(await guest.send(room, f"there {number}"))
    # Each side rules: topics that cross, names that cross, a kick that crosses with what the kicked one does.
    kept.append(await host.set_state(room, "m.room.topic", {"topic": "of the host"}))
    kept.append(await guest.set_state(room, "m.room.topic", {"topic": "of the guest"}))
    kept.append(await guest.set_state(room, "m.room.name", {"name": "Theirs"}))
    kept.append(await host.set_state(room, "m.room.name", {"name": "Ours"}))
    await guest.act("kick", room, third)
    kept.append(await third.send(room, "still here, as far as this server knows"))
    levels = await host.state_content(room, "m.room.power_levels")
    levels["events"] = {**levels.get("events", {}), "m.room.avatar": 100}
    kept.append(await host.set_state(room, "m.room.power_levels", levels))
    world.restore()
    await meet_again(room, host, guest)
    await same_state(room, host, guest)
    states = [await person.state(room) for person in (host, guest)]
    assert states[0]["m.room.topic", ""] in kept and states[0] == states[1]
    await nothing_lost_nothing_doubled(room, kept[:10], host, guest)
    assert (await host.state_content(room, "m.room.member", third.user_id))["membership"] == "leave"


async def a_demotion_that_crosses_with_what_the_demoted_does(world: World, home: str, version: str) -> None:
    room, host, guest = await room_of_two(world, home, version)
    world.cut()
    levels = await host.state_content(room, "m.room.power_levels")
    levels["users"].pop(guest.user_id)
    await host.set_state(room, "m.room.power_levels", levels)
    await guest.set_state(room, "m.room.topic", {"topic": "while I may"})
    await guest.set_state(room, "m.room.topic", {"topic": "twice"})
    world.restore()
    await meet_again(room, host, guest)
    await same_state(room, host, guest)
    # From version 2 on state resolution puts the power first: what the guest did beside it stands on neither server.
    for person in (host, guest):
        assert ("m.room.topic", "") not in await person.state(room)
        with pytest.raises(Refused):
            await guest.set_state(room, "m.room.topic", {"topic": "no more"})


async def a_long_silence_is_caught_up_with(world: World, home: str) -> None:
    room, host, guest = await room_of_two(world, home, "12")
    world.cut()
    kept = [await host.send(room, f"unheard {number}") for number in range(120)]
    world.restore()
    await meet_again(room, host, guest)
    await same_state(room, host, guest)
    await nothing_lost_nothing_doubled(room, kept, host, guest)


async def speak_until_dead(person: Person, room: str, kept: list[str], enough: asyncio.Event) -> None:
    """One message after the other until the server is gone; `kept`: what was acknowledged."""
    try:
        for number in range(500):
            kept.append(await person.send(room, f"{person.user_id} {number}"))
            if number == 10:
                enough.set()
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    finally:
        enough.set()


async def one_is_killed_while_both_speak(world: World, home: str, killed: str) -> None:
    room, host, guest = await room_of_two(world, home, "12")
    victim, other = (host, guest) if killed == home else (guest, host)
    kept: list[str] = []
    enough = asyncio.Event()
    server = world.servers[killed]
    async with asyncio.TaskGroup() as group:
        group.create_task(speak_until_dead(victim, room, kept, enough))
        speaking = group.create_task(speak_until_dead(other, room, kept, asyncio.Event()))
        await asyncio.wait_for(enough.wait(), 30)
        await asyncio.to_thread(server.kill)
        # The other goes on alone for a while.
        heard = len(kept)
        await until(lambda: len(kept) >= heard + 10, lambda: f"{len(kept) - heard} said since the kill")
        speaking.cancel()
    await asyncio.to_thread(server.start)
    await meet_again(room, host, guest)
    await same_state(room, host, guest)
    await nothing_lost_nothing_doubled(room, kept, host, guest)
