"""`tripoint media`: files, from the command line, beside a running server or without one.

Every request for a file reads its row, so a running server goes by what is written here at once.
"""

import asyncio
import os
from pathlib import Path

import click

from tripoint.config.options import Config
from tripoint.core.ids import InvalidId
from tripoint.core.mxc import Mxc, parse_mxc
from tripoint.media.disk import Disk
from tripoint.media.refusals import MediaRefused
from tripoint.media.shelf import Shelf
from tripoint.store.interface import StoreError
from tripoint.store.sqlite import SqliteStore
from tripoint.store.stream import Stream


def quarantine(config: Config, name: str, *, on: bool) -> int:
    """Give a file out to nobody any more, or again; returns the exit status."""
    try:
        mxc = parse_mxc(name)
    except InvalidId as error:
        click.echo(f"{name} is no name of a file: {error}", err=True)
        return 2
    path = Path(config.server.data_dir) / "tripoint.db"
    if not path.exists():
        click.echo(f"There is no database in {config.server.data_dir}", err=True)
        return 1
    os.umask(0o077)
    return asyncio.run(_quarantine(path, mxc, on=on))


async def _quarantine(path: Path, mxc: Mxc, *, on: bool) -> int:
    try:
        store = SqliteStore(path)
    except StoreError as error:
        click.echo(str(error), err=True)
        return 1
    try:
        shelf = Shelf(store, Stream(store, 0), Disk(path.parent / "media"))
        if not await shelf.quarantine(mxc, on=on):
            click.echo(f"{mxc} is not known here", err=True)
            return 1
    except MediaRefused as refused:
        click.echo(refused.text, err=True)
        return 1
    finally:
        await store.close()
    click.echo(f"{mxc} is {'given out to nobody any more' if on else 'given out again'}.")
    return 0
