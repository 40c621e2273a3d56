"""A server: the middle and its front ends, started, served, drained.

Order of start: folder, keys, store, middle, front ends, sockets. Order of stop: sockets accept nothing,
clients are told, what is queued is written, the store closes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from tripoint.config.load import only_loopback, server_name, split_address, split_contact
from tripoint.config.options import Config
from tripoint.core.oauth.providers import Provider
from tripoint.core.token_bucket import Rate
from tripoint.core.turn import TurnServers, parse_turn_uri
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.operators import Operator, Privilege
from tripoint.irc.options import IrcOptions
from tripoint.irc.web import IrcWeb
from tripoint.irc.webirc import Gateway
from tripoint.matrix.federation.intake import BODY_BYTES
from tripoint.matrix.federation.media import FileFetcher
from tripoint.matrix.federation.trust import Federated
from tripoint.matrix.frontend import MatrixFrontEnd
from tripoint.media.links import UPLOAD_PATH
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.discovery import Names
from tripoint.net.dns import Dns
from tripoint.net.http import Request, Response
from tripoint.net.http_front import HttpFront
from tripoint.net.link_tls import LinkTls
from tripoint.net.listen import bind
from tripoint.net.proxied import ProxiedListener, Proxies
from tripoint.net.proxy_header import Source
from tripoint.net.strangers import Strangers
from tripoint.net.tls import ClientTls, ServerTls
from tripoint.net.web_push import Vapid
from tripoint.oauth.frontend import OAuthFrontEnd
from tripoint.oauth.provider_client import ProviderClient
from tripoint.observe.metrics import Metrics
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.runtime.app_services import build_bridging, build_service_client, connect
from tripoint.runtime.control import bind_control
from tripoint.runtime.data_dir import DataDir
from tripoint.runtime.federation import build_federation
from tripoint.runtime.mail import build_postman, letter_words
from tripoint.runtime.media import SWEEP_S as MEDIA_SWEEP_S
from tripoint.runtime.media import build_media
from tripoint.runtime.middle import Middle, build_middle, clock_ms, report_bug
from tripoint.runtime.pushing import build_pushing
from tripoint.runtime.reload import services_differ, taken_up, waiting_for_restart
from tripoint.runtime.traffic import build_traffic
from tripoint.runtime.welcome_page import WelcomePage
from tripoint.store.interface import Store
from tripoint.store.search import SqliteSearch
from tripoint.store.sqlite import SqliteStore
from tripoint.xmpp.components.service import Component
from tripoint.xmpp.frontend import XmppFrontEnd
from tripoint.xmpp.jid import prepare_domain
from tripoint.xmpp.options import XmppOptions
from tripoint.xmpp.s2s.service import Means
from tripoint.xmpp.web import XmppWeb

log = structlog.get_logger("tripoint")

# The option whose files may have changed though it has not.
_SERVICES = "matrix.app_services"
# How often rooms whose MUC lock ran out and Matrix devices that stopped syncing are looked for.
SWEEP_S = 10.0
# What a drain waits for requests that are running.
GRACE_S = 5.0
# A transaction of another server is longer than what clients send.
LARGER = {b"/_matrix/federation/v1/send/": BODY_BYTES}
# What is taken in pieces.
UPLOADS = (b"/_matrix/media/v3/upload", UPLOAD_PATH.encode())


class MakeClient(Protocol):
    """How a front end makes the protocol object of a connection."""

    def __call__(
        self, *, secure: bool, address: str | None = None, offloaded: bool = False
    ) -> asyncio.Protocol: ...


class App:
    """One server process. start(), then wait, then stop(). `names`: where names are looked up; None: in the DNS."""

    def __init__(
        self, config: Config, folder: DataDir, store: Store | None = None, names: Names | None = None
    ) -> None:
        self.config = config
        self._names = names if names is not None else Dns()
        self.ports: dict[str, list[int]] = {}
        self._folder = folder
        self._store = store
        self._servers: list[asyncio.Server] = []
        self._proxied: list[ProxiedListener] = []
        self._fronts: list[HttpFront] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._events: dict[str, int] = {}

    async def start(self) -> None:
        """Returns once every listener answers."""
        config, folder = self.config, self._folder
        server = server_name(config)
        folder.check_server_name(server)
        tls = folder.tls(config)
        self.tls = tls
        # spec: RFC7301 6: the names that are registered; XEP-0368 4 asks for the latter.
        self.irc_tls, self.xmpp_tls = ClientTls(tls, b"irc"), ClientTls(tls, b"xmpp-client")
        store = self._store if self._store is not None else SqliteStore(folder.database)
        secret = folder.secret()
        self.postman = build_postman(config)
        key, old_keys = folder.signing_key(), folder.old_keys()
        self.middle = middle = await build_middle(
            config, store, key, secret=secret, index_of_words=SqliteSearch(folder.search_index)
        )
        self.federation = build_federation(
            config,
            store,
            middle.stream,
            key,
            old_keys,
            self._names,
            clock_ms,
            same_identity=_links_to_xmpp(config),
        )
        middle.third_party.identity = middle.accounts.bindings.publisher = self.federation.identity
        self.service_client = build_service_client(config)
        self.traffic = build_traffic(config, middle, self.federation.trust, clock_ms, report_bug)
        middle.hub.watch_all_rooms(self._count)
        self.media = build_media(config, middle, folder.media, secret=secret, now_ms=clock_ms)
        self.media.connect(config, self.federation.outbound.open_url)
        self.media.library.remote = FileFetcher(self.federation.trust.client, self.federation.outbound)
        vapid = Vapid(secret, next((address for _, address in _contacts(config) if ":" in address), ""))
        if self.postman is not None:
            middle.accounts.contacts.send = self.postman.send
            middle.accounts.contacts.words = letter_words(config)
        self.irc = IrcFrontEnd(
            server,
            middle.service,
            middle.reader,
            middle.accounts,
            middle.presence,
            middle.name_table,
            middle.hub,
            self.media.ports,
            middle.flusher,
            replace(_irc_options(config), vapid=vapid.public_key),
            secret=secret,
            now_ms=clock_ms,
            monotonic=time.monotonic,
            end_point=lambda: tls.end_point,
            strangers=Strangers(
                self._names if isinstance(self._names, Dns) else Dns(),
                config.irc.dnsbl,
                hostnames=config.irc.hostnames,
                ident=config.irc.ident,
            ),
            token_configuration=lambda: middle.oauth.configuration,
        )
        self.xmpp = XmppFrontEnd(
            server,
            middle.service,
            middle.reader,
            middle.accounts,
            middle.presence,
            middle.name_table,
            middle.hub,
            self.media.ports,
            middle.flusher,
            _xmpp_options(config),
            nodes=middle.nodes,
            desk=self.irc.desk(),
            tls=self.xmpp_tls,
            secret=secret,
            now_ms=clock_ms,
            monotonic=time.monotonic,
            means=self._means(tls),
            components=_components(config),
            token_configuration=lambda: middle.oauth.configuration,
        )
        self.pushing = build_pushing(
            middle, self.federation.outbound, self.irc, self.xmpp, vapid, clock_ms, report_bug
        )
        middle.blocks.same = self.xmpp.domains.same.names
        self.irc_web = IrcWeb(self.irc)
        self.web = XmppWeb(self.xmpp, config.server.public_url) if _speaks_xmpp(config) else None
        page = WelcomePage(config, middle.accounts)
        self.oauth = OAuthFrontEnd(
            middle.service,
            middle.accounts,
            middle.oauth,
            secret=secret,
            now_ms=clock_ms,
            plaintext_passwords=config.listen.plaintext_passwords,
            providers=[
                ProviderClient(one, self.federation.outbound, time.time) for one in _providers(config)
            ],
        )
        self.matrix = MatrixFrontEnd(
            server,
            middle.service,
            middle.reader,
            middle.accounts,
            middle.presence,
            middle.hub,
            middle.pace,
            self.media.ports,
            middle.encryption,
            middle.oauth,
            middle.delayed,
            middle.desk,
            now_ms=clock_ms,
            public_url=config.server.public_url,
            default_room_version=config.server.default_room_version,
            secret=secret,
            plaintext_passwords=config.listen.plaintext_passwords,
            fallback=self._pages(page),
            federated=Federated(
                self.federation.trust,
                middle.serving,
                middle.resident,
                middle.invitations,
                middle.third_party,
                self.traffic.transactions,
                self.traffic.sender,
            ),
            desk=self.irc.desk(),
            views=(self.irc.readers, self.xmpp.muc.readers),
            delegated=config.server.federation_address,
            contacts=_contacts(config),
            turn=_turn_servers(config),
            livekit=config.rtc.livekit,
            shared_secret=config.accounts.registration_shared_secret,
            bridging=build_bridging(middle.service_log, self.service_client, report_bug),
        )
        await self.irc.start()
        await self.xmpp.start()
        await self.traffic.start()
        await self.pushing.start()
        if self.matrix.bridges is not None:
            connect(middle, self.matrix.bridges)
            await self.matrix.bridges.start()
        await self._listen()
        page.ports = self.ports
        page.has_websocket = self.web is not None
        if not self.media.links.origin and only_loopback(config) and self.ports.get("http"):
            self.media.links.origin = f"http://localhost:{self.ports['http'][0]}"
        if not middle.oauth.base and only_loopback(config) and self.ports.get("http"):
            middle.oauth.base = f"http://localhost:{self.ports['http'][0]}"
        self._tasks = [
            asyncio.create_task(self.irc.run()),
            asyncio.create_task(self.xmpp.run()),
            asyncio.create_task(self._sweep()),
            asyncio.create_task(self._sweep_media()),
            asyncio.create_task(middle.indexing.run()),
            asyncio.create_task(middle.delayed.run()),
        ]

    def _means(self, tls: ServerTls) -> Means | None:
        """What XMPP needs to speak to other servers; None where that is off."""
        config = self.config
        self.link_tls = None
        if not _links_to_xmpp(config):
            return None
        self.link_tls = LinkTls(tls, config.tls.extra_authorities, "xmpp-server")
        return Means(
            self._names,
            AddressPolicy(config.outbound.allow_networks),
            self.link_tls,
            dialback=config.xmpp.dialback,
            claims=self.federation.trust.has_same_identity,
        )

    def _pages(self, page: WelcomePage) -> Callable[[Request], Awaitable[Response | None]]:
        """What is behind addresses that are not Matrix's."""

        async def handle(request: Request) -> Response | None:
            answer = await self.media.pages.handle(request)
            if answer is None and request.method == "OPTIONS":
                return None  # what browsers ask beforehand is answered for all other addresses alike
            if answer is None:
                answer = await self.irc_web.handle(request)
            if answer is None and self.web is not None:
                answer = await self.web.handle(request)
            if answer is None:
                answer = await self.oauth.handle(request)
            return answer if answer is not None else await page.handle(request)

        return handle

    async def _for_servers(self, request: Request) -> Response:
        """The TLS listener: other Matrix servers, and web clients of IRC and XMPP where no proxy is in front."""
        answer = await self.irc_web.handle(request)
        if answer is None and self.web is not None:
            answer = await self.web.handle(request)
        return answer if answer is not None else await self.matrix.listener.handle_federation(request)

    async def _listen(self) -> None:
        listen = self.config.listen
        await self._serve("irc", listen.irc, self.irc.protocol)
        await self._serve("irc_tls", listen.irc_tls, self.irc.protocol, self.irc_tls)
        if not _is_dns_name(self.config.server.name):
            # docs/mapping.md 1.6: an XMPP domain is a DNS name without a port.
            log.warning("xmpp.off", reason="the server name is no plain DNS name", server=self.config.server.name)
            listen = replace(listen, xmpp=(), xmpp_tls=(), s2s=(), s2s_tls=(), components=())
        await self._serve("xmpp", listen.xmpp, self.xmpp.protocol)
        await self._serve("xmpp_tls", listen.xmpp_tls, self.xmpp.protocol, self.xmpp_tls)
        if self.xmpp.servers is not None:
            await self._serve("s2s", listen.s2s, self.xmpp.servers.protocol)
            await self._serve("s2s_tls", listen.s2s_tls, self.xmpp.servers.protocol, self.link_tls)
        if self.xmpp.components is not None:
            await self._serve("components", listen.components, self.xmpp.components.protocol)
        limits = self.config.limits
        http = HttpFront(
            self.matrix.listener.handle,
            body_limit=limits.http_body_bytes,
            larger=LARGER,
            streamed=dict.fromkeys(UPLOADS, self.config.media.upload_bytes),
            too_large=lambda request: self.media.pages.too_large(request) or self.matrix.listener.too_large(request),
            failed=self.matrix.listener.failed,
            report=report_bug,
            proxies=listen.proxies,
            max_connections=limits.http_connections,
        )
        await self._serve_http("http", listen.http, http)
        servers = HttpFront(
            self._for_servers,
            body_limit=limits.http_body_bytes,
            larger=LARGER,
            too_large=self.matrix.listener.too_large,
            failed=self.matrix.listener.failed,
            report=report_bug,
            max_connections=limits.http_connections,
        )
        await self._serve_http("federation", listen.federation, servers, tls=True)
        await self._listen_to_operator()
        metrics = HttpFront(
            self._metrics(self.middle).handle,
            body_limit=1024,
            too_large=self.matrix.listener.too_large,
            failed=self.matrix.listener.failed,
            report=report_bug,
        )
        await self._serve_http("metrics", listen.metrics, metrics)

    async def _listen_to_operator(self) -> None:
        """For `tripoint` on this machine. Without it the server is as good; the commands say that they need it."""
        try:
            sock = bind_control(self._folder.path)
        except OSError as error:
            log.warning("control.off", error=str(error))
            return
        control = HttpFront(
            self.matrix.listener.handle_operator,
            body_limit=self.config.limits.http_body_bytes,
            too_large=self.matrix.listener.too_large,
            failed=self.matrix.listener.failed,
            report=report_bug,
        )
        self._fronts.append(control)
        await control.listen(sock)

    async def _serve(
        self, name: str, addresses: Sequence[str], make: MakeClient, tls: ClientTls | LinkTls | None = None
    ) -> None:
        """`tls`: with TLS from the first byte; who connects may show a certificate."""
        loop = asyncio.get_running_loop()
        proxies = self.config.listen.proxy_protocol
        for address in addresses:
            sock = bind(*_parts(address))
            if proxies:
                behind = _behind_proxy(make, tls=tls is not None)
                if tls is not None:
                    behind = _layered_behind_proxy(behind, tls)
                listener = ProxiedListener(sock, Proxies(proxies), behind)
                listener.start()
                self._proxied.append(listener)
            else:
                factory: Callable[[], asyncio.Protocol] = partial(make, secure=tls is not None)
                if tls is not None:
                    factory = partial(tls.layer, factory)
                self._servers.append(await loop.create_server(factory, sock=sock, backlog=1024))
            self.ports.setdefault(name, []).append(sock.getsockname()[1])

    async def _serve_http(
        self, name: str, addresses: Sequence[str], front: HttpFront, *, tls: bool = False
    ) -> None:
        self._fronts.append(front)
        for address in addresses:
            sock = bind(*_parts(address))
            await front.listen(sock, self.tls.context if tls else None)
            self.ports.setdefault(name, []).append(sock.getsockname()[1])

    def _count(self, change: RoomChange) -> None:
        if type(change) is EventCommitted:
            kind = "message" if change.event.state_key is None else "state"
            self._events[kind] = self._events.get(kind, 0) + 1

    def _mails(self) -> dict[str, int]:
        return {} if self.postman is None else self.postman.results

    def _metrics(self, middle: Middle) -> Metrics:
        metrics = Metrics()
        metrics.counter("tripoint_events", "Events committed.", "kind", lambda: self._events)
        metrics.counter(
            "tripoint_refusals", "Commands refused, by reason.", "refusal", lambda: middle.service.refusals
        )
        metrics.gauge(
            "tripoint_rooms_in_memory", "Rooms in memory.", "state", lambda: {"loaded": float(len(middle.loaded))}
        )
        metrics.gauge(
            "tripoint_commit_backlog",
            "Positions that were given out and are not on disk yet.",
            "stream",
            lambda: {"rooms": float(middle.stream.last - middle.stream.committed)},
        )
        metrics.gauge(
            "tripoint_sessions",
            "Live connections.",
            "protocol",
            lambda: {"irc": float(self.irc.connections), "xmpp": float(self.xmpp.connections)},
        )
        metrics.gauge(
            "tripoint_xmpp_links",
            "Streams to and from other XMPP servers, and their people in rooms here.",
            "kind",
            self.xmpp.link_counts,
        )
        metrics.gauge(
            "tripoint_federation",
            "Other servers that do not answer, that missed something, that are being sent to; events that wait.",
            "state",
            self.traffic.counts,
        )
        metrics.counter(
            "tripoint_federation_transactions",
            "Transactions to other servers.",
            "result",
            lambda: self.traffic.sender.results,
        )
        bridges = self.matrix.bridges
        if bridges is not None and bridges.services.all:
            metrics.gauge("tripoint_app_services", "Application services.", "state", bridges.counts)
            metrics.counter(
                "tripoint_app_service_transactions", "Transactions to them.", "result", bridges.results
            )
        metrics.counter("tripoint_pushes", "Notifications to push gateways.", "result", lambda: self.pushing.results)
        if self.postman is not None:
            metrics.counter("tripoint_mails", "Letters handed to the mail server.", "result", self._mails)
        metrics.counter(
            "tripoint_federation_pdus",
            "Events that other servers sent.",
            "result",
            lambda: self.traffic.transactions.results,
        )
        return metrics

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self.matrix.sweep()
                self.traffic.edus.sweep()
                await self.middle.accounts.guests.end_idle()
                await self.middle.creation.unlock_due(clock_ms())
            except Exception as error:  # the sweep goes on; the bug is told
                report_bug("app.sweep", error)

    async def _sweep_media(self) -> None:
        await self.media.check()
        while True:
            try:
                await self.media.library.sweep()
                await self.media.previews.sweep()
            except Exception as error:  # the sweep goes on; the bug is told
                report_bug("app.sweep_media", error)
            await asyncio.sleep(MEDIA_SWEEP_S)

    def on_rehash(self, rehash: Callable[[], Awaitable[list[str]]]) -> None:
        """What REHASH on IRC calls; it gives lines for the operator."""
        self.irc.network.rehash = rehash

    async def reload(self, config: Config) -> list[str]:
        """SIGHUP: take up renewed certificates and what can change of the configuration (reload.py); what came of it,
        in sentences."""
        told = ["The configuration is taken up"]
        try:
            self.tls.reload()
            self.irc_tls.reload()
            self.xmpp_tls.reload()
            if self.link_tls is not None:
                self.link_tls.reload()
            log.info("tls.reloaded")
        except (OSError, ValueError) as error:  # what cannot be read leaves the old ones in use
            log.error("tls.not_reloaded", error=str(error))
            told.append(f"The certificate could not be read again: {error}")
        waiting = waiting_for_restart(self.config, config)
        if services_differ(config, self.middle.accounts.app_services) and _SERVICES not in waiting:
            waiting.append(_SERVICES)
        if waiting:
            log.warning("config.needs_restart", options=waiting)
            told.append(f"These wait for a restart: {', '.join(waiting)}")
        config = taken_up(self.config, config)
        self.middle.reload(config)
        self.media.reload(config)
        self.media.connect(config, self.federation.outbound.open_url)
        # Clients were told this key, and push servers know it: it is no option.
        await self.irc.reload(replace(_irc_options(config), vapid=self.irc.options.vapid))
        await self.xmpp.reload(_xmpp_options(config))
        log.info("config.reloaded")
        return told

    async def stop(self) -> None:
        """Drain: nothing new, tell clients, write what is queued, close."""
        for server in self._servers:
            server.close()
        for listener in self._proxied:
            await listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.matrix.drain()
        if self.web is not None:
            self.web.drain()
        for front in self._fronts:
            await front.close(GRACE_S)
        await self.irc.drain()
        await self.xmpp.drain()
        await self.matrix.key_questions.close()
        await self.pushing.close()
        if self.matrix.bridges is not None:
            await self.matrix.bridges.close()
        await self.service_client.close()
        await self.traffic.stop()
        await self.media.close()
        await self.federation.close()
        await self.middle.close()
        self._folder.close()


