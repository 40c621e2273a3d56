"""matrix-synapse as a neighbour: a process with its own folder, key and certificate, stopped by its pid.

Installed by `make peers`. SQLite, one process, its limits lifted and its patience with servers that are down
shortened from ten minutes to a second.
"""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from tests.agreement.synapse_peer import PYTHON
from tests.interop.neighbourhood import Neighbourhood
from tests.interop.peer import must_have
from tests.support.ports import free_port

START_S = 60.0
STOP_S = 20.0
_RATE = {"per_second": 1000, "burst_count": 1000}
_LOG = """
version: 1
formatters: {plain: {format: '%(asctime)s %(name)s %(levelname)s %(message)s'}}
handlers: {file: {class: logging.FileHandler, filename: LOGFILE, formatter: plain}}
root: {level: INFO, handlers: [file]}
loggers: {synapse.storage.SQL: {level: WARNING}}
disable_existing_loggers: false
"""


@dataclass
class Synapse:
    """`name`: server name; `http`: where clients find it; `log`: what it wrote."""

    name: str
    folder: Path
    town: Neighbourhood
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "synapse.log"

    def start(self) -> None:
        """Returns once it answers."""
        self.process = self._run()
        end = monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or monotonic() > end:
                self.process.kill()
                self.process.wait()
                tail = (self.folder / "output").read_text()[-3000:]
                raise AssertionError(f"synapse did not start: {tail}")
            sleep(0.05)

    def generate_keys(self) -> None:
        assert self._run("--generate-keys").wait(START_S) == 0, (self.folder / "output").read_text()[-3000:]

    def _run(self, *how: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [*self.town.inside, PYTHON, "-m", "synapse.app.homeserver", "-c", self.folder / "config.json", *how],
                cwd=self.folder,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """As a machine that loses its power does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _config(name: str, folder: Path, town: Neighbourhood, client_port: int, federation_port: int) -> dict[str, object]:
    certificate, key = town.authority.issue(name)
    rates = ("message", "registration", "joins_per_room", "invites", "room_creation", "login", "joins")
    limits: dict[str, object] = {f"rc_{kind}": _RATE for kind in rates if kind not in ("login", "joins", "invites")}
    limits["rc_login"] = {"address": _RATE, "account": _RATE, "failed_attempts": _RATE}
    limits["rc_joins"] = {"local": _RATE, "remote": _RATE}
    limits["rc_invites"] = {"per_room": _RATE, "per_user": _RATE, "per_issuer": _RATE}
    limits["rc_federation"] = {"window_size": 1000, "sleep_limit": 10_000, "reject_limit": 10_000, "concurrent": 20}
    return {
        **limits,
        "server_name": name,
        "pid_file": str(folder / "pid"),
        "log_config": str(folder / "log.yaml"),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "macaroon_secret_key": "a test's",
        "form_secret": "a test's",
        "report_stats": False,
        "database": {"name": "sqlite3", "args": {"database": str(folder / "synapse.db")}},
        "listeners": [
            {
                "type": "http",
                "port": client_port,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client"]}],
            },
            {
                "type": "http",
                "port": federation_port,
                "bind_addresses": ["127.0.0.1"],
                "tls": True,
                "resources": [{"names": ["federation"]}],
            },
        ],
        "tls_certificate_path": str(certificate),
        "tls_private_key_path": str(key),
        "federation_custom_ca_list": [str(town.authority.path)],
        "federation_ip_range_blacklist": [],
        "ip_range_blacklist": [],
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "room_list_publication_rules": [{"action": "allow"}],
        "allow_public_rooms_over_federation": True,
        "allow_device_name_lookup_over_federation": True,
        "allow_public_rooms_without_auth": True,
        "caches": {"sync_response_cache_duration": 0},
        "federation": {
            "destination_min_retry_interval": "1s",
            "destination_max_retry_interval": "1s",
            "destination_retry_multiplier": 2,
            "client_timeout": "20s",
        },
        "url_preview_enabled": False,
    }


@contextmanager
def running_synapse(folder: Path, town: Neighbourhood, name: str) -> Iterator[Synapse]:
    """A new server of this name. Skips without matrix-synapse."""
    must_have(PYTHON.exists(), "matrix-synapse (make peers)")
    client_port = free_port()
    config = _config(name, folder, town, client_port, town.add(name).upstream)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.yaml").write_text(_LOG.replace("LOGFILE", str(folder / "synapse.log")))
    server = Synapse(name, folder, town, client_port)
    server.generate_keys()
    server.start()
    try:
        yield server
    finally:
        server.stop()
