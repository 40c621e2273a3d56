"""IRC over WebSockets, against the library's own client. What is behind is the same connection as over TCP.

spec: IRCv3 websocket "WebSocket features and encoding"; RFC6455
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.cross.world import PASSWORD, PATIENCE_S, SERVER, World, world
from tripoint.core.server_bans import BanKind, ServerBan
from tripoint.irc.web import BINARY, LIMIT_BYTES, PATH, TEXT


def on_server(folder: Path, work: Callable[[World], Awaitable[None]]) -> None:
    async def go() -> None:
        async with world(folder / "data", sockets=True) as at:
            await work(at)

    asyncio.run(asyncio.wait_for(go(), 60))


async def come(at: World, *subprotocols: str, headers: Sequence[tuple[str, str]] = ()) -> ClientConnection:
    return await connect(
        f"ws://127.0.0.1:{at.app.ports['http'][0]}{PATH}",
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        additional_headers=headers,
        compression=None,
        proxy=None,
    )


async def until(client: ClientConnection, words: str) -> list[str | bytes]:
    """Messages up to the one that holds these words."""
    got: list[str | bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message = await client.recv()
            got.append(message)
            text = message if isinstance(message, str) else message.decode()
            assert "\r" not in text and "\n" not in text
            if words in text:
                return got


@pytest.mark.parametrize(("subprotocol", "kind"), [(TEXT, str), (BINARY, bytes)])
def test_a_line_is_a_message(tmp_path: Path, subprotocol: str, kind: type) -> None:
    async def work(at: World) -> None:
        client = await come(at, subprotocol)
        assert client.subprotocol == subprotocol
        for line in ("NICK gus", "USER g 0 * :g"):
            await client.send(line if kind is str else line.encode())
        assert all(type(message) is kind for message in await until(client, " 376 "))
        # Either kind of message is taken, and one that ends as a line does too.
        await client.send("JOIN #tea\r\n")
        await until(client, " 366 ")
        other = await at.person("bob", "irc", "account", [])
        await other.send("JOIN #tea")
        await until(client, "JOIN #tea")
        await client.send("PRIVMSG #tea :né\N{TEACUP WITHOUT HANDLE}".encode())
        while "PRIVMSG" not in (line := await other.next()):
            pass
        assert line.endswith(" PRIVMSG #tea :né\N{TEACUP WITHOUT HANDLE}")
        await client.send("QUIT :bye")
        await until(client, "ERROR :Closing link: Quit: bye")
        with pytest.raises(ConnectionClosed):
            await client.recv()

    on_server(tmp_path, work)


def test_the_client_says_which_it_likes_best(tmp_path: Path) -> None:
    async def work(at: World) -> None:
        for wish in ((TEXT, BINARY), (BINARY, TEXT), ("chat", BINARY)):
            client = await come(at, *wish)
            assert client.subprotocol == next(name for name in wish if name != "chat")
            await client.close()
        with pytest.raises(InvalidStatus) as refused:
            await come(at, "chat")
        assert refused.value.response.status_code == 400

    on_server(tmp_path, work)


def test_who_names_none_gets_text(tmp_path: Path) -> None:
    """spec: "servers could accept either incoming message type, while using a fixed ... type for outgoing messages" """

    async def work(at: World) -> None:
        client = await come(at)
        assert client.subprotocol is None
        await client.send("NICK gus")
        await client.send(b"USER g 0 * :g")
        assert all(type(message) is str for message in await until(client, " 376 "))
        await client.close()

    on_server(tmp_path, work)


def test_bad_messages(tmp_path: Path) -> None:
    async def work(at: World) -> None:
        client = await come(at, TEXT)
        for line in ("NICK gus", "USER g 0 * :g"):
            await client.send(line)
        await until(client, " 376 ")
        for bad, answer in (
            ("PING a\r\nPING b", " 400 gus * :A line must not hold NUL or CR"),
            ("PING a\nPING b", " 400 gus * :A line must not hold NUL or CR"),
            ("PING " + "x" * 600, " 417 gus :Input line was too long"),
            (b"PRIVMSG gus :caf\xe9", "was read as Windows-1252"),
        ):
            await client.send(bad)
            got = await until(client, answer)
            assert len(got) == 1
        await client.send("")
        await client.send("PING alive")
        await until(client, "PONG example.org alive")
        await client.send("x" * (LIMIT_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await until(client, "never")
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009

    on_server(tmp_path, work)


def test_passwords_bans_and_other_addresses(tmp_path: Path) -> None:
    async def work(at: World) -> None:
        await at.app.middle.accounts.register("alice", PASSWORD, address="x")
        secret = base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode()

        async def log_in(headers: Sequence[tuple[str, str]]) -> str:
            client = await come(at, TEXT, headers=headers)
            for line in ("CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {secret}", "PING end"):
                await client.send(line)
            said = " ".join(map(str, await until(client, "PONG")))
            await client.close()
            return said

        # From this machine, and from elsewhere where the proxy says that it was over TLS.
        assert " 903 " in await log_in(())
        assert " 903 " not in await log_in((("X-Forwarded-For", "192.0.2.1"),))
        secure = (("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"))
        assert " 903 " in await log_in(secure)
        client = await come(at, TEXT, headers=secure)
        await at.app.middle.accounts.bans.put(ServerBan(BanKind.DLINE, "192.0.2.0/24", "", "@op:x", 0))
        await until(client, "ERROR :Closing link: You are banned from this server")
        client = await come(at, TEXT, headers=secure)
        assert await client.recv() == "ERROR :Closing link: You are banned from this server"

    on_server(tmp_path, work)


def test_a_page_that_goes_away_is_gone(tmp_path: Path) -> None:
    async def work(at: World) -> None:
        client = await come(at, TEXT)
        for line in ("NICK gus", "USER g 0 * :g"):
            await client.send(line)
        await until(client, f":{SERVER} 376 ")
        await client.send("JOIN #tea")
        await until(client, " 366 ")
        eve = await at.person("eve", "irc", "guest", [])
        await eve.send("JOIN #tea")
        await eve.pending()
        await client.close()
        assert (await eve.next()).endswith(" QUIT :Connection closed")
        assert at.app.irc.connections == 1

    on_server(tmp_path, work)
