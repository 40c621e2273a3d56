"""What an event of another server costs: format, signature, hash, rules, state, store. All of it, 1,000 times.

Two servers in one process, real signatures, SQLite behind the one that receives. The key of the other server is
known, as it is after its first event.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from tests.federation.islands import Island, bring_in, islands, make_room

from bench.measure import cpu, yardstick
from tripoint.core.ids import ServerName
from tripoint.core.room_version import get_room_version
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.keys.document import VerifyKey
from tripoint.rooms.accept import Verdict
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore

EVENTS = 1_000


class KnownKeys:
    """A ring that has the keys of one server."""

    def __init__(self, island: Island) -> None:
        key = island.signer.key
        self._keys = {key.key_id: VerifyKey(key.key_id, key.verify_key_b64, 2**52)}

    async def keys(
        self, server: ServerName, key_ids: Sequence[str], minimum_valid_until_ts_ms: int
    ) -> Mapping[str, VerifyKey]:
        return self._keys


async def measure(version: str, together: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = [SqliteStore(Path(folder) / "bench.db"), MemoryStore()]
        async with islands("a.org", "b.org", stores=stores) as (one, two):
            alice, bob = await one.party.account("alice"), await two.party.account("bob")
            room_id = await make_room(one, alice, version)
            await bring_in(one, two, bob, room_id)
            for number in range(EVENTS):
                two.party.clock.now += 1
                await two.party.say(bob, room_id, f"message number {number}, of some words as people write them")
            wire = [event.json for event in two.outgoing if event.sender == bob][-EVENTS:]
            check, accept = PduCheck(KnownKeys(two)), one.party.middle.accept
            rules = get_room_version(version)
            with cpu(f"version {version}: {EVENTS} events, {together} in a transaction", EVENTS, "event"):
                for start in range(0, EVENTS, together):
                    # A transaction's body comes as one JSON text.
                    pdus = orjson.loads(b"[" + b",".join(wire[start : start + together]) + b"]")
                    verdicts = await accept.receive_all([await check.check(pdu, rules) for pdu in pdus])
                    assert set(verdicts) == {Verdict.ACCEPTED}, verdicts
            with cpu("  of that, verification alone", EVENTS, "event"):
                for json in wire:
                    await check.check(orjson.loads(json), rules)


def main() -> None:
    yardstick()
    for version in [arg for arg in sys.argv[1:] if arg.isdecimal()] or ["1", "11", "12"]:
        asyncio.run(measure(version, 50))
    yardstick()


if __name__ == "__main__":
    main()
