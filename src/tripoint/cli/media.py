"""`tripoint media`: files, from the command line, beside a running server or without one.

Every request for a file reads its row, so a running server goes by what is written here at once.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from tripoint.config.options import Config
from tripoint.core.ids import InvalidId
from tripoint.core.mxc import Mxc, parse_mxc
from tripoint.media.disk import Disk
from tripoint.media.files import Files
from tripoint.media.moving import Moved, difference, move
from tripoint.media.refusals import MediaRefused
from tripoint.media.shelf import Shelf
from tripoint.runtime.data_dir import DataDir, DataDirError
from tripoint.runtime.media import files_of
from tripoint.store.interface import StoreError
from tripoint.store.sqlite import SqliteStore
from tripoint.store.stream import Stream

_SHOWN = 100
_TOLD_EVERY = 1000

Work = Callable[[SqliteStore, Files, Disk], Awaitable[int]]


def quarantine(config: Config, name: str, *, on: bool) -> int:
    """Give a file out to nobody any more, or again; returns the exit status."""
    try:
        mxc = parse_mxc(name)
    except InvalidId as error:
        click.echo(f"{name} is no name of a file: {error}", err=True)
        return 2

    async def work(store: SqliteStore, files: Files, disk: Disk) -> int:
        return await _quarantine(Shelf(store, Stream(store, 0), files), mxc, on=on)

    return _with_files(config, work)


async def _quarantine(shelf: Shelf, mxc: Mxc, *, on: bool) -> int:
    if not await shelf.quarantine(mxc, on=on):
        click.echo(f"{mxc} is not known here", err=True)
        return 1
    click.echo(f"{mxc} is {'given out to nobody any more' if on else 'given out again'}.")
    return 0


def move_files(config: Config, *, to_disk: bool, keep: bool) -> int:
    """Carry all files from data_dir to the bucket of the configuration, or back; returns the exit status."""
    if not config.media_s3.bucket:
        click.echo("The configuration names no bucket: [media_s3] says from where or to where.", err=True)
        return 2

    def told(moved: Moved) -> None:
        if moved.files % _TOLD_EVERY == 0:
            click.echo(f"{moved.files} files, {moved.bytes:,} bytes ...")

    async def work(store: SqliteStore, files: Files, disk: Disk) -> int:
        disk.start()
        source, target = (files, disk) if to_disk else (disk, files)
        moved = await move(source, target, keep=keep, told=told)
        where = "data_dir" if to_disk else "the bucket"
        click.echo(f"{moved.files} file{'s are' if moved.files != 1 else ' is'} in {where} ({moved.bytes:,} bytes).")
        return 0

    return _with_files(config, work, alone=not keep)


def check_files(config: Config, *, delete: bool) -> int:
    """Say which files have no name, and which names no file; returns the exit status: 1 where files are missing."""

    async def work(store: SqliteStore, files: Files, disk: Disk) -> int:
        found = await difference(files, store)
        for content in found.missing[:_SHOWN]:
            click.echo(f"missing: {content}")
        for content, size in found.nameless[:_SHOWN]:
            click.echo(f"without a name: {content} ({size:,} bytes)")
            if delete:
                await files.remove(content)
        for content, _ in found.nameless[_SHOWN:] if delete else ():
            await files.remove(content)
        size = sum(size for _, size in found.nameless)
        done = "deleted" if delete else "without a name"
        click.echo(f"{len(found.missing)} missing; {len(found.nameless)} {done} ({size:,} bytes).")
        return 1 if found.missing else 0

    return _with_files(config, work, alone=delete)


def _with_files(config: Config, work: Work, *, alone: bool = False) -> int:
    """`alone`: no server may run."""
    folder = Path(config.server.data_dir)
    if not (folder / "tripoint.db").exists():
        click.echo(f"There is no database in {config.server.data_dir}", err=True)
        return 1
    os.umask(0o077)
    held: DataDir | None = None
    try:
        held = DataDir(folder) if alone else None
        return asyncio.run(_run(config, folder, work))
    except (DataDirError, StoreError, OSError) as error:
        click.echo(str(error), err=True)
    except MediaRefused as refused:
        click.echo(refused.text, err=True)
    finally:
        if held is not None:
            held.close()
    return 1


async def _run(config: Config, folder: Path, work: Work) -> int:
    store = SqliteStore(folder / "tripoint.db")
    try:
        disk = Disk(folder / "media")
        return await work(store, files_of(config, disk), disk)
    finally:
        await store.close()
