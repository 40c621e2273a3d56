"""What clients may say of themselves, and which addresses are theirs. The specification's own examples first.

spec: Matrix client-server-api client-metadata, metadata-localization, redirect-uri-validation; RFC7591 2; RFC7636 B
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.oauth.clients import MAX_BYTES, read_client
from tripoint.core.oauth.errors import OAuthError
from tripoint.core.oauth.requests import check_verifier, read_form, read_scope, read_user_code
from tripoint.core.oauth.uris import BadUri, check_redirect, client_host, form_target, same_redirect, with_answer

BODY: dict[str, Any] = {
    "client_name": "My App",
    "client_uri": "https://example.com/",
    "redirect_uris": ["https://app.example.com/callback"],
}


@pytest.mark.parametrize(
    ("uri", "native"),
    [
        ("https://example.com/callback", False),
        ("https://app.example.com/callback", False),
        ("https://example.com:5173/?query=value", False),
        ("com.example.app:/callback", True),
        ("com.example:/", True),
        ("com.example:callback", True),
        ("http://localhost/callback", True),
        ("http://127.0.0.1/callback", True),
        ("http://[::1]/callback", True),
        ("https://example.com/callback", True),
    ],
)
def test_redirect_uris_that_are_taken(uri: str, native: bool) -> None:
    check_redirect(uri, "example.com", native=native)


@pytest.mark.parametrize(
    ("uri", "native"),
    [
        ("https://example.com/callback#fragment", False),
        ("http://example.com/callback", False),
        ("http://localhost/", False),
        ("example:/callback", True),
        ("com.example.app://callback", True),
        ("https://localhost/callback", True),
        ("http://localhost:1234/callback", True),
        # beyond the specification's examples
        ("com.example.app:/callback", False),
        ("com.exampleapp:/callback", True),
        ("com.example.app:/callback#x", True),
        ("javascript:alert(1)", True),
        ("data:text/html,x", True),
        ("https://example.com.evil.test/", False),
        ("https://evil-example.com/", False),
        ("https://example.com@evil.test/", False),
        ("https://user@example.com/", False),
        ("https://example.com\\@evil.test/", False),
        ("https://evil.test/?https://example.com/", False),
        ("//example.com/", False),
        ("/callback", False),
        ("", False),
        ("https://", False),
        ("https:example.com", False),
        ("https://example.com:port/", False),
        ("https://example.com/\r\nx: y", False),
        ("https://example.com/ x", False),
        ("https://éxample.com/", False),
        ("https://example.com/" + "x" * 3000, False),
        ("http://localhost@evil.test/", True),
        ("http://127.0.0.2/", True),
        ("http://[::1]:80/", True),
    ],
)
def test_redirect_uris_that_are_not(uri: str, native: bool) -> None:
    with pytest.raises(BadUri):
        check_redirect(uri, "example.com", native=native)


@pytest.mark.parametrize(
    "uri",
    ["http://example.com/", "https://u:p@example.com/", "https://localhost/", "https:///", "example.com", "ftp://a.b/"],
)
def test_client_uris_that_are_not_taken(uri: str) -> None:
    with pytest.raises(BadUri):
        client_host(uri)


@pytest.mark.parametrize(
    ("registered", "asked", "same"),
    [
        ("http://localhost/cb", "http://localhost:1234/cb", True),
        ("http://[::1]/cb", "http://[::1]:1234/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb", True),
        ("http://localhost/cb", "http://127.0.0.1:1234/cb", False),
        ("http://localhost/cb", "http://localhost:1234/other", False),
        ("http://localhost/cb", "http://localhost:/cb", False),
        ("http://localhost/cb", "http://x@localhost:1234/cb", False),
        ("http://localhost/cb", "http://localhost:1234@evil.test/cb", False),
        ("http://localhost/cb", "https://localhost:1234/cb", False),
        ("https://a.example/cb", "https://a.example:443/cb", False),
        ("https://a.example/cb", "https://A.example/cb", False),
        ("com.example:/cb", "com.example:/cb", True),
    ],
)
def test_an_asked_address_is_the_registered_one(registered: str, asked: str, same: bool) -> None:
    assert same_redirect(registered, asked) is same


def test_what_is_not_understood_is_left_out() -> None:
    """spec: dynamic-client-registration-flow: the example"""
    client = read_client(
        {
            **BODY,
            "client_name#fr": "Mon application",
            "client_name#not a tag": "x",
            "tos_uri#fr": "https://example.com/fr/tos.html",
            "token_endpoint_auth_method": "none",
            "response_types": ["code", "token"],
            "grant_types": [
                "authorization_code",
                "refresh_token",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ],
            "application_type": "web",
            "software_id": "x",
        }
    )
    assert client.metadata() == {
        "client_name": "My App",
        "client_name#fr": "Mon application",
        "tos_uri#fr": "https://example.com/fr/tos.html",
        "client_uri": "https://example.com/",
        "redirect_uris": ["https://app.example.com/callback"],
        "token_endpoint_auth_method": "none",
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "application_type": "web",
    }
    assert client.name(["fr-CA"]) == "Mon application"
    assert client.name(["de"]) == "My App"
    assert read_client({**BODY, "client_name": "Other"}).client_id != client.client_id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_uri": None}, "invalid_client_metadata"),
        ({"client_uri": "http://example.com/"}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"client_name": ""}, "invalid_client_metadata"),
        ({"client_name": "x" * 101}, "invalid_client_metadata"),
        ({"client_name": "\u202e"}, "invalid_client_metadata"),
        ({"logo_uri": "http://example.com/logo.png"}, "invalid_client_metadata"),
        ({"policy_uri#fr": "https://other.example/"}, "invalid_client_metadata"),
        ({"tos_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"application_type": "tv"}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"grant_types": [7]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_client_metadata"),
        ({f"client_name#a-{n}": "x" for n in range(300)}, "invalid_client_metadata"),
        ({"redirect_uris": [f"https://example.com/{'x' * 2000}{n}" for n in range(20)]}, "invalid_client_metadata"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://example.com/{n}" for n in range(21)]}, "invalid_redirect_uri"),
    ],
)
def test_clients_that_are_refused(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(OAuthError) as refused:
        read_client({**BODY, **changes})
    assert refused.value.error == error
    # spec: RFC6749 4.1.2.1: what a description may consist of
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in refused.value.description)
    assert MAX_BYTES < 65_536


def test_pkce_by_the_example_of_its_rfc() -> None:
    verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    check_verifier(challenge, verifier)
    with pytest.raises(OAuthError):
        check_verifier(challenge, verifier[:-1] + "l")


def test_scopes_of_before_the_specification_are_granted_as_they_were_asked_for() -> None:
    old = "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:ABCDEFGHIJ"
    assert read_scope(f"openid profile {old}").text == f"openid {old}"
    assert read_scope(old).device_id == "ABCDEFGHIJ"


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("WDJB-MJHT", "WDJBMJHT"),
        ("wdjbmjht", "WDJBMJHT"),
        (" w d j b . m j h t ", "WDJBMJHT"),
        ("WDJB-MJH", None),
        ("WDJB-MJHTT", None),
        ("", None),
    ],
)
def test_user_codes_as_people_type_them(typed: str, code: str | None) -> None:
    assert read_user_code(typed) == code


def test_answers_keep_the_query_that_is_there() -> None:
    assert with_answer("https://a.example/?x=1", {"code": "&"}, fragment=False) == "https://a.example/?x=1&code=%26"
    assert with_answer("https://a.example/?x=1", {"code": "&"}, fragment=True) == "https://a.example/?x=1#code=%26"
    assert with_answer("com.example:/", {"a": "b"}, fragment=False) == "com.example:/?a=b"
    assert form_target("http://[::1]:99/cb") == "http:"


@given(st.binary(max_size=200), st.sampled_from([None, "application/x-www-form-urlencoded", "text/plain"]))
def test_any_body_is_read_or_refused(body: bytes, content_type: str | None) -> None:
    try:
        read_form(content_type, body)
    except OAuthError as error:
        assert error.error == "invalid_request"


@given(st.text(max_size=100))
def test_any_address_is_checked_without_falling_over(uri: str) -> None:
    for native in (False, True):
        try:
            check_redirect(uri, "example.com", native=native)
        except BadUri:
            continue
        target = form_target(uri)
        assert ";" not in target and " " not in target
