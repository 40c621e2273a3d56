"""`tripoint user import`: accounts of another server, with the hashes of their passwords.

One JSON object a line (accounts/administration.py, ImportedAccount). A name that is taken is passed over, so that a
file can be given again. docs/operate/migrating.md
"""

from pathlib import Path

import click
import msgspec

from tripoint.accounts.administration import ImportedAccount
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.accounts.service import Accounts
from tripoint.cli.users import with_accounts
from tripoint.config.options import Config


def import_users(config: Config, path: Path) -> int:
    """Make the accounts of a file; returns the exit status: 0 where every line is an account here now."""
    decoder = msgspec.json.Decoder(ImportedAccount)
    made, known, wrong = 0, 0, 0

    async def work(accounts: Accounts) -> None:
        nonlocal made, known, wrong
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    await accounts.administration.take_in(decoder.decode(line))
                    made += 1
                except AccountRefused as refused:
                    if refused.refusal is AccountRefusal.NAME_TAKEN:
                        known += 1
                        continue
                    click.echo(f"{path}:{number}: {refused.text}", err=True)
                    wrong += 1
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    click.echo(f"{path}:{number}: {error}", err=True)
                    wrong += 1

    status = with_accounts(config, work)
    click.echo(f"{made} made, {known} here already, {wrong} refused.")
    return status or (1 if wrong else 0)
