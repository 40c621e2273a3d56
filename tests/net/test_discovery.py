"""Discovery as a process uses it: what is asked, where, and within which limits."""

from collections.abc import Sequence

import pytest

from tests.support.middle import Clock, run
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.net.discovery import Discovery
from tripoint.net.outbound import Answer, Outbound
from tripoint.net.resolver import Route, SrvRecord, Target
from tripoint.net.well_known import LIMIT_BYTES


class Names:
    async def addresses(self, name: str) -> Sequence[str]:
        return ["1.0.0.1"] if name == "delegated.example" else ["1.0.0.2"]

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        return []


class Web(Outbound):
    """Only `get`, from what the test sets; None is no answer."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def get(self, url: str, *, limit_bytes: int, timeout_s: float) -> Answer:
        assert limit_bytes == LIMIT_BYTES and timeout_s <= 30
        self.asked.append(url)
        if self.answer is None:
            raise RemoteFailed("example.org", "gone")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "route"),
    [
        (
            Answer(200, b'{"m.server":"delegated.example"}'),
            Route((Target("1.0.0.1", 8448),), "delegated.example", "delegated.example"),
        ),
        (Answer(404, b""), Route((Target("1.0.0.2", 8448),), "example.org", "example.org")),
        (None, Route((Target("1.0.0.2", 8448),), "example.org", "example.org")),
    ],
)
def test_a_host_is_asked_once_for_what_it_delegates(answer: Answer | None, route: Route) -> None:
    async def work() -> None:
        clock, web = Clock(), Web(answer)
        discovery = Discovery(Names(), web, now_s=clock.s)
        for _ in range(3):
            assert await discovery.route(ServerName("example.org")) == route
        assert web.asked == ["https://example.org/.well-known/matrix/server"]
        clock.now += 3 * 24 * 3600
        await discovery.route(ServerName("example.org"))
        assert len(web.asked) == 2
        for name in ("1.2.3.4", "[2a00::1]:5", "example.org:8448"):
            await discovery.route(ServerName(name))
        assert len(web.asked) == 2

    run(work)
