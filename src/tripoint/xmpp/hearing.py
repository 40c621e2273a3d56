"""What is heard of a stream, and who it is told to: the same in both directions. Pure.

spec: RFC6120 4.3.3, 5.4.3.3, 6.4.6 (a stream begins anew), 4.9.1
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from tripoint.xmpp.wire import (
    MAX_NAMES_OF_SERVERS,
    Broken,
    Element,
    StreamClosed,
    StreamError,
    StreamEvent,
    StreamOpened,
    StreamParser,
)

A = TypeVar("A")


class Heard(Protocol[A]):
    """A state machine. The first three may raise StreamError; `broke` ends the stream with one."""

    def header(self, header: StreamOpened, actions: list[A]) -> None: ...
    def element(self, element: Element, actions: list[A]) -> None: ...
    def ended(self, actions: list[A]) -> None: ...
    def broke(self, error: StreamError, actions: list[A]) -> None: ...


class Hearing(Generic[A]):
    """The XML of one stream. What came before a switch to TLS or a new beginning does not survive it."""

    def __init__(self, max_stanza_bytes: int) -> None:
        self._parser = StreamParser(max_stanza_bytes, MAX_NAMES_OF_SERVERS, forgiving=True)
        self._on = True

    def receive(self, data: bytes, told: Heard[A]) -> list[A]:
        """What these bytes lead to."""
        actions: list[A] = []
        for event in self._events(data):
            try:
                if isinstance(event, Element):
                    told.element(event, actions)
                elif isinstance(event, StreamOpened):
                    told.header(event, actions)
                elif isinstance(event, StreamClosed):
                    told.ended(actions)
                else:
                    assert isinstance(event, Broken)
                    raise StreamError(event.condition, event.text)
            except StreamError as error:
                told.broke(error, actions)
        return actions

    def limit(self, max_stanza_bytes: int) -> None:
        """The peer has proved something, and may send more."""
        self._parser.max_stanza_bytes = max_stanza_bytes

    def renew(self) -> None:
        """A new header comes next."""
        self._parser.close()
        self._parser = StreamParser(self._parser.max_stanza_bytes, MAX_NAMES_OF_SERVERS, forgiving=True)
        self._on = True

    def stop(self) -> None:
        """Nothing more is heard, unless the stream begins anew."""
        self._parser.close()
        self._on = False

    def _events(self, data: bytes) -> Iterator[StreamEvent]:
        if not self._on:
            return
        parser = self._parser
        for event in parser.receive(data):
            if not self._on or parser is not self._parser:
                return
            yield event
