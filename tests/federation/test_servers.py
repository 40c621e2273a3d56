"""Servers that learn each other's keys and believe each other's requests, over TLS on loopback.

spec: Matrix server-server-api
"""

import asyncio
import http.client
import ssl
from pathlib import Path

import orjson
import pytest

from tests.federation.network import key_document
from tests.federation.servers import Islands, islands, server
from tests.net.https import answer, https_server, make_certificate
from tests.support.middle import run
from tripoint import __version__
from tripoint.config.options import Outbound, Server
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, verify_json
from tripoint.matrix.federation import client
from tripoint.matrix.federation.auth import sign_request
from tripoint.matrix.federation.client import RemoteRefused, make_target
from tripoint.matrix.keys.document import parse_key_document
from tripoint.runtime.data_dir import DataDir
from tripoint.runtime.middle import clock_ms

ONE, TWO, THREE = server("one.example"), server("two.example"), server("three.example")
QUERY = make_target("_matrix", "key", "v2", "query")


async def call(
    made: Islands, to: ServerName, method: str, target: str, *, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, JsonObject]:
    """A raw request to a server's federation port, with no help from our client."""
    def work() -> tuple[int, JsonObject]:
        context = ssl.create_default_context(cafile=str(made.folder / to / "self-made.crt"))
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", made.table.ports[to], timeout=10, context=context)
        connection.request(method, target, body or None, headers or {})
        response = connection.getresponse()
        found = orjson.loads(response.read() or b"{}")
        connection.close()
        return response.status, found

    return await asyncio.to_thread(work)


def signed(
    key: SigningKey, origin: str, to: ServerName, method: str, target: str, content: JsonObject | None
) -> dict[str, str]:
    return {"Authorization": sign_request(key, ServerName(origin), to, method, target, content)}


def test_servers_exchange_keys_and_believe_each_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE].federation.trust, made.apps[TWO].federation.trust
            for here, there in ((one, two), (two, one)):
                key = there.own.key
                assert await here.ring.request_keys(there.own.server, [key.key_id]) == {key.key_id: key.verify_key_b64}
            content: JsonObject = {"a": [1, "ö"], "float of an old room": 1.5, "large": 2**60}
            target = make_target("_matrix", "federation", "v1", "echo", "a/b ö?")
            found = await one.client.request(TWO, "PUT", target, content)
            assert found == {"origin": ONE, "word": "a/b ö?", "content": content}
            target = make_target("_matrix", "federation", "v1", "echo", "!r:x", query={"q": ["a&b c", "2"]})
            assert (await two.client.request(ONE, "GET", target))["query"] == "a&b c"

    run(work)


def test_requests_without_proof_are_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            key = made.apps[ONE].federation.trust.own.key
            target = "/_matrix/federation/v1/echo/x?a=1"
            content: JsonObject = {"a": 1}
            body = orjson.dumps(content)
            good = signed(key, ONE, TWO, "PUT", target, content)
            status, found = await call(made, TWO, "PUT", target, body=body, headers=good)
            assert (status, found["origin"]) == (200, ONE)
            stranger = SigningKey(key.key_id, bytes(32))
            unknown = SigningKey("ed25519:unknown", bytes(32))
            refused: list[tuple[str, str, bytes, dict[str, str]]] = [
                ("PUT", target, body, {}),
                ("PUT", target, body, {"Authorization": "Bearer abc"}),
                ("PUT", target, body, {"Authorization": "X-Matrix nonsense"}),
                ("PUT", target, b'{"a":2}', good),
                ("PUT", target, b"", good),
                ("PUT", target.replace("=1", "=2"), body, good),
                ("GET", target, body, good),
                ("PUT", target, body, signed(key, ONE, ONE, "PUT", target, content)),
                ("PUT", target, body, signed(stranger, ONE, TWO, "PUT", target, content)),
                ("PUT", target, body, signed(unknown, ONE, TWO, "PUT", target, content)),
                ("PUT", target, body, signed(key, "nowhere.example", TWO, "PUT", target, content)),
                ("PUT", target, body, signed(key, "10.0.0.1", TWO, "PUT", target, content)),
                # Its own name, which the sender cannot have.
                ("PUT", target, body, signed(key, TWO, TWO, "PUT", target, content)),
            ]
            for method, at, data, headers in refused:
                status, found = await call(made, TWO, method, at, body=data, headers=headers)
                assert (status, found["errcode"]) == (401, "M_UNAUTHORIZED"), headers
            for data, errcode in ((b"{", "M_NOT_JSON"), (b"[]", "M_BAD_JSON"), (b'{"a":' * 500, "M_NOT_JSON")):
                status, found = await call(made, TWO, "PUT", target, body=data, headers=good)
                assert (status, found["errcode"]) == (400, errcode)

    run(work)


