"""Tokens with which clients come back: given, used, changed, ended.

spec: XEP-0484 3.1-3.6, 4.2, 5.1
"""

import asyncio
import base64
import hmac
from pathlib import Path
from typing import Any

import pytest

from tests.xmpp.in_one_step import BIND2, DESK, PHONE, SASL2, bind, log_in, on_server
from tests.xmpp.server import CONFIG, SERVER, Client, TestServer
from tests.xmpp.test_listener import client_context
from tests.xmpp.test_management import SM
from tripoint.accounts.fast_tokens import LIFE_MS, MAX_CLIENTS, ROTATE_MS
from tripoint.accounts.sasl import HashedToken, HashedTokenExchange, SaslFailed
from tripoint.core.ids import DeviceId
from tripoint.core.signing import SigningKey
from tripoint.net.tls import ClientTls
from tripoint.runtime.middle import build_middle
from tripoint.store.sqlite import SqliteStore
from tripoint.xmpp.wire import Element

FAST = "urn:xmpp:fast:0"
NONE, ENDP = "HT-SHA-256-NONE", "HT-SHA-256-ENDP"


def asking(mechanism: str = NONE) -> str:
    return f"<request-token xmlns='{FAST}' mechanism='{mechanism}'/>"


def token_in(success: Element) -> str | None:
    token = success.child("token", FAST)
    return None if token is None else token.get("token")


async def first_token(server: TestServer, mechanism: str = NONE, agent: str = PHONE, name: str = "alice") -> str:
    client, success = await log_in(server, name, bind() + asking(mechanism), agent)
    await gone(client)
    token = token_in(success)
    assert token is not None
    return token


async def gone(client: Client) -> None:
    client.send("</stream:stream>")
    await client.lost()


async def come_back(
    server: TestServer,
    token: str,
    *,
    mechanism: str = NONE,
    agent: str = PHONE,
    fast: str = "",
    inside: str = bind(),
    name: str = "alice",
    binding: bytes | None = None,
) -> tuple[Client, Element]:
    """A client with a token, and what it is told."""
    client = await server.connect_tls(client_context())
    await client.open()
    if binding is None:
        binding = b"" if mechanism == NONE else server.front.tls.end_point  # type: ignore[union-attr]
    digest = hmac.digest(token.encode(), b"Initiator" + binding, "sha256")
    first = base64.b64encode(name.encode() + b"\0" + digest).decode()
    client.send(
        f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'><initial-response>{first}</initial-response>"
        f"<user-agent id='{agent}'><software>Awesome</software></user-agent>{inside}"
        f"<fast xmlns='{FAST}' {fast}/></authenticate>"
    )
    answer = await client.stanza()
    if answer.name == "success":
        proof = base64.b64decode(answer.child_text("additional-data", SASL2) or "")
        assert proof == hmac.digest(token.encode(), b"Responder" + binding, "sha256")
    return client, answer


async def is_refused(server: TestServer, token: str, condition: str = "not-authorized", **how: Any) -> None:
    client, answer = await come_back(server, token, **how)
    first = answer.first()
    assert (answer.name, None if first is None else first.name) == ("failure", condition)
    await gone(client)


async def is_taken(server: TestServer, token: str, **how: Any) -> str | None:
    """The token that comes with it, if any."""
    client, answer = await come_back(server, token, **how)
    assert answer.name == "success", answer.first()
    await gone(client)
    return token_in(answer)


class Clock:
    def __init__(self, server: TestServer) -> None:
        tokens = server.middle.accounts.fast_tokens
        real = tokens._clock_ms
        self.passed_ms = 0
        tokens._clock_ms = lambda: real() + self.passed_ms


def test_it_is_offered_over_tls(tls: ClientTls) -> None:
    """spec: XEP-0484 3.1, example 1"""

    async def work(server: TestServer) -> None:
        client = await server.connect_tls(client_context())
        features = await client.open()
        inline = features.child("authentication", SASL2).child("inline", SASL2)  # type: ignore[union-attr]
        fast = inline.child("fast", FAST)  # type: ignore[union-attr]
        assert fast is not None and fast.get("tls-0rtt") is None
        assert [one.text for one in fast.elements()] == ["HT-SHA-256-EXPR", ENDP, NONE]

    on_server(tls, work)


