"""PDUs as they come in: format, signatures, hashes. What passes is an event that rooms may judge.

spec: Matrix server-server-api "Checks performed on receipt of a PDU" 1 to 3, "Validating hashes and signatures on
received events", "Retrieving server keys" (validity of keys for events)
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from tripoint.core.canonical_json import Json
from tripoint.core.errors import PeerError
from tripoint.core.event import (
    Event,
    check_content_hash,
    parse_event,
    redact,
    required_signers,
    verify_event_signature,
)
from tripoint.core.ids import ServerName
from tripoint.core.json_view import object_at
from tripoint.core.room_version import RoomVersion
from tripoint.matrix.keys.document import VerifyKey

log = structlog.get_logger()

# A check takes some 0.2 ms: in a state of thousands of events others have their turn after so many.
CHECKED_AT_ONCE = 20


class Keys(Protocol):
    """What is asked of the ring of keys (keys/ring.py)."""

    async def keys(
        self, server: ServerName, key_ids: Sequence[str], minimum_valid_until_ts_ms: int
    ) -> Mapping[str, VerifyKey]: ...


class PduCheck:
    """Turns JSON of other servers into events."""

    def __init__(self, ring: Keys) -> None:
        self._ring = ring

    async def check(self, pdu: Json, version: RoomVersion) -> Event:
        """One PDU. Raises PeerError where it is to be dropped: malformed, or not signed as it must be.

        An event whose content hash does not fit comes back redacted: "the event should be redacted before
        processing".
        """
        if not isinstance(pdu, dict):
            raise PeerError("a PDU is a JSON object")
        return await self.verify(parse_event(pdu, version))

    async def verify(self, event: Event) -> Event:
        """As check(), of an event whose format was looked at."""
        await self.check_signatures(event)
        return event if check_content_hash(event) else redact(event)

    async def check_signatures(self, event: Event) -> None:
        """Raises PeerError unless every server has signed the event that must have."""
        for server in sorted(required_signers(event)):
            verify_event_signature(event, server, await self._keys(event, server))

    async def check_signature_of(self, event: Event, server: ServerName) -> None:
        """Raises PeerError unless this server has signed the event."""
        verify_event_signature(event, server, await self._keys(event, server))

    async def check_all(self, pdus: Sequence[Json], version: RoomVersion) -> list[Event]:
        """Those that pass, in order; what does not is dropped."""
        passed = []
        for number, pdu in enumerate(pdus):
            try:
                passed.append(await self.check(pdu, version))
            except PeerError as error:
                log.debug("federation.pdu_dropped", reason=str(error))
            if number % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
        return passed

    async def _keys(self, event: Event, server: ServerName) -> dict[str, str]:
        """The keys of a server with which it may have signed this event: key id to public key."""
        named = list(object_at(event.signatures, server))
        at_ms = event.origin_server_ts if event.version.enforce_key_validity else 0
        found = await self._ring.keys(server, named, at_ms)
        # spec: rooms/v5: a key counts for an event only while it was valid.
        return {
            key_id: key.public_key
            for key_id, key in found.items()
            if not event.version.enforce_key_validity or key.is_valid_at(event.origin_server_ts)
        }
