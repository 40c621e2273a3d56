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
from tripoint.irc.render import cut, one_line
from tripoint.irc.session import IrcSession
from tripoint.irc.splitting import split_line
from tripoint.irc.tables import fold
from tripoint.irc.wire import MAX_BODY_BYTES
from tripoint.rooms.refusals import Refused

ABOUT = {
    "NickServ": "keeps accounts. An account works on IRC, XMPP and Matrix alike",
    "ChanServ": "keeps channels: what they are, who may do what in them",
    "OperServ": "is for operators of this server: bans, kills, words to everybody",
    "HistServ": "shows what was said before, and takes it back",
    "HostServ": "keeps hosts that stand behind your nick in the place of the server's name",
}
_FOLDED = {fold(name): name for name in ABOUT}
# Lines of one answer: a topic can be as long as an event, and who it is that owns a channel can be many.
MAX_SAID = 8


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a service: `words` are what follows the command, `rest` the same as it was written."""

    session: IrcSession
    service: str
    words: tuple[str, ...]
    rest: str
    tell: Callable[[str], None]

    def word(self, index: int) -> str:
        """A word, or "" where there is none."""
        return self.words[index] if index < len(self.words) else ""

    def say(self, text: str) -> None:
        """A line of the answer."""
        self.tell(text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of a service, and its line in HELP. `min_words`: fewer are answered with that line.

    `here`: it is about this connection to IRC, and for nobody who asks from elsewhere (desk.py).
    """

    service: str
    name: str
    usage: str
    min_words: int
    privilege: Privilege | None
    here: bool
    handle: Callable[[Request], Awaitable[None]]


COMMANDS: dict[tuple[str, str], Entry] = {}


def service_command(
    service: str,
    name: str,
    usage: str,
    *,
    min_words: int = 0,
    privilege: Privilege | None = None,
    here: bool = False,
) -> Callable[[Callable[[Request], Awaitable[None]]], Callable[[Request], Awaitable[None]]]:
    """Declare a command. `usage` is what HELP shows: the words that follow, a colon, what it does.

    `privilege`: it is for operators who have it, and nobody else is shown it.
    """

    def declare(handle: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[None]]:
        assert (service, name) not in COMMANDS, f"two handlers for {service} {name}"
        COMMANDS[service, name] = Entry(service, name, usage, min_words, privilege, here, handle)
        return handle

    return declare


def is_service(target: str) -> bool:
    """Whether a message to this nick is for a service."""
    return fold(target) in _FOLDED


def service_named(nick: str) -> str | None:
    """The service with this nick, as it is written."""
    return _FOLDED.get(fold(nick))


async def service(session: IrcSession, target: str, text: str) -> None:
    """One request to a service."""
    name = _FOLDED[fold(target)]
    command, _, rest = text.strip().partition(" ")
    await ask(session, name, command.upper(), rest.strip(), lambda line: say(session, name, line))


async def ask(session: IrcSession, name: str, command: str, rest: str, tell: Callable[[str], None]) -> None:
    """Have a service do one thing; everything that it says goes to `tell`, refusals too."""
    words = tuple(rest.split())
    entry = COMMANDS.get((name, command))
    try:
        if entry is None:
            _help(session, name, command, words, tell)
        elif entry.privilege is not None and not session.has(entry.privilege):
            tell(_not_allowed(session, entry.privilege))
        elif len(words) < entry.min_words:
            tell(f"Usage: {_line(entry)}")
        else:
            await entry.handle(Request(session, name, words, rest, tell))
    except (AccountRefused, Refused) as refused:
        tell(refused.text)
    except IrcRefused as refused:
        tell(refused.params[-1])
    except Failed as failed:
        tell(failed.text)
    except PeerError as error:
        tell(str(error) or "That is not well-formed")


def _help(
    session: IrcSession, name: str, command: str, words: tuple[str, ...], tell: Callable[[str], None]
) -> None:
    if command in ("", "HELP"):
        for line in help_lines(session, name, words[0] if words else ""):
            tell(line)
    else:
        tell(_unknown(name))


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
    """Something from a service, in as many lines as it takes up to MAX_SAID."""
    head = f":{name}!{name}@services.{session.names.server} NOTICE {session.nick}"
    budget = MAX_BODY_BYTES - len(head.encode()) - 2
    for line in split_line(cut(one_line(text), MAX_SAID * budget // 2), budget):
        session.outbox.respond(f"{head} :{line}", [])
