"""E-mail addresses of accounts: shown to be theirs by a link in a letter, kept, taken away.

Who asks is answered the same whether an account has the address or not; the letter alone tells, and goes to the form of
the address that is stored. Links and the client's secrets are on disk by their SHA-256, expire, and are good once.
spec: Matrix client-server-api "Adding Account Administrative Contact Information", POST /register/email/requestToken,
POST /account/password/email/requestToken; appendices "3PID Types". Who may do what with it is service.py's.
"""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlencode

from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.contact_letters import Purpose, confirm_letter, in_use_letter, unknown_letter
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import network_of
from tripoint.core.email_address import EmailAddress, parse_email_address
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, UserId
from tripoint.core.letter_words import LetterWords
from tripoint.core.letters import Letter, MailFailed, SendLetter
from tripoint.core.oauth.metadata import CONFIRM_MAIL
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.store.contact_writes import PutThreePid, PutValidation, TrimValidations
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import Write

EMAIL: Final = "email"
# What somebody has begun to show, and what is an account's, for those who do not name the store.
Validation = PutValidation
ThreePid = PutThreePid
# How long a link is good. A letter may take its time; what gives a way into an account has less of it.
LIFE_MS: Final = 24 * 3_600_000
RESET_MS: Final = 3_600_000
# What is left at least once a link was opened: the client goes on within minutes.
AFTER_MS: Final = 900_000
MAX_ADDRESSES: Final = 10
MAX_VALIDATIONS: Final = 10_000
# Validations of one address at a time: a client makes one.
MAX_OF_ADDRESS: Final = 10
# Letters to one address, and questions from one network.
LETTERS: Final = Rate(3, 1 / 600)
QUESTIONS: Final = Rate(10, 1 / 60)

# `attempt`: nothing was sent yet.
_NEW: Final = PutValidation("", None, attempt=-1)


