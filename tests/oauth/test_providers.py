"""Logging in by an identity provider: what of its answers is believed, and whose account it is.

spec: Matrix client-server-api sso-login; OpenID Connect Core 3.1.3.7. A provider that nobody here wrote: tests/interop.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.matrix.client import PASSWORD, Server, matrix
from tests.oauth.browser import Browser, Form, logged_in
from tests.support.middle import Clock, run
from tripoint.core.errors import RemoteFailed
from tripoint.core.oauth.openid import BadProvider, read_endpoints, suggested_localpart
from tripoint.core.oauth.providers import Provider
from tripoint.net.outbound import Answer
from tripoint.oauth.provider_client import ProviderClient

ISSUER = "https://id.example"
KEY, OTHER_KEY = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
}


class FakeProvider:
    """An Outbound behind which one provider is. What the test changes is what it answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.document: dict[str, Any] = dict(DOCUMENT)
        self.keys = [KEY]
        self.sign = KEY
        self.header: dict[str, Any] = {"alg": "RS256"}
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": "7", "preferred_username": "Zoë", "name": "Zoë Z"}
        self.asked: list[tuple[str, dict[str, str], Mapping[str, str]]] = []
        self.nonce = ""
        self.down = False

    async def get(self, url: str, *, headers: Any = None, limit_bytes: int, timeout_s: float) -> Answer:
        if self.down:
            raise RemoteFailed("id.example", "no connection")
        if url.endswith("/keys"):
            return _json({"keys": [key.as_dict(private=False) for key in self.keys]})
        if url.endswith("/userinfo"):
            assert headers == {"Authorization": "Bearer access"}
            return _json(self.userinfo)
        assert url == f"{ISSUER}/.well-known/openid-configuration"
        return _json(self.document)

    async def post(self, url: str, body: bytes, *, headers: Any, limit_bytes: int, timeout_s: float) -> Answer:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        self.asked.append((url, form, headers))
        if form["code"] != "good":
            return Answer(400, b'{"error":"invalid_grant"}')
        claims = {
            "iss": ISSUER,
            "sub": "7",
            "aud": "us",
            "exp": int(self.clock.s()) + 300,
            "iat": int(self.clock.s()),
            "nonce": self.nonce,
            **self.claims,
        }
        token = jwt.encode(self.header, {k: v for k, v in claims.items() if v is not None}, self.sign)
        return _json({"access_token": "access", "token_type": "Bearer", "id_token": token})


def _json(value: object) -> Answer:
    return Answer(200, orjson.dumps(value))


@asynccontextmanager
async def with_provider(**changes: Any) -> AsyncIterator[tuple[Server, FakeProvider]]:
    clock = Clock()
    fake = FakeProvider(clock)
    provider = Provider("prov", "Prov", ISSUER, "us", "a secret", **changes)
    client = ProviderClient(provider, fake, clock.s, clock.s)  # type: ignore[arg-type]
    async with matrix(clock=clock, providers=[client]) as server:
        yield server, fake


async def there(browser: Browser, fake: FakeProvider, start: str) -> str:
    """Go to the provider; the state with which it leads back."""
    location = await browser.open(start)
    parts = urlsplit(location)
    assert location.startswith(f"{ISSUER}/authorize?"), location
    asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
    assert asked["redirect_uri"] == "https://chat.example.org/oauth2/callback"
    assert asked["code_challenge_method"] == "S256"
    fake.nonce = asked["nonce"]
    return asked["state"]


START = "/oauth2/provider?provider=prov&to=%2Faccount"


async def come_back(browser: Browser, state: str, **more: str) -> str:
    query = "&".join(f"{key}={value}" for key, value in {"state": state, "code": "good", **more}.items())
    return await browser.open(f"/oauth2/callback?{query}")


