"""D-lines over real sockets: an address is kept out of every protocol, and what is connected from it is closed.

The machine has more than one address of its own: who is banned comes from 127.0.0.2. spec: docs/mapping.md 9.4
"""

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.cross.world import PASSWORD, PATIENCE_S, SERVER, IrcPerson, World, world
from tripoint.accounts.ports import Account, LogIn
from tripoint.core.server_bans import BanKind, ServerBan

ELSEWHERE = "127.0.0.2"
_STREAM = (
    f"<?xml version='1.0'?><stream:stream to='{SERVER}' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_HTTP = f"GET /_matrix/client/versions HTTP/1.1\r\nhost: {SERVER}\r\nconnection: close\r\n\r\n"


async def _ask(at: World, protocol: str, address: str, text: str, *, whole: bool) -> bytes:
    """What is answered to a connection from this address: until the server ends it, or the first piece of it."""
    port = at.app.ports[protocol][0]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(text.encode())
        async with asyncio.timeout(PATIENCE_S):
            return await (reader.read() if whole else reader.read(4096))
    finally:
        writer.close()


def test_an_address_is_kept_out_of_everything(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path / "data", sockets=True) as at:
            bans = at.app.middle.accounts.bans
            here = await at.person("alice", "irc", "account", [])
            assert isinstance(here, IrcPerson)
            port = at.app.ports["irc"][0]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ELSEWHERE, 0))
            writer.write(b"NICK gus\r\nUSER gus 0 * :gus\r\n")
            stream, stream_writer = await asyncio.open_connection(
                "127.0.0.1", at.app.ports["xmpp"][0], local_addr=(ELSEWHERE, 0)
            )
            stream_writer.write(_STREAM.encode())
            async with asyncio.timeout(PATIENCE_S):
                await reader.readuntil(b" 376 ")
                await stream.readuntil(b"</stream:features>")
            await bans.put(ServerBan(BanKind.DLINE, "127.0.0.2/31", "spam", "@op:example.org", 0))
            async with asyncio.timeout(PATIENCE_S):
                assert b"ERROR :Closing link: You are banned from this server: spam\r\n" in await reader.read()
                ended = await stream.read()
            assert b"<policy-violation" in ended and b"You are banned from this server: spam" in ended
            writer.close()
            stream_writer.close()
            assert await here.pending() == []

            refused = await _ask(at, "irc", ELSEWHERE, "", whole=True)
            assert refused == b"ERROR :Closing link: You are banned from this server: spam\r\n"
            refused = await _ask(at, "xmpp", ELSEWHERE, _STREAM, whole=True)
            assert b"<policy-violation" in refused and b"<stream:features>" not in refused
            refused = await _ask(at, "http", ELSEWHERE, _HTTP, whole=True)
            assert refused.startswith(b"HTTP/1.1 403 ") and b'"M_FORBIDDEN"' in refused

            await bans.drop(BanKind.DLINE, "127.0.0.2/31")
            assert b" 376 " in await _ask(at, "irc", ELSEWHERE, "NICK gus\r\nUSER g 0 * :g\r\nQUIT\r\n", whole=True)
            assert (await _ask(at, "http", ELSEWHERE, _HTTP, whole=True)).startswith(b"HTTP/1.1 200 ")

    asyncio.run(asyncio.wait_for(run(), 60))


def test_administrators_ban_on_xmpp_too(tmp_path: Path) -> None:
    """The address is the session's own: nobody bans himself. spec: docs/mapping.md 9.4, 18.1"""

    def dline(words: str) -> str:
        node = "https://tripoint.dev/ns#service/operserv/dline"
        return (
            f"<iq type='set' id='c' to='{SERVER}'><command xmlns='http://jabber.org/protocol/commands' node='{node}'>"
            "<x xmlns='jabber:x:data' type='submit'>"
            f"<field var='words'><value>{words}</value></field></x></command></iq>"
        )

    async def run() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            await at.app.middle.accounts.add_account("boss", PASSWORD, admin=True)
            boss = await at.person("boss", "xmpp", "account", [])
            for words, said in (
                ("ADD 127.0.0.0/8 all", "That would ban yourself"),
                ("ADD 7d 192.0.2.0/24 spam", "D-line on 192.0.2.0/24, until "),
                ("LIST", "192.0.2.0/24: until "),
                ("DEL 192.0.2.0/24", "The D-line on 192.0.2.0/24 is off"),
            ):
                await boss.send(dline(words))
                answer = await boss.next()
                assert said in answer, answer

    asyncio.run(asyncio.wait_for(run(), 60))


def test_who_is_banned_while_he_logs_in_does_not_stay(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            accounts = at.app.middle.accounts
            await accounts.register("eve", PASSWORD, address="x")
            log_in = accounts.log_in

            async def banned_meanwhile(account: Account, **how: Any) -> LogIn:
                await accounts.bans.put(ServerBan(BanKind.KLINE, "eve@*", "spam", "@op:example.org", 0))
                return await log_in(account, **how)

            accounts.log_in = banned_meanwhile  # type: ignore[method-assign, assignment]  # to act in between
            secret = base64.b64encode(f"\0eve\0{PASSWORD}".encode()).decode()
            irc = await at.connect("irc")
            irc.send(b"CAP REQ sasl\r\nNICK eve\r\nUSER e 0 * :e\r\nAUTHENTICATE PLAIN\r\n")
            irc.send(f"AUTHENTICATE {secret}\r\nCAP END\r\n".encode())
            with contextlib.suppress(EOFError):
                while True:
                    await irc.more()
            assert irc.buffer.endswith(b"ERROR :Closing link: You are banned from this server: spam\r\n")
            assert not list(at.app.irc.network.sessions)

            await accounts.bans.drop(BanKind.KLINE, "eve@*")
            with pytest.raises((EOFError, AssertionError)):
                await at.person("eve", "xmpp", "account", [])
            assert at.app.xmpp.users.live(accounts.user_id("eve")) is None

    asyncio.run(asyncio.wait_for(run(), 60))
