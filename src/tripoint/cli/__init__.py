"""The command line: tripoint run | try | config | user | db. Imports are late: `--help` is quick."""

from tripoint.cli.entry import main

__all__ = ["main"]
