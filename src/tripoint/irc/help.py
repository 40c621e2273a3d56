"""What HELP says of each command: the words that stand with its handler.

A handler's docstring begins with the command and its parameters. What is for readers of the code alone (sections of
specifications) is left out.  spec: Modern IRC "HELP message".
"""

from __future__ import annotations

import inspect
import re
import textwrap

from tripoint.irc.registry import COMMANDS

_FOR_READERS = re.compile(r"\s*(spec: .*|\((docs/mapping|MAPPING)[^)]*\))", re.DOTALL)
_MAX_LINE = 300
_WIDTH = 70


def help_of(name: str) -> list[str] | None:
    """The lines of a command's help; None for what is no command."""
    entry = COMMANDS.get(name)
    if entry is None:
        return None
    text = _FOR_READERS.sub("", inspect.getdoc(entry.handler) or name)
    lines = [line.strip() for line in re.sub(r"(?<!\n)\n(?!\n)", " ", text).split("\n") if line.strip()]
    lines = [part for line in lines for part in (textwrap.wrap(line, _MAX_LINE) or [""])]
    if entry.privilege is not None:
        lines.append(f"For operators with the privilege {entry.privilege.value}.")
    elif not entry.guests:
        lines.append("For clients that are logged in.")
    return lines


def index(*, operator: bool) -> list[str]:
    """The names of all commands; those of operators for operators alone."""
    names = sorted(name for name, entry in COMMANDS.items() if operator or entry.privilege is None)
    return ["HELP <command> says more of one of these:", *textwrap.wrap(" ".join(names), _WIDTH)]