def _parts(address: str) -> tuple[str, int]:
    parts = split_address(address)
    assert parts is not None, "the configuration was checked"
    return parts


def _links_to_xmpp(config: Config) -> bool:
    """Whether other XMPP servers are spoken to. docs/mapping.md 1.6: an XMPP domain is a DNS name without a port."""
    return bool(config.listen.s2s or config.listen.s2s_tls) and _is_dns_name(config.server.name)


def _components(config: Config) -> list[Component]:
    made = config.xmpp.component if _is_dns_name(config.server.name) else ()
    return [Component(prepare_domain(one.name), one.secret, one.title or one.name) for one in made]


def _speaks_xmpp(config: Config) -> bool:
    return _is_dns_name(config.server.name) and bool(config.listen.xmpp or config.listen.xmpp_tls)


def _is_dns_name(name: str) -> bool:
    return ":" not in name and not name.replace(".", "").isdigit()


def _behind_proxy(make: MakeClient, *, tls: bool) -> Callable[[Source], asyncio.Protocol]:
    def made(source: Source) -> asyncio.Protocol:
        return make(secure=tls or source.secure, address=source.address, offloaded=not tls and source.secure)

    return made


def _layered_behind_proxy(
    make: Callable[[Source], asyncio.Protocol], tls: ClientTls | LinkTls
) -> Callable[[Source], asyncio.Protocol]:
    return lambda source: tls.layer(partial(make, source))


