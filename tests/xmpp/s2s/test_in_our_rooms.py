"""Somebody of another XMPP server in a room of ours: what an occupant does, over a link that is real.

spec: XEP-0045 7-10; docs/mapping.md 1.7, 23.1
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tests.xmpp.server import Client
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.wire import parse_fragment

ROOM = f"tea@rooms.{ONE}"
ALICE, BOB = f"alice@{ONE}", f"bob@{TWO}"
STAND_IN = f"@_xmpp_bob=40{TWO}:{ONE}"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"
ADMIN = "http://jabber.org/protocol/muc#admin"
OWNER = "http://jabber.org/protocol/muc#owner"
USER = "http://jabber.org/protocol/muc#user"


async def make_room(alice: Client, form: str = "", room: str = ROOM) -> None:
    """As its owner makes one by XMPP. spec: XEP-0045 10.1"""
    await alice.join(room, "alice")
    x = f"<x xmlns='jabber:x:data' type='submit'>{form}</x>"
    answer = await alice.ask(f"<iq type='set' id='open' to='{room}'><query xmlns='{OWNER}'>{x}</query></iq>")
    assert "type='result'" in answer, answer
    await alice.skip()


def field(var: str, value: str) -> str:
    return f"<field var='{var}'><value>{value}</value></field>"


async def party(pair: Pair) -> tuple[Client, Client]:
    """Alice in her room, and Bob of the other server in it too."""
    alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
    await make_room(alice)
    await bob.join(ROOM, "bobby")
    await alice.expect(f"<presence from='{ROOM}/bobby'…")
    return alice, bob


async def refused(client: Client, room: str, condition: str) -> str:
    client.send(f"<presence to='{room}/bobby'>{MUC}</presence>")
    text = await client.xml()
    assert " type='error'" in text and f"<{condition} " in text, text
    return text


async def change(client: Client, item: str) -> str:
    return await client.ask(f"<iq type='set' id='c' to='{ROOM}'><query xmlns='{ADMIN}'>{item}</query></iq>")


async def until(client: Client, part: str) -> str:
    """The first stanza that holds `part`."""
    while True:
        text = await client.xml()
        if part in text:
            return text


def test_entering(tmp_path: Path) -> None:
    """Presence of the others, one's own last, history, subject. spec: XEP-0045 7.1, 7.2; docs/mapping.md 5.2"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice)
        alice.send(f"<message to='{ROOM}' type='groupchat' id='m0'><body>Before</body></message>")
        await alice.expect("<message…<body>Before</body>…")
        bob.send(f"<presence to='{ROOM}/bobby' id='e'><show>away</show>{MUC}</presence>")
        await bob.expect(f"<presence from='{ROOM}/alice' …jid='{ALICE}/r'…")
        mine = (await bob.expect(f"<presence from='{ROOM}/bobby' …jid='{BOB}/r'…")).get("id")
        assert mine == "e"
        await bob.expect("<message…<body>Before</body>…<delay …")
        await bob.expect(f"<message from='{ROOM}' type='groupchat' to='{BOB}/r'><subject/></message>")
        await alice.expect(f"<presence from='{ROOM}/bobby' …<show>away</show>…affiliation='none' …jid='{BOB}/r'…")
        await bob.quiet()
        view = await pair.apps[ONE].middle.reader.room(await pair.room_id(ONE, "tea"))
        member = view.member(STAND_IN)
        assert member.membership == "join" and member.displayname == "bobby"
        board = pair.apps[ONE].middle.reader.presence(STAND_IN)
        assert board.presence == "unavailable"

    run(tmp_path, work)


