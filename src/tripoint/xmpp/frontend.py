"""The XMPP front end as runtime sees it: built once, given to listeners, run, drained.

Holds what connections share: users, rooms, one-to-one messages, the flusher, limits per address, the sweep for
silent clients. Does not open sockets: runtime does, with `protocol` as the factory. Read next: listener.py,
sessions.py.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

# Importing the handlers fills the registry.
import tripoint.xmpp.c2s
import tripoint.xmpp.muc
import tripoint.xmpp.pep  # noqa: F401
from tripoint.accounts.nodes import Nodes
from tripoint.accounts.ports import Account, AccountService, ServiceDesk
from tripoint.accounts.server_bans import banned_text
from tripoint.core.addresses import is_loopback
from tripoint.core.ids import ServerName
from tripoint.core.server_bans import BanIndex, ServerBan, Visitor
from tripoint.core.tls_facts import NO_TLS, TlsFacts
from tripoint.fanout.delivery import Flusher
from tripoint.fanout.hub import Hub
from tripoint.media.ports import Media
from tripoint.net.connections import Background, CallLater, Connections
from tripoint.net.tls_transport import TlsLayer
from tripoint.rooms.ports import NameTable, PresenceService, RoomReader, RoomService
from tripoint.xmpp.c2s.blocking import BlockPushes
from tripoint.xmpp.c2s.direct import DirectMessages
from tripoint.xmpp.c2s.discovery import own_caps
from tripoint.xmpp.c2s.foreign import Back, Foreign, Nowhere
from tripoint.xmpp.c2s.markers import DirectMarkers
from tripoint.xmpp.c2s.missed import Missed
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.components.service import Component, Components
from tripoint.xmpp.connection import ClientConnection
from tripoint.xmpp.features import Policy
from tripoint.xmpp.framing import Framing
from tripoint.xmpp.identities import Identities
from tripoint.xmpp.jid import Domains, Jid
from tripoint.xmpp.listener import XmppProtocol
from tripoint.xmpp.muc.foreigners import Foreigners
from tripoint.xmpp.muc.service import Muc
from tripoint.xmpp.newcomers import Newcomers
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.outside import Outside
from tripoint.xmpp.pep.service import Pep
from tripoint.xmpp.pictures import Pictures
from tripoint.xmpp.push import PushServices
from tripoint.xmpp.s2s.intake import Traffic
from tripoint.xmpp.s2s.service import Means, Servers
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.sessions import Parts, Sessions
from tripoint.xmpp.stream import ClientStream

log = structlog.get_logger()

# Work that waits for something is not waited for longer than this when the server stops.
DRAIN_S = 3.0

# The sweep for silent clients looks this often; timeouts are exact to that.
SWEEP_S = 5.0


class TlsMaterial(Protocol):
    """TLS for clients (net/tls.py), and tls-server-end-point."""

    def layer(
        self, make: Callable[[], asyncio.BaseProtocol], deadline_s: float, before: asyncio.BaseProtocol
    ) -> TlsLayer: ...
    @property
    def end_point(self) -> bytes: ...


class XmppFrontEnd:
    """All of XMPP in this process.

    `now_ms` is the wall clock, `monotonic` the one for timeouts, `call_later` the loop's where none is given;
    `secret` (32 bytes, the same at every start) makes occupant ids. `tls` None: neither STARTTLS nor channel
    binding is offered, so only loopback logs in. `means` None: no other XMPP server is spoken to. `components`: who may
    connect as one (XEP-0114).
    `token_configuration`: the address where clients learn how to get access tokens.
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
        options: XmppOptions,
        *,
        nodes: Nodes,
        secret: bytes,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        call_later: CallLater | None = None,
        tls: TlsMaterial | None,
        desk: ServiceDesk | None = None,
        means: Means | None = None,
        components: Sequence[Component] = (),
        token_configuration: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.domains = Domains.of(server)
        self._background = Background("xmpp")
        self._connections: Connections[ClientStream] = Connections(options.connection_rate, monotonic)
        self.spawn = self._background.spawn
        self.options = options
        self.flusher = flusher
        self.monotonic = monotonic
        self.accounts = accounts
        self.tls = tls
        self.token_configuration = token_configuration
        self.components = self._components(components) if components else None
        self.servers = None if means is None else self._servers(means, secret)
        self.outside = Outside(self.domains, self.servers, self.components)
        doors = Doors(
            self.domains,
            rooms,
            reader,
            accounts,
            presence,
            name_table,
            now_ms,
            monotonic,
            self.spawn,
            call_later or asyncio.get_running_loop().call_later,
            secret,
            media,
            Pictures(media),
            desk,
            options.contacts,
            options.turn,
            options.status_addresses,
            None if self.servers is None and self.components is None else self.outside,
            tuple((one.name, one.title) for one in components),
        )
        self._doors = doors
        self.users = Users(self.domains, accounts)
        self.muc = Muc(doors, self.users, hub)
        self.direct = DirectMessages(doors, self.users, hub)
        self.missed = Missed(doors, self.users, self.direct)
        self._markers = DirectMarkers(doors, self.users, self.direct, hub)
        self.pep = Pep(doors, self.users, self.muc, self.direct, nodes, hub)
        self.push = PushServices(doors, self.users, self.muc, self.direct, lambda: self.options.push_summary)
        self._blocking = BlockPushes(doors, self.users)
        hub.watch_users(self._blocking.user_changed)
        parts = Parts(self.users, self.muc, self.direct, self.missed, self.pep, self._blocking, self.push)
        self.sessions = Sessions(doors, parts, lambda: self.options, self.new_id)
        accounts.bans.watch(self._banned)
        newcomers = Newcomers(accounts, monotonic)
        # Who was in rooms goes from them in time, whether other servers are spoken to now or not.
        self.foreigners = Foreigners(doors, self.muc, newcomers, self._foreigner_in_rooms)
        hub.watch_users(self.foreigners.user_changed)
        self.identities: Identities | None = None
        if self.servers is not None and self.servers.claims is not None:
            self.identities = self.muc.identities = Identities(
                self.domains.same,
                name_table,
                self.servers.claims,
                self.outside.confirms,
                self.spawn,
                monotonic,
            )
            self.servers.links.connected = self.identities.connected
        foreign = Foreign(doors, self.users, self.outside, newcomers, self.foreigners, self.sessions.visitor)
        foreign.revoked = self.push.revoked
        self.outside.deliver, self.outside.bounce = foreign.deliver, foreign.bounce
        if self.servers is not None:
            self.servers.deliver, self.servers.bounce = self.outside.came, self.outside.bounced
            self.servers.links.failed, self.servers.links.broken = self.foreigners.unreachable, self.foreigners.broken
            self.servers.listener.banned = self._banned_from
        self._registration = "closed"

    def _servers(self, means: Means, secret: bytes) -> Servers:
        options = self.options
        traffic = Traffic.of_servers(options.stanzas_burst, options.stanzas_per_s, options.connections_per_address)
        return Servers(
            self.domains,
            secret,
            means,
            traffic,
            options.stanza_bytes,
            components=frozenset() if self.components is None else self.components.names,
            new_id=self.new_id,
            now_s=self.monotonic,
        )

    def _components(self, components: Sequence[Component]) -> Components:
        return Components(
            components,
            self.options.stanza_bytes,
            new_id=self.new_id,
            now_s=self.monotonic,
            deliver=lambda stanza: self.outside.came(stanza),  # which is made after it
            # Its people are gone from the rooms with it.
            gone=lambda name: self.foreigners.unreachable(self.domains.rooms, name),
        )

    def _foreigner_in_rooms(self, jid: Jid, account: Account) -> XmppSession:
        """As whom somebody of another server is in rooms."""
        return self.sessions.visitor(jid, account, Back(self.outside, self.domains.rooms, jid), Nowhere())

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def link_counts(self) -> dict[str, float]:
        """Streams to other servers and from them, components, and sessions of their people in rooms."""
        servers = self.servers
        return {
            "out": 0.0 if servers is None else float(len(servers.links.proofs())),
            "in": 0.0 if servers is None else float(len(servers.listener.connections)),
            "components": 0.0 if self.components is None else float(len(self.components)),
            "foreigners": float(len(self.foreigners)),
        }

    async def start(self) -> None:
        """Load what is needed before the first connection."""
        self._registration = await self.accounts.registration_in_band()
        await self.pep.start()
        await self.foreigners.start()
        if self.identities is not None:
            await self.identities.start()

    def protocol(
        self, *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> XmppProtocol:
        """The factory for `loop.create_server`; `secure` for a listener with TLS from the first byte.

        `address`: the client's, where a proxy said it. `offloaded`: its TLS ends at the proxy.
        """
        return XmppProtocol(self, secure=secure, address=address, offloaded=offloaded)

    async def reload(self, options: XmppOptions) -> None:
        """The configuration was changed: connections go by the new options from now on."""
        self.options = options
        self._connections.change_rate(options.connection_rate)
        self._registration = await self.accounts.registration_in_band()

    async def run(self) -> None:
        """Look after silent clients until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Ping who is silent, close who did not answer or does not log in. spec: RFC6120 4.6, 4.9.3.4"""
        now, options = self.monotonic(), self.options
        for stream in self._connections.all():
            if stream.session is None:
                if now - stream.since > options.login_timeout_s:
                    stream.end("connection-timeout", "The login took too long")
            elif stream.asked_at is not None and now - stream.asked_at > options.ping_timeout_s:
                stream.time_out()
            elif now - stream.heard_at > options.ping_interval_s:
                stream.ping(now)
            elif stream.session.managed is not None:
                stream.session.managed.ask()
        self.sessions.resumptions.sweep()
        self.foreigners.sweep()
        if self.servers is not None:
            self.servers.sweep()
        if self.components is not None:
            self.components.sweep()

    async def drain(self, reason: str = "The server is shutting down") -> None:
        """Tell everybody, close every connection and wait for what was begun."""
        self._connections.closing = True
        self.muc.shut_down()
        for stream in self._connections.all():
            if stream.session is not None:
                # Nobody can resume it; what it may not have had is told after the next start.
                self.push.lost(stream.session)
            stream.end("system-shutdown", reason)
        self.sessions.resumptions.end_all()
        if self.components is not None:
            await self.components.close()
        if self.servers is not None:
            await self.servers.close()
        await self._background.finish(DRAIN_S)

    async def settled(self) -> None:
        """Wait until nothing runs in the background: for tests."""
        await self._background.finish()

    # -- what connections ask

    def new_id(self) -> str:
        """Random text that nobody guesses: stream ids, nonces, resources."""
        return secrets.token_urlsafe(18)

    def connection(
        self, address: str, *, secure: bool, tls: TlsFacts = NO_TLS, framing: Framing | None = None
    ) -> ClientConnection:
        """The state machine for a new connection. `tls`: what is known of it if its TLS ends here."""
        policy = Policy(
            domain=self.domains.server,
            starttls=self.tls is not None,
            require_tls=not (self.options.plaintext_passwords and is_loopback(address)),
            registration=self._registration != "closed",
            scram_sha1=self.options.scram_sha1,
            anonymous=self.options.guests,
            migrating=self.options.migrating,
            caps=own_caps(self._doors),
            stanza_bytes=self.options.stanza_bytes,
            idle_s=self.options.ping_interval_s,
        )
        return ClientConnection(policy, self.new_id, secure=secure, tls=tls, framing=framing)

    def admit(self, stream: ClientStream) -> str | None:
        """Count a new connection; the reason if it may not stay."""
        options = self.options
        limit, network_limit = options.connections_per_address, options.connections_per_network
        return self._connections.admit(stream, stream.address, limit, network_limit)

    def gone(self, stream: ClientStream) -> None:
        """A connection is closed."""
        self._connections.gone(stream)

    def _banned_from(self, address: str) -> str | None:
        """Why no server is let in from this address. docs/mapping.md 9.4"""
        ban = self.accounts.bans.of_address(address)
        return None if ban is None else banned_text(ban)

    def _banned(self, ban: ServerBan) -> None:
        """Close what meets a ban that was just set. spec: docs/mapping.md 9.4"""
        index, now = BanIndex((ban,)), self._doors.now_ms()
        for protocol in self._connections.all():
            names = () if protocol.session is None else (protocol.session.account.name,)
            if index.of_visitor(Visitor(protocol.address, names), now) is not None:
                protocol.end("policy-violation", banned_text(ban))
        for session in self.sessions.resumptions.waiting():
            if index.of_visitor(Visitor("", (session.account.name,)), now) is not None:
                self.sessions.end(session)
