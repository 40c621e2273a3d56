"""The page that the server shows: how to connect, and the first account."""

from typing import Any

import pytest

from tests.support.middle import make_config, party, run
from tests.support.terms import TERMS
from tripoint.net.http import Request, Response
from tripoint.runtime.welcome_page import WelcomePage


def get(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(method, path, b"", pairs, body, "127.0.0.1")


async def ask(page: WelcomePage, request: Request) -> Response:
    response = await page.handle(request)
    assert response is not None
    return response


def with_page(test: Any, **accounts: object) -> None:
    async def work() -> None:
        config = make_config(**accounts)
        async with party(config) as p:
            page = WelcomePage(config, p.middle.accounts)
            page.ports = {"http": [8008], "irc": [6667], "xmpp_tls": [5223]}
            page.has_websocket = True
            await test(page, p)

    run(work)


def test_it_says_how_to_connect_by_the_name_the_visitor_used() -> None:
    async def test(page: WelcomePage, p: object) -> None:
        response = await ask(page, get("/", host="chat.example.org:8008"))
        text = response.body.decode()
        assert "<code>http://chat.example.org:8008</code>" in text
        assert "<code>chat.example.org</code> port <code>6667</code>" in text
        assert "direct TLS port <code>5223</code>" in text
        assert "<code>ws://chat.example.org:8008/xmpp-websocket</code>" in text
        assert "off" not in text.split("<h2>Connect</h2>")[1]
        assert b"default-src 'none'" in dict(response.headers)[b"content-security-policy"]
        # With no-referrer, browsers would say Origin: null of its form.
        assert dict(response.headers)[b"referrer-policy"] == b"same-origin"
        # A hostile Host header is text.
        response = await ask(page, get("/", host="<script>alert(1)</script>"))
        assert b"<script>" not in response.body
        assert await page.handle(get("/other")) is None

    with_page(test)


def test_it_makes_an_account_as_the_protocols_do() -> None:
    async def test(page: WelcomePage, p: Any) -> None:
        form = b"name=Alice&password=correct+horse"
        response = await ask(page, get("/register", "POST", form))
        assert b"@alice:example.org is made" in response.body
        await p.middle.accounts.check_password("alice", "correct horse", address="")
        again = await ask(page, get("/register", "POST", form))
        assert (again.status, b"That name is taken" in again.body) == (400, True)
        for body in (b"", b"name=%ff&password=x", b"name=bob", b"&" * 50):
            assert (await ask(page, get("/register", "POST", body))).status == 400
        foreign = get("/register", "POST", b"name=eve&password=x", origin="https://evil.example", host="localhost:8008")
        assert (await ask(page, foreign)).status == 403

    with_page(test)


@pytest.mark.parametrize(
    ("mode", "said"), [("closed", b"tripoint user add NAME"), ("token", b"Registration token")]
)
def test_it_shows_what_registration_asks_for(mode: str, said: bytes) -> None:
    async def test(page: WelcomePage, p: object) -> None:
        response = await ask(page, get("/"))
        assert said in response.body
        assert (b"<form" in response.body) == (mode == "token")
        refused = await ask(page, get("/register", "POST", b"name=alice&password=correct+horse"))
        assert refused.status == 400

    with_page(test, registration=mode)


def test_what_has_to_be_accepted_is_ticked() -> None:
    async def test(page: WelcomePage, p: Any) -> None:
        text = (await ask(page, get("/"))).body.decode()
        assert 'name="terms.privacy" value="3" required' in text and "Privacy &lt;policy&gt;</a>" in text
        form = b"name=alice&password=correct+horse&terms.privacy=3"
        response = await ask(page, get("/register", "POST", form))
        assert response.status == 400 and b"accept first: Terms of Service" in response.body
        response = await ask(page, get("/register", "POST", form + b"&terms.terms_of_service=1.2"))
        assert b"@alice:example.org is made" in response.body

    with_page(test, terms=TERMS)
