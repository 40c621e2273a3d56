"""Typing, receipts and presence between servers: shown as those of local users, kept or dropped as they are.

spec: Matrix server-server-api "EDUs", "Typing Notifications", "Receipts", "Presence"
"""

import asyncio
from typing import Any

from tests.federation.fleet import Sea, Ship, launch, with_presence
from tests.federation.islands import islands
from tests.federation.quarrels import trio
from tests.federation.test_intake import put
from tests.federation.test_transactions import sailing, sends, shared
from tests.federation.viewers import front_ends, irc_viewer, xmpp_viewer
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.token_bucket import Rate
from tripoint.matrix.federation.edus import EduIntake
from tripoint.matrix.federation.incoming_devices import IncomingDevices
from tripoint.rooms.changes import PresenceChanged, ReceiptMoved, TypingChanged
from tripoint.rooms.commands import SetReceipt, SetTyping
from tripoint.rooms.ports import Receipt
from tripoint.xmpp.projection import room_jid


def middle_is_well(where: str, error: BaseException) -> None:
    raise AssertionError(where) from error


def typing_now(ship: Ship, room_id: RoomId) -> frozenset[UserId]:
    return ship.party.middle.reader.typing(room_id)


async def receipts(ship: Ship, room_id: RoomId) -> dict[tuple[str, str | None], Receipt]:
    found = await ship.party.middle.reader.receipts(room_id)
    return {(one.user_id, one.thread_id): one for one in found}


def typing(room_id: str, user_id: str, is_typing: object = True) -> JsonObject:
    content: Any = {"room_id": room_id, "user_id": user_id, "typing": is_typing}
    return {"edu_type": "m.typing", "content": content}


def receipt(room_id: str, user_id: str, event_id: str, **data: object) -> JsonObject:
    said: Any = {"event_ids": [event_id], "data": {"ts": 5, **data}}
    return {"edu_type": "m.receipt", "content": {room_id: {"m.read": {user_id: said}}}}


def test_typing_is_seen_while_it_lasts() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two, three = ships
        await one.party.do(SetTyping(actor=users[0], room_id=room_id, typing=True, timeout_ms=120_000))
        await asyncio.sleep(1)
        assert typing_now(two, room_id) == typing_now(three, room_id) == {users[0]}
        assert [type(c) for c in two.party.room_changes][-1] is TypingChanged
        # The other side ends it after a minute unless it is said again; it is.
        await asyncio.sleep(90)
        assert typing_now(two, room_id) == {users[0]}
        await one.party.say(users[0], room_id, "done")
        await asyncio.sleep(1)
        assert typing_now(two, room_id) == frozenset()
        # A server that goes away types no longer than that.
        await one.party.do(SetTyping(actor=users[0], room_id=room_id, typing=True, timeout_ms=120_000))
        await asyncio.sleep(1)
        sea.part("a.org", "b.org")
        await asyncio.sleep(100)
        assert typing_now(two, room_id) == frozenset() and typing_now(three, room_id) == {users[0]}

    sailing("a.org", "b.org", "c.org")(test)


def test_typing_is_dropped_while_a_server_is_away() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        sea.part("a.org", "b.org")
        for _ in range(50):
            for is_typing in (True, False):
                await ships[0].party.do(SetTyping(actor=users[0], room_id=room_id, typing=is_typing))
            await asyncio.sleep(1)
        lane = ships[0].traffic.sender._lanes[ServerName("b.org")]
        assert not lane.edus and not lane.missed
        sea.heal()
        before = sends(sea, "a.org", "b.org")
        await asyncio.sleep(600)
        assert sends(sea, "a.org", "b.org") == before

    sailing("a.org", "b.org")(test)


def test_receipts_arrive_with_their_time_and_thread() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two = ships
        event_id = EventId(await one.party.say(users[0], room_id, "read me"))
        await asyncio.sleep(1)
        for thread_id in (None, "main", event_id):
            await two.party.do(
                SetReceipt(actor=users[1], room_id=room_id, event_id=event_id, thread_id=thread_id)
            )
        await two.party.do(SetReceipt(actor=users[1], room_id=room_id, event_id=event_id, kind="m.read.private"))
        await two.party.do(SetReceipt(actor=users[1], room_id=room_id, event_id=event_id, kind="m.fully_read"))
        said_ms = two.party.clock.ms()
        await asyncio.sleep(5)
        found = await receipts(one, room_id)
        assert set(found) == {(users[1], None), (users[1], "main"), (users[1], event_id)}
        assert {(r.event_id, r.kind, r.ts_ms) for r in found.values()} == {(event_id, "m.read", said_ms)}
        assert isinstance(one.party.room_changes[-1], ReceiptMoved)

    sailing("a.org", "b.org")(test)