def test_somebody_new_chooses_a_name_and_comes_again() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            flows = orjson.loads((await server.request("GET", "/_matrix/client/v3/login")).body)["flows"]
            assert flows[0]["identity_providers"] == [{"id": "prov", "name": "Prov"}]
            browser = Browser(server)
            await browser.open("/account")
            assert "Log in with Prov" in browser.page and "Or with your password" in browser.page
            await come_back(browser, await there(browser, fake, START))
            assert browser.title == "Choose your name" and 'value="zoe"' in browser.page
            url, form, headers = fake.asked[0]
            assert (url, form["grant_type"]) == (f"{ISSUER}/token", "authorization_code")
            assert headers["Authorization"] == "Basic dXM6YSUyMHNlY3JldA=="
            await browser.send("choose-name", name="Zoe.Z")
            assert browser.title == "Your account" and "@zoe.z:example.org" in browser.page
            again = Browser(server)
            await come_back(again, await there(again, fake, START))
            assert again.title == "Your account" and "@zoe.z:example.org" in again.page
            # Without a password, nobody gets in by one.
            body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "zoe.z"}, "password": "x"}
            assert (await server.request("POST", "/_matrix/client/v3/login", body)).status == 403

    run(work)


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "them"}, "for somebody else"),
        ({"aud": ["us", "them"]}, "given to somebody else"),
        ({"aud": ["us", "them"], "azp": "them"}, "given to somebody else"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "soon"}, "expired"),
        ({"nonce": "another"}, "another log-in"),
        ({"nonce": None}, "another log-in"),
        ({"sub": ""}, "nobody"),
        ({"sub": 7}, "nobody"),
        ({"sub": None}, "nobody"),
        ({"sub": "x" * 256}, "nobody"),
        ({"sub": "8"}, "two different people"),
    ],
)
def test_id_tokens_that_are_not_believed(claims: dict[str, Any], text: str) -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            browser = Browser(server)
            state = await there(browser, fake, START)
            fake.claims = claims
            page = await come_back(browser, state)
            assert browser.status == 502 and text in page, page
            # It is over: the same answer does not come a second time.
            fake.claims = {}
            assert "took too long" in await come_back(browser, state)

    run(work)


def test_signatures_are_checked_and_new_keys_are_found() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            browser = Browser(server)
            fake.sign = OTHER_KEY
            page = await come_back(browser, await there(browser, fake, START))
            assert browser.status == 502 and "not valid" in page
            fake.keys = [KEY, OTHER_KEY]
            fake.header = {"alg": "RS256", "kid": OTHER_KEY.thumbprint()}
            fake.keys = [RSAKey.import_key({**OTHER_KEY.as_dict(private=False), "kid": OTHER_KEY.thumbprint()})]
            await come_back(browser, await there(browser, fake, START))
            assert browser.title == "Choose your name"

    run(work)


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}])
def test_algorithms_that_prove_nothing(header: dict[str, str]) -> None:
    import base64
    import hmac

    async def work() -> None:
        async with with_provider() as (server, fake):
            browser = Browser(server)
            state = await there(browser, fake, START)
            claims = {"iss": ISSUER, "sub": "7", "aud": "us", "exp": int(fake.clock.s()) + 9, "nonce": fake.nonce}
            parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in (header, claims)]
            signed = b".".join(parts)
            pem = KEY.as_pem(private=False)
            proof = hmac.digest(pem, signed, "sha256") if header["alg"] == "HS256" else b""
            token = signed + b"." + base64.urlsafe_b64encode(proof).rstrip(b"=")

            async def post(*_: object, **__: object) -> Answer:
                return _json({"access_token": "access", "id_token": token.decode()})

            fake.post = post  # type: ignore[method-assign]
            page = await come_back(browser, state)
            assert browser.status == 502 and "not valid" in page

    run(work)


def test_answers_that_nobody_asked_for() -> None:
    """spec: sso-login: "guard against unsolicited authentication attempts" """

    async def work() -> None:
        async with with_provider() as (server, fake):
            mallory, victim = Browser(server), Browser(server)
            state = await there(mallory, fake, START)
            await victim.open("/account")
            assert "took too long" in await come_back(victim, state)
            assert "took too long" in await come_back(victim, "made-up")
            assert "another provider" in await come_back(mallory, state, iss="https%3A%2F%2Fevil.example")
            state = await there(mallory, fake, START)
            assert "invalid_grant" in await come_back(mallory, state, code="bad")
            state = await there(mallory, fake, START)
            assert "access_denied" in await come_back(mallory, state, error="access_denied")
            state = await there(mallory, fake, START)
            server.party.clock.now += 901
            assert "took too long" in await come_back(mallory, state)

    run(work)


@pytest.mark.parametrize(
    "to",
    ["https://evil.example/account", "//evil.example/account", "/\\evil.example", "/other", "javascript:x", "//[", ""],
)
def test_nobody_is_led_elsewhere(to: str) -> None:
    async def work() -> None:
        async with with_provider() as (server, _):
            response = await server.request("GET", "/oauth2/provider", provider="prov", to=to)
            # Nothing said is the account page.
            assert response.status == (404 if to else 303)
            response = await server.request("GET", "/oauth2/provider", provider="other", to="/account")
            assert response.status == 404

    run(work)


