"""2,000 forks of one room, one after the other: what each costs, and what the room has become.

One hostile server, all forks from the same place: messages, then state of its own user. In a room with some
thousand members, whose state is that of a public room. `bench.forks 1000` takes another number of members.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.federation.islands import bring_in, islands, make_room

from bench.measure import cpu, yardstick
from tripoint.core.event import EventDraft, build_event
from tripoint.core.ids import UserId
from tripoint.rooms.accept import Verdict
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore

FORKS = 2_000


async def measure(members: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        async with islands("a.org", "b.org", stores=[SqliteStore(path), MemoryStore()]) as (one, two):
            alice, bob = await one.party.account("alice"), await two.party.account("bob")
            room_id = await make_room(one, alice, "12")
            await bring_in(one, two, bob, room_id)
            accept = one.party.middle.accept
            room = await one.party.middle.loaded.get(room_id)
            levels, rules = room.state["m.room.power_levels", ""], room.state["m.room.join_rules", ""]
            clock = 1_000

            def event(sender: UserId, type_: str, content: dict[str, object], state_key: str | None, *auth: str):  # type: ignore[no-untyped-def]
                nonlocal clock
                clock += 1
                return build_event(
                    EventDraft(type_, sender, content, state_key),  # type: ignore[arg-type]
                    room.version, room_id=room_id, prev_events=trunk, auth_events=auth,  # type: ignore[arg-type]
                    depth=10, origin_server_ts=clock, server=two.name, key=two.signer.key,
                )  # fmt: skip

            for start in range(0, members, 100):
                batch = []
                trunk = list(room.head.extremities)
                for number in range(start, start + 100):
                    user = UserId(f"@u{number}:b.org")
                    joined = {"membership": "join"}
                    batch.append(event(user, "m.room.member", joined, user, levels.event_id, rules.event_id))
                    trunk = [batch[-1].event_id]
                assert set(await accept.receive_all(batch)) == {Verdict.ACCEPTED}
            trunk = list(room.head.extremities)
            own = room.state["m.room.member", bob]
            said = [
                event(bob, "m.room.message", {"n": n}, None, levels.event_id, own.event_id) for n in range(FORKS)
            ]
            renamed = [
                event(
                    bob, "m.room.member", {"membership": "join", "displayname": str(n)}, bob,
                    levels.event_id, own.event_id, rules.event_id,
                )
                for n in range(FORKS)
            ]  # fmt: skip
            for what, forks in (("messages", said), ("state", renamed)):
                size = path.stat().st_size + path.with_suffix(".db-wal").stat().st_size
                with cpu(f"{members} members, {FORKS} forks, {what}", FORKS, "fork"):
                    verdicts = await accept.receive_all(forks)
                grown = (path.stat().st_size + path.with_suffix(".db-wal").stat().st_size - size) // FORKS
                ends = len(room.head.extremities)
                print(f"  {set(verdicts)}, {ends} ends, {grown} bytes on disk each")


def main() -> None:
    yardstick()
    for members in [int(arg) for arg in sys.argv[1:] if arg.isdecimal()] or [100, 1_000]:
        asyncio.run(measure(members))
    yardstick()


if __name__ == "__main__":
    main()