def test_what_the_port_for_servers_answers(tmp_path: Path) -> None:
    async def work() -> None:
        changes: dict[str, object] = {
            "server": Server(
                name=TWO, data_dir=str(tmp_path / TWO), federation_address="matrix.two.example:443"
            )
        }
        async with islands(tmp_path, ONE, TWO, start={TWO: changes}) as made:
            version = {"server": {"name": "tripoint", "version": __version__}}
            assert await call(made, ONE, "GET", "/_matrix/federation/v1/version") == (200, version)
            status, found = await call(made, ONE, "GET", "/.well-known/matrix/server")
            assert (status, found["errcode"]) == (404, "M_NOT_FOUND")
            delegated = await call(made, TWO, "GET", "/.well-known/matrix/server")
            assert delegated == (200, {"m.server": "matrix.two.example:443"})
            for path in ("/", "/_matrix/client/versions", "/.well-known/matrix/client", "/register"):
                status, found = await call(made, ONE, "GET", path)
                assert (status, found["errcode"]) == (404, "M_UNRECOGNIZED"), path
            # spec: "Unsupported endpoints": 404, or 405 for a method.
            for method, path, expected in (
                ("GET", "/_matrix/federation/v1/nonsense", 404),
                ("POST", "/_matrix/federation/v1/version", 405),
            ):
                status, found = await call(made, ONE, method, path)
                assert (status, found["errcode"]) == (expected, "M_UNRECOGNIZED")
            status, keys = await call(made, ONE, "GET", "/_matrix/key/v2/server")
            assert status == 200
            own = made.apps[ONE].federation.trust.own.key
            assert set(parse_key_document(keys, ONE, clock_ms()).keys) == {own.key_id}

    run(work)


def test_a_new_key_is_believed_and_the_old_one_stays_known(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            two = made.apps[TWO].federation.trust
            old = made.apps[ONE].federation.trust.own.key
            target = make_target("_matrix", "federation", "v1", "echo", "x")
            await made.apps[ONE].federation.trust.client.request(TWO, "PUT", target, {})
            await made.stop(ONE)
            folder = DataDir(tmp_path / ONE)
            new = folder.rotate_signing_key(clock_ms())
            folder.close()
            await made.start(ONE)
            assert made.apps[ONE].federation.trust.own.key.key_id == new.key_id != old.key_id
            # Two was told a minute ago at the latest: it asks again only then.
            two.ring._servers[ONE].asked_ms -= 60_000
            found = await made.apps[ONE].federation.trust.client.request(TWO, "PUT", target, {})
            assert found["origin"] == ONE
            assert await two.ring.request_keys(ONE, [old.key_id]) == {}
            kept = (await two.ring.keys(ONE, [old.key_id], 0))[old.key_id]
            assert kept.old and kept.public_key == old.verify_key_b64
            # And after a restart, from the store.
            await made.stop(TWO)
            await made.start(TWO)
            await made.stop(ONE)
            ring = made.apps[TWO].federation.trust.ring
            assert await ring.keys(ONE, [old.key_id], 0) == {old.key_id: kept}
            assert set(await ring.request_keys(ONE, [old.key_id, new.key_id])) == {new.key_id}

    run(work)


def test_a_notary_vouches_for_a_server_that_is_gone(tmp_path: Path) -> None:
    async def work() -> None:
        changes: dict[str, object] = {"outbound": Outbound(allow_networks=("127.0.0.0/8",), key_notaries=(TWO,))}
        async with islands(tmp_path, ONE, TWO, THREE, start={THREE: changes}) as made:
            one, two, three = (made.apps[name].federation.trust for name in (ONE, TWO, THREE))
            key = one.own.key
            await two.ring.request_keys(ONE, [key.key_id])
            await made.stop(ONE)
            assert await three.ring.request_keys(ONE, [key.key_id]) == {key.key_id: key.verify_key_b64}
            # What the notary answers, both ways of asking.
            by_key = orjson.dumps({"server_keys": {ONE: {key.key_id: {}}, "ä": {}}})
            for status, found in (
                await call(made, TWO, "GET", f"{QUERY}/{ONE}"),
                await call(made, TWO, "GET", f"{QUERY}/{ONE}?minimum_valid_until_ts=5"),
                await call(made, TWO, "POST", QUERY, body=orjson.dumps({"server_keys": {ONE: {}}})),
                await call(made, TWO, "POST", QUERY, body=by_key),
            ):
                assert status == 200
                (document,) = found["server_keys"]  # type: ignore[misc]
                verify_json(document, ONE, {key.key_id: key.verify_key_b64})
                verify_json(document, TWO, {two.own.key.key_id: two.own.key.verify_key_b64})
            # Its own keys, and servers that nobody knows.
            status, found = await call(made, TWO, "GET", f"{QUERY}/{TWO}")
            assert status == 200 and len(found["server_keys"]) == 1  # type: ignore[arg-type]
            for nobody in ("nowhere.example", "10.0.0.1"):
                assert await call(made, TWO, "GET", f"{QUERY}/{nobody}") == (200, {"server_keys": []})
            assert await call(made, TWO, "POST", QUERY, body=b'{"server_keys":{}}') == (200, {"server_keys": []})

    run(work)


@pytest.mark.parametrize(
    ("method", "more", "body", "errcode"),
    [
        ("GET", "/a%20b", b"", "M_INVALID_PARAM"),
        ("GET", "/one.example?minimum_valid_until_ts=soon", b"", "M_INVALID_PARAM"),
        ("GET", "/one.example?minimum_valid_until_ts=-1", b"", "M_INVALID_PARAM"),
        ("POST", "", b"", "M_NOT_JSON"),
        ("POST", "", b"{}", "M_BAD_JSON"),
        ("POST", "", b'{"server_keys":[]}', "M_BAD_JSON"),
        ("POST", "", b'{"server_keys":{"one.example":5}}', "M_BAD_JSON"),
        ("POST", "", b'{"server_keys":{"one.example":{"ed25519:a":5}}}', "M_BAD_JSON"),
        ("POST", "", b'{"server_keys":{"one.example":{"ed25519:a":{"minimum_valid_until_ts":"5"}}}}', "M_BAD_JSON"),
    ],
)
def test_questions_that_are_none(tmp_path: Path, method: str, more: str, body: bytes, errcode: str) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE) as made:
            status, found = await call(made, ONE, method, QUERY + more, body=body)
            assert (status, found["errcode"]) == (400, errcode)

    run(work)