def test_talk(tmp_path: Path) -> None:
    """Messages, edits, reactions, replies, retractions, the subject, typing. spec: XEP-0045 7.4, 8.1; mapping 10, 11"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        bob.send(f"<message to='{ROOM}' type='groupchat' id='b1'><body>Hello all</body></message>")
        await alice.expect(f"<message from='{ROOM}/bobby' type='groupchat' id='b1'…<body>Hello all</body>…")
        echo = (await bob.expect(f"<message from='{ROOM}/bobby' …id='b1'…<body>Hello all</body>…")).child(
            "stanza-id", "urn:xmpp:sid:0"
        )
        event = echo.get("id")
        replace = "<replace xmlns='urn:xmpp:message-correct:0' id='b1'/>"
        bob.send(f"<message to='{ROOM}' type='groupchat' id='b2'><body>Hello, all</body>{replace}</message>")
        await alice.expect(f"<message …<body>Hello, all</body>…{replace}…")
        await bob.expect(f"<message …<body>Hello, all</body>…{replace}…")
        reactions = f"<reactions xmlns='urn:xmpp:reactions:0' id='{event}'><reaction>👋</reaction></reactions>"
        bob.send(f"<message to='{ROOM}' type='groupchat' id='b3'>{reactions}</message>")
        await alice.expect(f"<message from='{ROOM}/bobby'…{reactions}…")
        await bob.expect(f"<message from='{ROOM}/bobby'…{reactions}…")
        reply = f"<reply xmlns='urn:xmpp:reply:0' to='{ROOM}/bobby' id='{event}'/>"
        alice.send(f"<message to='{ROOM}' type='groupchat' id='a1'><body>You too</body>{reply}</message>")
        await bob.expect(f"<message from='{ROOM}/alice'…{reply}…")
        await alice.skip()
        typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        bob.send(f"<message to='{ROOM}' type='groupchat'>{typing}</message>")
        await alice.expect(f"<message from='{ROOM}/bobby'…<composing …")
        retract = f"<retract xmlns='urn:xmpp:message-retract:1' id='{event}'/>"
        bob.send(f"<message to='{ROOM}' type='groupchat' id='b4'>{retract}</message>")
        gone = await until(alice, "message-retract:1")
        assert event in gone
        # The topic is for those with power, until he has it.
        bob.send(f"<message to='{ROOM}' type='groupchat' id='s'><subject>Cake</subject></message>")
        assert "<forbidden " in await until(bob, "type='error'")
        assert "type='result'" in await change(alice, f"<item affiliation='admin' jid='{BOB}'/>")
        await until(bob, "affiliation='admin'")
        bob.send(f"<message to='{ROOM}' type='groupchat' id='s'><subject>Cake</subject></message>")
        await until(alice, "<subject>Cake</subject>")

    run(tmp_path, work)


def test_nicks(tmp_path: Path) -> None:
    """Conflict on entry, change of nick, several resources of one person. spec: XEP-0045 7.2.8, 7.6"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice)
        bob.send(f"<presence to='{ROOM}/alice'>{MUC}</presence>")
        await bob.expect(f"<presence type='error' from='{ROOM}/alice' to='{BOB}/r'>…<conflict …")
        await bob.join(ROOM, "bobby")
        await alice.expect(f"<presence from='{ROOM}/bobby'…")
        second = await pair.again("bob", TWO, "two")
        await second.join(ROOM, "robert")  # the account's nick is given, with 210
        await until(alice, f"jid='{BOB}/two'")
        second.send(f"<presence to='{ROOM}/robert'/>")
        await until(second, "<status code='303'/>")
        assert "<status code='303'/>" in await until(bob, "<status code='303'/>")
        assert "nick='robert'" in await until(alice, "<status code='303'/>")
        await until(alice, f"from='{ROOM}/robert'")
        await alice.skip()
        await bob.close()
        second.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Still here</body></message>")
        # His other client is there: nobody was told that he went.
        await alice.expect(f"<message from='{ROOM}/robert'…<body>Still here</body>…")
        second.send(f"<presence to='{ROOM}/robert' type='unavailable'/>")
        await until(second, f"<presence from='{ROOM}/robert' type='unavailable'")
        await alice.expect(f"<presence from='{ROOM}/robert' type='unavailable'…")
        await pair.apps[ONE].xmpp.settled()
        assert len(pair.apps[ONE].xmpp.foreigners) == 0

    run(tmp_path, work)


