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
from tripoint.irc.operators import Privilege
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.render import fitted
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import fold
from tripoint.rooms.refusals import Refused

ABOUT = {
    "NickServ": "keeps accounts. An account works on IRC, XMPP and Matrix alike",
    "ChanServ": "keeps channels: what they are, who may do what in them",
    "OperServ": "is for operators of this server: bans, kills, words to everybody",
    "HostServ": "keeps hosts that stand behind your nick in the place of the server's name",
}
_FOLDED = {fold(name): name for name in ABOUT}


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
    privilege: Privilege | None
    handle: Callable[[Request], Awaitable[None]]


COMMANDS: dict[tuple[str, str], Entry] = {}


def service_command(
    service: str, name: str, usage: str, *, min_words: int = 0, privilege: Privilege | None = None
) -> Callable[[Callable[[Request], Awaitable[None]]], Callable[[Request], Awaitable[None]]]:
    """Declare a command. `usage` is what HELP shows: the words that follow, a colon, what it does.

    `privilege`: it is for operators who have it, and nobody else is shown it.
    """

    def declare(handle: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[None]]:
        assert (service, name) not in COMMANDS, f"two handlers for {service} {name}"
        COMMANDS[service, name] = Entry(service, name, usage, min_words, privilege, handle)
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
            _help(session, name, command.upper(), words)
        elif entry.privilege is not None and not session.has(entry.privilege):
            say(session, name, _not_allowed(session, entry.privilege))
        elif len(words) < entry.min_words:
            say(session, name, f"Usage: {_line(entry)}")
        else:
            await entry.handle(Request(session, name, words, rest.strip()))
    except (AccountRefused, Refused) as refused:
        say(session, name, refused.text)
    except IrcRefused as refused:
        say(session, name, refused.params[-1])
    except Failed as failed:
        say(session, name, failed.text)
    except PeerError as error:
        say(session, name, str(error) or "That is not well-formed")


def _help(session: IrcSession, name: str, command: str, words: tuple[str, ...]) -> None:
    if command in ("", "HELP"):
        for line in help_lines(session, name, words[0] if words else ""):
            say(session, name, line)
    else:
        say(session, name, _unknown(name))


def help_lines(session: IrcSession, name: str, subject: str) -> list[str]:
    """What a service says to HELP: what it is and every command that this client may use, or one of them alone."""
    known = {
        command: entry
        for (service, command), entry in COMMANDS.items()
        if service == name and (entry.privilege is None or session.has(entry.privilege))
    }
    if subject:
        return [_line(known[subject.upper()]) if subject.upper() in known else _unknown(name)]
    return [f"{name} {ABOUT[name]}.", *map(_line, known.values())]


def _unknown(name: str) -> str:
    return f"I do not know that. /msg {name} HELP lists what I know"


def _not_allowed(session: IrcSession, privilege: Privilege) -> str:
    if session.operator is None:
        return "That is for operators of this server: OPER makes you one"
    return f"Your operator class does not have the privilege {privilege.value}"


def _line(entry: Entry) -> str:
    words, _, about = entry.usage.partition(": ")
    return f"{entry.name} {words}: {about}" if words else f"{entry.name}: {about}"


def say(session: IrcSession, name: str, text: str) -> None:
    """One line from a service."""
    source = f":{name}!{name}@services.{session.names.server}"
    session.outbox.respond(fitted(f"{source} NOTICE {session.nick}", text), [])
