"""Matrix errors: a status, an errcode, a sentence. spec: Matrix client-server "Standard error response"."""

import orjson

from tripoint.core.canonical_json import JsonObject
from tripoint.net.http import Response

# spec: client-server "Web Browser Clients": these three on every answer, errors and OPTIONS too.
CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization"),
)
# spec: MSC4108 of September 2024 "CORS", for addresses that go by ETags
ETAG_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match",
    ),
    (b"access-control-expose-headers", b"ETag"),
)
JSON_HEADERS = ((b"content-type", b"application/json"), *CORS)


class MatrixError(Exception):
    """Ends a call with an error answer. `extra` are more keys of the body; `errcode` "": it is no error, but what a
    client does next."""

    def __init__(self, status: int, errcode: str, error: str, **extra: object) -> None:
        self.status = status
        self.errcode = errcode
        self.error = error
        self.extra = extra
        super().__init__(errcode)

    def response(self) -> Response:
        told = {"errcode": self.errcode, "error": self.error} if self.errcode else {}
        body = orjson.dumps({**told, **self.extra})
        retry_after = self.extra.get("retry_after_ms")
        if isinstance(retry_after, int):
            # spec: client-server "Rate limiting": Retry-After in seconds, beside the older retry_after_ms.
            header = (b"retry-after", str(-(-retry_after // 1000)).encode())
            return Response(self.status, body, (*JSON_HEADERS, header))
        return Response(self.status, body, JSON_HEADERS)


def not_json() -> MatrixError:
    return MatrixError(400, "M_NOT_JSON", "The body is not JSON")


def bad_json(error: str) -> MatrixError:
    return MatrixError(400, "M_BAD_JSON", error)


def missing(name: str) -> MatrixError:
    return MatrixError(400, "M_MISSING_PARAM", f"{name} is missing")


def invalid(error: str) -> MatrixError:
    return MatrixError(400, "M_INVALID_PARAM", error)


def json_response(body: JsonObject, status: int = 200) -> Response:
    """An ordinary answer."""
    return Response(status, orjson.dumps(body), JSON_HEADERS)


def bytes_response(body: bytes) -> Response:
    """An answer whose JSON is already made."""
    return Response(200, body, JSON_HEADERS)


EMPTY = Response(200, b"{}", JSON_HEADERS)
