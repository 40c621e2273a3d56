"""Bans from the server and hosts of accounts: kept, met at every login, told. spec: docs/mapping.md 9.4, 18.4"""

import pytest
from tests.support.middle import Clock, party, reopened, run

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import UserId
from tripoint.core.server_bans import BanKind, ServerBan, Visitor
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore

OP = "@op:example.org"


def ban(kind: BanKind, mask: str, expires: int | None = None, reason: str = "spam") -> ServerBan:
    return ServerBan(kind, mask, reason, OP, 0, expires)


def test_every_way_in_meets_them() -> None:
    async def work() -> None:
        async with party() as at:
            accounts = at.middle.accounts
            await at.account("eve")
            await accounts.bans.put(ban(BanKind.KLINE, "eve@*"))
            await accounts.bans.put(ban(BanKind.DLINE, "192.0.2.0/24", reason=""))
            for knock, text in (
                (accounts.check_password("eve", "correct horse", address="198.51.100.1"), ": spam"),
                (accounts.scram_done("eve", True, address="198.51.100.1"), ": spam"),
                (accounts.register("bob", "correct horse", address="192.0.2.9"), ""),
                (accounts.create_guest("eve2", address="192.0.2.9"), ""),
            ):
                with pytest.raises(AccountRefused) as refused:
                    await knock
                assert refused.value.refusal is AccountRefusal.BANNED
                assert refused.value.text == AccountRefusal.BANNED.value + text
            # A wrong password is one, whoever is banned: nobody learns of a ban without being the one it is about.
            with pytest.raises(AccountRefused) as refused:
                await accounts.check_password("eve", "wrong", address="198.51.100.1")
            assert refused.value.refusal is AccountRefusal.WRONG_CREDENTIALS
            assert await accounts.bans.drop(BanKind.KLINE, "eve@*")
            assert (await accounts.check_password("eve", "correct horse", address="198.51.100.1")).name == "eve"

    run(work)


def test_they_last_and_end() -> None:
    async def work() -> None:
        clock, store = Clock(), MemoryStore()
        told: list[ServerBan] = []
        async with party(store=store, clock=clock) as at:
            at.middle.accounts.bans.watch(told.append)
            for_ever = ban(BanKind.KLINE, "eve@*")
            short = ban(BanKind.DLINE, "192.0.2.1", expires=clock.ms() + 5000)
            await at.middle.accounts.bans.put(for_ever)
            await at.middle.accounts.bans.put(short)
            assert told == [for_ever, short]
        store = reopened(store)
        async with party(store=store, clock=clock) as at:
            bans = at.middle.accounts.bans
            assert bans.listed(BanKind.KLINE) == [for_ever]
            assert bans.of_address("192.0.2.1") == short
            clock.now += 6
            assert bans.of_address("192.0.2.1") is None
            assert bans.listed(BanKind.DLINE) == []
            assert not await bans.drop(BanKind.XLINE, "none")
            clock.now += 100
            await bans.put(ban(BanKind.XLINE, "*pills*"))
            assert set(store.server_bans) == {("k", "eve@*"), ("x", "*pills*")}

    run(work)


def test_what_is_not_stored_is_not_in_force() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as at:
            bans = at.middle.accounts.bans
            store.fail_next(StoreError("full"))
            with pytest.raises(AccountRefused) as refused:
                await bans.put(ban(BanKind.KLINE, "eve@*"))
            assert refused.value.refusal is AccountRefusal.SERVER_BUSY
            assert bans.of_visitor(Visitor("", ("eve",))) is None
            store.fail_next(None)

    run(work)


def test_hosts_of_accounts() -> None:
    async def work() -> None:
        store = MemoryStore()
        changed: list[UserId] = []
        async with party(store=store) as at:
            alice, bob = await at.accounts("alice", "bob")
            vhosts = at.middle.accounts.vhosts
            vhosts.watch(changed.append)
            assert await vhosts.put(alice, "Tea", "asked") == "tea.users.example.org"
            assert vhosts.host(alice) is None
            assert not await vhosts.switch(alice, on=True)
            assert [row.user_id for row in vhosts.asking()] == [alice]
            await vhosts.put(alice, "tea.users.example.org", "on")
            assert vhosts.host(alice) == "tea.users.example.org"
            for wish in ("tea", "TEA.users.example.org"):
                with pytest.raises(AccountRefused) as refused:
                    await vhosts.put(bob, wish, "asked")
                assert refused.value.refusal is AccountRefusal.NAME_TAKEN
            for wish in ("", "a b", "a..b", "-a", "a.b.c.d.e", "x" * 60, "*", "évé"):
                with pytest.raises(AccountRefused) as refused:
                    await vhosts.put(bob, wish, "asked")
                assert refused.value.refusal is AccountRefusal.BAD_VHOST
            assert await vhosts.switch(alice, on=False)
            assert vhosts.host(alice) is None
            assert changed == [alice, alice]
        async with party(store=reopened(store)) as at:
            vhosts = at.middle.accounts.vhosts
            row = vhosts.of(alice)
            assert row is not None and (row.host, row.state) == ("tea.users.example.org", "off")
            assert await vhosts.drop(alice)
            assert not await vhosts.drop(alice)

    run(work)
