"""Rooms that are entered without all of their members, and made whole. spec: Matrix PUT /send_join omit_members"""

import asyncio
from pathlib import Path

import pytest

from tests.cross.world import IrcPerson, World, XmppPerson
from tests.federation.servers import Islands, islands, server
from tests.federation.test_joining import ONE, TWO, account, make_room, refused, room_of, same_state, text, until
from tests.support.middle import run
from tripoint.core.event import EventDraft, build_event
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms import listing, resident
from tripoint.rooms.accept import Verdict
from tripoint.rooms.changes import StateReset
from tripoint.rooms.commands import Ban, Join, Kick, Leave, SendEvent, SetTopic
from tripoint.rooms.room import Room
from tripoint.runtime.app import App
from tripoint.xmpp.projection import room_jid

THREE = server("three.example")


@pytest.fixture(autouse=True)
def small_rooms_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "OMIT_ABOVE", 0)


async def crowd(app: App, room_id: RoomId, number: int) -> list[UserId]:
    people = []
    for one in range(number):
        user_id = await account(app, f"user{one}")
        await app.middle.service.do(Join(actor=user_id, room_id=room_id))
        people.append(user_id)
    return people


def hold(made: Islands, name: str) -> asyncio.Event:
    """Nobody gets the whole state from a server before the event is set."""
    gate = asyncio.Event()
    questions = made.apps[name].middle.door.servers
    state = questions.state

    async def later(*arguments: object) -> object:
        await gate.wait()
        return await state(*arguments)  # type: ignore[arg-type]

    questions.state = later  # type: ignore[method-assign, assignment]
    return gate


def whole(room: Room) -> bool:
    return room.partial is None


def test_a_room_is_used_at_once_and_made_whole(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice, name="Tea")
            people = await crowd(one, room_id, 20)
            gate = hold(made, TWO)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            room = await room_of(two, room_id)
            assert room.partial is not None and room.partial.servers == (ONE,)
            assert room.joined_count() < 20 and room.name == "Tea"
            # Both sides talk, those too who are not known to be inside.
            await two.middle.service.do(
                SendEvent(actor=bob, room_id=room_id, type="m.room.message", content=text("hello"))
            )
            await until(one, room_id, lambda room: room.recent[-1].event.content.get("body") == "hello")
            await one.middle.service.do(
                SendEvent(actor=people[7], room_id=room_id, type="m.room.message", content=text("welcome"))
            )
            await until(two, room_id, lambda room: room.recent[-1].event.content.get("body") == "welcome")
            await one.middle.service.do(Leave(actor=people[3], room_id=room_id))
            await one.middle.service.do(SetTopic(actor=alice, room_id=room_id, topic="Kettle on"))
            await until(two, room_id, lambda room: room.topic == "Kettle on")
            changes: list[StateReset] = []
            two.middle.hub.watch_all_rooms(lambda c: changes.append(c) if isinstance(c, StateReset) else None)
            gate.set()
            await until(two, room_id, whole)
            await same_state((one, two), room_id)
            assert changes[-1].completes and room.membership(people[3]) == "leave"
            # On disk too, under every state that was stored meanwhile.
            await made.stop(TWO)
            two = await made.start(TWO)
            await same_state((one, two), room_id)

    run(work)


