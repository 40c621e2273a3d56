"""Operators and bans where clocks, addresses, and whole tables matter. spec: docs/mapping.md 9.4, 18.4"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from tests.irc.server import CONFIG, OPTIONS, serve, with_limits
from tests.irc.test_server import run
from tripoint.core.server_bans import BanKind, ServerBan
from tripoint.irc.banning import visitor_of
from tripoint.irc.help import help_of, index
from tripoint.irc.operators import (
    NOTICE_LETTERS,
    Operator,
    Privilege,
    change_notices,
    operator_of,
)
from tripoint.irc.registry import COMMANDS
from tripoint.irc.services import COMMANDS as SERVICE_COMMANDS
from tripoint.irc.whowas import MAX_ENTRIES, Was, Whowas

OP = "@op:example.org"


def test_wrong_passwords_of_operators_are_counted_with_those_of_the_account() -> None:
    async def scenario() -> None:
        async with serve(with_limits(login_failures_burst=2, login_failures_per_s=0.001)) as server:
            hal = await server.account("hal")
            for _ in range(2):
                hal.send("OPER hal :wrong")
                await hal.expect(":example.org 464 hal :Password incorrect")
            hal.send("OPER hal :open sesame")
            await hal.expect(":example.org NOTICE hal :OPER: Too many attempts; try again later")

    run(scenario())


def test_passwords_of_operators_need_tls() -> None:
    async def scenario() -> None:
        async with serve(options=replace(OPTIONS, plaintext_passwords=True)) as server:
            hal = await server.account("hal")
            session = server.front.network.sessions.of(server.middle.accounts.user_id("hal"))[0]
            session.passwords_allowed = False
            hal.send("OPER hal :open sesame")
            await hal.expect(":example.org 491 hal :A password may only be sent over TLS")

    run(scenario())


def test_who_logs_in_as_another_is_no_operator_any_more() -> None:
    async def scenario() -> None:
        async with serve() as server:
            await server.middle.accounts.register("bob", "pencil", address="x")
            ann = await server.admin("ann")
            ann.send("NS IDENTIFY bob pencil")
            await ann.until("NickServ.*You are now logged in as bob")
            ann.send("MODE bob", "WALLOPS :still here")
            await ann.expect(":example.org 221 bob :+i", ":example.org 481 bob :*")
            assert not server.front.network.operators

    run(scenario())


def test_guests_meet_bans_as_they_come() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bans = server.middle.accounts.bans
            gus = await server.guest("gus")
            session = next(iter(server.front.network.sessions))
            host = visitor_of(session).hosts[0]
            assert host.endswith(".guest.example.org")
            for kind, mask in (
                (BanKind.KLINE, "gus@*"),
                (BanKind.KLINE, f"*@{host}"),
                (BanKind.KLINE, "*@127.0.0.0/8"),
                (BanKind.KLINE, "ident*@127.0.0.*"),
                (BanKind.XLINE, "*cheap?pills*"),
            ):
                await bans.put(ServerBan(kind, mask, "no", OP, 0))
                client = await server.connect()
                client.send("NICK gus", "USER ident7 0 * :Cheap pills here")
                await client.expect(
                    ":example.org 465 gus :You are banned from this server: no",
                    "ERROR :Closing link: You are banned from this server: no",
                )
                assert await bans.drop(kind, mask)
            # The one who was here met the first of them, and was closed.
            await gus.until("^ERROR")

    run(scenario())


def test_a_banned_account_is_told_by_every_way_of_logging_in() -> None:
    async def scenario() -> None:
        async with serve() as server:
            await server.middle.accounts.register("eve", "pencil", address="x")
            await server.middle.accounts.bans.put(ServerBan(BanKind.KLINE, "eve@*", "spam", OP, 0))
            client = await server.connect()
            client.send("CAP REQ sasl", "AUTHENTICATE PLAIN AGV2ZQBwZW5jaWw=")
            await client.until(":example.org 904 [*] :You are banned from this server: spam")
            client = await server.connect()
            client.send("PASS eve:pencil", "NICK eve", "USER e 0 * :e")
            await client.expect(
                ":example.org 465 eve :You are banned from this server: spam", "ERROR :Closing link: You are banned*"
            )
            guest = await server.guest("gus")
            guest.send("NS IDENTIFY eve pencil")
            await guest.expect(":NickServ!* NOTICE gus :You are banned from this server: spam")

    run(scenario())


def test_rehash_says_what_came_of_it() -> None:
    async def scenario() -> None:
        async with serve() as server:
            ann = await server.admin("ann")

            async def rehash() -> list[str]:
                return ["The configuration is taken up", "These wait for a restart: server.name"]

            server.front.network.rehash = rehash
            ann.send("REHASH")
            await ann.expect(
                ":example.org 382 ann tripoint.toml :Rehashing",
                ":example.org NOTICE ann :* ann!ann@example.org has the configuration read again",
                ":example.org NOTICE ann :The configuration is taken up",
                ":example.org NOTICE ann :These wait for a restart: server.name",
            )

    run(scenario())


def test_new_options_make_and_unmake_operators() -> None:
    async def scenario() -> None:
        async with serve(CONFIG) as server:
            bob = await server.account("bob")
            bob.send("OPER bob :correct horse")
            await bob.until(" 491 ")
            await server.front.reload(replace(OPTIONS, operators=(Operator("bob"),)))
            bob.send("OPER bob :correct horse")
            await bob.until(" 381 ")
            await bob.until(" 008 ")
            fewer = Operator("bob", frozenset({Privilege.KILL}))
            await server.front.reload(replace(OPTIONS, operators=(fewer,)))
            # What he was to hear goes with the right to hear it; what he may still do he may.
            await bob.expect(":bob!bob@example.org MODE bob :-s")
            bob.send("WALLOPS :hi", "KILL nobody :why")
            await bob.expect(":example.org 723 bob wallops :Your operator class does not have this privilege")
            await bob.expect(":example.org 401 bob nobody :There is no such user")
            await server.front.reload(OPTIONS)
            await bob.expect(":bob!bob@example.org MODE bob :-o")
            bob.send("KILL nobody :why")
            await bob.expect(":example.org 481 bob :*")
            assert not server.front.network.operators

    run(scenario())


def test_away_star_is_as_if_nobody_was_there() -> None:
    # spec: IRCv3 pre-away
    async def scenario() -> None:
        async with serve() as server:
            watcher = await server.guest("gus")
            watcher.send("MONITOR + alice")
            await watcher.expect(":example.org 731 gus :alice")
            await server.middle.accounts.register("alice", "correct horse", address="x")
            client = await server.connect()
            client.send("CAP REQ :sasl draft/pre-away", "AWAY *", "NICK alice", "USER a 0 * :a")
            await client.until(" 306 ")
            client.send("AUTHENTICATE PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=", "CAP END")
            await client.until(" 376 ")
            await watcher.quiet()
            client.send("AWAY")
            await client.until(" 305 ")
            await watcher.expect(":example.org 730 gus :alice!alice@example.org")
            client.send("AWAY *")
            await client.until(" 306 ")
            await watcher.expect(":example.org 731 gus :alice")

    run(scenario())


def test_isupport_is_a_batch_for_who_wants_it_so() -> None:
    # spec: IRCv3 extended-isupport: "The server MUST NOT send any unbatched RPL_ISUPPORT message"
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send("CAP REQ :batch draft/extended-isupport", "ISUPPORT", "NICK gus", "USER g 0 * :g", "CAP END")
            lines = await client.until(" 376 ")
            lines += await client.answer("VERSION")
            sent = [line for line in lines if " 005 " in line]
            assert len(sent) % 3 == 0 and len(sent) >= 9
            assert all(line.startswith("@batch=") for line in sent)
            assert sum(" draft/isupport" in line for line in lines) == 3

    run(scenario())


def test_every_command_has_its_help() -> None:
    for name, entry in COMMANDS.items():
        lines = help_of(name)
        assert lines is not None
        assert re.match(rf"{name}\b", lines[0]), f"{name}: {lines[0]}"
        assert not any("spec:" in line or "mapping" in line or len(line) > 300 for line in lines), name
        assert ":" in lines[0] or "." in lines[0], f"{name} does not say what it does"
        assert (name in " ".join(index(operator=False))) or entry.privilege is not None
    assert help_of("FLY") is None


def test_every_command_of_a_service_has_its_line() -> None:
    for entry in SERVICE_COMMANDS.values():
        _, colon, about = entry.usage.partition(": ")
        assert colon and about, entry.name


def test_masks_of_notices() -> None:
    assert change_notices("", "+ck") == "ck"
    assert change_notices("ck", "-k+b") == "bc"
    assert change_notices("", "zz+!") == ""
    assert change_notices("", NOTICE_LETTERS) == NOTICE_LETTERS


def test_who_may_be_an_operator() -> None:
    async def scenario() -> None:
        async with serve() as server:
            accounts = server.middle.accounts
            boss = await accounts.add_account("boss", "correct horse", admin=True)
            bob = await accounts.add_account("bob", "correct horse", admin=False)
            helper = Operator("boss", frozenset({Privilege.KILL}))
            found = operator_of(boss, ())
            assert found is not None and found.privileges == frozenset(Privilege)
            # What the configuration says of an administrator counts.
            assert operator_of(boss, (helper,)) is helper
            assert operator_of(bob, (helper,)) is None
            guest = await accounts.create_guest("gus", address="x")
            assert operator_of(guest, (Operator(guest.name),)) is None

    run(scenario())


def test_whowas_is_bounded() -> None:
    whowas = Whowas()
    for number in range(MAX_ENTRIES + 10):
        whowas.add(Was(f"n{number}", "u", "h", "r", number))
    assert whowas.of("n9", 0) == []
    assert [was.ts_ms for was in whowas.of("N10", 0)] == [10]


def test_the_configuration_names_every_privilege() -> None:
    from tripoint.config.options import PRIVILEGES

    assert set(PRIVILEGES) == {privilege.value for privilege in Privilege}
    page = (Path(__file__).parents[2] / "docs/operate/operators.md").read_text()
    assert all(f"| `{name}` |" in page for name in PRIVILEGES)


def test_a_thousand_bans_cost_a_connection_little() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bans = server.middle.accounts.bans
            await asyncio.gather(
                *[
                    bans.put(ServerBan(BanKind.DLINE, f"10.{number // 250}.{number % 250}.0/24", "", OP, 0))
                    for number in range(2000)
                ]
            )
            # One length of prefix, so one look.
            assert len(bans._index._lines[BanKind.DLINE]._found) == 1
            assert bans.of_address("10.3.7.9") is not None
            assert (await server.guest("gus")).nick == "gus"

    run(scenario())
