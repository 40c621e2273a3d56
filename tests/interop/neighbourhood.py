"""A small internet on loopback: names, an authority that everybody trusts, and links that can be cut.

Server names are DNS names, found by SRV as on the real one (server-server-api resolving-server-names, step 4), in a
mount namespace with its own /etc/resolv.conf and /etc/hosts. Every server is reached through a Link, which is what
its SRV record points to: cutting it is cutting off the server, whatever it runs. Needs root, for the namespace and
port 53.
"""

import asyncio
import datetime
import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.interop.peer import must_have
from tests.support.ports import free_port

T = TypeVar("T")
HOST = "host.example"
_ENTERING = 'mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/hosts" /etc/hosts && exec "$@"'


@dataclass
class Authority:
    """A certificate authority made for the test. `path` is what clients and servers trust."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        self.path = self.folder / "authority.crt"
        self.path.write_bytes(self._sign(self._name, self._key, [], ca=True))

    def issue(self, name: str, *more: str) -> tuple[Path, Path]:
        """A certificate for these names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate.write_bytes(self._sign(subject, key, [name, *more], ca=False))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: Sequence[str], *, ca: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Link:
    """TCP from `port` to `upstream`, until it is cut: then open connections are reset and new ones refused."""

    def __init__(self, upstream: int) -> None:
        self.port = free_port()
        self.upstream = upstream
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def restore(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(back)
        await asyncio.gather(_carry(reader, back), _carry(there, writer))
        self._writers -= {writer, back}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class _Dns(asyncio.DatagramProtocol):
    """Answers at once, also that there is no such name: nobody waits for a time-out."""

    def __init__(self, address: str, links: dict[str, Link], services: dict[str, int]) -> None:
        self._address = address
        self._links = links
        self._services = services

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query, recursion_available=True)
        answer.flags |= dns.flags.AA
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        service, _, server = name.partition("._tcp.")
        found = None
        if name == HOST:
            found = "127.0.0.1"
        elif name in self._links:
            # Nothing listens on its port 443: there is no .well-known, and that is known at once.
            found = self._address
        elif service == "_matrix-fed" and server in self._links and kind == "SRV":
            found = f"0 0 {self._links[server].port} {HOST}."
        elif name in self._services and kind == "SRV":
            found = f"0 0 {self._services[name]} {HOST}."
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif kind in ("A", "SRV"):
            answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", kind, found))
        self._transport.sendto(answer.to_wire(), peer)  # type: ignore[attr-defined]


@dataclass
class Neighbourhood:
    """Where the servers of a test live. `links`: by server name; `services`: ports by the name of an SRV record."""

    folder: Path
    authority: Authority
    links: dict[str, Link] = field(default_factory=dict)
    services: dict[str, int] = field(default_factory=dict)

    @property
    def inside(self) -> tuple[str, ...]:
        """What stands before the command of a process that lives here. It keeps the process id."""
        return ("unshare", "--mount", "sh", "-c", _ENTERING, str(self.folder))

    def add(self, name: str) -> Link:
        """A new name; its server has to listen on `upstream` of the link."""
        self.links[name] = link = Link(free_port())
        self.do(link.restore())
        return link

    def cut(self, name: str) -> None:
        """Nobody reaches this server any more. It still reaches others."""
        self.do(self.links[name].cut())

    def restore(self, name: str) -> None:
        self.do(self.links[name].restore())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop that carries the links, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    loop: asyncio.AbstractEventLoop = field(init=False)


@contextmanager
def neighbourhood(folder: Path) -> Iterator[Neighbourhood]:
    """Names and links, carried by a thread of their own. Skips where the machine does not allow it."""
    must_have(os.geteuid() == 0 and shutil.which("unshare"), "root and unshare, for a name server of the test's own")
    made = Neighbourhood(folder, Authority(folder))
    # One address for each run: others on this machine may be doing the same.
    address = f"127.{1 + os.getpid() // 65536 % 250}.{os.getpid() // 256 % 256}.{os.getpid() % 254 + 1}"
    (folder / "resolv.conf").write_text(f"nameserver {address}\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    made.loop = asyncio.new_event_loop()
    thread = threading.Thread(target=made.loop.run_forever, name="neighbourhood", daemon=True)
    thread.start()
    try:
        protocol: Callable[[], _Dns] = lambda: _Dns(address, made.links, made.services)
        transport, _ = made.do(made.loop.create_datagram_endpoint(protocol, (address, 53)))
        try:
            yield made
        finally:
            for name in made.links:
                made.cut(name)
            made.do(_close(transport))
    finally:
        made.loop.call_soon_threadsafe(made.loop.stop)
        thread.join(10)
        made.loop.close()


async def _close(transport: asyncio.BaseTransport) -> None:
    transport.close()
    await asyncio.sleep(0)  # closed in the next turn of the loop