def test_answers_of_hostile_servers(tmp_path: Path) -> None:
    """Each is a failure of that server, told by its name, and no key of it is believed."""

    async def work() -> None:
        evil = server("evil.example")
        certificate = make_certificate(tmp_path, evil)
        (tmp_path / evil).mkdir()
        certificate.path.rename(tmp_path / evil / "self-made.crt")
        certificate.path = tmp_path / evil / "self-made.crt"
        made = Islands(tmp_path, (ONE, evil))
        made.names = (ONE,)
        made.make_certificates()
        made.names = (ONE, evil)
        app = await made.start(ONE)
        trust = app.federation.trust
        own = trust.own.document().json
        key = SigningKey("ed25519:a", bytes(32))
        forger = SigningKey(key.key_id, bytes([1]) * 32)
        theirs = orjson.dumps(key_document(evil, clock_ms(), key))
        try:
            for speak in (
                answer(b"{}"),
                answer(b"[]"),
                answer(b"\xff"),
                answer(b"{" * 10_000),
                answer(b" " * 20_000 + theirs),
                answer(orjson.dumps(key_document(evil, clock_ms(), key, signer=forger))),
                answer(orjson.dumps(own)),
                answer(orjson.dumps({**own, "server_name": evil})),
                answer(b"{}", "500 Internal Server Error"),
                answer(b"{}", "302 Found", f"Location: https://127.0.0.1:{app.ports['federation'][0]}/"),
            ):
                async with https_server(certificate, speak) as running:
                    made.table.ports[evil] = running.port
                    assert await trust.ring.request_keys(evil, ["ed25519:a"]) == {}
                    assert len(running.heads) == 1
                    trust.ring._servers[evil].asked_ms = 0
            # The same without the tricks is believed.
            async with https_server(certificate, answer(theirs)) as running:
                made.table.ports[evil] = running.port
                assert await trust.ring.request_keys(evil, ["ed25519:a"]) == {"ed25519:a": key.verify_key_b64}
            no = b'{"errcode":"M_NO","error":"why\\r\\nX"}'
            async with https_server(certificate, answer(no, "403 No")) as running:
                made.table.ports[evil] = running.port
                with pytest.raises(RemoteRefused) as refused:
                    await trust.client.request(evil, "GET", "/x")
                assert (refused.value.host, refused.value.status, refused.value.errcode) == (evil, 403, "M_NO")
                assert refused.value.reason == "403 M_NO why  X"
            with pytest.raises(RemoteFailed) as failed:
                await trust.client.request(evil, "GET", "/x")
            assert failed.value.host == evil
        finally:
            await made.stop(ONE)

    run(work)


def test_a_slow_server_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers a byte now and then, while another is asked; the deadline is for all steps together."""
    monkeypatch.setattr(client, "KEYS_TIMEOUT_S", 1.0)

    asked = asyncio.Event()

    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async def work() -> None:
        slow = server("slow.example")
        (tmp_path / slow).mkdir()
        certificate = make_certificate(tmp_path, slow)
        certificate.path.rename(tmp_path / slow / "self-made.crt")
        certificate.path = tmp_path / slow / "self-made.crt"
        async with islands(tmp_path, ONE, TWO) as made, https_server(certificate, drip) as running:
            made.table.ports[slow] = running.port
            await made.stop(ONE)
            made.names = (ONE, TWO, slow)
            await made.start(ONE)
            one, two = made.apps[ONE].federation.trust, made.apps[TWO].federation.trust
            waiting = asyncio.create_task(one.ring.request_keys(slow, ["ed25519:a"]))
            await asked.wait()
            key = two.own.key
            assert set(await one.ring.request_keys(TWO, [key.key_id])) == {key.key_id}
            assert not waiting.done()
            assert await waiting == {}

    run(work, timeout_s=15)
