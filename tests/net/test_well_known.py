"""/.well-known/matrix/server: what counts as an answer, and how long it is kept.

spec: Matrix server-server-api resolving-server-names step 3, getWellKnown
"""

import asyncio
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import Clock, run
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.net.outbound import Answer
from tripoint.net.well_known import (
    DEFAULT_S,
    FIRST_ERROR_S,
    KEPT,
    MAX_ERROR_S,
    MAX_S,
    MIN_S,
    WellKnown,
    lifetime_s,
    parse_well_known,
)

GOOD = b'{"m.server": "delegated.example.com:1234"}'
NOW = 1_700_000_000.0


def test_the_specification_s_example() -> None:
    assert parse_well_known(Answer(200, GOOD)) == "delegated.example.com:1234"


def test_the_type_of_the_content_does_not_matter() -> None:
    """spec: "servers parsing the response should assume that the body is JSON regardless of type"."""
    assert parse_well_known(Answer(200, GOOD, {"content-type": "text/html"})) == "delegated.example.com:1234"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, GOOD),
        (204, GOOD),
        (301, GOOD),
        (500, GOOD),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'"delegated.example.com"'),
        (200, b"{}"),
        (200, b'{"m.server": 5}'),
        (200, b'{"m.server": null}'),
        (200, b'{"m.server": ""}'),
        (200, b'{"m.server": "https://delegated.example.com"}'),
        (200, b'{"m.server": "a b"}'),
        (200, b'{"m.server": "a\\r\\nb"}'),
        (200, b'{"m.server": "example.com:port"}'),
        (200, b'{"m.server": "[::1"}'),
        (200, b"[" * 5000),
    ],
)
def test_invalid_answers(status: int, body: bytes) -> None:
    with pytest.raises(PeerError):
        parse_well_known(Answer(status, body))


@given(st.binary(max_size=200))
def test_any_body_is_a_name_or_a_peer_error(body: bytes) -> None:
    with pytest.raises(PeerError):
        parse_well_known(Answer(200, body))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "max-age=60"}, 60.0),
        ({"cache-control": "public, Max-Age = 60, immutable"}, 60.0),
        ({"cache-control": 'max-age="60"'}, 60.0),
        ({"cache-control": "s-maxage=5, max-age=60"}, 60.0),
        ({"cache-control": "s-maxage=5"}, None),
        ({"cache-control": "max-age=soon"}, None),
        ({"cache-control": "no-store"}, 0.0),
        ({"cache-control": "max-age=60, no-cache"}, 0.0),
        ({"expires": formatdate(NOW + 100, usegmt=True)}, 100.0),
        ({"expires": formatdate(NOW - 100, usegmt=True)}, 0.0),
        ({"expires": formatdate(NOW + 50, usegmt=True), "date": formatdate(NOW - 50, usegmt=True)}, 100.0),
        ({"expires": "0"}, 0.0),
        ({"expires": "never", "cache-control": "max-age=7"}, 7.0),
    ],
)
def test_lifetimes(headers: dict[str, str], seconds: float | None) -> None:
    assert lifetime_s(headers, NOW) == seconds


@given(st.dictionaries(st.sampled_from(["cache-control", "expires", "date"]), st.text(max_size=40)))
def test_any_headers_give_a_lifetime_or_none(headers: dict[str, str]) -> None:
    found = lifetime_s(headers, NOW)
    assert found is None or found >= 0


class Host:
    """A host whose answers the test sets; an exception is raised."""

    def __init__(self, answer: Answer | RemoteFailed) -> None:
        self.answer = answer
        self.asked = 0
        self.clock = Clock()
        self.well_known = WellKnown(self.fetch, self.clock.s)

    async def fetch(self, hostname: str) -> Answer:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, RemoteFailed):
            raise self.answer
        return self.answer

    async def ask(self, name: str = "example.org") -> str | None:
        return await self.well_known.server_of(name)

    async def kept_s(self) -> float:
        """How long the last answer is kept, to the second, by asking again and again."""
        low, high = 0.0, MAX_S + 1
        start = self.clock.now
        kept = self.well_known._kept["example.org"]
        while high - low > 1:
            middle = (low + high) / 2
            self.clock.now = start + middle
            before = self.asked
            await self.ask()
            if self.asked > before:
                high = middle
                self.well_known._kept["example.org"] = kept
            else:
                low = middle
        self.clock.now = start
        return high


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, DEFAULT_S),
        ({"cache-control": "max-age=3600"}, 3600.0),
        ({"cache-control": "max-age=99999999"}, MAX_S),
        ({"cache-control": "no-store"}, MIN_S),
    ],
)
def test_valid_answers_are_kept_as_their_headers_say(headers: dict[str, str], seconds: float) -> None:
    async def work() -> None:
        host = Host(Answer(200, GOOD, headers))
        assert await host.ask() == "delegated.example.com:1234"
        assert await host.kept_s() == pytest.approx(seconds, abs=1.5)

    run(work)


@pytest.mark.parametrize("answer", [RemoteFailed("example.org", "gone"), Answer(200, b"{}"), Answer(404, b"")])
def test_failures_are_kept_longer_and_longer_up_to_an_hour(answer: Answer | RemoteFailed) -> None:
    async def work() -> None:
        host = Host(answer)
        expected = FIRST_ERROR_S
        for _ in range(9):
            assert await host.ask() is None
            assert await host.kept_s() == pytest.approx(expected, abs=1.5)
            host.clock.now += expected + 1
            expected = min(expected * 2, MAX_ERROR_S)
        # One valid answer ends the series.
        host.answer = Answer(200, GOOD)
        assert await host.ask() == "delegated.example.com:1234"
        host.clock.now += DEFAULT_S + 1
        host.answer = answer
        assert await host.ask() is None
        assert await host.kept_s() == pytest.approx(FIRST_ERROR_S, abs=1.5)

    run(work)


def test_errors_are_kept_as_their_headers_say_within_an_hour() -> None:
    async def work() -> None:
        host = Host(Answer(404, b"", {"cache-control": "max-age=1000"}))
        await host.ask()
        assert await host.kept_s() == pytest.approx(1000, abs=1.5)
        host = Host(Answer(404, b"", {"cache-control": "max-age=100000"}))
        await host.ask()
        assert await host.kept_s() == pytest.approx(MAX_ERROR_S, abs=1.5)

    run(work)


def test_who_asks_at_the_same_time_shares_one_request() -> None:
    async def work() -> None:
        host = Host(Answer(200, GOOD))
        asking = [asyncio.create_task(host.ask()) for _ in range(20)]
        await asyncio.sleep(0)
        asking[0].cancel()
        found = await asyncio.gather(*asking[1:])
        assert set(found) == {"delegated.example.com:1234"}
        assert host.asked == 1

    run(work)


def test_what_is_kept_is_bounded() -> None:
    async def work() -> None:
        host = Host(Answer(404, b""))
        for number in range(KEPT + 10):
            await host.ask(f"n{number}.example")
        assert len(host.well_known._kept) == KEPT
        asked = host.asked
        await host.ask(f"n{KEPT + 9}.example")
        assert host.asked == asked
        await host.ask("n0.example")
        assert host.asked == asked + 1

    run(work)