class Contacts:
    """`send` None: this server sends no mail, and nothing can be shown. `base`: where its pages are, without a slash at
    the end. `clock_ms` is the wall clock."""

    def __init__(
        self, server: ServerName, store: AccountStore, stream: Stream, clock_ms: Callable[[], int]
    ) -> None:
        self.send: SendLetter | None = None
        self.words = LetterWords()
        self.base: Callable[[], str] = lambda: ""
        # Called when an account has lost an address.
        self.removed: Callable[[UserId, str], Awaitable[None]] | None = None
        self._server = server
        self._store = store
        self._stream = stream
        self._clock_ms = clock_ms
        self._turns = InTurn()
        self._letters = TokenBuckets(LETTERS)
        self._questions = TokenBuckets(QUESTIONS)

    @property
    def is_on(self) -> bool:
        return self.send is not None and bool(self.base())

    # -- whose addresses are whose

    async def of(self, user_id: UserId) -> Sequence[PutThreePid]:
        return await self._store.load_threepids(user_id)

    async def owner(self, medium: str, address: str) -> UserId | None:
        """Whose an address is, however it is written."""
        if medium != EMAIL:
            return None
        try:
            found = await self._store.load_threepid(EMAIL, parse_email_address(address))
        except PeerError:
            return None
        return None if found is None else found.user_id

    async def has(self, user_id: UserId, address: str) -> bool:
        return await self.owner(EMAIL, address) == user_id

    async def remove(self, user_id: UserId, medium: str, address: str) -> None:
        """Take one away; nothing happens where the account has no such address."""
        if medium != EMAIL or not await self.has(user_id, address):
            return
        canonical = parse_email_address(address)
        async with self._turns(canonical):
            await commit(self._stream, [PutThreePid(EMAIL, canonical, None)])
        if self.removed is not None:
            await self.removed(user_id, canonical)

    async def put_all(self, user_id: UserId, addresses: Sequence[str]) -> None:
        """An administrator says which addresses an account has. BAD_EMAIL, EMAIL_IN_USE, TOO_MANY_EMAILS."""
        try:
            wanted = {parse_email_address(address) for address in addresses}
        except PeerError as error:
            raise AccountRefused(AccountRefusal.BAD_EMAIL, str(error)) from error
        if len(wanted) > MAX_ADDRESSES:
            raise AccountRefused(AccountRefusal.TOO_MANY_EMAILS)
        had = {one.address for one in await self.of(user_id)}
        now_ms = self._clock_ms()
        for address in sorted(wanted - had):
            async with self._turns(address):
                if await self._store.load_threepid(EMAIL, address) is not None:
                    raise AccountRefused(AccountRefusal.EMAIL_IN_USE)
                await commit(self._stream, [PutThreePid(EMAIL, address, user_id, now_ms, now_ms)])
        for gone in sorted(had - wanted):
            await self.remove(user_id, EMAIL, gone)

    # -- showing that an address is one's own

    async def ask(
        self,
        purpose: Purpose,
        email: str,
        secret: str,
        attempt: int,
        next_link: str | None,
        *,
        address: str,
        user_id: UserId | None = None,
        languages: Sequence[str] = (),
    ) -> str:
        """Send a letter to an address, where this is a new attempt; the id of what was begun.

        `secret`: what the client keeps to itself; `address`: where the question comes from; `user_id`: who asks, if
        that is to be known to who opens the link; `languages`: what the reader has the letter in, the dearest first.
        NO_MAIL, BAD_EMAIL, RATE_LIMITED, MAIL_FAILED, SERVER_BUSY.
        """
        if not self.is_on:
            raise AccountRefused(AccountRefusal.NO_MAIL)
        try:
            to = parse_email_address(email)
        except PeerError as error:
            raise AccountRefused(AccountRefusal.BAD_EMAIL, str(error)) from error
        self._take(self._questions, network_of(address))
        async with self._turns(to):
            row = await self._begun(purpose, to, secret)
            if row.attempt >= attempt and row.purpose is not None:
                return row.sid
            self._take(self._letters, to)
            row = replace(row, next_link=next_link, user_id=user_id)
            return await self._write_to(purpose, to, row, secret, attempt, languages)

    async def _begun(self, purpose: Purpose, to: EmailAddress, secret: str) -> PutValidation:
        """What this client began for the address; something new (without a purpose) where it began nothing."""
        now_ms = self._clock_ms()
        open_ones = [one for one in await self._store.load_validations_of(to) if one.expires_ts_ms > now_ms]
        for row in open_ones:
            if row.purpose == purpose.value and _same(row.secret_hash, secret):
                return row
        if len(open_ones) >= MAX_OF_ADDRESS:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=RESET_MS)
        await commit(self._stream, [TrimValidations(now_ms)])
        if await self._store.count_validations() >= MAX_VALIDATIONS:
            raise AccountRefused(AccountRefusal.SERVER_BUSY, "Too many addresses wait to be confirmed; try again later")
        return replace(_NEW, sid=secrets.token_urlsafe(18), address=to)

    async def _write_to(
        self,
        purpose: Purpose,
        to: EmailAddress,
        begun: PutValidation,
        secret: str,
        attempt: int,
        languages: Sequence[str],
    ) -> str:
        token = secrets.token_urlsafe(32)
        life_ms = RESET_MS if purpose.is_reset else LIFE_MS
        held = await self._store.load_threepid(EMAIL, to)
        owner = None if held is None else held.user_id
        letter: Letter
        say = self.words.in_language(languages)
        if purpose.is_reset and owner is None:
            letter, token = unknown_letter(say, to, self._server), ""
        elif not purpose.is_reset and owner is not None:
            letter, token = in_use_letter(say, to, self._server), ""
        else:
            link = f"{self.base()}{CONFIRM_MAIL}?{urlencode({'sid': begun.sid, 'token': token})}"
            letter = confirm_letter(say, purpose, to, self._server, link, life_ms // 3_600_000, owner)
        row = replace(
            begun,
            purpose=purpose.value,
            secret_hash=_hash(secret),
            token_hash=_hash(token) if token else None,
            validated_ts_ms=None,
            expires_ts_ms=self._clock_ms() + life_ms,
        )
        # As not sent, until it is: who asks again with the same number then gets the letter.
        await commit(self._stream, [row])
        await self._send(letter)
        await commit(self._stream, [replace(row, attempt=attempt)])
        return row.sid

    async def _send(self, letter: Letter) -> None:
        assert self.send is not None, "it was asked whether there is mail"
        try:
            await self.send(letter)
        except MailFailed as failed:
            raise AccountRefused(AccountRefusal.MAIL_FAILED) from failed

    async def find(self, sid: str, token: str) -> tuple[Purpose, PutValidation] | None:
        """What a link is about: one that is good, or was opened before, and the client has not gone on yet."""
        row = await self._store.load_validation(sid)
        if row is None or row.purpose is None or row.expires_ts_ms <= self._clock_ms():
            return None
        good = row.token_hash is not None and _same(row.token_hash, token)
        return (Purpose(row.purpose), row) if good or row.validated_ts_ms is not None else None

    async def follow(self, sid: str, token: str) -> tuple[Purpose, PutValidation]:
        """What a link leads to that the page itself does (Purpose.on_page), with what it shows; to be used up by
        giving() or using(). BAD_LINK."""
        found = await self.find(sid, token)
        if found is None or not found[0].on_page:
            raise AccountRefused(AccountRefusal.BAD_LINK)
        return found[0], replace(found[1], validated_ts_ms=self._clock_ms())

    async def confirm(self, sid: str, token: str) -> PutValidation:
        """Somebody has opened the link. BAD_LINK where it is not good, or not any more."""
        found = await self.find(sid, token)
        if found is None:
            raise AccountRefused(AccountRefusal.BAD_LINK)
        async with self._turns(found[1].address):
            row = await self._store.load_validation(sid)
            if row is None:
                raise AccountRefused(AccountRefusal.BAD_LINK)
            if row.validated_ts_ms is None:
                now_ms = self._clock_ms()
                until_ms = max(row.expires_ts_ms, now_ms + AFTER_MS)
                row = replace(row, token_hash=None, validated_ts_ms=now_ms, expires_ts_ms=until_ms)
                await commit(self._stream, [row])
            return row

    async def check_shown(self, purpose: Purpose, sid: str, secret: str) -> PutValidation:
        """What a client began for this purpose, once its link was opened. NOT_CONFIRMED."""
        row = await self._store.load_validation(sid)
        fits = row is not None and row.purpose == purpose.value and _same(row.secret_hash, secret)
        if row is None or not fits or row.expires_ts_ms <= self._clock_ms() or row.validated_ts_ms is None:
            raise AccountRefused(AccountRefusal.NOT_CONFIRMED)
        return row

    # -- what was shown becomes somebody's

    @asynccontextmanager
    async def giving(self, shown: PutValidation, user_id: UserId) -> AsyncIterator[list[Write]]:
        """The writes that give an account an address and use up what was shown, to be committed inside.

        EMAIL_IN_USE where another has it meanwhile, TOO_MANY_EMAILS, NOT_CONFIRMED where it was used already.
        """
        async with self._turns(shown.address):
            await self._check_unused(shown)
            held = await self._store.load_threepid(EMAIL, shown.address)
            if held is not None and held.user_id != user_id:
                raise AccountRefused(AccountRefusal.EMAIL_IN_USE)
            if held is None and len(await self._store.load_threepids(user_id)) >= MAX_ADDRESSES:
                raise AccountRefused(AccountRefusal.TOO_MANY_EMAILS)
            validated_ms = shown.validated_ts_ms or 0
            yield [
                PutThreePid(EMAIL, shown.address, user_id, validated_ms, self._clock_ms()),
                PutValidation(shown.sid, None),
            ]

    async def add(self, user_id: UserId, shown: PutValidation) -> None:
        """An address that was shown is an account's from now on. As giving()."""
        async with self.giving(shown, user_id) as writes:
            await commit(self._stream, writes)

    @asynccontextmanager
    async def using(self, shown: PutValidation) -> AsyncIterator[tuple[UserId, list[Write]]]:
        """Whose the address is, and the write that uses up what was shown, to be committed inside. NOT_CONFIRMED."""
        async with self._turns(shown.address):
            await self._check_unused(shown)
            held = await self._store.load_threepid(EMAIL, shown.address)
            if held is None or held.user_id is None:
                raise AccountRefused(AccountRefusal.NOT_CONFIRMED)
            yield held.user_id, [PutValidation(shown.sid, None)]

    async def _check_unused(self, shown: PutValidation) -> None:
        if await self._store.load_validation(shown.sid) is None:
            raise AccountRefused(AccountRefusal.NOT_CONFIRMED)

    async def none_of(self, user_id: UserId) -> Sequence[Write]:
        """The writes that take all of an account's addresses away."""
        return [PutThreePid(one.medium, one.address, None) for one in await self.of(user_id)]

    def _take(self, buckets: TokenBuckets, key: str) -> None:
        wait_s = buckets.take(key, self._clock_ms() / 1000)
        if wait_s > 0:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _same(stored: bytes, given: str) -> bool:
    return hmac.compare_digest(stored, _hash(given))
