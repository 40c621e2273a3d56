"""Keys of other servers: from memory, from the store, from the server itself, from a notary; kept while valid.

spec: Matrix server-server-api retrieving-server-keys, querying-keys-through-another-server; appendices
checking-for-a-signature step 3. The ring says which keys are known and until when they count; whether that matters
for an event is the receiver's (room versions differ: enforce_key_validity).

How often other servers are asked is bounded, since strangers choose the names: one request at a time per server, a
pause after each answer and a growing one after each failure, and a number of requests altogether.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.json_view import int_at
from tripoint.core.signing import verify_json
from tripoint.matrix.keys.document import KeyDocument, VerifyKey, parse_key_document
from tripoint.matrix.keys.own import OwnKeys
from tripoint.matrix.keys.ports import KeySource, KeyStore, KnownKey

log = structlog.get_logger("tripoint")

# Servers whose keys stay in memory; some 2 kB each.
CACHED_SERVERS: Final = 10_000
# Keys kept of one server, current and past. A server that changes its key every week has years.
MAX_KEPT: Final = 200
# After an answer: a signature by a key that it does not list is no reason to ask again at once.
PAUSE_MS: Final = 60_000
# After failures: doubling from the first to the last.
FIRST_BACK_OFF_MS: Final = 60_000
MAX_BACK_OFF_MS: Final = 3_600_000
# Requests for keys at a time; more wait.
MAX_FETCHES: Final = 200


@dataclass(slots=True)
class _Server:
    """What is known of one server. `latest_ms`: when its newest document was fetched."""

    keys: dict[str, KnownKey] = field(default_factory=dict)
    latest_ms: int = 0
    asked_ms: int = 0
    failures: int = 0

    def pause_ms(self) -> int:
        """How long it is left alone after it was last asked."""
        if self.failures == 0:
            return PAUSE_MS
        return min(int(FIRST_BACK_OFF_MS * 2 ** min(self.failures - 1, 10)), MAX_BACK_OFF_MS)


class KeyRing:
    """`notaries` are asked, in order, where a server does not answer. `now_ms`: wall clock."""

    def __init__(
        self,
        own: OwnKeys,
        store: KeyStore,
        source: KeySource,
        notaries: Sequence[ServerName],
        now_ms: Callable[[], int],
    ) -> None:
        self._own = own
        self._store = store
        self._source = source
        self._notaries = tuple(notary for notary in notaries if notary != own.server)
        self._now_ms = now_ms
        self._servers: OrderedDict[ServerName, _Server] = OrderedDict()
        self._fetching: dict[ServerName, asyncio.Task[None]] = {}
        self._fetches = asyncio.Semaphore(MAX_FETCHES)

    async def keys(
        self, server: ServerName, key_ids: Collection[str], minimum_valid_until_ts_ms: int
    ) -> Mapping[str, VerifyKey]:
        """Those of the keys that are known, after asking for what is missing or not valid that long.

        Keys that ran out or are old are returned as well: VerifyKey says so. Never raises RemoteFailed: what
        cannot be had is not in the result.
        """
        if server == self._own.server:
            own = self._own.document().keys
            return {key_id: own[key_id] for key_id in key_ids if key_id in own}
        known = await self._asked(server, key_ids, minimum_valid_until_ts_ms)
        return {key_id: known.keys[key_id].key for key_id in key_ids if key_id in known.keys}

    async def request_keys(self, server: ServerName, key_ids: Collection[str]) -> Mapping[str, str]:
        """Public keys with which `server` may sign requests now: listed as current in its newest document.

        spec: publishing-keys: old_verify_keys "are only valid for signing events".
        """
        now = self._now_ms()
        if server == self._own.server:
            found = await self.keys(server, key_ids, now)
            return {key_id: key.public_key for key_id, key in found.items() if not key.old}
        known = await self._asked(server, key_ids, now)
        kept = [known.keys[key_id] for key_id in key_ids if key_id in known.keys]
        return {
            one.key.key_id: one.key.public_key
            for one in kept
            if not one.key.old
            and one.key.is_valid_at(now)
            # A key that was left out of the newest document is not current any more, whatever an older one promised.
            and one.fetched_ts_ms == known.latest_ms
        }

    async def documents(
        self, server: ServerName, key_ids: Mapping[str, int | None], minimum_ms: int | None, *, fetch: bool = True
    ) -> Sequence[JsonObject]:
        """Documents for a notary's answer: those with the asked keys (key id → until when; none: all).

        Until when they should be valid: their own time, `minimum_ms` where there is none, now where that is None.

        The server is asked again where a document is not valid that long, or past half of its life; if it does
        not answer, what was had last is returned. `fetch` False: what is known alone.
        """
        if server == self._own.server:
            return [self._own.document().json]
        known = await self._known(server)
        if fetch and self._is_stale(known, key_ids, minimum_ms):
            known = await self._refreshed(server)
        found = [kept for key_id, kept in known.keys.items() if not key_ids or key_id in key_ids]
        if not found:
            # spec: "The notary server may return multiple keys regardless of the Key IDs given".
            found = list(known.keys.values())
        return list({kept.fetched_ts_ms: kept.document for kept in found}.values())

    def _is_stale(self, known: _Server, key_ids: Mapping[str, int | None], minimum_ms: int | None) -> bool:
        now = self._now_ms()
        default = now if minimum_ms is None else minimum_ms
        wanted = key_ids or dict.fromkeys(known.keys)
        if not wanted:
            return True
        for key_id, own in wanted.items():
            minimum = default if own is None else own
            kept = known.keys.get(key_id)
            if kept is None:
                return True
            until = int_at(kept.document, "valid_until_ts") or 0
            # spec: getServerKey: "notary servers should cache a response for half of its lifetime".
            half = kept.fetched_ts_ms + max(0, until - kept.fetched_ts_ms) // 2
            if kept.fetched_ts_ms == known.latest_ms and (until < minimum or now >= half):
                return True
        return False

    async def _asked(self, server: ServerName, key_ids: Collection[str], minimum_ms: int) -> _Server:
        """What is known of a server, after asking where one of the keys is missing or not valid that long."""
        known = await self._known(server)
        for key_id in key_ids:
            kept = known.keys.get(key_id)
            if kept is None or (not kept.key.old and not kept.key.is_valid_at(minimum_ms)):
                return await self._refreshed(server)
        return known

    async def _known(self, server: ServerName) -> _Server:
        known = self._servers.get(server)
        if known is None:
            loaded = await self._store.load(server)
            known = self._servers.get(server)
            if known is None:
                known = _Server({kept.key.key_id: kept for kept in loaded})
                known.latest_ms = max((kept.fetched_ts_ms for kept in loaded), default=0)
                self._servers[server] = known
                while len(self._servers) > CACHED_SERVERS:
                    self._servers.popitem(last=False)
        self._servers.move_to_end(server)
        return known

    async def _refreshed(self, server: ServerName) -> _Server:
        """What is known after the server was asked, if it may be asked now."""
        known = await self._known(server)
        task = self._fetching.get(server)
        if task is None:
            if known.asked_ms and 0 <= self._now_ms() - known.asked_ms < known.pause_ms():
                return known
            task = asyncio.create_task(self._fetch(server, known))
            self._fetching[server] = task
            task.add_done_callback(lambda _: self._fetching.pop(server, None))
        # Shielded: whoever else waits for these keys is not to suffer from one who went away.
        await asyncio.shield(task)
        return known

    async def _fetch(self, server: ServerName, known: _Server) -> None:
        found = await self._from_server(server)
        # Keys of notaries come from themselves: two that vouch for each other would wait for each other.
        if not found and server not in self._notaries:
            found = await self._from_notaries(server, known)
        known.asked_ms = self._now_ms()
        known.failures = 0 if found else known.failures + 1
        if found:
            await self._keep(server, known, found)

    async def _from_server(self, server: ServerName) -> list[KeyDocument]:
        try:
            async with self._fetches:
                obj = await self._source.server_keys(server)
            return [parse_key_document(obj, server, self._now_ms())]
        except (RemoteFailed, PeerError) as error:
            log.info("keys.not_fetched", server=server, reason=str(error))
            return []

    async def _from_notaries(self, server: ServerName, known: _Server) -> list[KeyDocument]:
        """The documents of the first notary that has any, oldest first. They count only with the signatures of
        both: the notary says whose keys these are, and the keys say that they are in use."""
        for notary in self._notaries:
            try:
                async with self._fetches:
                    objects = await self._source.notary_keys(notary, server, self._now_ms())
                notary_keys = await self.request_keys(notary, _signers(objects, notary))
                found = []
                for obj in objects[:MAX_KEPT]:
                    verify_json(obj, notary, notary_keys)
                    document = parse_key_document(obj, server, self._now_ms())
                    if not _is_outdated(document, known):
                        found.append(document)
                if found:
                    return sorted(found, key=lambda document: document.said_valid_until_ts_ms)
            except (RemoteFailed, PeerError) as error:
                log.info("keys.notary_failed", server=server, notary=notary, reason=str(error))
        return []

    async def _keep(self, server: ServerName, known: _Server, documents: Sequence[KeyDocument]) -> None:
        """Take up documents, oldest first, and drop what is too much: what ran out longest ago."""
        changed: dict[str, KnownKey] = {}
        for at, document in enumerate(documents):
            # Documents of one answer came at one time, and only the newest says what is current.
            fetched = max(document.fetched_ts_ms, known.latest_ms + 1) + at
            known.latest_ms = fetched
            for key_id, key in document.keys.items():
                before = known.keys.get(key_id)
                if before is not None and before.key.public_key != key.public_key:
                    log.warning("keys.changed", server=server, key_id=key_id)
                changed[key_id] = known.keys[key_id] = KnownKey(server, key, fetched, document.json)
        newest = documents[-1].keys
        by_age = sorted(known.keys.values(), key=lambda kept: (kept.key.key_id in newest, kept.key.valid_until_ts_ms))
        gone = [kept.key.key_id for kept in by_age[: max(0, len(by_age) - MAX_KEPT)]]
        for key_id in gone:
            del known.keys[key_id]
            changed.pop(key_id, None)
        await self._store.put(server, list(changed.values()), gone)

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _signers(objects: Sequence[JsonObject], server: ServerName) -> set[str]:
    """The key ids by which a server has signed any of the objects."""
    found: set[str] = set()
    for obj in objects:
        signatures = obj.get("signatures")
        own = signatures.get(server) if isinstance(signatures, dict) else None
        if isinstance(own, dict):
            found.update(list(own)[:8])
    return found


def _is_outdated(document: KeyDocument, known: _Server) -> bool:
    """Whether we have seen something newer than what a notary kept: by its time, or since a key that it calls
    current has been retired or left out (a document may promise any time)."""
    for key_id, kept in known.keys.items():
        if (int_at(kept.document, "valid_until_ts") or 0) > document.said_valid_until_ts_ms:
            return True
        shown = document.keys.get(key_id)
        if shown is not None and not shown.old and (kept.key.old or kept.fetched_ts_ms != known.latest_ms):
            return True
    return False
