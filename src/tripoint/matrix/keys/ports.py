"""What the ring of keys asks of others: a place to keep keys, a way to other servers. Runtime joins them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.matrix.keys.document import VerifyKey


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of another server and the document that showed it last, fetched at `fetched_ts_ms`."""

    server: ServerName
    key: VerifyKey
    fetched_ts_ms: int
    document: JsonObject = field(repr=False)


class KeyStore(Protocol):
    """Where keys outlast a restart."""

    async def load(self, server: ServerName) -> Sequence[KnownKey]:
        """Everything kept of one server."""

    async def put(self, server: ServerName, keys: Sequence[KnownKey], gone: Sequence[str]) -> None:
        """Keep `keys`, forget the key ids `gone`. Losing it costs another request: errors are the store's to log."""


class KeySource(Protocol):
    """The network. Each raises RemoteFailed."""

    async def server_keys(self, server: ServerName) -> JsonObject:
        """GET /_matrix/key/v2/server of a server."""

    async def notary_keys(
        self, notary: ServerName, server: ServerName, minimum_valid_until_ts_ms: int
    ) -> Sequence[JsonObject]:
        """What a notary has of a server: documents, the newest not necessarily first."""
