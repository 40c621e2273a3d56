"""Places where two devices meet that know nothing of each other but a name: one text each, which either may replace.

What is written there is sealed by the devices; whoever has the name can read and replace it, and nobody else. A place
lasts five minutes, whatever is done there, and is in memory alone: after a restart the devices begin anew.
spec: MSC4388 "Insecure rendezvous session", and its form of 2024 in MSC4108. Pure.
"""

import base64
import hashlib
from collections import Counter, OrderedDict
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

# spec: MSC4388 "Maximum payload size", "Maximum duration of a rendezvous"
MAX_BYTES: Final = 4096
LIFE_MS: Final = 300_000
# Places at a time, and of those that one network has made.
MAX_PLACES: Final = 2000
MAX_OF_NETWORK: Final = 20


class Meeting(Struct, frozen=True):
    """A place. `api`: by which of the two interfaces it was made, and is used; `token`: which of its texts this is."""

    api: str
    data: bytes
    token: str
    number: int
    changed_ms: int
    until_ms: int
    network: str


class NoRoom(Exception):
    """There are as many places as there may be, for `retry_after_ms` at least."""

    def __init__(self, retry_after_ms: int) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__("there are too many")


class Overtaken(Exception):
    """Somebody else has written since: `now` is there."""

    def __init__(self, now: Meeting) -> None:
        self.now = now
        super().__init__("somebody else was faster")


class Meetings:
    """All places. Times are milliseconds since 1970."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Meeting] = OrderedDict()  # in the order in which they end
        self._of_network: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def open(self, api: str, name: str, data: bytes, network: str, now_ms: int) -> Meeting:
        """A new place. `name` is one that nobody can guess; `network`: who makes it. NoRoom."""
        self._forget(now_ms)
        if self._of_network[network] >= MAX_OF_NETWORK or len(self._places) >= MAX_PLACES:
            own = self._of_network[network] >= MAX_OF_NETWORK
            first = next(one for one in self._places.values() if not own or one.network == network)
            raise NoRoom(max(1, first.until_ms - now_ms))
        made = Meeting(api, data, _token(name, 0, data), 0, now_ms, now_ms + LIFE_MS, network)
        self._places[name] = made
        self._of_network[network] += 1
        return made

    def find(self, api: str, name: str, now_ms: int) -> Meeting | None:
        self._forget(now_ms)
        found = self._places.get(name)
        return found if found is not None and found.api == api else None

    def write(self, api: str, name: str, token: str, data: bytes, now_ms: int, *, again: bool) -> Meeting | None:
        """Replace what is there, by somebody who has seen it; None where there is no such place. Overtaken.

        `again`: who writes what is there already has not heard that it is, and changes nothing.
        spec: MSC4388 "The send mechanism"
        """
        found = self.find(api, name, now_ms)
        if found is None:
            return None
        if token != found.token:
            if again and data == found.data:
                return found
            raise Overtaken(found)
        number = found.number + 1
        written = replace(found, data=data, token=_token(name, number, data), number=number, changed_ms=now_ms)
        self._places[name] = written
        return written

    def close(self, api: str, name: str, now_ms: int) -> bool:
        """False where there is no such place."""
        if self.find(api, name, now_ms) is None:
            return False
        self._drop(name)
        return True

    def _forget(self, now_ms: int) -> None:
        while self._places:
            name, first = next(iter(self._places.items()))
            if first.until_ms > now_ms:
                return
            self._drop(name)

    def _drop(self, name: str) -> None:
        network = self._places.pop(name).network
        self._of_network[network] -= 1
        if not self._of_network[network]:
            del self._of_network[network]


def _token(name: str, number: int, data: bytes) -> str:
    """spec: MSC4388 "`sequence_token` values"; appendices "Opaque Identifiers" """
    made = hashlib.sha256(b"\0".join((name.encode(), str(number).encode(), data))).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
