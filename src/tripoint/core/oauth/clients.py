"""What a client says of itself when it registers, checked; and its names in people's languages.

What is not understood is left out of what is registered, as the specification wants it.
spec: Matrix client-server-api client-registration, client-metadata, metadata-localization; RFC7591 2, 3.1, 3.2
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject, encode
from tripoint.core.oauth.errors import OAuthError
from tripoint.core.oauth.uris import BadUri, check_page, check_redirect, client_host, same_redirect

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANTS: Final = (CODE, REFRESH, DEVICE)
WEB, NATIVE = "web", "native"

# More than any client has; what is registered is kept for as long as somebody uses the client.
MAX_REDIRECTS: Final = 20
MAX_LOCALISED: Final = 200
MAX_NAME: Final = 100
MAX_BYTES: Final = 32_768

_PAGES = ("logo_uri", "tos_uri", "policy_uri")
_LOCALISED = ("client_name", *_PAGES)
# spec: RFC7591 2.2: BCP 47 tags, of which letters, digits and hyphens are enough to know one by.
_TAG = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}\Z")


class Client(Struct, frozen=True):
    """A registered client. `texts`: names and pages, in other languages under "name#tag"."""

    client_id: str
    client_uri: str
    application_type: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    texts: dict[str, str]

    @property
    def host(self) -> str:
        """Where it comes from, as people know it."""
        return client_host(self.client_uri)

    def metadata(self) -> JsonObject:
        """What is registered, as the answer to a registration has it. spec: RFC7591 3.2.1"""
        return {
            "client_uri": self.client_uri,
            "application_type": self.application_type,
            "redirect_uris": list(self.redirect_uris),
            "grant_types": list(self.grant_types),
            "response_types": ["code"] if CODE in self.grant_types else [],
            "token_endpoint_auth_method": "none",
            **self.texts,
        }

    def text(self, name: str, languages: Sequence[str]) -> str | None:
        """A name or a page in the first of these languages that there is, else as it was given without one."""
        tagged = {key.lower(): value for key, value in self.texts.items()}
        for language in languages:
            tag = language.lower()
            while tag:
                found = tagged.get(f"{name}#{tag}")
                if found is not None:
                    return found
                tag = tag.rpartition("-")[0]
        return self.texts.get(name)

    def name(self, languages: Sequence[str]) -> str:
        """What to call it: by its name, or its host where it gave none."""
        return self.text("client_name", languages) or self.host

    def redirect(self, asked: str | None) -> str | None:
        """The redirect URI that a request means; None for one that is not the client's.

        spec: RFC6749 3.1.2.3: it may be left out where there is just one.
        """
        if asked is None:
            return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None
        return asked if any(same_redirect(one, asked) for one in self.redirect_uris) else None


def read_client(body: JsonObject) -> Client:
    """A client from what it registers. Raises OAuthError(invalid_client_metadata, invalid_redirect_uri).

    Its id follows from what it says: who registers the same again gets the same id, and the store stays small.
    """
    client_uri = body.get("client_uri")
    if not isinstance(client_uri, str):
        raise _bad("client_uri is missing")
    try:
        host = client_host(client_uri)
    except BadUri as error:
        raise _bad(f"client_uri {error}") from error
    method = body.get("token_endpoint_auth_method", "none")
    if method != "none":
        raise _bad("token_endpoint_auth_method must be none: there are only public clients here")
    kind = body.get("application_type", WEB)
    if kind not in (WEB, NATIVE):
        raise _bad("application_type is web or native")
    grants = _grants(body)
    redirects = _redirects(body, host, native=kind == NATIVE)
    if CODE in grants and not redirects:
        raise OAuthError("invalid_redirect_uri", "authorization_code needs a redirect URI")
    texts = _texts(body, host)
    client = Client("", client_uri, str(kind), redirects, grants, texts)
    stated = encode(client.metadata())
    if len(stated) > MAX_BYTES:
        raise _bad(f"a client has at most {MAX_BYTES} bytes of metadata")
    client_id = base64.b32encode(hashlib.sha256(stated).digest()[:15]).decode().lower()
    return Client(client_id, client_uri, str(kind), redirects, grants, texts)


def _grants(body: JsonObject) -> tuple[str, ...]:
    grants = _strings(body, "grant_types", [CODE])
    # spec: "The server MUST ignore values that it does not understand"; a refresh token comes with every grant.
    kept = tuple(grant for grant in (CODE, DEVICE) if grant in grants)
    if not kept:
        raise _bad("none of grant_types can begin a session here")
    if CODE in kept and "code" not in _strings(body, "response_types", ["code"]):
        raise _bad("authorization_code needs the response type code")
    return (*kept, REFRESH)


def _redirects(body: JsonObject, host: str, *, native: bool) -> tuple[str, ...]:
    try:
        uris = _strings(body, "redirect_uris", [])
    except OAuthError as error:
        raise OAuthError("invalid_redirect_uri", error.description) from error
    if len(uris) > MAX_REDIRECTS:
        raise OAuthError("invalid_redirect_uri", f"a client has at most {MAX_REDIRECTS} redirect URIs")
    for number, uri in enumerate(uris):
        try:
            check_redirect(uri, host, native=native)
        except BadUri as error:
            raise OAuthError("invalid_redirect_uri", f"redirect_uris[{number}] {error}") from error
    return tuple(dict.fromkeys(uris))


def _texts(body: Mapping[str, object], host: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in body.items():
        name, mark, tag = key.partition("#")
        if name not in _LOCALISED or (mark and _TAG.match(tag) is None):
            continue
        if not isinstance(value, str):
            raise _bad(f"{name} must be a text")
        if name in _PAGES:
            try:
                check_page(value, host)
            except BadUri as error:
                raise _bad(f"{name} {error}") from error
        else:
            value = "".join(letter for letter in value if letter.isprintable()).strip()
            if not 0 < len(value) <= MAX_NAME:
                raise _bad(f"{name} has 1 to {MAX_NAME} printable characters")
        found[key] = value
    if len(found) > MAX_LOCALISED:
        raise _bad(f"a client has at most {MAX_LOCALISED} names and pages")
    return found


def _strings(body: JsonObject, name: str, default: list[str]) -> list[str]:
    value = body.get(name, default)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _bad(f"{name} must be a list of texts")
    return [one for one in value if isinstance(one, str)]


def _bad(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)