def _irc_options(config: Config) -> IrcOptions:
    limits = config.limits
    return IrcOptions(
        network=config.server.name,
        motd=config.server.motd,
        sendq_bytes=limits.send_queue_bytes,
        commands_burst=limits.irc_commands_burst,
        commands_per_s=limits.irc_commands_per_s,
        connections_per_address=limits.connections_per_address,
        connections_per_network=limits.connections_per_network,
        connection_rate=Rate(limits.connections_burst, limits.connections_per_s),
        plaintext_passwords=config.listen.plaintext_passwords,
        migrating=config.accounts.migrating,
        guests=config.accounts.guests,
        admin=config.irc.admin,
        icon_url=config.irc.icon_url,
        operators=_operators(config),
        hostnames=config.irc.hostnames,
        ident=config.irc.ident,
        dnsbl=config.irc.dnsbl,
        gateways=tuple(Gateway(one.name, one.addresses, one.password) for one in config.irc.webirc),
        sts_duration_s=None if not config.irc.sts_duration_s else max(0, config.irc.sts_duration_s),
        sts_port=_parts(config.listen.irc_tls[0])[1] if config.listen.irc_tls else 0,
    )


def _operators(config: Config) -> tuple[Operator, ...]:
    classes = {one.name: one for one in config.irc.operator_class}
    operators = []
    for one in config.irc.operator:
        given = classes.get(one.operator_class)
        operator = Operator(one.account, hash=one.password or None)
        if given is not None:
            privileges = frozenset(map(Privilege, given.privileges))
            operator = replace(operator, privileges=privileges, title=given.title)
        operators.append(operator)
    return tuple(operators)


