"""Letting a new device in by a QR code: the places where the devices meet, and the whole way from the code to the keys.

What the devices say to each other is sealed with a box of libsodium here, where the proposals have HPKE and ECIES: to
the server it is the same.
spec: MSC4108, MSC4388; MSC4108 of September 2024
"""

import base64
from abc import ABC, abstractmethod
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import pytest
from nacl.public import Box, PrivateKey, PublicKey

from tests.matrix.client import Client, Server, matrix
from tests.oauth.browser import Browser, Kettle, logged_in
from tests.oauth.test_link import GRANT, ask
from tests.support.middle import make_config, run
from tripoint.core.rendezvous import LIFE_MS, MAX_BYTES
from tripoint.matrix.client.rendezvous import NEW, OLD
from tripoint.net.http import Response

TEXT = ((b"content-type", b"text/plain"),)


def header(response: Response, name: bytes) -> str:
    return dict(response.headers)[name].decode()


def body(response: Response) -> Any:
    return orjson.loads(response.body)


def error(response: Response) -> tuple[int, str]:
    return response.status, body(response)["errcode"]


async def new(server: Server, method: str, path: str = "", json: Any = None, token: str | None = None) -> Response:
    return await server.request(method, NEW + path, json, token=token)


def test_two_devices_take_turns() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert body(await new(server, "GET")) == {"create_available": False}
            assert body(await new(server, "GET", token=alice.token)) == {"create_available": True}
            assert error(await new(server, "POST", json={"data": ""})) == (403, "M_FORBIDDEN")
            made = body(await new(server, "POST", json={"data": "from A"}, token=alice.token))
            assert made.keys() == {"id", "sequence_token", "expires_in_ms"} and made["expires_in_ms"] == LIFE_MS
            path = f"/{made['id']}"
            server.party.clock.now += 10
            seen = body(await new(server, "GET", path))
            assert seen == {
                "data": "from A",
                "sequence_token": made["sequence_token"],
                "expires_in_ms": LIFE_MS - 10_000,
            }
            write = {"sequence_token": seen["sequence_token"], "data": "from B ☕"}
            written = body(await new(server, "PUT", path, write))
            assert written["sequence_token"] != seen["sequence_token"]
            # The answer was lost: the same again is the same.
            assert body(await new(server, "PUT", path, write)) == written
            clash = await new(server, "PUT", path, {**write, "data": "from C"})
            assert error(clash) == (409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE")
            seen = body(await new(server, "GET", path))
            assert (seen["data"], seen["sequence_token"]) == ("from B ☕", written["sequence_token"])
            # What a link leads to is no page of ours.
            for fetch in ((b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")):
                response = await server.request("GET", NEW + path, headers=(fetch,))
                assert error(response) == (403, "M_FORBIDDEN")
            assert (await new(server, "DELETE", path)).status == 200
            for method in ("GET", "DELETE"):
                assert error(await new(server, method, path)) == (404, "M_NOT_FOUND")
            assert error(await new(server, "PUT", path, write)) == (404, "M_NOT_FOUND")

    run(work)


def test_what_is_refused() -> None:
    async def work() -> None:
        async with matrix(make_config(matrix_guests=True)) as server:
            alice = await server.register("alice")
            for json, status, errcode in (
                ({}, 400, "M_MISSING_PARAM"),
                ({"data": 5}, 400, "M_BAD_JSON"),
                ({"data": "x" * (MAX_BYTES + 1)}, 413, "M_TOO_LARGE"),
                ({"data": "☕" * 1366}, 413, "M_TOO_LARGE"),
            ):
                assert error(await new(server, "POST", json=json, token=alice.token)) == (status, errcode)
            made = body(await new(server, "POST", json={"data": "x" * MAX_BYTES}, token=alice.token))
            path = f"/{made['id']}"
            large = {"sequence_token": made["sequence_token"], "data": "x" * (MAX_BYTES + 1)}
            assert error(await new(server, "PUT", path, large)) == (413, "M_TOO_LARGE")
            assert error(await new(server, "PUT", path, {"data": "x"})) == (400, "M_MISSING_PARAM")
            # A place of one interface is none of the other.
            assert error(await server.request("GET", f"{OLD}{path}")) == (404, "M_NOT_FOUND")
            # It ends, whatever is done there.
            server.party.clock.now += 299
            await new(server, "PUT", path, {**large, "data": "y"})
            server.party.clock.now += 1
            assert error(await new(server, "GET", path)) == (404, "M_NOT_FOUND")
            response = await server.request("POST", "/_matrix/client/v3/register", {}, kind="guest")
            guest = body(response)["access_token"]
            assert body(await new(server, "GET", token=guest)) == {"create_available": False}
            assert error(await new(server, "POST", json={"data": ""}, token=guest)) == (403, "M_FORBIDDEN")
            # Without OAuth a new device could not be let in.
            server.party.middle.oauth.base = ""
            for method, where in (("GET", NEW), ("POST", OLD), ("GET", f"{OLD}/x"), ("DELETE", f"{NEW}/x")):
                assert error(await server.request(method, where, headers=TEXT)) == (404, "M_UNRECOGNIZED")
            features = body(await server.request("GET", "/_matrix/client/versions"))["unstable_features"]
            assert "org.matrix.msc4108" not in features

    run(work)


def test_there_are_so_many() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            for _ in range(10):
                assert (await new(server, "POST", json={"data": ""}, token=alice.token)).status == 200
            response = await new(server, "POST", json={"data": ""}, token=alice.token)
            assert error(response) == (429, "M_LIMIT_EXCEEDED") and body(response)["retry_after_ms"] == 5001
            # In 2024 that was M_UNKNOWN.
            assert error(await server.request("POST", OLD, raw=b"", headers=TEXT)) == (429, "M_UNKNOWN")
            # More in time, up to what one network may have.
            for _ in range(10):
                server.party.clock.now += 6
                assert (await new(server, "POST", json={"data": ""}, token=alice.token)).status == 200
            server.party.clock.now += 6
            response = await new(server, "POST", json={"data": ""}, token=alice.token)
            assert error(response) == (429, "M_LIMIT_EXCEEDED")
            assert body(response)["retry_after_ms"] == LIFE_MS - 66_000
            # Looking is cheap, but not without end.
            looked = [(await new(server, "GET", "/none")).status for _ in range(101)]
            assert looked == [404] * 100 + [429]
            server.address = "192.0.2.1"
            assert (await new(server, "POST", json={"data": ""}, token=alice.token)).status == 200

    run(work)


def test_by_etags_as_in_2024() -> None:
    async def work() -> None:
        async with matrix() as server:
            features = body(await server.request("GET", "/_matrix/client/versions"))["unstable_features"]
            assert features["org.matrix.msc4108"] is True
            made = await server.request("POST", OLD, raw=b"hello \xff", headers=TEXT)
            assert made.status == 201 and body(made).keys() == {"url"}
            url = body(made)["url"]
            assert url.startswith(f"https://chat.example.org{OLD}/")
            path, etag = url.removeprefix("https://chat.example.org"), header(made, b"etag")
            assert etag.startswith('"') and etag.endswith('"')
            now = server.party.clock.now
            assert parsedate_to_datetime(header(made, b"expires")).timestamp() == now + 300
            assert parsedate_to_datetime(header(made, b"last-modified")).timestamp() == now
            seen = await server.request("GET", path)
            assert (seen.status, seen.body, header(seen, b"etag")) == (200, b"hello \xff", etag)
            same = await server.request("GET", path, headers=((b"if-none-match", etag.encode()),))
            assert (same.status, same.body) == (304, b"")
            for response in (made, seen, same):
                assert header(response, b"cache-control") == "no-store" and header(response, b"pragma") == "no-cache"
                assert header(response, b"access-control-expose-headers") == "ETag"
                assert header(response, b"access-control-allow-origin") == "*"
            preflight = await server.request("OPTIONS", path)
            assert "If-Match" in header(preflight, b"access-control-allow-headers")
            assert "PUT" in header(preflight, b"access-control-allow-methods")
            elsewhere = await server.request("OPTIONS", NEW)
            assert "If-Match" not in header(elsewhere, b"access-control-allow-headers")

            async def put(data: bytes, match: str | None, kind: bytes | None = b"text/plain; charset=x") -> Response:
                headers = () if match is None else ((b"if-match", match.encode()),)
                typed = () if kind is None else ((b"content-type", kind),)
                return await server.request("PUT", path, raw=data, headers=(*headers, *typed))

            written = await put(b"answer", etag)
            assert (written.status, written.body) == (202, b"") and header(written, b"etag") != etag
            # spec: two clients can tell their own words apart; the same again is not the same here.
            clash = await put(b"answer", etag)
            assert error(clash) == (412, "M_UNKNOWN")
            assert body(clash)["org.matrix.msc4108.errcode"] == "M_CONCURRENT_WRITE"
            assert header(clash, b"etag") == header(written, b"etag")
            for match, kind, errcode in (
                (None, b"text/plain", "M_MISSING_PARAM"),
                (f"W/{etag}", b"text/plain", "M_INVALID_PARAM"),
                ("*", b"text/plain", "M_INVALID_PARAM"),
                (f"{etag}, {etag}", b"text/plain", "M_INVALID_PARAM"),
                (etag, b"application/json", "M_INVALID_PARAM"),
                (etag, None, "M_MISSING_PARAM"),
            ):
                assert error(await put(b"x", match, kind)) == (400, errcode)
            assert error(await put(b"x" * (MAX_BYTES + 1), etag)) == (413, "M_TOO_LARGE")
            assert error(await server.request("POST", OLD, raw=b"x" * 4097, headers=TEXT)) == (413, "M_TOO_LARGE")
            assert error(await server.request("POST", OLD, raw=b"x")) == (400, "M_MISSING_PARAM")
            gone = await server.request("DELETE", path)
            assert (gone.status, gone.body) == (204, b"")
            for method in ("GET", "DELETE"):
                assert error(await server.request(method, path)) == (404, "M_NOT_FOUND")

    run(work)


class Channel(ABC):
    """One end of a channel through a place: takes turns, and seals what it says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = PrivateKey.generate()
        self.box: Box | None = None

    def meet(self, other: bytes) -> None:
        self.box = Box(self.key, PublicKey(other))

    async def say(self, told: Any) -> None:
        assert self.box is not None
        await self.put(base64.b64encode(self.box.encrypt(orjson.dumps(told))).decode())

    async def hear(self) -> Any:
        assert self.box is not None
        return orjson.loads(self.box.decrypt(base64.b64decode(await self.get())))

    @abstractmethod
    async def put(self, text: str) -> None: ...
    @abstractmethod
    async def get(self) -> str:
        """What the other end has written since."""


class Tokens(Channel):
    """As MSC4388 has it."""

    def __init__(self, server: Server, name: str, seen: str = "") -> None:
        super().__init__(server)
        self.name, self.seen = name, seen

    async def put(self, text: str) -> None:
        response = await new(self.server, "PUT", f"/{self.name}", {"sequence_token": self.seen, "data": text})
        assert response.status == 200, response.body
        self.seen = body(response)["sequence_token"]

    async def get(self) -> str:
        told = body(await new(self.server, "GET", f"/{self.name}"))
        assert told["sequence_token"] != self.seen, "the other one has not written"
        self.seen = told["sequence_token"]
        return str(told["data"])


class Etags(Channel):
    """As MSC4108 had it in 2024."""

    def __init__(self, server: Server, path: str, seen: str = "") -> None:
        super().__init__(server)
        self.path, self.seen = path, seen

    async def put(self, text: str) -> None:
        headers = (*TEXT, (b"if-match", self.seen.encode()))
        response = await self.server.request("PUT", self.path, raw=text.encode(), headers=headers)
        assert response.status == 202, response.body
        self.seen = header(response, b"etag")

    async def get(self) -> str:
        headers = ((b"if-none-match", self.seen.encode()),) if self.seen else ()
        response = await self.server.request("GET", self.path, headers=headers)
        assert response.status == 200, "the other one has not written"
        self.seen = header(response, b"etag")
        return response.body.decode()


async def meet(server: Server, alice: Client, kind: type[Channel]) -> tuple[Channel, Channel]:
    """The existing device shows a QR code with its key and the place; the new one scans it, and answers."""
    if kind is Tokens:
        made = body(await new(server, "POST", json={"data": ""}, token=alice.token))
        old: Channel = Tokens(server, made["id"], made["sequence_token"])
        scanned: Channel = Tokens(server, made["id"])
    else:
        response = await server.request("POST", OLD, raw=b"", headers=TEXT)
        path = body(response)["url"].removeprefix("https://chat.example.org")
        old, scanned = Etags(server, path, header(response, b"etag")), Etags(server, path)
    qr = old.key.public_key.encode()
    assert await scanned.get() == ""
    scanned.meet(qr)
    assert scanned.box is not None
    hello = scanned.key.public_key.encode() + scanned.box.encrypt(b"MATRIX_QR_CODE_LOGIN_INITIATE")
    await scanned.put(base64.b64encode(hello).decode())
    answer = base64.b64decode(await old.get())
    old.meet(answer[:32])
    assert old.box is not None and old.box.decrypt(answer[32:]) == b"MATRIX_QR_CODE_LOGIN_INITIATE"
    await old.say("MATRIX_QR_CODE_LOGIN_OK")
    assert await scanned.hear() == "MATRIX_QR_CODE_LOGIN_OK"
    return old, scanned


@pytest.mark.parametrize("kind", [Tokens, Etags])
def test_a_new_device_is_let_in(kind: type[Channel]) -> None:
    """spec: MSC4108 "Login via OAuth 2.0 device authorization flow", steps 1 to 6, and the secrets after it."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice", device_id="EXISTING")
            old, scanned = await meet(server, alice, kind)
            # 2. The new device sees what the server can, registers, and begins.
            metadata = body(await server.request("GET", "/_matrix/client/v1/auth_metadata"))
            assert GRANT in metadata["grant_types_supported"]
            kettle = await Kettle.registered(server)
            scope = "urn:matrix:client:api:* urn:matrix:client:device:NEWDEVICE1"
            status, codes = await ask(server, kettle, scope=scope)
            assert status == 200
            # 3. It tells the existing device where somebody has to agree.
            grant = {name: codes[name] for name in ("verification_uri", "verification_uri_complete")}
            protocol = "device_authorization_grant"
            hello = {"type": "m.login.protocol", "protocol": protocol, protocol: grant, "device_id": "NEWDEVICE1"}
            await scanned.say(hello)
            told = await old.hear()
            assert told == hello
            # 4. No such device is there yet; the existing one agrees and opens the page.
            assert await alice.refused("GET", f"/devices/{told['device_id']}") == (404, "M_NOT_FOUND")
            await old.say({"type": "m.login.protocol_accepted"})
            assert (await scanned.hear())["type"] == "m.login.protocol_accepted"
            server.party.clock.now += codes["interval"]
            pending = await kettle.token(grant_type=GRANT, device_code=codes["device_code"])
            assert pending[1]["error"] == "authorization_pending"
            browser: Browser = await logged_in(server, "alice")
            await browser.open(told[protocol]["verification_uri_complete"].removeprefix("https://chat.example.org"))
            await browser.send("allow")
            # 5. The new device gets its token, and says so.
            server.party.clock.now += codes["interval"]
            status, tokens = await kettle.token(grant_type=GRANT, device_code=codes["device_code"])
            assert status == 200, tokens
            await scanned.say({"type": "m.login.success"})
            assert (await old.hear())["type"] == "m.login.success"
            # 6. The existing one sees the device, and gives it the secrets.
            assert (await alice.call("GET", "/devices/NEWDEVICE1"))["device_id"] == "NEWDEVICE1"
            secrets = {"type": "m.login.secrets", "cross_signing": {"master_key": "m", "self_signing_key": "s"}}
            await old.say(secrets)
            assert await scanned.hear() == secrets
            names = {"user_id": alice.user_id, "device_id": "NEWDEVICE1"}
            who = await Client(server, {**names, **tokens}).call("GET", "/account/whoami")
            assert (who["user_id"], who["device_id"]) == (alice.user_id, "NEWDEVICE1")

    run(work)


def test_a_new_device_is_not_let_in() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            old, scanned = await meet(server, alice, Tokens)
            kettle = await Kettle.registered(server)
            _, codes = await ask(server, kettle)
            browser = await logged_in(server, "alice")
            await browser.open(codes["verification_uri_complete"].removeprefix("https://chat.example.org"))
            await browser.send("deny")
            server.party.clock.now += codes["interval"]
            status, told = await kettle.token(grant_type=GRANT, device_code=codes["device_code"])
            assert (status, told["error"]) == (400, "access_denied")
            await scanned.say({"type": "m.login.declined"})
            assert await old.hear() == {"type": "m.login.declined"}

    run(work)
