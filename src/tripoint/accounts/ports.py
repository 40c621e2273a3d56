"""What front ends hold of accounts: values and the AccountService protocol. The code is service.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.accounts.account import Account as Account
from tripoint.accounts.administration import Administration
from tripoint.accounts.bindings import Bindings
from tripoint.accounts.consents import Consents
from tripoint.accounts.contacts import Contacts
from tripoint.accounts.fast_tokens import FastTokens
from tripoint.accounts.greetings import Greetings
from tripoint.accounts.leaving import Leaving
from tripoint.accounts.pushers import Pushers
from tripoint.accounts.registration_tokens import RegistrationTokens
from tripoint.accounts.sasl import ScramVerifier
from tripoint.core.app_services import AppService, AppServices
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import DeviceId, RoomId, ServerName, UserId
from tripoint.core.push_rules import PushRules
from tripoint.core.server_bans import BanKind, ServerBan, Visitor
from tripoint.core.terms import NOTHING_ACCEPTED, Accepted, Terms
from tripoint.store.contact_writes import PutValidation
from tripoint.store.interface import Report
from tripoint.store.writes import PutVhost


class Device(Struct, frozen=True):
    """One client of an account. IRC and XMPP log-ins are key-less devices (docs/mapping.md 4)."""

    user_id: UserId
    device_id: DeviceId
    display_name: str | None
    last_seen_ts_ms: int
    protocol: str  # matrix | irc | xmpp


class LogIn(Struct, frozen=True):
    """A device that was just opened. Tokens are set for Matrix alone."""

    account: Account
    device_id: DeviceId
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in_ms: int | None = None

    def body(self, server: str) -> JsonObject:
        """As the answer to a log-in has it. spec: Matrix client-server-api POST /login"""
        found: JsonObject = {
            "user_id": self.account.user_id,
            "access_token": self.access_token or "",
            "device_id": self.device_id,
            "home_server": server,
        }
        if self.refresh_token is not None:
            found["refresh_token"] = self.refresh_token
            found["expires_in_ms"] = self.expires_in_ms or 0
        return found


class TokenOwner(Struct, frozen=True):
    """Whose an access token is. `client_id`: the OAuth client that has it; None: it comes from the legacy API.
    `service`: the application service that speaks for the account; `device_id` None: as no device of it."""

    account: Account
    device_id: DeviceId | None
    client_id: str | None = None
    service: AppService | None = None


class RosterItem(Struct, frozen=True):
    """RFC 6121 2.1.2. `subscription`: none | to | from | both | remove; `ask`: a request is pending."""

    jid: str
    name: str | None
    subscription: str
    ask: bool
    groups: tuple[str, ...]
    approved: bool = False
    pending_in: bool = False  # the contact asked for our presence and we have not answered
    request: str = ""  # what stands in that request, as XML
    request_id: str | None = None

    @property
    def shown(self) -> bool:
        """Whether the user sees this item. spec: RFC6121 2.1.6, 3.1.3

        An item that is there only because somebody asked to see our presence is not shown; it has no name at all,
        where one that the user made has at least an empty one.
        """
        if self.subscription == "remove":
            return False
        return self.subscription != "none" or self.ask or self.approved or self.name is not None


class BanList(Protocol):
    """Bans from the whole server (server_bans.py). Questions are answered from memory."""

    def watch(self, watcher: Callable[[ServerBan], None]) -> None: ...
    def listed(self, kind: BanKind) -> Sequence[ServerBan]: ...
    def of_address(self, address: str) -> ServerBan | None:
        """The ban that a connection from here meets before anything is known of who it is."""

    def of_visitor(self, who: Visitor) -> ServerBan | None: ...
    def check(self, who: Visitor) -> None:
        """BANNED, with the reason, where somebody meets a ban of any kind."""

    async def put(self, ban: ServerBan) -> None: ...
    async def drop(self, kind: BanKind, mask: str) -> bool:
        """False where no ban with this mask holds."""


class VhostList(Protocol):
    """The hosts that IRC shows of accounts (vhosts.py)."""

    @property
    def below(self) -> str:
        """What every one of them ends in."""

    def watch(self, watcher: Callable[[UserId], None]) -> None: ...
    def host(self, user_id: UserId) -> str | None: ...
    def of(self, user_id: UserId) -> PutVhost | None: ...
    def asking(self) -> Sequence[PutVhost]: ...
    def given(self) -> Mapping[UserId, PutVhost]: ...
    async def put(self, user_id: UserId, wish: str, state: str) -> str: ...
    async def switch(self, user_id: UserId, *, on: bool) -> bool: ...
    async def drop(self, user_id: UserId) -> bool: ...


class LetIn(Struct, frozen=True):
    """Who has logged in, and the device whose end is this session's: that of an app password."""

    account: Account
    device_id: DeviceId | None = None


