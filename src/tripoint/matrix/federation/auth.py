"""X-Matrix: how one server proves to another who sends a request. Pure: text and keys in, values out.

spec: Matrix server-server-api request-authentication; RFC9110 11.4 and 5.6.2 for the header. Fetching keys is the
ring's (keys/ring.py), answering a request that proves nothing is gate.py's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import Json, JsonObject, encode_lenient
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.core.signing import SigningKey, check_signatures

# Older servers send a header for each of their keys; more than a few is no server.
MAX_HEADERS: Final = 8
# spec: RFC9110 5.6.2 token; a colon besides: "recipient should allow colons to be included in values without
# requiring the value to be enclosed in quotes". Base64 ends in = where somebody pads it, and holds + and /.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BARE = r"[!#$%&'*+.^_`|~0-9A-Za-z:/=-]*"
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*"'
_PARAMETER = re.compile(rf"({_NAME})[ \t]*=[ \t]*({_QUOTED}|{_BARE})")
_COMMA = re.compile(r"[ \t]*(?:,[ \t]*)+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class BadAuthorization(PeerError):
    """A request that does not prove which server it is from."""


@dataclass(frozen=True, slots=True)
class XMatrix:
    """One Authorization header. `destination` is None where an older server leaves it out."""

    origin: ServerName
    destination: str | None
    key_id: str
    signature: str


def is_x_matrix(header: str) -> bool:
    """Whether an Authorization header is of this scheme (case does not matter: RFC9110 11.1)."""
    return header[:8].lower() == "x-matrix" and header[8:9] in ("", " ", "\t")


def parse_x_matrix(header: str) -> XMatrix:
    """Read one Authorization header. Raises BadAuthorization."""
    if not is_x_matrix(header):
        raise BadAuthorization("the scheme is not X-Matrix")
    parameters = _parameters(header[8:].strip(" \t"))
    try:
        origin = parse_server_name(parameters["origin"])
        return XMatrix(origin, parameters.get("destination"), parameters["key"], parameters["sig"])
    except KeyError as missing:
        raise BadAuthorization(f"the parameter {missing} is missing") from None
    except PeerError:
        raise BadAuthorization("origin is not a server name") from None


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise BadAuthorization("it is not a list of parameters")
        name, value = match.group(1).lower(), match.group(2)
        if name in found:
            # spec: RFC9110 11.2: a name occurs once. Two readers of two values would disagree on who sent it.
            raise BadAuthorization("a parameter stands twice")
        found[name] = _ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value
        at = match.end()
        comma = _COMMA.match(text, at)
        if comma is not None:
            at = comma.end()
        elif at < len(text):
            raise BadAuthorization("parameters are separated by commas")
    return found


def parse_credentials(headers: Sequence[str], server: ServerName) -> Sequence[XMatrix]:
    """All X-Matrix headers of a request to this server: one origin, one signature for each of its keys.

    Raises BadAuthorization where there is none, where they name several servers, or another destination than
    this server ("the receiving server must deny the request with an HTTP status code 401").
    """
    found = [parse_x_matrix(header) for header in headers if is_x_matrix(header)]
    if not found:
        raise BadAuthorization("there is no X-Matrix authorization")
    if len(found) > MAX_HEADERS:
        raise BadAuthorization(f"more than {MAX_HEADERS} authorizations")
    for one in found:
        if one.origin != found[0].origin:
            raise BadAuthorization("the authorizations are of several servers")
        if one.destination is not None and one.destination != server:
            raise BadAuthorization("the destination is another server")
    return found


def check_request(
    credentials: Sequence[XMatrix],
    keys: Mapping[str, str],
    destination: ServerName,
    method: str,
    target: str,
    content: JsonObject | None,
) -> None:
    """Raise BadSignature unless the origin signed this request with one of `keys` (key id → public key).

    `target`: path and query as they stood in the request. `content`: the parsed body; None: there was none. The
    signed object always names the destination, whether the header does or not.
    """
    origin = credentials[0].origin
    signatures: JsonObject = {origin: {one.key_id: one.signature for one in credentials}}
    check_signatures(signatures, origin, keys, _signed_bytes(origin, destination, method, target, content))


def sign_request(
    key: SigningKey, origin: ServerName, destination: ServerName, method: str, target: str, content: Json
) -> str:
    """The Authorization header of a request. `content`: the body's value; None: there is no body.

    In the form that older servers read: one space, lower-case names, no space around commas, no backslashes (a
    server name, a key id and base64 need none).
    """
    signature = key.sign(_signed_bytes(origin, destination, method, target, content))
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{key.key_id}",sig="{signature}"'


def sign_for_identity_server(
    key: SigningKey, origin: ServerName, identity_server: str, method: str, target: str, content: JsonObject
) -> str:
    """The Authorization header of a request to an identity server.

    COMPAT: the specification says no more than that it is signed; Sydent wants its own name under `destination_is`,
    and Synapse says it so.
    """
    request: JsonObject = {
        "method": method,
        "uri": target,
        "origin": origin,
        "destination_is": identity_server,
        "content": content,
    }
    signature = key.sign(encode_lenient(request))
    return f'X-Matrix origin={origin},key="{key.key_id}",sig="{signature}"'


def sign_encoded(
    key: SigningKey, origin: ServerName, destination: ServerName, method: str, target: str, body: bytes
) -> str:
    """As sign_request, for a body that is canonical JSON already: a transaction is put together from stored events."""
    request: JsonObject = {"method": method, "uri": target, "origin": origin, "destination": destination}
    # "content" is the first of the keys in canonical order.
    signed = b'{"content":' + body + b"," + encode_lenient(request)[1:]
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{key.key_id}",sig="{key.sign(signed)}"'


def _signed_bytes(origin: ServerName, destination: ServerName, method: str, target: str, content: Json) -> bytes:
    request: JsonObject = {"method": method, "uri": target, "origin": origin, "destination": destination}
    if content is not None:
        request["content"] = content
    # Lenient: a transaction may carry events of room versions 1 to 5, whose numbers the strict form refuses.
    return encode_lenient(request)
