"""The IRC front end as runtime sees it: built once, given to listeners, run, drained.

Holds what connections share: the network, the flusher, limits per address, the sweep for silent clients.
Does not open sockets: runtime does, with `protocol` as the factory.  Read next: tripoint/irc/listener.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import structlog

import tripoint.irc.commands  # noqa: F401 - declares every command
from tripoint.accounts.ports import Account, AccountService
from tripoint.accounts.refusals import AccountRefused
from tripoint.accounts.sasl import mechanisms as sasl_mechanisms
from tripoint.accounts.server_bans import banned_text
from tripoint.core.addresses import is_loopback
from tripoint.core.ids import RoomId, ServerName
from tripoint.core.server_bans import BanIndex, ServerBan, Visitor
from tripoint.core.tls_facts import NO_TLS, TlsFacts
from tripoint.fanout.delivery import Flusher
from tripoint.fanout.hub import Hub
from tripoint.irc import numerics as n
from tripoint.irc.banning import visitor_of
from tripoint.irc.connection import IrcConnection, Reply
from tripoint.irc.desk import Desk
from tripoint.irc.early import NOT_YET, EarlySession
from tripoint.irc.listener import IrcProtocol
from tripoint.irc.login import Login
from tripoint.irc.messages import EDIT_CAPABILITY
from tripoint.irc.network import Network
from tripoint.irc.operators import Notice
from tripoint.irc.options import IrcOptions
from tripoint.irc.outbox import IrcOutbox
from tripoint.irc.projection import Names
from tripoint.irc.session import IrcSession
from tripoint.irc.tables import CAPABILITIES, STS
from tripoint.irc.user_modes import reconsider
from tripoint.irc.webirc import Gateways, gateway_at
from tripoint.irc.welcome import show_welcome
from tripoint.media.ports import Media
from tripoint.net.connections import Background, CallLater, Connections
from tripoint.net.strangers import UNKNOWN, Known, Strangers
from tripoint.net.tls_transport import tls_facts
from tripoint.rooms.ports import NameTable, PresenceService, RoomReader, RoomService
from tripoint.rooms.readers import Feature, ReaderNow

log = structlog.get_logger()

# A command that waits for its rate limit is not waited for longer than this when the server stops.
DRAIN_S = 3.0
# The sweep for silent clients looks this often; timeouts are exact to that.
SWEEP_S = 5.0
# What a client must have asked for to show something (docs/mapping.md 22.5).
_FEATURES = {
    Feature.EDITS: {EDIT_CAPABILITY},
    Feature.REACTIONS: {"message-tags"},
    Feature.REDACTIONS: {"draft/message-redaction"},
    Feature.LONG_MESSAGES: {"draft/multiline", "batch"},
}


class IrcFrontEnd:
    """All of IRC in this process.

    `now_ms` is the wall clock, `monotonic` the one for timeouts; `secret` (32 bytes, the same at every start)
    makes guests' hosts.  `call_later` is the loop's where none is given.  `registration` tells whether accounts
    can be made here (open | token | closed).
    `end_point` gives the tls-server-end-point data of TLS listeners, for channel binding. `strangers` tells what the
    DNS says of addresses. `token_configuration`: the address where clients learn how to get access tokens.
    """

    def __init__(
        self,
        server: ServerName,
        rooms: RoomService,
        reader: RoomReader,
        accounts: AccountService,
        presence: PresenceService,
        name_table: NameTable,
        hub: Hub,
        media: Media,
        flusher: Flusher,
        options: IrcOptions,
        *,
        secret: bytes,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        call_later: CallLater | None = None,
        end_point: Callable[[], bytes] | None = None,
        strangers: Strangers | None = None,
        token_configuration: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.names = Names(server, name_table, media.links, accounts.app_services.is_bot, accounts.called)
        self._background = Background("irc")
        self._connections: Connections[IrcProtocol] = Connections(options.connection_rate, monotonic)
        self.spawn = self._background.spawn
        self.options = options
        self.flusher = flusher
        self.monotonic = monotonic
        self.accounts = accounts
        self.network = Network(
            self.names,
            rooms,
            reader,
            accounts,
            presence,
            hub,
            options,
            self.spawn,
            now_ms,
            call_later or asyncio.get_running_loop().call_later,
            name_table,
            media,
        )
        self.gateways = Gateways(accounts)
        self.strangers = strangers
        accounts.bans.watch(self._banned)
        accounts.vhosts.watch(self.network.host_changed)
        self._secret = secret
        self._end_point = end_point
        self._token_configuration = token_configuration
        self._run_id = secrets.token_hex(4)
        self._count = 0
        self._offers: dict[tuple[object, ...], dict[str, str]] = {}  # of each kind of connection

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Load what is needed before the first connection."""
        await self.names.load()
        for user_id in self.accounts.vhosts.given():
            self.names.set_host(user_id, self.accounts.vhosts.host(user_id))
        self.network.registration = await self.accounts.registration_in_band()

    def protocol(
        self, *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> IrcProtocol:
        """The factory for `loop.create_server`.

        `address`: the client's, where a proxy said it. `offloaded`: its TLS ends at the proxy.
        """
        return IrcProtocol(self, secure=secure, address=address, offloaded=offloaded)

    async def reload(self, options: IrcOptions) -> None:
        """The configuration was changed: connections go by the new options from now on."""
        self.options = options
        self._offers.clear()
        self.network.options = options
        for session in list(self.network.operators.values()):
            reconsider(session, options.operators)
        self._connections.change_rate(options.connection_rate)
        if self.strangers is not None:
            self.strangers.change(options.dnsbl, hostnames=options.hostnames, ident=options.ident)
        self.network.registration = await self.accounts.registration_in_band()

    async def run(self) -> None:
        """Look after silent clients until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Ping who is silent, close who did not answer or does not log in.  spec: RFC2812 3.7.2"""
        now, options = self.monotonic(), self.options
        for protocol in self._connections.all():
            if protocol.session is None:
                if now - protocol.since > options.registration_timeout_s:
                    protocol.end("Registration timed out")
            elif protocol.pinged_at is not None:
                if now - protocol.pinged_at > options.ping_timeout_s:
                    protocol.end(f"Ping timeout: {int(now - protocol.heard_at)} seconds")
            elif now - protocol.heard_at > options.ping_interval_s:
                protocol.ping(now)

    async def drain(self, reason: str = "Server is shutting down") -> None:
        """Close every connection and wait for what was begun."""
        self._connections.closing = True
        for protocol in self._connections.all():
            protocol.end(reason)
        await self._background.finish(DRAIN_S)

    async def settled(self) -> None:
        """Wait until nothing runs in the background: for tests."""
        await self._background.finish()

    # --- what connections ask ----------------------------------------------------------------------------

    def admit(self, protocol: IrcProtocol) -> str | None:
        """Count a new connection; the reason if it may not stay."""
        self.network.unregistered += 1
        ban = self.accounts.bans.of_address(protocol.address)
        if ban is not None:
            # Counted and closed as one too many is: it is gone before it says anything.
            self._connections.admit(protocol, protocol.address, 0)
            return banned_text(ban)
        return self._admitted(protocol, free=gateway_at(self.options.gateways, protocol.address) is not None)

    def _admitted(self, protocol: IrcProtocol, *, free: bool) -> str | None:
        options = self.options
        limit, network_limit = options.connections_per_address, options.connections_per_network
        return self._connections.admit(protocol, protocol.address, limit, network_limit, free=free)

    def moved(self, protocol: IrcProtocol) -> str | None:
        """A gateway said from where a connection comes; the reason if it may not stay."""
        self._connections.gone(protocol)
        refused = self._admitted(protocol, free=False)
        ban = self.accounts.bans.of_address(protocol.address)
        return refused if ban is None else banned_text(ban)

    def gone(self, protocol: IrcProtocol) -> None:
        """A connection is closed."""
        if self._connections.gone(protocol) and protocol.session is None:
            self.network.unregistered -= 1

    def _banned(self, ban: ServerBan) -> None:
        """Close what meets a ban that was just set.  spec: docs/mapping.md 9.4"""
        index, now = BanIndex((ban,)), self.network.now_ms()
        for protocol in self._connections.all():
            session = protocol.session
            who = Visitor(protocol.address) if session is None else visitor_of(session)
            if index.of_visitor(who, now) is not None:
                self._put_out(protocol, ban)

    def _put_out(self, protocol: IrcProtocol, ban: ServerBan) -> None:
        if protocol.session is not None:
            protocol.session.numeric(n.ERR_YOUREBANNEDCREEP, banned_text(ban))
        protocol.end(banned_text(ban))

    def begun(self, protocol: IrcProtocol) -> None:
        """A session began: whoever was banned while it did is put out."""
        assert protocol.session is not None
        ban = self.accounts.bans.of_visitor(visitor_of(protocol.session))
        if ban is not None:
            self._put_out(protocol, ban)

    def passwords_allowed(self, address: str, secure: bool) -> bool:
        """Passwords need TLS, but for this machine's own clients (DESIGN 7)."""
        return secure or (self.options.plaintext_passwords and is_loopback(address))

    def tls_facts(self, transport: asyncio.BaseTransport) -> TlsFacts:
        """What SASL may know of a connection whose TLS ends here."""
        return NO_TLS if self._end_point is None else tls_facts(transport, self._end_point())

    def mechanisms(self, tls: TlsFacts, *, plain: bool) -> tuple[str, ...]:
        """SASL mechanisms for one connection, strongest first."""
        # SCRAM-SHA-1 is for old XMPP clients (MAPPING 18); IRC clients that know SCRAM know SHA-256.
        return sasl_mechanisms(
            plain=plain,
            sha1=False,
            binding=bool(tls.bindings),
            certificate=bool(tls.certificate),
            migrating=self.options.migrating,
        )

    def offered(
        self, mechanisms: tuple[str, ...], *, passwords: bool, secure: bool, named: bool = True
    ) -> Mapping[str, str]:
        """What CAP LS shows on one connection: the same object for all that are shown the same.

        `named`: the client has said by which name it found the server.
        """
        registers = self.network.registration == "open" and passwords
        options = self.options
        # Where something is to be accepted first, that is said to NickServ, by who is connected.
        at_once = not self.accounts.terms
        what = (mechanisms, registers, at_once, secure, named, options.sts_duration_s, options.sts_port)
        known = self._offers.get(what)
        if known is None:
            known = self._offers[what] = self._offer(
                mechanisms, registers=registers, at_once=at_once, secure=secure, named=named
            )
        return known

    def _offer(
        self, mechanisms: tuple[str, ...], *, registers: bool, at_once: bool, secure: bool, named: bool
    ) -> dict[str, str]:
        offered = {name: capability.value for name, capability in CAPABILITIES.items()}
        offered["sasl"] = ",".join(mechanisms)
        if not mechanisms:
            del offered["sasl"]  # without TLS, where passwords have to be seen in clear text
        options = self.options
        if options.sts_duration_s is None or (secure and not named):
            # spec: IRCv3 sts: without a hostname "an STS persistence policy SHOULD NOT be advertised"
            del offered[STS]
        else:
            offered[STS] = f"duration={options.sts_duration_s}" if secure else f"port={options.sts_port}"
            if not secure and options.sts_duration_s == 0:
                del offered[STS]  # whoever comes without TLS keeps to nothing, and is sent nowhere
        if registers:
            offered["draft/account-registration"] = f"{'before-connect,' if at_once else ''}custom-account-name"
        else:
            del offered["draft/account-registration"]
        return offered

    def look_up(self, address: str, ports: tuple[int, int] | None) -> asyncio.Future[Known] | None:
        """Begin to ask what others say of an address; None where nothing is asked. `ports`: theirs and ours."""
        strangers = self.strangers
        if strangers is None or not strangers.asks:
            return None
        found: asyncio.Future[Known] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            known = UNKNOWN
            try:
                known = await strangers.look_up(address, ports)
            finally:
                if not found.done():
                    found.set_result(known)

        self.spawn(work())
        return found

    def readers(self, room_id: RoomId) -> Iterator[ReaderNow]:
        """Every session that is in the channel of a room. docs/mapping.md 22.5"""
        channel = self.network.channels.get(room_id)
        for session in () if channel is None or channel.direct else channel.sessions.values():
            lacks = frozenset(feature for feature, caps in _FEATURES.items() if not session.caps >= caps)
            yield ReaderNow(session.user_id, lacks)

    def desk(self) -> Desk:
        """The services for who asks from another protocol."""
        return Desk(
            self.network, self.flusher, lambda address, secure: self.passwords_allowed(address, secure)
        )

    def login(
        self,
        negotiation: IrcConnection,
        say: Callable[[Reply], None],
        mechanisms: tuple[str, ...],
        address: str,
        *,
        tls: TlsFacts,
        looking: asyncio.Future[Known] | None,
    ) -> Login:
        """What drives a connection until 001. `looking`: for what the DNS says of its address."""
        # A guest keeps it for as long as it is there: nothing is made for each that all can share.
        return Login(
            negotiation,
            self.accounts,
            self.names,
            say,
            _nonce,
            mechanisms=mechanisms,
            address=address,
            guest_key=self._secret,
            tls=tls,
            known=_nothing_known if looking is None else partial(_known, looking),
            configuration=self._token_configuration,
        )

    def early(self, login: Login, outbox: IrcOutbox, address: str) -> EarlySession:
        """What answers METADATA before 001."""
        return EarlySession(
            "",
            self.network,
            login.account or NOT_YET,
            None,
            outbox,
            login.negotiation,
            lambda reason: None,
            address=address,
            secure=False,
            passwords_allowed=False,
        )

    async def begin_session(
        self,
        account: Account,
        negotiation: IrcConnection,
        outbox: IrcOutbox,
        close: Callable[[str], None],
        address: str,
        *,
        secure: bool,
    ) -> IrcSession:
        """001 and what follows, and the rooms of an account."""
        device_id = None
        if not account.guest:
            device_id = (await self.accounts.log_in(account, protocol="irc", display_name="IRC")).device_id
        self._count += 1
        negotiation.accepted(self.names.nick(account.user_id))
        session = IrcSession(
            f"irc-{self._run_id}-{self._count}",
            self.network,
            account,
            device_id,
            outbox,
            negotiation,
            close,
            address=address,
            secure=secure,
            passwords_allowed=self.passwords_allowed(address, secure),
        )
        session.away = negotiation.away
        session.subscribed = negotiation.subscribed
        self.network.unregistered -= 1
        self.network.sessions.add(session)
        self.network.notify(Notice.CONNECTIONS, f"Client connecting: {session.mask} [{address}]")
        show_welcome(session, await self.network.metadata.own_lines(session))
        # What was labelled is answered; the rooms of an account are not part of it, however many there are.
        outbox.end()
        if not account.guest:
            await self.network.enter_joined_rooms(session)
        return session

    async def abandon(self, account: Account) -> None:
        """A connection ended while it was being logged in."""
        if account.guest:
            self.names.forget(account.user_id)
            try:
                await self.accounts.end_guest(account.user_id)
            except AccountRefused as refused:
                log.warning("irc.guest_not_ended", reason=refused.text)


def _nonce() -> str:
    return secrets.token_urlsafe(24)


async def _nothing_known() -> Known:
    return UNKNOWN


async def _known(looking: asyncio.Future[Known]) -> Known:
    return await looking
