"""Into rooms of other servers and out of them again, over TLS on loopback between whole servers.

spec: Matrix server-server-api "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving Rooms"
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tests.federation.servers import islands, server
from tests.support.middle import run
from tripoint.config.options import Outbound
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.matrix.federation import intake
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.rooms.commands import (
    Ban,
    CreateRoom,
    Invite,
    Join,
    Kick,
    Knock,
    Leave,
    SendEvent,
    SendState,
    SetLevels,
    StateDraft,
    Template,
)
from tripoint.rooms.history import Direction, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.runtime.app import App

ONE, TWO, THREE = server("one.example"), server("two.example"), server("three.example")
VERSIONS = ("1", "2", "3", "6", "8", "10", "11", "12")


async def account(app: App, name: str) -> UserId:
    made = await app.middle.accounts.register(name, "correct horse", address="127.0.0.1")
    return made.user_id


async def make_room(app: App, creator: UserId, **how: object) -> RoomId:
    command = CreateRoom(actor=creator, **{"template": Template.PUBLIC_CHAT, **how})  # type: ignore[arg-type]
    done = await app.middle.service.do(command)
    assert done.room_id is not None
    return done.room_id


def rules(join_rule: str, *allowed: RoomId) -> tuple[StateDraft, ...]:
    content: JsonObject = {"join_rule": join_rule}
    if allowed:
        content["allow"] = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    return (StateDraft("m.room.join_rules", "", content),)


def text(body: str) -> JsonObject:
    return {"msgtype": "m.text", "body": body}


async def room_of(app: App, room_id: RoomId) -> Room:
    return await app.middle.loaded.get(room_id)


async def same_state(apps: Sequence[App], room_id: RoomId) -> None:
    """Of rooms that were entered, once all of their state is here."""
    states = []
    for app in apps:
        room = await until(app, room_id, lambda room: room.partial is None)
        states.append({key: event.event_id for key, event in room.state.items()})
    assert all(state == states[0] for state in states[1:])


async def refused(app: App, command: Join | Knock | Invite | Leave) -> Refused:
    with pytest.raises(Refused) as caught:
        await app.middle.service.do(command)
    return caught.value


@pytest.mark.parametrize("version", VERSIONS)
def test_a_public_room_is_found_by_its_name_and_entered(tmp_path: Path, version: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, alias_localpart="tea", topic="Kettle on", room_version=version)
            assert await two.middle.reader.resolve_alias(RoomAlias(f"#tea:{ONE}")) == room_id
            assert await two.middle.reader.ways_to(room_id) == (ONE,)
            done = await two.middle.service.do(Join(actor=bob, room_id=room_id, reason="thirsty"))
            assert (done.room_id, done.created) == (room_id, True)
            await same_state((one, two), room_id)
            room = await room_of(two, room_id)
            assert room.topic == "Kettle on" and room.membership(bob) == "join"
            assert await two.middle.reader.memberships(bob) == {room_id: "join"}
            # What is said now is said in one graph.
            await two.middle.service.do(
                SendEvent(actor=bob, room_id=room_id, type="m.room.message", content=text("hi"))
            )
            page = await two.middle.reader.history(
                HistoryQuery(room_id=room_id, viewer=bob, direction=Direction.BACKWARD)
            )
            assert [item.event.type for item in page.items[:2]] == ["m.room.message", "m.room.member"]
            # A second user comes in without anybody being asked.
            carol = await account(two, "carol")
            await made.stop(ONE)
            assert (await two.middle.service.do(Join(actor=carol, room_id=room_id))).created

    run(work)


def test_a_room_shows_names_of_other_servers(tmp_path: Path) -> None:
    """spec: client-server PUT /state, M_BAD_ALIAS: the server that gave a name is asked where it leads."""

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, alias_localpart="tea", room_version="10")
            await make_room(one, alice, alias_localpart="other")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await one.middle.service.do(SetLevels(actor=alice, room_id=room_id, levels=((bob, 50),)))
            await until(two, room_id, lambda room: room.head_power().user(bob) == 50)

            async def name(*names: str) -> None:
                content: JsonObject = {"alias": names[0], "alt_aliases": list(names[1:])}
                named = SendState(
                    actor=bob, room_id=room_id, type="m.room.canonical_alias", state_key="", content=content
                )
                await two.middle.service.do(named)

            # New here, though the room has it there: whoever shows it looks it up.
            await name(f"#tea:{ONE}")
            assert (await room_of(two, room_id)).canonical_alias == f"#tea:{ONE}"
            for wrong in (f"#other:{ONE}", f"#none:{ONE}", "#tea:nowhere.example"):
                with pytest.raises(Refused) as caught:
                    await name(f"#tea:{ONE}", wrong)
                assert caught.value.refusal is Refusal.NO_SUCH_ALIAS

    run(work)


def test_a_room_that_was_entered_is_there_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, name="Tea")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            before = dict((await room_of(two, room_id)).state)
            await made.stop(TWO)
            two = await made.start(TWO)
            room = await room_of(two, room_id)
            assert {key: event.event_id for key, event in room.state.items()} == {
                key: event.event_id for key, event in before.items()
            }
            assert room.is_here(TWO) and room.name == "Tea"

    run(work)


def test_who_may_not_come_in_hears_why(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            private = await make_room(one, alice, template=Template.PRIVATE_CHAT)
            said = await refused(two, Join(actor=bob, room_id=private, via=(ONE,)))
            assert said.refusal is Refusal.NOT_INVITED
            unfederated = await make_room(one, alice, creation_content={"m.federate": False})
            said = await refused(two, Join(actor=bob, room_id=unfederated, via=(ONE,)))
            assert said.refusal is Refusal.NOT_INVITED and "own server" in said.text
            denied = await make_room(
                one,
                alice,
                initial_state=(StateDraft("m.room.server_acl", "", {"allow": ["*"], "deny": [TWO]}),),
            )
            said = await refused(two, Join(actor=bob, room_id=denied, via=(ONE,)))
            assert said.refusal is Refusal.NOT_INVITED and "denied" in said.text
            # Nothing gives entry, so nobody else could say anything else.
            for rule in ({"join_rule": "restricted"}, {"join_rule": "restricted", "allow": [{"type": "x.unknown"}]}):
                shut = await make_room(
                    one, alice, room_version="10", initial_state=(StateDraft("m.room.join_rules", "", rule),)
                )
                assert (await refused(two, Join(actor=bob, room_id=shut, via=(ONE,)))).refusal is Refusal.NOT_INVITED
            banned = await make_room(one, alice)
            await one.middle.service.do(Ban(actor=alice, room_id=banned, target=bob))
            assert (await refused(two, Join(actor=bob, room_id=banned, via=(ONE,)))).refusal is Refusal.NOT_INVITED
            # Nobody who could help is known, or nobody who is asked helps.
            unknown = RoomId("!" + "a" * 43)
            assert (await refused(two, Join(actor=bob, room_id=unknown))).refusal is Refusal.NO_SUCH_ROOM
            said = await refused(two, Join(actor=bob, room_id=unknown, via=(ONE, server("nowhere.example"))))
            assert said.refusal is Refusal.REMOTE_TIMEOUT
            assert await two.middle.reader.memberships(bob) == {}
            assert await two.middle.reader.resolve_alias(RoomAlias(f"#none:{ONE}")) is None
            with pytest.raises(Refused) as caught:
                await two.middle.reader.resolve_alias(RoomAlias("#tea:nowhere.example"))
            assert caught.value.refusal is Refusal.REMOTE_TIMEOUT

    run(work)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invitation_is_told_kept_and_taken(tmp_path: Path, version: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(
                one, alice, template=Template.PRIVATE_CHAT, name="Secret tea", room_version=version
            )
            done = await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob, reason="come"))
            room = await room_of(one, room_id)
            invite = room.state["m.room.member", bob]
            assert invite.event_id == done.event_id and set(invite.signatures) == {ONE, TWO}
            assert await two.middle.reader.memberships(bob) == {room_id: "invite"}
            # It is still there after a restart, with what was told of the room.
            await made.stop(TWO)
            two = await made.start(TWO)
            assert await two.middle.reader.memberships(bob) == {room_id: "invite"}
            seen = await room_of(two, room_id)
            assert seen.outside and seen.name == "Secret tea" and seen.membership(bob) == "invite"
            assert seen.membership(alice) == "join" and not seen.is_here(TWO)
            said = await refused(two, Invite(actor=bob, room_id=room_id, target=alice))
            assert said.refusal is Refusal.NOT_JOINED
            await two.middle.service.do(Join(actor=bob, room_id=room_id))
            assert await two.middle.reader.memberships(bob) == {room_id: "join"}
            await same_state((one, two), room_id)
            assert not seen.outside and seen.is_here(TWO)

    run(work)


def test_an_invitation_is_declined_also_where_nobody_hears_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            rooms = [await make_room(one, alice, template=Template.PRIVATE_CHAT) for _ in range(2)]
            for room_id in rooms:
                await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob))
            await two.middle.service.do(Leave(actor=bob, room_id=rooms[0], reason="no"))
            assert (await room_of(one, rooms[0])).membership(bob) == "leave"
            assert (await refused(two, Leave(actor=bob, room_id=rooms[0]))).refusal is Refusal.NOT_JOINED
            await made.stop(ONE)
            await two.middle.service.do(Leave(actor=bob, room_id=rooms[1]))
            assert await two.middle.reader.memberships(bob) == {rooms[0]: "leave", rooms[1]: "leave"}

    run(work)


@pytest.mark.parametrize("version", ["7", "10", "12"])
def test_a_knock_is_heard_answered_and_taken_back(tmp_path: Path, version: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, name="Tea", initial_state=rules("knock"), room_version=version)
            await two.middle.service.do(Knock(actor=bob, room_id=room_id, reason="please", via=(ONE,)))
            knock = (await room_of(one, room_id)).state["m.room.member", bob]
            assert knock.content["membership"] == "knock" and knock.content["reason"] == "please"
            assert (await room_of(two, room_id)).name == "Tea"
            await two.middle.service.do(Leave(actor=bob, room_id=room_id))
            assert (await room_of(one, room_id)).membership(bob) == "leave"
            await two.middle.service.do(Knock(actor=bob, room_id=room_id, via=(ONE,)))
            await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob))
            assert await two.middle.reader.memberships(bob) == {room_id: "invite"}
            await two.middle.service.do(Join(actor=bob, room_id=room_id))
            await same_state((one, two), room_id)

    run(work)


@pytest.mark.parametrize("version", ["8", "10", "12"])
def test_a_restricted_room_takes_members_of_another(tmp_path: Path, version: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            lobby = await make_room(one, alice, room_version=version)
            room_id = await make_room(one, alice, initial_state=rules("restricted", lobby), room_version=version)
            said = await refused(two, Join(actor=bob, room_id=room_id, via=(ONE,)))
            assert said.refusal is Refusal.NOT_INVITED and "none of the rooms" in said.text
            await two.middle.service.do(Join(actor=bob, room_id=lobby, via=(ONE,)))
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            join = (await room_of(two, room_id)).state["m.room.member", bob]
            assert join.content["join_authorised_via_users_server"] == alice
            assert set(join.signatures) == {ONE, TWO}
            await same_state((one, two), room_id)
            # A second user of a server that is inside, where nobody of that server may let anybody in.
            carol = await account(two, "carol")
            await two.middle.service.do(Join(actor=carol, room_id=lobby))
            room = await room_of(two, room_id)
            assert room.power.user(bob) >= room.power.invite  # so bob can, by the default level
            await two.middle.service.do(Join(actor=carol, room_id=room_id))
            assert room.state["m.room.member", carol].content["join_authorised_via_users_server"] == bob

    run(work)


def test_a_server_comes_back_into_a_room_that_it_has_left(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            # The link is cut: what bob does does not reach the others, and the other way round.
            await one.middle.service.do(Kick(actor=alice, room_id=room_id, target=bob))
            await two.middle.service.do(Leave(actor=bob, room_id=room_id))
            assert not (await room_of(two, room_id)).is_here(TWO)
            await two.middle.service.do(Join(actor=bob, room_id=room_id))
            await same_state((one, two), room_id)
            room = await room_of(two, room_id)
            assert len(room.head.extremities) == 1

    run(work)


def test_a_room_is_made_with_somebody_of_another_server(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            nobody = UserId(f"@nobody:{TWO}")
            room_id = await make_room(one, alice, template=Template.TRUSTED_PRIVATE_CHAT, invite=(bob, nobody))
            room = await room_of(one, room_id)
            assert room.membership(bob) == "invite" and room.membership(nobody) == "leave"
            assert await two.middle.reader.memberships(bob) == {room_id: "invite"}

    run(work)


def test_profiles_and_directories_of_other_servers(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice = await account(one, "alice")
            assert (await two.middle.reader.remote_profile(alice))["displayname"] == "alice"
            with pytest.raises(Refused) as caught:
                await two.middle.reader.remote_profile(UserId(f"@nobody:{ONE}"))
            assert caught.value.refusal is Refusal.NO_SUCH_USER
            listed = await make_room(one, alice, name="Tea", listed=True)
            await make_room(one, alice, name="Hidden")
            page = await two.middle.reader.remote_rooms(ONE, {"filter": {"generic_search_term": "te"}})
            chunk = page["chunk"]
            assert isinstance(chunk, list) and [r["room_id"] for r in chunk if isinstance(r, dict)] == [listed]

    run(work)


def test_three_servers_and_a_helper_that_is_not_the_maker(tmp_path: Path) -> None:
    async def work() -> None:
        # The keys of a server that is gone come from one that is believed about them.
        notary = Outbound(allow_networks=("127.0.0.0/8",), key_notaries=(TWO,))
        async with islands(tmp_path, ONE, TWO, THREE, start={THREE: {"outbound": notary}}) as made:
            one, two, three = (made.apps[name] for name in (ONE, TWO, THREE))
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(three, "carol")
            room_id = await make_room(one, alice)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await made.stop(ONE)
            await three.middle.service.do(Join(actor=carol, room_id=room_id, via=(ONE, TWO)))
            await same_state((two, three), room_id)

    run(work)




async def until(app: App, room_id: RoomId, what: Callable[[Room], bool], timeout_s: float = 10) -> Room:
    """The room, once it is as wished on this server."""
    room = await room_of(app, room_id)
    arrived = asyncio.Event()
    app.middle.hub.watch_all_rooms(lambda change: arrived.set() if change.room_id == room_id else None)
    async with asyncio.timeout(timeout_s):
        while not what(room):
            await arrived.wait()
            arrived.clear()
    return room


def last_text(room: Room) -> object:
    return room.recent[-1].event.content.get("body") if room.recent else None


def test_what_is_said_and_done_on_one_server_is_so_on_the_others(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO, THREE) as made:
            one, two, three = (made.apps[name] for name in (ONE, TWO, THREE))
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(three, "carol")
            room_id = await make_room(one, alice)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            # The third comes in through the second, and the first hears of it from there.
            await three.middle.service.do(Join(actor=carol, room_id=room_id, via=(TWO,)))
            await until(one, room_id, lambda room: room.membership(carol) == "join")
            for app, who, words in ((one, alice, "from one"), (two, bob, "from two"), (three, carol, "from three")):
                await app.middle.service.do(
                    SendEvent(actor=who, room_id=room_id, type="m.room.message", content=text(words))
                )
                for other in (one, two, three):
                    await until(other, room_id, lambda room, words=words: last_text(room) == words)  # type: ignore[misc]
            await one.middle.service.do(Kick(actor=alice, room_id=room_id, target=bob, reason="enough"))
            await until(two, room_id, lambda room: room.membership(bob) == "leave")
            await until(three, room_id, lambda room: room.membership(bob) == "leave")
            assert await two.middle.reader.memberships(bob) == {room_id: "leave"}
            await same_state((one, three), room_id)
            # Back by invitation, and out again.
            await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob))
            await two.middle.service.do(Join(actor=bob, room_id=room_id))
            await until(three, room_id, lambda room: room.membership(bob) == "join")
            await same_state((one, two, three), room_id)
            await two.middle.service.do(Leave(actor=bob, room_id=room_id, reason="bye"))
            await until(one, room_id, lambda room: room.membership(bob) == "leave")
            await until(three, room_id, lambda room: room.membership(bob) == "leave")

    run(work)


def test_an_invitation_is_taken_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, template=Template.PRIVATE_CHAT)
            await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob))
            await one.middle.service.do(Kick(actor=alice, room_id=room_id, target=bob))
            await until(two, room_id, lambda room: room.membership(bob) == "leave")
            assert (await refused(two, Join(actor=bob, room_id=room_id))).refusal is Refusal.NOT_INVITED

    run(work)


def test_events_that_come_while_a_room_is_being_entered_are_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            rooms = two.middle.door.rooms
            asked, go_on, send_join = asyncio.Event(), asyncio.Event(), rooms.send_join

            async def slow(*args: Any, **how: Any) -> Any:
                entered = await send_join(*args, **how)
                asked.set()
                await go_on.wait()
                return entered

            monkeypatch.setattr(rooms, "send_join", slow)
            joining = asyncio.ensure_future(
                two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            )
            await asyncio.wait_for(asked.wait(), 10)
            # We are told of it at once, before the room is here.
            await one.middle.service.do(
                SendEvent(actor=alice, room_id=room_id, type="m.room.message", content=text("welcome"))
            )
            while not two.traffic.transactions._running:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
            go_on.set()
            await joining
            await until(two, room_id, lambda room: any(i.event.content.get("body") == "welcome" for i in room.recent))
            assert two.traffic.transactions.results["dropped"] == 0

    run(work, timeout_s=30)


def test_events_of_a_room_that_takes_long_to_enter_are_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            monkeypatch.setattr(intake, "ENTERING_S", 0.05)
            room_id = RoomId("!slow:one.example")
            async with two.middle.elsewhere._on_the_way(room_id):
                body = {"origin": ONE, "origin_server_ts": 1, "pdus": [{"room_id": room_id}], "edus": []}
                with pytest.raises(RemoteRefused) as refused:
                    await one.federation.trust.client.request(
                        TWO, "PUT", "/_matrix/federation/v1/send/1", cast(Any, body)
                    )
            assert refused.value.status == 503

    run(work, timeout_s=30)
