"""Drives the negotiation of one connection: asks the accounts what connection.py may not ask itself.

SASL exchanges, PASS, REGISTER before 001, guests.  Ends with an account to be a session of, or with a reason
to close.  spec: docs/mapping.md 1.9, 18; IRCv3 sasl-3.1, account-registration.  Read next: listener.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from msgspec import Struct

from tripoint.accounts.ports import Account, AccountService, LetIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.sasl import (
    BearerExchange,
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    Done,
    Exchange,
    NeedCredentials,
    SaslCondition,
    SaslFailed,
    start_exchange,
)
from tripoint.accounts.server_bans import banned_text
from tripoint.core.addresses import network_of
from tripoint.core.ids import DeviceId
from tripoint.core.server_bans import Visitor
from tripoint.core.tls_facts import TlsFacts
from tripoint.irc import numerics as n
from tripoint.irc.connection import (
    Close,
    Complete,
    IrcConnection,
    RegisterAccount,
    Reply,
    SaslAbort,
    SaslResponse,
    SaslStart,
    Step,
)
from tripoint.irc.projection import Names
from tripoint.irc.refusals import ACCOUNT_REFUSALS
from tripoint.irc.render import cut, one_line
from tripoint.irc.tables import NAMELEN, fold
from tripoint.irc.wire import Line
from tripoint.net.strangers import Known

_TERMS = "Accept what there is to accept first: connect, then /msg NickServ TERMS; or make the account in a browser"
# A nick that somebody cannot have, whoever has it.
_NICK_REFUSED = (AccountRefusal.NAME_TAKEN, AccountRefusal.BAD_NAME, AccountRefusal.NAME_EXCLUSIVE)


class LoggedIn(Struct, frozen=True):
    """The client is this account, which for a guest was just made."""

    account: Account


class Rejected(Struct, frozen=True):
    """The connection is to be closed."""

    reason: str


class Login:
    """One connection until 001. `say` sends a line; `nonce` gives fresh random text for SCRAM.

    `guest_key` makes guests' hosts out of addresses; `mechanisms` are what the negotiation offers; `known` waits for
    what the DNS says of the address; `configuration`: where clients learn how to get access tokens.
    """

    # A guest's session keeps it: somebody who is only connected costs little.
    __slots__ = (
        "_account", "_accounts", "_address", "_configuration", "_connected", "_exchange", "_guest_key", "_known",
        "_mechanisms", "_names", "_nonce", "_proven", "_say", "_scram_name", "_tls", "let_in_by", "negotiation",
    )

    def __init__(
        self,
        negotiation: IrcConnection,
        accounts: AccountService,
        names: Names,
        say: Callable[[Reply], None],
        nonce: Callable[[], str],
        *,
        mechanisms: tuple[str, ...],
        address: str,
        guest_key: bytes,
        tls: TlsFacts,
        known: Callable[[], Awaitable[Known]],
        configuration: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.negotiation = negotiation
        self._accounts = accounts
        self._names = names
        self._say = say
        self._nonce = nonce
        self._mechanisms = mechanisms
        self._address = address
        self._guest_key = guest_key
        self._tls = tls
        self._known = known
        self._configuration = configuration
        # The device whose access token let this client in: it ends with it.
        self.let_in_by: DeviceId | None = None
        self._exchange: Exchange | None = None
        self._scram_name: str | None = None
        self._proven: Account | None = None
        self._account: Account | None = None
        self._connected = False

    @property
    def account(self) -> Account | None:
        """Who the client has proven to be."""
        return self._account

    async def receive(self, line: Line) -> LoggedIn | Rejected | None:
        """Answer one line; None while more is to come."""
        for step in self.negotiation.receive(line):
            ended = await self._step(step)
            if ended is not None:
                return ended
        return None

    async def _step(self, step: Step) -> LoggedIn | Rejected | None:
        if isinstance(step, Reply):
            self._say(step)
        elif isinstance(step, SaslStart):
            return await self._begin(step.mechanism)
        elif isinstance(step, SaslResponse):
            return await self._respond(step.data)
        elif isinstance(step, SaslAbort):
            self._exchange = self._proven = None
        elif isinstance(step, RegisterAccount):
            await self._register(step)
        elif isinstance(step, Complete):
            return await self._complete(step)
        elif isinstance(step, Close):
            return Rejected(step.reason)
        return None

    # --- SASL --------------------------------------------------------------------------------------------

    async def authenticate(self, line: Line) -> Account | Rejected | None:
        """AUTHENTICATE of a guest who is connected: the account that it has proven to be. The caller tells it so.

        spec: IRCv3 sasl-3.2 "SASL Reauthentication"
        """
        self._connected = True
        for step in self.negotiation.authenticate(line):
            ended = await self._step(step)
            if isinstance(ended, Rejected):
                return ended
        return self._account

    async def _begin(self, mechanism: str) -> LoggedIn | Rejected | None:
        self._proven = None
        self._exchange = start_exchange(
            mechanism, self._mechanisms, server_nonce=self._nonce(), bindings=self._tls.bindings
        )
        for step in self.negotiation.sasl_challenge(b""):
            ended = await self._step(step)
            if ended is not None:
                return ended
        return None

    async def _respond(self, data: bytes) -> Rejected | None:
        try:
            await self._exchange_step(data)
        except SaslFailed as failed:
            return await self._sasl_failed(failed.text)
        except AccountRefused as refused:
            return await self._sasl_failed(refused.text, counted=True)
        return None

    async def _exchange_step(self, data: bytes) -> None:
        if self._proven is not None:
            # spec: IRCv3 sasl-3.1: after the server's last message the client still sends an empty one.
            account, self._proven = self._proven, None
            if data:
                raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "SASL authentication failed")
            self._succeed(account)
            return
        if self._exchange is None:
            raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "SASL authentication failed")
        step = self._exchange.receive(data)
        if isinstance(step, NeedCredentials):
            self._scram_name = step.username
            verifier = await self._accounts.scram_verifier(fold(step.username), step.hash_name)
            self._say_all(self.negotiation.sasl_challenge(self._exchange.credentials(verifier).data))
        elif isinstance(step, Challenge):
            self._say_all(self.negotiation.sasl_challenge(step.data))
        elif isinstance(step, CheckPassword):
            self._check_authzid(step.authzid, step.authcid)
            name = fold(step.authcid)
            self._succeed(self._let_in(await self._accounts.check_login(name, step.password, address=self._address)))
        elif isinstance(step, CheckCertificate):
            name = fold(step.authzid)
            self._succeed(
                await self._accounts.check_certificate(self._tls.certificate, name, address=self._address)
            )
        elif isinstance(step, CheckToken):
            await self._check_token(step)
        elif isinstance(step, Done):
            self._check_authzid(step.authzid, step.authcid)
            name, self._scram_name = fold(step.authcid), None
            done = await self._accounts.scram_done(name, True, address=self._address, app=step.app)
            self._proven = self._let_in(done)
            self._say_all(self.negotiation.sasl_challenge(step.data))

    async def _check_token(self, step: CheckToken) -> None:
        """spec: RFC7628 3.2"""
        try:
            owner = await self._accounts.check_token(step.token, address=self._address)
        except AccountRefused as refused:
            if refused.refusal not in (AccountRefusal.UNKNOWN_TOKEN, AccountRefusal.EXPIRED_TOKEN):
                raise
            assert isinstance(self._exchange, BearerExchange), "it gave the token"
            self._say_all(self.negotiation.sasl_challenge(self._exchange.token_refused(self._configuration()).data))
            return
        self._check_authzid(step.authzid, owner.account.name)
        self.let_in_by = owner.device_id
        self._succeed(owner.account)

    def _check_authzid(self, authzid: str, authcid: str) -> None:
        """Nobody acts for another here."""
        if authzid and fold(authzid) != fold(authcid):
            raise SaslFailed(SaslCondition.INVALID_AUTHZID, "You cannot act for another account")

    def _let_in(self, let_in: LetIn) -> Account:
        self.let_in_by = let_in.device_id
        return let_in.account

    def _succeed(self, account: Account) -> None:
        self._account = account
        self._exchange = None
        told = self.negotiation.sasl_succeeded(account.name)
        if not self._connected:
            self._say_all(told)

    async def _sasl_failed(self, text: str, *, counted: bool = False) -> Rejected | None:
        self._exchange = self._proven = None
        name, self._scram_name = self._scram_name, None
        if name is not None and not counted:
            try:
                await self._accounts.scram_done(fold(name), False, address=self._address)
            except AccountRefused as refused:
                text = refused.text
        for step in self.negotiation.sasl_failed(text):
            if isinstance(step, Close):
                return Rejected(step.reason)
            if isinstance(step, Reply):
                self._say(step)
        return None

    # --- REGISTER, and the end ---------------------------------------------------------------------------

    async def _register(self, step: RegisterAccount) -> None:
        try:
            account = await self._accounts.register(fold(step.account), step.password, address=self._address)
        except AccountRefused as refused:
            code = ACCOUNT_REFUSALS[refused.refusal].code or "TEMPORARILY_UNAVAILABLE"
            if refused.refusal is AccountRefusal.TERMS_NEEDED:
                # Who is not connected yet cannot ask NickServ.
                self._say(Reply("FAIL", ("REGISTER", "COMPLETE_CONNECTION_REQUIRED", _TERMS)))
                return
            name = step.account if step.account and " " not in step.account else "*"
            self._say(Reply("FAIL", ("REGISTER", code, name.lstrip(":")[:100] or "*", refused.text)))
            return
        self._account = account
        self._say_all(self.negotiation.account_made(account.name))

    async def _complete(self, step: Complete) -> LoggedIn | Rejected | None:
        if self._account is None and step.login is not None:
            name, password = step.login
            try:
                let_in = await self._accounts.check_login(fold(name), password, address=self._address)
                self._account = self._let_in(let_in)
            except AccountRefused as refused:
                no = ACCOUNT_REFUSALS[refused.refusal].numeric or n.ERR_PASSWDMISMATCH
                self._say(Reply(no, (step.nick, refused.text)))
                return Rejected(refused.text)
            self._say(self.negotiation.logged_in(self._account.name))
        known = await self._known()
        self.negotiation.hostname, self.negotiation.ident = known.hostname, known.ident
        banned = self._banned(step)
        if banned is None and known.listed_in is not None and self._account is None:
            banned = f"Your address is listed in {known.listed_in}; log in with an account"
        if banned is not None:
            self._say(Reply(n.ERR_YOUREBANNEDCREEP, (step.nick, banned)))
            return Rejected(banned)
        if self._account is not None:
            return LoggedIn(self._account)
        return await self._as_guest(step.nick, cut(one_line(step.realname), NAMELEN))

    def _banned(self, step: Complete) -> str | None:
        """What somebody is told who meets a ban of his real name, or as a guest.  spec: docs/mapping.md 9.4"""
        account = self._account
        names = [step.nick, step.username] if account is None else [account.name]
        if account is None and self.negotiation.ident is not None:
            names.append(self.negotiation.ident)
        hosts = [] if account is not None else [self._guest_host()]
        if self.negotiation.hostname is not None:
            hosts.append(self.negotiation.hostname)
        ban = self._accounts.bans.of_visitor(Visitor(self._address, names, hosts, step.realname))
        return None if ban is None else banned_text(ban)

    async def _as_guest(self, nick: str, realname: str) -> LoggedIn | Rejected | None:
        """spec: docs/mapping.md 1.9: any free nick that is nobody's name."""
        if self._names.user(nick) is not None:
            self._refuse_nick(nick, "Nickname is already in use")
            return None
        try:
            account = await self._accounts.create_guest(nick, address=self._address)
        except AccountRefused as refused:
            if refused.refusal in _NICK_REFUSED:
                # COMPAT: 433 for reserved names too: on 432 irssi gives up, on 433 it tries another nick.
                text = f"{refused.text}; log in with SASL or PASS account:password, or choose another"
                self._refuse_nick(nick, text)
                return None
            # spec: IRCv3 account-registration: "FAIL * ACCOUNT_REQUIRED"
            self._say(Reply("FAIL", ("*", "ACCOUNT_REQUIRED", refused.text)))
            return Rejected(refused.text)
        self._names.set_guest(account.user_id, nick, self._guest_host(), realname)
        return LoggedIn(account)

    def _refuse_nick(self, nick: str, text: str) -> None:
        self._say(Reply(n.ERR_NICKNAMEINUSE, ("*", nick, text)))
        self.negotiation.nick_refused()

    def _guest_host(self) -> str:
        """``<keyed hash of the /32 or /64>.guest.<server>``: a ban of it bans the address (MAPPING 1.9)."""
        digest = hmac.new(self._guest_key, network_of(self._address).encode(), hashlib.sha256).hexdigest()
        return f"{digest[:16]}.guest.{self._names.server}"

    def _say_all(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Reply):
                self._say(step)
