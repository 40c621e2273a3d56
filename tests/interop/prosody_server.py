"""Prosody as a neighbour: a process with its own folder and certificate, stopped by its pid. From Debian's package."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.interop.neighbourhood import Authority, Neighbourhood
from tests.interop.peer import PASSWORD, must_have
from tests.support.ports import free_port

START_S = 20.0
STOP_S = 10.0
_CONFIG = """
run_as_root = true
pidfile = "{folder}/pid"
data_path = "{folder}/data"
certificates = "{folder}"
log = {{ debug = "{folder}/log" }}
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "carbons", "ping", "mam", "vcard4",
  "vcard_legacy", "pep", "s2s_bidi", "smacks" }}
modules_disabled = {{ "http" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ {s2s} }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = {secure}
authentication = "internal_hashed"
ssl = {{ certificate = "{certificate}", key = "{key}", cafile = "{authority}" }}
VirtualHost "{name}"
Component "muc.{name}" "muc"
restrict_room_creation = false
muc_room_locking = false
"""


@dataclass
class Prosody:
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
        (self.folder / "data").mkdir(parents=True)
        text = _CONFIG.format(
            folder=self.folder,
            c2s=self.c2s,
            s2s=self.s2s,
            secure=str(self.secure).lower(),
            certificate=certificate,
            key=key,
            authority=self.town.authority.path,
            name=self.name,
        )
        (self.folder / "config.lua").write_text(text)
        for domain in (self.name, f"muc.{self.name}"):
            self.town.services[f"_xmpp-server._tcp.{domain}"] = self.s2s
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*self.town.inside, "prosody", "--config", self.folder / "config.lua", "-F"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = monotonic() + START_S
        while "Activated service 's2s'" not in self.log:
            if self.process.poll() is not None or monotonic() > end:
                self.stop()
                raise AssertionError(f"prosody did not start: {(self.folder / 'output').read_text()[-2000:]}{self.log}")
            sleep(0.05)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def add(self, account: str) -> None:
        """Make an account."""
        command = ["prosodyctl", "--config", str(self.folder / "config.lua"), "register", account, self.name, PASSWORD]
        subprocess.run(command, check=True, timeout=START_S, capture_output=True)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_prosody(
    folder: Path, town: Neighbourhood, name: str, *, secure: bool, authority: Authority | None = None
) -> Iterator[Prosody]:
    """`secure`: it speaks to servers with a valid certificate alone. `authority`: who signs its own; None: the one
    that everybody trusts."""
    must_have(bool(shutil.which("prosody") and shutil.which("prosodyctl")), "prosody, of Debian's package")
    folder.mkdir()
    server = Prosody(name, folder, town, secure)
    server.start(town.authority if authority is None else authority)
    try:
        yield server
    finally:
        server.stop()
