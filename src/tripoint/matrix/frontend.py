"""The Matrix front end as runtime sees it: every endpoint, joined to the middle by its ports."""

import secrets
import time
from collections.abc import Callable, Sequence

from tripoint.accounts.encryption import Encryption
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.ports import AccountService, ServiceDesk
from tripoint.core.ids import ServerName
from tripoint.core.notices import notices_user
from tripoint.core.turn import NO_SERVERS, TurnServers
from tripoint.fanout.holding import Pace
from tripoint.fanout.hub import Hub
from tripoint.matrix.admin.devices import AdminDeviceEndpoints
from tripoint.matrix.admin.federation import DestinationEndpoints
from tripoint.matrix.admin.greetings import GreetingEndpoints
from tripoint.matrix.admin.media import AdminMediaEndpoints
from tripoint.matrix.admin.notices import NoticeEndpoints
from tripoint.matrix.admin.registration import SharedSecretEndpoints
from tripoint.matrix.admin.reports import ReportAdminEndpoints
from tripoint.matrix.admin.room_actions import RoomActionEndpoints
from tripoint.matrix.admin.room_history import AdminHistoryEndpoints
from tripoint.matrix.admin.rooms import AdminRoomEndpoints
from tripoint.matrix.admin.tokens import TokenEndpoints
from tripoint.matrix.admin.user_actions import UserActionEndpoints
from tripoint.matrix.admin.users import UserEndpoints
from tripoint.matrix.appservice.directory import NetworkDirectoryEndpoints
from tripoint.matrix.appservice.ping import PingEndpoints
from tripoint.matrix.appservice.services import Bridges, Means
from tripoint.matrix.client.account import AccountDataEndpoints, DeviceEndpoints, ProfileEndpoints
from tripoint.matrix.client.admin import AdminEndpoints
from tripoint.matrix.client.calls import CallEndpoints
from tripoint.matrix.client.contacts import ContactEndpoints
from tripoint.matrix.client.cross_signing import CrossSigningEndpoints
from tripoint.matrix.client.dehydrated import DehydratedDeviceEndpoints
from tripoint.matrix.client.delayed import DelayedEndpoints
from tripoint.matrix.client.device_keys import DeviceKeyEndpoints
from tripoint.matrix.client.directory import DirectoryEndpoints
from tripoint.matrix.client.ephemeral import EphemeralEndpoints
from tripoint.matrix.client.events import EventEndpoints
from tripoint.matrix.client.features import FeatureEndpoints
from tripoint.matrix.client.key_backup import KeyBackupEndpoints
from tripoint.matrix.client.login import LogInEndpoints
from tripoint.matrix.client.media import MediaEndpoints
from tripoint.matrix.client.notifications import NotificationEndpoints
from tripoint.matrix.client.pages import PageEndpoints
from tripoint.matrix.client.push_rules import PushRuleEndpoints
from tripoint.matrix.client.pushers import PusherEndpoints
from tripoint.matrix.client.registration import RegistrationEndpoints
from tripoint.matrix.client.relations import RelationEndpoints
from tripoint.matrix.client.rendezvous import RendezvousEndpoints
from tripoint.matrix.client.reports import ReportEndpoints
from tripoint.matrix.client.rooms import RoomEndpoints
from tripoint.matrix.client.search import SearchEndpoints
from tripoint.matrix.client.server import ServerInfo
from tripoint.matrix.client.services import ServiceEndpoints
from tripoint.matrix.client.sliding_sync import SlidingSyncEndpoints
from tripoint.matrix.client.spaces import SpaceClientEndpoints
from tripoint.matrix.client.sync import SyncEndpoints
from tripoint.matrix.client.sync_socket import SyncSocketEndpoints
from tripoint.matrix.client.tags import TagEndpoints
from tripoint.matrix.client.third_party import ThirdPartyEndpoints
from tripoint.matrix.client.threads import ThreadUpdateEndpoints
from tripoint.matrix.client.to_device import ToDeviceEndpoints
from tripoint.matrix.client.user_directory import UserDirectoryEndpoints
from tripoint.matrix.federation.asking_keys import KeyQuestions
from tripoint.matrix.federation.devices import DeviceListEndpoints
from tripoint.matrix.federation.exchanging import ExchangeEndpoints
from tripoint.matrix.federation.intake import TransactionEndpoints
from tripoint.matrix.federation.inviting import InvitingEndpoints
from tripoint.matrix.federation.joining import JoiningEndpoints
from tripoint.matrix.federation.media import FileServingEndpoints
from tripoint.matrix.federation.query import QueryEndpoints
from tripoint.matrix.federation.reading import ReadingEndpoints
from tripoint.matrix.federation.server import FederationInfo
from tripoint.matrix.federation.spaces import SpaceEndpoints
from tripoint.matrix.federation.trust import Federated
from tripoint.matrix.keys.notary import NotaryEndpoints
from tripoint.matrix.keys.own import KeyEndpoints
from tripoint.matrix.listener import Fallback, MatrixListener
from tripoint.matrix.openid import OpenIdEndpoints
from tripoint.matrix.presence import DevicePresence
from tripoint.matrix.refusals import of_room
from tripoint.matrix.registry import Router
from tripoint.matrix.render import Renderer
from tripoint.matrix.sliding.bumps import Bumps
from tripoint.matrix.sliding.extensions import ExtensionAnswers
from tripoint.matrix.sliding.places import Places
from tripoint.matrix.sliding.rooms import Results
from tripoint.matrix.sliding.server import SlidingServer
from tripoint.matrix.sliding.threads import Threads
from tripoint.matrix.sliding.words import Words
from tripoint.matrix.sync.devices import DeviceNews
from tripoint.matrix.sync.ephemera import Ephemera
from tripoint.matrix.sync.rooms import RoomChunks
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.waiting import Waiters
from tripoint.matrix.sync_socket.session import SyncSockets
from tripoint.matrix.uia import UserInteractive
from tripoint.media.ports import Media
from tripoint.rooms.delayed import Delayed
from tripoint.rooms.desk import Desk
from tripoint.rooms.ports import PresenceService, RoomReader, RoomService
from tripoint.rooms.readers import ReadersOf

