"""IRC and XMPP clients on an island, who keep the picture of a room that they were told, as real clients do.

`picture` is what the client believes; `truth` what the room on its server is. They must be equal whenever nothing
is on its way.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from xml.etree import ElementTree

from tests.cross.truth import Truth
from tests.cross.world import IrcPerson, Pipe, Wire, XmppPerson
from tests.federation.islands import Island, bring_in
from tests.support.media import files
from tests.support.middle import make_config
from tripoint.core.ids import RoomAlias, RoomId, UserId, server_of
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.options import IrcOptions
from tripoint.irc.projection import channel_flags, prefix, shown_rank
from tripoint.rooms.commands import Command, Done, Join
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.frontend import XmppFrontEnd
from tripoint.xmpp.jid import user_jid
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.projection import Standing, standing_in

CAPS = ["multi-prefix", "server-time", "account-tag", "message-tags"]
_LETTERS = {"q": "~", "a": "&", "o": "@", "h": "%", "v": "+"}
_ORDER = "~&@%+"


class IrcViewer:
    """A client that follows one channel, and falls over what a client cannot understand."""

    def __init__(self, front: IrcFrontEnd, person: IrcPerson, nick: str, channel: str) -> None:
        self.front = front
        self.person = person
        self.nick = nick
        self.channel = channel
        self.inside = False
        self._new = False
        self.members: dict[str, str] = {}
        self.topic = ""
        self.flags = ""
        self.bans: set[str] = set()
        self.lines: list[str] = []
        self.truth: Truth | None = None  # what the mapping makes of the room, where the test works that out

    async def look(self) -> None:
        """Take in everything that has come; ask for what JOIN does not tell, as clients do."""
        await self._read()
        while self._new:
            self._new = False
            self.bans.clear()
            await self.person.send(f"MODE {self.channel}\r\nMODE {self.channel} +b")
            await self._read()

    async def _read(self) -> None:
        for line in await self.person.pending():
            self.lines.append(line)
            self._take(re.sub(r"^@\S+ ", "", line))

    def _take(self, line: str) -> None:
        head, _, text = line.partition(" :")
        source, command, *params = head.split(" ")
        nick = source[1:].partition("!")[0]
        if text:
            params.append(text)
        if command == "JOIN":
            if nick == self.nick:
                self.inside, self._new, self.members, self.topic = True, True, {}, ""
            assert nick not in self.members, line
            self.members[nick] = ""
        elif command == "PART":
            self._went(nick, line)
        elif command == "KICK":
            self._went(params[1], line)
        elif command == "MODE":
            self._modes(params[1], params[2:], line)
        elif command in ("TOPIC", "332"):
            self.topic = params[-1] if len(params) > 1 else ""
        elif command == "353":
            for word in params[-1].split():
                name = word.lstrip(_ORDER)
                self.members[name] = word.removesuffix(name)
        elif command == "324":
            self.flags = params[2].lstrip("+")
        elif command == "367":
            self.bans.add(params[2])
        assert command != "QUIT", "a remote user never quits"
        assert command not in ("401", "403", "404", "421", "442"), line

    def _went(self, nick: str, line: str) -> None:
        assert nick in self.members, line
        del self.members[nick]
        if nick == self.nick:
            self.inside = self._new = False

    def _modes(self, modes: str, args: list[str], line: str) -> None:
        sign = "+"
        for letter in modes:
            if letter in "+-":
                sign = letter
            elif letter in _LETTERS:
                nick = args.pop(0)
                assert nick in self.members, line
                held = set(self.members[nick])
                assert (_LETTERS[letter] in held) is (sign == "-"), line
                held ^= {_LETTERS[letter]}
                self.members[nick] = "".join(sorted(held, key=_ORDER.index))
            elif letter == "b":
                mask = args.pop(0)
                # Who has just come in has not asked for the list yet, nor for the flags.
                assert self._new or (mask in self.bans) is (sign == "-"), line
                self.bans ^= {mask}
            else:
                assert self._new or (letter in self.flags) is (sign == "-"), line
                self.flags = "".join(sorted(set(self.flags) ^ {letter}))

    def check(self, room: RoomView) -> None:
        """The client's picture is the room."""
        names = self.front.names
        if not self.inside:
            assert names.user(self.nick) not in room.joined()
            return
        members = {names.nick(user): prefix(shown_rank(room, user), multi=True) for user in room.joined()}
        assert self.members == members
        if self.truth is not None:
            letters = {names.nick(user): self.truth.letters(user) for user in room.joined()}
            assert {nick: sorted(signs) for nick, signs in self.members.items()} == {
                nick: sorted(_LETTERS[letter] for letter in held) for nick, held in letters.items()
            }
        assert self.topic == (room.topic or "")
        assert self.flags == channel_flags(room)
        banned = [user for user, member in room.members().items() if member.membership == "ban"]
        levels = room.power.content["users"]
        assert isinstance(levels, dict)
        muted = [UserId(user) for user, level in levels.items() if isinstance(level, int) and level < 0]
        assert self.bans == {
            *(f"~a:{names.account(user)}" for user in banned),
            *(f"~m:{names.nick(user)}" for user in muted),
        }


