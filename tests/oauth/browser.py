"""A browser without a window: it keeps cookies, reads forms and sends them, and does not follow redirects by itself;
and an OAuth client that goes through it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson

from tests.matrix.client import Server
from tripoint.net.http import Request, Response

CLIENT: dict[str, Any] = {
    "client_name": "Kettle",
    "client_name#de": "Kessel",
    "client_uri": "https://kettle.example/",
    "tos_uri": "https://kettle.example/terms",
    "redirect_uris": ["https://app.kettle.example/callback"],
    "token_endpoint_auth_method": "none",
    "response_types": ["code"],
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "application_type": "web",
}
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
HOST = "chat.example.org"


class Form(HTMLParser):
    """The forms of a page: (address, fields), by the `do` of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: dict[str, tuple[str, dict[str, str]]] = {}
        self._action = ""
        self._fields: dict[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag == "form":
            assert found["method"] == "post"
            self._action, self._fields = found["action"], {}
        elif tag == "input" and self._fields is not None and "name" in found:
            self._fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._fields is not None:
            self.forms[self._fields["do"]] = (self._action, self._fields)
            self._fields = None


class Browser:
    """`page` is what is shown now, `where` its address, `status` how it came."""

    def __init__(self, server: Server, language: str = "en", address: str = "127.0.0.1") -> None:
        self.server = server
        self.language = language
        self.address = address
        self.cookies: dict[str, str] = {}
        self.where = ""
        self.page = ""
        self.status = 0
        self.response = Response(0)

    async def open(self, where: str) -> str:
        return await self._request("GET", where, b"")

    async def send(self, do: str, *, origin: str | None = f"http://{HOST}", **fields: str) -> str:
        """Fill in the form that does this, and send it."""
        action, known = Form(self.page).forms[do]
        return await self.post(action, {**known, **fields}, origin=origin)

    async def post(self, where: str, fields: dict[str, str], *, origin: str | None = f"http://{HOST}") -> str:
        return await self._request("POST", where, urlencode(fields).encode(), origin)

    async def _request(self, method: str, where: str, body: bytes, origin: str | None = None) -> str:
        """What is shown in the end, or where another site is to be gone to."""
        for _ in range(10):
            parts = urlsplit(where)
            headers = [(b"host", HOST.encode()), (b"accept-language", self.language.encode())]
            if self.cookies:
                headers.append((b"cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()).encode()))
            if method == "POST":
                headers.append((b"content-type", b"application/x-www-form-urlencoded"))
            if origin is not None:
                headers.append((b"origin", origin.encode()))
            request = Request(method, parts.path, parts.query.encode(), headers, body, self.address, self.server.secure)
            self.response = response = await self.server.front.listener.handle(request)
            found = dict(response.headers)
            for name, value in response.headers:
                if name == b"set-cookie":
                    self._keep(value.decode())
            self.status, self.where = response.status, where
            if response.status not in (302, 303):
                self.page = response.body.decode()
                return self.page
            location = found[b"location"].decode()
            if urlsplit(location).netloc or not location.startswith("/"):
                return location
            where, method, body, origin = location, "GET", b"", None
        raise AssertionError("redirected in circles")

    def _keep(self, text: str) -> None:
        pair, *attributes = [part.strip() for part in text.split(";")]
        name, _, value = pair.partition("=")
        assert "HttpOnly" in attributes and "SameSite=Lax" in attributes and "Path=/" in attributes
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    @property
    def title(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.page)
        assert found is not None, self.page
        return found[1]


class Kettle:
    """An OAuth client."""

    def __init__(self, server: Server, client_id: str) -> None:
        self.server = server
        self.client_id = client_id
        self.redirect_uri = CLIENT["redirect_uris"][0]

    @classmethod
    async def registered(cls, server: Server, **changes: Any) -> "Kettle":
        status, answer = await register(server, {**CLIENT, **changes})
        assert status == 201, answer
        made = cls(server, answer["client_id"])
        made.redirect_uri = answer["redirect_uris"][0] if answer["redirect_uris"] else ""
        return made

    def address(self, device_id: str = "KETTLE0001", **changes: str | None) -> str:
        """Where the browser is sent to."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": f"urn:matrix:client:api:* urn:matrix:client:device:{device_id}",
            "state": "st&te",
            "response_mode": "fragment",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return "/oauth2/authorize?" + urlencode({k: v for k, v in parameters.items() if v is not None})

    async def token(self, **form: str) -> tuple[int, dict[str, Any]]:
        return await post(self.server, "/oauth2/token", {"client_id": self.client_id, **form})

    async def trade(self, given: str, **changes: str) -> tuple[int, dict[str, Any]]:
        form = {
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": self.redirect_uri,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.token(**form)

    async def refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        return await self.token(grant_type="refresh_token", refresh_token=token)

    async def code(self, browser: Browser, **changes: str | None) -> str:
        """Somebody who is logged in lets it in."""
        await browser.open(self.address(**changes))  # type: ignore[arg-type]
        return answer_in(await browser.send("allow"))["code"]

    async def log_in(self, browser: Browser, **changes: str | None) -> dict[str, Any]:
        """Tokens of a session that somebody who is logged in has agreed to."""
        status, tokens = await self.trade(await self.code(browser, **changes))
        assert status == 200, tokens
        return tokens


def answer_in(location: str) -> dict[str, str]:
    """What an address says in its fragment, or its query."""
    parts = urlsplit(location)
    return {key: values[0] for key, values in parse_qs(parts.fragment or parts.query).items()}


async def post(
    server: Server, path: str, form: dict[str, str], *, raw: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    headers = ((b"content-type", b"application/x-www-form-urlencoded"),)
    body = raw if raw is not None else urlencode(form).encode()
    response = await server.request("POST", path, raw=body, headers=headers)
    assert dict(response.headers)[b"cache-control"] == b"no-store"
    assert dict(response.headers)[b"access-control-allow-origin"] == b"*"
    return response.status, orjson.loads(response.body)


async def register(server: Server, body: Any) -> tuple[int, dict[str, Any]]:
    response = await server.request("POST", "/oauth2/register", body)
    return response.status, orjson.loads(response.body)


async def logged_in(server: Server, name: str, language: str = "en") -> Browser:
    """A browser in which somebody who has an account is logged in."""
    browser = Browser(server, language)
    await browser.open("/account")
    await browser.send("log-in", name=name, password="correct horse")
    assert browser.status == 200 and "log-in" not in Form(browser.page).forms, browser.page
    return browser