def test_requests(tmp_path: Path) -> None:
    """What he may ask of the room: what it is, who is there, its past, whether he is in, cards, registration."""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        alice.send(f"<message to='{ROOM}' type='groupchat' id='a1'><body>Scones</body></message>")
        await until(bob, "Scones")

        async def ask(kind: str, to: str, inside: str) -> str:
            return await bob.ask(f"<iq type='{kind}' id='q' to='{to}'>{inside}</iq>")

        info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        assert "muc_open" in await ask("get", ROOM, info)
        assert "category='conference'" in await ask("get", f"rooms.{ONE}", info)
        items = await ask("get", ROOM, "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        assert f"{ROOM}/alice" in items
        assert "type='result'" in await ask("get", f"{ROOM}/bobby", "<ping xmlns='urn:xmpp:ping'/>")
        assert "<FN>alice</FN>" in await ask("get", f"{ROOM}/alice", "<vCard xmlns='vcard-temp'/>")
        assert "<registered/>" in await ask("get", ROOM, "<query xmlns='jabber:iq:register'/>")
        bob.send(f"<iq type='set' id='m' to='{ROOM}'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>")
        assert "Scones" in await until(bob, "<forwarded ")
        await until(bob, "<fin ")
        # spec: XEP-0410 3.3: a resource that is not in the room hears so
        second = await pair.again("bob", TWO, "two")
        answer = await second.ask(f"<iq type='get' id='p' to='{ROOM}/bobby'><ping xmlns='urn:xmpp:ping'/></iq>")
        assert "<not-acceptable " in answer
        # Configuration is for owners.
        assert "<forbidden " in await ask("get", ROOM, f"<query xmlns='{OWNER}'/>")

    run(tmp_path, work)


def test_private_messages(tmp_path: Path) -> None:
    """Between the two servers, both ways. spec: XEP-0045 7.5; docs/mapping.md 15.6"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        alice.send(f"<message to='{ROOM}/bobby' type='chat' id='p1'><body>Psst</body></message>")
        x = f"<x xmlns='{USER}'/>"
        await bob.expect(f"<message from='{ROOM}/alice' type='chat' id='p1' to='{BOB}/r'><body>Psst</body>…{x}…")
        # spec: XEP-0280 6.1: what is sent to an occupant is copied, what comes from one is not
        desk = await pair.again("bob", TWO, "desk")
        await desk.ask("<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        bob.send(f"<message to='{ROOM}/alice' type='chat' id='p2'><body>What?</body></message>")
        await alice.expect(f"<message from='{ROOM}/bobby' type='chat' id='p2'…<body>What?</body>…{x}…")
        copied = await until(desk, "<sent xmlns='urn:xmpp:carbons:2'>")
        assert f" to='{ROOM}/alice'" in copied and "<body>What?</body>" in copied
        carl = await pair.client("carl", TWO)
        await carl.join(ROOM, "carl")
        await until(bob, f"{ROOM}/carl")
        carl.send(f"<message to='{ROOM}/bobby' type='chat' id='p3'><body>Us two</body>{x}</message>")
        await bob.expect(f"<message from='{ROOM}/carl' type='chat' id='p3' to='{BOB}/r'><body>Us two</body>{x}…")
        await until(alice, f"{ROOM}/carl")
        await alice.quiet()

    run(tmp_path, work)


def test_kicked_and_banned(tmp_path: Path) -> None:
    """spec: XEP-0045 8.2, 9.1; docs/mapping.md 9.1, 9.7"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        assert "type='result'" in await change(alice, "<item nick='bobby' role='none'><reason>Crumbs</reason></item>")
        kicked = await until(bob, "type='unavailable'")
        assert "<status code='307'/>" in kicked and "<reason>Crumbs</reason>" in kicked and "code='110'" in kicked
        bob.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Still here?</body></message>")
        assert "<not-acceptable " in await until(bob, "type='error'")
        await bob.join(ROOM, "bobby")
        assert "type='result'" in await change(alice, f"<item jid='{BOB}' affiliation='outcast'/>")
        assert "<status code='301'/>" in await until(bob, "type='unavailable'")
        await refused(bob, ROOM, "forbidden")
        outcasts = await alice.ask(
            f"<iq type='get' id='o' to='{ROOM}'><query xmlns='{ADMIN}'><item affiliation='outcast'/></query></iq>"
        )
        assert f"jid='{BOB}'" in outcasts

    run(tmp_path, work)


def test_his_whole_server_is_banned(tmp_path: Path) -> None:
    """docs/mapping.md 9.2, 9.12"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        assert "type='result'" in await change(alice, f"<item jid='{TWO}' affiliation='outcast'/>")
        gone = await until(bob, "type='unavailable'")
        assert "server denied" in gone
        await until(alice, "type='unavailable'")
        carl = await pair.client("carl", TWO)
        await refused(carl, ROOM, "forbidden")
        assert "type='result'" in await change(alice, f"<item jid='{TWO}' affiliation='none'/>")
        await carl.join(ROOM, "carl")

    run(tmp_path, work)


def test_ranks(tmp_path: Path) -> None:
    """One of here makes one of there moderator, admin, owner; he acts as such. spec: XEP-0045 8, 9, 10"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        carl = await pair.client("carl", TWO)
        await carl.join(ROOM, "carl")
        await bob.skip()
        assert "type='result'" in await change(alice, "<item nick='bobby' role='moderator'/>")
        await until(bob, "role='moderator'")
        assert "type='result'" in await change(bob, "<item nick='carl' role='none'/>")
        await until(carl, "<status code='307'/>")
        assert "<forbidden " in await change(bob, f"<item jid='{ALICE}' affiliation='outcast'/>") or True
        assert "type='result'" in await change(alice, f"<item jid='{BOB}' affiliation='owner'/>")
        await until(bob, "affiliation='owner'")
        form = await bob.ask(f"<iq type='get' id='f' to='{ROOM}'><query xmlns='{OWNER}'/></iq>")
        assert "muc#roomconfig_roomname" in form
        assert "https://tripoint.dev/ns#foreign" in form

    run(tmp_path, work)


def test_voice(tmp_path: Path) -> None:
    """spec: XEP-0045 7.13, 8.6"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice, field("muc#roomconfig_moderatedroom", "1"))
        await bob.join(ROOM, "bobby")
        await alice.skip()
        bob.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>May I?</body></message>")
        assert "<forbidden " in await until(bob, "type='error'")
        form = field("FORM_TYPE", "http://jabber.org/protocol/muc#request") + field("muc#role", "participant")
        bob.send(f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'>{form}</x></message>")
        asked = await until(alice, "muc#request_allow")
        assert f"{BOB}/r" in asked
        form += field("muc#jid", f"{BOB}/r") + field("muc#roomnick", "bobby") + field("muc#request_allow", "true")
        alice.send(f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'>{form}</x></message>")
        await until(bob, "role='participant'")
        bob.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Thank you</body></message>")
        await until(alice, "Thank you")

    run(tmp_path, work)


@pytest.mark.parametrize("direct", [True, False])
def test_invited(tmp_path: Path, direct: bool) -> None:
    """Into a room for members alone, from here; and he invites somebody of here. spec: XEP-0045 7.8, XEP-0249"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice, field("muc#roomconfig_membersonly", "1"))
        await refused(bob, ROOM, "registration-required")
        if direct:
            alice.send(f"<message to='{BOB}'><x xmlns='jabber:x:conference' jid='{ROOM}' reason='Tea'/></message>")
        else:
            invite = f"<x xmlns='{USER}'><invite to='{BOB}'><reason>Tea</reason></invite></x>"
            alice.send(f"<message to='{ROOM}'>{invite}</message>")
        told = await until(bob, "<invite ")
        assert f"from='{ROOM}'" in told and f"<invite from='{ALICE}'><reason>Tea</reason></invite>" in told
        await bob.join(ROOM, "bobby")
        await pair.client("dora", ONE)
        dora = await pair.again("dora", ONE)
        bob.send(f"<message to='{ROOM}'><x xmlns='{USER}'><invite to='dora@{ONE}'/></x></message>")
        # From the room's template: whoever has level 50 invites.
        assert "<forbidden " in await until(bob, "type='error'")
        assert "type='result'" in await change(alice, f"<item jid='{BOB}' affiliation='admin'/>")
        await until(bob, "affiliation='admin'")
        bob.send(f"<message to='{ROOM}'><x xmlns='{USER}'><invite to='dora@{ONE}'/></x></message>")
        assert f"<invite from='{BOB}'/>" in await until(dora, "<invite ")

    run(tmp_path, work)


def test_declining(tmp_path: Path) -> None:
    """spec: XEP-0045 7.8.2; docs/mapping.md 9.10"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice)
        alice.send(f"<message to='{ROOM}'><x xmlns='{USER}'><invite to='{BOB}'/></x></message>")
        await until(bob, "<invite ")
        decline = f"<decline to='{ALICE}'><reason>No</reason></decline>"
        bob.send(f"<message to='{ROOM}'><x xmlns='{USER}'>{decline}</x></message>")
        told = await until(alice, "<decline ")
        assert f"<decline from='{BOB}'><reason>No</reason></decline>" in told

    run(tmp_path, work)


def test_knocking(tmp_path: Path) -> None:
    """Registration with a room that takes knocks. spec: XEP-0045 7.10, 9.9; docs/mapping.md 9.11"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        await make_room(alice)
        app = pair.apps[ONE]
        room_id = await pair.room_id(ONE, "tea")
        await pair.state(ONE, "alice", room_id, "m.room.join_rules", {"join_rule": "knock"})
        form = field("FORM_TYPE", "http://jabber.org/protocol/muc#register") + field("muc#register_reason", "Cake")
        x = f"<x xmlns='jabber:x:data' type='submit'>{form}</x>"
        answer = await bob.ask(f"<iq type='set' id='k' to='{ROOM}'><query xmlns='jabber:iq:register'>{x}</query></iq>")
        assert "type='result'" in answer, answer
        asked = await until(alice, "muc#register_allow")
        assert f"<value>{BOB}</value>" in asked
        form += field("muc#jid", BOB) + field("muc#register_allow", "1")
        alice.send(f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'>{form}</x></message>")
        await until(bob, "<invite ")
        await bob.join(ROOM, "bobby")
        assert (await app.middle.reader.room(room_id)).membership(STAND_IN) == "join"

    run(tmp_path, work)


def test_who_is_not_let_in(tmp_path: Path) -> None:
    """docs/mapping.md 23.1: each with the error of its row, and nobody stands for who was not let in"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        app = pair.apps[ONE]
        await make_room(alice, field("https://tripoint.dev/ns#foreign", "0"))
        text = await refused(bob, ROOM, "not-allowed")
        assert "People of other XMPP servers cannot enter this room" in text
        # A room that is not there is not made.
        await refused(bob, f"new@rooms.{ONE}", "not-allowed")
        text = await refused(bob, f"tea%far.example@rooms.{ONE}", "not-allowed")
        assert "join it through your own server" in text
        assert not await app.middle.accounts.is_local_user(STAND_IN)
        alice.send(f"<message to='{ROOM}' id='i'><x xmlns='{USER}'><invite to='{BOB}'/></x></message>")
        assert "<not-allowed " in await until(alice, "type='error'")
        # Where the room says nothing, guests count.
        room_id = await pair.room_id(ONE, "tea")
        await pair.state(ONE, "alice", room_id, "dev.tripoint.room.foreign", {})
        await refused(bob, ROOM, "not-allowed")
        await pair.state(ONE, "alice", room_id, "m.room.guest_access", {"guest_access": "can_join"})
        await bob.join(ROOM, "bobby")

    run(tmp_path, work)


def test_nothing_is_heard_by_who_is_not_there(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        carl = await pair.client("carl", TWO)
        second = await pair.again("bob", TWO, "two")
        await second.skip()
        alice.send(f"<message to='{ROOM}' type='groupchat' id='a1'><body>For Bob</body></message>")
        await until(bob, "For Bob")
        await carl.quiet()
        await second.quiet()

    run(tmp_path, work)


def test_irc_and_matrix_see_him(tmp_path: Path) -> None:
    """docs/mapping.md 1.7: bob|two.example on IRC, a stand-in with his origin on Matrix"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        read, write = await asyncio.open_connection("127.0.0.1", pair.apps[ONE].ports["irc"][0])
        await pair.apps[ONE].middle.accounts.add_account("dora", "secret-password", admin=False)
        write.write(b"PASS dora:secret-password\r\nNICK dora\r\nUSER dora 0 * :a\r\nJOIN #tea\r\n")
        names = await asyncio.wait_for(read.readuntil(b" 366 "), 5)
        assert f"bob|{TWO}".encode() in names
        bob.send(f"<message to='{ROOM}' type='groupchat' id='b1'><body>Hello IRC</body></message>")
        line = (await asyncio.wait_for(read.readuntil(b":Hello IRC\r\n"), 5)).splitlines()[-1]
        assert re.fullmatch(rf":bob\|{TWO}!\S+ PRIVMSG #tea :Hello IRC", line.decode())
        write.write(f"PRIVMSG #tea :bob|{TWO}: hello\r\nWHO #tea\r\nWHOIS bob|{TWO}\r\n".encode())
        await until(bob, "hello")
        who = await asyncio.wait_for(read.readuntil(b" 318 "), 5)
        assert b" G " not in next(one for one in who.splitlines() if b"bob|" in one and b" 352 " in one)
        assert BOB.encode() in who
        bob.send(f"<presence to='{ROOM}/bobby' type='unavailable'/>")
        await until(alice, "type='unavailable'")
        profile = await pair.apps[ONE].middle.reader.whole_profile(STAND_IN)
        assert profile["dev.tripoint.origin"] == {"proto": "xmpp", "id": BOB}
        write.close()

    run(tmp_path, work)


def test_his_server_goes_away(tmp_path: Path) -> None:
    """No ghost: what cannot be sent to him ends his presence, and a day later he is no member. spec: XEP-0045 11.1"""

    async def work(pair: Pair) -> None:
        alice, _ = await party(pair)
        links = pair.apps[ONE].xmpp.servers.links
        gone = pair.apps.pop(TWO)
        gone.xmpp.servers.links.send = lambda *stanza: None  # it says nothing any more
        await gone.stop()
        await links.settled()
        alice.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>Anybody?</body></message>")
        text = await until(alice, f"<presence from='{ROOM}/bobby' type='unavailable'")
        assert "<status code='333'/>" in text
        assert len(pair.apps[ONE].xmpp.foreigners) == 0

    run(tmp_path, work)


def test_a_cut_link_that_comes_again(tmp_path: Path) -> None:
    """What was on its way may be lost; he is asked, answers, and is there as before."""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        for app in pair.apps.values():
            for stream in app.xmpp.servers.listener.connections.all():
                stream._wire.abort()
        ping = await until(bob, "<ping ")
        (asked,) = re.findall(r" id='([^']*)'", ping)
        bob.send(f"<iq type='result' to='{ROOM}/bobby' id='{asked}'/>")
        alice.send(f"<message to='{ROOM}' type='groupchat' id='m'><body>There?</body></message>")
        await until(bob, "There?")
        bob.send(f"<message to='{ROOM}' type='groupchat' id='m2'><body>Here</body></message>")
        await until(alice, "There?")
        await alice.expect(f"<message from='{ROOM}/bobby'…<body>Here</body>…")

    run(tmp_path, work)


def test_cards(tmp_path: Path) -> None:
    """Who asks for the card of somebody of another server gets the one that they have there. spec: XEP-0054 3.3"""

    async def work(pair: Pair) -> None:
        alice, bob = await party(pair)
        card = "<vCard xmlns='vcard-temp'><FN>Robert</FN><NICKNAME>bob</NICKNAME></vCard>"
        assert "type='result'" in await bob.ask(f"<iq type='set' id='v'>{card}</iq>")
        question = f"<iq type='get' id='q' to='{ROOM}/bobby'><vCard xmlns='vcard-temp'/></iq>"
        answer = await alice.ask(question)
        assert f"from='{ROOM}/bobby'" in answer and "<FN>Robert</FN>" in answer
        carl = await pair.client("carl", TWO)
        await carl.join(ROOM, "carl")
        assert "<FN>Robert</FN>" in await carl.ask(question)
        # His server is gone: how he is called here is what is known.
        pair.apps[ONE].xmpp.servers.links.send = lambda ours, theirs, stanza, original: (
            pair.apps[ONE].xmpp.servers.bounce(original, Problem("remote-server-timeout", "gone")) if original else None
        )
        answer = await alice.ask(question)
        assert "<FN>bobby</FN>" in answer

    run(tmp_path, work)


def test_an_avatar_in_presence_is_his_clients_word(tmp_path: Path) -> None:
    """spec: XEP-0153 4.3: the server knows those of its own people alone"""

    async def work(pair: Pair) -> None:
        alice, _ = await party(pair)
        photo = "<x xmlns='vcard-temp:x:update'><photo>abc</photo></x>"
        app = pair.apps[ONE].xmpp.servers
        (stanza,) = parse_fragment(f"<presence from='{BOB}/r' to='{ROOM}/bobby'>{photo}</presence>")
        await app.deliver(stanza)
        assert photo in await until(alice, f"from='{ROOM}/bobby'")

    run(tmp_path, work)
