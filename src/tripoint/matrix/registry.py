"""Endpoints: declared where they are written, found by a trie of path segments.

A module of endpoints is a class with its collaborators in the constructor; @endpoint marks its methods. The
marks hold what dispatch needs (method, path, who may call), and docs/specs.toml is checked against them.
spec: Matrix client-server "API standards", "Common error codes"
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import unquote

import orjson

from tripoint.accounts.ports import TokenOwner
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import DeviceId, ServerName, UserId
from tripoint.matrix.depth import MAX_DEPTH, too_deep
from tripoint.matrix.errors import MatrixError, bad_json, invalid, missing, not_json
from tripoint.net.http import Request, Response
from tripoint.rooms.commands import Origin

# As many digits as a canonical JSON integer is sure to hold.
_NUMBER = re.compile(r"[0-9]{1,15}\Z")


class Auth(Enum):
    """Who may call an endpoint."""

    NONE = "none"
    TOKEN = "token"
    OPTIONAL = "optional"
    LOCKED_TOO = "locked_too"  # as TOKEN, of locked accounts too
    ADMIN = "admin"  # as TOKEN, of administrators of this server
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is known of an endpoint. `paths` hold {names} for single segments; `guests` may call it too."""

    method: str
    paths: tuple[str, ...]
    auth: Auth
    guests: bool = False


class Call:
    """One call of an endpoint: the request, its path parameters, who calls."""

    __slots__ = ("_caller", "_json", "_origin", "path", "request")

    def __init__(
        self,
        request: Request,
        path: dict[str, str],
        caller: TokenOwner | None,
        *,
        origin: ServerName | None = None,
        json: JsonObject | None = None,
    ) -> None:
        """`json`: the body where somebody has read and checked it already."""
        self.request = request
        self.path = path
        self._caller = caller
        self._origin = origin
        self._json = json

    @property
    def caller(self) -> TokenOwner:
        """Who calls an endpoint with Auth.TOKEN."""
        assert self._caller is not None, "this endpoint is declared without a token"
        return self._caller

    @property
    def origin(self) -> ServerName:
        """Which server calls an endpoint with Auth.SERVER; the request is proven to be its."""
        assert self._origin is not None, "this endpoint is declared without a server"
        return self._origin

    @property
    def maybe_caller(self) -> TokenOwner | None:
        return self._caller

    @property
    def user_id(self) -> UserId:
        return self.caller.account.user_id

    @property
    def device_id(self) -> DeviceId:
        """The device that calls. M_MISSING_PARAM where an application service calls as none. spec:
        application-service-api "Identity assertion": "will fail to complete operations which require a device ID" """
        device_id = self.caller.device_id
        if device_id is None:
            raise missing("device_id")
        return device_id

    @property
    def known_device(self) -> DeviceId:
        """The device, or an empty name that is no device's."""
        return self.caller.device_id or DeviceId("")

    @property
    def session(self) -> str:
        """The device as a session among those of all protocols (rooms.commands.Origin); an application service is one
        for each of its users."""
        caller = self.caller
        if caller.device_id is None and caller.service is not None:
            return f"{self.user_id}/ {caller.service.service_id}"
        return f"{self.user_id}/{caller.device_id}"

    def by(self, token: str | None = None, *, once: bool = False, scope: str = "") -> Origin:
        """Who asks, for a command to rooms. An application service is not limited unless its registration says so."""
        service = self.caller.service
        unlimited = service is not None and (not service.rate_limited or self.user_id == service.sender)
        return Origin(self.session, token, once=once, scope=scope, unlimited=unlimited)

    def query(self, name: str) -> str | None:
        return self.request.query(name)

    def number(self, name: str) -> int | None:
        """A query parameter that is a whole number of at most 15 digits. M_INVALID_PARAM otherwise."""
        text = self.request.query(name)
        if text is None or text == "":
            return None
        if _NUMBER.match(text) is None:
            raise invalid(f"{name} must be a whole number")
        return int(text)

    def json(self) -> JsonObject:
        """The body as a JSON object. M_NOT_JSON or M_BAD_JSON otherwise."""
        if self._json is None:
            try:
                value = orjson.loads(self.request.body)
            except orjson.JSONDecodeError:
                raise not_json() from None
            if not isinstance(value, dict):
                raise bad_json("The body must be a JSON object")
            if too_deep(self.request.body, value):
                raise bad_json(f"The body is nested deeper than {MAX_DEPTH} levels")
            self._json = value
        return self._json

    def json_or_empty(self) -> JsonObject:
        """As json(), where a missing body stands for an empty object."""
        return self.json() if self.request.body.strip() else {}


