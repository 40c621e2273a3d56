"""A server of its own for a test: a subprocess with the defaults of `make run`, free ports and a throw-away folder.

The ports are read from what the server prints for the person who started it, so those instructions are tested too.
Stopped by its pid; a test that fails leaves nothing behind.
"""

import http.client
import re
import resource
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
STOP_S = 20.0

_PORTS = {
    "http": r"^Matrix +homeserver http://localhost:(\d+)",
    "irc": r"^IRC +localhost (\d+)",
    "irc_tls": r"^IRC +localhost \d+ \(TLS (\d+)\)",
    "xmpp": r"^XMPP .* port (\d+)",
    "xmpp_tls": r"^XMPP .*direct TLS (\d+)\)",
}


@dataclass
class Server:
    """A running server. `name` is its server name, `ports` what it said it listens on, `data` its folder."""

    process: subprocess.Popen[str]
    name: str
    ports: dict[str, int]
    data: Path
    output: list[str] = field(default_factory=list)
    # What a client has to trust instead of the certificate that the server made for itself.
    authority: Path | None = None

    @property
    def certificate(self) -> Path:
        """What a client has to trust."""
        return self.authority or self.data / "self-made.crt"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    def register(self, name: str, password: str) -> None:
        """Make an account with the form of the server's own page, as a person would in a browser."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        body = urllib.parse.urlencode({"name": name, "password": password})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/register", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, f"no account for {name}: {answer.status} {text[-600:]}"

    def stop(self) -> int:
        """Ask it to stop and wait; returns its exit status. Killed, with a failure, where it does not."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop within {STOP_S} s") from None


def start_server(
    folder: Path,
    *,
    name: str = "localhost",
    more: str = "",
    federation: str = "127.0.0.1:0",
    inside: Sequence[str] = (),
    file_limit_bytes: int | None = None,
) -> Server:
    """Start a server whose data is in `folder`; returns once it has printed how to connect.

    `more` is added to its configuration file. Everything not said there is the default. `federation`: where it
    listens for other servers. `inside` stands before its command. With `file_limit_bytes` no file of the server may
    grow beyond that: writes fail as on a full disk.
    """
    # Made by the caller's hand, with a usual mode: the server has to keep what is in it to itself.
    (folder / "data").mkdir(mode=0o755, exist_ok=True)
    config = folder / "tripoint.toml"
    listeners = "\n".join(
        f'{listener} = ["127.0.0.1:0"]' for listener in ("http", "irc", "irc_tls", "xmpp", "xmpp_tls", "metrics")
    )
    config.write_text(
        f'[server]\nname = "{name}"\ndata_dir = "{folder / "data"}"\n'
        f'[listen]\nfederation = ["{federation}"]\n{listeners}\n{more}'
    )
    process = subprocess.Popen(
        [*inside, sys.executable, "-m", "tripoint", "run", "--config", str(config)],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=None if file_limit_bytes is None else partial(_limit_files, file_limit_bytes),
    )
    output: list[str] = []
    ready = threading.Event()
    threading.Thread(target=_read, args=(process, output, ready), daemon=True).start()
    if not ready.wait(START_S) or process.poll() is not None:
        process.kill()
        process.wait()
        raise AssertionError("the server did not start:\n" + "".join(output))
    text = "".join(output)
    ports = {}
    for listener, pattern in _PORTS.items():
        found = re.search(pattern, text, re.MULTILINE)
        assert found is not None, f"the server does not say its {listener} port:\n{text}"
        ports[listener] = int(found.group(1))
    running = re.search(r"tripoint is running as (\S+)\.", text)
    assert running is not None, text
    return Server(process, running.group(1), ports, folder / "data", output)


def _limit_files(limit_bytes: int) -> None:
    """In the child, before it becomes the server. Python ignores SIGXFSZ: a write returns EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))


@contextmanager
def running_server(folder: Path, *, more: str = "") -> Iterator[Server]:
    """A server for a `with`; it must stop cleanly on SIGTERM."""
    server = start_server(folder, more=more)
    try:
        yield server
    finally:
        status = server.stop()
    assert status == 0, f"the server ended with {status}:\n" + "".join(server.output[-40:])


def _read(process: subprocess.Popen[str], output: list[str], ready: threading.Event) -> None:
    """Collect what the server prints; `ready` once the instructions are whole, or at its end."""
    assert process.stdout is not None
    for line in process.stdout:
        output.append(line)
        if line.startswith("Stop with Ctrl-C"):
            ready.set()
    ready.set()