def test_a_provider_that_is_down_is_named() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            fake.down = True
            browser = Browser(server)
            page = await browser.open(START)
            assert browser.status == 502 and "Prov did not let you in" in page
            fake.down = False
            fake.document["issuer"] = "https://evil.example"
            page = await browser.open(START)
            assert "it calls itself" in page
            fake.document["issuer"] = ISSUER
            await there(browser, fake, START)

    run(work)


def test_an_account_is_linked_by_whoever_is_logged_in_to_both() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            await server.register("alice")
            await server.register("bob")
            alice = await logged_in(server, "alice")
            await alice.open("/account?action=identities")
            state = await there(alice, fake, f"{START}&link=1")
            await come_back(alice, state)
            assert alice.title == "Link Prov to @alice:example.org" and "“Zoë Z”" in alice.page
            # A form of another site links nothing.
            action, fields = Form(alice.page).forms["link"]
            await alice.post(action, {**fields, "form": "x"})
            assert alice.status == 403
            await come_back(alice, state)
            await alice.send("link")
            visitor = Browser(server)
            await come_back(visitor, await there(visitor, fake, START))
            assert "@alice:example.org" in visitor.page
            # It is nobody else's then.
            bob = await logged_in(server, "bob")
            await come_back(bob, await there(bob, fake, f"{START}&link=1"))
            await bob.send("link")
            assert bob.status == 403 and "linked with that one" in bob.page
            await alice.open("/account?action=identities")
            await alice.send("unlink")
            assert "The link is taken away" in alice.page
            await come_back(visitor, await there(visitor, fake, START))
            assert visitor.title == "Choose your name"

    run(work)


def test_the_only_way_in_is_not_taken_away() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            browser = Browser(server)
            await come_back(browser, await there(browser, fake, START))
            await browser.send("choose-name")
            await browser.open("/account?action=identities")
            await browser.send("unlink")
            assert browser.status == 400 and "Set a password first" in browser.page
            await browser.open("/account?action=password")
            assert "Present password" not in browser.page
            await browser.send("password", password=PASSWORD, again=PASSWORD)
            await browser.open("/account?action=identities")
            await browser.send("unlink")
            assert "The link is taken away" in browser.page

    run(work)


def test_names_that_are_taken_and_providers_that_bring_nobody_new() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            await server.register("zoe")
            browser = Browser(server)
            await come_back(browser, await there(browser, fake, START))
            await browser.send("choose-name")
            assert browser.status == 400 and "That name is taken" in browser.page
            await browser.send("choose-name", name="zoe2")
            assert "@zoe2:example.org" in browser.page
        async with with_provider(registers=False) as (server, fake):
            browser = Browser(server)
            page = await come_back(browser, await there(browser, fake, START))
            assert browser.status == 403 and "does not take new accounts" in page

    run(work)


def test_a_closed_account_stays_closed() -> None:
    async def work() -> None:
        async with with_provider() as (server, fake):
            browser = Browser(server)
            await come_back(browser, await there(browser, fake, START))
            await browser.send("choose-name")
            accounts = server.party.middle.accounts
            await accounts.deactivate(accounts.user_id("zoe"))
            page = await come_back(browser, await there(browser, fake, START))
            assert browser.status == 403 and "closed" in page

    run(work)


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ("zoe", "zoe"),
        ("Zoë Müller", "zoe-muller"),
        ("zoe@example.com", "zoe"),
        ("7of9", "of9"),
        ("…", ""),
        ("李", ""),
        ("A" * 50, "a" * 32),
        ("-x-", "x"),
        ("", ""),
    ],
)
def test_a_name_is_proposed(claim: str, name: str) -> None:
    assert suggested_localpart({"n": claim}, "n") == name
    assert suggested_localpart({"n": 7}, "n") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://id.example/"},
        {"issuer": None},
        {"authorization_endpoint": "http://id.example/authorize"},
        {"token_endpoint": 7},
        {"token_endpoint": "//["},
        {"jwks_uri": None},
    ],
)
def test_discovery_documents_that_are_not_taken(changes: dict[str, Any]) -> None:
    with pytest.raises(BadProvider):
        read_endpoints({**DOCUMENT, **changes}, ISSUER)