# Every class that declares endpoints: docs/specs.toml is checked against them.
ENDPOINT_CLASSES = (
    ServerInfo,
    LogInEndpoints,
    RegistrationEndpoints,
    ContactEndpoints,
    RendezvousEndpoints,
    PageEndpoints,
    RoomEndpoints,
    EventEndpoints,
    DirectoryEndpoints,
    ProfileEndpoints,
    AccountDataEndpoints,
    PushRuleEndpoints,
    NotificationEndpoints,
    PusherEndpoints,
    TagEndpoints,
    DeviceEndpoints,
    EphemeralEndpoints,
    SyncEndpoints,
    SlidingSyncEndpoints,
    ThreadUpdateEndpoints,
    SyncSocketEndpoints,
    MediaEndpoints,
    SearchEndpoints,
    ReportEndpoints,
    AdminEndpoints,
    UserEndpoints,
    UserActionEndpoints,
    AdminDeviceEndpoints,
    SharedSecretEndpoints,
    TokenEndpoints,
    AdminRoomEndpoints,
    AdminHistoryEndpoints,
    RoomActionEndpoints,
    ReportAdminEndpoints,
    NoticeEndpoints,
    GreetingEndpoints,
    AdminMediaEndpoints,
    DestinationEndpoints,
    ServiceEndpoints,
    RelationEndpoints,
    UserDirectoryEndpoints,
    FeatureEndpoints,
    DelayedEndpoints,
    CallEndpoints,
    ThirdPartyEndpoints,
    DeviceKeyEndpoints,
    CrossSigningEndpoints,
    ToDeviceEndpoints,
    KeyBackupEndpoints,
    DehydratedDeviceEndpoints,
    PingEndpoints,
    NetworkDirectoryEndpoints,
    FederationInfo,
    KeyEndpoints,
    NotaryEndpoints,
    ReadingEndpoints,
    JoiningEndpoints,
    ExchangeEndpoints,
    InvitingEndpoints,
    QueryEndpoints,
    DeviceListEndpoints,
    OpenIdEndpoints,
    SpaceClientEndpoints,
    SpaceEndpoints,
    TransactionEndpoints,
    FileServingEndpoints,
)


