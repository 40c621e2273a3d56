"""Whose a connection is, as its machine says. spec: RFC1413 4, 6"""

import asyncio

import pytest

from tests.support.middle import run
from tripoint.net import ident, strangers
from tripoint.net.ident import parse_reply, user_of
from tripoint.net.strangers import Known, Strangers


@pytest.mark.parametrize(
    ("line", "user"),
    [
        (b"6193, 23 : USERID : UNIX : stjohns\r\n", "stjohns"),
        (b"6193,23:userid:OTHER:j.doe\r\n", "j.doe"),
        (b"6193, 23 : USERID : UNIX,US-ASCII : a_b~c\n", "a_b~c"),
        (b"6195, 23 : ERROR : NO-USER\r\n", None),
        (b"6193, 24 : USERID : UNIX : stjohns\r\n", None),
        (b"23, 6193 : USERID : UNIX : stjohns\r\n", None),
        (b"6193, 23 : USERID : UNIX : a b\r\n", None),
        (b"6193, 23 : USERID : UNIX : a!b@c\r\n", None),
        (b"6193, 23 : USERID : UNIX : \xff\r\n", None),
        (b"6193, 23 : USERID : UNIX :\r\n", None),
        (b"6193, 23 : USERID : UNIX : " + b"x" * 33 + b"\r\n", None),
        (b"", None),
        (b"::::\r\n", None),
    ],
)
def test_replies(line: bytes, user: str | None) -> None:
    assert parse_reply(line, 6193, 23) == user


async def _answering(reply: bytes, asked: list[bytes]) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(reply)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("reply", "user"),
    [(b"5000, 6667 : USERID : UNIX : tea\r\n", "tea"), (b"", None), (b"x" * 5000, None)],
)
def test_a_machine_is_asked(reply: bytes, user: str | None) -> None:
    async def work() -> None:
        asked: list[bytes] = []
        server = await _answering(reply, asked)
        port = server.sockets[0].getsockname()[1]
        assert await user_of("127.0.0.1", 5000, 6667, port=port) == user
        assert asked == [b"5000, 6667\r\n"]
        server.close()
        await server.wait_closed()
        assert await user_of("127.0.0.1", 5000, 6667, port=port) is None

    run(work)


def test_it_is_asked_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def said(address: str, theirs: int, ours: int, *, port: int = ident.PORT) -> str | None:
        if address == "8.8.4.5":
            await asyncio.Event().wait()
        return f"u{theirs}-{ours}"

    monkeypatch.setattr(strangers, "user_of", said)
    monkeypatch.setattr(strangers, "IDENT_S", 0.01)

    async def work() -> None:
        known = Strangers(None, ident=True)  # type: ignore[arg-type]
        assert known.asks
        assert await known.look_up("8.8.4.4", (5000, 6667)) == Known(ident="u5000-6667")
        assert await known.look_up("8.8.4.4") == Known()
        assert await known.look_up("8.8.4.5", (5000, 6667)) == Known()
        assert await known.look_up("127.0.0.1", (5000, 6667)) == Known()
        known.change((), hostnames=False)
        assert not known.asks

    run(work)