class AppPassword(Struct, frozen=True):
    """An app password, without itself. `device_id`: the session that it is; `name`: what its owner calls it."""

    device_id: str
    name: str


class AppPasswordList(Protocol):
    """Passwords for single clients (app_passwords.py). The device of each ends it."""

    async def of(self, user_id: UserId) -> Sequence[AppPassword]: ...
    async def add(self, user_id: UserId, name: str) -> str: ...


class CertificateList(Protocol):
    """The certificates with which accounts log in (certificates.py)."""

    async def of(self, user_id: UserId) -> Sequence[str]: ...
    async def add(self, user_id: UserId, wish: str, *, shown: bool) -> str: ...
    async def drop(self, user_id: UserId, wish: str) -> bool: ...


class Reports(Protocol):
    """What people reported and nobody has dealt with (reports.py)."""

    async def waiting(self, limit: int) -> Sequence[Report]:
        """The oldest of them."""

    async def done(self, number: int) -> bool:
        """One was dealt with; False if there is none of that number."""


class ServiceCommand(Struct, frozen=True):
    """A command of a service. `usage`: the words that follow, a colon, what it does."""

    service: str
    name: str
    usage: str


class ServiceDesk(Protocol):
    """The services (NickServ, ChanServ and their like) for who asks from another protocol. docs/mapping.md 18.1"""

    def commands(self, account: Account) -> Sequence[ServiceCommand]:
        """What this account may ask for."""

    async def run(
        self, account: Account, service: str, command: str, words: str, *, address: str, secure: bool
    ) -> Sequence[str]:
        """Carry one out; the lines of the answer, refusals too. KeyError where `commands` has no such command."""


class PushRuleBook(Protocol):
    """The push rules of accounts (push_rules.py)."""

    async def of(self, user_id: UserId) -> PushRules:
        """A user's rules; the same object as long as they do not change and stay in memory."""

    async def change(self, user_id: UserId, change: Callable[[PushRules], PushRules]) -> None:
        """Write what `change` makes of a user's rules; what it raises goes on to the caller. SERVER_BUSY."""


class RoomTags(Protocol):
    """The tags that accounts give rooms (tags.py)."""

    async def of(self, user_id: UserId, room_id: RoomId) -> JsonObject:
        """The tags of a room by their names."""

    async def put(self, user_id: UserId, room_id: RoomId, tag: str, value: JsonObject, *, limit: int) -> bool:
        """Tag a room; False where it has `limit` other tags already. SERVER_BUSY."""

    async def delete(self, user_id: UserId, room_id: RoomId, tag: str) -> None:
        """Take a tag away; nothing happens where there is none. SERVER_BUSY."""