@pytest.mark.parametrize("mechanism", [NONE, ENDP])
def test_given_and_used(tls: ClientTls, mechanism: str) -> None:
    """With a resource and all that comes with it, in one step. spec: XEP-0484 3.2-3.4, examples 2, 3, 4"""

    async def work(server: TestServer) -> None:
        phone, success = await log_in(server, "alice", bind() + asking(mechanism), PHONE)
        jid, token = phone.jid, token_in(success)
        given = success.child("token", FAST)
        assert token is not None and given is not None
        assert (given.get("expiry") or "").endswith("Z")
        await gone(phone)
        managed = bind(f"<enable {SM} resume='true'/>")
        again, answer = await come_back(server, token, mechanism=mechanism, inside=managed)
        assert answer.child_text("authorization-identifier", SASL2) == jid
        bound = answer.child("bound", BIND2)
        assert bound is not None and bound.child("enabled", SM[7:-1]) is not None
        assert answer.child("token", FAST) is None
        assert (await again.stanza()).name == "features"
        await again.quiet()
        # And once more, with the whole address as some clients name themselves.
        assert await is_taken(server, token, mechanism=mechanism, name=f"alice@{SERVER}") is None

    on_server(tls, work)


def test_who_does_not_get_in(tls: ClientTls) -> None:
    """spec: XEP-0484 3.4 (other mechanisms), 4.1 (whose token it is)"""

    async def work(server: TestServer) -> None:
        token, bound = await first_token(server), await first_token(server, ENDP, DESK)
        await is_refused(server, token + "x")
        await is_refused(server, token, agent=DESK)
        await is_refused(server, token, name="bob")
        await is_refused(server, token, name="nobody")
        await is_refused(server, token, mechanism=ENDP)
        await is_refused(server, bound, mechanism=NONE, agent=DESK)
        await is_refused(server, bound, mechanism=ENDP, agent=DESK, binding=b"another certificate")
        await is_refused(server, token, "invalid-mechanism", mechanism="HT-SHA-256-UNIQ", binding=b"")
        await is_refused(server, token, "malformed-request", agent="not a uuid")
        await is_refused(server, token, "malformed-request", fast="count='-1'")
        await is_taken(server, token)
        await is_taken(server, bound, mechanism=ENDP, agent=DESK)

    on_server(tls, work)


def test_without_fast_it_is_no_mechanism(tls: ClientTls) -> None:
    """A token comes with <fast/>, and a password does not. spec: XEP-0484 3.4"""

    async def work(server: TestServer) -> None:
        client = await server.connect_tls(client_context())
        await client.open()
        for mechanism, inside in ((NONE, ""), ("PLAIN", f"<user-agent id='{PHONE}'/><fast xmlns='{FAST}'/>")):
            client.send(
                f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>"
                f"<initial-response>AGFsaWNlAGNvcnJlY3QgaG9yc2U=</initial-response>{inside}</authenticate>"
            )
            await client.expect("<failure …<invalid-mechanism …")
        client.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{NONE}'>YQ==</auth>")
        await client.expect("<failure …<invalid-mechanism…")

    on_server(tls, work)


def test_changed_in_time(tls: ClientTls) -> None:
    """The old one holds until the new one is used, and a new one that was not used until the next. spec: XEP-0484 3.5,
    5.1, example 5"""

    async def work(server: TestServer) -> None:
        clock = Clock(server)
        first = await first_token(server)
        assert await is_taken(server, first) is None
        clock.passed_ms = ROTATE_MS
        lost = await is_taken(server, first)
        second = await is_taken(server, first)
        assert lost and second and len({first, lost, second}) == 3
        await is_refused(server, lost)
        assert await is_taken(server, second) is None
        await is_refused(server, first)
        clock.passed_ms += LIFE_MS
        await is_refused(server, second, "credentials-expired")

    on_server(tls, work)


def test_counted_uses(tls: ClientTls) -> None:
    """spec: XEP-0484 3.4: "less than or equal to a count that has already been processed for this token" """

    async def work(server: TestServer) -> None:
        token = await first_token(server)
        assert await is_taken(server, token, fast="count='3'") is None
        await is_refused(server, token, fast="count='3'")
        await is_refused(server, token, fast="count='2'")
        await is_taken(server, token, fast="count='4'")
        await is_taken(server, token)

    on_server(tls, work)


def test_taken_back_by_its_client(tls: ClientTls) -> None:
    """spec: XEP-0484 3.6, example 6: none in its place, unless the client asks for one"""

    async def work(server: TestServer) -> None:
        clock = Clock(server)
        token = await first_token(server)
        clock.passed_ms = ROTATE_MS
        assert await is_taken(server, token, fast="invalidate='true'") is None
        await is_refused(server, token)
        token = await first_token(server)
        other = await is_taken(server, token, fast="invalidate='1'", inside=bind() + asking())
        assert other is not None
        await is_refused(server, token)
        await is_taken(server, other)

    on_server(tls, work)


