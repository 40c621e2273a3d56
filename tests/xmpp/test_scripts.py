"""Every file in scripts/ is a script over real sockets, TCP and WebSocket; its first line names the spec.

`name = online [resource]` and `name = bound [resource]` connect (the account is the name without digits);
`name > xml` sends; `name < xml` is the next stanza that must come, `…` standing for anything; `name ~ xml` comes
at some point, whatever comes before; `name -` says that nothing comes; `name ...` reads what is there.
"""

import asyncio
import pathlib
import re

import pytest

from tests.xmpp.server import Client, TestServer, serve

SCRIPTS = sorted((pathlib.Path(__file__).parent / "scripts").glob("*.txt"))


async def play(server: TestServer, text: str) -> None:
    """Run one script; an AssertionError names its line."""
    clients: dict[str, Client] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, sign, rest = [*line.split(None, 2), "", ""][:3]
        try:
            await step(server, clients, name, sign, rest.replace("\\n", "\n"))
        except AssertionError as error:
            raise AssertionError(f"line {number}: {line}\n{error}") from error


async def step(server: TestServer, clients: dict[str, Client], name: str, sign: str, rest: str) -> None:
    if sign == "=":
        kind, resource = [*rest.split(), "r"][:2]
        connect = server.online if kind == "online" else server.bound
        clients[name] = await connect(name.rstrip("0123456789"), resource)
    elif sign == ">":
        clients[name].send(rest)
    elif sign == "<":
        await clients[name].expect(rest)
    elif sign == "~":
        await eventually(clients[name], rest)
    elif sign == "-":
        await clients[name].quiet()
    elif sign == "...":
        await clients[name].skip()
    elif sign == "closed":
        try:
            await clients[name].stanza()
        except EOFError:
            return
        raise AssertionError("the stream is still open")
    elif sign == "drop":
        await clients[name].close()
    else:
        raise AssertionError("not a line of a script")


async def eventually(client: Client, wanted: str) -> None:
    pattern = ".*".join(map(re.escape, wanted.split("…")))
    seen: list[str] = []
    while not seen or not re.fullmatch(pattern, seen[-1], re.S):
        try:
            seen.append(await client.xml())
        except (TimeoutError, EOFError) as error:
            raise AssertionError(f"{wanted} did not come; there came {seen}") from error


@pytest.mark.parametrize("web", [False, True], ids=["tcp", "websocket"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: pathlib.Path, web: bool) -> None:
    text = path.read_text()

    async def run() -> None:
        async with serve(web=web) as server:
            await play(server, text)

    assert "spec:" in text.splitlines()[0]
    asyncio.run(run())
