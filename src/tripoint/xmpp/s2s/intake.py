"""Stanzas of one stream, handled one after the other; who sends faster than that is read no further.

Of streams that others opened, and of ours that carry stanzas both ways. spec: RFC6120 10.1; docs/mapping.md 24
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tripoint.net.connections import Background
from tripoint.xmpp.s2s.actions import Ask
from tripoint.xmpp.wire import Element

log = structlog.get_logger()

# Stanzas of one stream that may wait before its socket is read no further.
BACKLOG: Final = 64
# As how many clients at full speed a server may send: there are many people behind it, and who enters a large room over
# it is shown thousands of others at once, for whom everybody else would wait.
CLIENTS_OF_A_SERVER: Final = 10


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much one stream and one address may send; 0: any number."""

    stanzas_burst: float
    stanzas_per_s: float
    connections_per_address: int

    @classmethod
    def of_servers(cls, client_burst: float, client_per_s: float, connections_per_address: int) -> "Traffic":
        """What a server may send, by what a client may."""
        burst, per_s = CLIENTS_OF_A_SERVER * client_burst, CLIENTS_OF_A_SERVER * client_per_s
        return cls(burst, per_s, connections_per_address)


@dataclass(frozen=True, slots=True)
class Receiving:
    """What becomes of what a peer sends: `deliver` handles one stanza, `ask` asks an authoritative server."""

    traffic: Traffic
    deliver: Callable[[Element], Awaitable[None]]
    ask: Callable[[Ask], Awaitable[bool | None]]
    now_s: Callable[[], float]


class Intake:
    """`reads(on)`: whether bytes of this peer are taken from its socket. `taken` and `handled`: how many there were."""

    def __init__(self, receiving: Receiving, background: Background, reads: Callable[[bool], None]) -> None:
        self._receiving = receiving
        self._background = background
        self._reads = reads
        self._backlog: deque[Element] = deque()
        self._busy = False
        self.taken = self.handled = 0
        self._allowance = receiving.traffic.stanzas_burst
        self._allowance_at = receiving.now_s()

    def take(self, stanza: Element) -> None:
        """The next one."""
        self._backlog.append(stanza)
        self.taken += 1
        if len(self._backlog) == BACKLOG:
            self._reads(False)
        if not self._busy:
            self._busy = True
            self._background.spawn(self._work())

    async def _work(self) -> None:
        """Handle what waits, in its order. What was received before the stream ended is handled too."""
        try:
            while self._backlog:
                wait_s = self._owed()
                if wait_s:
                    await asyncio.sleep(wait_s)
                stanza = self._backlog.popleft()
                try:
                    await self._receiving.deliver(stanza)
                except Exception:  # a bug: told to us with its trace; the stanzas after it are handled
                    log.exception("xmpp.s2s.handler_failed", stanza=stanza.name)
                self.handled += 1
                if len(self._backlog) == BACKLOG // 2:
                    self._reads(True)
        finally:
            self._busy = False
            self._reads(True)

    def _owed(self) -> float:
        """Seconds that the next stanza has to wait. docs/mapping.md 24"""
        traffic = self._receiving.traffic
        if traffic.stanzas_per_s <= 0:
            return 0.0
        now = self._receiving.now_s()
        earned = self._allowance + (now - self._allowance_at) * traffic.stanzas_per_s
        self._allowance = min(traffic.stanzas_burst, earned) - 1
        self._allowance_at = now
        return max(0.0, -self._allowance / traffic.stanzas_per_s)
