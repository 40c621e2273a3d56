"""Components that are connected, one connection for each: their listener, and stanzas there and back.

A component that connects again takes the place of its former connection, which may be a dead one; only who knows the
secret can. Nothing waits for a component that is away: who writes to it is told.
spec: XEP-0114; RFC6120 4.6.1 (blanks keep a connection alive), 4.9.3.3 (conflict), 8.3.3.16, 10.1.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from tripoint.net.connections import Background, Connections
from tripoint.xmpp.components.stream import Accepted, Action, ComponentStream
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.s2s.actions import Close, Send
from tripoint.xmpp.s2s.intake import Intake, Receiving, Traffic
from tripoint.xmpp.s2s.wire import Wire
from tripoint.xmpp.wire import Element

log = structlog.get_logger()

# From the connection to the right handshake.
HANDSHAKE_S: Final = 30.0
# A connection over which nothing was sent for so long gets a blank, so that a dead one is noticed.
SILENT_S: Final = 60.0
# Connections of one address: of all components of a machine, and those that they replace.
MAX_CONNECTIONS: Final = 200
DRAIN_S: Final = 3.0
# The operator trusts components: they are held back by how fast their stanzas are handled alone.
UNLIMITED: Final = Traffic(0, 0, MAX_CONNECTIONS)


@dataclass(frozen=True, slots=True)
class Component:
    """`name`: its domain; `title`: what people see it as among the services of this server."""

    name: str
    secret: str
    title: str


class Components:
    """All of them. `deliver` handles a stanza of one; `gone` is told of the name of one whose connection is over."""

    def __init__(
        self,
        components: Sequence[Component],
        stanza_bytes: int,
        *,
        new_id: Callable[[], str],
        now_s: Callable[[], float],
        deliver: Callable[[Element], Awaitable[None]],
        gone: Callable[[str], None],
    ) -> None:
        self.components = tuple(components)
        self.names = frozenset(one.name for one in components)
        self.connections: Connections[ComponentLink] = Connections(clock_s=now_s)
        self.receiving = Receiving(UNLIMITED, deliver, _asks_nobody, now_s)
        self.background = Background("xmpp.component")
        self._secrets = {one.name: one.secret for one in components}
        self._stanza_bytes = stanza_bytes
        self._new_id = new_id
        self._gone = gone
        self._links: dict[str, ComponentLink] = {}

    def __len__(self) -> int:
        return len(self._links)

    def protocol(self, *, secure: bool, address: str | None = None, offloaded: bool = False) -> Wire:
        """The factory for `loop.create_server`; see XmppFrontEnd.protocol."""
        wire = Wire()
        wire.made = lambda: ComponentLink(self, wire, address).begin()
        return wire

    def stream(self) -> ComponentStream:
        """For a new connection."""
        return ComponentStream(self._secrets, self._new_id, self._stanza_bytes)

    def send(self, name: str, stanza: bytes) -> Problem | None:
        """A whole stanza for a component, or why it cannot have it."""
        link = self._links.get(name)
        if link is None:
            return Problem("remote-server-timeout", f"{name} is not connected now")
        link.write(stanza)
        return None

    def accepted(self, name: str, link: "ComponentLink") -> None:
        """The connection has proved whose it is."""
        former = self._links.get(name)
        self._links[name] = link
        log.info("xmpp.component.connected", component=name, address=link.address, again=former is not None)
        if former is not None:
            former.end("conflict", "This component has connected again")

    def lost(self, link: "ComponentLink") -> None:
        """A connection is over."""
        self.connections.gone(link)
        name = link.stream.name
        if self._links.get(name) is link:
            del self._links[name]
            log.info("xmpp.component.gone", component=name)
            self._gone(name)

    def sweep(self) -> None:
        """Close who makes no handshake; keep the others alive."""
        now = self.receiving.now_s()
        for link in self.connections.all():
            if self._links.get(link.stream.name) is not link:
                if now - link.since > HANDSHAKE_S:
                    link.end("connection-timeout", "The handshake took too long")
            elif now - link.sent_at > SILENT_S:
                link.write(b" ")

    async def close(self) -> None:
        """Tell everybody and close."""
        self.connections.closing = True
        for link in self.connections.all():
            link.end("system-shutdown", "The server is shutting down")
        await self.background.finish(DRAIN_S)


class ComponentLink:
    """One connection."""

    def __init__(self, components: Components, wire: Wire, address: str | None) -> None:
        self.stream = components.stream()
        self.since = self.sent_at = components.receiving.now_s()
        self.address = wire.peer_address if address is None else address
        self._components = components
        self._wire = wire
        self._intake = Intake(components.receiving, components.background, wire.reads)
        wire.hear = lambda data: self._act(self.stream.receive(data))
        wire.lost = self._lost

    def begin(self) -> None:
        """The connection stands."""
        refused = self._components.connections.admit(self, self.address, MAX_CONNECTIONS)
        if refused is not None:
            self.end("policy-violation", refused)

    def write(self, data: bytes) -> None:
        """A component that does not read is cut off (s2s/wire.py)."""
        self.sent_at = self._components.receiving.now_s()
        self._wire.write(data)

    def end(self, condition: str, text: str) -> None:
        """Close from our side, with a stream error."""
        self._act(self.stream.fail(condition, text))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.write(action.data)
            elif isinstance(action, Close):
                self._wire.close()
            elif isinstance(action, Accepted):
                self._components.accepted(action.name, self)
            else:
                self._intake.take(action.element)

    def _lost(self) -> None:
        self.stream.close()
        self._components.lost(self)


async def _asks_nobody(_ask: object) -> None:
    """There is no dialback in the stream of a component."""
