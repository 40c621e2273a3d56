"""The roster of XMPP and the account data that shows it on Matrix are one thing.

spec: RFC6121 2; docs/mapping.md 13.10
"""

import asyncio

import pytest
from tests.support.middle import party, run

from tripoint.accounts.data import ROSTER
from tripoint.accounts.ports import RosterItem
from tripoint.accounts.refusals import AccountRefused
from tripoint.rooms.changes import AccountDataChanged
from tripoint.store.interface import StoreError


def item(jid: str, subscription: str = "none", name: str | None = "") -> RosterItem:
    return RosterItem(jid, name, subscription, False, ())


def test_items_that_are_set_at_once_are_all_shown() -> None:
    async def work() -> None:
        async with party() as at:
            alice = await at.account("alice")
            names = [f"friend{n}@example.org" for n in range(20)]
            await asyncio.gather(*(at.middle.accounts.set_roster_item(alice, item(name)) for name in names))
            shown = await at.middle.accounts.account_data(alice, None, ROSTER)
            assert shown is not None and isinstance(shown["contacts"], dict)
            assert set(shown["contacts"]) == set(await at.middle.accounts.roster(alice)) == set(names)
            assert sum(isinstance(change, AccountDataChanged) for change in at.user_changes) == len(names)

    run(work)


def test_who_only_asks_is_not_told_of() -> None:
    async def work() -> None:
        async with party() as at:
            alice = await at.account("alice")
            await at.middle.accounts.set_roster_item(alice, item("bob@example.org", name=None))
            assert await at.middle.accounts.account_data(alice, None, ROSTER) is None
            await at.middle.accounts.set_roster_item(alice, item("bob@example.org", "both", name=None))
            await at.middle.accounts.set_roster_item(alice, item("bob@example.org", "remove", name=None))
            assert await at.middle.accounts.account_data(alice, None, ROSTER) == {"contacts": {}}

    run(work)


def test_what_the_store_cannot_take_is_in_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with party() as at:
            alice = await at.account("alice")

            async def full(*_: object) -> None:
                raise StoreError("the disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(at.middle.stream, "commit", full)
                with pytest.raises(AccountRefused):
                    await at.middle.accounts.set_roster_item(alice, item("bob@example.org"))
            assert await at.middle.accounts.roster(alice) == {}
            assert await at.middle.accounts.account_data(alice, None, ROSTER) is None

    run(work)
