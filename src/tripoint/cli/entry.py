"""Where a process of `tripoint` begins and ends."""

import os
import sys

from tripoint.cli.main import main as commands


def main() -> None:
    """Carry out the command line, and end with its exit code."""
    try:
        commands()
    except SystemExit as end:
        if "obstore" in sys.modules and (end.code is None or isinstance(end.code, int)):
            # A bucket was used: threads of that library are not Python's, and one that comes back while the
            # interpreter takes itself apart aborts the process (exit code -6), after all is done. So it is not taken
            # apart.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code or 0)
        raise
