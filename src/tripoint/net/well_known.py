"""What a name delegates its federation to: /.well-known/matrix/server, asked for and kept.

spec: Matrix server-server-api resolving-server-names step 3, getWellKnown. Reading an answer and how long it is
good for are functions without I/O; WellKnown keeps the answers. The request itself is outbound.py's.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from tripoint.core.canonical_json import decode_object
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.net.outbound import Answer

# spec: "The recommended sensible default is 24 hours"; "a maximum cache time: 48 hours is recommended".
DEFAULT_S: Final = 24 * 3600.0
MAX_S: Final = 48 * 3600.0
# spec: "Errors are recommended to be cached for up to an hour", with exponential back-off from here on.
MAX_ERROR_S: Final = 3600.0
FIRST_ERROR_S: Final = 60.0
# COMPAT: many hosts send max-age=0 for everything. Without a floor each federation request would be two.
MIN_S: Final = 300.0
# The document is one name; web servers that answer every path with a page send more.
LIMIT_BYTES: Final = 51_200
KEPT: Final = 10_000

_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,10})\"?\s*(?=,|$)", re.IGNORECASE)
_DO_NOT_KEEP = re.compile(r"(?:^|,)\s*(?:no-store|no-cache)\s*(?:=|,|$)", re.IGNORECASE)


def parse_well_known(answer: Answer) -> ServerName:
    """m.server of an answer. Raises PeerError for anything but a valid one, whatever its Content-Type says."""
    if answer.status != 200:
        raise PeerError(f"status {answer.status}")
    server = decode_object(answer.body).get("m.server")
    if not isinstance(server, str):
        raise PeerError("m.server is not a string")
    return parse_server_name(server)


def lifetime_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long an answer may be kept by its headers, in seconds (names in lower case); None: they do not say.

    spec: RFC9110 8.8; Cache-Control before Expires. `now_s`: seconds since 1970.
    """
    control = headers.get("cache-control", "")
    if _DO_NOT_KEEP.search(control):
        return 0.0
    found = _MAX_AGE.search(control)
    if found is not None:
        return float(found.group(1))
    expires = _date_s(headers.get("expires"))
    if expires is not None:
        date = _date_s(headers.get("date"))
        return max(0.0, expires - (now_s if date is None else date))
    return 0.0 if "expires" in headers else None


def _date_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class _Kept:
    server: ServerName | None
    until_s: float
    failures: int


class WellKnown:
    """Answers of the hosts asked lately. `fetch` makes the request to a host; `now_s`: seconds since 1970."""

    def __init__(self, fetch: Callable[[str], Awaitable[Answer]], now_s: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now_s = now_s
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Kept]] = {}

    async def server_of(self, hostname: str) -> ServerName | None:
        """What `hostname` delegates to; None: nothing, or there was no valid answer."""
        kept = self._kept.get(hostname)
        if kept is not None and kept.until_s > self._now_s():
            self._kept.move_to_end(hostname)
            return kept.server
        task = self._asking.get(hostname)
        if task is None:
            task = asyncio.create_task(self._ask(hostname, 0 if kept is None else kept.failures))
            self._asking[hostname] = task
            task.add_done_callback(lambda _: self._asking.pop(hostname, None))
        # Shielded: others may be waiting for the same answer. The request has a deadline of its own.
        return (await asyncio.shield(task)).server

    async def _ask(self, hostname: str, failures: int) -> _Kept:
        answer: Answer | None = None
        server: ServerName | None = None
        try:
            answer = await self._fetch(hostname)
            server = parse_well_known(answer)
        except (RemoteFailed, PeerError):
            pass
        said = None if answer is None else lifetime_s(answer.headers, self._now_s())
        if server is not None:
            keep_s = min(max(DEFAULT_S if said is None else said, MIN_S), MAX_S)
            failures = 0
        else:
            back_off_s = FIRST_ERROR_S * 2.0 ** min(failures, 10)
            keep_s = min(max(back_off_s, 0.0 if said is None else said), MAX_ERROR_S)
            failures += 1
        kept = _Kept(server, self._now_s() + keep_s, failures)
        self._kept[hostname] = kept
        self._kept.move_to_end(hostname)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept

    def close(self) -> None:
        """Give up what is being asked."""
        for task in list(self._asking.values()):
            task.cancel()
