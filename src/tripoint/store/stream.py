"""The server's stream: every durable change gets the next position, and commits happen in that order.

Positions are handed out on the loop's thread, in the same breath as the unit is submitted, so the order of
commit is the order of position. `committed` is how far readers may read: everything up to it is on disk.
One stream per writing process; a reader's place is therefore (writer, number): core/stream_position.py.
"""

import asyncio
from collections.abc import Callable, Sequence

from tripoint.store.interface import Done, StoreError, Writer
from tripoint.store.writes import PutMeta, Write

# Positions below this were used, whatever the tables show: rows that had the highest may be gone.
POSITION_FLOOR = "position_floor"


class Stream:
    """Positions and commits of one writer. `last` is the highest position ever used.

    `on_settled` is called whenever nothing is on its way to the disk any more.
    """

    def __init__(self, writer: Writer, last: int) -> None:
        self._writer = writer
        self._last = last
        self.committed = last
        self.on_settled: Callable[[], None] = lambda: None
        self._under_way = 0

    def next(self) -> int:
        """The next position. Use it in the unit that is submitted before anything else is awaited."""
        self._last += 1
        return self._last

    @property
    def last(self) -> int:
        """The highest position handed out."""
        return self._last

    def busy(self) -> bool:
        """Whether something is on its way to the disk."""
        return self._under_way > 0

    def floor(self) -> PutMeta:
        """For a unit that deletes rows with positions, or uses some that no table keeps: none is handed out again
        after a restart."""
        return PutMeta(POSITION_FLOOR, str(self._last))

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """Writer.submit, and `committed` moves on before `done(None)` is called."""
        upto = self._last
        self._under_way += 1

        def finished(error: StoreError | None) -> None:
            if error is None and upto > self.committed:
                self.committed = upto
            done(error)
            self._under_way -= 1
            if not self._under_way:
                self.on_settled()

        self._writer.submit(writes, finished)

    async def commit(self, writes: Sequence[Write], on_commit: Callable[[], None] | None = None) -> None:
        """Store one unit; returns once it is on disk. Raises StoreError, and then nothing was stored.

        `on_commit` is called in the same breath as `committed` moves on: what readers by position must know
        of this unit is said there, since the caller itself runs only later.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: StoreError | None) -> None:
            if error is None and on_commit is not None:
                on_commit()
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.submit(writes, done)
        # Shielded: a caller that goes away does not undo what was submitted.
        await asyncio.shield(future)
