"""People of other XMPP servers in a room, as all three protocols see them.

spec: docs/mapping.md 1.6, 1.7, 23.1, 23.4
"""

# rows: 1.6, 1.7, 23.1, 23.4

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from tests.cross.links import linked
from tests.cross.world import IrcPerson, MatrixPerson, Person, World, XmppPerson
from tripoint.xmpp.wire import parse_fragment

HOME, AWAY = "example.org", "away.example"
ROOM = f"tea@rooms.{HOME}"
STAND_IN = f"@_xmpp_pat=40{AWAY}:{HOME}"
MUC = '<x xmlns="http://jabber.org/protocol/muc"/>'

Worlds = dict[str, World]


def run(folder: Path, work: Callable[[Worlds], Awaitable[None]], *, proven: bool = False) -> None:
    """`work` with both servers, bounded. `proven`: each can verify that the other is a Matrix server too."""

    async def main() -> None:
        async with linked(folder, HOME, AWAY, trusted=proven) as worlds:
            await work(worlds)

    asyncio.run(asyncio.wait_for(main(), 60))


async def hears(person: Person, pattern: str) -> str:
    """The first thing that comes and holds this."""
    async with asyncio.timeout(10):
        while True:
            came = await person.next()
            if re.search(pattern, came):
                return came


async def on_irc(world: World, name: str) -> IrcPerson:
    person = await world.person(name, "irc", "account", ["message-tags", "extended-join", "echo-message"])
    assert isinstance(person, IrcPerson)
    return person


async def on_xmpp(world: World, name: str) -> XmppPerson:
    person = await world.person(name, "xmpp", "account", [])
    assert isinstance(person, XmppPerson)
    return person


async def on_matrix(world: World, name: str) -> MatrixPerson:
    person = await world.person(name, "matrix", "account", [])
    assert isinstance(person, MatrixPerson)
    return person


async def here(worlds: Worlds) -> tuple[IrcPerson, XmppPerson, MatrixPerson, XmppPerson]:
    """One of each protocol in a room that was made by XMPP, and Pat of the other server outside."""
    bob = await on_xmpp(worlds[HOME], "bob")
    await bob.send(f'<presence to="{ROOM}/bob">{MUC}</presence>')
    await hears(bob, "<subject")
    form = '<x xmlns="jabber:x:data" type="submit"/>'
    await bob.send(
        f'<iq type="set" id="o" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#owner">{form}</query></iq>'
    )
    await hears(bob, "type='result' id='o'")
    alice = await on_irc(worlds[HOME], "alice")
    await alice.send("JOIN #tea")
    await hears(alice, " 366 ")
    carol = await on_matrix(worlds[HOME], "carol")
    await carol.send("POST /join/<#tea:example.org> {}")
    await hears(alice, ":carol!")
    await hears(bob, f"from='{ROOM}/carol'")
    await carol.pending()
    return alice, bob, carol, await on_xmpp(worlds[AWAY], "pat")


async def enters(pat: XmppPerson) -> None:
    await pat.send(f'<presence to="{ROOM}/Patty">{MUC}</presence>')
    await hears(pat, "<subject")


