"""Rooms that matrix-synapse and tripoint share, from each side: coming, going, speaking, ruling.

The servers find each other by SRV and speak TLS; people on both use the client API. spec: Matrix server-server-api
"""

from collections.abc import Iterator

import pytest
from tests.interop.matrix_person import Person, Refused, quoted, same_state
from tests.interop.two_servers import SIDES, World, two_servers

pytestmark = pytest.mark.interop

VERSIONS = ("10", "12")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_servers(tmp_path_factory.mktemp("rooms")) as made:
        yield made


both_ways = pytest.mark.parametrize("home", SIDES)
versions = pytest.mark.parametrize("version", VERSIONS)


async def say_both(room: str, one: Person, other: Person) -> None:
    """A message each way, the same id on both."""
    for speaker, listener in ((one, other), (other, one)):
        await listener.hears(room, await speaker.send(room, f"hello from {speaker.user_id}"))


@both_ways
@pytest.mark.parametrize("version", [str(n) for n in range(1, 13)])
def test_a_room_of_each_version_is_joined_by_alias_and_spoken_in(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        name = host.user_id[1:].split(":")[0]
        room = await host.create(version, room_alias_name=name, name="Tea")
        assert await guest.join(f"#{name}:{host.server.name}") == room
        await guest.until(lambda: guest.membership.get(room) == "join")
        await say_both(room, host, guest)
        await same_state(room, host, guest)
        last = await guest.send(room, "says too much")
        await host.hears(room, last)
        await host.hears(room, await guest.redact(room, last))
        assert (await host.event(room, last))["content"] == {}

    world.run(story())


@both_ways
@versions
def test_joined_by_id_left_and_joined_again(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create(version)
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        await guest.leave(room)
        await host.until(lambda: membership(host, room, guest) == "leave")
        await host.set_state(room, "m.room.topic", {"topic": "said while the guest was away"})
        await guest.join(room, via=host.server.name)
        await host.until(lambda: membership(host, room, guest) == "join")
        await say_both(room, host, guest)
        await same_state(room, host, guest)

    world.run(story())


@both_ways
def test_what_was_said_while_a_server_was_out_of_the_room_is_read_later(world: World, home: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create()
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        await guest.leave(room)
        await host.until(lambda: membership(host, room, guest) == "leave")
        unheard = await host.send(room, "gone is gone")
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        assert unheard in {event["event_id"] for event in await guest.history(room)}

    world.run(story())


def membership(person: Person, room: str, of: Person) -> str | None:
    """What somebody has heard last about somebody's membership."""
    heard = [
        event["content"]["membership"]
        for event in person.timeline[room]
        if event["type"] == "m.room.member" and event["state_key"] == of.user_id
    ]
    return heard[-1] if heard else None


@both_ways
@versions
@pytest.mark.parametrize("ending", ["accepted", "rejected", "taken back"])
def test_an_invitation(world: World, home: str, version: str, ending: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create(version, preset="private_chat", name="Secret tea")
        await host.act("invite", room, guest)
        await guest.until(lambda: guest.membership.get(room) == "invite")
        if ending == "accepted":
            await guest.join(room)
            await say_both(room, host, guest)
            await same_state(room, host, guest)
        elif ending == "rejected":
            await guest.leave(room)
            await host.until(lambda: membership(host, room, guest) == "leave")
        else:
            await host.act("kick", room, guest)
            await guest.until(lambda: guest.membership.get(room) == "leave")
            with pytest.raises(Refused) as caught:
                await guest.join(room, via=host.server.name)
            assert caught.value.status == 403

    world.run(story())


@both_ways
@pytest.mark.parametrize("version", ("7", *VERSIONS))
@pytest.mark.parametrize("ending", ["let in", "taken back", "refused"])
def test_a_knock(world: World, home: str, version: str, ending: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room = await host.create(version, initial_state=[rules], name="Door")
        await guest.knock(room, via=host.server.name)
        await host.until(lambda: membership(host, room, guest) == "knock")
        await guest.until(lambda: guest.membership.get(room) == "knock")
        if ending == "let in":
            await host.act("invite", room, guest)
            await guest.until(lambda: guest.membership.get(room) == "invite")
            await guest.join(room)
            await say_both(room, host, guest)
            await same_state(room, host, guest)
        elif ending == "taken back":
            await guest.leave(room)
            await guest.until(lambda: guest.membership.get(room) == "leave")
            # Synapse takes back a knock on a room of another server for itself alone: the room is not told.
            if home == "synapse":
                await host.until(lambda: membership(host, room, guest) == "leave")
            await guest.knock(room, via=host.server.name)
            await guest.until(lambda: guest.membership.get(room) == "knock")
        else:
            await host.act("kick", room, guest)
            await host.until(lambda: membership(host, room, guest) == "leave")
            # Synapse neither tells a server that is not in the room that its user's knock was refused, nor hears it
            # when it is told. Whoever waits can always give up, and knock again.
            await guest.leave(room)
            await guest.until(lambda: guest.membership.get(room) == "leave")
            await guest.knock(room, via=host.server.name)
            await host.until(lambda: membership(host, room, guest) == "knock")

    world.run(story())


@both_ways
@pytest.mark.parametrize("version", ("8", *VERSIONS))
def test_a_restricted_room_takes_members_of_another(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        lobby = await host.create(version)
        allow = [{"type": "m.room_membership", "room_id": lobby}]
        content = {"join_rule": "restricted", "allow": allow}
        room = await host.create(
            version, initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": content}]
        )
        with pytest.raises(Refused) as caught:
            await guest.join(room, via=host.server.name)
        assert caught.value.status == 403, caught.value
        await guest.join(lobby, via=host.server.name)
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        await same_state(room, host, guest)
        member = await host.state_content(room, "m.room.member", guest.user_id)
        assert member["join_authorised_via_users_server"] == host.user_id

    world.run(story())


@both_ways
@versions
def test_kicked_banned_and_unbanned(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create(version)
        await guest.join(room, via=host.server.name)
        await guest.until(lambda: guest.membership.get(room) == "join")
        await host.act("kick", room, guest)
        await guest.until(lambda: guest.membership.get(room) == "leave")
        await guest.join(room, via=host.server.name)
        await guest.until(lambda: guest.membership.get(room) == "join")
        await host.act("ban", room, guest)
        await guest.until(lambda: guest.membership.get(room) == "leave")
        with pytest.raises(Refused) as caught:
            await guest.join(room, via=host.server.name)
        assert caught.value.status == 403, caught.value
        await host.act("unban", room, guest)
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        await same_state(room, host, guest)

    world.run(story())


@both_ways
@versions
def test_the_guest_rules_after_being_given_the_right(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        third = await world.person(home, "third")
        room = await host.create(version)
        for person in (guest, third):
            await person.join(room, via=host.server.name)
        with pytest.raises(Refused):
            await guest.set_state(room, "m.room.topic", {"topic": "mine"})
        levels = await host.state_content(room, "m.room.power_levels")
        levels.setdefault("users", {})[guest.user_id] = 50
        await guest.hears(room, await host.set_state(room, "m.room.power_levels", levels))
        await host.hears(room, await guest.set_state(room, "m.room.topic", {"topic": "Kettle on"}))
        await host.hears(room, await guest.set_state(room, "m.room.name", {"name": "Tea"}))
        await guest.act("kick", room, third)
        await third.until(lambda: third.membership.get(room) == "leave")
        assert (await host.state_content(room, "m.room.topic"))["topic"] == "Kettle on"
        await same_state(room, host, guest)

    world.run(story())


@both_ways
@versions
def test_edits_reactions_replies_and_redactions(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create(version)
        await guest.join(room, via=host.server.name)
        for speaker, listener in ((host, guest), (guest, host)):
            said = await speaker.send(room, "helo")
            await listener.hears(room, said)
            edit = await speaker.send(
                room,
                {
                    "msgtype": "m.text",
                    "body": "* hello",
                    "m.new_content": {"msgtype": "m.text", "body": "hello"},
                    "m.relates_to": {"rel_type": "m.replace", "event_id": said},
                },
            )
            await listener.hears(room, edit)
            annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "👍"}}
            reaction = await listener.send(room, annotation, "m.reaction")
            reply = await listener.send(
                room,
                {"msgtype": "m.text", "body": "hi", "m.relates_to": {"m.in_reply_to": {"event_id": said}}},
            )
            await speaker.hears(room, reaction, reply)
            taken_back = await listener.redact(room, reaction)
            await speaker.hears(room, taken_back)
            assert (await speaker.event(room, reaction))["content"] == {}
            gone = await speaker.redact(room, said)
            await listener.hears(room, gone)
            assert (await listener.event(room, said))["content"] == {}
            assert (await listener.event(room, reply))["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == said

    world.run(story())


@both_ways
@versions
def test_typing_and_receipts(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create(version)
        await guest.join(room, via=host.server.name)

        async def heard(speaker: Person, listener: Person) -> None:
            typing = f"/rooms/{quoted(room)}/typing/{quoted(speaker.user_id)}"
            await speaker.call("PUT", typing, {"typing": True, "timeout": 30_000})
            await listener.until(lambda: speaker.user_id in listener.typing.get(room, []))
            await speaker.call("PUT", typing, {"typing": False})
            await listener.until(lambda: speaker.user_id not in listener.typing.get(room, []))
            said = await speaker.send(room, "read me")
            await listener.hears(room, said)
            await listener.call("POST", f"/rooms/{quoted(room)}/receipt/m.read/{quoted(said)}", {})
            await speaker.until(lambda: speaker.receipts[room].get(listener.user_id) == said)

        await heard(host, guest)
        await heard(guest, host)

    world.run(story())


@both_ways
def test_profiles_and_the_directory(world: World, home: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        await host.call("PUT", f"/profile/{quoted(host.user_id)}/displayname", {"displayname": "The Host"})
        profile = await guest.call("GET", f"/profile/{quoted(host.user_id)}")
        assert profile["displayname"] == "The Host"
        with pytest.raises(Refused) as caught:
            await guest.call("GET", f"/profile/{quoted('@nobody:' + host.server.name)}")
        assert caught.value.status == 404
        room = await host.create(name=f"Listed {host.user_id}", visibility="public", topic="All welcome")
        page = await guest.call(
            "POST", "/publicRooms", {"filter": {"generic_search_term": host.user_id}}, server=host.server.name
        )
        found = {one["room_id"]: one for one in page["chunk"]}
        assert found[room]["num_joined_members"] == 1 and found[room]["topic"] == "All welcome"
        await guest.join(room, via=host.server.name)
        # A name that changes while somebody of the other server is there is told to it.
        await host.call("PUT", f"/profile/{quoted(host.user_id)}/displayname", {"displayname": "Renamed"})
        await guest.until(
            lambda: any(
                event["content"].get("displayname") == "Renamed"
                for event in guest.timeline[room]
                if event.get("state_key") == host.user_id
            )
        )

    world.run(story())


def test_somebody_on_synapse_asks_for_keys_and_is_told_that_there_are_none(world: World) -> None:
    async def story() -> None:
        host, guest = await world.pair("synapse")
        room = await host.create()
        await guest.join(room, via=host.server.name)
        for number in range(2):
            found = await host.call("POST", "/keys/query", {"device_keys": {guest.user_id: []}})
            assert (found["device_keys"].get(guest.user_id, {}), found["failures"]) == ({}, {}), f"time {number}"
        wanted = {"one_time_keys": {guest.user_id: {"NONE": "signed_curve25519"}}}
        claimed = await host.call("POST", "/keys/claim", wanted)
        assert (claimed["one_time_keys"], claimed["failures"]) == ({}, {})

    world.run(story())


@both_ways
@versions
@pytest.mark.parametrize("visibility", ["shared", "joined"])
def test_who_comes_late_pages_back(world: World, home: str, version: str, visibility: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        content = {"history_visibility": visibility}
        room = await host.create(
            version, initial_state=[{"type": "m.room.history_visibility", "state_key": "", "content": content}]
        )
        before = [await host.send(room, f"before {number}") for number in range(60)]
        await guest.join(room, via=host.server.name)
        after = await host.send(room, "after")
        await guest.hears(room, after)
        found = [event["event_id"] for event in await guest.history(room)]
        assert len(found) == len(set(found))
        assert after in found
        seen = [one for one in found if one in set(before)]
        assert seen == (before if visibility == "shared" else [])

    world.run(story())


@both_ways
@versions
def test_a_room_that_was_replaced_leads_to_the_new_one(world: World, home: str, version: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        old = await host.create("9", name="Tea")
        await guest.join(old, via=host.server.name)
        await guest.until(lambda: guest.membership.get(old) == "join")
        done = await host.call("POST", f"/rooms/{quoted(old)}/upgrade", {"new_version": version})
        new = done["replacement_room"]
        await guest.until(lambda: any(event["type"] == "m.room.tombstone" for event in guest.timeline[old]))
        assert (await guest.state_content(old, "m.room.tombstone"))["replacement_room"] == new
        await guest.join(new, via=host.server.name)
        assert (await guest.state_content(new, "m.room.create"))["predecessor"]["room_id"] == old
        await say_both(new, host, guest)
        await same_state(new, host, guest)

    world.run(story())


@both_ways
def test_a_large_room_is_entered_and_whole(world: World, home: str) -> None:
    async def story() -> None:
        host, guest = await world.pair(home)
        room = await host.create()
        crowd = [await world.person(home, "crowd") for _ in range(150)]
        for person in crowd:
            await person.join(room)
        await guest.join(room, via=host.server.name)
        await say_both(room, host, guest)
        await same_state(room, host, guest)
        members = await guest.call("GET", f"/rooms/{quoted(room)}/joined_members")
        assert len(members["joined"]) == 152
        # Whoever came in was given the room without its members, and got them afterwards.
        if home == "tripoint":
            assert f"Clearing partial-state flag for {room}" in world.synapse.log.read_text()
        else:
            assert any("room.completed" in line and room in line for line in world.tripoint.process.output)

    world.run(story())
