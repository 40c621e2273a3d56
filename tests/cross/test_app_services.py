"""An application service (a bridge) among people of all three protocols.

spec: Matrix application-service-api; docs/mapping.md 1.12
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cross.world import ROOMS, IrcPerson, MatrixPerson, World, XmppPerson, world
from tests.support.app_service import TOKEN, registered

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


def _with_service(folder: Path, config: Any) -> Any:
    return registered(folder, config=config, namespaces=PREFIX)


async def _service(at: World, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
    """A request of the service."""
    return await at.http(method, path, body, TOKEN, query)
