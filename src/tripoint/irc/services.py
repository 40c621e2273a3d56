"""Services: talking to somebody who is not there. Their commands are declared where they are written.

They answer by NOTICE; they are no users of any room (docs/mapping.md 18.1). What they do is asked of the middle like
everything else, and what it refuses they say in its words.
spec: docs/mapping.md 18.1.  Read next: tripoint/irc/nickserv.py, tripoint/irc/chanserv.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tripoint.accounts.refusals import AccountRefused
from tripoint.core.errors import PeerError
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.render import fitted
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import fold
from tripoint.rooms.refusals import Refused

SERVICES = ("NickServ", "ChanServ", "OperServ")
_FOLDED = {fold(name): name for name in SERVICES}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a service: `words` are what follows the command, `rest` the same as it was written."""

    session: IrcSession
    service: str
    words: tuple[str, ...]
    rest: str

    def word(self, index: int) -> str:
        """A word, or "" where there is none."""
        return self.words[index] if index < len(self.words) else ""

    def say(self, text: str) -> None:
        """A line of the answer."""
        say(self.session, self.service, text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of a service, and its line in HELP. `min_words`: fewer are answered with that line."""

    service: str
    name: str
    usage: str
    min_words: int
    handle: Callable[[Request], Awaitable[None]]


COMMANDS: dict[tuple[str, str], Entry] = {}


def service_command(
    service: str, name: str, usage: str, *, min_words: int = 0
) -> Callable[[Callable[[Request], Awaitable[None]]], Callable[[Request], Awaitable[None]]]:
    """Declare a command. `usage` is what HELP shows: the words that follow, a colon, what it does."""

    def declare(handle: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[None]]:
        assert (service, name) not in COMMANDS, f"two handlers for {service} {name}"
        COMMANDS[service, name] = Entry(service, name, usage, min_words, handle)
        return handle

    return declare


def is_service(target: str) -> bool:
    """Whether a message to this nick is for a service."""
    return fold(target) in _FOLDED


async def service(session: IrcSession, target: str, text: str) -> None:
    """One request to a service."""
    name = _FOLDED[fold(target)]
    command, _, rest = text.strip().partition(" ")
    words = tuple(rest.split())
    entry = COMMANDS.get((name, command.upper()))
    try:
        if entry is None:
            _help(session, name, command)
        elif len(words) < entry.min_words:
            say(session, name, f"Usage: {_line(entry)}")
        else:
            await entry.handle(Request(session, name, words, rest.strip()))
    except (AccountRefused, Refused) as refused:
        say(session, name, refused.text)
    except IrcRefused as refused:
        say(session, name, refused.params[-1])
    except PeerError as error:
        say(session, name, str(error) or "That is not well-formed")


def _help(session: IrcSession, name: str, command: str) -> None:
    own = usages(name)
    if not own:
        say(session, name, f"{name} cannot do anything yet on this server")
    elif command.upper() in ("", "HELP"):
        for line in own:
            say(session, name, line)
    else:
        say(session, name, f"I do not know that. /msg {name} HELP lists what I know")


def usages(name: str) -> list[str]:
    """What HELP lists for a service."""
    return [_line(entry) for (service, _), entry in COMMANDS.items() if service == name]


def _line(entry: Entry) -> str:
    words, _, about = entry.usage.partition(": ")
    return f"{entry.name} {words}: {about}" if words else f"{entry.name}: {about}"


def say(session: IrcSession, name: str, text: str) -> None:
    """One line from a service."""
    source = f":{name}!{name}@services.{session.names.server}"
    session.outbox.respond(fitted(f"{source} NOTICE {session.nick}", text), [])
