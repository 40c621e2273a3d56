"""The middle of the server, wired: store, rooms, accounts, fan-out. Front ends stand around it.

Tests build it on the store in memory; app.py on the configured one.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
import structlog

from tripoint.accounts.consents import Consents
from tripoint.accounts.cross_signing import CrossSigning
from tripoint.accounts.data import AccountData
from tripoint.accounts.dehydration import Dehydration
from tripoint.accounts.device_changes import DeviceChanges
from tripoint.accounts.device_keys import DeviceKeys
from tripoint.accounts.devices import Devices
from tripoint.accounts.encryption import Encryption
from tripoint.accounts.key_backups import KeyBackups
from tripoint.accounts.nodes import Nodes
from tripoint.accounts.oauth.service import Authorization
from tripoint.accounts.passwords import Passwords
from tripoint.accounts.refusals import AccountRefusal, AccountRefused, KeyRefused
from tripoint.accounts.registration import Registration, RegistrationPolicy
from tripoint.accounts.remote_lists import RemoteLists
from tripoint.accounts.server_bans import ServerBans
from tripoint.accounts.service import Accounts
from tripoint.accounts.to_device import ToDevice
from tripoint.accounts.tokens import Tokens
from tripoint.accounts.vhosts import Vhosts
from tripoint.bus.local import LocalBus
from tripoint.config.app_services import load_app_services
from tripoint.config.load import only_loopback, registration_mode, server_name
from tripoint.config.options import Config
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.core.notices import notices_user
from tripoint.core.oauth.metadata import ACCOUNT, TERMS
from tripoint.core.signing import SigningKey
from tripoint.core.stand_ins import stand_in_address
from tripoint.core.terms import Terms, TermsText, in_words
from tripoint.core.token_bucket import Rate
from tripoint.fanout.delivery import Flusher
from tripoint.fanout.holding import Pace
from tripoint.fanout.hub import Hub
from tripoint.rooms.abroad import Abroad
from tripoint.rooms.accept import Accept
from tripoint.rooms.blocking import TYPES, Blocks
from tripoint.rooms.changes import RoomChange, UserChange
from tripoint.rooms.closing import Closing
from tripoint.rooms.commands import Leave, SendNotice, SetProfile
from tripoint.rooms.creation import Creation
from tripoint.rooms.delayed import Delayed
from tripoint.rooms.deleting import KIND as DELETING
from tripoint.rooms.deleting import Deleting
from tripoint.rooms.desk import Desk
from tripoint.rooms.direct import Direct
from tripoint.rooms.direct_invitations import DirectInvitations
from tripoint.rooms.elsewhere import Elsewhere
from tripoint.rooms.entering import Entering
from tripoint.rooms.entry import Entry
from tripoint.rooms.ephemeral import Passing, Receipts, Typing
from tripoint.rooms.erasing import KIND as ERASING
from tripoint.rooms.erasing import Erasing
from tripoint.rooms.following import Following
from tripoint.rooms.foreigners import Departures
from tripoint.rooms.indexing import Indexing
from tripoint.rooms.inspection import Inspection
from tripoint.rooms.interest import Interest
from tripoint.rooms.invitations import Invitations
from tripoint.rooms.jobs import Jobs
from tripoint.rooms.keeping import Keeping
from tripoint.rooms.limits import Limits
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.masks import Masks
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.messages import Messages
from tripoint.rooms.name_table import StoredNames
from tripoint.rooms.naming import Names
from tripoint.rooms.network_rooms import NetworkRooms
from tripoint.rooms.outliers import OutlierJudge
from tripoint.rooms.outside import Outside
from tripoint.rooms.own_limits import OwnLimits
from tripoint.rooms.policy import Policy
from tripoint.rooms.policy_lists import PolicyLists
from tripoint.rooms.presence import PresenceBoard
from tripoint.rooms.profiles import Profiles
from tripoint.rooms.purging import KIND as PURGING
from tripoint.rooms.purging import Purging
from tripoint.rooms.pushing import Pushing
from tripoint.rooms.reader import Reader
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import RemoteDoor
from tripoint.rooms.remote_writer import RemoteWriter
from tripoint.rooms.removal import Removal
from tripoint.rooms.reports import Reports
from tripoint.rooms.resident import Resident
from tripoint.rooms.room_passwords import RoomPasswords
from tripoint.rooms.server_lists import ServerLists
from tripoint.rooms.server_notices import ServerNotices
from tripoint.rooms.service import Service
from tripoint.rooms.service_log import ServiceLog
from tripoint.rooms.serving import Serving
from tripoint.rooms.showing_out import ShowingOut
from tripoint.rooms.state_groups import StateGroups
from tripoint.rooms.sticky import StickyBoard
from tripoint.rooms.sweeping import Sweeping
from tripoint.rooms.third_party_invites import ThirdPartyInvites
from tripoint.rooms.transaction import Signer
from tripoint.rooms.turns import Turns
from tripoint.rooms.unfailing import Unfailing
from tripoint.rooms.unread import Unreads
from tripoint.rooms.upgrading import Upgrading
from tripoint.rooms.warden import Warden
from tripoint.rooms.writer import Writer
from tripoint.store.interface import SearchIndex, Store, StoreError
from tripoint.store.search import SqliteSearch
from tripoint.store.stream import POSITION_FLOOR, Stream

log = structlog.get_logger("tripoint")


def clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Middle:
    """What front ends are given."""

    store: Store
    stream: Stream
    writer: Writer
    remote_writer: RemoteWriter
    turns: Turns
    monotonic: Callable[[], float]
    hub: Hub
    pace: Pace
    flusher: Flusher
    service: Service
    reader: Reader
    accounts: Accounts
    nodes: Nodes
    presence: PresenceBoard
    name_table: StoredNames
    creation: Creation
    loaded: LoadedRooms
    passwords: Passwords
    accept: Accept
    outliers: OutlierJudge
    entering: Entering
    elsewhere: Elsewhere
    invitations: Invitations
    third_party: ThirdPartyInvites
    resident: Resident
    serving: Serving
    door: RemoteDoor
    registration: Registration
    limits: Limits
    warden: Warden
    departures: Departures
    blocks: Blocks
    policy_lists: PolicyLists
    server_lists: ServerLists
    delayed: Delayed
    upgrading: Upgrading
    following: Following
    direct_invitations: DirectInvitations
    indexing: Indexing
    sweeping: Sweeping
    sticky: StickyBoard
    unfailing: Unfailing
    encryption: Encryption
    pushing: Pushing
    oauth: Authorization
    showing_out: ShowingOut
    desk: Desk
    service_log: ServiceLog

    def reload(self, config: Config) -> None:
        """Take up changed limits and registration."""
        self.registration.change(_registration(config))
        self.limits.change(*_rates(config))
        self.passwords.change_rate(_failures(config))
        self.server_lists.lists = _lists(config)

    async def close(self) -> None:
        """End what is asked of other servers, write what is queued, close the store."""
        await self.desk.jobs.close()
        await self.showing_out.close()
        await self.warden.close()
        await self.departures.close()
        await self.policy_lists.close()
        await self.sweeping.close()
        await self.unfailing.close()
        await self.direct_invitations.close()
        await self.following.close()
        await self.upgrading.close()
        await self.elsewhere.close()
        await self.indexing.close()
        await self.store.close()
        self.passwords.close()


def report_bug(where: str, error: BaseException) -> None:
    log.error(where, exc_info=error)


async def build_middle(
    config: Config,
    store: Store,
    key: SigningKey,
    *,
    secret: bytes,
    index_of_words: SearchIndex | None = None,
    end_guests: bool = True,
    clock: Callable[[], int] = clock_ms,
    monotonic: Callable[[], float] = time.monotonic,
) -> Middle:
    """Wire the middle and start it.

    `secret`: 32 bytes of this server's own, the same at every start. `index_of_words` None: in memory. `end_guests`:
    guests that a stopped server left behind are ended; not where a server may be running beside this process.
    """
    server = server_name(config)
    loop = asyncio.get_running_loop()
    position, group, room_key = await store.load_maxima()
    position = max(position, int(await store.load_meta(POSITION_FLOOR) or 0))
    stream = Stream(store, position)
    hub = Hub(report_bug)
    pace = Pace(asyncio.get_running_loop(), stream.busy)
    stream.on_settled = pace.settled
    room_bus: LocalBus[RoomChange] = LocalBus(lambda error: report_bug("bus.room", error))
    user_bus: LocalBus[UserChange] = LocalBus(lambda error: report_bug("bus.user", error))
    room_bus.subscribe(hub.room_changed)

    limits = config.limits
    passwords = Passwords(
        store,
        stream,
        secret=secret,
        iterations=config.accounts.scram_iterations,
        scram_sha1=config.accounts.scram_sha1,
        failures=_failures(config),
        clock_s=monotonic,
    )
    registration = Registration(_registration(config), monotonic)
    device_changes = DeviceChanges(store, stream, user_bus)
    device_keys = DeviceKeys(store, stream, device_changes, user_bus)
    tokens = Tokens(store, stream, clock, config.accounts.token_life_s * 1000)
    devices = Devices(store, stream, user_bus, clock, tokens, device_keys, device_changes)
    to_device = ToDevice(server, store, stream, user_bus, clock)
    encryption = Encryption(
        device_keys,
        CrossSigning(store, device_keys, device_changes),
        to_device,
        KeyBackups(store, stream),
        Dehydration(store, devices, device_keys, device_changes, to_device),
        RemoteLists(store, stream, user_bus),
        store,
    )
    accounts = Accounts(
        server,
        store,
        stream,
        registration,
        passwords,
        devices,
        AccountData(store, stream, user_bus),
        ServerBans(store, stream, clock),
        Vhosts(server, store, stream),
        clock,
        secret,
        load_app_services(config.matrix.app_services, server),
    )

    blocks = Blocks(accounts.set_account_data, server)
    for kind in TYPES:
        for stored in await store.load_account_data_of_type(kind):
            blocks.take(stored.user_id, kind, orjson.loads(stored.content))
    user_bus.subscribe(blocks.user_changed)
    user_bus.subscribe(hub.user_changed)
    index = MembershipIndex(store, server, limits.rooms_per_account)
    signer = Signer(server, key, clock)
    turns, door = Turns(), RemoteDoor()
    writer = Writer(stream, StateGroups(group), index, room_bus, user_bus, signer, room_keys=room_key, turns=turns)
    loaded = LoadedRooms(store, hub.is_watched, limits.rooms_in_memory)
    people = People(
        accounts.is_local_user,
        accounts.is_guest,
        accounts.guest_room_wait_s,
        accounts.profile,
        accounts.mark_direct,
        accounts.stored_profile,
        blocks.refuses_invites,
        accounts.is_suspended,
        accounts.is_shadow_banned,
        accounts.stand_in if config.listen.s2s or config.listen.s2s_tls or config.xmpp.component else None,
    )
    remote_writer = RemoteWriter(writer, index)
    accept = Accept(loaded, remote_writer, store, turns)
    writer.policy = accept.policy = Policy(door)
    outliers = OutlierJudge(writer, store)
    outside = Outside(loaded, writer, index, store)
    entering = Entering(loaded, writer, remote_writer, outliers, store)
    elsewhere = Elsewhere(loaded, writer, accept, entering, outside, door, turns)
    room_passwords = RoomPasswords(loaded, writer, store)
    entry = Entry(server, index, people.is_guest, room_passwords, loaded.find)
    membership = Membership(loaded, writer, people, index, elsewhere, entry)
    third_party = ThirdPartyInvites(server, loaded, writer, membership, people, door)
    messages = Messages(loaded, writer, store, membership, blocks, people, room_bus)
    names = Names(loaded, writer, store, room_bus, accounts.app_services.may_name)

    def mint() -> str:
        return secrets.token_urlsafe(24)[:18].replace("-", "a").replace("_", "b")

    creation = Creation(
        loaded,
        writer,
        store,
        people,
        names,
        index,
        elsewhere,
        default_version=config.server.default_room_version,
        mint=mint,
    )
    typing = Typing(loaded, room_bus, clock, loop.call_later)
    receipts = Receipts(loaded, writer, store, room_bus)
    presence = PresenceBoard(user_bus, clock)
    room_limits = Limits(*_rates(config), monotonic, accounts.app_services.is_unlimited)
    closing = Closing(loaded, writer, store, room_bus)
    await closing.start()
    upgrading = Upgrading(
        loaded,
        writer,
        store,
        people,
        elsewhere,
        room_bus,
        is_on_a_view=presence.is_on_a_view,
        turns=turns,
        mint=mint,
    )
    following = Following(
        server,
        loaded,
        writer,
        store,
        membership,
        entry,
        elsewhere,
        room_bus,
        user_bus,
        is_on_a_view=presence.is_on_a_view,
        is_closed=closing.is_closed,
        keep_along=_keeper(accounts),
        clock_s=monotonic,
    )
    direct_invitations = DirectInvitations(
        server,
        loaded,
        membership,
        people,
        blocks,
        # Nobody else would accept for who stands for somebody of another XMPP server.
        lambda user_id: (
            stand_in_address(user_id, server) is not None
            or presence.is_on_a_view(user_id)
            or accounts.pushers.on_a_view(user_id)
        ),
    )
    hub.watch_users(direct_invitations.user_changed)
    hub.watch_all_rooms(following.room_changed, messages=False)
    name_table = StoredNames(store, stream, _name_lost)
    policy_lists = PolicyLists(server, loaded, messages.put_state, membership.ban, name_table)
    await policy_lists.start()
    entry.listed_against = policy_lists.against
    server_lists = ServerLists(server, policy_lists.rules_of, _is_admin(accounts))
    server_lists.lists = _lists(config)
    membership.server_lists = creation.server_lists = server_lists
    hub.watch_all_rooms(policy_lists.room_changed, messages=False)
    hub.watch_users(following.user_changed)
    network_rooms = NetworkRooms(loaded, writer, store)
    service = Service(
        server,
        loaded,
        membership=membership,
        messages=messages,
        passwords=room_passwords,
        closing=closing,
        blocks=blocks,
        keeping=Keeping(loaded, writer, people.is_guest),
        policy_lists=policy_lists,
        masks=Masks(loaded, messages.put_state, server),
        creation=creation,
        direct=Direct(loaded, store, creation, membership, people, index, blocks),
        names=names,
        network_rooms=network_rooms,
        typing=typing,
        passing=Passing(loaded, room_bus),
        receipts=receipts,
        profiles=Profiles(loaded, writer, people, index, user_bus, accounts.profile_changed),
        removal=Removal(loaded, writer, index, room_bus),
        upgrading=upgrading,
        following=following,
        direct_invitations=direct_invitations,
        notices=ServerNotices(
            server, loaded, store, creation, membership, messages, people, _tagger(accounts)
        ),
        third_party=third_party,
        reports=Reports(loaded, writer, store, people, user_bus),
        people=people,
        limits=room_limits,
    )
    indexing = Indexing(store, stream, index_of_words if index_of_words is not None else SqliteSearch(None))
    await indexing.start()
    hub.watch_all_rooms(indexing.room_changed)
    sticky = StickyBoard(store, clock)
    await sticky.start()
    hub.watch_all_rooms(sticky.room_changed)
    unfailing = Unfailing(store, accept.unfail, clock, report_bug)
    await unfailing.start()
    hub.watch_all_rooms(unfailing.room_changed, messages=False)
    unreads = Unreads(loaded, store, blocks, accounts.push_rules.of)
    hub.watch_all_rooms(unreads.room_changed, messages=False)
    hub.watch_users(unreads.user_changed)
    abroad = messages.abroad = Abroad(door, elsewhere, monotonic)
    reader = Reader(
        loaded,
        store,
        index,
        messages,
        names,
        typing,
        receipts,
        presence,
        accounts.stored_profile,
        lambda: stream.committed,
        abroad,
        blocks,
        indexing,
        unreads,
        sticky,
        network_rooms,
    )
    interest = Interest(loaded, store, blocks)
    if accounts.app_services.all:
        hub.watch_all_rooms(interest.room_changed)
    accept.soft_failed = unfailing.failed
    delayed = Delayed(store, stream, service.do, clock, secret)
    await delayed.start()
    accounts.leave_rooms = _leaver(service, index.load, index.unload)
    accounts.rename = _renamer(service)
    accounts.greetings.tell = _welcomer(service, server)
    nodes = Nodes(store, stream, user_bus, clock)
    accounts.unpublish = nodes.drop_all
    accounts.drop_keys = _key_dropper(encryption)
    serving = Serving(loaded, store)
    sweeping = Sweeping(loaded, writer, store, room_bus, report_bug)
    hub.watch_all_rooms(sweeping.room_changed, messages=False)
    showing_out = ShowingOut(loaded, people.is_guest, membership.leave)
    hub.watch_all_rooms(showing_out.room_changed, messages=False)
    warden = Warden(server, loaded, membership.ban)
    hub.watch_all_rooms(warden.room_changed, messages=False)
    departures = Departures(server, loaded, service.do)
    hub.watch_all_rooms(departures.room_changed, messages=False)
    erasing = Erasing(server, loaded, store, service.do_without_limits)
    accounts.erase = _eraser(erasing, index.load)
    deleting = Deleting(server, loaded, writer, store, index, closing, room_bus, service.do_without_limits)
    purging = Purging(server, loaded, writer, store)
    workers = {ERASING: erasing.work, DELETING: deleting.work, PURGING: purging.work}
    jobs = Jobs(store, writer, workers, report_bug)
    own_limits = OwnLimits(store, writer, room_limits)
    await own_limits.start()
    oauth = Authorization(store, stream, accounts, config.server.public_url, clock)
    accounts.contacts.base = lambda: oauth.base
    if config.accounts.terms_for_all:
        accounts.consents.of_all = True
        service.check_terms = _terms_check(accounts.consents, lambda: oauth.base)
    await accounts.start(end_guests=end_guests)
    await accounts.pushers.start()
    await sweeping.start()
    if end_guests:
        await jobs.start()
    invitations = Invitations(loaded, writer, accept, outside, people, turns, closing.is_closed)
    resident = Resident(loaded, writer, accept, serving)
    invitations.server_lists = resident.server_lists = server_lists
    return Middle(
        store,
        stream,
        writer,
        remote_writer,
        turns,
        monotonic,
        hub,
        pace,
        Flusher(pace),
        service,
        reader,
        accounts,
        nodes,
        presence,
        name_table,
        creation,
        loaded,
        passwords,
        accept,
        outliers,
        entering,
        elsewhere,
        invitations,
        third_party,
        resident,
        serving,
        door,
        registration,
        room_limits,
        warden,
        departures,
        blocks,
        policy_lists,
        server_lists,
        delayed,
        upgrading,
        following,
        direct_invitations,
        indexing,
        sweeping,
        sticky,
        unfailing,
        encryption,
        Pushing(loaded, store, stream, unreads, blocks),
        oauth,
        showing_out,
        Desk(Inspection(server, loaded, store, index), jobs, own_limits, closing, deleting, purging),
        ServiceLog(loaded, store, stream, interest, reader.whole_item),
    )


def _hourly(times: int) -> Rate:
    """So many at once, and so many an hour; 0: any number."""
    return Rate(float(times), times / 3600)


def _registration(config: Config) -> RegistrationPolicy:
    """How accounts come to be."""
    limits, accounts = config.limits, config.accounts
    # Where nobody else can come from, the limits would only meet whoever tries the server out.
    alone = only_loopback(config)
    return RegistrationPolicy(
        mode=registration_mode(config),
        guests=accounts.guests,
        matrix_guests=accounts.matrix_guests,
        guests_per_address=0 if alone else accounts.guests_per_address,
        rate=Rate(limits.registrations_burst, limits.registrations_per_s),
        guest_rate=_hourly(0 if alone else accounts.guests_per_hour),
        guest_room_rate=_hourly(0 if alone else accounts.guest_rooms_per_hour),
        email_required=accounts.email_required,
        terms=tuple(
            Terms(one.id, one.version, tuple(TermsText(text.language, text.name, text.url) for text in one.text))
            for one in accounts.terms
        ),
    )


def _terms_check(consents: Consents, base: Callable[[], str]) -> Callable[[UserId], Awaitable[None]]:
    async def check(user_id: UserId) -> None:
        wanted = await consents.lacking(user_id)
        if wanted:
            page = f"{base()}{ACCOUNT}?action={TERMS}"
            text = f"Read and accept first: {in_words(wanted)}. That is done at {page}"
            raise Refused(Refusal.TERMS_NOT_ACCEPTED, text, where=page)

    return check


def _lists(config: Config) -> list[RoomId]:
    return [RoomId(room_id) for room_id in config.federation.policy_lists]


def _is_admin(accounts: Accounts) -> Callable[[UserId], Awaitable[bool]]:
    async def is_admin(user_id: UserId) -> bool:
        account = await accounts.account(user_id)
        return account is not None and account.admin

    return is_admin


def _rates(config: Config) -> tuple[Rate, Rate, Rate]:
    """What is said, what changes a room, what fills it."""
    limits = config.limits
    return (
        Rate(limits.events_burst, limits.events_per_s),
        Rate(limits.state_burst, limits.state_per_s),
        Rate(limits.membership_burst, limits.membership_per_s),
    )


def _failures(config: Config) -> Rate:
    return Rate(config.limits.login_failures_burst, config.limits.login_failures_per_s)


def _name_lost(error: StoreError) -> None:
    log.warning("names.not_stored", error=str(error))


def _welcomer(service: Service, server: ServerName) -> Callable[[UserId, str], Awaitable[None]]:
    async def welcome(user_id: UserId, text: str) -> None:
        try:
            await service.do_without_limits(SendNotice(actor=notices_user(server), target=user_id, text=text))
        except Refused as refused:
            # The account is there all the same.
            log.warning("accounts.could_not_welcome", refusal=refused.refusal.name)

    return welcome


def _leaver(
    service: Service,
    memberships: Callable[[UserId], Awaitable[Mapping[RoomId, tuple[str, int]]]],
    unload: Callable[[UserId], None],
) -> Callable[[UserId, str | None], Awaitable[None]]:
    async def leave_rooms(user_id: UserId, reason: str | None) -> None:
        for room_id, (membership, _) in list((await memberships(user_id)).items()):
            if membership in ("join", "invite", "knock"):
                try:
                    await service.do(Leave(actor=user_id, room_id=room_id, reason=reason))
                except Refused as refused:
                    log.warning("accounts.could_not_leave", room_id=room_id, refusal=refused.refusal.name)
        unload(user_id)

    return leave_rooms


def _eraser(
    erasing: Erasing, memberships: Callable[[UserId], Awaitable[Mapping[RoomId, tuple[str, int]]]]
) -> Callable[[UserId], Awaitable[None]]:
    async def erase(user_id: UserId) -> None:
        found = await memberships(user_id)
        inside = [room_id for room_id, (membership, _) in found.items() if membership == "join"]
        try:
            await erasing.everywhere(user_id, inside)
        except Refused as refused:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from refused

    return erase


def _keeper(accounts: Accounts) -> Callable[[UserId, RoomId, RoomId], Awaitable[None]]:
    async def keep_along(user_id: UserId, old: RoomId, new: RoomId) -> None:
        try:
            await accounts.keep_along(user_id, old, new)
        except AccountRefused as refused:
            raise Refused(Refusal.SERVER_BUSY, refused.text) from refused

    return keep_along


def _tagger(accounts: Accounts) -> Callable[[UserId, RoomId, str], Awaitable[None]]:
    async def put_tag(user_id: UserId, room_id: RoomId, tag: str) -> None:
        try:
            await accounts.tags.put(user_id, room_id, tag, {}, limit=1)
        except AccountRefused as refused:
            raise Refused(Refusal.SERVER_BUSY, refused.text) from refused

    return put_tag


def _key_dropper(encryption: Encryption) -> Callable[[UserId], Awaitable[None]]:
    async def drop_keys(user_id: UserId) -> None:
        try:
            await encryption.signing.drop(user_id)
        except KeyRefused as refused:
            raise AccountRefused(AccountRefusal.SERVER_BUSY) from refused
        encryption.backups.forget(user_id)

    return drop_keys


def _renamer(service: Service) -> Callable[[UserId, str], Awaitable[None]]:
    async def rename(user_id: UserId, nick: str) -> None:
        await service.do(SetProfile(actor=user_id, field="displayname", value=nick))

    return rename
