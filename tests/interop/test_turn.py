"""A TURN server that nobody here wrote takes the credentials that Matrix and XMPP give out, and no others: coturn, and
its own client, which has two allocations exchange messages.

spec: Matrix client-server "TURN Credentials"; XEP-0215; draft-uberti-behave-turn-rest-00
"""

import asyncio
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.interop.peer import PASSWORD, PATIENCE_S, must_have
from tests.interop.slix_peer import SlixPeer
from tests.support.ports import free_port
from tests.support.server import Server, running_server

from tripoint.core.turn import TurnServers, make_credentials

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

SECRET = "a secret of both"
HOST = "127.0.0.1"
NS = "urn:xmpp:extdisco:2"


@contextmanager
def turn_server(folder: Path) -> Iterator[int]:
    """coturn with the secret, on a port of its own."""
    must_have(shutil.which("turnserver") and shutil.which("turnutils_uclient"), "coturn")
    port = free_port()
    log = folder / "turn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--simple-log", "--log-file", "stdout"),
                *("--listening-ip", HOST, "--relay-ip", HOST, "--listening-port", str(port)),
                *("--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "turn.example.org"),
                *("--allow-loopback-peers", "--pidfile", str(folder / "pid"), "--userdb", str(folder / "users")),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex((HOST, port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            # It listens when it has looked at the machine.
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        yield port
    finally:
        process.terminate()
        process.wait(10)


def allocates(port: int, username: str, password: str, *, tcp: bool = False) -> bool:
    """Whether two allocations with these credentials hear each other."""
    asked = ["turnutils_uclient", "-y", "-n", "2", "-m", "1", "-u", username, "-w", password, "-p", str(port)]
    done = subprocess.run([*asked, *(["-t"] if tcp else []), HOST], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    if done.returncode != 0:
        assert "Cannot complete Allocation" in said, said
        return False
    assert "Total lost packets 0 " in said, said
    return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    folder = tmp_path_factory.mktemp("turn")
    with turn_server(folder) as port:
        uris = json.dumps([f"stun:{HOST}:{port}", *(f"turn:{HOST}:{port}?transport={how}" for how in ("udp", "tcp"))])
        with running_server(folder, more=f'[turn]\nuris = {uris}\nsecret = "{SECRET}"\nlifetime_s = 600\n') as server:
            yield server, port


def ask(server: Server, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.http}/_matrix/client/v3{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_credentials_of_matrix(site: tuple[Server, int]) -> None:
    server, port = site
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    token = ask(server, "POST", "/register", body)["access_token"]
    made = ask(server, "GET", "/voip/turnServer", token=token)
    assert made["uris"] == [f"turn:{HOST}:{port}?transport=udp", f"turn:{HOST}:{port}?transport=tcp"]
    assert made["ttl"] == 600
    assert allocates(port, made["username"], made["password"])
    assert allocates(port, made["username"], made["password"], tcp=True)
    # With another's name, a later end or a password that was guessed there is nothing.
    expiry, _, name = made["username"].partition(":")
    for username, password in (
        (made["username"], "guessed"),
        (f"{int(expiry) + 1}:{name}", made["password"]),
        (f"{expiry}:somebody", made["password"]),
        ("alice", made["password"]),
    ):
        assert not allocates(port, username, password)


def test_credentials_of_xmpp(site: tuple[Server, int]) -> None:
    server, port = site

    async def story() -> tuple[str, str]:
        bob = SlixPeer("bob")
        await bob.start(server)
        try:
            iq = bob.client.make_iq_get(ito=server.name)
            iq.append(ElementTree.fromstring(f"<services xmlns='{NS}' type='turn'/>"))
            answer = await asyncio.wait_for(iq.send(), PATIENCE_S)
            found = answer.xml.findall(f".//{{{NS}}}service")
            assert {(one.get("host"), one.get("port"), one.get("transport")) for one in found} == {
                (HOST, str(port), "udp"),
                (HOST, str(port), "tcp"),
            }
            return str(found[0].get("username")), str(found[0].get("password"))
        finally:
            bob.client.disconnect()
            await bob.client.disconnected

    username, password = asyncio.run(story())
    assert allocates(port, username, password)
    assert not allocates(port, username, password[::-1])


def test_what_has_ended_is_not_taken(tmp_path: Path) -> None:
    """The TURN server looks at the end that stands in the name."""
    with turn_server(tmp_path) as port:
        turn = TurnServers((), SECRET, 600)
        for now_s, good in ((int(time.time()), True), (int(time.time()) - 601, False)):
            made = make_credentials(turn, "@alice:example.org", now_s)
            assert allocates(port, made.username, made.password) is good
