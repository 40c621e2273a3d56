"""Who shares a room with somebody, however little of it is in memory. See rooms.ports.RoomReader.sharing."""

from itertools import product

import pytest

from tests.support.middle import party, run
from tripoint.core.ids import UserId
from tripoint.rooms import reader
from tripoint.rooms.commands import Join, Leave, SendState
from tripoint.store.memory import MemoryStore


@pytest.mark.parametrize(("many", "restart"), [*product((0, 100), (False, True))])
def test_those_who_are_in_a_room_together(many: int, restart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(reader, "MANY", many)
        store = MemoryStore()
        async with party(store=store) as p:
            alice, bob, carol, dave, erin = await p.accounts("alice", "bob", "carol", "dave", "erin")
            plain = await p.room(alice, bob, carol)
            secret = await p.room(bob, alice, dave)
            content: dict[str, object] = {"algorithm": "m.megolm.v1.aes-sha2"}
            encryption = SendState(actor=bob, room_id=secret, type="m.room.encryption", state_key="", content=content)  # type: ignore[arg-type]
            await p.do(encryption)
            await p.room(dave, erin)
            await p.do(Leave(actor=carol, room_id=plain))
            if not restart:
                await check(p.middle.reader, alice, bob, carol, dave, erin)
                await p.do(Join(actor=carol, room_id=plain))
                everybody = [bob, carol, dave, erin]
                assert await p.middle.reader.sharing(alice, everybody) == {bob, carol, dave}
        if restart:
            store._closed = False
            async with party(store=store) as p:
                await check(p.middle.reader, alice, bob, carol, dave, erin)

    run(work)


async def check(r: reader.Reader, alice: UserId, bob: UserId, carol: UserId, dave: UserId, erin: UserId) -> None:
    everybody = [alice, bob, carol, dave, erin, UserId("@x:other.org")]
    assert await r.sharing(alice, everybody) == {alice, bob, dave}
    assert await r.sharing(alice, everybody, encrypted=True) == {alice, bob, dave}
    assert await r.sharing(carol, everybody) == frozenset()
    assert await r.sharing(erin, everybody) == {dave, erin}
    assert await r.sharing(erin, everybody, encrypted=True) == frozenset()
    assert await r.sharing(bob, []) == frozenset()
