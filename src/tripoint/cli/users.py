"""`tripoint user`: accounts from the command line, beside a running server or without one.

A running server holds the folder's lock, so these commands open the database alone: SQLite lets two
processes write in turn. What a running server has in memory of accounts is only what it has seen: a new
account is found when it first logs in.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from tripoint.accounts.administration import ListedAccount
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.registration_tokens import token_line
from tripoint.accounts.reports import report_line
from tripoint.accounts.service import Accounts
from tripoint.config.options import Config
from tripoint.core.listings import AccountQuery, Page
from tripoint.core.signing import SigningKey
from tripoint.runtime.middle import build_middle, clock_ms
from tripoint.store.interface import StoreError
from tripoint.store.sqlite import SqliteStore

_DAY_S = 86_400
_SHOWN = 1000


def add_user(config: Config, name: str, password: str, *, admin: bool) -> int:
    """Make an account; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        account = await accounts.add_account(name, password, admin=admin)
        click.echo(f"{account.user_id} is made. It works on Matrix, IRC and XMPP alike.")

    return with_accounts(config, work)


def list_users(config: Config, name: str | None, *, closed: bool) -> int:
    """Print accounts, guests aside, with what is said of them; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        shown, total, deactivated = 0, 1, None if closed else False
        while shown < total:
            query = AccountQuery(Page(shown, _SHOWN), name=name, guests=False, deactivated=deactivated)
            rows, total = await accounts.administration.listed(query)
            for row in rows:
                click.echo(account_line(row))
            if not rows:
                break
            shown += len(rows)
        click.echo(f"{total} account{'s' if total != 1 else ''}.")

    return with_accounts(config, work)


def account_line(row: ListedAccount) -> str:
    """An account in one line, for people."""
    account = row.account
    states = [
        name
        for name in ("admin", "deactivated", "locked", "suspended", "shadow_banned")
        if getattr(account, name)
    ]
    shown = f" {row.displayname}" if row.displayname not in (None, account.name) else ""
    said = f" ({', '.join(states).replace('_', '-')})" if states else ""
    return f"{account.user_id}{shown}{said}"


def add_token(config: Config, uses: int, days: int) -> int:
    """Make a registration token and print it; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        click.echo(await accounts.registration_tokens.add(None, uses or None, days * _DAY_S or None))

    return with_accounts(config, work)


def show_tokens(config: Config) -> int:
    """Print the registration tokens that are good for something; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        listed = await accounts.registration_tokens.listed()
        for row in listed:
            click.echo(token_line(row, clock_ms()))
        if not listed:
            click.echo("There are none.")

    return with_accounts(config, work)


def drop_token(config: Config, token: str) -> int:
    """Take a registration token away; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        if not await accounts.registration_tokens.drop(token):
            raise AccountRefused(AccountRefusal.BAD_REGISTRATION_TOKEN, "There is no such token")
        click.echo("Nobody can use that token any more.")

    return with_accounts(config, work)


def show_reports(config: Config, done: int | None) -> int:
    """Print what people reported, or say that one was dealt with; returns the exit status."""

    async def work(accounts: Accounts) -> None:
        if done is not None:
            found = await accounts.reports.done(done)
            click.echo(f"Report {done} is dealt with." if found else f"There is no report {done}.", err=not found)
            return
        waiting = await accounts.reports.waiting(_SHOWN)
        for report in waiting:
            click.echo(report_line(report))
        if not waiting:
            click.echo("Nothing was reported.")

    return with_accounts(config, work)


def with_accounts(config: Config, work: Callable[[Accounts], Awaitable[None]]) -> int:
    """Do something with the accounts of the configured folder; returns the exit status."""
    folder = Path(config.server.data_dir)
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return asyncio.run(_run(config, folder, work))


async def _run(config: Config, folder: Path, work: Callable[[Accounts], Awaitable[None]]) -> int:
    try:
        store = SqliteStore(folder / "tripoint.db")
    except StoreError as error:
        click.echo(str(error), err=True)
        return 1
    # Nothing is signed here, and no guest of a running server may be ended: a key of no account will do.
    middle = await build_middle(
        config, store, SigningKey("ed25519:none", bytes(32)), secret=bytes(32), end_guests=False
    )
    try:
        await work(middle.accounts)
    except AccountRefused as refused:
        click.echo(refused.text, err=True)
        return 1
    finally:
        await middle.close()
    return 0
