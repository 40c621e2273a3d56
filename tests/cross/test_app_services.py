"""An application service (a bridge) among people of all three protocols.

spec: Matrix application-service-api; docs/mapping.md 1.12
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.cross.world import ROOMS, IrcPerson, MatrixPerson, World, XmppPerson, world
from tests.support.app_service import TOKEN, Asked, registered
from tests.support.loopback_service import LoopbackService, loopback_service

PREFIX = {
    "users": [{"regex": "@irc_.*", "exclusive": True}],
    "aliases": [{"regex": "#irc_.*", "exclusive": True}],
}


async def _heard(person: IrcPerson | XmppPerson, what: str) -> str:
    """The next thing that came in which this stands."""
    while what not in (found := await person.next()):
        pass
    return found


# rows: 25 room name kept for a bridge
@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
def test_names_of_a_bridge_are_refused_on_every_protocol(tmp_path: Path, sockets: bool) -> None:
    """Accounts, and rooms; in each protocol's own words, with the same sentence."""
    sentence = "That name is kept for a bridge of this server"
    room_sentence = "That room name is kept for a bridge of this server"

    async def work() -> None:
        change = partial(_with_service, tmp_path)
        async with world(tmp_path / "data", sockets=sockets, change=change) as at:
            stranger = await at.person("x", "irc", "stranger", [])
            assert isinstance(stranger, IrcPerson)
            await stranger.send("CAP REQ :draft/account-registration standard-replies\r\nNICK x\r\nUSER x 0 * :x")
            await stranger.send("REGISTER irc_bob * :correct horse")
            assert f"FAIL REGISTER BAD_ACCOUNT_NAME irc_bob :{sentence}" in await _heard(stranger, "FAIL REGISTER")
            # As a guest neither, and not in other letters.
            await stranger.send("NICK Irc_Bob\r\nCAP END")
            assert sentence in await _heard(stranger, " 433 ")
            jabberer = await at.person("y", "xmpp", "stranger", [])
            assert isinstance(jabberer, XmppPerson)
            await jabberer.send(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>irc_bob</username>"
                "<password>correct horse</password></query></iq>"
            )
            refused = await _heard(jabberer, "type='error'")
            assert "<not-acceptable" in refused and sentence in refused
            body: Any = {"username": "irc_bob", "password": "correct horse", "auth": {"type": "m.login.dummy"}}
            status, answer = await at.http("POST", "/register", body, None, "")
            assert (status, answer["errcode"], answer["error"]) == (400, "M_EXCLUSIVE", sentence)

            alice, bob = await at.person("alice", "irc", "account", []), await at.person("bob", "xmpp", "account", [])
            carol = await at.person("carol", "matrix", "account", [])
            assert isinstance(alice, IrcPerson) and isinstance(bob, XmppPerson) and isinstance(carol, MatrixPerson)
            await alice.send("JOIN #irc_tea")
            assert room_sentence in await _heard(alice, " 476 ")
            muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
            await bob.send(f"<presence to='irc_tea@{ROOMS}/bob'>{muc}</presence>")
            refused = await _heard(bob, "type='error'")
            assert "<not-allowed" in refused and room_sentence in refused
            status, answer = await carol.call("POST", "/createRoom", {"room_alias_name": "irc_tea"})
            assert (status, answer["errcode"], answer["error"]) == (400, "M_EXCLUSIVE", room_sentence)
            # The bridge itself may, and then everybody comes in.
            wanted = {"room_alias_name": "irc_tea", "preset": "public_chat"}
            status, answer = await _service(at, "POST", "/createRoom", wanted)
            assert status == 200, answer
            await alice.send("JOIN #irc_tea")
            await _heard(alice, " 366 ")
            await bob.send(f"<presence to='irc_tea@{ROOMS}/bob'>{muc}</presence>")
            await _heard(bob, "<subject")

    asyncio.run(work())


# rows: 1.12
@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
def test_a_user_of_a_bridge_is_one_of_everybody(tmp_path: Path, sockets: bool) -> None:
    """The bridge makes rooms and users when they are wanted, over loopback HTTP; its user speaks and is spoken to on
    all three protocols, under an ordinary nick, and is seen to be a bot."""

    async def work() -> None:
        async with loopback_service() as service:
            change = partial(_with_service, tmp_path, url=f"http://127.0.0.1:{service.port}/bridge", bot=True)
            async with world(tmp_path / "data", sockets=sockets, change=change) as at:
                service.answer = partial(_made, at)
                alice = await at.person("alice", "irc", "account", ["message-tags", "echo-message"])
                bob = await at.person("bob", "xmpp", "account", [])
                carol = await at.person("carol", "matrix", "account", [])
                assert isinstance(alice, IrcPerson) and isinstance(bob, XmppPerson) and isinstance(carol, MatrixPerson)
                await _in_the_room(at, service, alice, bob, carol)
                await _by_themselves(service, alice, bob, carol)

    asyncio.run(work())