def test_a_room_made_by_xmpp_takes_them_in(tmp_path: Path) -> None:
    async def work(worlds: Worlds) -> None:
        alice, bob, carol, pat = await here(worlds)
        await enters(pat)
        # IRC: the nick of 1.7, with the address as realname; Matrix: a user of this server that says whose it is.
        joined = await hears(alice, " JOIN ")
        assert f":pat|{AWAY}!" in joined
        member = orjson.loads(await hears(carol, STAND_IN))
        assert member["sender"] == STAND_IN and member["content"]["membership"] == "join"
        assert member["content"]["displayname"] == "Patty"
        await carol.send(f"GET /profile/<{STAND_IN}>")
        assert carol.answer[1]["dev.tripoint.origin"] == {"proto": "xmpp", "id": f"pat@{AWAY}"}
        assert f"jid='pat@{AWAY}/desk'" in await hears(bob, f"from='{ROOM}/Patty'")

        # Said by each, heard by all, once.
        await pat.send(f'<message to="{ROOM}" type="groupchat" id="p1"><body>Hello from far</body></message>')
        assert f":pat|{AWAY}!" in await hears(alice, "PRIVMSG #tea :Hello from far")
        assert STAND_IN in await hears(carol, "Hello from far")
        assert f"from='{ROOM}/Patty'" in await hears(bob, "Hello from far")
        await hears(pat, "Hello from far")
        await alice.send(f"PRIVMSG #tea :pat|{AWAY}: welcome")
        told = await hears(pat, "<body>")
        assert f"from='{ROOM}/alice'" in told and "<body>Patty: welcome</body>" in told
        pill = orjson.loads(await hears(carol, "welcome"))
        assert pill["content"]["m.mentions"]["user_ids"] == [STAND_IN]
        await carol.send("say #tea:example.org and from Matrix")
        assert f"from='{ROOM}/carol'" in await hears(pat, "and from Matrix")
        for person in (alice, bob, carol, pat):
            assert not [text for text in await person.pending() if "Hello from far" in text]

        # Rights are those of the room, given from any side and used by him.
        await bob.send(
            f'<iq type="set" id="op" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#admin">'
            f'<item affiliation="admin" jid="pat@{AWAY}"/></query></iq>'
        )
        assert f" MODE #tea +o pat|{AWAY}" in await hears(alice, " MODE ")
        levels = orjson.loads(await hears(carol, "m.room.power_levels"))
        assert levels["content"]["users"][STAND_IN] == 50
        await hears(pat, "affiliation='admin'")
        await pat.send(f'<message to="{ROOM}" type="groupchat" id="t"><subject>Cake</subject></message>')
        assert (await hears(alice, " TOPIC ")).endswith(" TOPIC #tea :Cake")

        # Gone with the client: nothing on IRC and Matrix, where he is a member; unavailable on XMPP.
        await pat.send(f'<presence to="{ROOM}/Patty" type="unavailable"/>')
        await hears(pat, "type='unavailable'")
        await hears(bob, f"from='{ROOM}/Patty' type='unavailable'")
        assert not [line for line in await alice.pending() if " PART " in line or " QUIT " in line]
        assert not [event for event in await carol.pending() if '"leave"' in event]
        await alice.send("WHO #tea")
        assert " G" in await hears(alice, rf" 352 .*pat\|{re.escape(AWAY)} ")

        # And kicked from IRC, banned on Matrix: the same on all.
        await enters(pat)
        await bob.send(
            f'<iq type="set" id="op" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#admin">'
            '<item affiliation="owner" jid="alice@example.org"/></query></iq>'
        )
        await hears(alice, " MODE #tea ")
        await alice.send(f"KICK #tea pat|{AWAY} :enough")
        out = await hears(pat, "type='unavailable'")
        assert "<status code='307'/>" in out and "<reason>enough</reason>" in out
        await enters(pat)
        await bob.send(
            f'<iq type="set" id="b" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#admin">'
            f'<item affiliation="outcast" jid="pat@{AWAY}"/></query></iq>'
        )
        assert "<status code='301'/>" in await hears(pat, "type='unavailable'")
        assert '"ban"' in await hears(carol, '"ban"')
        await hears(alice, rf" KICK #tea pat\|{re.escape(AWAY)}")
        await pat.send(f'<presence to="{ROOM}/Patty">{MUC}</presence>')
        assert "<forbidden" in await hears(pat, "type='error'")

    run(tmp_path, work)


