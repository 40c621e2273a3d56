"""Every file in transcripts/ is a script over real sockets; its first line names the spec.

``name = guest [caps]``, ``account`` and ``admin`` (an administrator who has sent OPER) connect, ``raw`` does so and
says nothing yet; ``name > line`` sends;
``name < line`` is the next line that must come (``*`` stands for anything); ``name -`` says that nothing comes.
"""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from tests.irc.server import Client, TestServer, serve

SCRIPTS = sorted((pathlib.Path(__file__).parent / "transcripts").glob("*.txt"))


async def play(server: TestServer, text: str) -> None:
    """Run one script; an AssertionError names its line."""
    clients: dict[str, Client] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        name, sign, rest = [*raw.split(None, 2), "", ""][:3]
        rest = rest.encode().decode("unicode_escape").encode("latin-1").decode() if "\\" in rest else rest
        try:
            await step(server, clients, name, sign, rest)
        except AssertionError as error:
            raise AssertionError(f"line {number}: {raw}\n{error}") from error


async def step(server: TestServer, clients: dict[str, Client], name: str, sign: str, rest: str) -> None:
    if sign == "=":
        kind, *caps = rest.split()
        if kind == "raw":
            clients[name] = await server.connect()
            return
        connect = {"guest": server.guest, "account": server.account, "admin": server.admin}[kind]
        clients[name] = await connect(name.rstrip("0123456789"), *caps)
    elif sign == ">":
        clients[name].send(rest)
    elif sign == "<":
        await clients[name].expect(rest)
    elif sign == "-":
        await clients[name].quiet()
    else:
        raise AssertionError("not a line of a script")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: pathlib.Path) -> None:
    text = path.read_text()

    async def run() -> None:
        async with serve() as server:
            await play(server, text)

    assert "spec:" in text.splitlines()[0]
    asyncio.run(run())
