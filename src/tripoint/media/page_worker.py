"""A process that reads pages: `python -m tripoint.media.page_worker`.

Parsers are fed by strangers here, and some pages take them minutes: so this is a process of its own with little memory,
no network in its hands and an end that is certain (side_process.py kills it). It reads one file for each job, nothing
else.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, Final

from tripoint.media.open_graph import read_page

# The tree of a page of a megabyte is some tens of megabytes.
MEMORY_BYTES: Final = 500_000_000


def work() -> None:
    """Answer jobs until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """{source, charset, url}: what open_graph.read_page finds, or {error}."""
    try:
        return read_page(Path(job["source"]).read_bytes(), job["charset"], job["url"])
    except MemoryError:
        return {"error": "too large"}
    except OSError as error:
        return {"error": f"not read: {error.strerror}"}


if __name__ == "__main__":
    work()
