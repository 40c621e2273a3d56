"""Connections that hear the same bytes of a channel, and the lines that they have in common.

A line for a thousand is appended once and not a thousand times: while nothing else is said to a connection it follows
the run of lines that the others of its audience get, too, and what they all get is joined once. Whoever is told
something alone steps out, in order, and is back with the next line.
Read next: tripoint/irc/outbox.py, tripoint/irc/channel.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tripoint.irc.outbox import IrcOutbox

# For fewer a run costs more than it spares.
MANY: Final = 8


class Run:
    """Lines since the last time that all outboxes were written. `apart`: who does not follow it now, and hears it.

    It is over when they are written: fanout.delivery.Flusher.generation is another then.
    """

    __slots__ = ("_joined", "_of", "apart", "generation", "lines")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.lines: list[bytes] = []
        self.apart: dict[IrcOutbox, None] = {}
        self._joined = b""
        self._of = (0, 0)

    def since(self, start: int) -> bytes:
        """The lines from this one on, in one piece. Most ask for the same."""
        of = (start, len(self.lines))
        if self._of != of:
            self._joined, self._of = b"".join(self.lines[start:]), of
        return self._joined


class Hearers:
    """The outboxes of one audience of a channel."""

    __slots__ = ("_boxes", "_run")

    def __init__(self, boxes: Iterable[IrcOutbox] = ()) -> None:
        self._boxes: dict[IrcOutbox, None] = dict.fromkeys(boxes)
        self._run: Run | None = None

    def __iter__(self) -> Iterator[IrcOutbox]:
        return iter(self._boxes)

    def __len__(self) -> int:
        return len(self._boxes)

    def __contains__(self, box: IrcOutbox) -> bool:
        return box in self._boxes

    def add(self, box: IrcOutbox) -> None:
        """It hears whatever is said from now on."""
        if box not in self._boxes:
            self._boxes[box] = None
            if self._run is not None:
                self._run.apart[box] = None

    def discard(self, box: IrcOutbox) -> None:
        """It hears what was said until now."""
        self._boxes.pop(box, None)
        run = self._run
        if run is not None:
            if box.run is run:
                box.leave()
            run.apart.pop(box, None)

    def say(self, data: bytes, skip: IrcOutbox | None = None) -> None:
        """Whole lines for all but `skip`. A busy server does this all day."""
        boxes = self._boxes
        if len(boxes) < MANY:
            for box in boxes:
                if box is not skip:
                    box.send(data)
            return
        flusher = next(iter(boxes)).flusher
        run = self._run
        late: Iterable[IrcOutbox]
        if run is None or run.generation != flusher.generation:
            run = self._run = Run(flusher.generation)
            late = boxes
        else:
            if skip is not None and skip.run is run:
                skip.leave()
            late, run.apart = run.apart, {}
        at = len(run.lines)
        run.lines.append(data)
        for box in late:
            if box is skip or box.held is not None:
                run.apart[box] = None
                if box is not skip:
                    box.send(data)
            elif not box.closed:
                box.follow(run, at)
