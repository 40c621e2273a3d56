"""ejabberd as a neighbour: a process with its own folder and certificate, stopped by its pid. From Debian's package.

It runs as a single Erlang node without a name: no epmd, no port for ejabberdctl. So accounts are made by XEP-0077.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.interop.neighbourhood import Authority, Neighbourhood
from tests.interop.peer import PASSWORD, must_have
from tests.support.ports import free_port

START_S = 40.0
STOP_S = 10.0
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_CONFIG = """
hosts: ["{name}"]
loglevel: debug
log_rotate_count: 0
certfiles: ["{certificate}", "{key}"]
ca_file: "{authority}"
listen:
  - {{port: {c2s}, ip: "127.0.0.1", module: ejabberd_c2s}}
  - {{port: {s2s}, ip: "127.0.0.1", module: ejabberd_s2s_in, cafile: "{authority}"}}
auth_method: internal
auth_password_format: scram
registration_timeout: infinity
s2s_use_starttls: required
s2s_cafile: "{authority}"
modules:
  mod_disco: {{}}
  mod_roster: {{}}
  mod_ping: {{}}
  mod_version: {{}}
  mod_offline: {{}}
  mod_register: {{ip_access: all}}
  mod_muc:
    host: "muc.{name}"
    default_room_options: {{mam: true}}
  mod_mam: {{default: always}}
  mod_vcard: {{}}
  mod_caps: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
{dialback}
"""


@dataclass
class Ejabberd:
    """`name`: its domain; rooms are at muc.`name`."""

    name: str
    folder: Path
    town: Neighbourhood
    secure: bool
    c2s: int = field(default_factory=free_port)
    s2s: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, authority: Authority) -> None:
        """Returns once it takes connections. `authority` signs its certificate."""
        certificate, key = authority.issue(self.name, f"muc.{self.name}")
        text = _CONFIG.format(
            name=self.name,
            certificate=certificate,
            key=key,
            authority=self.town.authority.path,
            c2s=self.c2s,
            s2s=self.s2s,
            dialback="" if self.secure else "  mod_s2s_dialback: {}",
        )
        (self.folder / "ejabberd.yml").write_text(text)
        for domain in (self.name, f"muc.{self.name}"):
            self.town.services[f"_xmpp-server._tcp.{domain}"] = self.s2s
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "log"),
            "ERL_LIBS": _LIBRARIES,
            "ERL_CRASH_DUMP": str(self.folder / "crash"),
        }
        command = ["erl", "-noinput", "+P", "25000", "-mnesia", "dir", f'"{self.folder}/spool"', "-s", "ejabberd"]
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*self.town.inside, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = monotonic() + START_S
        while f"Start accepting TCP connections at 127.0.0.1:{self.s2s}" not in self.log:
            if self.process.poll() is not None or monotonic() > end:
                self.stop()
                raise AssertionError(f"ejabberd did not start: {(self.folder / 'output').read_text()[-4000:]}")
            sleep(0.05)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def add(self, account: str) -> None:
        """Make an account, by XEP-0077 as a client without one."""
        header = (
            f"<?xml version='1.0'?><stream:stream to='{self.name}' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        )
        request = (
            f"<iq type='set' id='register' to='{self.name}'><query xmlns='jabber:iq:register'>"
            f"<username>{account}</username><password>{PASSWORD}</password></query></iq>"
        )
        with socket.create_connection(("127.0.0.1", self.c2s), START_S) as client:
            client.sendall(header.encode())
            _heard(client, b"</stream:features>")
            client.sendall(request.encode())
            assert b"type='result'" in _heard(client, b" id='register'")
            client.sendall(b"</stream:stream>")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _heard(client: socket.socket, wanted: bytes) -> bytes:
    """What comes, up to the end of a stanza behind `wanted`."""
    heard = b""
    while wanted not in heard or not heard.endswith(b">"):
        more = client.recv(65536)
        assert more, heard
        heard += more
    return heard


@contextmanager
def running_ejabberd(
    folder: Path, town: Neighbourhood, name: str, *, secure: bool, authority: Authority | None = None
) -> Iterator[Ejabberd]:
    """`secure`: it speaks to servers with a valid certificate alone. `authority`: who signs its own; None: the one
    that everybody trusts."""
    found = shutil.which("erl") and list(Path(_LIBRARIES).glob("ejabberd-*"))
    must_have(found, "ejabberd, of Debian's package")
    folder.mkdir()
    server = Ejabberd(name, folder, town, secure)
    server.start(town.authority if authority is None else authority)
    try:
        yield server
    finally:
        server.stop()
