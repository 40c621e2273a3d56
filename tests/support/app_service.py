"""Registrations of application services on disk, as a configuration names them, and a service in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.support.middle import make_config
from tripoint.config.options import Config, Matrix
from tripoint.core.errors import RemoteFailed
from tripoint.net.outbound import Answer

TOKEN, HS_TOKEN = "the-token-of-the-service", "the-token-of-the-server"
BOT = "@ircbot:example.org"
URL = "http://bridge.example:29317/base"
PATIENCE_S = 20.0


def registered(folder: Path, *more: dict[str, Any], config: Config | None = None, **changes: Any) -> Config:
    """A configuration with one service, `changes` aside: `_irc_*` users and `#irc_*` aliases are its alone. `more`:
    further services, what differs from the first."""
    paths = []
    for number, differs in enumerate(({}, *more)):
        settings: dict[str, Any] = {
            "id": "irc",
            "url": None,
            "as_token": TOKEN,
            "hs_token": HS_TOKEN,
            "sender_localpart": "ircbot",
            "rate_limited": False,
            "namespaces": {
                "users": [{"regex": "@_irc_.*", "exclusive": True}],
                "aliases": [{"regex": "#irc_.*", "exclusive": True}],
            },
            **changes,
            **differs,
        }
        path = folder / f"service{number}.yaml"
        path.write_text(yaml.safe_dump(settings))
        paths.append(str(path))
    return replace(config or make_config(), matrix=Matrix(app_services=tuple(paths)))


@dataclass(frozen=True)
class Asked:
    """A request that a service got. `path` with its query, below the service's address."""

    method: str
    path: str
    body: Any
    authorization: str


Answers = Callable[[Asked], Awaitable[tuple[int, Any]]]


class Service:
    """A service that takes everything, or answers as a test says. `ask` is how the server reaches it."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.answer: Answers | None = None
        self.gone = False  # nobody listens
        self._news = asyncio.Event()

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: dict[str, str],
        limit_bytes: int,
        timeout_s: float,
    ) -> Answer:
        assert url.startswith(self.url) and limit_bytes > 0 and timeout_s > 0
        told = orjson.loads(body) if body else None
        asked = Asked(method, url.removeprefix(self.url), told, headers["Authorization"])
        self.asked.append(asked)
        self._news.set()
        if self.gone:
            raise RemoteFailed("bridge.example", "no connection")
        status, answer = (200, {}) if self.answer is None else await self.answer(asked)
        return Answer(status, answer if isinstance(answer, bytes) else orjson.dumps(answer))

    @property
    def transactions(self) -> list[Asked]:
        """What was sent to it, over and over too."""
        return [asked for asked in self.asked if "/transactions/" in asked.path]

    def heard(self) -> list[Any]:
        """The events of all transactions, each transaction once."""
        once = {asked.path.rsplit("/", 1)[1].partition("?")[0]: asked.body for asked in self.transactions}
        return [event for body in once.values() for event in body["events"]]

    def texts(self) -> list[str]:
        """What was said of it."""
        return [e["content"]["body"] for e in self.heard() if e["type"] == "m.room.message"]

    def passing(self) -> list[Any]:
        """What is in no history."""
        return [event for asked in self.transactions for event in asked.body.get("ephemeral", ())]

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until something holds; looked at with every request."""
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                self._news.clear()
                await self._news.wait()
                await asyncio.sleep(0)