def test_a_restart_goes_on_making_it_whole(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id = await make_room(one, alice)
            await crowd(one, room_id, 10)
            hold(made, TWO)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            await made.stop(TWO)
            two = await made.start(TWO)
            await until(two, room_id, whole)
            await same_state((one, two), room_id)

    run(work)


def test_who_does_not_know_everybody_lets_nobody_in(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO, THREE) as made:
            one, two, three = (made.apps[name] for name in (ONE, TWO, THREE))
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(three, "carol")
            mallory = await account(two, "mallory")
            room_id = await make_room(one, alice)
            await crowd(one, room_id, 10)
            await one.middle.service.do(Ban(actor=alice, room_id=room_id, target=mallory))
            gate = hold(made, TWO)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            # The second server passes the question on by saying no, and asks itself where it does not know.
            await three.middle.service.do(Join(actor=carol, room_id=room_id, via=(TWO, ONE)))
            await until(two, room_id, lambda room: room.membership(carol) == "join")
            said = await refused(two, Join(actor=mallory, room_id=room_id))
            assert "banned" in said.text
            gate.set()
            await until(two, room_id, whole)
            await until(three, room_id, whole)
            await same_state((one, two, three), room_id)

    run(work)


def test_what_a_banned_user_said_meanwhile_does_not_stand(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO, THREE) as made:
            one, two, three = (made.apps[name] for name in (ONE, TWO, THREE))
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(three, "carol")
            room_id = await make_room(one, alice)
            await crowd(one, room_id, 8)
            await three.middle.service.do(Join(actor=carol, room_id=room_id, via=(ONE,)))
            await until(three, room_id, whole)
            await one.middle.service.do(Kick(actor=alice, room_id=room_id, target=carol))
            await until(three, room_id, lambda room: room.membership(carol) == "leave")
            gate = hold(made, TWO)
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            room = await room_of(two, room_id)
            assert room.member(carol) is None
            # Carol's server goes on as if nothing had happened: it cites the join, and what bob's server said.
            theirs = await room_of(three, room_id)
            join = next(item.replaced for item in theirs.recent if item.event.state_key == carol and item.replaced)
            signer = three.middle.writer.signer
            auth = [theirs.state["m.room.power_levels", ""].event_id, join.event_id]
            forged = build_event(
                EventDraft("m.room.message", carol, text("still here")),
                theirs.version,
                room_id=room_id,
                prev_events=list(room.head.extremities),
                auth_events=auth,
                depth=max(at.depth for at in room.head.extremities.values()) + 1,
                origin_server_ts=signer.clock_ms(),
                server=signer.server,
                key=signer.key,
            )
            # What it cites is fetched, and is in order.
            await two.middle.outliers.add(room.room_key, [join])
            assert await two.middle.accept.receive(forged) is Verdict.ACCEPTED
            assert room.recent[-1].event.event_id == forged.event_id
            gate.set()
            await until(two, room_id, whole)
            # Judging again holds the room's turn.
            async with two.middle.turns.of(room_id):
                stored = await two.middle.store.load_event(forged.event_id)
            assert stored is not None and stored.position is None
            assert forged.event_id not in [item.event.event_id for item in room.recent]

    run(work)


@pytest.mark.parametrize("most", (1000, 5), ids=("small", "huge"))
def test_what_clients_see_when_a_room_becomes_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """docs/mapping.md 4.7: nobody joins; who is listed is told anew, of a huge room those who matter."""
    monkeypatch.setattr(listing, "FULL_LIST_MEMBERS", most)

    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice = await account(one, "alice")
            await account(two, "bob")
            room_id = await make_room(one, alice, name="Tea")
            people = await crowd(one, room_id, 20)
            gate = hold(made, TWO)
            seen = World(two, sockets=False)
            chatter, jabberer = IrcPerson(await seen.connect("irc")), XmppPerson(await seen.connect("xmpp"), TWO)
            await chatter.log_in("bob", [])
            await jabberer.log_in("bob", [])
            await two.middle.service.do(Join(actor=UserId(f"@bob:{TWO}"), room_id=room_id, via=(ONE,)))
            room = await room_of(two, room_id)
            channel = two.irc.names.channel(room)
            before = await chatter.pending()
            assert any(line.endswith(f" 366 bob {channel} :End of /NAMES list") for line in before)
            jid = room_jid(room, two.xmpp.domains)
            enter = f"<presence to='{jid}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            await jabberer.send(enter)
            await jabberer.pending()
            gate.set()
            await until(two, room_id, whole)
            lines = await chatter.pending()
            listed = " ".join(line.partition(f" {channel} :")[2] for line in lines if " 353 " in line).split()
            presences = [stanza for stanza in await jabberer.pending() if stanza.startswith("<presence")]
            assert not [line for line in lines if " JOIN " in line]
            if most == 1000:
                assert len(room.joined()) == 22 and len(presences) >= 15
                assert f"user7:{ONE}" in " ".join(lines) and not [line for line in lines if "NOTICE" in line]
                return
            assert 2 <= len(listed) < 8 and len(presences) < 5
            assert [line for line in lines if f"NOTICE bob :[{channel}] This room has 22 members" in line]
            # Who says something is shown first.
            await one.middle.service.do(
                SendEvent(actor=people[7], room_id=room_id, type="m.room.message", content=text("hi"))
            )
            await until(two, room_id, lambda room: room.recent[-1].event.content.get("body") == "hi")
            came, said = await chatter.pending()
            assert came.endswith(f" JOIN {channel}") and said.endswith(f" PRIVMSG {channel} :hi")
            shown, heard = await jabberer.pending()
            assert shown.startswith("<presence ") and "<body>hi</body>" in heard

    run(work)
