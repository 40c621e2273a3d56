"""Sockets: bytes to lines to the login or the session, one line at a time; flood control, pings, limits.

One protocol object per connection. Lines wait in a bounded queue and are worked off by one task, which lives
only while there is something to do. There is no timer per connection: one sweep looks at all of them.
spec: RFC2812 3.7.2, 3.7.4; docs/mapping.md 4.11, 24; DESIGN 6.  Read next: tripoint/irc/frontend.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from tripoint.core.tls_facts import NO_TLS
from tripoint.irc import numerics as n
from tripoint.irc.connection import IrcConnection, Reply
from tripoint.irc.login import LoggedIn, Login, Rejected
from tripoint.irc.metadata import CAPABILITY as METADATA
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.registry import COMMANDS
from tripoint.irc.render import fitted, server_line
from tripoint.irc.session import IrcSession, label_in
from tripoint.irc.webirc import Unbelieved
from tripoint.irc.wire import Incoming, Line, LineReader, Malformed, TooLong, build_line

if TYPE_CHECKING:
    from tripoint.irc.frontend import IrcFrontEnd

log = structlog.get_logger()

# Bytes that may wait for a slow command; beyond, the socket is not read until they are worked off.
MAX_WAITING_BYTES = 16 * 1024
# Bytes that are made into lines at a time, before others get their turn: a line object is a hundred times as
# large as the shortest line, and five hundred PINGs take some milliseconds.
PARSED_AT_ONCE = 1024


class IrcProtocol(asyncio.Protocol):
    """One client's connection. `secure`: it came over TLS; `offloaded`: which ended at a proxy.

    `address`: from where, if the socket does not tell.
    """

    __slots__ = (
        "_allowance", "_allowance_at", "_closing", "_first", "_front", "_lines", "_own_tls", "_paused", "_ports",
        "_reader", "_running", "_secure", "_unread",
        "_unread_bytes", "address", "heard_at", "login", "outbox", "pinged_at",
        "session", "since", "transport",
    )

    def __init__(
        self, front: IrcFrontEnd, *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> None:
        self._front = front
        self._secure = secure
        self._own_tls = secure and not offloaded
        self._reader = LineReader()
        self._unread: list[bytes] = []  # what came, piece by piece, the next one first
        self._unread_bytes = 0
        self._lines: list[Incoming] = []  # those that wait, the next one last
        self._running = False
        self._paused = False
        self._first = True
        self._ports: tuple[int, int] | None = None  # theirs and ours, where no proxy is between
        self._closing = False
        self._allowance = front.options.commands_burst
        self._allowance_at = 0.0
        self.transport: asyncio.Transport | None = None
        self.outbox: IrcOutbox | None = None
        self.login: Login | None = None
        self.session: IrcSession | None = None
        self.address = address or ""
        self.heard_at = 0.0
        self.pinged_at: float | None = None
        self.since = 0.0

    # --- asyncio -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        front = self._front
        # uvloop's transports have the methods but not the base class.
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not self.address:
            self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "local"
            own = transport.get_extra_info("sockname")
            if isinstance(peer, tuple) and isinstance(own, tuple):
                self._ports = (int(peer[1]), int(own[1]))
        self.since = self.heard_at = self._allowance_at = front.monotonic()
        self.outbox = IrcOutbox(self.transport, front.flusher, front.options.sendq_bytes, self._overflowed)
        refused = front.admit(self)
        if refused is not None:
            self._end(refused)
            return
        self._open_login()

    def _open_login(self) -> None:
        """Begin the negotiation with whoever is at the other end."""
        front = self._front
        allowed = front.passwords_allowed(self.address, self._secure)
        tls = NO_TLS
        if self._own_tls and self.transport is not None:
            tls = front.tls_facts(self.transport)
        mechanisms = front.mechanisms(tls, plain=allowed)
        negotiation = IrcConnection(
            front.names.server,
            front.offered(mechanisms, passwords=allowed, secure=self._secure, named=tls.named),
            mechanisms,
            passwords_allowed=allowed,
            isupport=front.network.isupport(),
        )
        negotiation.certificate = tls.certificate
        looking = front.look_up(self.address, self._ports)
        self._ports = None
        self.login = front.login(negotiation, self._say, mechanisms, self.address, tls=tls, looking=looking)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._front.monotonic()
        self.pinged_at = None
        if self._closing:
            return
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self.session is not None:
            self.session.received_bytes += len(data)
        if not self._running:
            self._running = True
            self._front.spawn(self._work())
        if self._unread_bytes > MAX_WAITING_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._unread.clear()
        self._lines.clear()
        if self.outbox is not None:
            self.outbox.closed = True
        self._front.gone(self)
        if self.session is not None:
            # spec: RFC2812 3.1.7: an unexpected end shows the reason.
            self._front.network.remove(self.session, "Connection closed")
        # Each of these leads back to here: without them all of it is freed now, and not once garbage is looked for.
        self.transport = self.outbox = self.login = self.session = None

    # --- lines -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Work off what waits. Ends when nothing does; a bug in a handler costs its line only."""
        try:
            while not self._closing and (self._lines or self._parse()):
                line = self._lines.pop()
                if not self._lines and self._unread:
                    await asyncio.sleep(0)
                delay_s = self._owed(line)
                if delay_s:
                    await asyncio.sleep(delay_s)
                    if self._closing:
                        return
                try:
                    await self._take(line)
                except Exception as error:
                    # The top of the connection: a bug is reported and the client gets a polite answer.
                    command = line.command if isinstance(line, Line) else "*"
                    log.error("irc.handler_failed", command=command, exc_info=error)
                    self._numeric(n.ERR_UNKNOWNERROR, command, "The server failed at this; nothing else is lost")
        finally:
            self._running = False

    def _parse(self) -> bool:
        """Make lines of the next bytes until there is one; False if no whole line waits."""
        while self._unread and not self._lines:
            data = self._unread[0]
            if len(data) > PARSED_AT_ONCE:
                self._unread[0] = data[PARSED_AT_ONCE:]
                data = data[:PARSED_AT_ONCE]
            else:
                del self._unread[0]
            self._unread_bytes -= len(data)
            self._lines = self._reader.receive(data)
            self._lines.reverse()
        if self._paused and self._unread_bytes < MAX_WAITING_BYTES // 2 and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return bool(self._lines)

    async def _take(self, line: Incoming) -> None:
        if isinstance(line, TooLong):
            self._numeric(n.ERR_INPUTTOOLONG, "Input line was too long")
        elif isinstance(line, Malformed):
            self._numeric(n.ERR_UNKNOWNERROR, "*", line.reason)
        elif self.session is not None:
            await self.session.handle(line)
        elif self.login is not None:
            await self._negotiate(self.login, line)

    async def _webirc(self, line: Line, *, first: bool) -> None:
        """A web gateway says who its user is.  spec: IRCv3 webirc: "MUST be the first command" """
        try:
            if not first:
                raise Unbelieved("WEBIRC has to be the first command")
            user = await self._front.gateways.user(self._front.options.gateways, self.address, line)
        except Unbelieved as error:
            log.warning("irc.webirc_refused", address=self.address, reason=str(error))
            self._end(str(error))
            return
        if self._closing:
            return
        log.info("irc.webirc", gateway=user.gateway)
        # spec: webirc "Options": secure only if both ways are.
        self._secure = self._secure and user.secure
        self._own_tls = False
        self.address, self._ports = user.address, None
        refused = self._front.moved(self)
        if refused is not None:
            self._end(refused)
            return
        self._open_login()
        assert self.login is not None
        self.login.negotiation.gateway = user.gateway

    async def _negotiate(self, login: Login, line: Line) -> None:
        first, self._first = self._first, False
        if line.command == "WEBIRC":
            await self._webirc(line, first=first)
            return
        assert self.outbox is not None
        label = label_in(line.tags, login.negotiation.caps)
        if label:
            self.outbox.begin(label, self._front.names.server, "r0")
        try:
            if line.command == "METADATA" and METADATA in login.negotiation.caps:
                await self._front.early(login, self.outbox, self.address).take(line)
            else:
                await self._negotiated(login, line)
        finally:
            if self.outbox is not None:
                self.outbox.end()

    async def _negotiated(self, login: Login, line: Line) -> None:
        ended = await login.receive(line)
        if isinstance(ended, Rejected):
            self._end(ended.reason)
        elif isinstance(ended, LoggedIn):
            if self._closing:
                # The client went away while its account was looked up; a guest that was made ends again.
                await self._front.abandon(ended.account)
                return
            assert self.outbox is not None
            session = await self._front.begin_session(
                ended.account, login.negotiation, self.outbox, self._end, self.address, secure=self._secure
            )
            session.let_in_by = login.let_in_by
            self.login = None
            if ended.account.guest:
                session.login = login
            if self._closing:
                self._front.network.remove(session, "Connection closed")
                return
            self.session = session
            if login.let_in_by is not None and not await self._front.accounts.has_device(
                ended.account.user_id, login.let_in_by
            ):
                # It was logged out between the login and this.
                session.close("logged out")
            elif not self._closing:
                self._front.begun(self)

    def _owed(self, line: Incoming) -> float:
        """Seconds that this line has to wait: a token bucket over the costs of commands."""
        options = self._front.options
        if options.commands_per_s <= 0:
            return 0.0
        now = self._front.monotonic()
        earned = (now - self._allowance_at) * options.commands_per_s
        self._allowance = min(options.commands_burst, self._allowance + earned)
        self._allowance_at = now
        if isinstance(line, Line) and self.session is not None and self.session.in_batch(line):
            return 0.0  # docs/mapping.md 24: the lines of one message cost one token
        entry = COMMANDS.get(line.command) if isinstance(line, Line) else None
        self._allowance -= entry.cost if entry is not None else 1
        return max(0.0, -self._allowance / options.commands_per_s)

    # --- replies before there is a session ---------------------------------------------------------------

    def _say(self, reply: Reply) -> None:
        if self.outbox is not None:
            tags = [("batch", reply.batch)] if reply.batch else []
            body = server_line(self._front.names.server, reply.command, reply.params)
            self.outbox.respond(body, tags, inner=reply.inner)

    def _numeric(self, numeric: str, *params: str) -> None:
        if self.session is not None:
            self.session.numeric(numeric, *params)
        elif self.login is not None:
            self._say(Reply(numeric, (self.login.negotiation.nick, *params)))

    # --- the end -----------------------------------------------------------------------------------------

    def ping(self, now: float) -> None:
        """Ask whether the client is there."""
        self.pinged_at = now
        if self.outbox is not None:
            self.outbox.send(build_line("PING", self._front.names.server))

    def end(self, reason: str) -> None:
        """Close from outside: ping timeout, shutdown, a deleted device."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        """ERROR, then close; what was sent before goes out first."""
        if self._closing:
            return
        self._closing = True
        if self.session is not None:
            self._front.network.remove(self.session, reason)
        if self.outbox is not None and self.transport is not None:
            self.outbox.respond(fitted("ERROR", f"Closing link: {reason}"), [])
            self.outbox.close()
            self.transport.close()

    def _overflowed(self) -> None:
        """The client does not read: it loses its connection and nothing else (docs/mapping.md 24)."""
        if self._closing:
            return
        self._closing = True
        log.info("irc.sendq_exceeded", address=self.address)
        if self.transport is not None:
            # spec: docs/mapping.md 24: the reason; it will hardly be read, and the buffer is thrown away.
            self.transport.abort()
