"""A logged-in party on one connection: its replies, its labels, the channels that it hears.

Handlers reply through here and never write to a socket: source, nick, label and batch are added in one place.
A session knows the doors of the middle (rooms, reader, accounts) and the network, which knows the others.
spec: RFC2812 2.4, IRCv3 labeled-response, standard-replies; docs/mapping.md 4, 24, 25.
Read next: tripoint/irc/registry.py, tripoint/irc/network.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, get_args, get_type_hints

import structlog

from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.errors import PeerError
from tripoint.core.ids import DeviceId, RoomId, UserId
from tripoint.core.terms import NOTHING_ACCEPTED, Accepted
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.connection import IrcConnection, Reply, Step
from tripoint.irc.multiline import BATCH_TYPE as MULTILINE
from tripoint.irc.multiline import Collected
from tripoint.irc.operators import Operator, Privilege
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.refusals import (
    ACCOUNT_REFUSALS,
    NAMES_NICK,
    NAMES_NICK_AND_CHANNEL,
    NAMES_NOTHING,
    ROOM_REFUSALS,
    Failed,
    IrcRefused,
    No,
)
from tripoint.irc.registry import COMMANDS
from tripoint.irc.render import Outgoing, audience_of, fitted, server_line
from tripoint.irc.tables import CHANNEL_RENAME, PRE_AWAY, fold
from tripoint.irc.wire import Line, Unbuildable, build_tags, seal
from tripoint.rooms.commands import Command, Done, Forced, Origin
from tripoint.rooms.refusals import Refusal, Refused

if TYPE_CHECKING:
    from tripoint.irc.joining import Pending
    from tripoint.irc.login import Login
    from tripoint.irc.network import Network

log = structlog.get_logger()

# spec: IRCv3 labeled-response: "The value MUST NOT exceed 64 bytes."
MAX_LABEL_BYTES = 64
# Set while a command runs that is done by the rights of others (commands/forcing.py): for what it asks of rooms, not
# for what the same client waits for in the background.
FORCING: ContextVar[bool] = ContextVar("forcing", default=False)
_FORCIBLE = get_args(get_type_hints(Forced)["wish"])
# What every session has at first. Empty sets and mappings of its own would be a tenth of what an idle connection costs.
_NOBODY: Mapping[UserId, RoomId] = {}
_NO_NICKS: Mapping[str, str] = {}
_NOTHING_PENDING: Mapping[str, Pending] = {}
_NO_MODES: frozenset[str] = frozenset()
_NO_ROOMS: frozenset[RoomId] = frozenset()
_SECURE = frozenset({"Z"})
# docs/mapping.md 0: client tags that are ratified go out under both names.
_CONTEXT_TAGS = ("+channel-context", "+draft/channel-context")
_LABEL_CAPS = frozenset({"labeled-response", "batch"})
_RENAME_CAPS = frozenset({CHANNEL_RENAME, "standard-replies"})
FORWARDING = "Forwarding to another channel"
# spec: docs/mapping.md 24: excess is delayed up to 10 s, then refused.
MAX_WAIT_MS = 10_000
# Lines of one client that may be on their way to the disk together.
MAX_POSTS = 16
# spec: docs/mapping.md 8.4: "repeated within 60 s it is done"
CONFIRM_MS = 60_000
# A client writes all lines of a batch at once; a minute is for slow networks.
BATCH_MS = 60_000


class IrcSession:
    """One client of one user. `id` is unique over all sessions and names the origin of its commands."""

    __slots__ = (
        "_asked", "_batches", "_posts", "_slow", "accepted", "account", "accounts", "active_ts_ms", "address",
        "audience",
        "away", "caps", "changing_account", "changing_metadata", "channels", "close", "collected",
        "connected_ts_ms", "device_id", "direct", "entering", "id", "let_in_by", "live", "login", "missed_since",
        "modes",
        "monitored",
        "names", "negotiation", "network", "notices", "operator", "outbox", "passwords_allowed", "pending",
        "presented",
        "reader", "received", "received_bytes", "rooms", "secure", "subscribed", "told_cut", "told_history",
        "user_id",
    )

    def __init__(
        self,
        session_id: str,
        network: Network,
        account: Account,
        device_id: DeviceId | None,
        outbox: IrcOutbox,
        negotiation: IrcConnection,
        close: Callable[[str], None],
        *,
        address: str,
        secure: bool,
        passwords_allowed: bool,
    ) -> None:
        self.id = session_id
        self.network = network
        self.names = network.names
        self.rooms = network.rooms
        self.reader = network.reader
        self.accounts = network.accounts
        self.account = account
        self.user_id: UserId = account.user_id
        self.device_id = device_id
        # The device whose access token let this client in (RFC 7628): it ends with it.
        self.let_in_by: DeviceId | None = None
        self.login: Login | None = None  # of a guest, who may still prove to be somebody
        self.outbox = outbox
        self.negotiation = negotiation
        self.caps = negotiation.caps
        self.audience = audience_of(self.caps)
        self.close = close
        self.address = address
        self.secure = secure
        self.passwords_allowed = passwords_allowed
        self.channels: dict[RoomId, Channel] = {}
        # These are replaced and never changed, so that sessions that need none share one.
        self.direct: Mapping[UserId, RoomId] = _NOBODY
        self.away: str | None = None
        # For clients without CHATHISTORY: the stream position since which they missed things (missed.py).
        self.missed_since: int | None = None
        self.monitored: Mapping[str, str] = _NO_NICKS  # folded nick -> nick as it was given (monitors.py)
        # Keys of metadata that this client hears of, and the one that its running command changes (metadata.py).
        self.subscribed: tuple[str, ...] = ()
        self.changing_metadata: str | None = None
        self.connected_ts_ms = network.now_ms()
        self.received = 0  # lines, and bytes
        self.received_bytes = 0
        self.active_ts_ms = self.connected_ts_ms
        # True while a command of ours makes us enter rooms: what we are shown then is its response.
        self.entering = False
        # Rooms of other servers that this client waits for, by folded name (joining.py).
        self.pending: Mapping[str, Pending] = _NOTHING_PENDING
        # The batch that the client has opened and not closed yet (commands/batch.py).
        self.collected: Collected | None = None
        # As an operator of the server he is this one; what he hears of it are letters of operators.Notice.
        self.operator: Operator | None = None
        self.modes = _SECURE if secure else _NO_MODES
        self.notices = ""
        self.live = False
        self.told_history = False
        self.told_cut: frozenset[RoomId] = _NO_ROOMS  # huge rooms of which it was told that not everybody is listed
        # True while this session becomes an account: what the guest is called meanwhile is nobody's business.
        self.changing_account = False
        # Documents that somebody has to accept for an account: which were named, which were accepted (nickserv.py).
        self.presented: Accepted = NOTHING_ACCEPTED
        self.accepted: Accepted = NOTHING_ACCEPTED
        self._batches = 0
        self._posts: tuple[asyncio.Event, ...] = ()
        self._slow = 0  # posts that wait: for the rate, or for one that does
        self._asked = ("", 0)

    @property
    def nick(self) -> str:
        return self.names.nick(self.user_id)

    @property
    def mask(self) -> str:
        return self.names.mask(self.user_id)

    @property
    def presence(self) -> tuple[str, str | None]:
        """What this connection says of its user: how he is there, and why not."""
        if self.away is None:
            return "online", None
        if self.away == "*" and PRE_AWAY in self.caps:
            # spec: IRCv3 pre-away: "as though the connection did not exist at all". An account is there without it too;
            # a guest is not: "the away message ... does not inhibit reporting of the change in nickname status".
            return ("unavailable", "Away") if self.account.guest else ("offline", None)
        return "unavailable", self.away

    def origin(self) -> Origin:
        """The mark by which the network knows our echo."""
        return Origin(self.id)

    def set_caps(self, caps: frozenset[str]) -> None:
        """CAP REQ after registration."""
        audience = audience_of(caps)
        for channel in self.channels.values():
            channel.regroup(self, audience)
        self.caps = caps
        self.audience = audience

    # --- replies -----------------------------------------------------------------------------------------

    def reply(self, command: str, *params: str) -> None:
        """A line from the server; the last parameter may hold spaces, and is cut if the line is too long."""
        try:
            body = server_line(self.names.server, command, params)
        except Unbuildable:
            # The longest channel, nick and host together do not fit beside each other.
            text = "The answer does not fit into a line"
            body = server_line(self.names.server, n.ERR_UNKNOWNERROR, (self.nick, command, text))
        self.outbox.respond(body, [])

    def notice_of(self, channel: str, text: str, *, own: bool = True) -> None:
        """The server tells this client something about a channel, and nobody else there.

        spec: docs/mapping.md 10.13; IRCv3 channel-context. The name stands before the text for clients without tags.
        """
        tags = [(tag, channel) for tag in _CONTEXT_TAGS] if "message-tags" in self.caps else []
        body = fitted(f":{self.names.server} NOTICE {self.nick}", f"[{channel}] {text}")
        if own:
            self.outbox.respond(body, tags)
        else:
            self.outbox.send(seal(body, build_tags(tags)))

    def step(self, step: Step) -> None:
        """What the negotiation has to say after registration: replies alone."""
        if isinstance(step, Reply):
            self.reply(step.command, *step.params)

    def numeric(self, numeric: str, *params: str) -> None:
        """A numeric; the client's nick is added."""
        self.reply(numeric, self.nick, *params)

    def own(self, out: Outgoing) -> None:
        """Lines that our running command caused: they are its response, or part of it."""
        batched = out.is_batch(self.audience)
        for at, (body, tags) in enumerate(out.lines(self.audience)):
            self.outbox.respond(body, tags, inner=batched and at > 0)

    def own_batch(self, kind: str, params: tuple[str, ...], lines: list[tuple[str, list[tuple[str, str]]]]) -> None:
        """Lines (body, tags) as a batch of this type, for clients without `batch` as they are.  spec: IRCv3 batch

        What is in a batch of its own already stays there.
        """
        if "batch" not in self.caps:
            for body, tags in lines:
                self.outbox.respond(body, tags)
            return
        self._batches += 1
        name, server = f"b{self._batches}", self.names.server
        self.outbox.respond(server_line(server, "BATCH", (f"+{name}", kind, *params)), [])
        for body, tags in lines:
            nested = bool(tags) and tags[0][0] == "batch"
            self.outbox.respond(body, tags if nested else [("batch", name), *tags], inner=True)
        self.outbox.respond(server_line(server, "BATCH", (f"-{name}",)), [], inner=True)

    def tell(self, out: Outgoing) -> None:
        """Lines that others caused."""
        if self.hears(out):
            self.outbox.send(out.form(self.audience))

    def hears(self, out: Outgoing) -> bool:
        """Whether this client has the capability that `out` needs."""
        return not out.requires or bool(self.audience & out.requires)

    def shown(self, body: str, *, own: bool) -> None:
        """One line from the server, as response or not."""
        if own:
            self.outbox.respond(body, [])
        else:
            self.outbox.send(seal(body))

    def notice(self, text: str) -> None:
        """NOTICE from the server to this client."""
        self.reply("NOTICE", self.nick, text)

    def standard(self, kind: str, command: str, code: str, *context: str, text: str) -> None:
        """FAIL, WARN or NOTE; a NOTICE with the same text for clients without standard-replies."""
        if "standard-replies" in self.caps:
            self.reply(kind, command, code, *context, text)
        else:
            self.notice(" ".join([f"{command}:", *context, text]) if command != "*" else text)

    def forwarded(self, asked: str, name: str, text: str = FORWARDING, *, own: bool = True) -> None:
        """A channel goes by another name than the one that was asked for.  spec: docs/mapping.md 3.6

        IRCv3 channel-rename "Channel redirection": 470 "SHOULD NOT be used when the capability has been negotiated".
        """
        if self.caps >= _RENAME_CAPS:
            words: tuple[str, ...] = ("FAIL", "JOIN", "CHANNEL_RENAMED")
        else:
            words = (n.ERR_LINKCHANNEL, self.nick)
        try:
            self.shown(server_line(self.names.server, words[0], (*words[1:], asked, name, text)), own=own)
        except Unbuildable:
            return  # the two longest names do not fit beside each other; JOIN says which it is

    def confirms(self, what: str) -> bool:
        """True if the client asked the same within the last minute; else this asking is remembered."""
        now = self.network.now_ms()
        asked, at = self._asked
        self._asked = (what, now)
        return asked == what and now - at <= CONFIRM_MS

    # --- the middle --------------------------------------------------------------------------------------

    async def do(self, command: Command) -> Done:
        """Carry out a command; wait as MAPPING 24 has it where the account is too fast. Raises Refused."""
        if FORCING.get() and isinstance(command, _FORCIBLE):
            command = Forced(actor=self.user_id, wish=command, origin=command.origin)
        waited = 0
        while True:
            try:
                return await self.rooms.do(command)
            except Refused as refused:
                wait = refused.retry_after_ms or 0
                if refused.refusal is not Refusal.RATE_LIMITED or not wait or waited + wait > MAX_WAIT_MS:
                    raise
                waited += wait
                self._slow += 1
                try:
                    await asyncio.sleep(wait / 1000)
                finally:
                    self._slow -= 1

    async def post(self, command: Command, refused: Callable[[Refused], None]) -> None:
        """Begin a command and let the next line be read before it is committed; `refused` hears a no.

        For what is said to channels: a client that sends lines faster than a disk commits has them in one
        commit instead of one each. What is posted is begun in order, and a room's order is that of beginning
        (its state is in memory while we hear it); everything but another post waits in `handle` first.
        Under a label the command is waited for, since its echo is the response.
        """
        if self.outbox.holding:
            await self._posted(command, refused, None)
            return
        while len(self._posts) >= MAX_POSTS:
            await self._posts[0].wait()
        earlier = self._posts[-1] if self._posts else None
        done = asyncio.Event()
        self._posts += (done,)
        self.network.spawn(self._post(command, refused, earlier, done))

    async def _post(
        self,
        command: Command,
        refused: Callable[[Refused], None],
        earlier: asyncio.Event | None,
        done: asyncio.Event,
    ) -> None:
        try:
            await self._posted(command, refused, earlier)
        finally:
            done.set()
            self._posts = tuple(post for post in self._posts if post is not done)

    async def _posted(
        self, command: Command, refused: Callable[[Refused], None], earlier: asyncio.Event | None
    ) -> None:
        """One posted command. While any of ours waits for the rate, each waits for the one before it.

        Between the end of a wait and the beginning of the command nobody else runs, so none overtakes.
        """
        try:
            if earlier is not None and self._slow:
                self._slow += 1
                try:
                    await earlier.wait()
                finally:
                    self._slow -= 1
            await self.do(command)
        except Refused as error:
            refused(error)

    async def settle(self) -> None:
        """Wait until everything that was posted is done."""
        while self._posts:
            await self._posts[-1].wait()

    def waits_for(self, room_id: RoomId) -> str | None:
        """The name by which this client waits for a room of another server; None if it does not."""
        return next((one.word for one in self.pending.values() if one.room_id == room_id), None)

    async def channel_named(self, word: str) -> Channel:
        """The channel of this name that we hear. Raises IrcRefused: 403 if there is none, 442 if we are not in."""
        channel = self.network.channels.named(word)
        if channel is not None and channel.room_id in self.channels and not channel.direct:
            return channel
        for own in self.channels.values():
            # Where a room was replaced some hear the old one a moment longer than others.
            if not own.direct and fold(own.name) == fold(word):
                return own
        await self.room_named(word)
        raise IrcRefused(n.ERR_NOTONCHANNEL, echo(word), Refusal.NOT_JOINED.value)

    async def room_named(self, word: str) -> RoomId:
        """The room with this channel name, whether we are in it or not. Raises IrcRefused(403)."""
        room_id = await self.network.find_room(word, self.user_id)
        if room_id is None:
            raise IrcRefused(n.ERR_NOSUCHCHANNEL, echo(word), Refusal.NO_SUCH_ROOM.value)
        return room_id

    async def user_named(self, word: str) -> UserId:
        """Who has this nick. Raises IrcRefused(401)."""
        user_id = await self.network.find_user(word)
        if user_id is None:
            raise IrcRefused(n.ERR_NOSUCHNICK, echo(word), Refusal.NO_SUCH_USER.value)
        return user_id

    # --- one command -------------------------------------------------------------------------------------

    async def handle(self, line: Line) -> None:
        """Carry out one line, and answer it under its label. Nothing but a bug in here raises."""
        self.received += 1
        if "batch" in line.tags and MULTILINE in self.caps and line.command != "BATCH":
            self._collect(line)
            return
        if self._posts and (line.tags or line.command not in ("PRIVMSG", "NOTICE", "PING", "PONG")):
            await self.settle()
        tags = line.tags
        collected = self.collected
        if line.command == "BATCH" and line.param(0).startswith("-") and collected is not None:
            # The label of a batch stands where it was opened, and its response comes when it is whole.
            tags = tags if collected.answered else collected.tags
        if not self._begin_response(tags):
            await self._handle(line)
            return
        whole = True
        try:
            await self._handle(line)
            opened = line.command == "BATCH" and line.param(0).startswith("+") and self.collected is not None
            whole = not opened or (self.collected is not None and self.collected.failed)
        finally:
            self.outbox.end(answered=whole)

    def _begin_response(self, tags: Mapping[str, str]) -> bool:
        """What is said until `outbox.end` is the response to a line with these tags, if it has a label."""
        label = label_in(tags, self.caps)
        if label:
            self._batches += 1
            self.outbox.begin(label, self.names.server, f"r{self._batches}")
        return bool(label)

    def in_batch(self, line: Line) -> bool:
        """Whether a line is a part of the message that is being collected: it costs nothing beside the whole."""
        return self.collected is not None and line.tags.get("batch") == self.collected.reference

    def _collect(self, line: Line) -> None:
        """A line that belongs to a batch.  spec: IRCv3 client-batch "Errors": after one, the rest is ignored."""
        collected = self.collected
        try:
            if collected is None or not self.in_batch(line):
                raise Failed("MULTILINE_INVALID", text="There is no such batch")
            if collected.failed:
                return
            if self.network.now_ms() - collected.opened_ms > BATCH_MS:
                collected.failed = True
                raise Failed("TIMEOUT", collected.reference, text="The batch was open for too long")
            collected.add(line)
        except Failed as failed:
            context = [echo(word) for word in failed.context]
            if collected is not None and not collected.answered:
                self._begin_response(collected.tags)
                collected.failed = collected.answered = True
            self.standard("FAIL", "BATCH", failed.code, *context, text=failed.text)
            self.outbox.end()

    async def _handle(self, line: Line) -> None:
        entry = COMMANDS.get(line.command)
        if entry is None:
            self.numeric(n.ERR_UNKNOWNCOMMAND, line.command, "Unknown command")
            return
        self.network.usage[entry.name] += 1
        if entry.privilege is not None and not self.has(entry.privilege):
            self._no_privilege(entry.privilege)
            return
        if len(line.params) < entry.min_params:
            self.numeric(n.ERR_NEEDMOREPARAMS, line.command, "Not enough parameters")
            return
        if self.account.guest and not entry.guests:
            text = "Guests may not do this here; log in with an account"
            self.standard("FAIL", line.command, "ACCOUNT_REQUIRED", text=text)
            return
        if not line.utf8:
            self.warn_encoding(line)
        try:
            await entry.handler(self, line)
        except IrcRefused as refused:
            self.numeric(refused.numeric, *refused.params)
        except Failed as failed:
            self.standard("FAIL", line.command, failed.code, *failed.context, text=failed.text)
        except Refused as refused:
            self.refuse(refused, line.command, line.param(0))
        except AccountRefused as refused:
            self.say_no(ACCOUNT_REFUSALS[refused.refusal], line.command, (), refused.text)
        except PeerError as error:
            # An identifier that is none, made of a word of the client's.
            self.standard("FAIL", line.command, "INVALID_PARAMS", text=str(error) or "That is not well-formed")

    def warn_encoding(self, line: Line) -> None:
        """It was read as cp1252, and that is said.  spec: IRCv3 utf8-only; docs/mapping.md 10.9"""
        text = "Your message was not UTF-8 and was read as Windows-1252"
        self.standard("WARN", line.command, "INVALID_UTF8", text=text)

    def has(self, privilege: Privilege) -> bool:
        """Whether this is an operator who may do such things."""
        return self.operator is not None and self.operator.may(privilege)

    def _no_privilege(self, privilege: Privilege) -> None:
        if self.operator is None:
            self.numeric(n.ERR_NOPRIVILEGES, "Permission Denied- You're not an IRC operator")
        else:
            self.numeric(n.ERR_NOPRIVS, privilege.value, "Your operator class does not have this privilege")

    def refuse(self, refused: Refused, command: str, channel: str, nick: str = "*") -> None:
        """Say what the middle refused about a channel (and a user in it)."""
        no = ROOM_REFUSALS[refused.refusal]
        target = echo(channel)
        context: tuple[str, ...] = (target,)
        if no.numeric in NAMES_NICK_AND_CHANNEL:
            context = (echo(nick), target)
        elif no.numeric in NAMES_NICK:
            context = (echo(nick) if nick != "*" else target,)
        elif no.numeric in NAMES_NOTHING:
            context = ()
        self.say_no(no, command, context, refused.text)

    def say_no(self, no: No, command: str, context: tuple[str, ...], text: str) -> None:
        """FAIL where there is a code and the client reads it, and the numeric where there is one."""
        if no.code is not None and ("standard-replies" in self.caps or no.numeric is None):
            self.standard("FAIL", command, no.code, *context, text=text)
        if no.numeric is not None:
            self.numeric(no.numeric, *context, text)


def label_in(tags: Mapping[str, str], caps: frozenset[str]) -> str:
    """The label of a line; "" where there is none, or none that counts."""
    label = tags.get("label", "") if tags else ""
    return label if label and caps >= _LABEL_CAPS and len(label.encode()) <= MAX_LABEL_BYTES else ""


def echo(word: str) -> str:
    """A client's word as a middle parameter of our answer; what cannot stand there becomes ``*``."""
    return word if word and " " not in word and word[0] != ":" and len(word.encode()) <= 250 else "*"