def test_who_is_let_in_is_said_on_every_protocol(tmp_path: Path) -> None:
    async def work(worlds: Worlds) -> None:
        alice, bob, carol, pat = await here(worlds)
        # A room made on IRC lets nobody of other servers in, until an owner says so.
        await alice.send("JOIN #pub")
        await hears(alice, " 366 ")
        pub = f"pub@rooms.{HOME}"
        await pat.send(f'<presence to="{pub}/pat">{MUC}</presence>')
        assert "<not-allowed" in await hears(pat, "type='error'")
        await alice.send(f"INVITE pat|{AWAY} #pub")
        assert "People of other XMPP servers cannot enter this room" in await hears(alice, "cannot enter")
        await alice.send("PRIVMSG ChanServ :SET #pub FOREIGN xmpp")
        await hears(alice, "FOREIGN of #pub is now xmpp")
        await pat.send(f'<presence to="{pub}/pat">{MUC}</presence>')
        await hears(pat, "<subject")
        await hears(alice, rf":pat\|{re.escape(AWAY)}!.* JOIN #pub")
        await alice.send("PRIVMSG ChanServ :INFO #pub")
        await hears(alice, "People of other XMPP servers may enter")
        # By Matrix, of the room that was made by XMPP.
        carols = await on_matrix(worlds[HOME], "bob")
        await carols.send('PUT /rooms/{#tea:example.org}/state/dev.tripoint.room.foreign {"xmpp": false}')
        assert carols.answer[0] == 200, carols.answer
        await hears(bob, "<status code='104'/>")
        await pat.send(f'<presence to="{ROOM}/pat">{MUC}</presence>')
        assert "<not-allowed" in await hears(pat, f"from='{ROOM}/pat'")
        await carol.send(f'POST /rooms/{{#tea:example.org}}/invite {{"user_id": "{STAND_IN}"}}')
        assert carol.answer[0] == 403
        assert carol.answer[1]["error"] == "People of other XMPP servers cannot enter this room"
        # By the form of XMPP, which opens it again; an invitation by Matrix reaches him by XMPP.
        form = (
            '<x xmlns="jabber:x:data" type="submit"><field var="https://tripoint.dev/ns#foreign"><value>1</value>'
            "</field></x>"
        )
        await bob.send(
            f'<iq type="set" id="f" to="{ROOM}"><query xmlns="http://jabber.org/protocol/muc#owner">{form}</query></iq>'
        )
        await hears(bob, "type='result' id='f'")
        await carols.send(f'POST /rooms/{{#tea:example.org}}/invite {{"user_id": "{STAND_IN}"}}')
        assert carols.answer[0] == 200, carols.answer
        invited = await hears(pat, "<invite ")
        assert f"from='{ROOM}'" in invited and "<invite from='bob@example.org'" in invited
        await pat.send(f'<presence to="{ROOM}/pat">{MUC}</presence>')
        await hears(pat, "<subject")
        # Rooms of other Matrix servers are not relayed to him.
        await pat.send(f'<presence to="x%far.example@rooms.{HOME}/pat">{MUC}</presence>')
        refused = await hears(pat, "type='error'")
        assert "<not-allowed" in refused and "join it through your own server" in refused

    run(tmp_path, work)


