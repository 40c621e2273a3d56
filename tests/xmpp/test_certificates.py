"""Logging in with a certificate over XMPP, and binding to the TLS session.

spec: XEP-0178 2, XEP-0388, XEP-0440, RFC9266
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.net.client_certificates import client_context, made_client
from tests.xmpp.server import OPTIONS, SERVER, Client, TestServer, serve
from tests.xmpp.test_listener import STARTTLS
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
SASL2 = "xmlns='urn:xmpp:sasl:2'"


def run(scenario: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))  # type: ignore[arg-type]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[TestServer]:
    make_self_signed([SERVER], folder / "cert.pem", folder / "key.pem")
    tls = ClientTls(ServerTls(folder / "cert.pem", folder / "key.pem"), b"xmpp-client")
    async with serve(tls=tls, options=OPTIONS) as server:
        await server.make_account("alice")
        yield server


async def direct(server: TestServer, context: ssl.SSLContext) -> tuple[Client, list[str], list[str]]:
    """A client over direct TLS, the mechanisms that it is offered, and the channel bindings."""
    client = await server.connect_tls(context)
    features = await client.open()
    mechanisms = next(child for child in features.elements() if child.name == "mechanisms")
    bindings = next(child for child in features.elements() if child.name == "sasl-channel-binding")
    return (
        client,
        [one.text for one in mechanisms.elements()],
        [one.get("type") or "" for one in bindings.elements()],
    )


async def own(server: TestServer, shown: str) -> None:
    accounts = server.middle.accounts
    await accounts.certificates.add(accounts.user_id("alice"), shown, shown=True)


def auth(authzid: str = "") -> str:
    return f"<auth {SASL} mechanism='EXTERNAL'>{base64.b64encode(authzid.encode()).decode() or '='}</auth>"


@pytest.mark.parametrize("way", ["direct", "starttls"])
@pytest.mark.parametrize("authzid", ["", f"alice@{SERVER}"])
def test_external(tmp_path: Path, way: str, authzid: str) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            await own(server, shown)
            if way == "direct":
                client, mechanisms, _ = await direct(server, context)
                assert mechanisms[0] == "EXTERNAL"
            else:
                client = await server.connect()
                await client.open()
                client.send(STARTTLS)
                await client.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                await client.start_tls(context)
                assert "EXTERNAL" in await _features(client)
            client.send(auth(authzid))
            assert (await client.stanza()).name == "success"
            await client.open()
            answer = await client.ask("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            assert f"<jid>alice@{SERVER}/" in answer

    run(scenario())


async def _features(client: Client) -> list[str]:
    features = await client.open()
    return [one.text for child in features.elements() for one in child.elements() if one.name == "mechanism"]


def test_external_in_the_extensible_profile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            await own(server, shown)
            client, _, _ = await direct(server, context)
            bind = "<bind xmlns='urn:xmpp:bind:0'><tag>phone</tag></bind>"
            client.send(
                f"<authenticate {SASL2} mechanism='EXTERNAL'><initial-response></initial-response>{bind}</authenticate>"
            )
            success = await client.stanza()
            assert success.name == "success"
            identifier = success.child_text("authorization-identifier", "urn:xmpp:sasl:2") or ""
            assert identifier.startswith(f"alice@{SERVER}/phone")

    run(scenario())


@pytest.mark.parametrize(
    ("authzid", "condition"),
    [
        ("", "not-authorized"),
        (f"bob@{SERVER}", "not-authorized"),
        ("alice@elsewhere.example", "invalid-authzid"),
        (f"alice@{SERVER}/home", "invalid-authzid"),
        ("@@", "invalid-authzid"),
        ("a\0b", "malformed-request"),
    ],
)
def test_refused(tmp_path: Path, authzid: str, condition: str) -> None:
    """A certificate of nobody, or of somebody else; with a password the client gets in on the same stream."""

    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            if authzid:
                await own(server, shown)
            client, _, _ = await direct(server, context)
            client.send(auth(authzid))
            failure = await client.stanza()
            assert failure.name == "failure"
            assert next(child.name for child in failure.elements()) == condition
            plain = base64.b64encode(b"\0alice\0correct horse").decode()
            client.send(f"<auth {SASL} mechanism='PLAIN'>{plain}</auth>")
            assert (await client.stanza()).name == "success"

    run(scenario())


def test_what_is_offered(tmp_path: Path) -> None:
    """spec: XEP-0440 2; RFC9266 2 (not before TLS 1.3, where nobody knows whether the master secret is unique)"""

    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context = client_context()
            client, mechanisms, bindings = await direct(server, context)
            assert "EXTERNAL" not in mechanisms
            assert bindings == ["tls-exporter", "tls-server-end-point"]
            client.send(auth())
            failure = await client.stanza()
            assert next(child.name for child in failure.elements()) == "invalid-mechanism"
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            _, mechanisms, bindings = await direct(server, context)
            assert bindings == ["tls-server-end-point"]
            assert "SCRAM-SHA-256-PLUS" in mechanisms

    run(scenario())


def test_a_locked_account(tmp_path: Path) -> None:
    """spec: docs/mapping.md 18.3"""

    async def scenario() -> None:
        async with serving(tmp_path) as server:
            context, shown = made_client(tmp_path, "phone")
            await own(server, shown)
            accounts = server.middle.accounts
            await accounts.set_locked(accounts.user_id("alice"), True)
            client, _, _ = await direct(server, context)
            client.send(auth())
            failure = await client.stanza()
            assert next(child.name for child in failure.elements()) == "account-disabled"

    run(scenario())