class XmppViewer:
    """A client that follows one MUC."""

    def __init__(self, front: XmppFrontEnd, person: XmppPerson, nick: str, room_jid: str) -> None:
        self.front = front
        self.person = person
        self.nick = nick
        self.room_jid = room_jid
        self.inside = False
        self.members: dict[str, tuple[str, str, str]] = {}
        self.jids: dict[str, str] = {}
        self.subject = ""
        self.stanzas: list[str] = []
        self.truth: Truth | None = None

    async def enter(self) -> None:
        self.members, self.inside = {}, False
        # Members have their nick already; somebody else may have this account's name as his in the room.
        await self.person.send(
            f"<presence to='{self.room_jid}/{self.nick} again'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )

    async def look(self) -> None:
        for text in await self.person.pending():
            self.stanzas.append(text)
            self._take(ElementTree.fromstring(re.sub(r" xmlns='jabber:client'", "", text)), text)

    def _take(self, stanza: ElementTree.Element, text: str) -> None:
        room, _, nick = stanza.get("from", "").partition("/")
        if room != self.room_jid:
            return
        assert stanza.get("type") != "error" or not self.inside, text
        subject = stanza.find("subject")
        if subject is not None and stanza.find("body") is None:
            self.subject = subject.text or ""
        if stanza.tag != "presence" or stanza.get("type") == "error":
            return
        user = "{http://jabber.org/protocol/muc#user}"
        item = stanza.find(f"{user}x/{user}item")
        assert item is not None, text
        codes = [status.get("code") for status in stanza.iter(f"{user}status")]
        if stanza.get("type") == "unavailable":
            assert nick in self.members, text
            del self.members[nick]
            if "110" in codes and "303" not in codes:
                self.inside = False
            assert "332" not in codes, text
            return
        hat = stanza.find("{urn:xmpp:hats:0}hats/{urn:xmpp:hats:0}hat")
        worn = "" if hat is None else (hat.get("uri") or "").rpartition("#")[2]
        self.members[nick] = (item.get("affiliation", ""), item.get("role", ""), worn)
        self.jids[nick] = item.get("jid", "")
        if "110" in codes:
            self.inside = True

    def check(self, room: RoomView) -> None:
        """The client's picture is the room: everybody by address, since nicks depend on who came first."""
        if not self.inside:
            return
        domains = self.front.domains
        wanted = {user_jid(user, domains): standing_in(room, user) for user in room.joined()}
        told = {self.jids[nick].partition("/")[0]: Standing(*standing) for nick, standing in self.members.items()}
        assert told == wanted
        if self.truth is not None:
            shown = {user: (standing.affiliation, standing.role) for user, standing in told.items()}
            assert shown == {user_jid(u, domains): self.truth.standing(u) for u in room.joined()}
        assert self.subject == (room.topic or "")


class Timers:
    """call_later() on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None], Timer]] = []

    def call_later(self, seconds: float, function: Callable[[], None]) -> "Timer":
        timer = Timer()
        self._due.append((self.now + seconds, function, timer))
        return timer

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [entry for entry in self._due if entry[0] <= self.now]
        self._due = [entry for entry in self._due if entry[0] > self.now]
        for _, function, timer in due:
            if not timer.cancelled:
                function()


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Elsewhere:
    """The doors of an island's middle, where a room of `host` is found and joined when `answers` is set.

    `refused` is raised instead, if it is set.
    """

    def __init__(self, island: Island, host: Island, room_id: RoomId) -> None:
        self._island = island
        self._host = host
        self._room_id = room_id
        self.answers = asyncio.Event()
        self.asked: list[RoomAlias] = []
        self.refused: Refused | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._island.party.middle.reader, name)

    async def resolve_alias(self, alias: RoomAlias) -> RoomId | None:
        if server_of(alias) == self._island.name:
            return await self._island.party.middle.reader.resolve_alias(alias)
        self.asked.append(alias)
        await self._answer()
        return self._room_id if alias == f"#tea:{self._host.name}" else None

    async def _answer(self) -> None:
        await self.answers.wait()
        if self.refused is not None:
            raise self.refused

    async def do(self, command: Command) -> Done:
        room = self._island.party.middle.loaded.peek(self._room_id)
        if isinstance(command, Join) and command.room_id == self._room_id and (room is None or room.outside):
            await self._answer()
            join = await bring_in(self._host, self._island, command.actor, self._room_id)
            return Done(self._room_id, join.event_id, created=True)
        return await self._island.party.do(command)


@asynccontextmanager
async def front_ends(
    island: Island, elsewhere: Elsewhere | None = None, timers: Timers | None = None
) -> AsyncIterator[tuple[IrcFrontEnd, XmppFrontEnd]]:
    """The IRC and XMPP front ends of one server."""
    stack = AsyncExitStack()
    media = (await stack.enter_async_context(files(make_config(), island.party))).ports
    middle, clock = island.party.middle, island.party.clock
    service: Any = elsewhere or middle.service
    reader: Any = elsewhere or middle.reader
    accounts, presence, table = middle.accounts, middle.presence, middle.name_table
    doors = (island.name, service, reader, accounts, presence, table, middle.hub, media, middle.flusher)
    common: Any = {"secret": bytes(32), "now_ms": clock.ms, "monotonic": clock.s}
    if timers is not None:
        common["call_later"] = timers.call_later
    irc = IrcFrontEnd(*doors, IrcOptions(motd="Hello.", commands_per_s=0, connections_per_address=0), **common)
    options = XmppOptions(stanzas_per_s=0, connections_per_address=0)
    xmpp = XmppFrontEnd(*doors, options, **common, tls=None, nodes=middle.nodes)
    await irc.start()
    await xmpp.start()
    try:
        yield irc, xmpp
    finally:
        await irc.drain()
        await xmpp.drain()
        await stack.aclose()


def connect(front: IrcFrontEnd | XmppFrontEnd) -> Wire:
    """A connection in memory."""
    wire = Wire()
    served = front.protocol(secure=False)
    to_server, to_client = Pipe(served), Pipe(wire)
    to_server.other, to_client.other = to_client, to_server
    wire.connection_made(to_server)
    served.connection_made(to_client)
    return wire


async def irc_viewer(front: IrcFrontEnd, name: str, channel: str, caps: list[str] = CAPS) -> IrcViewer:
    """An account's IRC client: it is shown the account's rooms."""
    viewer = IrcViewer(front, IrcPerson(connect(front)), name, channel)
    await viewer.person.log_in(name, caps)
    return viewer


async def xmpp_viewer(front: XmppFrontEnd, name: str, room_jid: str) -> XmppViewer:
    """An account's XMPP client, not in the room yet."""
    viewer = XmppViewer(front, XmppPerson(connect(front), front.domains.server), name, room_jid)
    await viewer.person.log_in(name, [])
    return viewer
