"""Logging in with a certificate: CERT, SASL EXTERNAL, and who sees it. spec: IRCv3 sasl-3.1, RFC4422 A; mapping 18.1"""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.irc.server import SERVER, Client, TestServer, serve
from tests.irc.test_server import run
from tests.net.client_certificates import client_context, made_client
from tripoint.core.server_bans import BanKind, ServerBan
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

SERVICE = f":NickServ!NickServ@services.{SERVER} NOTICE"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[TestServer]:
    make_self_signed([SERVER], folder / "cert.pem", folder / "key.pem")
    async with serve(tls=ClientTls(ServerTls(folder / "cert.pem", folder / "key.pem"), b"irc")) as server:
        yield server


async def negotiating(server: TestServer, context: ssl.SSLContext, nick: str = "alice") -> tuple[Client, str]:
    """A client that has asked for SASL, and the mechanisms that it was offered."""
    client = await server.connect(context)
    client.send("CAP LS 302", f"NICK {nick}", f"USER {nick} 0 * :{nick}", "CAP REQ sasl")
    lines = await client.until(" ACK ")
    (sasl,) = (word for line in lines for word in line.split() if word.startswith("sasl="))
    return client, sasl.removeprefix("sasl=")


async def external(client: Client, authzid: str = "") -> str:
    """The answer to an exchange with this authorization identity."""
    client.send("AUTHENTICATE EXTERNAL")
    await client.until("AUTHENTICATE \\+")
    client.send(f"AUTHENTICATE {base64.b64encode(authzid.encode()).decode() or '+'}")
    return (await client.until(" 90[0-9] "))[-1]


async def logged_in(server: TestServer, context: ssl.SSLContext) -> Client:
    """A client that has logged in by its certificate."""
    client, offered = await negotiating(server, context)
    assert offered.startswith("EXTERNAL,")
    assert await external(client) == f":{SERVER} 900 alice alice!alice@{SERVER} alice :You are now logged in as alice"
    client.send("CAP END")
    await client.until(" 376 ")
    return client


async def with_password(server: TestServer, context: ssl.SSLContext, name: str) -> Client:
    if await server.middle.accounts.account(server.middle.accounts.user_id(name)) is None:
        await server.middle.accounts.add_account(name, "correct horse", admin=False)
    client = await server.connect(context)
    client.send(f"PASS :{name}:correct horse", f"NICK {name}", f"USER {name} 0 * :{name}")
    await client.until(" 376 ")
    return client


async def cert(client: Client, words: str, nick: str = "alice") -> list[str]:
    """What NickServ answers."""
    lines = await client.answer(f"NS CERT {words}")
    return [line.removeprefix(f"{SERVICE} {nick} :") for line in lines]