def test_receipts_that_were_missed_are_told_later_and_after_a_restart() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two = ships
        first = EventId(await one.party.say(users[0], room_id, "first"))
        await asyncio.sleep(1)
        sea.part("a.org", "b.org")
        second = EventId(await two.party.say(users[1], room_id, "second"))
        for event_id in (first, second):
            await two.party.do(SetReceipt(actor=users[1], room_id=room_id, event_id=event_id))
        await asyncio.sleep(30)
        await two.stop()
        await two.build()
        sea.heal()
        two.is_up = True
        await two.launch()
        await asyncio.sleep(400)
        assert (await receipts(one, room_id))[users[1], None].event_id == second
        assert not two.traffic.sender._lanes

    sailing("a.org", "b.org")(test)


def test_a_receipt_that_was_on_its_way_at_a_restart_is_told() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two = ships
        event_id = EventId(await one.party.say(users[0], room_id, "read me"))
        await asyncio.sleep(5)
        sea.weather.delay_s = 1000
        await two.party.do(SetReceipt(actor=users[1], room_id=room_id, event_id=event_id))
        await asyncio.sleep(0.5)
        await two.kill()
        sea.heal()
        await two.build()
        two.is_up = True
        await two.launch()
        await asyncio.sleep(5)
        assert (await receipts(one, room_id))[users[1], None].event_id == event_id

    sailing("a.org", "b.org")(test)


def test_only_the_newest_of_a_user_and_thread_waits() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two = ships
        ids = [EventId(await one.party.say(users[0], room_id, str(number))) for number in range(30)]
        await asyncio.sleep(5)
        before = sends(sea, "b.org", "a.org")
        sea.weather.delay_s = 2.0
        for event_id in ids:
            await two.party.do(SetReceipt(actor=users[1], room_id=room_id, event_id=event_id))
        assert len(two.traffic.sender._lanes[ServerName("a.org")].edus) <= 1
        await asyncio.sleep(20)
        assert sends(sea, "b.org", "a.org") <= before + 3
        assert (await receipts(one, room_id))[users[1], None].event_id == ids[-1]

    sailing("a.org", "b.org")(test)


def test_presence_is_told_where_it_is_switched_on() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        await shared(ships)
        await launch(ships)
        one, two = ships
        users = [UserId("@u0:a.org"), UserId("@u1:b.org")]
        await one.party.middle.reader.memberships(users[0])
        one.party.middle.presence.set(users[0], "phone", "unavailable", "at lunch")
        await asyncio.sleep(10)
        seen = two.party.middle.reader.presence(users[0])
        assert (seen.presence, seen.status_msg) == ("unavailable", "at lunch")
        assert any(isinstance(c, PresenceChanged) and c.user_id == users[0] for c in two.party.user_changes)
        one.party.middle.presence.session_down(users[0], "phone")
        await asyncio.sleep(10)
        assert two.party.middle.reader.presence(users[0]).presence == "offline"
        # Whoever is not heard of again is not there for ever.
        one.party.middle.presence.set(users[0], "phone", "online", None)
        await asyncio.sleep(10)
        assert two.party.middle.reader.presence(users[0]).presence == "online"
        await asyncio.sleep(3600)
        two.traffic.edus.sweep()
        assert two.party.middle.reader.presence(users[0]).presence == "offline"
        # Users with whom nobody here shares a room, and those of other servers, are nobody's business.
        push: Any = [
            {"user_id": user_id, "presence": "online", "last_active_ago": 1}
            for user_id in ("@stranger:a.org", users[1], "@u:c.org", "nonsense")
        ]
        await put(one, two, "1", edus=[{"edu_type": "m.presence", "content": {"push": [*push, 7]}}])
        assert two.party.middle.reader.presence(UserId("@stranger:a.org")).presence == "offline"
        assert not two.traffic.edus._present

    sailing("a.org", "b.org", config=with_presence)(test)


