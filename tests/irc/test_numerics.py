"""Every numeric that the server knows is sent by a test, and means what the specifications say where it comes.

spec: RFC2812 5; Modern IRC "Numerics"
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.irc.server import OPTIONS, serve, with_limits
from tests.irc.test_server import run
from tripoint.irc import numerics
from tripoint.irc.tables import MAX_SILENCED

NUMERICS = {value: name for name, value in vars(numerics).items() if name.startswith(("RPL_", "ERR_"))}
HERE = Path(__file__).parent
# Where lines are that a client must have got: scripts, and strings of tests.
SCRIPTS = (*(HERE / "transcripts").glob("*.txt"), *(HERE.parent / "cross/scripts").glob("*.txt"))
_EXPECTED = re.compile(r"^\S+(?: irc)? [<~] (?:@\S+ )?(?::\S+|\*) (\d{3}) ", re.MULTILINE)
_IN_A_TEST = re.compile(r"[\":* ](\d{3}) (?:[\w*{\[]|\")")


def test_every_numeric_is_sent_by_some_test() -> None:
    sent: set[str] = set()
    for path in SCRIPTS:
        sent.update(_EXPECTED.findall(path.read_text("utf-8")))
    for path in HERE.glob("test_*.py"):
        sent.update(_IN_A_TEST.findall(path.read_text("utf-8")))
    assert sorted(f"{value} {name}" for value, name in NUMERICS.items() if value not in sent) == []


def test_no_numeric_is_kept_that_nothing_sends() -> None:
    sources = (HERE.parents[1] / "src/tripoint/irc").rglob("*.py")
    used = {name for path in sources for name in re.findall(r"\bn\.((?:RPL|ERR)_\w+)", path.read_text("utf-8"))}
    assert sorted(set(NUMERICS.values()) - used) == []


def test_the_first_lines() -> None:
    async def scenario() -> None:
        async with serve(options=replace(OPTIONS, motd="", icon_url="https://example.org/i.png")) as server:
            client = await server.connect()
            client.send("NICK gus", "USER g 0 * :g")
            await client.expect(
                ":example.org 001 gus :Welcome to the example.org network, gus!guest-1@*.guest.example.org",
                ":example.org 002 gus :Your host is example.org, running version tripoint*",
                ":example.org 003 gus :This server was started * UTC",
                ":example.org 004 gus example.org tripoint* BRZiosw CIRSabcehiklmnopqstv :Iabehkloqv",
            )
            lines = await client.until(" 422 ")
            assert lines[-1] == ":example.org 422 gus :MOTD File is missing"
            tokens = " ".join(line for line in lines if " 005 " in line)
            assert " BOT=B " in tokens and " draft/ICON=https://example.org/i.png " in tokens

    run(scenario())


def test_nobody_is_named_as_administrator() -> None:
    async def scenario() -> None:
        async with serve(options=replace(OPTIONS, admin=())) as server:
            gus = await server.guest("gus")
            gus.send("ADMIN")
            await gus.expect(":example.org 423 gus example.org :No administrative info available")

    run(scenario())


def test_a_secure_connection_is_shown() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            server.front.network.sessions.of(server.middle.accounts.user_id("alice"))[0].secure = True
            alice.send("WHOIS alice")
            await alice.until(":example.org 671 alice alice :is using a secure connection")

    run(scenario())


def test_full_lists() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            await alice.answer(*[f"SILENCE +*!*@spam{number}.example" for number in range(MAX_SILENCED)])
            alice.send("SILENCE +*!*@more.example")
            await alice.expect(":example.org 511 alice *!*@more.example :*")
            await alice.answer("JOIN #tea")
            for at in range(0, 500, 20):
                masks = " ".join(f"bot{number}*!*@*" for number in range(at, at + 20))
                for mask in masks.split():
                    alice.send(f"MODE #tea +e {mask}")
                await alice.answer()
            alice.send("MODE #tea +e other*!*@*")
            await alice.expect(":example.org 478 alice #tea :*")

    run(scenario())


def test_what_is_no_name_of_a_channel() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            # Twenty letters that are whole words when they are folded: no alias is that long.
            alice.send("JOIN #" + "\ufdfa" * 20)
            await alice.expect(":example.org 476 alice *")

    run(scenario())


def test_too_many_channels() -> None:
    async def scenario() -> None:
        async with serve(with_limits(rooms_per_account=1)) as server:
            alice = await server.account("alice")
            await alice.answer("JOIN #tea")
            alice.send("JOIN #milk")
            await alice.expect(":example.org 405 alice #milk :You are in 1 rooms; leave one first")

    run(scenario())


def test_who_has_not_registered_yet_is_traced() -> None:
    async def scenario() -> None:
        async with serve() as server:
            ann = await server.admin("ann")
            silent = await server.connect()
            silent.send("CAP LS")
            await silent.line()
            ann.send("TRACE")
            await ann.expect(
                ":example.org 203 ann ???? unregistered :1 connections",
                ":example.org 204 ann Oper operators :ann",
                ":example.org 262 ann example.org tripoint* :End of TRACE",
            )

    run(scenario())
