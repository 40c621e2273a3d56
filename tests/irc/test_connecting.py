"""Who comes how: gateways of web clients, policies of TLS, limits by network. spec: IRCv3 webirc, sts"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.irc.server import CONFIG, OPTIONS, SERVER, Client, TestServer, serve
from tests.irc.test_server import run
from tests.net.client_certificates import client_context
from tripoint.accounts.passwords import make_hash
from tripoint.core.server_bans import BanKind, ServerBan
from tripoint.core.token_bucket import Rate
from tripoint.irc.options import IrcOptions
from tripoint.irc.webirc import Gateway
from tripoint.net.strangers import Known, Strangers
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

KIWI = Gateway("kiwi", ("127.0.0.0/8",), make_hash("hunter2", 10_000))
WITH_KIWI = replace(OPTIONS, gateways=(KIWI,))
FROM = "WEBIRC hunter2 kiwi 3-100-51-198.example 198.51.100.3"


def offered(server: TestServer, *, secure: bool) -> dict[str, str]:
    return server.front.offered(("PLAIN",), passwords=secure, secure=secure)


async def come(server: TestServer, *lines: str) -> Client:
    client = await server.connect()
    client.send(*lines)
    return client


def test_a_gateway_says_who_its_user_is() -> None:
    async def scenario() -> None:
        async with serve(options=WITH_KIWI) as server:
            plain = await server.guest("plain")
            gus = await come(server, FROM, "CAP LS 302", "NICK gus", "USER g 0 * :g", "CAP END")
            lines = await gus.until(" 376 ")
            # Without TLS on both ways nothing is secure, and this machine's own right to passwords is not the user's.
            assert not any("PLAIN" in line for line in lines)
            gus.send("WHOIS gus")
            told = await gus.until(" 318 ")
            assert f":{SERVER} 338 gus gus 198.51.100.3 :is actually using host" in told
            assert f":{SERVER} 320 gus gus :is connected by the web gateway kiwi" in told
            gus.send("WEBIRC hunter2 kiwi a 192.0.2.1")
            await gus.expect(f":{SERVER} 462 gus :You may not reregister")
            hosts = {session.names.own_host(session.user_id) for session in server.front.network.sessions}
            assert len(hosts) == 2
            # The address is the user's for bans too; others by the gateway stay.
            await server.middle.accounts.bans.put(ServerBan(BanKind.DLINE, "198.51.100.3", "spam", "@op:x", 0))
            await gus.until("^ERROR :Closing link: You are banned from this server: spam")
            again = await come(server, FROM, "NICK gus2", "USER g 0 * :g")
            await again.expect("ERROR :Closing link: You are banned from this server: spam")
            other = await come(server, FROM.replace("51.100.3", "51.100.4"), "NICK other", "USER g 0 * :g")
            await other.until(" 376 ")
            await plain.quiet()

    run(scenario())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("WEBIRC wrong kiwi h 198.51.100.3", "Invalid WebIRC password"),
        ("WEBIRC hunter2 kiwi h", "WEBIRC needs a password, a gateway, a host and an address"),
        ("WEBIRC hunter2 kiwi h nowhere", "WEBIRC names no address"),
    ],
)
def test_what_is_not_believed_is_closed(line: str, reason: str) -> None:
    async def scenario() -> None:
        async with serve(options=WITH_KIWI) as server:
            client = await come(server, line)
            await client.expect(f"ERROR :Closing link: {reason}")

    run(scenario())


def test_who_may_not_send_webirc() -> None:
    async def scenario() -> None:
        elsewhere = replace(KIWI, networks=("192.0.2.0/24", "2001:db8::/32"))
        for options in (OPTIONS, replace(OPTIONS, gateways=(elsewhere,))):
            async with serve(options=options) as server:
                client = await come(server, FROM)
                await client.expect("ERROR :Closing link: WEBIRC is not allowed from your address")
        async with serve(options=WITH_KIWI) as server:
            client = await come(server, "CAP LS", FROM)
            await client.line()
            await client.expect("ERROR :Closing link: WEBIRC has to be the first command")

    run(scenario())


@pytest.mark.parametrize("address", ["2001:db8::7", "0::7", "0::ffff:192.0.2.7"])
def test_addresses_of_every_kind(address: str) -> None:
    async def scenario() -> None:
        async with serve(options=WITH_KIWI) as server:
            webirc = f"WEBIRC hunter2 kiwi h {address} :secure=x remote-port=1"
            client = await come(server, webirc, "NICK g", "USER g 0 * :g")
            await client.until(" 376 ")

    run(scenario())


def test_addresses_that_begin_with_a_colon_stand_in_lines() -> None:
    """spec: RFC2812 2.3.1; IRCv3 webirc writes them with a zero before it"""

    async def scenario() -> None:
        async with serve(options=WITH_KIWI) as server:
            client = await come(server, "WEBIRC hunter2 kiwi h 0::7", "NICK g", "USER g 0 * :g")
            await client.until(" 376 ")
            client.send("WHOIS g")
            shown = await client.until(" 318 ")
            assert f":{SERVER} 338 g g 0::7 :is actually using host" in shown
            admin = await server.admin("ann")
            await admin.answer("DLINE 0::8 :why")
            assert (await admin.answer("STATS d"))[0].startswith(f":{SERVER} 225 ann D 0::8 :for ever")

    run(scenario())


def test_a_gateway_is_not_counted_as_one_address() -> None:
    async def scenario() -> None:
        async with serve(options=replace(WITH_KIWI, connections_per_address=2)) as server:
            for number in range(4):
                client = await come(server, FROM.replace("100.3", f"100.{number}"), f"NICK n{number}", "USER g 0 * :g")
                await client.until(" 376 ")
            for number in range(2):
                client = await come(server, FROM.replace("100.3", "100.9"), f"NICK m{number}", "USER g 0 * :g")
                await client.until(" 376 ")
            client = await come(server, FROM.replace("100.3", "100.9"), "NICK last", "USER g 0 * :g")
            await client.expect("ERROR :Closing link: Too many connections from your address")

    run(scenario())


def test_policies_of_tls_are_told_and_not_asked_for() -> None:
    async def scenario() -> None:
        async with serve() as server:
            assert "sts" not in offered(server, secure=False)
        async with serve(options=replace(OPTIONS, sts_duration_s=86_400, sts_port=6697)) as server:
            assert offered(server, secure=False)["sts"] == "port=6697"
            assert offered(server, secure=True)["sts"] == "duration=86400"
            client = await come(server, "CAP LS 302")
            assert "sts=port=6697" in " ".join(await client.until(r" CAP \* LS :?[^*]"))
            client.send("CAP REQ sts", "CAP LS")
            await client.expect(f":{SERVER} CAP * NAK sts")
            # Values are for 302 alone, and without one it means nothing; CAP version 302 stays.
            old = await come(server, "CAP LS")
            assert " sts" not in await old.line()
        async with serve(options=replace(OPTIONS, sts_duration_s=0, sts_port=6697)) as server:
            assert offered(server, secure=True)["sts"] == "duration=0"
            assert "sts" not in offered(server, secure=False)

    run(scenario())


def test_who_names_no_host_is_told_no_policy_for_it(tmp_path: Path) -> None:
    """spec: sts "Server Name Indication": without a hostname "an STS persistence policy SHOULD NOT be advertised" """

    async def scenario() -> None:
        make_self_signed([SERVER], tmp_path / "cert.pem", tmp_path / "key.pem")
        tls = ClientTls(ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem"), b"irc")
        options = replace(OPTIONS, sts_duration_s=86_400, sts_port=6697)
        async with serve(options=options, tls=tls) as server:
            for name, told in ((SERVER, True), (None, False)):
                client = await server.connect(client_context(), name)
                client.send("CAP LS 302")
                lines = " ".join(await client.until(r" CAP \* LS :?[^*]"))
                assert ("sts=duration=86400" in lines) is told
                assert "sts=port" not in lines

    run(scenario())


def test_who_connects_too_often_is_told() -> None:
    async def scenario() -> None:
        options: IrcOptions = replace(WITH_KIWI, connection_rate=Rate(1, 0.001))
        async with serve(CONFIG, options) as server:
            first = await come(server, FROM, "NICK a", "USER g 0 * :g")
            await first.until(" 376 ")
            second = await come(server, FROM, "NICK b", "USER g 0 * :g")
            await second.expect("ERROR :Closing link: You connect too often; wait a while")
            await server.front.reload(replace(options, connection_rate=Rate(0, 0)))
            third = await come(server, FROM, "NICK c", "USER g 0 * :g")
            await third.until(" 376 ")
            assert len(server.front._connections) >= 2

    asyncio.run(asyncio.wait_for(scenario(), 30))


class Neighbours(Strangers):
    """What a test knows of this machine's address."""

    def __init__(self, known: Known) -> None:
        self._known = known

    @property
    def asks(self) -> bool:
        return True

    async def look_up(self, address: str, ports: tuple[int, int] | None = None) -> Known:
        assert ports is not None and all(ports)
        await asyncio.sleep(0)
        return self._known


