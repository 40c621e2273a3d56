"""The addresses that clients name: which may be theirs, which one is meant, what is appended to it.

A redirect URI is how a client proves who it is, so what is registered and what is asked for are compared as strings.
spec: Matrix client-server-api client-metadata, redirect-uri-validation; RFC6749 3.1.2; RFC8252 7
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

MAX_URI: Final = 2048
# What a URI consists of; no brackets outside of a host, no backslash, no controls.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*\Z")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Schemes that no app can claim for itself: a browser does something of its own with them.
_NOT_PRIVATE = frozenset({"http", "https", "javascript", "data", "vbscript", "file", "blob", "about"})


class BadUri(ValueError):
    """The text says what is wrong with it."""


def _split(uri: str) -> SplitResult:
    if len(uri) > MAX_URI or _URI.match(uri) is None:
        raise BadUri("is not a URI")
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises ValueError for a port that is none
    except ValueError:
        raise BadUri("is not a URI") from None
    return parts


def _https(uri: str) -> SplitResult:
    parts = _split(uri)
    if parts.scheme != "https":
        raise BadUri("must be an https URI")
    if "@" in parts.netloc:
        raise BadUri("must not name a user or a password")
    if parts.hostname is None or _HOST.match(parts.hostname) is None:
        raise BadUri("has no valid host")
    return parts


def client_host(client_uri: str) -> str:
    """The host of a client_uri, which all other addresses of the client share. Raises BadUri."""
    host = _https(client_uri).hostname
    assert host is not None, "checked"
    if "." not in host:
        raise BadUri("must be a host with a domain")
    return host


def check_page(uri: str, host: str) -> None:
    """A page of a client (logo, terms, policy): https, on its host or below it. Raises BadUri."""
    if not _is_below(_https(uri).hostname, host):
        raise BadUri(f"must be at {host} or below it")


def check_redirect(uri: str, host: str, *, native: bool) -> None:
    """A redirect URI as a client may register it. Raises BadUri. spec: redirect-uri-validation"""
    parts = _split(uri)
    if "#" in uri:
        raise BadUri("must not have a fragment")
    if parts.scheme == "https":
        check_page(uri, host)
        return
    if not native:
        raise BadUri("must be an https URI; native clients may have others")
    if parts.scheme == "http":
        if "@" in parts.netloc or parts.hostname not in _LOOPBACK:
            raise BadUri("http is for localhost, 127.0.0.1 and [::1] alone")
        if ":" in parts.netloc.rpartition("]")[2]:
            raise BadUri("must not name a port; every port is taken")
        return
    reverse = ".".join(reversed(host.split(".")))
    if parts.scheme in _NOT_PRIVATE or not (parts.scheme == reverse or parts.scheme.startswith(f"{reverse}.")):
        raise BadUri(f"a scheme of its own must begin with {reverse}")
    if uri[len(parts.scheme) + 1 :].startswith("//"):
        raise BadUri("must not have a host after the scheme")


def same_redirect(registered: str, asked: str) -> bool:
    """Whether `asked` is the registered one; on the loopback interface with any port. spec: RFC8252 7.3"""
    if registered == asked:
        return True
    try:
        wanted, given = _split(registered), _split(asked)
    except BadUri:
        return False
    if wanted.scheme != "http" or given.scheme != "http" or given.hostname not in _LOOPBACK or "@" in given.netloc:
        return False
    # Only the port may differ: without it the rest is compared letter for letter.
    port = "" if given.port is None else f":{given.port}"
    return bool(port) and given.netloc.endswith(port) and given._replace(
        netloc=given.netloc.removesuffix(port)
    ).geturl() == registered


def with_answer(redirect_uri: str, parameters: Mapping[str, str], *, fragment: bool) -> str:
    """The address to which the browser goes with the answer. spec: RFC6749 4.1.2, response_mode"""
    encoded = urlencode(parameters)
    if fragment:
        return f"{redirect_uri}#{encoded}"
    if "?" not in redirect_uri:
        return f"{redirect_uri}?{encoded}"
    return f"{redirect_uri}{'' if redirect_uri.endswith(('?', '&')) else '&'}{encoded}"


def form_target(redirect_uri: str) -> str:
    """What a Content-Security-Policy calls the place to which a form leads in the end.

    COMPAT: Chromium applies form-action to the redirects that follow a form, too.
    """
    parts = urlsplit(redirect_uri)
    # It has no form for IPv6 addresses.
    if parts.scheme in ("http", "https") and "[" not in parts.netloc:
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def shown_host(redirect_uri: str) -> str:
    """Where an answer goes, for people."""
    parts = urlsplit(redirect_uri)
    return parts.hostname or f"{parts.scheme}:"


def _is_below(host: str | None, base: str) -> bool:
    return host is not None and (host == base or host.endswith(f".{base}"))
