"""Real clients that log in with a certificate of their own making: irssi, weechat, slixmpp. docs/mapping.md 18.1"""

import asyncio
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import slixmpp
from tests.interop.peer import PASSWORD, must_have
from tests.interop.terminal import Terminal
from tests.net.client_certificates import fingerprint
from tests.support.server import Server, running_server

from tripoint.net.tls import make_self_signed

pytestmark = [
    pytest.mark.interop,
    # slixmpp asks for the loop where none runs.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PATIENCE_S = 10.0


@dataclass
class Alice:
    """An account and what logs it in: `pem` is the certificate and its key in one file."""

    server: Server
    certificate: Path
    key: Path
    pem: Path
    shown: str


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alice]:
    folder = tmp_path_factory.mktemp("certificates")
    certificate, key, pem = folder / "alice.crt", folder / "alice.key", folder / "alice.pem"
    make_self_signed(["alice"], certificate, key)
    pem.write_text(certificate.read_text() + key.read_text())
    with running_server(folder) as server:
        server.register("alice", PASSWORD)
        shown = fingerprint(certificate)
        _add(server, shown)
        yield Alice(server, certificate, key, pem, shown)


def _add(server: Server, shown: str) -> None:
    plain = socket.create_connection(("127.0.0.1", server.ports["irc"]), PATIENCE_S)
    with plain, plain.makefile("rw") as lines:
        lines.write(f"PASS alice:{PASSWORD}\r\nNICK alice\r\nUSER alice 0 * :alice\r\nNS CERT ADD {shown}\r\n")
        lines.flush()
        assert any(f"You log in with certificate {shown} now" in line for line in lines)


def test_irssi(alice: Alice, tmp_path: Path) -> None:
    must_have(shutil.which("irssi") and shutil.which("tmux"), "irssi (in tmux)")
    config = tmp_path / "irssi"
    config.mkdir()
    (config / "config").write_text(
        f"""
        servers = ( {{ address = "127.0.0.1"; chatnet = "tri"; port = "{alice.server.ports["irc_tls"]}";
          use_tls = "yes"; tls_verify = "no"; tls_cert = "{alice.pem}"; }} );
        chatnets = {{ tri = {{ type = "IRC"; nick = "alice"; sasl_mechanism = "EXTERNAL"; }}; }};
        settings = {{ core = {{ real_name = "alice"; user_name = "alice"; }};
          "fe-common/core" = {{ autolog = "no"; }}; }};
        """
    )

    async def scenario() -> None:
        terminal = Terminal(tmp_path, ["irssi", f"--home={config}"])
        try:
            await terminal.wait_for("Irssi")
            terminal.type("/connect tri")
            await terminal.wait_for("SASL authentication succe")
            await terminal.wait_for("You are now logged in as alice")
            terminal.type("/whois alice")
            await terminal.wait_for(alice.shown)
        finally:
            terminal.end()

    asyncio.run(scenario())


def test_weechat(alice: Alice, tmp_path: Path) -> None:
    must_have(shutil.which("weechat") and shutil.which("tmux"), "weechat (in tmux)")

    async def scenario() -> None:
        word = await _word_for_tls()
        commands = (
            f"/server add tri 127.0.0.1/{alice.server.ports['irc_tls']} -{word}",
            f"/set irc.server.tri.{word}_verify off",
            f"/set irc.server.tri.{word}_cert {alice.pem}",
            "/set irc.server.tri.nicks alice",
            "/set irc.server.tri.sasl_mechanism external",
            "/connect tri",
        )
        run = [part for command in commands for part in ("--run-command", command)]
        terminal = Terminal(tmp_path, ["weechat", "--dir", str(tmp_path / "weechat"), *run])
        try:
            await terminal.wait_for("You are now logged in as alice")
            await terminal.wait_for("Welcome")
        finally:
            terminal.end()

    asyncio.run(scenario())


async def _word_for_tls() -> str:
    """Versions before 4 say ssl."""
    asked = await asyncio.create_subprocess_exec("weechat", "--version", stdout=asyncio.subprocess.PIPE)
    told, _ = await asyncio.wait_for(asked.communicate(), PATIENCE_S)
    return "ssl" if int(told.decode().split(".")[0]) < 4 else "tls"


def test_slixmpp(alice: Alice) -> None:
    async def scenario() -> None:
        client = slixmpp.ClientXMPP(f"alice@{alice.server.name}/phone", "", sasl_mech="EXTERNAL")
        client.ssl_context.check_hostname = False
        client.ssl_context.verify_mode = ssl.CERT_NONE
        client.certfile, client.keyfile = str(alice.certificate), str(alice.key)
        heard: asyncio.Queue[str] = asyncio.Queue()
        for event in ("session_start", "failed_auth"):
            client.add_event_handler(event, lambda _, event=event: heard.put_nowait(event))
        client.connect("127.0.0.1", alice.server.ports["xmpp"])
        try:
            assert await asyncio.wait_for(heard.get(), PATIENCE_S) == "session_start"
        finally:
            client.disconnect(wait=0)
            client.abort()

    asyncio.run(scenario())
