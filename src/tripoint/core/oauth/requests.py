"""Requests of OAuth 2.0, read: for authorisation, for tokens; scopes, PKCE, user codes.

spec: RFC6749 3.1, 3.2, 3.3, 4.1; RFC7636 4; RFC8628 3.1, 6.1; Matrix client-server-api scope,
authorisation-code-flow
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct

from tripoint.core.oauth.clients import CODE, Client
from tripoint.core.oauth.errors import OAuthError, invalid_grant, invalid_request

MAX_STATE: Final = 4096
MAX_NONCE: Final = 512
# COMPAT: the first of each is the specification's, the second what clients said before it was accepted (MSC2967).
API_SCOPES: Final = ("urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*")
DEVICE_SCOPES: Final = ("urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:")
# COMPAT: matrix-js-sdk asks for it (accounts/oauth/id_tokens.py).
OPENID: Final = "openid"
# spec: "The homeserver MAY reject a device_id that [...] contains characters outside the unreserved list."
_DEVICE_ID = re.compile(r"[A-Za-z0-9._~-]{1,255}\Z")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*\Z")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")
# spec: RFC8628 6.1: consonants, so that no words come about, and nothing that is mistaken for something else.
USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH: Final = 8

Parameters = Mapping[str, Sequence[str]]


class Scope(Struct, frozen=True):
    """What is asked for: the whole client-server API, as one device. `text` is what is granted; `openid`: an ID token
    is asked for, too."""

    device_id: str
    text: str
    openid: bool = False


class AuthorizationRequest(Struct, frozen=True):
    """A request for authorisation whose client and redirect URI are right. `create`: the person wants an account."""

    client_id: str
    redirect_uri: str
    named_redirect: bool
    state: str | None
    fragment: bool
    scope: Scope
    challenge: str
    create: bool
    nonce: str | None


class Refusing(Struct, frozen=True):
    """Where a refusal goes that the client is to hear of."""

    redirect_uri: str
    state: str | None
    fragment: bool


class Rejected(Exception):
    """A request of a known client to a known address that cannot be carried out: the client is told."""

    def __init__(self, error: OAuthError, to: Refusing) -> None:
        super().__init__(error.error)
        self.error = error
        self.to = to


def single(parameters: Parameters, name: str) -> str | None:
    """A parameter; None where it is missing or empty. invalid_request where it is there twice.

    spec: RFC6749 3.1, 3.2
    """
    values = parameters.get(name, ())
    if len(values) > 1:
        raise invalid_request(f"{name} is there more than once")
    return values[0] if values and values[0] else None


def needed(parameters: Parameters, name: str) -> str:
    """As single(); invalid_request where it is missing."""
    value = single(parameters, name)
    if value is None:
        raise invalid_request(f"{name} is missing")
    return value


def read_form(content_type: str | None, body: bytes) -> Parameters:
    """A body of application/x-www-form-urlencoded. invalid_request for anything else."""
    if (content_type or "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise invalid_request("the body must be application/x-www-form-urlencoded")
    found: dict[str, list[str]] = {}
    try:
        for key, value in parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50, errors="strict"):
            found.setdefault(key, []).append(value)
    except ValueError:
        raise invalid_request("the body cannot be read") from None
    return found


def read_scope(text: str | None) -> Scope:
    """invalid_scope unless it is the whole API with exactly one device; what else is asked for is not granted."""
    if text is None or _SCOPE.match(text) is None:
        raise _scope("scope is missing or not a list of scope tokens")
    tokens = text.split(" ")
    devices = {
        token.removeprefix(prefix) for token in tokens for prefix in DEVICE_SCOPES if token.startswith(prefix)
    }
    if not any(token in API_SCOPES for token in tokens):
        raise _scope(f"scope must have {API_SCOPES[0]}")
    if len(devices) != 1:
        raise _scope(f"scope must have exactly one {DEVICE_SCOPES[0]}")
    device_id = devices.pop()
    if _DEVICE_ID.match(device_id) is None:
        raise _scope("a device id has 1 to 255 of A-Z, a-z, 0-9, and - . _ ~")
    granted = [token for token in tokens if token in (*API_SCOPES, OPENID) or token.startswith(DEVICE_SCOPES)]
    return Scope(device_id, " ".join(dict.fromkeys(granted)), OPENID in tokens)


def read_authorization(parameters: Parameters, client: Client, redirect_uri: str) -> AuthorizationRequest:
    """A request whose client and redirect URI were found to be right. Raises Rejected, which goes to the client."""
    state = next(iter(parameters.get("state", ())), None)
    mode = next(iter(parameters.get("response_mode", ())), "query")
    to = Refusing(redirect_uri, None if state is None else state[:MAX_STATE], mode == "fragment")
    try:
        return _authorization(parameters, client, to)
    except OAuthError as error:
        raise Rejected(error, to) from error


def _authorization(parameters: Parameters, client: Client, to: Refusing) -> AuthorizationRequest:
    for name in parameters:
        single(parameters, name)
    if single(parameters, "request") or single(parameters, "request_uri"):
        raise OAuthError("request_not_supported", "requests are given as parameters here")
    if needed(parameters, "response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if CODE not in client.grant_types:
        raise OAuthError("unauthorized_client", "this client did not register for authorization_code")
    if (single(parameters, "response_mode") or "query") not in ("query", "fragment"):
        raise invalid_request("response_mode is query or fragment")
    state = single(parameters, "state")
    if state is not None and len(state) > MAX_STATE:
        raise invalid_request(f"state has at most {MAX_STATE} characters")
    # spec: RFC7636 4.4.1, authorisation-code-grant: PKCE with S256, always
    challenge = single(parameters, "code_challenge")
    if challenge is None:
        raise invalid_request("code_challenge is missing")
    if single(parameters, "code_challenge_method") != "S256":
        raise invalid_request("code_challenge_method must be S256")
    if _CHALLENGE.match(challenge) is None:
        raise invalid_request("code_challenge is not a SHA-256 in base64url")
    nonce = single(parameters, "nonce")
    if nonce is not None and len(nonce) > MAX_NONCE:
        raise invalid_request(f"nonce has at most {MAX_NONCE} characters")
    prompts = (single(parameters, "prompt") or "").split()
    if "none" in prompts:
        raise OAuthError("login_required", "somebody has to agree to this")
    return AuthorizationRequest(
        client.client_id,
        to.redirect_uri,
        single(parameters, "redirect_uri") is not None,
        state,
        to.fragment,
        read_scope(single(parameters, "scope")),
        challenge,
        "create" in prompts,
        nonce,
    )


def check_verifier(challenge: str, verifier: str | None) -> None:
    """invalid_grant unless `verifier` is what the challenge was made from. spec: RFC7636 4.6"""
    if verifier is None:
        raise invalid_request("code_verifier is missing")
    if _VERIFIER.match(verifier) is None:
        raise invalid_grant("code_verifier has 43 to 128 of A-Z, a-z, 0-9, and - . _ ~")
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=")
    if not hmac.compare_digest(made, challenge.encode("ascii")):
        raise invalid_grant("code_verifier does not belong to this code")


def read_user_code(text: str) -> str | None:
    """The code that somebody typed, in the form in which it is kept; None: there can be none like it.

    spec: RFC8628 6.1: whatever is no letter of the alphabet is skipped, and case does not matter.
    """
    code = "".join(letter for letter in text[:64].upper() if letter in USER_CODE_LETTERS)
    return code if len(code) == USER_CODE_LENGTH else None


def shown_user_code(code: str) -> str:
    """As it is shown: XXXX-XXXX."""
    return f"{code[:4]}-{code[4:]}"


def _scope(description: str) -> OAuthError:
    return OAuthError("invalid_scope", description)
