"""Many rows in few steps of SQLite."""

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

# A row of values in a statement that takes several as well as one.
_VALUES: Final = re.compile(r"\bVALUES \([?, ]+\)(?=\Z|\) AS )")
_AT_ONCE: Final = (64, 32, 16, 8, 4, 2)


@lru_cache(maxsize=256)
def _of_rows(statement: str, count: int) -> str | None:
    """The statement for so many rows; None for one that takes them one by one."""
    match = _VALUES.search(statement)
    if match is None:
        return None
    row = match[0].removeprefix("VALUES ")
    return f"{statement[: match.start()]}VALUES {','.join([row] * count)}{statement[match.end() :]}"


def in_few_steps(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
    """As executemany(); how many rows were changed.

    For each step of SQLite the thread gives the interpreter's lock away and waits for it again, behind a loop that
    hardly ever lets go of it: with a row a step that was a tenth of what a message costs.
    """
    changed = done = 0
    for count in _AT_ONCE:
        together = _of_rows(statement, count) if len(rows) - done >= count else None
        while together is not None and len(rows) - done >= count:
            values = [value for row in rows[done : done + count] for value in row]
            changed += connection.execute(together, values).rowcount
            done += count
    if done < len(rows):
        changed += connection.executemany(statement, rows[done:]).rowcount
    return changed