def test_presence_that_flutters_is_told_now_and_then() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        await shared(ships)
        await launch(ships)
        one, two = ships
        user = UserId("@u0:a.org")
        await one.party.middle.reader.memberships(user)
        await asyncio.sleep(5)
        before = len(two.party.user_changes)
        for number in range(20):
            one.party.middle.presence.set(user, "phone", "online", f"mood {number}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(20)
        told = [c.status_msg for c in two.party.user_changes[before:] if isinstance(c, PresenceChanged)]
        assert told == ["mood 0", "mood 19"]

    sailing("a.org", "b.org", config=with_presence)(test)


def test_a_server_that_says_too_much_of_who_is_there() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        await launch(ships)
        one, two = ships
        two.traffic.edus._said.rate = Rate(2, 0.1)
        for number in range(4):
            push: Any = [{"user_id": users[0], "presence": "online", "status_msg": str(number)}]
            await put(one, two, str(number), edus=[{"edu_type": "m.presence", "content": {"push": push}}])
        assert two.party.middle.reader.presence(users[0]).status_msg == "1"

    sailing("a.org", "b.org", config=with_presence)(test)


def test_presence_is_off_by_default() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        await launch(ships)
        one, two = ships
        await one.party.middle.reader.memberships(users[0])
        one.party.middle.presence.set(users[0], "phone", "online", None)
        await asyncio.sleep(5)
        assert sends(sea, "a.org", "b.org") == 0
        push: Any = [{"user_id": users[0], "presence": "online", "last_active_ago": 1}]
        await put(one, two, "1", edus=[{"edu_type": "m.presence", "content": {"push": push}}])
        assert two.party.middle.reader.presence(users[0]).presence == "offline"

    sailing("a.org", "b.org")(test)


def test_what_is_not_a_servers_to_say_is_left_out() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        one, two = ships
        event_id = await one.party.say(users[0], room_id, "hello")
        await asyncio.sleep(1)
        edus: list[object] = [
            typing(room_id, users[0]),  # ours
            typing(room_id, "@stranger:b.org"),  # not inside
            typing("!nowhere", users[1]),
            typing(room_id, users[1], "yes"),
            typing(room_id, 7),  # type: ignore[arg-type]
            receipt(room_id, users[0], event_id),
            receipt(room_id, "@stranger:b.org", event_id),
            receipt(room_id, users[1], "$unknown"),
            receipt("!nowhere", users[1], event_id),
            receipt(room_id, users[1], event_id, ts="now"),
            receipt(room_id, users[1], event_id, ts=-1),
            receipt(room_id, users[1], event_id, thread_id=7),
            {"edu_type": "m.receipt", "content": {room_id: {"m.read.private": {users[1]: {}}}}},
            {"edu_type": "m.receipt", "content": {room_id: []}},
            {"edu_type": "m.direct_to_device", "content": {"sender": users[1]}},
            {"edu_type": "org.example.new", "content": {}},
            {"edu_type": 7},
            {"content": {}},
            "nothing",
        ]
        assert await put(two, one, "1", edus=edus) == {"pdus": {}}
        assert typing_now(one, room_id) == frozenset()
        assert await receipts(one, room_id) == {}
        # Among all of it, what is well-formed counts.
        await put(two, one, "2", edus=[*edus, typing(room_id, users[1]), receipt(room_id, users[1], event_id)])
        assert typing_now(one, room_id) == {users[1]}
        assert (await receipts(one, room_id))[users[1], None].event_id == event_id

    sailing("a.org", "b.org")(test)


def test_irc_and_xmpp_see_somebody_of_another_server_type() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org", "c.org") as servers:
            room_id, people = await trio(servers, "12", "tea")
            here, far = servers[0], people[1][0]
            middle = here.party.middle
            async with front_ends(here) as (irc, xmpp):
                room = await middle.loaded.get(room_id)
                chatter = await irc_viewer(irc, "alice", irc.names.channel(room))
                jabberer = await xmpp_viewer(xmpp, "alice", room_jid(room, xmpp.domains))
                await jabberer.enter()
                await chatter.look()
                await jabberer.look()
                chatter.lines.clear()
                jabberer.stanzas.clear()
                clock = here.party.clock
                devices = IncomingDevices(here.name, middle.encryption, middle.loaded, clock.s, middle_is_well)
                intake = EduIntake(middle.loaded, middle.service, None, clock.ms, devices)
                await intake.take(ServerName("b.org"), [typing(room_id, far)])
                await chatter.look()
                await jabberer.look()
                assert any("+typing=active" in line and irc.names.nick(far) in line for line in chatter.lines)
                assert any("composing" in stanza for stanza in jabberer.stanzas)
                await intake.take(ServerName("b.org"), [typing(room_id, far, False)])
                await chatter.look()
                await jabberer.look()
                assert any("+typing=done" in line for line in chatter.lines)
                assert any("active" in stanza or "paused" in stanza for stanza in jabberer.stanzas)

    run(work)