class MatrixFrontEnd:
    """All of Matrix in this process. `listener.handle` answers requests; `sweep` is called every few seconds.

    `now_ms` is the wall clock, `secret` 32 bytes of this server's own. Without `federated` other servers find
    nothing here; without `bridging` application services hear nothing. `delegated`: what .well-known/matrix/server
    says; `contacts`: what for, and an address; `shared_secret`: who knows it makes accounts.
    """

    def __init__(
        self,
        server: ServerName,
        rooms: RoomService,
        reader: RoomReader,
        accounts: AccountService,
        presence: PresenceService,
        hub: Hub,
        pace: Pace,
        media: Media,
        encryption: Encryption,
        oauth: Authorization,
        delayed: Delayed,
        administration: Desk,
        *,
        now_ms: Callable[[], int],
        public_url: str,
        default_room_version: str,
        secret: bytes,
        plaintext_passwords: bool,
        fallback: Fallback | None = None,
        federated: Federated | None = None,
        desk: ServiceDesk | None = None,
        views: Sequence[ReadersOf] = (),
        delegated: str = "",
        contacts: Sequence[tuple[str, str]] = (),
        turn: TurnServers = NO_SERVERS,
        livekit: Sequence[str] = (),
        shared_secret: str = "",
        bridging: Means | None = None,
    ) -> None:
        renderer = Renderer(reader.sticky_left_ms, now_ms)
        ephemera = Ephemera(reader, now_ms)
        chunks = RoomChunks(reader, renderer)
        news = DeviceNews(server, reader, encryption)
        waiters = Waiters(pace)
        sync = SyncServer(reader, accounts, chunks, renderer, ephemera, news, waiters, secrets.token_hex(4))
        sync.heard.delay_of = delayed.delay_of
        delayed.code_of = lambda refused: of_room(refused).errcode
        self.later = later = DelayedEndpoints(delayed, reader, now_ms, time.monotonic)
        client = None if federated is None else federated.trust.client
        self.key_questions = KeyQuestions(server, encryption, reader, client)
        encryption.signing.foreign = self.key_questions.master_key
        hub.watch_all_rooms(sync.room_changed)
        hub.watch_users(sync.user_changed)
        words = Words(chunks, renderer, sync.heard.own)
        places, bumps = Places(reader, accounts), Bumps(reader)
        threads = Threads(reader, renderer, sync.heard.own)
        hub.watch_all_rooms(threads.room_changed)
        sliding = SlidingServer(
            reader,
            sync,
            ephemera,
            waiters,
            places,
            bumps,
            Results(reader, chunks, words, bumps, sync.heard.departure, ephemera.receipt_at),
            ExtensionAnswers(reader, sync, ephemera, news.lists, encryption, threads, renderer),
        )
        hub.watch_all_rooms(sliding.room_changed)
        hub.watch_users(sliding.user_changed)
        self.sockets = SyncSockets(accounts)
        hub.watch_users(self.sockets.user_changed)
        # Who speaks to application services and listens to them; None: nobody is spoken to.
        self.bridges: Bridges | None = None
        if bridging is not None:
            self.bridges = Bridges(accounts.app_services, bridging, renderer, now_ms)
            if self.bridges.links:
                hub.watch_all_rooms(self.bridges.room_changed)
                hub.watch_users(self.bridges.user_changed)
        uia = UserInteractive(oauth.confirmations)
        log_in = LogInEndpoints(accounts, uia, oauth, plaintext_passwords=plaintext_passwords)
        self.presence = DevicePresence(presence, now_ms)
        router = Router()
        for module in (
            ServerInfo(
                public_url,
                default_room_version,
                contacts,
                livekit,
                lambda: accounts.contacts.is_on,
                lambda: oauth.is_on,
            ),
            log_in,
            RegistrationEndpoints(accounts, uia, log_in, _random_name),
            ContactEndpoints(accounts, log_in),
            RendezvousEndpoints(oauth, now_ms),
            PageEndpoints(oauth),
            RoomEndpoints(rooms, reader, server, accounts.bindings.trusts),
            EventEndpoints(rooms, reader, renderer, sync, later),
            later,
            DirectoryEndpoints(rooms, reader, accounts, server),
            ProfileEndpoints(rooms, reader, accounts, server),
            AccountDataEndpoints(accounts, reader),
            PushRuleEndpoints(accounts),
            NotificationEndpoints(reader, renderer),
            PusherEndpoints(accounts, reader, now_ms),
            TagEndpoints(accounts),
            DeviceEndpoints(accounts, log_in),
            EphemeralEndpoints(rooms, reader, self.presence),
            SyncEndpoints(sync, accounts, self.presence),
            SlidingSyncEndpoints(sliding, self.presence),
            ThreadUpdateEndpoints(reader, threads, sync),
            SyncSocketEndpoints(self.sockets),
            OpenIdEndpoints(server, accounts, secret, now_ms),
            SpaceClientEndpoints(reader),
            MediaEndpoints(media, server),
            SearchEndpoints(reader, renderer, sync),
            ReportEndpoints(rooms),
            AdminEndpoints(accounts, server),
            UserEndpoints(accounts, rooms, server),
            UserActionEndpoints(accounts, reader, administration, server),
            AdminDeviceEndpoints(accounts, server),
            SharedSecretEndpoints(accounts, rooms, server, shared_secret, time.monotonic),
            TokenEndpoints(accounts, now_ms),
            AdminRoomEndpoints(accounts, reader, renderer, administration, server),
            AdminHistoryEndpoints(reader, renderer, administration, sync.start),
            RoomActionEndpoints(accounts, rooms, reader, administration, server),
            ReportAdminEndpoints(accounts, reader, renderer, administration),
            NoticeEndpoints(accounts, rooms, server),
            GreetingEndpoints(accounts),
            AdminMediaEndpoints(media.desk, administration, server, now_ms),
            ServiceEndpoints(desk),
            FeatureEndpoints(reader, views),
            RelationEndpoints(reader, renderer, sync),
            UserDirectoryEndpoints(reader),
            CallEndpoints(turn, now_ms, livekit),
            ThirdPartyEndpoints(None if self.bridges is None else self.bridges.networks),
            NetworkDirectoryEndpoints(rooms),
            DeviceKeyEndpoints(encryption, self.key_questions, news.lists, sync.start),
            CrossSigningEndpoints(encryption, log_in, server),
            ToDeviceEndpoints(encryption),
            KeyBackupEndpoints(encryption),
            DehydratedDeviceEndpoints(encryption, reader, now_ms),
        ):
            router.add(module)
        if self.bridges is not None:
            router.add(PingEndpoints(self.bridges))
        if federated is not None:
            trust = federated.trust
            for for_servers in (
                FederationInfo(delegated),
                KeyEndpoints(trust.own),
                NotaryEndpoints(trust.own, trust.ring),
                ReadingEndpoints(federated.serving, server, now_ms),
                JoiningEndpoints(federated.resident, trust.check),
                ExchangeEndpoints(federated.third_party, accounts, server, time.monotonic),
                InvitingEndpoints(federated.invitations, trust.check, server),
                QueryEndpoints(reader, accounts, server),
                DeviceListEndpoints(accounts, encryption, self.key_questions, server),
                SpaceEndpoints(reader),
                FileServingEndpoints(media, server),
                DestinationEndpoints(federated.sender, administration, server),
                federated.transactions,
            ):
                router.add(for_servers)
        gate = None if federated is None else federated.trust.gate
        self.listener = MatrixListener(router, accounts, fallback, gate, notices_user(server))
        if self.bridges is not None:
            self.listener.heard_from = self.bridges.heard_from
        self.sockets.handle = self.listener.handle
        self.sync = sync
        self.waiters = waiters

    def sweep(self) -> None:
        """End the presence of devices that stopped syncing."""
        self.presence.sweep()

    def drain(self) -> None:
        """Answer whoever is waiting, so that connections can close."""
        self.waiters.wake_everybody()
        self.sockets.close()


def _random_name() -> str:
    """A localpart for a client that registers without naming one."""
    return "u" + secrets.token_hex(6)
