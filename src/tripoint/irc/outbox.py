"""The outbox of an IRC session: fan-out's, and able to wait for the end of a labelled command.

spec: IRCv3 labeled-response, batch.  While a labelled command runs, everything for this client is held in
order, so that the response can be told apart and nothing overtakes anything; then all of it goes out.
Read next: tripoint/fanout/delivery.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from tripoint.fanout.delivery import ByteWriter, Flusher, Outbox
from tripoint.irc.hearers import Run
from tripoint.irc.wire import build_tags, seal

# A labelled command takes milliseconds; one that takes longer must not collect a busy channel without end.
MAX_HELD = 10_000


class Own(msgspec.Struct, frozen=True):
    """A line that is part of the response: its body, and its tags before label and batch.

    `inner`: it stands in, or closes, a batch that an earlier line of the response opened.
    """

    body: str
    tags: list[tuple[str, str]]
    inner: bool = False


class IrcOutbox(Outbox):
    """`send` takes finished lines from anywhere; `respond` takes lines of the running command."""

    __slots__ = ("_apart", "_batch", "_label", "_overflow", "_since", "held", "run")

    def __init__(
        self, transport: ByteWriter, flusher: Flusher, limit_bytes: int, on_overflow: Callable[[], None]
    ) -> None:
        super().__init__(transport, flusher, limit_bytes, on_overflow)
        self.held: list[bytes | Own] | None = None
        self._label = ""
        self._batch = ("", "")
        self._apart = False
        self._overflow = on_overflow
        # What it gets in common with others, behind its own chunks, and from which line on (hearers.py).
        self.run: Run | None = None
        self._since = 0

    @property
    def holding(self) -> bool:
        """Whether a labelled command runs."""
        return self.held is not None

    def send(self, data: bytes) -> None:
        """Whole lines. They leave at the end of this turn, or behind the response that is being made."""
        if self.held is not None:
            self._hold(data)
        elif not self.closed:
            if self.run is not None:
                self.leave()
            # The body of Outbox.send again: this is called for every line and reader, and a second call would
            # be a third of what that costs.
            chunks = self._chunks
            if not chunks:
                dirty = self.flusher.dirty
                if not dirty:
                    self.flusher.schedule()
                dirty.append(self)
            chunks.append(data)

    def follow(self, run: Run, at: int) -> None:
        """What is said from this line of a run on is for this connection, too."""
        if self.run is not None:
            self.leave()
        elif not self._chunks:
            self.flusher.add(self)
        self.run = run
        self._since = at

    def leave(self) -> None:
        """What the run had until now is among one's own chunks; what it has next is not."""
        run = self.run
        assert run is not None
        self.run = None
        run.apart[self] = None
        self._chunks.append(run.since(self._since))
        self.sent += len(run.lines) - self._since - 1

    def flush(self) -> None:
        run = self.run
        if run is None:
            super().flush()
        elif self._chunks or run.generation == self.flusher.generation:
            self.leave()
            super().flush()
        else:
            # It is over, and nobody need be apart from it.
            self.run = None
            self.write(run.since(self._since), len(run.lines) - self._since)

    def _hold(self, item: bytes | Own) -> None:
        assert self.held is not None
        if len(self.held) < MAX_HELD:
            self.held.append(item)
        elif not self.closed:
            self.closed = True
            self._overflow()

    def respond(self, body: str, tags: list[tuple[str, str]], *, inner: bool = False) -> None:
        """One line of the answer to the running command. `inner` as in Own."""
        if self.held is None or self._apart:
            self.send(seal(body, build_tags(tags)))
        else:
            self._hold(Own(body, tags, inner))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is responded in here answers an earlier command, not the one that runs now. Nothing is awaited."""
        self._apart = True
        try:
            yield
        finally:
            self._apart = False

    def begin(self, label: str, server: str, batch_id: str) -> None:
        """A command with this label begins. `batch_id`: what the batch of its response is called, if it needs one."""
        if self.run is not None:
            self.leave()
        self.held = []
        self._label = label
        self._batch = (server, batch_id)

    def close(self) -> None:
        """What the running command was answered with, the last word too, goes out before the end."""
        self.end()
        super().close()

    def end(self, *, answered: bool = True) -> None:
        """The command is done: send its response with the label, as a batch if it has several lines.

        `answered` False: it has no response yet, not even an ACK. Without a labelled command nothing happens.

        spec: IRCv3 labeled-response: exactly one logical message carries the label, an ACK if there is none; a
        response that is one batch carries it where that opens.
        """
        held, self.held = self.held, None
        if held is None:
            return
        server, batch_id = self._batch
        label = ("label", self._label)
        mine = [item for item in held if isinstance(item, Own)]
        single = sum(not item.inner for item in mine) == 1
        left = len(mine)
        for item in held:
            if isinstance(item, bytes):
                super().send(item)
                continue
            if single:
                tags = item.tags if item.inner else [label, *item.tags]
                super().send(seal(item.body, build_tags(tags)))
                continue
            if left == len(mine):
                super().send(seal(f":{server} BATCH +{batch_id} labeled-response", build_tags([label])))
            left -= 1
            # spec: IRCv3 batch: what stands in an inner batch names that one alone.
            tags = item.tags if item.inner else [("batch", batch_id), *item.tags]
            super().send(seal(item.body, build_tags(tags)))
            if not left:
                super().send(seal(f":{server} BATCH -{batch_id}"))
        if not mine and answered:
            super().send(seal(f":{server} ACK", build_tags([label])))
