"""Accounts: registration, log-in, the end of an account. Implements accounts.ports.AccountService.

spec: docs/mapping.md 1.2, 1.9, 18; Matrix client-server "Account registration and management"
Devices and tokens are devices.py, passwords passwords.py, account data and rosters data.py, guests guests.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
from msgspec.structs import replace

from tripoint.accounts.administration import Administration, Erase, account_of
from tripoint.accounts.app_passwords import AppPasswords
from tripoint.accounts.bindings import Bindings
from tripoint.accounts.certificates import Certificates
from tripoint.accounts.commit import commit
from tripoint.accounts.consents import Consents
from tripoint.accounts.contacts import Contacts
from tripoint.accounts.data import AccountData
from tripoint.accounts.devices import Devices
from tripoint.accounts.fast_tokens import FastTokens
from tripoint.accounts.greetings import Greetings
from tripoint.accounts.guests import GUEST_NAME, Guests
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.leaving import Leaving
from tripoint.accounts.login_tokens import LIFE_MS, LoginTokens
from tripoint.accounts.passwords import Passwords
from tripoint.accounts.ports import Account, Device, LetIn, LogIn, RosterItem, TokenOwner
from tripoint.accounts.push_rules import AccountPushRules
from tripoint.accounts.pushers import EMAIL, Pushers
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.registration import Registration
from tripoint.accounts.registration_tokens import RegistrationTokens
from tripoint.accounts.reports import ReportDesk
from tripoint.accounts.sasl import ScramVerifier
from tripoint.accounts.server_bans import ServerBans
from tripoint.accounts.service_accounts import ServiceAccounts
from tripoint.accounts.tags import AccountTags
from tripoint.accounts.vhosts import Vhosts
from tripoint.core.app_services import NO_SERVICES, AppService, AppServices
from tripoint.core.canonical_json import JsonObject
from tripoint.core.confusables import skeleton, skeletons
from tripoint.core.ids import (
    DeviceId,
    InvalidId,
    RoomId,
    ServerName,
    UserId,
    check_new_account_name,
    make_user_id,
    server_of,
    split_user_id,
)
from tripoint.core.notices import writes_notices
from tripoint.core.profile import SHOWN, stored_value
from tripoint.core.server_bans import Visitor
from tripoint.core.stand_ins import stand_in_address, stand_in_id
from tripoint.core.terms import NOTHING_ACCEPTED, Accepted, Terms, in_words, lacking
from tripoint.core.vendor import V
from tripoint.store.contact_writes import PutAccepted, PutValidation
from tripoint.store.interface import Store
from tripoint.store.oauth_writes import DropBrowserSessions, PutIdentity
from tripoint.store.stream import Stream
from tripoint.store.writes import (
    PutAccount,
    PutProfile,
    Write,
)

log = structlog.get_logger("tripoint")

_NOBODYS = "This certificate belongs to no account here; log in otherwise, then NickServ CERT ADD makes it yours"

# Account data about a room that says nothing about single messages of it.
_KEPT_ALONG = ("m.tag", f"{V}.irc.autojoin")

LeaveRooms = Callable[[UserId, str | None], Awaitable[None]]
Rename = Callable[[UserId, str], Awaitable[None]]
Unpublish = Callable[[UserId], Awaitable[None]]
DropKeys = Callable[[UserId], Awaitable[None]]


class Accounts:
    """See accounts.ports.AccountService. Call start() once before anything else.

    `leave_rooms(user_id, reason)` takes a user out of every room and `rename(user_id, nick)` changes the display name
    in all of them: runtime connects them, since accounts do not write rooms. `unpublish(user_id)` takes away what a
    closed account has published (nodes.py), `drop_keys(user_id)` its keys and backups (cross_signing.py).
    """

    def __init__(
        self,
        server: ServerName,
        store: Store,
        stream: Stream,
        registration: Registration,
        passwords: Passwords,
        devices: Devices,
        data: AccountData,
        bans: ServerBans,
        vhosts: Vhosts,
        clock_ms: Callable[[], int],
        secret: bytes,
        app_services: AppServices = NO_SERVICES,
    ) -> None:
        self.server_name = server
        self.app_services = app_services
        self.leave_rooms: LeaveRooms | None = None
        self.rename: Rename | None = None
        self.unpublish: Unpublish | None = None
        self.drop_keys: DropKeys | None = None
        self.erase: Erase | None = None
        # Whether an application service that has a name for itself has made the user who bears it.
        self.ask_for_user: Callable[[UserId], Awaitable[bool]] | None = None
        self._store = store
        self._stream = stream
        self._registration = registration
        self._passwords = passwords
        self._devices = devices
        self._data = data
        self.bans = bans
        self.vhosts = vhosts
        self.push_rules = AccountPushRules(data)
        self.pushers = Pushers(store, stream)
        self.contacts = Contacts(server, store, stream, clock_ms)
        self.contacts.removed = self._address_removed
        self.consents = Consents(store, stream, clock_ms, lambda: self.terms, self._is_asked)
        self.bindings = Bindings(store, stream)
        self.leaving = Leaving(self.pushers, secret, lambda: self.contacts.base())
        self.app_passwords = AppPasswords(store, stream, passwords, clock_ms)
        self.certificates = Certificates(store, stream, clock_ms)
        self.fast_tokens = FastTokens(store, stream, partial(passwords.verifier, hash_name="sha256"), secret, clock_ms)
        self.tags = AccountTags(data)
        self.greetings = Greetings(store, stream, data)
        self.reports = ReportDesk(store, stream)
        self.registration_tokens = RegistrationTokens(store, stream, clock_ms, self._check_new_name)
        self.administration = Administration(server, store, stream, passwords, self._put)
        self._of_services = ServiceAccounts(server, app_services, self.administration, self._looks_taken)
        self._clock_ms = clock_ms
        self._login_tokens = LoginTokens(clock_ms)
        self._accounts: dict[UserId, Account] = {}
        self._profiles: dict[UserId, dict[str, str]] = {}
        self._skeletons: dict[str, str] = {}
        self._standing_in = asyncio.Lock()
        self._linking = InTurn()
        self.guests = Guests(
            server,
            store,
            stream,
            registration,
            bans,
            devices,
            clock_ms,
            is_taken=lambda folded: skeleton(folded) in self._skeletons,
            check_free=self._of_services.check_free,
            remember=self._remember_guest,
            forget=self._forget,
            leave_rooms=self._leave_rooms,
            rename=self._rename,
        )

    async def start(self, *, end_guests: bool) -> None:
        """Read the names in use and the bans; a server (`end_guests`) ends guests that it left behind when it stopped,
        and makes the users that application services are."""
        await self.bans.start()
        await self.greetings.start()
        await self.vhosts.start()
        for name in await self._store.load_account_names():
            self._skeletons[skeleton(name)] = name
        await self.registration_tokens.start()
        if end_guests:
            await self._make_senders()
        await self.guests.start(end=end_guests)

    def user_id(self, name: str) -> UserId:
        return make_user_id(name, self.server_name)

    # -- accounts

    async def registration_state(self) -> str:
        return self._registration.policy.mode

    async def registration_in_band(self) -> str:
        return "closed" if self.email_required else self._registration.policy.mode

    async def check_new_name(self, name: str) -> None:
        self._check_new_name(name)

    async def check_name(self, name: str) -> None:
        if self._registration.policy.mode == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        self._check_new_name(name)

    def _check_new_name(self, name: str, token: str | None = None) -> UserId:
        self._of_services.check_free(name)
        if self._looks_taken(name):
            raise AccountRefused(AccountRefusal.NAME_TAKEN)
        kept = self.registration_tokens.keeping(name)
        if kept is not None and kept.token != token:
            raise AccountRefused(AccountRefusal.NAME_TAKEN, "This name is kept for somebody who was invited")
        try:
            user_id = check_new_account_name(name, self.server_name)
        except InvalidId as error:
            raise AccountRefused(AccountRefusal.BAD_NAME, f"Not a name for an account: {error}") from error
        if GUEST_NAME.match(name):
            raise AccountRefused(AccountRefusal.BAD_NAME, "Names like guest-1 are given to guests")
        return user_id

    def account_like(self, name: str) -> UserId | None:
        """See ports.AccountService."""
        found = next((taken for shape in skeletons(name) if (taken := self._skeletons.get(shape)) is not None), None)
        return None if found is None else self.user_id(found)

    def _looks_taken(self, name: str) -> bool:
        return skeleton(name) in self._skeletons

    async def register_for(self, service: AppService, name: str) -> Account:
        async with self._linking(f"@{name}"):
            user_id = await self._of_services.make(service, name)
        self._skeletons.setdefault(skeleton(name), name)
        account = await self.account(user_id)
        assert account is not None, "it was just made"
        return account

    async def _make_senders(self) -> None:
        """The users as whom application services speak for themselves."""
        for service in self.app_services.all:
            if await self.account(service.sender) is None:
                await self.register_for(service, split_user_id(service.sender)[0])
            elif await self.has_password(service.sender):
                # It is not ours to take away; whoever has it speaks as the service.
                log.warning("app_service.sender_has_password", service=service.service_id, user_id=service.sender)

    async def register(
        self,
        name: str,
        password: str,
        *,
        address: str,
        registration_token: str | None = None,
        was_valid: bool = False,
        shown: PutValidation | None = None,
        accepted: Accepted = NOTHING_ACCEPTED,
    ) -> Account:
        mode = self._registration.policy.mode
        if mode == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        self._check_new_name(name, registration_token)
        self._check_accepted(accepted)
        self.bans.check(Visitor(address, (name,)))
        kept = self.registration_tokens.keeping(name)
        if mode != "token" and (kept is None or kept.token != registration_token):
            async with self._shown(name, shown, accepted) as writes:
                self._registration.take(address)
                return await self._make(name, password, admin=False, writes=writes)
        async with self.registration_tokens.turn, self._shown(name, shown, accepted) as writes:
            used = await self.registration_tokens.use(registration_token, was_valid=was_valid)
            if used.username not in (None, name):
                raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN, f"This token is for {used.username}")
            self._registration.take(address)
            account = await self._make(name, password, admin=False, writes=[*writes, used], token=registration_token)
            self.registration_tokens.used_up(used)
            return account

    @property
    def email_required(self) -> bool:
        return self._registration.policy.email_required

    @property
    def terms(self) -> Sequence[Terms]:
        return self._registration.policy.terms

    async def _is_asked(self, user_id: UserId) -> bool:
        """Whether somebody has an account of his own here: no guest, no user of a service, nobody's stand-in."""
        server = self.server_name
        if server_of(user_id) != server or stand_in_address(user_id, server) or writes_notices(user_id, server):
            return False
        account = await self.account(user_id)
        return account is not None and not account.guest and self.app_services.owner_of(user_id) is None

    def _check_accepted(self, accepted: Accepted) -> None:
        wanted = lacking(self.terms, accepted)
        if wanted:
            raise AccountRefused(AccountRefusal.TERMS_NEEDED, f"To make an account, accept first: {in_words(wanted)}")

    def _accepting(self, user_id: UserId, accepted: Accepted) -> list[Write]:
        """The writes that keep what somebody has accepted of what is asked for now."""
        now_ms = self._clock_ms()
        asked = {one.document for one in self.terms}
        return [PutAccepted(user_id, *one, now_ms) for one in accepted.items() if one[0] in asked]

    @asynccontextmanager
    async def _shown(
        self, name: str, shown: PutValidation | None, accepted: Accepted
    ) -> AsyncIterator[list[Write]]:
        """The writes that give a new account the address that its maker has shown, and keep what they have accepted,
        to be committed inside."""
        writes = self._accepting(self.user_id(name), accepted)
        if shown is not None:
            async with self.contacts.giving(shown, self.user_id(name)) as given:
                yield [*given, *writes]
        elif self.email_required:
            raise AccountRefused(AccountRefusal.EMAIL_NEEDED)
        else:
            yield writes

    async def _address_removed(self, user_id: UserId, address: str) -> None:
        """Nobody is written to any more at an address that is no account's."""
        for pusher in self.pushers.of(user_id):
            if pusher.kind == EMAIL and pusher.pushkey == address:
                await self.pushers.delete(pusher.key)

    async def register_by_identity(
        self,
        name: str,
        display_name: str,
        *,
        provider: str,
        subject: str,
        address: str,
        accepted: Accepted = NOTHING_ACCEPTED,
    ) -> Account:
        self._check_new_name(name)
        self._check_accepted(accepted)
        self.bans.check(Visitor(address, (name,)))
        self._registration.take(address)
        async with self._linking(f"{provider} {subject}"):
            if await self._store.load_identity(provider, subject) is not None:
                raise AccountRefused(AccountRefusal.NAME_TAKEN, "You have an account here already")
            link = PutIdentity(provider, subject, self.user_id(name))
            writes = [link, *self._accepting(self.user_id(name), accepted)]
            if display_name:
                writes.append(PutProfile(self.user_id(name), "displayname", display_name))
            return await self._make(name, None, admin=False, writes=writes)

    async def check_open(self, user_id: UserId, *, address: str) -> Account:
        account = await self.account(user_id)
        if account is None:
            raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
        self._check_open(account)
        self.bans.check(Visitor(address, (account.name,)))
        return account

    async def add_account(self, name: str, password: str | None, *, admin: bool) -> Account:
        """Make an account whatever the configuration says: the administrator's own way."""
        return await self._make(name, password, admin=admin, writes=[])

    async def _make(
        self,
        name: str,
        password: str | None,
        *,
        admin: bool,
        writes: Sequence[Write],
        token: str | None = None,
    ) -> Account:
        user_id = self._check_new_name(name, token)
        shape = skeleton(name)
        self._skeletons[shape] = name  # reserved while the password is hashed
        try:
            forms = () if password is None else await self._passwords.forms(user_id, password)
        except BaseException:
            self._skeletons.pop(shape, None)
            raise
        try:
            row = PutAccount(user_id, name, False, admin, False, False, self._clock_ms())
            # spec: client-server: a new user's display name is the localpart until they choose one.
            profile = PutProfile(user_id, "displayname", name)
            await commit(self._stream, [row, *forms, profile, *writes])
        except AccountRefused:
            # Not when cancelled: the commit goes on without us, and the name is taken.
            self._skeletons.pop(shape, None)
            raise
        guest = self.guests.with_nick(name)
        if guest is not None:
            # docs/mapping.md 1.9: an account registered under a guest's nick renames the guest.
            await self.guests.rename(guest, split_user_id(guest)[0])
        account = self._remember(row)
        await self.greetings.account_made(user_id)
        return account

    async def account(self, user_id: UserId) -> Account | None:
        account = self._accounts.get(user_id)
        if account is not None:
            return account
        row = await self._store.load_account(user_id)
        return None if row is None else self._remember(row)

    async def is_local_user(self, user_id: UserId) -> bool:
        account = await self.account(user_id)
        if account is None and self.ask_for_user is not None and await self.ask_for_user(user_id):
            account = await self.account(user_id)
        return account is not None and not account.deactivated

    def is_guest(self, user_id: UserId) -> bool:
        return user_id in self.guests

    def guest_room_wait_s(self, user_id: UserId) -> float:
        """How long a guest waits until it may make one more room; 0: it is counted."""
        return self._registration.take_guest_room(self.guests.network(user_id))

    async def deactivate(self, user_id: UserId, *, erase: bool = False) -> None:
        """Close an account for good: sessions end, rooms are left, credentials and profile go; the name
        stays taken."""
        row = await self._store.load_account(user_id)
        if row is None:
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS)
        closed = replace(row, deactivated=True, erased=row.erased or erase)
        gone: list[Write] = [PutProfile(user_id, field, None) for field in await self.stored_profile(user_id)]
        credentials = [*self._passwords.no_forms(user_id), *await self.contacts.none_of(user_id)]
        await commit(self._stream, [closed, *credentials, DropBrowserSessions(user_id, None)])
        self._remember(closed)
        await self._devices.drop_all(user_id, "account closed")
        if self.drop_keys is not None:
            await self.drop_keys(user_id)
        if erase and self.erase is not None:
            # Before the rooms are left: nobody takes back what he said where he is not.
            await self.erase(user_id)
        if self.leave_rooms is not None:
            await self.leave_rooms(user_id, None)
        self.push_rules.forget(user_id)
        if self.unpublish is not None:
            await self.unpublish(user_id)
        await self.bindings.unbind_all(user_id)
        await self.vhosts.drop(user_id)
        await self.certificates.drop_all(user_id)
        if gone:
            await commit(self._stream, gone)
        self._profiles.pop(user_id, None)

    async def set_locked(self, user_id: UserId, locked: bool) -> None:
        row = await self._row(user_id)
        changed = replace(row, locked=locked)
        await commit(self._stream, [changed])
        self._remember(changed)
        if locked and not row.locked:
            await self._devices.interrupt(user_id, AccountRefusal.LOCKED.value)

    async def set_suspended(self, user_id: UserId, suspended: bool) -> None:
        changed = replace(await self._row(user_id), suspended=suspended)
        await commit(self._stream, [changed])
        self._remember(changed)

    def is_suspended(self, user_id: UserId) -> bool:
        """Of an account that has logged in since the start: nobody else does anything."""
        account = self._accounts.get(user_id)
        return account is not None and account.suspended

    def is_shadow_banned(self, user_id: UserId) -> bool:
        """Of an account that has logged in since the start, as is_suspended()."""
        account = self._accounts.get(user_id)
        return account is not None and account.shadow_banned

    async def _row(self, user_id: UserId) -> PutAccount:
        row = await self._store.load_account(user_id)
        if row is None or row.deactivated:
            raise AccountRefused(AccountRefusal.NO_SUCH_ACCOUNT)
        return row

    def _put(self, row: PutAccount) -> None:
        """Somebody else has changed an account."""
        self._remember(row)
        self._profiles.pop(row.user_id, None)

    def _remember(self, row: PutAccount) -> Account:
        account = account_of(row)
        self._accounts[row.user_id] = account
        return account

    def _remember_guest(self, row: PutAccount, profile: Mapping[str, str]) -> Account:
        """One that was just made: nothing of it is to be read."""
        self._profiles[row.user_id] = dict(profile)
        return self._remember(row)

    # -- people of other XMPP servers

    async def stand_in(self, bare: str) -> Account:
        user_id = stand_in_id(bare, self.server_name)
        async with self._standing_in:
            account = await self.account(user_id)
            if account is None:
                row = PutAccount(user_id, split_user_id(user_id)[0], False, False, False, False, self._clock_ms())
                origin = stored_value(f"{V}.origin", {"proto": "xmpp", "id": bare})
                profile = (PutProfile(user_id, "displayname", bare), PutProfile(user_id, f"{V}.origin", origin))
                await commit(self._stream, [row, *profile])
                account = self._remember(row)
            return account

    # -- guests

    async def create_guest(self, nick: str, *, address: str) -> Account:
        return await self.guests.create(nick, address=address)

    async def create_numbered_guest(self, *, address: str) -> Account:
        return await self.guests.create_numbered(address=address)

    async def create_matrix_guest(self, *, address: str) -> Account:
        return await self.guests.create_on_matrix(address=address)

    async def rename_guest(self, user_id: UserId, nick: str) -> None:
        await self.guests.rename(user_id, nick)

    async def end_guest(self, user_id: UserId, reason: str | None = None) -> None:
        await self.guests.end(user_id, reason)

    async def upgrade_guest(
        self,
        user_id: UserId,
        password: str,
        *,
        address: str,
        registration_token: str | None = None,
        shown: PutValidation | None = None,
        accepted: Accepted = NOTHING_ACCEPTED,
    ) -> Account:
        """spec: client-server-api guest-access: the guest keeps its name, rooms and devices"""
        if self._registration.policy.mode == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        self._check_accepted(accepted)
        name = split_user_id(user_id)[0]
        async with self.registration_tokens.turn, self._shown(name, shown, accepted) as used:
            if self._registration.policy.mode == "token":
                used.append(await self.registration_tokens.use(registration_token))
            forms = await self._passwords.forms(user_id, password)
            row = await self._store.load_account(user_id)
            if row is None or not row.guest:
                raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
            self._registration.take(address)
            kept = replace(row, guest=False)
            await commit(self._stream, [kept, *forms, *used])
        self._skeletons[skeleton(row.name)] = row.name
        self.guests.no_more(user_id)
        return self._remember(kept)

    def _forget(self, user_id: UserId) -> None:
        self._accounts.pop(user_id, None)
        self._profiles.pop(user_id, None)
        self.push_rules.forget(user_id)

    async def _leave_rooms(self, user_id: UserId, reason: str | None) -> None:
        if self.leave_rooms is not None:
            await self.leave_rooms(user_id, reason)

    async def _rename(self, user_id: UserId, nick: str) -> None:
        if self.rename is not None:
            await self.rename(user_id, nick)

    # -- profiles: written by rooms.profiles, kept here for everybody who asks

    async def profile(self, user_id: UserId) -> Mapping[str, str]:
        """What rooms show of a profile."""
        return {key: value for key, value in (await self.stored_profile(user_id)).items() if key in SHOWN}

    async def stored_profile(self, user_id: UserId) -> Mapping[str, str]:
        """All fields, as core/profile.py stores them."""
        profile = self._profiles.get(user_id)
        if profile is None:
            profile = self._profiles[user_id] = dict(await self._store.load_profile(user_id))
        return profile

    def called(self, user_id: UserId) -> str | None:
        profile = self._profiles.get(user_id)
        return None if profile is None else profile.get("displayname", "")

    def profile_changed(self, user_id: UserId, field: str, value: str | None) -> None:
        profile = self._profiles.get(user_id)
        if profile is None:
            return
        if value is None:
            profile.pop(field, None)
        else:
            profile[field] = value

    # -- credentials

    async def check_password(self, name: str, password: str, *, address: str) -> Account:
        user_id = self.user_id(name)
        self._passwords.check_may_try(user_id, address)
        account = await self.account(user_id)
        if account is not None and account.deactivated:
            raise AccountRefused(AccountRefusal.DEACTIVATED)
        right = await self._passwords.check(user_id, password)
        return self._checked(account if right else None, user_id, address)

    async def check_login(self, name: str, password: str, *, address: str) -> LetIn:
        user_id = self.user_id(name)
        self._passwords.check_may_try(user_id, address)
        account = await self.account(user_id)
        if account is not None and account.deactivated:
            raise AccountRefused(AccountRefusal.DEACTIVATED)
        app = await self._passwords.find(user_id, password)
        return await self.scram_done(name, app is not None, address=address, app=app or "")

    async def has_password(self, user_id: UserId) -> bool:
        return await self._passwords.has_one(user_id)

    async def check_secret(self, account: Account, hash: str, given: str, *, address: str) -> None:
        self._passwords.check_may_try(account.user_id, address)
        right = await self._passwords.check_hash(hash, given)
        self._checked(account if right else None, account.user_id, address)

    async def is_secret(self, hash: str, given: str) -> bool:
        return await self._passwords.check_hash(hash, given)

    async def make_login_token(self, user_id: UserId) -> tuple[str, int]:
        return self._login_tokens.make(user_id), LIFE_MS

    async def make_sso_token(self, user_id: UserId) -> str:
        return self._login_tokens.make_for_sso(user_id)

    async def check_login_token(self, token: str, *, address: str) -> Account:
        user_id = self._login_tokens.take(token)
        account = None if user_id is None else await self.account(user_id)
        if account is None:
            raise AccountRefused(
                AccountRefusal.WRONG_CREDENTIALS, "This login token is not known, was used, or has expired"
            )
        self._check_open(account)
        self.bans.check(Visitor(address, (account.name,)))
        return account

    async def scram_verifier(self, name: str, hash_name: str) -> ScramVerifier:
        return await self._passwords.verifier(self.user_id(name), hash_name)

    async def scram_done(self, name: str, success: bool, *, address: str, app: str = "") -> LetIn:
        user_id = self.user_id(name)
        self._passwords.check_may_try(user_id, address)
        right = success and (not app or await self.has_device(user_id, app))
        account = self._checked(await self.account(user_id) if right else None, user_id, address)
        return LetIn(account, DeviceId(app) if app else None)

    async def check_certificate(self, fingerprint: str, name: str, *, address: str) -> Account:
        user_id = await self.certificates.owner(fingerprint) if fingerprint else None
        account = None if user_id is None else await self.account(user_id)
        if account is None:
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS, _NOBODYS)
        if name and account.name != name:
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS, "This certificate is not one of that account")
        self._check_open(account)
        self.bans.check(Visitor(address, (account.name,)))
        return account

    def _checked(self, account: Account | None, user_id: UserId, address: str) -> Account:
        if account is None:
            self._passwords.failed(user_id, address)
            raise AccountRefused(AccountRefusal.WRONG_CREDENTIALS)
        self._check_open(account)
        self.bans.check(Visitor(address, (account.name,)))
        return account

    def _check_open(self, account: Account) -> None:
        if account.deactivated:
            raise AccountRefused(AccountRefusal.DEACTIVATED)
        if account.locked:
            raise AccountRefused(AccountRefusal.LOCKED)

    async def reset_password(
        self, shown: PutValidation, password: str, *, address: str, logout_devices: bool = True
    ) -> Account:
        async with self.contacts.using(shown) as (user_id, writes):
            account = await self.check_open(user_id, address=address)
            await self._change_password(user_id, password, writes, None, logout_devices, None)
            return account

    async def change_password(
        self, user_id: UserId, password: str, *, keep_device: DeviceId | None, logout_devices: bool = True,
        keep_browser: bytes | None = None,
    ) -> None:
        await self._change_password(user_id, password, [], keep_device, logout_devices, keep_browser)

    async def _change_password(
        self,
        user_id: UserId,
        password: str,
        writes: Sequence[Write],
        keep_device: DeviceId | None,
        logout_devices: bool,
        keep_browser: bytes | None,
    ) -> None:
        forms = await self._passwords.forms(user_id, password)
        apps = [app.device_id for app in await self.app_passwords.of(user_id)]
        async with self._passwords.turn(user_id):
            await commit(self._stream, [*forms, *writes, DropBrowserSessions(user_id, keep_browser)])
        self._login_tokens.forget(user_id)
        if logout_devices:
            await self._devices.drop_all(user_id, "password changed", keep=keep_device)
        else:
            # App passwords stand beside the password that was (passwords.py).
            await self._devices.drop(user_id, apps, "password changed")

    # -- devices and tokens

    async def log_in(
        self,
        account: Account,
        *,
        protocol: str,
        device_id: str | None = None,
        display_name: str | None = None,
        tokens: bool = False,
        refreshable: bool = False,
        client_id: str | None = None,
        expires_ts_ms: int | None = None,
    ) -> LogIn:
        self._check_open(account)
        opened = await self._devices.log_in(
            account,
            protocol=protocol,
            device_id=device_id,
            display_name=display_name,
            tokens=tokens,
            refreshable=refreshable,
            client_id=client_id,
            expires_ts_ms=expires_ts_ms,
        )
        if protocol == "matrix":
            # It reads by position, so it hears already; sessions of the others say by themselves when they do.
            await self.greetings.came(account.user_id)
        return opened

    async def owner_of_token(self, access_token: str, *, locked_too: bool = False) -> TokenOwner:
        row = await self._devices.find_token(access_token)
        account = self._accounts.get(row.user_id) or await self.account(row.user_id)
        if account is None or row.device_id is None:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        if not (account.locked and locked_too):
            self._check_open(account)
        if account.guest:
            self.guests.heard_from(account.user_id)
        return TokenOwner(account, DeviceId(row.device_id), row.client_id)

    async def check_token(self, access_token: str, *, address: str) -> TokenOwner:
        owner = await self.owner_of_token(access_token)
        if owner.account.guest:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        self.bans.check(Visitor(address, (owner.account.name,)))
        return owner

    async def refresh(self, refresh_token: str, *, client_id: str | None = None) -> LogIn:
        user_id, made = await self._devices.refresh(refresh_token, client_id)
        account = await self.account(user_id)
        if account is None:
            raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN)
        self._check_open(account)
        return LogIn(
            account, DeviceId(made.device_id), made.access_token, made.refresh_token, made.expires_in_ms
        )

    async def revoke(self, token: str) -> bool:
        return await self._devices.revoke(token)

    async def devices(self, user_id: UserId) -> Sequence[Device]:
        return await self._devices.devices(user_id)

    async def has_device(self, user_id: UserId, device_id: str) -> bool:
        return any(device.device_id == device_id for device in await self._devices.devices(user_id))

    async def rename_device(self, user_id: UserId, device_id: str, display_name: str) -> None:
        await self._devices.rename(user_id, device_id, display_name)

    async def log_out(self, user_id: UserId, device_ids: Sequence[str], *, reason: str = "logged out") -> None:
        await self._devices.drop(user_id, device_ids, reason)
        if self.guests.has_no_connection(user_id) and not await self._devices.devices(user_id):
            # Nobody gets in with it again.
            await self.end_guest(user_id)

    async def log_out_all(self, user_id: UserId) -> None:
        self._login_tokens.forget(user_id)
        await commit(self._stream, [DropBrowserSessions(user_id, None)])
        await self._devices.drop_all(user_id, "logged out everywhere")
        if self.guests.has_no_connection(user_id):
            await self.end_guest(user_id)

    # -- account data, filters, roster

    async def account_data(self, user_id: UserId, room_id: RoomId | None, type: str) -> JsonObject | None:
        return await self._data.get(user_id, room_id, type)

    async def all_account_data(
        self, user_id: UserId, *, since: int = 0
    ) -> Mapping[tuple[RoomId | None, str], JsonObject]:
        return await self._data.all(user_id, since)

    async def set_account_data(
        self, user_id: UserId, room_id: RoomId | None, type: str, content: JsonObject
    ) -> None:
        await self._data.set(user_id, room_id, type, content)

    async def mark_direct(self, user_id: UserId, other: UserId, room_id: RoomId) -> None:
        """Add a direct room to m.direct. spec: client-server module "Direct Messaging"."""
        content = dict(await self._data.get(user_id, None, "m.direct") or {})
        listed = content.get(other)
        rooms = [room for room in listed if isinstance(room, str)] if isinstance(listed, list) else []
        if room_id not in rooms:
            content[other] = [*rooms, room_id]
            await self._data.set(user_id, None, "m.direct", content)

    async def keep_along(self, user_id: UserId, old: RoomId, new: RoomId) -> None:
        """A room was replaced: what the user has kept about it is kept about the one that took its place.

        spec: client-server "Room Upgrades": "the server should automatically transfer/replicate some of the user's
        personalized settings such as notifications, tags". What is there already is left alone.
        """
        kept = await self._data.all(user_id, 0)
        for type_ in _KEPT_ALONG:
            content = kept.get((old, type_))
            if content is not None and (new, type_) not in kept:
                await self._data.set(user_id, new, type_, content)
        direct = dict(kept.get((None, "m.direct"), {}))
        changed = False
        for other, listed in direct.items():
            if isinstance(listed, list) and old in listed and new not in listed:
                direct[other] = [*listed, new]
                changed = True
        if changed:
            await self._data.set(user_id, None, "m.direct", direct)
        await self.push_rules.keep_along(user_id, old, new)

    async def add_filter(self, user_id: UserId, definition: JsonObject) -> str:
        return await self._data.add_filter(user_id, definition)

    async def filter(self, user_id: UserId, filter_id: str) -> JsonObject | None:
        return await self._data.filter(user_id, filter_id)

    async def roster(self, user_id: UserId) -> Mapping[str, RosterItem]:
        return await self._data.roster(user_id)

    async def set_roster_item(self, user_id: UserId, item: RosterItem) -> None:
        await self._data.set_roster_item(user_id, item)
