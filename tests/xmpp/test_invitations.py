"""Invitations to become a contact.  spec: XEP-0401 5.1, 5.3.1; XEP-0379 3.4, 3.5"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tests.xmpp.server import SERVER, Client, TestServer, serve
from tripoint.xmpp.c2s.invitations import INVITATIONS, LIFE_MS, MAX_OPEN

COMMANDS = "http://jabber.org/protocol/commands"
ALICE, BOB, CAROL = f"alice@{SERVER}", f"bob@{SERVER}", f"carol@{SERVER}"


def play(work: Callable[[TestServer, Client, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serve() as server:
            alice, bob = await server.online("alice"), await server.online("bob")
            for client in (alice, bob):
                await client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
            await work(server, alice, bob)

    asyncio.run(asyncio.wait_for(main(), 30))


async def invite(client: Client, server: str = SERVER) -> str:
    """The answer to the command."""
    command = f"<command xmlns='{COMMANDS}' node='urn:xmpp:invite#invite' action='execute'/>"
    return await client.ask(f"<iq type='set' id='i' to='{server}'>{command}</iq>")


async def token_of(client: Client, server: str = SERVER) -> str:
    answer = await invite(client, server)
    found = re.search(r"<value>xmpp:([^?]*)\?roster;preauth=([\w-]{20,})</value>", answer)
    assert found is not None and "status='completed'" in answer, answer
    assert found[1] == client.jid.partition("/")[0]
    return found[2]


def subscribe(to: str, token: str) -> str:
    return f"<presence to='{to}' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>"


async def roster(client: Client) -> str:
    return await client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")


def test_the_command_is_for_everybody() -> None:
    """spec: XEP-0401 3, example 4"""

    async def work(server: TestServer, alice: Client, bob: Client) -> None:
        items = f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>"
        listed = await alice.ask(f"<iq type='get' id='l' to='{SERVER}'>{items}</iq>")
        assert "node='urn:xmpp:invite#invite'" in listed
        answer = await invite(alice)
        assert "<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:invite#invitation</value></field>" in answer
        assert re.search(r"<field var='expire'[^>]*><value>\d{4}-\d\d-\d\dT[\d:]+(\.\d+)?Z</value>", answer)
        # Nobody who is invited makes an account by it.
        assert "ibr" not in answer

    play(work)


def test_both_are_contacts_at_once() -> None:
    """Without a word of the inviter, who sees the other as soon as he lets her."""

    async def work(server: TestServer, alice: Client, bob: Client) -> None:
        token = await token_of(alice)
        bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
        bob.send(subscribe(ALICE, token))
        await alice.skip()
        await bob.skip()
        assert f"<item jid='{BOB}' subscription='both'/>" in await roster(alice)
        assert f"<item jid='{ALICE}' subscription='both'/>" in await roster(bob)
        bob.send("<presence><show>away</show></presence>")
        await alice.expect(f"<presence from='{BOB}/…<show>away</show>…")
        alice.send("<presence><show>dnd</show></presence>")
        text = await bob.xml()
        while "<show>dnd</show>" not in text:
            text = await bob.xml()

    play(work)


def test_who_has_not_approved_is_asked() -> None:
    """spec: XEP-0379 3.5"""

    async def work(server: TestServer, alice: Client, bob: Client) -> None:
        token = await token_of(alice)
        await alice.close()
        bob.send(subscribe(ALICE, token))
        heard = "".join(await bob.skip())
        assert f"<presence from='{ALICE}' type='subscribed'" in heard
        assert f"<presence from='{ALICE}' type='subscribe'" in heard
        assert f"<item jid='{ALICE}' subscription='to'/>" in await roster(bob)
        bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
        await bob.skip()
        again = await server.online("alice")
        assert f"<item jid='{BOB}' subscription='both'/>" in await roster(again)

    play(work)


def test_a_token_is_good_once_for_one_person_and_for_a_week() -> None:
    async def work(server: TestServer, alice: Client, bob: Client) -> None:
        carol = await server.online("carol")
        token = await token_of(alice)
        # It is alice's, and nobody else's.
        bob.send(subscribe(CAROL, token))
        await carol.expect(f"<presence from='{BOB}' type='subscribe'…")
        bob.send(subscribe(ALICE, token))
        await bob.skip()
        await alice.skip()
        carol.send(subscribe(ALICE, token))
        await alice.expect(f"<presence from='{CAROL}' type='subscribe'…")
        late = await token_of(alice)
        accounts = server.middle.accounts
        kept = await accounts.account_data(accounts.user_id("alice"), None, INVITATIONS)
        assert kept is not None and late not in str(kept) and len(kept["tokens"]) == 1  # type: ignore[arg-type]
        over = {"tokens": {digest: ends - LIFE_MS for digest, ends in kept["tokens"].items()}}  # type: ignore[union-attr]
        await accounts.set_account_data(accounts.user_id("alice"), None, INVITATIONS, over)
        dave = await server.online("dave")
        dave.send(subscribe(ALICE, late))
        await alice.expect(f"<presence from='dave@{SERVER}' type='subscribe'…")
        dave.send(f"<presence to='{ALICE}' type='subscribe'><preauth xmlns='urn:xmpp:pars:0'/></presence>")
        await alice.quiet()

    play(work)


def test_so_many_wait_at_most() -> None:
    async def work(server: TestServer, alice: Client, bob: Client) -> None:
        for _ in range(MAX_OPEN):
            await token_of(alice)
        assert "<resource-constraint " in await invite(alice)

    play(work)


def test_somebody_of_another_server(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        for client in (alice, bob):
            await roster(client)
        token = await token_of(alice, ONE)
        bob.send(f"<presence to='alice@{ONE}' type='subscribed'/>")
        bob.send(subscribe(f"alice@{ONE}", token))
        text = ""
        while f"from='alice@{ONE}/r'" not in text:
            text = await bob.xml()
        while f"from='bob@{TWO}/r'" not in text:
            text = await alice.xml()
        assert f"<item jid='bob@{TWO}' subscription='both'/>" in await roster(alice)
        assert f"<item jid='alice@{ONE}' subscription='both'/>" in await roster(bob)

    run(tmp_path, work)
