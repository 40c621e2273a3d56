"""What no client should send, over a real socket: each is answered by its rule, and the next line is read.

spec: RFC2812 2.3; IRCv3 message-tags "Size limit", capability-negotiation, sasl-3.1, multiline; docs/mapping.md 10.9
"""

from __future__ import annotations

import asyncio

import pytest

from tests.irc.server import serve
from tests.irc.test_server import run

_ALIVE = b"\r\nPING alive\r\n"

# What is sent, and what of the answer must come before the PONG, in order; nothing else comes.
BAD_LINES = {
    "half a line, and its other half": (b"PI", b"NG half\r\n", [":example.org PONG example.org half"]),
    "a line that ends with LF": (b"PING lf\n", b"", [":example.org PONG example.org lf"]),
    "a line that ends with CR CR LF": (b"PING cr\r\r\n", b"", [":example.org PONG example.org cr"]),
    "nothing but line ends": (b"\r\n\n\r\n\r\r\n", b"", []),
    "spaces alone": (b"      \r\n", b"", []),
    "NUL in a line": (b"PING a\0b\r\n", b"", [":example.org 400 gus * :A line must not hold NUL or CR"]),
    "CR in a line": (b"PING a\rb\r\n", b"", [":example.org 400 gus * :A line must not hold NUL or CR"]),
    "a line of 511 bytes": (b"PRIVMSG gus :" + b"x" * 498 + b"\r\n", b"", [":example.org 417 gus :*"]),
    "a line of 8 kB": (b"PING " + b"x" * 8192 + b"\r\n", b"", [":example.org 417 gus :*"]),
    "a line of 8 kB in pieces": (b"PING " + b"x" * 4000, b"x" * 4192 + b"\r\n", [":example.org 417 gus :*"]),
    "tags of 4095 bytes": (b"@a=" + b"x" * 4093 + b" PING tags\r\n", b"", [":example.org 417 gus :*"]),
    "tags of 4094 bytes": (
        b"@a=" + b"x" * 4092 + b" PING tags\r\n",
        b"",
        [":example.org PONG example.org tags"],
    ),
    "tags and no command": (b"@a=b\r\n", b"", [":example.org 400 gus * :A line must begin with a command"]),
    "a source and no command": (b":gus!a@b\r\n", b"", [":example.org 400 gus * :A line must begin with a command"]),
    "no letters": (b"\xff\xfe\xfd\r\n", b"", [":example.org 400 gus * :A line must begin with a command"]),
    "text that is not UTF-8": (
        b"PRIVMSG nobody :caf\xe9\r\n",
        b"",
        [
            ":example.org NOTICE gus :PRIVMSG: Your message was not UTF-8 and was read as Windows-1252",
            ":example.org 401 gus nobody :There is no such user",
        ],
    ),
    "a UTF-8 sequence that is cut": (
        b"PRIVMSG nobody :\xf0\x9f\x8d\r\n",
        b"",
        [
            ":example.org NOTICE gus :PRIVMSG: Your message was not UTF-8 and was read as Windows-1252",
            ":example.org 401 gus nobody :There is no such user",
        ],
    ),
    "a nick that is not UTF-8": (
        b"WHOIS \xff\xff\r\n",
        b"",
        [
            ":example.org NOTICE gus :WHOIS: Your message was not UTF-8 and was read as Windows-1252",
            ":example.org 401 gus *",
            ":example.org 318 gus *",
        ],
    ),
    "more than fifteen parameters": (
        b"PING " + b" ".join(b"%d" % number for number in range(40)) + b"\r\n",
        b"",
        [":example.org PONG example.org 0"],
    ),
    "a command that is none": (b"FLY away\r\n", b"", [":example.org 421 gus FLY :Unknown command"]),
    "a command of a server": (b"SERVER a.b 1 :c\r\n", b"", [":example.org 421 gus SERVER :Unknown command"]),
    "a numeric": (b"001 gus :Welcome\r\n", b"", [":example.org 421 gus 001 :Unknown command"]),
    "the source of somebody else": (
        b":nick!user@host PRIVMSG nobody :x\r\n",
        b"",
        [":example.org 401 gus nobody :There is no such user"],
    ),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_answered_and_the_next_one_is_read(name: str) -> None:
    first, second, wanted = BAD_LINES[name]

    async def scenario() -> None:
        async with serve() as server:
            gus = await server.guest("gus")
            gus.send_bytes(first)
            if second:
                await asyncio.sleep(0)  # the halves may be read together or one after the other: it must not matter
                gus.send_bytes(second)
            gus.send_bytes(_ALIVE.lstrip() if first.endswith(b"\n") or second.endswith(b"\n") else _ALIVE)
            await gus.expect(*wanted, ":example.org PONG example.org alive")

    run(scenario())


def test_a_thousand_capability_requests() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send(*["CAP REQ :echo-message", "CAP REQ :-echo-message nonsense"] * 500)
            client.send("NICK gus", "USER g 0 * :g", "CAP END")
            lines = await client.until(" 376 ")
            assert sum(" ACK " in line for line in lines) == 500
            assert sum(" NAK " in line for line in lines) == 500
            client.send(*["CAP LS 302"] * 200, "PING end")
            assert any("PONG" in line for line in await client.until("PONG example.org end"))

    run(scenario())


def test_a_storm_of_nicks() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send(*[f"NICK n{number}" for number in range(500)], "USER g 0 * :g")
            await client.until(" 001 n499 ")
            await client.until(" 376 ")
            client.send(*[f"NICK m{number}" for number in range(200)])
            await client.until(r"NICK m199$")
            assert server.front.names.user("n499") is None
            assert server.front.names.user("m198") is None
            assert server.front.names.user("m199") is not None
            assert len(server.middle.accounts.guests) == 1

    run(scenario())


def test_sasl_given_up_again_and_again() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send("CAP REQ sasl", "NICK gus", "USER g 0 * :g")
            for _ in range(200):
                client.send("AUTHENTICATE PLAIN", "AUTHENTICATE *")
            client.send("AUTHENTICATE PLAIN", "AUTHENTICATE " + "A" * 400, "AUTHENTICATE *", "AUTHENTICATE *")
            client.send("AUTHENTICATE PLAIN", "CAP END")
            lines = await client.until(" 376 ")
            # The last exchange is given up by registering.
            assert sum(" 906 " in line for line in lines) == 203

    run(scenario())


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["@batch=a PRIVMSG #tea :x"] * 129, "MULTILINE_MAX_LINES"),
        (["@batch=a PRIVMSG #tea :" + "x" * 480] * 40, "MULTILINE_MAX_BYTES"),
        (["@batch=a PRIVMSG #milk :x"], "MULTILINE_INVALID_TARGET"),
        (["@batch=a NOTICE #tea :x"] * 2, None),
        (["@batch=b PRIVMSG #tea :x"], "MULTILINE_INVALID"),
        (["@batch=a TOPIC #tea :x"], "MULTILINE_INVALID"),
    ],
)
def test_batches_that_cannot_be(lines: list[str], code: str | None) -> None:
    async def scenario() -> None:
        async with serve() as server:
            gus = await server.guest("gus", "batch", "draft/multiline", "message-tags", "standard-replies")
            await gus.answer("JOIN #tea")
            gus.send("BATCH +a draft/multiline #tea", *lines, "BATCH -a")
            got = await gus.answer()
            failed = [line for line in got if " FAIL " in line]
            if code is None:
                assert failed == []
            else:
                assert len(failed) == 1 and f" FAIL BATCH {code} " in failed[0], got
            await gus.quiet()

    run(scenario())
