"""Federation, wired: the outgoing client, discovery, keys and their place in the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from tripoint import __version__
from tripoint.config.load import server_name
from tripoint.config.options import Config
from tripoint.core.canonical_json import decode_object, encode
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.core.signing import SigningKey
from tripoint.matrix.federation.identity import IdentityClient
from tripoint.matrix.federation.trust import Trust
from tripoint.matrix.keys.document import OldKey, VerifyKey
from tripoint.matrix.keys.own import OwnKeys
from tripoint.matrix.keys.ports import KnownKey
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.discovery import Discovery, Names
from tripoint.net.outbound import Outbound, client_context
from tripoint.store.interface import KeyStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutServerKey

log = structlog.get_logger("tripoint")


class StoredKeys:
    """matrix.keys.ports.KeyStore on the store."""

    def __init__(self, store: KeyStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream

    async def load(self, server: ServerName) -> Sequence[KnownKey]:
        found = []
        for row in await self._store.load_server_keys(server):
            assert row.public_key is not None, "a key without a key is not stored"
            key = VerifyKey(row.key_id, row.public_key, row.valid_until_ts_ms, row.old)
            found.append(KnownKey(server, key, row.fetched_ts_ms, decode_object(row.document)))
        return found

    async def put(self, server: ServerName, keys: Sequence[KnownKey], gone: Sequence[str]) -> None:
        writes = [PutServerKey(server, key_id, None, True, 0, 0, b"") for key_id in gone]
        for one in keys:
            key = one.key
            document = encode(one.document)
            writes.append(
                PutServerKey(
                    server, key.key_id, key.public_key, key.old, key.valid_until_ts_ms, one.fetched_ts_ms, document
                )
            )
        try:
            await self._stream.commit(writes)
        except StoreError as error:
            log.warning("keys.not_stored", server=server, error=str(error))


@dataclass(frozen=True, slots=True)
class Federation:
    """What the app starts and stops of it."""

    trust: Trust
    outbound: Outbound
    discovery: Discovery
    identity: IdentityClient

    async def close(self) -> None:
        await self.trust.close()
        self.discovery.close()
        await self.outbound.close()


def build_federation(
    config: Config,
    store: KeyStore,
    stream: Stream,
    key: SigningKey,
    old_keys: Sequence[OldKey],
    names: Names,
    now_ms: Callable[[], int],
    *,
    same_identity: bool = False,
) -> Federation:
    """Wire it; nothing is asked of anybody yet. Raises ValueError for authorities that cannot be read."""
    outbound = Outbound(
        AddressPolicy(config.outbound.allow_networks),
        names.addresses,
        client_context(config.tls.extra_authorities),
        f"tripoint/{__version__}",
    )
    discovery = Discovery(names, outbound)
    trust = Trust(
        OwnKeys(server_name(config), key, old_keys, now_ms, same_identity=same_identity),
        StoredKeys(store, stream),
        outbound,
        discovery.route,
        [parse_server_name(notary) for notary in config.outbound.key_notaries],
        now_ms,
    )
    identity = IdentityClient(server_name(config), key, outbound, config.federation.identity_servers)
    return Federation(trust, outbound, discovery, identity)