def test_a_server_that_is_both_is_one(tmp_path: Path) -> None:
    """docs/mapping.md 1.6, 23.4: its rooms are entered as Matrix rooms, under the addresses that they have there"""

    async def work(worlds: Worlds) -> None:
        ale = f"ale@rooms.{AWAY}"
        pat = await on_xmpp(worlds[AWAY], "pat")
        await pat.send(f'<presence to="{ale}/pat">{MUC}</presence>')
        await hears(pat, "<subject")
        form = '<x xmlns="jabber:x:data" type="submit"/>'
        await pat.send(
            f'<iq type="set" id="o" to="{ale}"><query xmlns="http://jabber.org/protocol/muc#owner">{form}</query></iq>'
        )
        await hears(pat, "type='result' id='o'")
        quin = await on_irc(worlds[AWAY], "quin")
        await quin.send("JOIN #ale")
        await hears(quin, " 366 ")
        bob = await on_xmpp(worlds[HOME], "bob")
        await bob.send(f'<presence to="{ale}/bob">{MUC}</presence>')
        await hears(bob, f"from='{ale}/quin'")
        assert f"jid='bob@{HOME}/desk'" in await hears(bob, f"from='{ale}/bob'.*code='110'")
        await hears(bob, f"<message from='{ale}.*<subject")
        # There he is a user of his own server, no stand-in.
        assert await hears(quin, " JOIN ") == f":bob:{HOME}!bob@{HOME} JOIN #ale bob:{HOME} :bob"
        # The same room on IRC and Matrix here, by its names there (3.2), and by both addresses on XMPP.
        alice = await on_irc(worlds[HOME], "alice")
        await alice.send(f"JOIN #ale:{AWAY}")
        await hears(alice, " 366 ")
        carol = await on_matrix(worlds[HOME], "carol")
        await carol.send(f"POST /join/<#ale:{AWAY}>?server_name={AWAY} {{}}")
        assert carol.answer[0] == 200, carol.answer
        dora = await on_xmpp(worlds[HOME], "dora")
        await dora.send(f'<presence to="ale%{AWAY}@rooms.{HOME}/dora">{MUC}</presence>')
        await hears(dora, "<subject")
        await bob.send(f'<message to="{ale}" type="groupchat" id="b1"><body>Hello from home</body></message>')
        for person in (pat, quin, alice, carol, dora, bob):
            await hears(person, "Hello from home")
        await quin.send("PRIVMSG #ale :Cheers")
        assert f"from='{ale}/quin'" in await hears(bob, "Cheers")
        assert f"from='ale%{AWAY}@rooms.{HOME}/quin'" in await hears(dora, "Cheers")
        # Asked of the room: whether he is in, what was said.
        await bob.send(f'<iq type="get" id="p" to="{ale}/bob"><ping xmlns="urn:xmpp:ping"/></iq>')
        await hears(bob, "type='result' id='p'")
        await bob.send(f'<iq type="set" id="q" to="{ale}"><query xmlns="urn:xmpp:mam:2" queryid="q"/></iq>')
        assert f"by='{ale}'" in await hears(bob, "<forwarded.*Cheers")

        # An invitation to a room there that nobody here is in is passed on: whoever gets it enters it so.
        invitation = f'<x xmlns="jabber:x:conference" jid="new@rooms.{AWAY}"/>'
        await bob.send(f'<message to="dora@{HOME}">{invitation}</message>')
        assert f"jid='new@rooms.{AWAY}'" in await hears(dora, "jabber:x:conference")

        # Pat is one user, by either name: what Bob writes to the address is in a room of both on Matrix.
        await bob.send(f'<message to="pat@{AWAY}" type="chat" id="d1"><body>Only us</body></message>')
        asked = await hears(pat, "talk to you")  # docs/mapping.md 15.5
        assert f"from='bob%{HOME}@matrix.{AWAY}'" in asked  # nobody has looked there yet
        await pat.send(f'<message to="bob@{HOME}" type="chat" id="d2"><body>Us two</body></message>')
        assert f"from='pat@{AWAY}'" in await hears(bob, "Us two")
        await bob.send(f'<message to="pat@{AWAY}" type="chat" id="d3"><body>Again</body></message>')
        assert f"from='bob@{HOME}'" in await hears(pat, "<body>Again")
        reader = worlds[HOME].app.middle.reader
        assert await reader.direct_room(f"@bob:{HOME}", f"@pat:{AWAY}") is not None
        assert await reader.direct_room(f"@bob:{HOME}", STAND_IN) is None

        # And nobody of a server that is proven comes in by XMPP alone, whoever's stanza it is.
        assert worlds[HOME].app.xmpp.domains.same.names == {AWAY}
        servers = worlds[HOME].app.xmpp.servers
        assert servers is not None and servers.deliver is not None
        (entering,) = parse_fragment(f"<presence from='pat@{AWAY}/desk' to='{ROOM}/pat' id='no'>{MUC}</presence>")
        await alice.send("JOIN #tea\r\nPRIVMSG ChanServ :SET #tea FOREIGN xmpp")
        await hears(alice, "FOREIGN of #tea")
        await servers.deliver(entering)
        refused = await hears(pat, "type='error'")
        assert "<not-allowed" in refused and "through it" in refused

    run(tmp_path, work, proven=True)


def test_without_proof_they_are_two(tmp_path: Path) -> None:
    """The keys say so and the domain does, but its certificate cannot be verified."""

    async def work(worlds: Worlds) -> None:
        pat = await on_xmpp(worlds[AWAY], "pat")
        bob = await on_xmpp(worlds[HOME], "bob")
        await bob.send(f'<message to="pat@{AWAY}" type="chat" id="d1"><body>Hello</body></message>')
        assert f"from='bob@{HOME}/desk'" in await hears(pat, "<body>Hello")
        reader = worlds[HOME].app.middle.reader
        assert await reader.direct_room(f"@bob:{HOME}", STAND_IN) is not None
        assert AWAY not in worlds[HOME].app.xmpp.domains.same.names
        await pat.send(f'<presence to="ale@rooms.{AWAY}/pat">{MUC}</presence>')
        await hears(pat, "<subject")
        form = '<x xmlns="jabber:x:data" type="submit"/>'
        owner = "http://jabber.org/protocol/muc#owner"
        await pat.send(f'<iq type="set" id="o" to="ale@rooms.{AWAY}"><query xmlns="{owner}">{form}</query></iq>')
        await hears(pat, "type='result' id='o'")
        # A plain room of another XMPP server, then; there he is let in as anybody of another server.
        await bob.send(f'<presence to="ale@rooms.{AWAY}/bob">{MUC}</presence>')
        assert f"jid='bob@{HOME}/desk'" in await hears(bob, f"from='ale@rooms.{AWAY}/bob'")
        away = worlds[AWAY].app.middle.reader
        room = await away.room(await away.resolve_alias(f"#ale:{AWAY}"))
        assert room.membership(f"@_xmpp_bob=40{HOME}:{AWAY}") == "join"

    run(tmp_path, work)
