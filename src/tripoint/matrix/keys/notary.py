"""Vouching for other servers' keys: /_matrix/key/v2/query.

spec: Matrix server-server-api querying-keys-through-another-server; perspectivesKeyQuery, bulkPerspectivesKeyQuery.
Anybody may ask, so a call starts a bounded number of requests to others; the rest is answered from what is kept.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tripoint.core.canonical_json import Json
from tripoint.core.errors import PeerError
from tripoint.core.ids import ServerName, parse_server_name
from tripoint.matrix.errors import bad_json, invalid, json_response
from tripoint.matrix.keys.own import OwnKeys
from tripoint.matrix.keys.ring import KeyRing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

# Servers that one call makes us ask, and servers it may name. A call for more is better split.
MAX_FETCHES: Final = 20
MAX_SERVERS: Final = 1_000
# How long a call waits for them; what has come by then is kept for the next call.
WAIT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Key ids and until when each should be valid; no key ids: all keys, until `minimum_ms`; None: until now."""

    key_ids: Mapping[str, int | None]
    minimum_ms: int | None


class NotaryEndpoints:
    """Keys of any server, with our signature beside its own."""

    def __init__(self, own: OwnKeys, ring: KeyRing) -> None:
        self._own = own
        self._ring = ring

    @endpoint("GET", "/_matrix/key/v2/query/{serverName}", auth=Auth.NONE)
    async def query_one(self, call: Call) -> Response:
        """`minimum_valid_until_ts`: "If not supplied, the notary server MUST use the current time"."""
        server = parse_server_name(call.path["serverName"])
        minimum = call.query("minimum_valid_until_ts")
        if minimum is not None and not (minimum.isascii() and minimum.isdigit() and len(minimum) <= 16):
            raise invalid("minimum_valid_until_ts is not a time in milliseconds")
        return await self._answer({server: _Wanted({}, None if minimum is None else int(minimum))})

    @endpoint("POST", "/_matrix/key/v2/query", auth=Auth.NONE)
    async def query_many(self, call: Call) -> Response:
        asked = call.json().get("server_keys")
        if not isinstance(asked, dict):
            raise bad_json("server_keys must be an object")
        if len(asked) > MAX_SERVERS:
            raise invalid(f"At most {MAX_SERVERS} servers at a time")
        wanted: dict[ServerName, _Wanted] = {}
        for name, criteria in asked.items():
            try:
                server = parse_server_name(name)
            except PeerError:
                continue  # nobody has keys of what is no server
            wanted[server] = _Wanted(_minimums(criteria), None)
        return await self._answer(wanted)

    async def _answer(self, wanted: Mapping[ServerName, _Wanted]) -> Response:
        tasks = [
            asyncio.create_task(self._ring.documents(server, one.key_ids, one.minimum_ms, fetch=at < MAX_FETCHES))
            for at, (server, one) in enumerate(wanted.items())
        ]
        documents: list[Json] = []
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=WAIT_S)
            for (server, one), task in zip(wanted.items(), tasks, strict=True):
                if task.done():
                    found = task.result()
                else:
                    # spec: "Notary servers can return keys for servers that are offline ... by using cached responses".
                    found = await self._ring.documents(server, one.key_ids, one.minimum_ms, fetch=False)
                documents += [self._own.sign(document) for document in found]
        finally:
            for task in tasks:
                task.cancel()
        return json_response({"server_keys": documents})


def _minimums(criteria: Json) -> dict[str, int | None]:
    """Key id → minimum_valid_until_ts. Raises MatrixError for what is no criteria."""
    if not isinstance(criteria, dict):
        raise bad_json("Query criteria are an object of key ids")
    found: dict[str, int | None] = {}
    for key_id, one in criteria.items():
        if not isinstance(one, dict):
            raise bad_json("The criteria of a key are an object")
        minimum = one.get("minimum_valid_until_ts")
        if minimum is not None and type(minimum) is not int:
            raise bad_json("minimum_valid_until_ts is an integer")
        found[key_id] = minimum
    return found
