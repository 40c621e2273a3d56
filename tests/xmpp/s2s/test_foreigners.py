"""When somebody of another server is in a room here, and when no more: bounces, silence, broken links, a day away.

spec: XEP-0045 11.1, 18.1.2; XEP-0199; docs/mapping.md 23.1
"""

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.xmpp.s2s.islands import ONE
from tests.xmpp.s2s.outside import MUC, Outside, outside, owner_in, play
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.rooms.commands import Command, OpenDirect, SendEvent, UpgradeRoom
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.muc.absence import STAYS_MS
from tripoint.xmpp.muc.foreigners import ANSWER_S, ASK_AFTER_S, ENTRIES, LOOK_S, STANZAS
from tripoint.xmpp.newcomers import NEW_OF_DOMAIN
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.wire import Element

ROOM = f"tea@rooms.{ONE}"
BOB = "bob@far.example"
STAND_IN = f"@_xmpp_bob=40far.example:{ONE}"
ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
DAY_S = STAYS_MS / 1000


def error(kind: str, condition: str, who: str = f"{BOB}/r", room: str = ROOM) -> str:
    inside = f"<error type='cancel'><{condition} xmlns='{ERRORS}'/></error>"
    return f"<{kind} from='{who}' to='{room}' type='error' id='e'>{inside}</{kind}>"


async def membership(world: Outside, user_id: str = STAND_IN) -> str:
    room = await world.apps[ONE].middle.reader.room(await world.room_id(ONE, "tea"))
    return room.membership(user_id)


@pytest.mark.parametrize(
    "condition",
    [
        "gone",
        "item-not-found",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    ],
)
@pytest.mark.parametrize("kind", ["message", "presence"])
def test_what_bounces_ends_that_session_and_no_other(tmp_path: Path, kind: str, condition: str) -> None:
    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await world.enter(f"{BOB}/s", ROOM, "bobby")
        await world.enter("carl@far.example/r", ROOM, "carl")
        await alice.skip()
        await world.says(error(kind, condition))
        # He is there with another client.
        assert world.foreigners() == [f"{BOB}/s", "carl@far.example/r"]
        assert not [text for text in await alice.skip() if "unavailable" in text]
        assert "/bobby' type='unavailable'" in await world.says(error(kind, condition, f"{BOB}/s"))  # for Carl
        (gone,) = await alice.skip()
        assert f"<presence from='{ROOM}/bobby' type='unavailable'" in gone
        assert "<status code='333'/>" in gone and "<status code='307'/>" not in gone
        assert world.foreigners() == ["carl@far.example/r"]
        assert await membership(world) == "join"
        # What else comes from the session that is gone is of somebody who is outside.
        said = f"<message from='{BOB}/s' to='{ROOM}' type='groupchat' id='m'><body>Hello</body></message>"
        assert "<not-acceptable " in await world.says(said)
        await alice.quiet()
        # A bounce of a bounce is nothing.
        assert await world.says(error(kind, condition, f"{BOB}/s")) == ""

    play(tmp_path, work)


