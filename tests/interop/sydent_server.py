"""Sydent as an identity server of the neighbourhood: a process with its own folder, behind TLS, stopped by its pid.

Installed by `make peers`. It writes to people by the mail server of the test.
"""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.interop.neighbourhood import HOST, Neighbourhood
from tests.interop.peer import must_have
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".peers" / "sydent" / "bin" / "python"
START_S = 30.0
STOP_S = 20.0
_HEAD = "Date: %(date)s\nFrom: %(from)s\nTo: %(to)s\nMessage-ID: %(messageid)s\n"
_TYPE = "Subject: {subject}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\n"
_VALIDATION = _HEAD + _TYPE.format(subject="Your token") + "token: %(token)s\n"
_INVITE = (
    _HEAD
    + _TYPE.format(subject="You are invited")
    + "room: %(room_name)s\ntoken: %(token)s\nkey: %(ephemeral_private_key)s\n"
)
_CONFIG = """\
[general]
server.name = {name}
log.level = INFO
ip.whitelist = 127.0.0.0/8
pidfile.path = {folder}/pid
[db]
db.file = {folder}/sydent.db
[http]
clientapi.http.bind_address = 127.0.0.1
clientapi.http.port = {port}
replication.https.port = 0
federation.verifycerts = false
client_http_base = https://{name}
[email]
email.template = {folder}/validation.eml
email.invite_template = {folder}/invite.eml
email.from = id@host.example
email.smtphost = 127.0.0.1
email.smtpport = {smtp}
email.hostname = host.example
[crypto]
ed25519.signingkey = ed25519 0 {seed}
"""


@dataclass
class Sydent:
    """`name`: as clients name it; it listens behind TLS on the port of it, which `upstream` is forwarded from."""

    name: str
    folder: Path
    town: Neighbourhood
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def log(self) -> Path:
        return self.folder / "output"

    def start(self) -> None:
        """Returns once it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.town.inside, PYTHON, "-m", "sydent.sydent"],
                cwd=self.folder,
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "LC_ALL": "C.UTF-8",
                    "SYDENT_CONF": str(self.folder / "sydent.conf"),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or monotonic() > end:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"sydent did not start: {self.log.read_text()[-3000:]}")
            sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_matrix/identity/v2", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_sydent(folder: Path, town: Neighbourhood, *, tls_port: int, smtp_port: int) -> Iterator[Sydent]:
    """One that is called HOST:`tls_port`; who forwards that is the test."""
    must_have(PYTHON.exists(), "Sydent (make peers)")
    folder.mkdir()
    name, port = f"{HOST}:{tls_port}", free_port()
    (folder / "validation.eml").write_text(_VALIDATION)
    (folder / "invite.eml").write_text(_INVITE)
    seed = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"
    (folder / "sydent.conf").write_text(
        _CONFIG.format(name=name, folder=folder, port=port, smtp=smtp_port, seed=seed)
    )
    server = Sydent(name, folder, town, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
