"""Passwords: stored as SCRAM forms, or as they came from another server; hashed off the loop, guessed at a price.

spec: docs/mapping.md 18.2, RFC5802, RFC7677. The SCRAM forms also verify clear text, so an attacker who has
the database finds no weaker form beside them. A hash from elsewhere stands alone, until its owner shows the password.
sasl.py holds the arithmetic.  Read next: imported_hashes.py.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from tripoint.accounts.imported_hashes import ImportedHash, fits, scram_in
from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.sasl import AppKey, PasswordRefused, ScramVerifier, fake_verifier
from tripoint.core.addresses import network_of
from tripoint.core.ids import UserId
from tripoint.core.password_hash import read_hash, write_hash
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.store.interface import AccountStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutCredential

log = structlog.get_logger()

HashName = Literal["sha1", "sha256"]
T = TypeVar("T")
# PBKDF2 with 100,000 rounds is some 40 ms of a core: two at once leave the loop its share of two cores.
HASH_THREADS = 2
# What waits beyond this is refused: hashing is the cheapest way to keep a server busy.
MAX_WAITING = 64
_IMPORTED = "imported"


class _Apps(msgspec.Struct, frozen=True):
    """App passwords as they are stored, all with one salt."""

    salt: bytes
    iterations: int
    keys: tuple[AppKey, ...]


class Passwords:
    """Makes, stores and checks password forms.

    `secret` makes the fake salts of unknown users stable; `failures` is how often a name or an address may
    be wrong; `clock_s` is monotonic.
    """

    def __init__(
        self,
        store: AccountStore,
        stream: Stream,
        *,
        secret: bytes,
        iterations: int,
        scram_sha1: bool,
        failures: Rate,
        clock_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._stream = stream
        self._secret = secret
        self._iterations = iterations
        self._hash_names: tuple[HashName, ...] = ("sha256", "sha1") if scram_sha1 else ("sha256",)
        self._failures = TokenBuckets(failures)
        self._clock_s = clock_s
        self._pool = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="password")
        self._waiting = 0
        # Who holds this of a user writes forms that stand on those that he has read.
        self.turn = InTurn()

    def change_rate(self, failures: Rate) -> None:
        """The configuration was changed."""
        self._failures.rate = failures

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def forms(self, user_id: UserId, password: str) -> Sequence[PutCredential]:
        """All stored forms of a new password. AccountRefused(BAD_PASSWORD)."""
        if not 1 <= len(password) <= 512:
            raise AccountRefused(AccountRefusal.BAD_PASSWORD)
        writes = [PutCredential(user_id, _IMPORTED, None)]
        for hash_name in self._hash_names:
            make = partial(ScramVerifier.make, password, secrets.token_bytes(16), self._iterations, hash_name)
            try:
                verifier = await self._off_loop(make)
            except PasswordRefused as error:
                raise AccountRefused(AccountRefusal.BAD_PASSWORD, str(error)) from error
            writes.append(PutCredential(user_id, _form(hash_name), msgspec.msgpack.encode(verifier)))
        return writes

    def no_forms(self, user_id: UserId) -> Sequence[PutCredential]:
        """Writes that take every form away."""
        forms = [_IMPORTED, *(form(name) for name in ("sha256", "sha1") for form in (_form, _apps))]
        return [PutCredential(user_id, form, None) for form in forms]

    def imported_forms(self, user_id: UserId, hash: ImportedHash) -> Sequence[PutCredential]:
        """Writes that keep a hash of another server's (docs/mapping.md 18.2), one that check_hash() has let pass."""
        scram = scram_in(hash.text)
        writes = []
        if scram is None or scram.hash_name != "sha256":
            writes.append(PutCredential(user_id, _IMPORTED, msgspec.msgpack.encode(hash)))
        if scram is not None and scram.hash_name in self._hash_names:
            writes.append(PutCredential(user_id, _form(scram.hash_name), msgspec.msgpack.encode(scram)))
        return writes


    async def verifier(self, user_id: UserId, hash_name: str) -> ScramVerifier:
        """The stored form, or for an unknown user a stable fake that nothing fits.

        For who has app passwords and no other, the fake is what they stand beside: nobody sees who has none.
        """
        name: HashName = "sha1" if hash_name == "sha1" else "sha256"
        data = await self._store.load_credential(user_id, _form(name))
        if data is None or name not in self._hash_names:
            verifier = fake_verifier(user_id, name, self._secret, self._iterations)
        else:
            verifier = msgspec.msgpack.decode(data, type=ScramVerifier)
        apps = await self._store.load_credential(user_id, _apps(name)) if name in self._hash_names else None
        if apps is None:
            return verifier
        kept = msgspec.msgpack.decode(apps, type=_Apps)
        # Whoever has another password now has another salt: what stood beside the old one ended with it.
        fits = (kept.salt, kept.iterations) == (verifier.salt, verifier.iterations)
        return replace(verifier, apps=kept.keys) if fits else verifier

    async def with_app(
        self, user_id: UserId, device_id: str, password: str, keep: Collection[str]
    ) -> Sequence[PutCredential]:
        """Writes that put an app password beside the others of these devices. AccountRefused(RATE_LIMITED)."""
        writes = []
        for name in self._hash_names:
            beside = await self.verifier(user_id, name)
            make = partial(ScramVerifier.make, password, beside.salt, beside.iterations, name)
            made = await self._off_loop(make)
            keys = (
                *(key for key in beside.apps if key.device_id in keep),
                AppKey(device_id, made.stored_key, made.server_key),
            )
            kept = _Apps(beside.salt, beside.iterations, keys)
            writes.append(PutCredential(user_id, _apps(name), msgspec.msgpack.encode(kept)))
        return writes

    async def has_one(self, user_id: UserId) -> bool:
        """Whether there is a password at all."""
        forms = (_form("sha256"), _IMPORTED)
        return any([await self._store.load_credential(user_id, form) is not None for form in forms])

    async def check(self, user_id: UserId, password: str) -> bool:
        """Whether this is the user's password; takes as long for unknown users."""
        verifier = await self.verifier(user_id, "sha256")
        if len(password) > 512:
            return False
        if await self._off_loop(lambda: verifier.verify_cleartext(password)):
            return True
        return await self._fits_imported(user_id, password)

    async def find(self, user_id: UserId, password: str) -> str | None:
        """Whether it is the user's password (""), that of an app (its device) or none (None); takes as long for all."""
        verifier = await self.verifier(user_id, "sha256")
        if len(password) > 512:
            return None
        found = await self._off_loop(lambda: verifier.find_cleartext(password))
        return "" if found is None and await self._fits_imported(user_id, password) else found

    async def _fits_imported(self, user_id: UserId, password: str) -> bool:
        data = await self._store.load_credential(user_id, _IMPORTED)
        if data is None:
            return False
        kept = msgspec.msgpack.decode(data, type=ImportedHash)
        if not await self._off_loop(lambda: fits(kept, password)):
            return False
        async with self.turn(user_id):
            await self._renew(user_id, password)
        return True

    async def _renew(self, user_id: UserId, password: str) -> None:
        """The forms of here take the place of an imported hash that has fitted, unless the password is another by now.
        What cannot be done just now is done at another login; a password that SCRAM cannot hold stays as it is."""
        if await self._store.load_credential(user_id, _IMPORTED) is None:
            return
        try:
            await self._stream.commit(await self.forms(user_id, password))
        except (AccountRefused, StoreError) as problem:
            log.warning("password.not_renewed", user=user_id, problem=str(problem))

    async def check_hash(self, text: str, password: str) -> bool:
        """Whether this is the password of a hash that stands in the configuration."""
        parts = read_hash(text)
        if parts is None or len(password) > 512:
            return False
        salt, iterations, stored_key, server_key = parts
        verifier = ScramVerifier("sha256", salt, iterations, stored_key, server_key)
        return await self._off_loop(lambda: verifier.verify_cleartext(password))

    def check_may_try(self, user_id: UserId, address: str) -> None:
        """AccountRefused(RATE_LIMITED) where this name or this address was wrong too often."""
        now_s = self._clock_s()
        for key in (user_id, network_of(address)):
            wait_s = self._failures.wait_s(key, now_s)
            if wait_s > 0:
                raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)

    def failed(self, user_id: UserId, address: str) -> None:
        now_s = self._clock_s()
        self._failures.take(user_id, now_s)
        self._failures.take(network_of(address), now_s)

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise AccountRefused(AccountRefusal.RATE_LIMITED, retry_after_ms=1000)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def make_hash(password: str, iterations: int) -> str:
    """The hash of a password for the configuration. Raises PasswordRefused; takes a while."""
    made = ScramVerifier.make(password, secrets.token_bytes(16), iterations, "sha256")
    return write_hash(made.salt, made.iterations, made.stored_key, made.server_key)


def _form(hash_name: HashName) -> str:
    return f"scram-sha-{hash_name.removeprefix('sha')}"


def _apps(hash_name: HashName) -> str:
    return f"apps-sha-{hash_name.removeprefix('sha')}"
