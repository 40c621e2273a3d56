"""Names that are kept for who is invited to register.  spec: XEP-0401 6.2, XEP-0445 5"""

import asyncio
from pathlib import Path

import pytest
from tests.support.middle import party

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.store.sqlite import SqliteStore


def test_a_kept_name_is_kept_over_a_restart_from_every_way_to_get_one(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "tripoint.db"
        async with party(store=SqliteStore(path)) as p:
            await p.middle.accounts.registration_tokens.add("for-juliet", 1, None, username="juliet")
        async with party(store=SqliteStore(path)) as p:
            accounts = p.middle.accounts
            for way in (
                accounts.check_name("juliet"),
                accounts.register("juliet", "correct horse", address="x"),
                accounts.register("ju1iet", "correct horse", address="x"),
                accounts.add_account("juliet", "correct horse", admin=False),
                accounts.registration_tokens.add("another", 1, None, username="juliet"),
            ):
                with pytest.raises(AccountRefused) as caught:
                    await way
                assert caught.value.refusal is AccountRefusal.NAME_TAKEN
            await accounts.register("juliet", "correct horse", address="x", registration_token="for-juliet")
        async with party(store=SqliteStore(path)) as p:
            used = await p.middle.store.load_registration_token("for-juliet")
            assert used is not None
            assert used.uses_left == 0

    asyncio.run(work())