def test_other_errors_end_nothing(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        for kind in ("message", "presence", "iq"):
            for condition in ("feature-not-implemented", "not-acceptable", "policy-violation", "bad-request"):
                assert await world.says(error(kind, condition)) == ""
        # Answers to what nobody asked.
        assert await world.says(error("iq", "item-not-found")) == ""
        assert await world.says(f"<iq from='{BOB}/r' to='{ROOM}' type='result' id='there-9'/>") == ""
        # And of another room.
        assert await world.says(error("message", "gone", room=f"cake@rooms.{ONE}")) == ""
        assert world.foreigners() == [f"{BOB}/r"]

    play(tmp_path, work)


def test_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await world.enter("carl@near.example/r", ROOM, "carl")
        await alice.skip()
        foreigners = world.apps[ONE].xmpp.foreigners
        # Of its conversations outside of rooms nothing follows.
        foreigners.unreachable(ONE, "far.example")
        await asyncio.sleep(0)
        assert len(foreigners) == 2
        foreigners.unreachable(f"rooms.{ONE}", "far.example")
        foreigners.unreachable(f"rooms.{ONE}", "nobody.example")
        assert len(foreigners) == 2  # nothing while a room is being told something
        await alice.expect(f"<presence from='{ROOM}/bobby' type='unavailable'…cannot be reached…code='333'…")
        assert world.foreigners() == ["carl@near.example/r"]
        board = world.apps[ONE].middle.reader.presence(STAND_IN)
        assert board.presence == "offline"

    play(tmp_path, work)


def test_a_connection_that_broke(tmp_path: Path) -> None:
    """Whether they are still there is asked. spec: XEP-0199 4"""

    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await world.enter("carl@near.example/r", ROOM, "carl")
        world.heard()
        world.apps[ONE].xmpp.foreigners.broken(f"rooms.{ONE}", "far.example")
        asked = world.heard()
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        assert asked == f"<iq type='get' id='there-1' from='{ROOM}/bobby' to='{BOB}/r'>{ping}</iq>"
        await world.says(error("iq", "item-not-found").replace("id='e'", "id='there-1'"))
        assert world.foreigners() == ["carl@near.example/r"]

    play(tmp_path, work)


def test_who_is_silent_is_asked(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        for name in ("bob", "carl", "dora"):
            await world.enter(f"{name}@far.example/r", ROOM, name)
        world.heard()
        await world.pass_s(ASK_AFTER_S + 1)
        asked = world.heard()
        assert asked.count("<ping ") == 3
        # One answers, one has no word for it, one does not answer.
        await world.says(f"<iq from='{BOB}/r' to='{ROOM}' type='result' id='there-1'/>")
        unknown = error("iq", "service-unavailable", "carl@far.example/r").replace("id='e'", "id='there-2'")
        await world.says(unknown)
        assert len(world.foreigners()) == 3
        await alice.skip()
        await world.pass_s(ANSWER_S + 1)
        assert world.foreigners() == [f"{BOB}/r", "carl@far.example/r"]
        assert "do not answer" in "".join(await alice.skip())
        # Who has answered before is gone when his server says that there is nobody.
        world.heard()
        await world.pass_s(ASK_AFTER_S + 1)
        assert world.heard().count("<ping ") == 2
        gone = error("iq", "service-unavailable").replace("id='e'", "id='there-4'")
        await world.says(gone)
        assert world.foreigners() == ["carl@far.example/r"]

    play(tmp_path, work)


def test_a_day_without_presence_ends_the_membership(tmp_path: Path) -> None:
    """docs/mapping.md 23.1"""

    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        for who in (BOB, "carl@far.example"):
            await world.enter(f"{who}/r", ROOM, who.partition("@")[0])
        there = ("carl@far.example/r", f"{ROOM}/carl")
        await world.pass_s(LOOK_S * 2, there)
        await world.says(f"<presence from='{BOB}/r' to='{ROOM}/bob' type='unavailable'/>")
        await world.pass_s(LOOK_S * 2, there)
        await world.pass_s(DAY_S - 4 * LOOK_S, there)
        carl = f"@_xmpp_carl=40far.example:{ONE}"
        assert await membership(world) == await membership(world, carl) == "join"
        await world.pass_s(5 * LOOK_S, there)
        assert await membership(world) == "leave"
        # He can come again; and who was there all the time still is, or was gone for hours only.
        await world.enter(f"{BOB}/r", ROOM, "bob")
        assert await membership(world) == await membership(world, carl) == "join"

    play(tmp_path, work)


def test_a_store_that_is_busy_keeps_nobody(tmp_path: Path) -> None:
    """What could not be written is tried again; who was kicked meanwhile is forgotten."""

    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        for who in ("bob", "carl"):
            await world.enter(f"{who}@far.example/r", ROOM, who)
            await world.says(f"<presence from='{who}@far.example/r' to='{ROOM}/{who}' type='unavailable'/>")
        absences = world.apps[ONE].xmpp.foreigners._absences
        doors, asked = absences._doors, list[Command]()

        class Busy:
            async def do(self, command: Command) -> None:
                asked.append(command)
                raise Refused(Refusal.SERVER_BUSY)

        item = "<item jid='carl@far.example' affiliation='outcast'/>"
        query = f"<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>"
        assert "type='result'" in await alice.ask(f"<iq type='set' id='b' to='{ROOM}'>{query}</iq>")
        absences._doors = replace(doors, rooms=Busy())
        await world.pass_s(DAY_S + 2 * LOOK_S)
        assert {command.actor for command in asked} >= {STAND_IN}
        assert await membership(world) == "join"
        absences._doors = doors
        await world.pass_s(2 * LOOK_S)
        assert await membership(world) == "leave"
        assert not absences._seen

    play(tmp_path, work)


def test_a_crash_leaves_no_ghost_and_gives_no_second_day(tmp_path: Path) -> None:
    """The disk as a kill leaves it, under a new process: he is not shown, can enter, and is gone in time."""

    async def work() -> None:
        async with outside(tmp_path / "was") as world:
            alice = await owner_in(world, ROOM)
            await world.enter(f"{BOB}/r", ROOM, "bobby")
            await world.enter("carl@far.example/r", ROOM, "carl")
            alice.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Kept</body></message>")
            while "Kept" not in await alice.xml():
                pass
            shutil.copytree(tmp_path / "was" / ONE, tmp_path / "is", ignore=shutil.ignore_patterns("control"))
        world = Outside(tmp_path)
        await world.start_one(tmp_path / "is")
        try:
            alice = await world.again("alice", ONE)
            shown = "".join(await alice.join(ROOM, "alice"))
            assert "bobby" not in shown and "carl" not in shown
            assert await membership(world) == "join"
            # His client asks whether it is in, and comes again. spec: XEP-0410 3
            ping = f"<iq from='{BOB}/r' to='{ROOM}/bobby' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
            assert "<not-acceptable " in await world.says(ping)
            assert f"from='{ROOM}/bobby'" in await world.enter(f"{BOB}/r", ROOM, "bobby")
            await alice.expect(f"<presence from='{ROOM}/bobby'…jid='{BOB}/r'…")
            await world.pass_s(LOOK_S * 2)
            await world.says(f"<presence from='{BOB}/r' to='{ROOM}/bobby'><show>away</show></presence>")
            await world.pass_s(DAY_S - 10 * LOOK_S)
            await world.pass_s(20 * LOOK_S)
            assert await membership(world, f"@_xmpp_carl=40far.example:{ONE}") == "leave"
        finally:
            await world.stop()

    asyncio.run(asyncio.wait_for(work(), 60))


def test_presence_storms_and_many_resources_are_bounded(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        foreigners = world.apps[ONE].xmpp.foreigners
        answers = [await world.enter(f"{BOB}/{n}", ROOM, "bobby") for n in range(60)]
        assert len(foreigners) == 20
        assert "<resource-constraint " in answers[-1]
        # Who comes and goes does not stay in memory.
        for n in range(20):
            await world.says(f"<presence from='{BOB}/{n}' to='{ROOM}/bobby' type='unavailable'/>")
        assert len(foreigners) == 0
        assert not foreigners._of_domain and not foreigners._of_person
        # Many people of one domain are let in one after the other.
        people = [f"p{n}" for n in range(int(NEW_OF_DOMAIN.burst) + 5)]
        answers = [await world.enter(f"{name}@storm.example/r", ROOM, name) for name in people]
        assert sum("<resource-constraint " in answer for answer in answers) == 5
        assert len(foreigners) == NEW_OF_DOMAIN.burst
        world.heard()
        for _ in range(int(ENTRIES.burst)):
            await world.enter("p1@storm.example/r", ROOM, "p1")
        assert "<resource-constraint " in await world.enter("p1@storm.example/r", ROOM, "p1")
        # Nobody else has to wait for them.
        assert "<resource-constraint " not in await world.enter("x@calm.example/r", ROOM, "x")

    play(tmp_path, work)


def test_what_a_domain_sends_is_bounded(tmp_path: Path) -> None:
    """docs/mapping.md 24: nobody of another domain waits for it, and leaving is always possible"""

    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await world.enter("carl@near.example/r", ROOM, "carl")
        ping = "<iq from='{}' to='{}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
        answers = [await world.says(ping.format(f"{BOB}/r", f"{ROOM}/bobby")) for _ in range(int(STANZAS.burst) + 50)]
        assert "<resource-constraint " in answers[-1]
        assert "type='result'" in await world.says(ping.format("carl@near.example/r", f"{ROOM}/carl"))
        await world.says(f"<presence from='{BOB}/r' to='{ROOM}/bobby' type='unavailable'/>")
        assert world.foreigners() == ["carl@near.example/r"]

    play(tmp_path, work)


def test_a_room_that_is_replaced_takes_them_along(tmp_path: Path) -> None:
    """docs/mapping.md 21.4: same address, same people; and the new room lets in whom the old one did"""

    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        old = await world.room_id(ONE, "tea")
        done = await world.apps[ONE].middle.service.do(UpgradeRoom(actor=UserId(f"@alice:{ONE}"), room_id=old))
        await world.apps[ONE].xmpp.settled()
        for _ in range(200):
            await asyncio.sleep(0)
        new = await world.apps[ONE].middle.reader.room(await world.room_id(ONE, "tea"))
        assert new.room_id == done.room_id != old
        assert new.membership(STAND_IN) == "join"
        world.heard()
        await alice.skip()
        alice.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Moved</body></message>")
        while "Moved" not in await alice.xml():
            pass
        assert "<body>Moved</body>" in world.heard()
        said = f"<message from='{BOB}/r' to='{ROOM}' type='groupchat' id='n'><body>Me too</body></message>"
        assert "<body>Me too</body>" in await world.says(said)

    play(tmp_path, work)


def test_who_is_locked_out_here(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await alice.skip()
        accounts = world.apps[ONE].middle.accounts
        await accounts.set_locked(STAND_IN, True)
        await alice.expect(f"<presence from='{ROOM}/bobby' type='unavailable'…")
        assert world.foreigners() == []
        assert "<forbidden " in await world.enter(f"{BOB}/r", ROOM, "bobby")

    play(tmp_path, work)


@pytest.mark.parametrize("by_their_server", [True, False])
def test_an_invitation_that_does_not_arrive(tmp_path: Path, by_their_server: bool) -> None:
    """Who invited is told, once, on whichever protocol they are. docs/mapping.md 9.9, 10.13"""

    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        user = "http://jabber.org/protocol/muc#user"
        invite = f"<message to='{ROOM}'><x xmlns='{user}'><invite to='{BOB}'/></x></message>"
        alice.send(invite)
        await alice.skip()
        assert "<invite " in world.heard()
        front = world.apps[ONE].xmpp
        assert front.servers is not None and front.servers.bounce is not None
        for _ in range(3):
            if by_their_server:
                await world.says(error("message", "item-not-found", BOB))
            else:
                stanza = Element("message", "jabber:client", {"from": ROOM, "to": BOB})
                front.servers.bounce(stanza, Problem("remote-server-not-found", "far.example cannot be reached"))
        await front.settled()
        told = [text for text in await alice.skip() if "<body>" in text]
        assert len(told) == 1 and f"Your invitation of {BOB} to {ROOM} did not arrive: " in told[0]
        assert ("item-not-found" if by_their_server else "far.example cannot be reached") in told[0]
        # Who has come needs no word about it, whatever comes back later.
        alice.send(invite)
        await alice.skip()
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        await alice.skip()
        await world.says(error("message", "item-not-found", BOB))
        await front.settled()
        assert not [text for text in await alice.skip() if "<body>" in text]

    play(tmp_path, work)


def test_what_is_written_where_no_other_server_is_spoken_to(tmp_path: Path) -> None:
    """Somebody of another server was written to before that was switched off: IRC and Matrix are told. mapping 15.8"""

    async def work(world: Outside) -> None:
        app = world.apps[ONE]
        await app.middle.accounts.add_account("alice", "secret-password", admin=False)
        stand_in = (await app.middle.accounts.stand_in(BOB)).user_id
        alice = UserId(f"@alice:{ONE}")
        done = await app.middle.service.do(OpenDirect(actor=alice, target=stand_in))
        front = app.xmpp
        front.direct._doors = replace(front._doors, abroad=None)
        content: JsonObject = {"msgtype": "m.text", "body": "Hello"}
        said = SendEvent(actor=alice, room_id=done.room_id, type="m.room.message", content=content)
        await app.middle.service.do(said)
        await front.settled()
        room = await app.middle.reader.room(done.room_id)
        texts = [(item.event.sender, item.event.content.get("body")) for item in room.recent if not item.event.is_state]
        assert texts == [
            (alice, "Hello"),
            (stand_in, f"Not delivered to {BOB}: this server does not talk to other XMPP servers"),
        ]

    play(tmp_path, work)


def test_they_are_counted(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        await owner_in(world, ROOM)
        await world.enter(f"{BOB}/r", ROOM, "bobby")
        assert world.apps[ONE].xmpp.link_counts() == {"out": 0.0, "in": 0.0, "components": 0.0, "foreigners": 1.0}

    play(tmp_path, work)


JIDS = st.sampled_from(["bob@far.example/r", "bob@far.example/s", "eve@far.example/r", "eve@far.example"])
TARGETS = st.sampled_from([ROOM, f"{ROOM}/bobby", f"{ROOM}/alice", f"cake@rooms.{ONE}/x", f"rooms.{ONE}"])
INSIDES = st.sampled_from(
    [
        MUC,
        "<body>Hello</body>",
        "<subject>S</subject>",
        "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='alice@one.example'/></x>",
        "<query xmlns='http://jabber.org/protocol/muc#owner'/>",
        "<query xmlns='http://jabber.org/protocol/muc#admin'><item nick='alice' role='none'/></query>",
        "<query xmlns='jabber:iq:register'><remove/></query>",
        f"<error type='cancel'><gone xmlns='{ERRORS}'/></error>",
        "",
    ]
)
KINDS = st.sampled_from(
    [None, "unavailable", "error", "groupchat", "chat", "get", "set", "result", "subscribe", "probe"]
)


@st.composite
def stanzas(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(["message", "presence", "iq"]))
    kind = draw(KINDS)
    typed = "" if kind is None else f" type='{kind}'"
    return f"<{name} from='{draw(JIDS)}' to='{draw(TARGETS)}' id='i'{typed}>{draw(INSIDES)}</{name}>"


@given(st.lists(stanzas(), max_size=25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_stanzas(tmp_path_factory: pytest.TempPathFactory, script: list[str]) -> None:
    """Everybody gets what is his, and who is in a room is who is kept."""

    async def work(world: Outside) -> None:
        alice = await owner_in(world, ROOM)
        front = world.apps[ONE].xmpp
        for xml in script:
            # Who is in no room is sent nothing but answers to himself.
            before = set(front.foreigners._foreigners)
            heard = re.findall(r"<(?:message|presence|iq)[^>]* to='([^']*)'", await world.says(xml))
            (sender,) = re.findall(r" from='([^']*)'", xml)
            assert set(heard) <= before | set(front.foreigners._foreigners) | {sender}, xml
        kept = [foreigner.session for foreigner in front.foreigners._foreigners.values()]
        assert all(session.visits for session in kept)
        view = front.muc.view(await world.room_id(ONE, "tea"), ROOM)
        shown = {visit.session.full for visit in view.visits() if visit.session.foreign}
        assert shown == set(front.foreigners._foreigners)
        assert "internal-server-error" not in "".join(await alice.skip())

    play(tmp_path_factory.mktemp("foreigners"), work)