def token_of(request: Request) -> str | None:
    """The access token of a request, unchecked. spec: "Using access tokens": the Authorization header, or the
    deprecated query parameter."""
    header = request.header(b"authorization")
    if header is None:
        return request.query("access_token")
    scheme, _, value = header.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


EndpointMethod = Callable[[Any, Call], Awaitable[Response]]
M = TypeVar("M", bound=EndpointMethod)


def endpoint(
    method: str, *paths: str, auth: Auth = Auth.TOKEN, guests: bool = False
) -> Callable[[M], M]:
    """Declare a method as endpoint; several paths where several versions are the same thing."""

    def mark(function: M) -> M:
        function.__dict__.setdefault("endpoints", []).append(Endpoint(method, paths, auth, guests))
        return function

    return mark


class _Node:
    """One segment of the trie."""

    __slots__ = ("children", "handlers", "names", "wild")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.wild: _Node | None = None
        # method -> (endpoint, bound method, parameter names in order)
        self.handlers: dict[str, tuple[Endpoint, Callable[[Call], Awaitable[Response]], tuple[str, ...]]] = {}


class Router:
    """All endpoints of a server."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, module: object) -> None:
        """Take up every declared endpoint of an object."""
        for function, declared in declared_endpoints(type(module)):
            bound = getattr(module, function)
            for one in declared:
                for path in one.paths:
                    self._add(one, path, bound)

    def _add(self, declared: Endpoint, path: str, bound: Callable[[Call], Awaitable[Response]]) -> None:
        node = self._root
        names = []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                if node.wild is None:
                    node.wild = _Node()
                node = node.wild
            else:
                node = node.children.setdefault(segment, _Node())
        assert declared.method not in node.handlers, f"two handlers for {declared.method} {path}"
        node.handlers[declared.method] = (declared, bound, tuple(names))

    def find(
        self, method: str, path: str
    ) -> tuple[Endpoint, Callable[[Call], Awaitable[Response]], dict[str, str]]:
        """The endpoint of a request and its path parameters, percent-decoded.

        Raises MatrixError M_UNRECOGNIZED: 404 for an unknown path, 405 for a known one with another method.
        """
        values: list[str] = []
        node = self._walk(self._root, path.strip("/").split("/"), 0, values)
        if node is None:
            raise MatrixError(404, "M_UNRECOGNIZED", "This server does not know that address")
        found = node.handlers.get(method)
        if found is None:
            raise MatrixError(405, "M_UNRECOGNIZED", f"{method} is not for this address")
        declared, bound, names = found
        return declared, bound, dict(zip(names, map(unquote, values), strict=True))

    def _walk(self, node: _Node, segments: list[str], at: int, values: list[str]) -> _Node | None:
        if at == len(segments):
            return node if node.handlers else None
        child = node.children.get(segments[at])
        if child is not None:
            found = self._walk(child, segments, at + 1, values)
            if found is not None:
                return found
        if node.wild is None:
            return None
        values.append(segments[at])
        found = self._walk(node.wild, segments, at + 1, values)
        if found is None:
            values.pop()
        return found


def declared_endpoints(cls: type) -> Iterator[tuple[str, list[Endpoint]]]:
    """(method name, endpoints) of every endpoint that a class declares."""
    for name in dir(cls):
        declared = getattr(getattr(cls, name), "endpoints", None)
        if declared:
            yield name, declared


def time_and_direction(call: Call) -> tuple[int, bool]:
    """`ts` (ms) and whether `dir` is forwards. spec: getEventByTimestamp. Raises MatrixError."""
    ts_ms, direction = call.number("ts"), call.query("dir")
    if ts_ms is None or direction is None:
        raise missing("ts" if ts_ms is None else "dir")
    if direction not in ("f", "b"):
        raise invalid("dir is f or b")
    return ts_ms, direction == "f"