def _xmpp_options(config: Config) -> XmppOptions:
    limits = config.limits
    return XmppOptions(
        sendq_bytes=limits.send_queue_bytes,
        stanza_bytes=limits.stanza_bytes,
        stanzas_burst=limits.xmpp_stanzas_burst,
        stanzas_per_s=limits.xmpp_stanzas_per_s,
        connections_per_address=limits.connections_per_address,
        connections_per_network=limits.connections_per_network,
        connection_rate=Rate(limits.connections_burst, limits.connections_per_s),
        plaintext_passwords=config.listen.plaintext_passwords,
        migrating=config.accounts.migrating,
        scram_sha1=config.accounts.scram_sha1,
        guests=config.accounts.xmpp_guests,
        turn=_turn_servers(config),
        contacts=_contacts(config),
        status_addresses=config.xmpp.status_addresses,
        push_summary=config.xmpp.push_summary,
    )


def _contacts(config: Config) -> tuple[tuple[str, str], ...]:
    return tuple(pair for contact in config.server.contacts if (pair := split_contact(contact)) is not None)


def _providers(config: Config) -> tuple[Provider, ...]:
    return tuple(
        Provider(
            provider_id=one.id,
            name=one.name,
            issuer=one.issuer,
            oauth_client_id=one.client_id,
            oauth_client_secret=one.client_secret,
            scopes=one.scopes,
            localpart_claim=one.localpart_claim,
            display_name_claim=one.display_name_claim,
            brand=one.brand,
            icon=one.icon,
            registers=one.registers,
        )
        for one in config.sso.provider
    )


def _turn_servers(config: Config) -> TurnServers:
    servers = tuple(server for uri in config.turn.uris if (server := parse_turn_uri(uri)) is not None)
    return TurnServers(servers, config.turn.secret, config.turn.lifetime_s)


def open_app(config: Config) -> App:
    """A server on the configured folder. Raises DataDirError."""
    return App(config, DataDir(Path(config.server.data_dir)))
