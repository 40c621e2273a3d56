"""`tripoint db`: the database itself, while no server runs on it."""

import sqlite3
from pathlib import Path

import click

from tripoint.config.options import Config
from tripoint.runtime.data_dir import DataDir, DataDirError
from tripoint.store.sqlite import open_connection


def compact(config: Config) -> int:
    """Write the database anew without the holes that deleted rows left; returns the exit status."""
    try:
        folder = DataDir(Path(config.server.data_dir))
    except DataDirError as error:
        click.echo(str(error), err=True)
        return 1
    try:
        if not folder.database.exists():
            click.echo(f"There is no database in {config.server.data_dir}", err=True)
            return 1
        before = folder.database.stat().st_size
        connection = open_connection(folder.database, read_only=False)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        after = folder.database.stat().st_size
    except (OSError, sqlite3.Error) as error:
        click.echo(f"The database is as it was: {error}", err=True)
        return 1
    finally:
        folder.close()
    click.echo(f"The database took {before:,} bytes; it takes {after:,} now.")
    return 0