def test_addresses_on_a_list_are_for_accounts_alone() -> None:
    async def scenario() -> None:
        async with serve() as server:
            server.front.strangers = Neighbours(Known(None, "bad.example"))
            guest = await come(server, "NICK gus", "USER g 0 * :g")
            text = "Your address is listed in bad.example; log in with an account"
            await guest.expect(f":{SERVER} 465 gus :{text}", f"ERROR :Closing link: {text}")
            assert (await server.account("alice")).nick == "alice"

    run(scenario())


def test_names_of_addresses_are_for_bans_and_operators() -> None:
    async def scenario() -> None:
        async with serve() as server:
            server.front.strangers = Neighbours(Known("gate.example.net", None, "root"))
            gus = await server.guest("gus")
            ann = await server.admin("ann")
            ann.send("WHOIS gus")
            told = await ann.until(" 318 ")
            assert f":{SERVER} 338 ann gus gate.example.net :is actually using host" in told
            assert f":{SERVER} 338 ann gus 127.0.0.1 :is actually using host" in told
            assert f":{SERVER} 320 ann gus :is called root by their machine" in told
            gus.send("WHOIS ann")
            assert not any("gate.example" in line for line in await gus.until(" 318 "))
            await server.middle.accounts.bans.put(ServerBan(BanKind.KLINE, "*@*.example.net", "", "@op:x", 0))
            await gus.until("^ERROR")
            again = await come(server, "NICK gus", "USER g 0 * :g")
            await again.expect(f":{SERVER} 465 gus :You are banned from this server", "ERROR :*")

    run(scenario())
