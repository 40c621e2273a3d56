"""A server's garbage is found, and seldom looked for."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from tripoint.runtime.garbage import settle_in

class Session:
    pass

old = [[number] for number in range(200_000)]
settle_in()
before = gc.get_stats()[2]["collections"]
new = [[number] for number in range(100_000)]
session = Session()
session.itself = session
gone = weakref.ref(session)
del session
more = [[number] for number in range(20_000)]
print(gc.get_stats()[2]["collections"] - before, gone() is None)
"""


def test_who_comes_does_not_make_it_walk_the_whole_heap_and_what_is_gone_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "True"]
