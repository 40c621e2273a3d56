"""Commands after registration: declared where they are written, found here.

`@command` states a command's facts; dispatch does the common checks once.  Adding a command is a new file in
commands/ and a transcript.  spec: RFC2812 3.  Read next: tripoint/irc/commands/__init__.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from tripoint.irc.operators import Privilege
from tripoint.irc.wire import Line

if TYPE_CHECKING:
    from tripoint.irc.session import IrcSession


class Handler(Protocol):
    """What is decorated: translates one line into commands of the middle and replies."""

    __name__: str

    def __call__(self, session: IrcSession, line: Line) -> Awaitable[None]: ...


class Entry(Struct, frozen=True):
    """The facts of one command. `cost` is its share of the flood allowance (1 = a line of chat)."""

    name: str
    handler: Callable[[IrcSession, Line], Awaitable[None]]
    min_params: int
    cost: int
    guests: bool
    spec: str
    privilege: Privilege | None


COMMANDS: dict[str, Entry] = {}


def command(
    name: str,
    *,
    spec: str,
    min_params: int = 0,
    cost: int = 1,
    guests: bool = True,
    privilege: Privilege | None = None,
) -> Callable[[Handler], Handler]:
    """Declare the handler of `name`. With too few parameters the client gets ERR_NEEDMOREPARAMS.

    `guests` False: only logged-in sessions may use it. `privilege`: only operators who have it may.
    The handler's docstring is what HELP shows: it begins with the command and its parameters.
    """

    def declare(handler: Handler) -> Handler:
        if name in COMMANDS:
            raise RuntimeError(f"{name} is declared twice")
        COMMANDS[name] = Entry(name, handler, min_params, cost, guests, spec, privilege)
        return handler

    return declare
