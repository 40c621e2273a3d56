"""The way to an application service: its address, the token that it knows this server by, and what its answers mean.

`url` is what the operator wrote into the registration: private networks and plain http are fine there. Paths of before
they had versions are tried where a service does not know a new one.
spec: Matrix application-service-api "Authorisation", "Legacy routes"
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import orjson

from tripoint.core.app_services import AppService
from tripoint.core.canonical_json import Json
from tripoint.core.errors import RemoteFailed
from tripoint.net.outbound import Answer, TimedOut

V1: Final = "/_matrix/app/v1"
UNSTABLE: Final = "/_matrix/app/unstable"
# What services answer, for docs/specs.toml.
CALLED: Final = (
    f"PUT {V1}/transactions/{{txnId}}",
    f"POST {V1}/ping",
    f"GET {V1}/users/{{userId}}",
    f"GET {V1}/rooms/{{roomAlias}}",
    f"GET {V1}/thirdparty/protocol/{{protocol}}",
    f"GET {V1}/thirdparty/location/{{protocol}}",
    f"GET {V1}/thirdparty/user/{{protocol}}",
    f"GET {V1}/thirdparty/location",
    f"GET {V1}/thirdparty/user",
)
# What may say that a path is not known, as services of different ages do.
_UNKNOWN: Final = frozenset({404, 405, 501})
# spec: "Homeservers should periodically try again for the newer endpoints"
LEGACY_S: Final = 3600.0
# An answer is an empty object, or a list of what was found.
LIMIT_BYTES: Final = 1_048_576


class Ask(Protocol):
    """net.outbound.Outbound.ask"""

    def __call__(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: dict[str, str],
        limit_bytes: int,
        timeout_s: float,
    ) -> Awaitable[Answer]: ...


class NotTaken(RemoteFailed):
    """The service has answered, and with no."""

    def __init__(self, service: AppService, status: int) -> None:
        super().__init__(service.service_id, f"it answered {status}")
        self.status = status


class ServiceLink:
    """To one service. Everything raises RemoteFailed, naming it by its id. `clock_s` is monotonic."""

    def __init__(self, service: AppService, ask: Ask, clock_s: Callable[[], float]) -> None:
        self.service = service
        self._ask = ask
        self._clock_s = clock_s
        # Kinds of paths that it is asked for by their old names, and until when.
        self._legacy: dict[str, float] = {}

    async def put_transaction(self, txn_id: str, body: bytes, timeout_s: float) -> None:
        """Returns when it has acknowledged a transaction."""
        segment = quote(txn_id, safe="")
        answer = await self._request("PUT", "/transactions/" + segment, "/transactions/" + segment, body, timeout_s)
        if answer.status // 100 != 2:
            raise NotTaken(self.service, answer.status)

    async def has(self, kind: str, name: str, timeout_s: float) -> bool:
        """Whether it has, and has made, what a name of its namespace stands for. `kind`: users or rooms."""
        path = f"/{kind}/{quote(name, safe='')}"
        answer = await self._request("GET", path, path, b"", timeout_s)
        if answer.status == 404:
            return False
        if answer.status // 100 != 2:
            raise NotTaken(self.service, answer.status)
        return True

    async def look_up(self, path: str, fields: list[tuple[str, str]], timeout_s: float) -> Json:
        """What it says of a third-party network; None where it has nothing. `path` from /thirdparty on."""
        query = f"?{urlencode(fields)}" if fields else ""
        answer = await self._request("GET", path + query, UNSTABLE + path + query, b"", timeout_s)
        if answer.status == 404:
            return None
        if answer.status // 100 != 2:
            raise NotTaken(self.service, answer.status)
        try:
            found: Json = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise RemoteFailed(self.service.service_id, "its answer is not JSON") from error
        return found

    async def ping(self, txn_id: str | None, timeout_s: float) -> Answer:
        """spec: POST /_matrix/app/v1/ping: whatever it answers"""
        body = orjson.dumps({} if txn_id is None else {"transaction_id": txn_id})
        return await self._send("POST", V1 + "/ping", body, timeout_s)

    async def _request(self, method: str, path: str, legacy: str, body: bytes, timeout_s: float) -> Answer:
        """Under the path that it knows. `path` is below V1, `legacy` from the root on."""
        kind = path.split("/")[1].partition("?")[0]
        if self._legacy.get(kind, 0.0) > self._clock_s():
            return await self._send(method, legacy, body, timeout_s, legacy=True)
        self._legacy.pop(kind, None)
        answer = await self._send(method, V1 + path, body, timeout_s)
        if not _is_unknown_path(answer):
            return answer
        older = await self._send(method, legacy, body, timeout_s, legacy=True)
        if older.status // 100 == 2:
            self._legacy[kind] = self._clock_s() + LEGACY_S
            return older
        # What neither knows is not there.
        return answer

    async def _send(
        self, method: str, path: str, body: bytes, timeout_s: float, *, legacy: bool = False
    ) -> Answer:
        service = self.service
        assert service.url is not None, "who has no address has no link"
        if legacy:
            # spec: "Servers should only send this query parameter if supporting legacy versions"
            path += ("&" if "?" in path else "?") + urlencode({"access_token": service.hs_token})
        headers = {"Authorization": f"Bearer {service.hs_token}", "Content-Type": "application/json"}
        try:
            return await self._ask(
                method,
                service.url + path,
                body,
                headers=headers,
                limit_bytes=LIMIT_BYTES,
                timeout_s=timeout_s,
            )
        except TimedOut as failed:
            raise TimedOut(service.service_id, failed.reason) from failed
        except RemoteFailed as failed:
            raise RemoteFailed(service.service_id, failed.reason) from failed


def _is_unknown_path(answer: Answer) -> bool:
    """Whether a service says that it does not know a path, and not that it does not have what was asked for.

    spec: "Legacy routes" takes every failure for that; but who answers in JSON to "GET /users" with 404 has looked, and
    would be asked twice to make something.
    """
    if answer.status != 404:
        return answer.status in _UNKNOWN
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True  # what web servers say by themselves
    return not isinstance(body, dict) or body.get("errcode") == "M_UNRECOGNIZED"