class AccountService(Protocol):
    """Logins, devices, tokens, account data. Raises AccountRefused; what it returned is on disk."""

    @property
    def server_name(self) -> ServerName: ...
    @property
    def app_services(self) -> AppServices: ...
    @property
    def bans(self) -> BanList: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def administration(self) -> Administration: ...
    @property
    def registration_tokens(self) -> RegistrationTokens: ...
    @property
    def vhosts(self) -> VhostList: ...
    @property
    def app_passwords(self) -> AppPasswordList: ...
    @property
    def certificates(self) -> CertificateList: ...
    @property
    def contacts(self) -> Contacts: ...
    @property
    def consents(self) -> Consents: ...
    @property
    def bindings(self) -> Bindings: ...
    @property
    def leaving(self) -> Leaving: ...
    @property
    def email_required(self) -> bool:
        """Whether register() asks for an e-mail address."""

    @property
    def terms(self) -> Sequence[Terms]:
        """What whoever makes an account has to accept; empty: nothing."""

    @property
    def greetings(self) -> Greetings: ...
    @property
    def tags(self) -> RoomTags: ...
    @property
    def pushers(self) -> Pushers: ...
    @property
    def fast_tokens(self) -> FastTokens: ...
    @property
    def push_rules(self) -> PushRuleBook: ...

    def user_id(self, name: str) -> UserId: ...

    def called(self, user_id: UserId) -> str | None:
        """The display name in a user's profile, "" for none; None where the profile is not in memory."""

    # -- accounts
    async def check_name(self, name: str) -> None:
        """BAD_NAME or NAME_TAKEN where a new account could not have this name; also REGISTRATION_CLOSED."""

    async def check_new_name(self, name: str) -> None:
        """BAD_NAME or NAME_TAKEN where not even an administrator could make an account of this name."""

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
        """Make an account as the configuration allows (open, token, closed). `address` is for limits. `was_valid`:
        the token was shown while it was, and may have expired since. `shown`: the e-mail address that it has from the
        beginning (contacts.py); EMAIL_NEEDED without one where it has to be. `accepted`: documents, and in which
        versions; TERMS_NEEDED, which names them, where some of `terms` are missing."""

    async def add_account(self, name: str, password: str | None, *, admin: bool) -> Account:
        """Make an account whatever the configuration says: the administrator's own way. Without a password nobody gets
        in until it has one. BAD_NAME, NAME_TAKEN, BAD_PASSWORD."""

    async def register_for(self, service: AppService, name: str) -> Account:
        """Make an account without a password for an application service, of any name that it may have, whatever
        registration() says of others. BAD_NAME, NAME_TAKEN, NAME_EXCLUSIVE where it is in no namespace of its."""

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
        """Make an account without a password for somebody whom an identity provider knows, whatever registration() says
        of others. BAD_NAME, NAME_TAKEN, BANNED, RATE_LIMITED, TERMS_NEEDED."""

    async def check_open(self, user_id: UserId, *, address: str) -> Account:
        """An account into which somebody comes who has shown elsewhere that it is theirs. NO_SUCH_ACCOUNT, DEACTIVATED,
        LOCKED, BANNED."""

    async def create_guest(self, nick: str, *, address: str) -> Account:
        """A guest account (docs/mapping.md 1.9) whose display name is `nick`. GUESTS_OFF, BAD_NAME, NAME_TAKEN."""

    async def create_numbered_guest(self, *, address: str) -> Account:
        """A guest account that is called by its number until it says otherwise. TOO_MANY_GUESTS, BANNED,
        RATE_LIMITED."""

    async def create_matrix_guest(self, *, address: str) -> Account:
        """A guest account without a connection: it ends when it logs out, or is not heard of for some hours.
        GUESTS_OFF, TOO_MANY_GUESTS, BANNED, RATE_LIMITED."""

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
        """Make an account of a guest, which keeps its name. As register()."""

    async def rename_guest(self, user_id: UserId, nick: str) -> None:
        """A guest is called so from now on. BAD_NAME, NAME_TAKEN."""

    def is_guest(self, user_id: UserId) -> bool: ...
    def account_like(self, name: str) -> UserId | None:
        """The local account that has this name, or one that could be taken for it (core.confusables); None for none."""

    def is_suspended(self, user_id: UserId) -> bool: ...
    def is_shadow_banned(self, user_id: UserId) -> bool: ...
    async def end_guest(self, user_id: UserId, reason: str | None = None) -> None:
        """The guest's connection is gone: its rooms are left, for this reason, and the account removed."""

    async def account(self, user_id: UserId) -> Account | None: ...
    async def is_local_user(self, user_id: UserId) -> bool:
        """Whether there is such a user here. An application service that has the name for itself is asked, which may
        make the user then; that takes some seconds at most."""

    async def stand_in(self, bare: str) -> Account:
        """The account that stands for the person of another XMPP server who has this bare JID, made if there is none
        (docs/mapping.md 1.7). Nobody can log in to it. Raises InvalidId for an address that is too long."""

    async def registration_state(self) -> str:
        """open | token | closed: what register() asks for now."""

    async def registration_in_band(self) -> str:
        """The same for clients of IRC and XMPP, where nobody opens links: closed where an address is asked for."""


    # -- credentials
    async def check_password(self, name: str, password: str, *, address: str) -> Account:
        """WRONG_CREDENTIALS (the same for unknown users), DEACTIVATED, LOCKED, RATE_LIMITED."""

    async def has_password(self, user_id: UserId) -> bool:
        """Whether one can log in to the account by a password."""

    async def profile(self, user_id: UserId) -> Mapping[str, str]:
        """What rooms show of a profile: displayname, avatar_url."""

    async def make_login_token(self, user_id: UserId) -> tuple[str, int]:
        """A token for one log-in of this user, and how long it holds, in ms (login_tokens.py). RATE_LIMITED."""

    async def make_sso_token(self, user_id: UserId) -> str:
        """The same for a browser that takes it to a client at once."""

    async def check_login_token(self, token: str, *, address: str) -> Account:
        """Whose it is; it is used up. WRONG_CREDENTIALS, DEACTIVATED, LOCKED, BANNED."""

    async def check_secret(self, account: Account, hash: str, given: str, *, address: str) -> None:
        """Whether `given` is the password of a hash (core/password_hash.py) that the configuration has for an account.

        WRONG_CREDENTIALS, RATE_LIMITED: wrong ones count with wrong passwords of the account.
        """

    async def is_secret(self, hash: str, given: str) -> bool:
        """Whether `given` is the password of a hash that the configuration has for something that is no account."""

    async def scram_verifier(self, name: str, hash_name: str) -> ScramVerifier:
        """The stored form for SCRAM ("sha256", "sha1"); for unknown users a stable fake that never matches."""

    async def check_login(self, name: str, password: str, *, address: str) -> LetIn:
        """As check_password, but that an app password is good too. For logins alone: it changes nothing."""

    async def scram_done(self, name: str, success: bool, *, address: str, app: str = "") -> LetIn:
        """Called after a SCRAM exchange; counts failures like check_password and raises like it.

        `app`: the device whose app password it was.
        """

    async def check_certificate(self, fingerprint: str, name: str, *, address: str) -> Account:
        """Whose certificate a connection has shown; `name`: as whom it wants to log in, empty for whosesoever it is.
        WRONG_CREDENTIALS, DEACTIVATED, LOCKED, BANNED."""

    async def change_password(
        self, user_id: UserId, password: str, *, keep_device: DeviceId | None, logout_devices: bool = True,
        keep_browser: bytes | None = None,
    ) -> None:
        """`keep_browser`: the browser that stays logged in on the pages (oauth/browsers.py)."""

    async def reset_password(
        self, shown: PutValidation, password: str, *, address: str, logout_devices: bool = True
    ) -> Account:
        """Another password for the account whose e-mail address somebody has shown. NOT_CONFIRMED, BAD_PASSWORD,
        DEACTIVATED, LOCKED, BANNED."""

    async def deactivate(self, user_id: UserId, *, erase: bool = False) -> None:
        """Close an account for good. `erase`: what it has said is taken back in the rooms that it is in
        (rooms/erasing.py)."""

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
        """Open a device, or open it again. Without `device_id`, a key-less device is made once per account,
        protocol and `display_name` and used again (docs/mapping.md 4). `client_id`: the OAuth client that the
        tokens are for. `expires_ts_ms`: when the access token ends by itself."""

    async def owner_of_token(self, access_token: str, *, locked_too: bool = False) -> TokenOwner:
        """UNKNOWN_TOKEN, EXPIRED_TOKEN, DEACTIVATED, and LOCKED unless `locked_too`. From memory once it was seen."""

    async def check_token(self, access_token: str, *, address: str) -> TokenOwner:
        """Whose access token it is, of somebody who comes with it over IRC or XMPP. UNKNOWN_TOKEN, EXPIRED_TOKEN,
        DEACTIVATED, LOCKED, BANNED."""

    async def set_locked(self, user_id: UserId, locked: bool) -> None:
        """Lock an account: nobody gets in any more, connections of IRC and XMPP end, tokens stay for when it is
        unlocked. NO_SUCH_ACCOUNT. spec: client-server "Account locking"; docs/mapping.md 18.3"""

    async def set_suspended(self, user_id: UserId, suspended: bool) -> None:
        """Suspend an account: it reads, leaves rooms and takes back what it said. NO_SUCH_ACCOUNT.

        spec: client-server "Account suspension"; docs/mapping.md 18.3
        """

    async def refresh(self, refresh_token: str, *, client_id: str | None = None) -> LogIn:
        """New tokens for a refresh token of this OAuth client; None: of the legacy API. UNKNOWN_TOKEN."""

    async def revoke(self, token: str) -> bool:
        """Log out the device that an access or refresh token belongs to; False where it means nothing."""

    async def devices(self, user_id: UserId) -> Sequence[Device]: ...
    async def has_device(self, user_id: UserId, device_id: str) -> bool: ...
    async def rename_device(self, user_id: UserId, device_id: str, display_name: str) -> None: ...
    async def log_out(self, user_id: UserId, device_ids: Sequence[str], *, reason: str = "logged out") -> None: ...
    async def log_out_all(self, user_id: UserId) -> None: ...

    # -- account data, filters, roster
    async def account_data(self, user_id: UserId, room_id: RoomId | None, type: str) -> JsonObject | None: ...
    async def all_account_data(
        self, user_id: UserId, *, since: int = 0
    ) -> Mapping[tuple[RoomId | None, str], JsonObject]:
        """Everything written after stream position `since`."""

    async def set_account_data(
        self, user_id: UserId, room_id: RoomId | None, type: str, content: JsonObject
    ) -> None: ...
    async def add_filter(self, user_id: UserId, definition: JsonObject) -> str: ...
    async def filter(self, user_id: UserId, filter_id: str) -> JsonObject | None: ...
    async def roster(self, user_id: UserId) -> Mapping[str, RosterItem]: ...
    async def set_roster_item(self, user_id: UserId, item: RosterItem) -> None:
        """Store (or, with subscription `remove`, drop) an item; told as RosterChanged."""
