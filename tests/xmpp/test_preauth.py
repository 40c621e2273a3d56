"""Accounts for who was invited: tokens that are shown before registering, and made by administrators.

spec: XEP-0445, XEP-0401 5.4
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.support.terms import ACCEPTED, TERMS
from tests.xmpp.server import CONFIG, SERVER, Client, TestServer, serve
from tripoint.core.ids import UserId
from tripoint.store.writes import PutRegistrationToken

TOKEN_FEATURE = "urn:xmpp:ibr-token:0"
FOR_EVER = None


def by_token(work: Callable[[TestServer], Awaitable[None]], mode: str = "token") -> None:
    async def go() -> None:
        async with serve(config=replace(CONFIG, accounts=replace(CONFIG.accounts, registration=mode))) as server:
            await work(server)

    asyncio.run(go())


async def stranger(server: TestServer) -> Client:
    client = await server.connect()
    features = await client.open()
    assert features.child("register", TOKEN_FEATURE) is not None
    return client


async def show(client: Client, token: str) -> str:
    preauth = f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>"
    return await client.ask(f"<iq type='set' to='{SERVER}' id='pa1'>{preauth}</iq>")


async def register(client: Client, name: str) -> str:
    return await client.ask(
        f"<iq type='set' to='{SERVER}' id='r1'><query xmlns='jabber:iq:register'>"
        f"<username>{name}</username><password>correct horse</password></query></iq>"
    )


def test_a_token_is_shown_and_used_up_by_registering_alone() -> None:
    """spec: XEP-0445 4, examples 2 to 4"""

    async def work(server: TestServer) -> None:
        await server.middle.accounts.registration_tokens.add("TOKEN", 1, FOR_EVER)
        juliet = await stranger(server)
        assert "type='error'" in await register(juliet, "juliet")
        for wrong in ("OTHER", ""):
            assert "type='cancel'><item-not-found " in await show(juliet, wrong)
        assert re.fullmatch(f"<iq type='result' id='pa1' from='{SERVER}'/>", await show(juliet, "TOKEN"))
        # shown twice, it is still good: nobody has registered with it
        nurse = await stranger(server)
        assert "type='result'" in await show(nurse, "TOKEN")
        form = await juliet.ask(f"<iq type='get' to='{SERVER}' id='g'><query xmlns='jabber:iq:register'/></iq>")
        assert "<username/><password/></query>" in form
        assert "type='result'" in await register(juliet, "juliet")
        await juliet.log_in("juliet", "correct horse", "balcony")
        assert "type='error'" in await register(nurse, "nurse")
        assert "<item-not-found " in await show(nurse, "TOKEN")

    by_token(work)


def test_that_a_token_expires_counts_when_it_is_shown() -> None:
    """spec: XEP-0445 4: what comes after MUST NOT be refused because it expired meanwhile"""

    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        await accounts.registration_tokens.add("TOKEN", 1, FOR_EVER)
        juliet = await stranger(server)
        assert "type='result'" in await show(juliet, "TOKEN")
        await server.middle.stream.commit([PutRegistrationToken("TOKEN", 1, 1000)])
        assert "<item-not-found " in await show(await stranger(server), "TOKEN")
        assert "type='result'" in await register(juliet, "juliet")

    by_token(work)


COMMAND = "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#create-account'"


async def invite(client: Client, username: str) -> str:
    form = f"<x xmlns='jabber:x:data' type='submit'><field var='username'><value>{username}</value></field></x>"
    return await client.ask(f"<iq type='set' to='{SERVER}' id='exec2'>{COMMAND}>{form}</command></iq>")


def token_in(answer: str, at: str) -> str:
    found = re.search(rf"<value>xmpp:{at}\?register;preauth=([\w-]+)</value>.*var='expire'.*<value>20", answer)
    assert found is not None, answer
    return found[1]


def test_administrators_invite() -> None:
    """spec: XEP-0401 5.4, examples 5 to 8"""

    async def work(server: TestServer) -> None:
        await server.middle.accounts.add_account("romeo", "correct horse", admin=True)
        await server.middle.accounts.add_account("bard", "correct horse", admin=False)
        ask = f"<iq type='set' to='{SERVER}' id='exec1'>{COMMAND} action='execute'/></iq>"
        assert "<forbidden " in await (await server.online("bard")).ask(ask)
        romeo = await server.online("romeo")
        assert "<field var='username' type='text-single' " in await romeo.ask(ask)
        answer = await invite(romeo, "")
        assert "<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:invite#invitation</value></field>" in answer
        juliet = await stranger(server)
        assert "type='result'" in await show(juliet, token_in(answer, SERVER))
        assert "type='result'" in await register(juliet, "juliet")

    by_token(work)


@pytest.mark.parametrize("mode", ["token", "open"])
def test_a_name_is_kept_for_who_was_invited(mode: str) -> None:
    """spec: XEP-0401 6.2, XEP-0445 5: the server MUST reserve the username"""

    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        await accounts.add_account("romeo", "correct horse", admin=True)
        await accounts.registration_tokens.add("ANY", None, FOR_EVER)
        romeo = await server.online("romeo")
        token = token_in(await invite(romeo, "Juliet"), f"juliet@{SERVER}")
        # taken by an account, or kept already; no name at all
        assert "<conflict " in await invite(romeo, "romeo")
        assert "<conflict " in await invite(romeo, "ju1iet")
        assert "<not-acceptable " in await invite(romeo, "a b")
        nurse = await stranger(server)
        await show(nurse, "ANY")
        assert "<conflict " in await register(nurse, "juliet")
        if mode == "token":
            await show(nurse, token)
            assert "<not-acceptable " in await register(nurse, "nurse")
        juliet = await stranger(server)
        assert "type='result'" in await show(juliet, token)
        assert "type='result'" in await register(juliet, "juliet")
        assert "<item-not-found " in await show(juliet, token)

    by_token(work, mode)


def test_a_name_is_free_again_when_the_token_has_expired() -> None:
    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        await accounts.registration_tokens.add("ANY", None, FOR_EVER)
        await accounts.registration_tokens.add("OLD", 1, -1, username="juliet")
        juliet = await stranger(server)
        await show(juliet, "ANY")
        assert "type='result'" in await register(juliet, "juliet")

    by_token(work)


def test_nobody_is_invited_to_a_closed_server() -> None:
    async def work(server: TestServer) -> None:
        await server.middle.accounts.add_account("romeo", "correct horse", admin=True)
        romeo = await server.online("romeo")
        assert "<not-allowed " in await romeo.ask(f"<iq type='set' to='{SERVER}' id='e'>{COMMAND}/></iq>")
        assert "<not-allowed " in await invite(romeo, "juliet")
        client = await server.connect()
        assert (await client.open()).child("register", TOKEN_FEATURE) is None

    by_token(work, "closed")


def test_where_an_address_is_needed_accounts_are_made_elsewhere() -> None:
    async def work() -> None:
        config = replace(CONFIG, accounts=replace(CONFIG.accounts, registration="open", email_required=True))
        async with serve(config=config) as server:
            client = await server.connect()
            features = await client.open()
            assert features.child("register", "http://jabber.org/features/iq-register") is None

    asyncio.run(work())


def test_terms_are_boxes_of_the_form() -> None:
    """spec: XEP-0077 4, XEP-0004 3.3: a boolean field"""

    async def work(server: TestServer) -> None:
        await server.middle.accounts.registration_tokens.add("TOKEN", 1, FOR_EVER)
        client = await stranger(server)
        form = await client.ask(f"<iq type='get' to='{SERVER}' id='g'><query xmlns='jabber:iq:register'/></iq>")
        address = "https://example.org/somewhere/terms-1.2-en.html"
        assert f"Terms of Service ({address}), Privacy &lt;policy&gt; (https" in form
        assert f"type='boolean' label='I have read and accept: Terms of Service, {address}'" in form
        assert "var='terms:terms_of_service:1.2'" in form and "var='token'" in form
        # A client that fills in no form has accepted nothing.
        await show(client, "TOKEN")
        answer = await register(client, "juliet")
        assert "<not-acceptable " in answer and f"accept first: Terms of Service ({address})" in answer

        async def fill(**boxes: str) -> str:
            values = {
                "FORM_TYPE": "jabber:iq:register",
                "username": "juliet",
                "password": "correct horse",
                "terms:terms_of_service:1.2": boxes.get("terms", "1"),
                "terms:privacy:3": boxes.get("privacy", "true"),
            }
            fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
            return await client.ask(
                f"<iq type='set' to='{SERVER}' id='r2'><query xmlns='jabber:iq:register'>"
                f"<x xmlns='jabber:x:data' type='submit'>{fields}</x></query></iq>"
            )

        answer = await fill(privacy="0")
        assert "accept first: Privacy" in answer and "Terms of Service" not in answer
        assert "type='result'" in await fill()
        found = await server.middle.accounts.administration.accepted(UserId(f"@juliet:{SERVER}"))
        assert {one.document: one.version for one in found} == ACCEPTED

    async def go() -> None:
        accounts = replace(CONFIG.accounts, registration="token", terms=TERMS)
        async with serve(config=replace(CONFIG, accounts=accounts)) as server:
            await work(server)

    asyncio.run(go())
