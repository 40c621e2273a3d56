"""Pages and endpoints are fed what nobody should send: the answer is a page or an OAuth error, never a stack trace, and
nobody is sent to another site."""

from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import matrix
from tests.oauth.browser import CHALLENGE, HOST, Kettle, logged_in
from tests.support.middle import run
from tripoint.net.http import Request

PAGES = (
    *("/oauth2/authorize", "/oauth2/provider", "/oauth2/callback", "/link", "/account", "/sso", "/confirm"),
    "/oauth2/fallback",
    *("/oauth2/token", "/oauth2/revoke", "/oauth2/register", "/oauth2/device_authorization", "/oauth2/keys"),
)
_WORDS = """
client_id redirect_uri response_type response_mode state scope code_challenge code_challenge_method prompt nonce
ui_locales login_hint request grant_type code code_verifier refresh_token device_code token user_code action
device_id redirectUrl provider to link confirm session stage form do name password again displayname error iss
client_uri redirect_uris grant_types response_types application_type client_name tos_uri
"""
NAMES = st.sampled_from(_WORDS.split())
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "CLIENT",
            "https://app.kettle.example/callback",
            "https://evil.example/",
            "//evil.example/",
            "javascript:alert(1)",
            "https://[",
            "//[",
            "code",
            "fragment",
            "query",
            "urn:matrix:client:api:* urn:matrix:client:device:ABC",
            CHALLENGE,
            "S256",
            "create",
            "org.matrix.device_view",
            "org.matrix.profile",
            "password",
            "identities",
            "m.login.password",
            "authorization_code",
            "refresh_token",
            "de",
            "x" * 5000,
            "\x00",
            "\ud800",
            "%",
        ]
    ),
)
FORMS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
JSON: st.SearchStrategy[Any] = st.dictionaries(NAMES, st.one_of(VALUES, st.lists(VALUES, max_size=3), st.integers()))
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "HEAD"]), st.sampled_from(PAGES), FORMS, st.one_of(FORMS, JSON), st.booleans()
    ),
    min_size=1,
    max_size=8,
)


def _encoded(pairs: list[tuple[str, str]], client_id: str) -> bytes:
    named = [(name, client_id if value == "CLIENT" else value) for name, value in pairs]
    return urlencode(named, errors="surrogatepass").encode()


@settings(max_examples=60, deadline=None)
@given(CALLS)
def test_whatever_is_asked(calls: list[tuple[str, str, Any, Any, bool]]) -> None:
    async def work() -> None:
        async with matrix() as server:
            await server.register("alice")
            kettle = await Kettle.registered(server)
            browser = await logged_in(server, "alice")
            cookie = "; ".join(f"{key}={value}" for key, value in browser.cookies.items()).encode()
            for method, path, query, body, known in calls:
                headers = [(b"host", HOST.encode()), (b"content-type", b"application/x-www-form-urlencoded")]
                if isinstance(body, dict):
                    headers.append((b"origin", b"http://["))
                if known:
                    headers.append((b"cookie", cookie))
                if isinstance(body, dict):
                    plain = {key: str(value).encode("ascii", "replace").decode() for key, value in body.items()}
                    data = orjson.dumps(plain)
                else:
                    data = _encoded(body, kettle.client_id)
                request = Request(method, path, _encoded(query, kettle.client_id), headers, data, "127.0.0.1")
                response = await server.front.listener.handle(request)
                assert response.status < 500, (path, response.body)
                location = dict(response.headers).get(b"location", b"").decode()
                assert urlsplit(location).netloc in ("", "app.kettle.example", HOST), location
                assert location.startswith(("/", "https://")) or not location
                for name, value in response.headers:
                    assert b"\r" not in name + value and b"\n" not in name + value

    run(work)