def test_who_is_not_given_one(tls: ClientTls) -> None:
    """Without saying which client it is, or for a mechanism that there is not, the login goes on without."""

    async def work(server: TestServer) -> None:
        for inside, agent in ((asking(), ""), (asking("HT-SHA-512-NONE"), PHONE), (asking(""), PHONE)):
            client, success = await log_in(server, "alice", bind() + inside, agent)
            assert token_in(success) is None
            await gone(client)

    on_server(tls, work)


def test_ended_elsewhere(tls: ClientTls) -> None:
    """A device that is logged out, another password, an account that is locked."""

    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        alice = accounts.user_id("alice")
        token = await first_token(server)
        client, _ = await come_back(server, token)
        devices = [one.device_id for one in await accounts.devices(alice) if one.display_name == "XMPP (Awesome)"]
        await accounts.log_out(alice, devices)
        await client.lost()
        await is_refused(server, token)
        # A client of the same name that comes later does not bring it back.
        assert await first_token(server, agent=DESK)
        await is_refused(server, token)

        token = await first_token(server)
        await accounts.change_password(alice, "correct horse!", keep_device=DeviceId(devices[0]))
        await is_refused(server, token)
        await accounts.change_password(alice, "correct horse", keep_device=None, logout_devices=False)

        token = await first_token(server)
        await accounts.set_locked(alice, True)
        await is_refused(server, token, "account-disabled")

    on_server(tls, work)


def test_of_who_came_by_an_access_token(tls: ClientTls) -> None:
    """It goes with the device that let its client in, and so does the session that it let in. spec: RFC7628 3.1"""

    async def work(server: TestServer) -> None:
        accounts = server.middle.accounts
        account = await accounts.account(accounts.user_id("alice"))
        assert account is not None
        phone = await accounts.log_in(account, protocol="matrix", tokens=True)
        client = await server.connect_tls(client_context())
        await client.open()
        first = base64.b64encode(f"n,,\x01auth=Bearer {phone.access_token}\x01\x01".encode()).decode()
        client.send(
            f"<authenticate xmlns='{SASL2}' mechanism='OAUTHBEARER'><initial-response>{first}</initial-response>"
            f"<user-agent id='{PHONE}'/>{bind()}{asking()}</authenticate>"
        )
        token = token_in(await client.stanza())
        assert token is not None
        await gone(client)
        client, success = await come_back(server, token)
        assert success.name == "success"
        await accounts.log_out(account.user_id, [phone.device_id])
        await client.lost()
        await is_refused(server, token)

    on_server(tls, work)


def test_many_clients(tls: ClientTls) -> None:
    async def work(server: TestServer) -> None:
        clock, accounts = Clock(server), server.middle.accounts
        alice = accounts.user_id("alice")
        token = await first_token(server)
        for number in range(MAX_CLIENTS):
            clock.passed_ms += 1
            await accounts.fast_tokens.grant(alice, f"client {number}", DeviceId("D"), NONE)
        rows = await server.middle.accounts._store.load_fast_tokens(alice)  # type: ignore[attr-defined]
        assert len(rows) == MAX_CLIENTS
        await is_refused(server, token)

    on_server(tls, work)


def test_the_database_does_not_hold_it(tls: ClientTls, tmp_path: Path) -> None:
    """Nor anything that it could be made of without the server's secret."""

    async def work() -> bytes:
        store = SqliteStore(tmp_path / "t.db")
        for secret in (b"s" * 32, b"t" * 32):
            middle = await build_middle(CONFIG, store, SigningKey("ed25519:t", bytes(32)), secret=secret)
            accounts = middle.accounts
            if secret == b"s" * 32:
                account = await accounts.add_account("alice", "correct horse", admin=False)
                device = await accounts.log_in(account, protocol="xmpp", display_name="XMPP (A)")
                granted = await accounts.fast_tokens.grant(account.user_id, PHONE, device.device_id, NONE)
            digest = hmac.digest(granted.token.encode(), b"Initiator", "sha256")
            shown = HashedToken(NONE, "alice", digest, b"")
            known = await accounts.fast_tokens.recognize(account.user_id, PHONE, shown, None)
            assert (known is not None) == (secret == b"s" * 32)
        await store.close()
        return granted.token.encode()

    token = asyncio.run(work())
    assert not any(token in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b"alice", b"\0" + b"d" * 32, b"alice\0short", b"alice\0" + b"d" * 33])
def test_messages_that_are_none(data: bytes) -> None:
    with pytest.raises(SaslFailed):
        HashedTokenExchange(NONE, None).receive(data)