def test_from_adding_to_deleting(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            alice = await with_password(server, context, "alice")
            assert await cert(alice, "LIST") == ["End of certificates (0)"]
            assert await cert(alice, "ADD") == [f"You log in with certificate {shown} now"]
            again = await logged_in(server, context)
            assert await cert(again, "LIST") == [f"{shown} (of this connection)", "End of certificates (1)"]
            again.send("NS SESSIONS")
            assert any(f"(this one), with certificate {shown}" in line for line in await again.until("End of sessions"))
            # As whom: as its owner, whatever the case, and as nobody else.
            by_name, _ = await negotiating(server, context)
            assert " 900 " in await external(by_name, "ALICE")
            other, _ = await negotiating(server, context)
            assert await external(other, "bob") == f":{SERVER} 904 alice :This certificate is not one of that account"
            colons = ":".join(shown[at : at + 2] for at in range(0, 64, 2)).upper()
            assert await cert(again, f"DEL {colons}") == ["You do not log in with that certificate any more"]
            assert await cert(again, f"DEL {shown}") == ["That is none of your certificates"]
            gone, _ = await negotiating(server, context)
            assert " 904 alice :This certificate belongs to no account here" in await external(gone)

    run(scenario())


def test_it_is_offered_to_who_has_shown_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            client, offered = await negotiating(server, client_context())
            assert offered == "SCRAM-SHA-256-PLUS,SCRAM-SHA-256,PLAIN,OAUTHBEARER"
            client.send("AUTHENTICATE EXTERNAL")
            await client.expect(
                f":{SERVER} 908 alice {offered} :are available SASL mechanisms",
                f":{SERVER} 904 alice :SASL authentication failed",
            )
            context, _ = made_client(tmp_path, "phone")
            client, offered = await negotiating(server, context, "bob")
            assert offered == "EXTERNAL,SCRAM-SHA-256-PLUS,SCRAM-SHA-256,PLAIN,OAUTHBEARER"
            client.send("AUTHENTICATE EXTERNAL", "AUTHENTICATE AGE=")
            await client.until("904 bob :The SASL message is malformed")

    run(scenario())


def test_a_certificate_is_one_accounts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            eve = await with_password(server, client_context(), "eve")
            # Eve names a certificate that is not hers, which gives her nothing; alice, who has its key, takes it back.
            assert await cert(eve, f"ADD {shown}", "eve") == [f"You log in with certificate {shown} now"]
            alice = await with_password(server, context, "alice")
            assert await cert(alice, "ADD") == [f"You log in with certificate {shown} now"]
            assert await cert(eve, "LIST", "eve") == ["End of certificates (0)"]
            taken = "Another account logs in with that certificate; connect with it to show that it is yours"
            assert await cert(eve, f"ADD {shown}", "eve") == [taken]
            await logged_in(server, context)

    run(scenario())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("ADD", "You have shown no certificate: say its fingerprint, or connect with it"),
        ("ADD 123", "The fingerprint of a certificate is its SHA-256"),
        (f"ADD {'g' * 64}", "The fingerprint of a certificate is its SHA-256"),
        ("DEL nothing", "The fingerprint of a certificate is its SHA-256"),
        ("DEL", "CERT ADD [<fingerprint>], CERT DEL <fingerprint> and CERT LIST is what I know"),
        ("FROB", "CERT ADD [<fingerprint>], CERT DEL <fingerprint> and CERT LIST is what I know"),
        ("", "Usage: CERT ADD|DEL|LIST [<fingerprint>]: the certificates with which you log in"),
    ],
)
def test_what_is_no_request(tmp_path: Path, words: str, answer: str) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            alice = await with_password(server, client_context(), "alice")
            (told,) = await cert(alice, words)
            assert told.startswith(answer)

    run(scenario())


def test_an_account_has_so_many(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            alice = await with_password(server, client_context(), "alice")
            for number in range(16):
                await cert(alice, f"ADD {number:064x}")
            full = "An account has at most 16 certificates; take some away first"
            assert await cert(alice, f"ADD {16:064x}") == [full]
            # One that it has already is no other one.
            assert await cert(alice, f"ADD {15:064x}") == [f"You log in with certificate {15:064x} now"]
            guest = await server.connect(client_context())
            guest.send("NICK gus", "USER g 0 * :g")
            await guest.until(" 376 ")
            assert await cert(guest, "LIST", "gus") == ["You have no account here; REGISTER makes one"]

    run(scenario())


def test_who_sees_it(tmp_path: Path) -> None:
    """spec: Modern IRC, RPL_WHOISCERTFP (276): the user and operators"""

    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            alice = await with_password(server, context, "alice")
            bob = await with_password(server, client_context(), "bob")
            await server.middle.accounts.add_account("olga", "correct horse", admin=True)
            olga = await with_password(server, client_context(), "olga")
            olga.send("OPER olga :correct horse")
            await olga.until(" 008 ")
            for client, nick, sees in ((alice, "alice", True), (bob, "bob", False), (olga, "olga", True)):
                told = await client.answer("WHOIS alice")
                line = f":{SERVER} 276 {nick} alice :has client certificate fingerprint {shown}"
                assert (line in told) is sees
            assert not any(" 276 " in line for line in await bob.answer("WHOIS bob"))

    run(scenario())


def test_locked_banned_and_closed_accounts(tmp_path: Path) -> None:
    """As with a password. spec: docs/mapping.md 9.4, 18.3"""

    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, _ = made_client(tmp_path, "phone")
            accounts = server.middle.accounts
            alice = await with_password(server, context, "alice")
            await cert(alice, "ADD")
            user_id = accounts.user_id("alice")

            async def refused() -> str:
                client, _ = await negotiating(server, context, "elsewhere")
                return (await external(client)).removeprefix(f":{SERVER} 904 elsewhere :")

            await accounts.set_locked(user_id, True)
            assert await refused() == "This account is locked"
            await accounts.set_locked(user_id, False)
            await logged_in(server, context)
            await accounts.bans.put(ServerBan(BanKind.KLINE, "alice@*", "spam", "@op:x", 0))
            assert "spam" in await refused()
            await accounts.deactivate(user_id)
            assert (await refused()).startswith("This certificate belongs to no account here")

    run(scenario())
