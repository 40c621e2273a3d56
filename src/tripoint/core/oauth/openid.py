"""Logging in by somebody else's OpenID Connect: what a provider says of itself, what is asked of it, whose name is made
of what it answers.

spec: Matrix client-server-api sso-login, appendices "Mapping from other character sets"; RFC6749 4.1, RFC7636, RFC8414
"""

import base64
import hashlib
import re
import unicodedata
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at
from tripoint.core.oauth.providers import Provider

MAX_SUBJECT: Final = 255  # spec: OpenID Connect Core 2: sub "MUST NOT exceed 255 ASCII characters"
MAX_LOCALPART: Final = 32


class BadProvider(Exception):
    """What a provider said cannot be used; the text is for operators and for whoever wanted to log in."""


class Endpoints(Struct, frozen=True):
    """Where a provider is asked for what. `basic`: it takes client_secret_basic."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str | None
    basic: bool


def discovery_url(issuer: str) -> str:
    """spec: OpenID Connect Discovery 4"""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def read_endpoints(document: JsonObject, issuer: str) -> Endpoints:
    """What the discovery document says. BadProvider.

    spec: OpenID Connect Discovery 4.3: "The issuer value returned MUST be identical to the Issuer URL".
    """
    if document.get("issuer") != issuer:
        raise BadProvider(f"it calls itself {str(document.get('issuer'))[:200]!r}, not {issuer!r}")
    found: dict[str, str] = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        url = text_at(document, name)
        if url is None or not url.startswith("https://"):
            raise BadProvider(f"it has no {name} with https")
        found[name] = url
    methods = document.get("token_endpoint_auth_methods_supported")
    return Endpoints(
        issuer,
        found["authorization_endpoint"],
        found["token_endpoint"],
        found["jwks_uri"],
        text_at(document, "userinfo_endpoint"),
        # spec: Discovery 3: client_secret_basic is the default
        not isinstance(methods, list) or "client_secret_basic" in methods,
    )


def authorization_url(
    provider: Provider, endpoints: Endpoints, *, redirect_uri: str, state: str, nonce: str, verifier: str
) -> str:
    """Where a browser is sent to."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()
    asked = urlencode(
        {
            "response_type": "code",
            "client_id": provider.oauth_client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    return f"{endpoints.authorization}{'&' if '?' in endpoints.authorization else '?'}{asked}"


def suggested_localpart(claims: JsonObject, claim: str) -> str:
    """A name for an account here, made of what the provider calls somebody; empty where nothing can be made of it.

    Of an e-mail address the part before the @. Somebody looks at it before it is used.
    """
    text = (text_at(claims, claim) or "").partition("@")[0]
    plain = unicodedata.normalize("NFKD", text.casefold())
    name = re.sub(r"[^a-z0-9._-]+", "-", "".join(char for char in plain if not unicodedata.combining(char)))
    return re.sub(r"\A[^a-z]+", "", name)[:MAX_LOCALPART].rstrip("-._")
