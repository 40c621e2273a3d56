"""TLS of servers that connect: each gets through the handshake, and it is known whose certificate counts."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.net.client_certificates import client_context
from tripoint.net.link_tls import LinkTls
from tripoint.net.tls import ServerTls, make_self_signed
from tripoint.net.tls_transport import CERTIFICATE, VERIFIED

PATIENCE_S = 5.0
SERVES, CALLS = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Authority:
    """Signs certificates, and is in `path`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._sign(self._name, self._key, days=9, authority=True, usage=()))

    def client(self, *usage: ObjectIdentifier, days: int = 9, authority: bool = False) -> tuple[ssl.SSLContext, bytes]:
        """Somebody with a new certificate, and that as DER. `days`: how long it is valid yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = self._sign(x509.Name([]), key, days=days, authority=authority, usage=usage)
        paths = self._folder / "peer.crt", self._folder / "peer.key"
        paths[0].write_bytes(pem)
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return client_context(*paths), ssl.PEM_cert_to_DER_cert(pem.decode())

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        authority: bool,
        usage: tuple[ObjectIdentifier, ...],
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("peer.example")]), critical=False)
        )
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


class Noting(asyncio.Protocol):
    """What is known of who got through the handshake."""

    def __init__(self, noted: "asyncio.Queue[tuple[object, object]]") -> None:
        self._noted = noted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._noted.put_nowait((transport.get_extra_info(CERTIFICATE), transport.get_extra_info(VERIFIED)))
        transport.write(b"hello")  # type: ignore[attr-defined]


async def noted_of(folder: Path, authorities: tuple[Path, ...], *peers: ssl.SSLContext) -> list[tuple[object, object]]:
    """(certificate, whether it counts) of these, one after the other; a session that can be resumed is offered."""
    make_self_signed(["example.org"], folder / "own.crt", folder / "own.key")
    tls = LinkTls(ServerTls(folder / "own.crt", folder / "own.key"), [str(path) for path in authorities])
    noted: asyncio.Queue[tuple[object, object]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: tls.layer(lambda: Noting(noted), PATIENCE_S), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = []
    try:
        for peer in peers:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=peer)
                assert await reader.read(5) == b"hello"
                found.append(await noted.get())
                writer.close()
    finally:
        server.close()
    return found


async def agreed_with(folder: Path, *offered: list[str]) -> list[str | None]:
    """What is agreed on with who connects and offers these; last, what it offers itself, when it connects."""
    make_self_signed(["example.org"], folder / "own.crt", folder / "own.key")
    tls = LinkTls(ServerTls(folder / "own.crt", folder / "own.key"), (), "xmpp-server")
    noted: asyncio.Queue[tuple[object, object]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: tls.layer(lambda: Noting(noted), PATIENCE_S), "127.0.0.1", 0)
    found: list[str | None] = []
    peers = [client_context() for _ in offered]
    for peer, protocols in zip(peers, offered, strict=True):
        peer.set_alpn_protocols(protocols)
    try:
        for peer in (*peers, tls.unverified):
            async with asyncio.timeout(PATIENCE_S):
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=peer)
                found.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
                writer.close()
    finally:
        server.close()
    return found


def test_servers_name_their_protocol_in_tls(tmp_path: Path) -> None:
    """spec: XEP-0368 4 (xmpp-server), RFC7301 3.2"""
    offered = (["xmpp-server"], ["h2", "xmpp-server"], ["h2"])
    assert asyncio.run(agreed_with(tmp_path, *offered)) == ["xmpp-server", "xmpp-server", None, "xmpp-server"]


@pytest.mark.parametrize(
    ("usage", "days", "counts"),
    [
        ((), 9, True),
        ((SERVES, CALLS), 9, True),
        # What public authorities sign now: the name is its own when it is called, and so it is when it calls.
        ((SERVES,), 9, True),
        ((CALLS,), 9, True),
        ((ExtendedKeyUsageOID.EMAIL_PROTECTION,), 9, False),
        ((SERVES, CALLS), -1, False),
    ],
)
def test_what_an_authority_signed(
    tmp_path: Path, usage: tuple[ObjectIdentifier, ...], days: int, counts: bool
) -> None:
    """spec: RFC6120 13.7.1.1"""
    authority = Authority(tmp_path, "known")
    context, certificate = authority.client(*usage, days=days)
    assert asyncio.run(noted_of(tmp_path, (authority.path,), context)) == [(certificate, counts)]


@pytest.mark.parametrize("usage", [(), (SERVES, CALLS), (SERVES,)])
def test_what_nobody_signed_and_nobody_knows(tmp_path: Path, usage: tuple[ObjectIdentifier, ...]) -> None:
    """It gets through: its name may be proved by dialback."""
    known, unknown = Authority(tmp_path, "known"), Authority(tmp_path, "unknown")
    context, certificate = unknown.client(*usage)
    assert asyncio.run(noted_of(tmp_path, (known.path,), context, client_context())) == [
        (certificate, False),
        (None, False),
    ]


def test_a_certificate_is_looked_at_in_each_handshake(tmp_path: Path) -> None:
    """The second connection has the first one's session at hand, and is asked again."""
    known, unknown = Authority(tmp_path, "known"), Authority(tmp_path, "unknown")
    good, good_der = known.client(SERVES)
    bad, bad_der = unknown.client(SERVES)
    for context in (good, bad):
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # where the session is known with the handshake
    noted = asyncio.run(noted_of(tmp_path, (known.path,), good, bad, good, bad))
    assert noted == [(good_der, True), (bad_der, False)] * 2


def test_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    make_self_signed(["example.org"], tmp_path / "own.crt", tmp_path / "own.key")
    own = ServerTls(tmp_path / "own.crt", tmp_path / "own.key")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises((OSError, ValueError)):
        LinkTls(own, [str(tmp_path / "broken.pem")])
