"""This server as a neighbour: a process with a DNS name, found by others through its link."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.neighbourhood import Neighbourhood
from tests.support.server import Server, start_server

_MORE = """
[tls]
certificate = "{certificate}"
key = "{key}"
extra_authorities = ["{authority}"]
[outbound]
allow_networks = ["127.0.0.0/8"]
[accounts]
registration = "open"
scram_iterations = 10000
[limits]
events_per_s = 0.0
state_per_s = 0.0
membership_per_s = 0.0
registrations_per_s = 0.0
login_failures_per_s = 0.0
[federation]
presence = true
identity_servers = [{identity}]
[log]
level = "{level}"
"""


@dataclass
class Tripoint:
    """`name`: server name; `output`: all that it has ever said."""

    name: str
    folder: Path
    town: Neighbourhood
    level: str = "info"
    identity: str = ""  # an identity server that it speaks to
    process: Server = field(init=False)
    output: list[str] = field(default_factory=list)

    @property
    def http(self) -> str:
        return self.process.http

    def start(self) -> None:
        certificate, key = self.folder / f"{self.name}.crt", self.folder / f"{self.name}.key"
        authority = self.town.authority
        if not certificate.exists():
            for made, kept in zip(authority.issue(self.name, f"rooms.{self.name}"), (certificate, key), strict=True):
                made.rename(kept)
        self.process = start_server(
            self.folder,
            name=self.name,
            federation=f"127.0.0.1:{self.town.links[self.name].upstream}",
            inside=self.town.inside,
            more=_MORE.format(
                certificate=certificate,
                key=key,
                authority=authority.path,
                level=self.level,
                identity=self.identity,
            ),
        )
        self.process.authority = authority.path

    def kill(self) -> None:
        """As a machine that loses its power does."""
        self.process.process.send_signal(signal.SIGKILL)
        self.process.process.wait(20)
        self.output += self.process.output

    def stop(self) -> None:
        status = self.process.stop()
        self.output += self.process.output
        assert status == 0, f"{self.name} ended with {status}"


@contextmanager
def running_tripoint(folder: Path, town: Neighbourhood, name: str, identity: str = "") -> Iterator[Tripoint]:
    """A new server of this name; at its end nothing has gone wrong inside."""
    folder.mkdir(exist_ok=True)
    town.add(name)
    server = Tripoint(name, folder, town, identity=f'"{identity}"' if identity else "")
    server.start()
    try:
        yield server
    finally:
        if server.process.process.poll() is None:
            server.stop()
    bad = [line for line in server.output if "Traceback" in line or "[error" in line]
    assert bad == [], "".join(server.output[-200:])
