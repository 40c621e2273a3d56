"""Every command with every kind of odd parameter, and noise: the server answers by its rules and lives.

spec: RFC2812 5 (errors); a 400 with "The server failed" would be a bug that the connection caught.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.irc.server import serve
from tripoint.irc.registry import COMMANDS

ODD = (
    "",
    "*",
    "#",
    "#tea",
    "#TEA",
    "#mine",
    "#mine",
    "#no",
    "#~x-abcdef",
    "#a:b:c",
    "#x:remote.org",
    "#" + "x" * 300,
    "alice",
    "bob:remote.org",
    "bob:[::1]",
    "@a:b",
    "nick!*@*",
    "~a:alice",
    "~m:~a:alice",
    "~q:x",
    "*!guest-1@*",
    "+o",
    "+oooo",
    "-i",
    "+bbbb",
    "b",
    "+k",
    "%tcuihsnfdlaor,1",
    "%,",
    "C>1,T<9,!x,>0,#*",
    "[(*?\\",
    "0",
    "NickServ",
    "a,b,#c,#d,alice",
    "LS",
    "REQ",
    ":",
    "é\u202e\u0301",
    "\x01PING\x01",
    "\x02\x03\x04",
)


@pytest.mark.parametrize("seed", range(3))
def test_no_command_fails_on_odd_parameters(seed: int) -> None:
    noise = random.Random(seed)
    names = sorted(set(COMMANDS) - {"QUIT"})

    async def run() -> None:
        async with serve() as server:
            watcher = await server.account("alice")
            await watcher.answer("JOIN #tea", "MODE #tea -R")
            for kind in (server.account, server.guest):
                client = await kind("odd" + kind.__name__, "message-tags", "standard-replies")
                await client.answer("JOIN #tea,#mine")
                for name in names:
                    lines = []
                    for count in (1, 2, 3, 5):
                        words = [noise.choice(ODD) for _ in range(count)]
                        last = " :" + words.pop()
                        tags = noise.choice(("", "@+reply=x;+draft/react=y ", "@+typing=active ", "@label=a "))
                        lines.append(f"{tags}{name} {' '.join(word for word in words if word)}{last}"[:500])
                    for line in await client.answer(*lines):
                        assert " 400 " not in line, (lines, line)
            assert await watcher.answer() is not None

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("seed", range(3))
def test_noise_before_and_after_registration(seed: int) -> None:
    noise = random.Random(seed)

    async def run() -> None:
        async with serve() as server:
            raw = await server.connect()
            raw.send_bytes(noise.randbytes(20_000) + b"\r\n")
            raw.send("NICK raw", "USER raw 0 * :raw")
            await raw.until(" 376 ")
            raw.send_bytes(b"\r\n" + noise.randbytes(20_000) + b"\r\n")
            raw.send_bytes(b"\r\n".join(noise.randbytes(80) for _ in range(200)) + b"\r\n")
            raw.send_bytes(b"x" * 100_000 + b"\r\n")
            raw.send("PING end")
            await raw.until("PONG example.org end")

    asyncio.run(asyncio.wait_for(run(), 60))