async def _in_the_room(
    at: World, service: LoopbackService, alice: IrcPerson, bob: XmppPerson, carol: MatrixPerson
) -> None:
    # Nobody has made the room: whoever enters it first has it made.
    await alice.send("JOIN #irc_tea")
    await _heard(alice, " 366 ")
    await bob.send(f"<presence to='irc_tea@{ROOMS}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    await _heard(bob, "<subject")
    status, joined = await carol.call("POST", f"/join/{quote('#irc_tea:example.org')}", {})
    assert status == 200, joined
    made = [unquote(asked.path) for asked in service.asked if asked.method == "GET"]
    assert made == ["/bridge/_matrix/app/v1/rooms/#irc_tea:example.org"]
    await carol.start()
    # Its user enters and speaks.
    zoe, room = "@irc_zoe:example.org", quote(joined["room_id"])
    await _register(at, "irc_zoe")
    assert (await _service(at, "POST", f"/join/{room}", {}, f"user_id={quote(zoe)}"))[0] == 200
    said = {"msgtype": "m.text", "body": "hello from afar"}
    path = f"/rooms/{room}/send/m.room.message/1"
    assert (await _service(at, "PUT", path, said, f"user_id={quote(zoe)}"))[0] == 200
    line = await _heard(alice, "hello from afar")
    assert ":irc_zoe!irc_zoe@example.org PRIVMSG #irc_tea :hello from afar" in line
    assert ";bot" in line.partition(" ")[0] or line.startswith("@bot"), "spec: IRCv3 bot-mode"
    assert f"from='irc_tea@{ROOMS}/irc_zoe'" in await _heard(bob, "hello from afar")
    assert zoe in await carol.next() + await carol.next()
    # All of them are heard by it.
    await alice.send("PRIVMSG #irc_tea :from irc")
    await bob.send(f"<message to='irc_tea@{ROOMS}' type='groupchat'><body>from xmpp</body></message>")
    await carol.send("say #irc_tea:example.org from matrix")
    await service.until(lambda: {"from irc", "from xmpp", "from matrix"} <= set(service.texts()))
    senders = {e["content"]["body"]: e["sender"] for e in service.heard() if e["type"] == "m.room.message"}
    assert senders["from irc"] == "@alice:example.org" and senders["from xmpp"] == "@bob:example.org"
    # What it is: a bot, and said so where each protocol says it.
    await alice.send("WHOIS irc_zoe")
    assert " 335 alice irc_zoe " in await _heard(alice, " 335 ")
    await alice.send("WHO #irc_tea")
    flags = (await _heard(alice, " 352 alice #irc_tea irc_zoe ")).split(" :")[0].rsplit(" ", 1)[1]
    assert "B" in flags
    about = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    for number, address in enumerate((f"irc_tea@{ROOMS}/irc_zoe", "irc_zoe@example.org")):
        await bob.send(f"<iq type='get' id='d{number}' to='{address}'>{about}</iq>")
        assert "category='client' type='bot'" in await _heard(bob, f"id='d{number}'")
    await bob.send(f"<iq type='get' id='d3' to='irc_tea@{ROOMS}/alice'>{about}</iq>")
    assert "type='bot'" not in await _heard(bob, "id='d3'")


async def _by_themselves(service: LoopbackService, alice: IrcPerson, bob: XmppPerson, carol: MatrixPerson) -> None:
    """To users of the bridge whom nobody has seen yet."""
    await alice.send("PRIVMSG irc_one :hello one")
    await _heard(alice, "hello one")
    await bob.send("<message to='irc_two@example.org' type='chat'><body>hello two</body></message>")
    status, _ = await carol.call("POST", "/createRoom", {"invite": ["@irc_three:example.org"], "is_direct": True})
    assert status == 200
    await service.until(lambda: {"hello one", "hello two"} <= set(service.texts()))
    await service.until(lambda: any(e.get("state_key") == "@irc_three:example.org" for e in service.heard()))
    # Rooms as well, by whatever protocol they are wanted; they are the bridge's, not his who came first.
    await bob.send(f"<presence to='irc_cellar@{ROOMS}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    own = await _heard(bob, f"from='irc_cellar@{ROOMS}/bob'")
    assert "code='110'" in own and "code='201'" not in own and "affiliation='owner'" not in own
    assert (await carol.call("POST", f"/join/{quote('#irc_attic:example.org')}", {}))[0] == 200
    asked = {unquote(asked.path).rpartition("/")[2] for asked in service.asked if "/rooms/" in asked.path}
    assert asked == {f"#irc_{name}:example.org" for name in ("tea", "cellar", "attic")}
    await alice.send("JOIN #irc_nobody")
    assert "That room name is kept for a bridge" in await _heard(alice, " 476 ")
    await alice.send("WHOIS irc_nobody")
    await _heard(alice, " 401 alice irc_nobody ")


async def _made(at: World, asked: Asked) -> tuple[int, Any]:
    """The bridge makes what it is asked for, but for nobody."""
    what, _, name = unquote(asked.path).rpartition("/")
    if "nobody" in name:
        return 404, {"errcode": "NOT_HERE"}
    if what.endswith("/users"):
        await _register(at, name[1:].partition(":")[0])
    elif what.endswith("/rooms"):
        wanted = {"room_alias_name": name[1:].partition(":")[0], "preset": "public_chat"}
        assert (await _service(at, "POST", "/createRoom", wanted))[0] == 200
    return 200, {}


async def _register(at: World, name: str) -> None:
    body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
    status, answer = await _service(at, "POST", "/register", body)
    assert status == 200, answer


def test_another_registration_waits_for_a_restart(tmp_path: Path) -> None:
    """On SIGHUP and REHASH, though the option that names the file is the same."""
    waits = "These wait for a restart: matrix.app_services"

    async def work() -> None:
        async with world(tmp_path / "data", sockets=False, change=partial(_with_service, tmp_path)) as at:
            assert waits not in await at.app.reload(at.app.config)
            _with_service(tmp_path, at.app.config, bot=True)
            assert waits in await at.app.reload(at.app.config)
            (tmp_path / "service0.yaml").write_text("half of")
            assert waits in await at.app.reload(at.app.config)

    asyncio.run(work())


def _with_service(folder: Path, config: Any, *, url: str | None = None, bot: bool = False) -> Any:
    return registered(folder, config=config, namespaces=PREFIX, url=url, **{"dev.tripoint.bot": bot})


async def _service(at: World, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
    """A request of the service."""
    return await at.http(method, path, body, TOKEN, query)
