"""`tripoint room`: rooms from the command line, beside a running server or without one. Nothing is changed."""

import asyncio
from pathlib import Path

import click

from tripoint.config.load import server_name
from tripoint.config.options import Config
from tripoint.core.ids import ServerName
from tripoint.core.listings import Page, RoomQuery
from tripoint.rooms.loaded import load_room
from tripoint.store.interface import StoreError
from tripoint.store.sqlite import SqliteStore

_AT_ONCE = 100


def list_rooms(config: Config, text: str | None) -> int:
    """Print rooms, the largest first; returns the exit status."""
    path = Path(config.server.data_dir) / "tripoint.db"
    if not path.exists():
        click.echo(f"There is no database in {config.server.data_dir}", err=True)
        return 1
    return asyncio.run(_list(path, text, server_name(config)))


async def _list(path: Path, text: str | None, server: ServerName) -> int:
    try:
        store = SqliteStore(path)
    except StoreError as error:
        click.echo(str(error), err=True)
        return 1
    try:
        shown, total = 0, 1
        while shown < total:
            query = RoomQuery(Page(shown, _AT_ONCE), text=text, order="joined_members")
            found, total = await store.list_rooms(query)
            for room_id in found:
                row = await store.load_room(room_id)
                if row is not None:
                    room = await load_room(store, row)
                    local = room.servers().get(server, 0)
                    named = " ".join(part for part in (room.canonical_alias, room.name) if part)
                    click.echo(f"{room_id} {room.joined_count()} in it, {local} of this server: {named or 'no name'}")
            if not found:
                break
            shown += len(found)
        click.echo(f"{total} room{'s' if total != 1 else ''}.")
    except StoreError as error:
        click.echo(str(error), err=True)
        return 1
    finally:
        await store.close()
    return 0
