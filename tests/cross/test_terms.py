"""Documents are accepted before an account is made, on every protocol, and what was accepted is kept alike.

spec: docs/mapping.md 18, Matrix client-server-api "Terms of service at registration", XEP-0077 4
"""

# rows: 18 Accept terms (`accounts.terms`), 18 Accept newer terms (`accounts.terms_for_all`)

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.cross.test_foreign_people import hears
from tests.cross.world import PASSWORD, SERVER, IrcPerson, MatrixPerson, World, XmppPerson, config
from tests.support.terms import ACCEPTED, TERMS
from tripoint.core.ids import UserId
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir
from tripoint.store.memory import MemoryStore

ADDRESS = "https://example.org/somewhere/terms-1.2-en.html"


async def accepted(here: World, name: str) -> dict[str, str]:
    found = await here.app.middle.accounts.administration.accepted(UserId(f"@{name}:{SERVER}"))
    return {one.document: one.version for one in found}


async def on_matrix(here: World) -> None:
    carol = await here.person("carol", "matrix", "stranger", [])
    assert isinstance(carol, MatrixPerson)
    body = {"username": "carol", "password": PASSWORD}
    status, asked = await carol.call("POST", "/register", body)
    assert (status, asked["flows"]) == (401, [{"stages": ["m.login.terms"]}])
    assert asked["params"]["m.login.terms"]["policies"]["terms_of_service"]["en"]["url"] == ADDRESS
    auth = {"type": "m.login.terms", "session": asked["session"]}
    status, made = await carol.call("POST", "/register", {**body, "auth": auth})
    assert (status, made["user_id"]) == (200, f"@carol:{SERVER}")


async def on_irc(here: World) -> None:
    alice = await here.person("alice", "irc", "guest", ["standard-replies"])
    assert isinstance(alice, IrcPerson)
    await alice.send(f"REGISTER * * :{PASSWORD}")
    assert "NickServ TERMS" in await hears(alice, " FAIL REGISTER TEMPORARILY_UNAVAILABLE ")
    await alice.send("NS TERMS")
    assert ADDRESS in await hears(alice, "NOTICE alice :Terms of Service, version 1.2")
    await alice.send("NS TERMS ACCEPT")
    await hears(alice, "You have accepted that")
    await alice.send(f"REGISTER * * :{PASSWORD}")
    await hears(alice, " REGISTER SUCCESS alice ")


async def on_xmpp(here: World) -> None:
    bob = await here.person("bob", "xmpp", "stranger", [])
    assert isinstance(bob, XmppPerson)

    async def fill(agreed: str) -> None:
        values = {
            "FORM_TYPE": "jabber:iq:register",
            "username": "bob",
            "password": PASSWORD,
            "terms:terms_of_service:1.2": agreed,
            "terms:privacy:3": "1",
        }
        fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
        form = f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>"
        await bob.send(f"<iq type='set' id='r{agreed}'><query xmlns='jabber:iq:register'>{form}</query></iq>")

    await bob.send("<iq type='get' id='g'><query xmlns='jabber:iq:register'/></iq>")
    assert ADDRESS in await hears(bob, "id='g'")
    await fill("0")
    refused = await hears(bob, "id='r0'")
    assert "<not-acceptable " in refused and ADDRESS in refused
    await fill("1")
    assert "type='result'" in await hears(bob, "id='r1'")


def test_nobody_gets_an_account_without(tmp_path: Path) -> None:
    async def main() -> None:
        made = config(tmp_path, listening=False)
        made = replace(made, accounts=replace(made.accounts, terms=TERMS))
        app = App(made, DataDir(tmp_path), MemoryStore())
        await app.start()
        here = World(app, sockets=False)
        try:
            await on_matrix(here)
            await on_irc(here)
            await on_xmpp(here)
            for name in ("alice", "bob", "carol"):
                assert await accepted(here, name) == ACCEPTED, name
        finally:
            await here.close()
            await app.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_accounts_that_exist_are_asked_on_every_protocol(tmp_path: Path) -> None:
    page = "/account?action=terms"

    async def main() -> None:
        made = config(tmp_path, listening=False)
        made = replace(made, accounts=replace(made.accounts, terms_for_all=True))
        app = App(made, DataDir(tmp_path), MemoryStore())
        await app.start()
        here = World(app, sockets=False)
        try:
            alice = await here.person("alice", "irc", "account", ["standard-replies"])
            bob = await here.person("bob", "xmpp", "account", [])
            carol = await here.person("carol", "matrix", "account", [])
            assert isinstance(carol, MatrixPerson)
            await alice.send("JOIN #tea")
            await hears(alice, " 366 ")
            app.middle.reload(replace(made, accounts=replace(made.accounts, terms=TERMS)))
            # docs/mapping.md 18.1: nobody says anything, and everybody hears what there is to read, and where.
            await alice.send("PRIVMSG #tea :hello")
            told = await hears(alice, " FAIL PRIVMSG TERMS_NOT_ACCEPTED ")
            assert ADDRESS in told and page in told
            await bob.send(f"<presence to='tea@rooms.{SERVER}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            told = await hears(bob, "type='error'")
            assert "<policy-violation " in told and ADDRESS in told and page.replace("&", "&amp;") in told
            status, answer = await carol.call("POST", "/join/%23tea%3A" + SERVER, {})
            assert (status, answer["errcode"]) == (403, "M_CONSENT_NOT_GIVEN") and answer["consent_uri"].endswith(page)
            await alice.send("NS TERMS")
            await hears(alice, "NOTICE alice :If you have read")
            await alice.send("NS TERMS ACCEPT")
            await hears(alice, "NOTICE alice :You have accepted that")
            await alice.send("TOPIC #tea :hello")
            await hears(alice, " TOPIC #tea :hello")
            assert await accepted(here, "alice") == ACCEPTED and await accepted(here, "bob") == {}
        finally:
            await here.close()
            await app.stop()

    asyncio.run(asyncio.wait_for(main(), 60))
