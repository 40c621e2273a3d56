"""Servers with keys for tests, on a network in memory: what each publishes, who answers, how often it was asked."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from tests.support.middle import Clock
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, sign_json
from tripoint.matrix.keys.document import DAY_MS, OldKey
from tripoint.matrix.keys.own import OwnKeys
from tripoint.matrix.keys.ports import KnownKey
from tripoint.matrix.keys.ring import KeyRing

T = TypeVar("T")
HERE = ServerName("here.example")
FAR = ServerName("far.example")
NOTARY = ServerName("notary.example")


def key(name: str, seed: int = 1) -> SigningKey:
    return SigningKey(f"ed25519:{name}", bytes([seed]) * 32)


def key_document(
    server: ServerName,
    now_ms: int,
    *current: SigningKey,
    old: Sequence[OldKey] = (),
    valid_ms: int = DAY_MS,
    signer: SigningKey | None = None,
) -> JsonObject:
    """What a server with these keys publishes."""
    document: JsonObject = {
        "server_name": server,
        "verify_keys": {one.key_id: {"key": one.verify_key_b64} for one in current},
        "old_verify_keys": {
            one.key_id: {"key": one.public_key, "expired_ts": one.expired_ts_ms} for one in old
        },
        "valid_until_ts": now_ms + valid_ms,
    }
    return sign_json(document, server, signer or current[0])


class Network:
    """matrix.keys.ports.KeySource. `published` is answered; a server that is not in it does not answer."""

    def __init__(self) -> None:
        self.published: dict[ServerName, JsonObject] = {}
        self.notaries: dict[ServerName, list[JsonObject]] = {}
        self.asked: list[str] = []

    async def server_keys(self, server: ServerName) -> JsonObject:
        self.asked.append(server)
        return _reached(self.published, server)

    async def notary_keys(
        self, notary: ServerName, server: ServerName, minimum_valid_until_ts_ms: int
    ) -> Sequence[JsonObject]:
        self.asked.append(f"{notary} about {server}")
        return _reached(self.notaries, notary)


def _reached(table: Mapping[ServerName, T], server: ServerName) -> T:
    if server not in table:
        raise RemoteFailed(server, "gone")
    return table[server]


class Kept:
    """matrix.keys.ports.KeyStore in a dictionary."""

    def __init__(self) -> None:
        self.keys: dict[tuple[ServerName, str], KnownKey] = {}

    async def load(self, server: ServerName) -> Sequence[KnownKey]:
        return [one for (name, _), one in sorted(self.keys.items()) if name == server]

    async def put(self, server: ServerName, keys: Sequence[KnownKey], gone: Sequence[str]) -> None:
        for one in keys:
            self.keys[server, one.key.key_id] = one
        for key_id in gone:
            self.keys.pop((server, key_id), None)


class World:
    """One ring of keys and everything around it."""

    def __init__(self, *notaries: ServerName) -> None:
        self.clock = Clock()
        self.network = Network()
        self.kept = Kept()
        self.own = OwnKeys(HERE, key("here", 9), [], self.clock.ms)
        self.notaries = notaries
        self.ring = self.restarted()

    def restarted(self) -> KeyRing:
        """A new ring on the same store."""
        self.ring = KeyRing(self.own, self.kept, self.network, self.notaries, self.clock.ms)
        return self.ring

    def publish(self, server: ServerName, *current: SigningKey, **how: object) -> JsonObject:
        document = key_document(server, self.clock.ms(), *current, **how)  # type: ignore[arg-type]
        self.network.published[server] = document
        return document
