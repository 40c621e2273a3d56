"""Matrix clients for tests: requests straight into the listener, without sockets, as any HTTP front would."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from tests.support.media import files
from tests.support.middle import SERVER, Clock, Party, make_config, party
from tripoint.config.options import Config
from tripoint.core.ids import ServerName
from tripoint.core.turn import NO_SERVERS, TurnServers
from tripoint.matrix.appservice.link import Ask
from tripoint.matrix.appservice.services import Means
from tripoint.matrix.frontend import MatrixFrontEnd
from tripoint.net.http import Request, Response
from tripoint.oauth.frontend import OAuthFrontEnd
from tripoint.oauth.provider_client import ProviderClient
from tripoint.runtime.app_services import connect
from tripoint.runtime.media import MediaParts
from tripoint.store.interface import Store

PASSWORD = "correct horse"


class Server:
    """A Matrix front end on a middle in memory."""

    def __init__(self, p: Party, front: MatrixFrontEnd, media: MediaParts) -> None:
        self.party = p
        self.front = front
        self.media = media
        # Where requests come from, and whether over TLS.
        self.address = "127.0.0.1"
        self.secure = False

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        raw: bytes | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        parameters: dict[str, str] | None = None,
        **query: str,
    ) -> Response:
        if token is not None:
            headers = (*headers, (b"authorization", f"Bearer {token}".encode()))
        data = raw if raw is not None else (b"" if body is None else orjson.dumps(body))
        query_string = urlencode({**query, **(parameters or {})}).encode()
        request = Request(method, path, query_string, headers, data, self.address, self.secure)
        return await self.front.listener.handle(request)

    async def register(self, name: str, **body: Any) -> "Client":
        response = await self.request(
            "POST",
            "/_matrix/client/v3/register",
            {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **body},
        )
        assert response.status == 200, response.body
        return Client(self, orjson.loads(response.body))


class Client:
    """One logged-in device."""

    def __init__(self, server: Server, log_in: dict[str, Any]) -> None:
        self.server = server
        self.user_id: str = log_in["user_id"]
        self.device_id: str = log_in["device_id"]
        self.token: str = log_in["access_token"]
        self.since: str | None = None
        self._txn = 0

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **query: str) -> Any:
        """A request under /_matrix/client/v3 that ends with `status`; the body of the answer."""
        response = await self.server.request(
            method, f"/_matrix/client/v3{path}", body, token=self.token, **query
        )
        assert response.status == status, (response.status, response.body)
        return orjson.loads(response.body)

    async def refused(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, str]:
        """(status, errcode) of a request that is refused."""
        response = await self.server.request(
            method, f"/_matrix/client/v3{path}", body, token=self.token, **query
        )
        answer = orjson.loads(response.body)
        assert response.status >= 400 and answer["error"], (response.status, response.body)
        return response.status, answer["errcode"]

    async def create(self, **body: Any) -> str:
        room_id = (await self.call("POST", "/createRoom", body))["room_id"]
        assert isinstance(room_id, str)
        return room_id

    async def join(self, room: str) -> None:
        await self.call("POST", f"/join/{q(room)}", {})

    async def say(self, room_id: str, text: str, txn: str | None = None) -> str:
        self._txn += 1
        sent = await self.call(
            "PUT",
            f"/rooms/{q(room_id)}/send/m.room.message/{txn or self._txn}",
            {"msgtype": "m.text", "body": text},
        )
        event_id = sent["event_id"]
        assert isinstance(event_id, str)
        return event_id

    async def sync(self, timeout: int = 0, **query: str) -> Any:  # noqa: ASYNC109  # the API's own parameter
        """The next sync: since the last one, unless `since` is given."""
        if self.since is not None:
            query.setdefault("since", self.since)
        answer = await self.call("GET", "/sync", timeout=str(timeout), **query)
        self.since = answer["next_batch"]
        return answer

    async def timeline(self, room_id: str, **query: str) -> list[Any]:
        """The timeline of a room in the next sync."""
        answer = await self.sync(**query)
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        events: list[Any] = room.get("timeline", {}).get("events", [])
        return events


def q(text: str) -> str:
    """A path segment."""
    return quote(text, safe="")


@asynccontextmanager
async def matrix(
    config: Config | None = None,
    store: Store | None = None,
    clock: Clock | None = None,
    turn: TurnServers = NO_SERVERS,
    providers: Sequence[ProviderClient] = (),
    livekit: tuple[str, ...] = (),
    ask: Ask | None = None,
    patience_s: float = 20.0,
) -> AsyncIterator[Server]:
    """`ask`: how application services are reached, and for how long they are asked; None: they are not."""
    config = config or make_config()
    bugs: list[BaseException] = []

    def failed(where: str, error: BaseException) -> None:
        bugs.append(error)

    async with party(config, store, clock) as p, files(config, p) as media:
        p.middle.oauth.base = "https://chat.example.org"
        pages = OAuthFrontEnd(
            p.middle.service,
            p.middle.accounts,
            p.middle.oauth,
            secret=bytes(32),
            now_ms=p.clock.ms,
            plaintext_passwords=True,
            providers=providers,
        )
        front = MatrixFrontEnd(
            ServerName(SERVER),
            p.middle.service,
            p.middle.reader,
            p.middle.accounts,
            p.middle.presence,
            p.middle.hub,
            p.middle.pace,
            media.ports,
            p.middle.encryption,
            p.middle.oauth,
            p.middle.delayed,
            p.middle.desk,
            now_ms=p.clock.ms,
            public_url="https://chat.example.org",
            default_room_version="12",
            secret=bytes(32),
            plaintext_passwords=True,
            turn=turn,
            fallback=pages.handle,
            livekit=livekit,
            shared_secret=config.accounts.registration_shared_secret,
            bridging=None if ask is None else Means(p.middle.service_log, ask, failed, p.clock.s, 0.01, patience_s),
        )
        if front.bridges is not None:
            connect(p.middle, front.bridges)
            await front.bridges.start()
        yield Server(p, front, media)
        front.drain()
        if front.bridges is not None:
            await front.bridges.close()
        assert not bugs, bugs
        await asyncio.sleep(0)
