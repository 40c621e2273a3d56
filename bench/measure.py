"""CPU time of a piece of work, and how busy the machine was meanwhile."""

import cProfile
import hashlib
import pstats
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROFILE = "--profile" in sys.argv


@contextmanager
def cpu(what: str, count: int = 1, unit: str = "") -> Iterator[None]:
    """Print the CPU time of the block; per `unit` where it does several."""
    profile = cProfile.Profile()
    if PROFILE:
        profile.enable()
    start = time.process_time()
    yield
    spent = time.process_time() - start
    profile.disable()
    each = f"  {spent * 1000 / count:.3f} ms each {unit}" if unit else ""
    print(f"{what:48} {spent:8.3f} s{each}")
    if PROFILE:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def yardstick() -> None:
    """A fixed calculation: compare its time with another run's before comparing anything else."""
    start = time.process_time()
    data = b"x" * 1_000_000
    for _ in range(200):
        data = hashlib.sha256(data).digest() * 31_250
    print(f"{'(yardstick)':48} {time.process_time() - start:8.3f} s")
