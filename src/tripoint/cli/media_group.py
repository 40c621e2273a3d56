"""`tripoint media`: what asks the administrators' API (asking.py), and what works on the bytes (media.py)."""

import sys
from pathlib import Path

import click

from tripoint.cli.asking import Asking, Said, before, run, segment, several, when
from tripoint.cli.options import CONFIG, OFF, load

_FILES_SHOWN = 100


@click.group()
def media() -> None:
    """Files that people uploaded. The server may be running or not."""


@media.command("list")
@click.option("--user", default=None, metavar="NAME", help="What NAME uploaded.")
@click.option("--room", default=None, metavar="ROOM", help="What stands in the messages of a room, if not encrypted.")
@CONFIG
def list_(user: str | None, room: str | None, config_path: Path | None) -> None:
    """Show files of somebody, or of a room."""
    if (user is None) == (room is None):
        raise click.UsageError("Name either --user or --room")

    def work(server: Asking) -> None:
        if room is not None:
            found = server.get(f"v1/room/{segment(room)}/media")
            names = [*found["local"], *found["remote"]]
            for name in names:
                click.echo(name)
            click.echo(several(len(names), "file") + ".")
            return
        count = 0
        for one in server.pages(f"v1/users/{server.user(user or '')}/media", "media"):
            click.echo(f"mxc://{server.name}/{one['media_id']} {_described(one)}")
            count += 1
        click.echo(several(count, "file") + ".")

    run(load(config_path), work)


@media.command()
@click.argument("mxc")
@CONFIG
def show(mxc: str, config_path: Path | None) -> None:
    """Show what is known of the file MXC (mxc://server/id)."""

    def work(server: Asking) -> None:
        found = server.get(f"v1/media/{_named(mxc)}")["media_info"]
        click.echo(f"{mxc} {_described(found)}")
        click.echo(f"  of {found['user_id'] or found['media_origin']}, last asked for {when(found['last_access_ts'])}")

    run(load(config_path), work)


@media.command()
@click.argument("mxc", required=False)
@click.option("--user", default=None, metavar="NAME", help="All that NAME uploaded.")
@click.option("--room", default=None, metavar="ROOM", help="All that stands in the messages of a room.")
@click.option("--release", is_flag=True, help="Give the file out again.")
@CONFIG
def quarantine(mxc: str | None, user: str | None, room: str | None, release: bool, config_path: Path | None) -> None:
    """Give the file MXC (mxc://server/id) out to nobody any more: not by Matrix, not by links, not to other
    servers. Its bytes stay."""
    if sum(one is not None for one in (mxc, user, room)) != 1 or (release and mxc is None):
        raise click.UsageError("Name one file, or a user or a room")
    if mxc is not None:
        from tripoint.cli.media import quarantine as quarantine_one

        sys.exit(quarantine_one(load(config_path), mxc, on=not release))

    def work(server: Asking) -> None:
        whose = f"user/{server.user(user)}" if user is not None else f"room/{segment(room or '')}"
        found = server.ask("POST", f"v1/{whose}/media/quarantine")
        click.echo(several(found["num_quarantined"], "file") + " given out to nobody any more.")

    run(load(config_path), work)


@media.command()
@click.argument("mxc")
@OFF
@CONFIG
def protect(mxc: str, off: bool, config_path: Path | None) -> None:
    """Let the file MXC of this server go along with nothing that is quarantined or deleted as a whole."""

    def work(server: Asking) -> None:
        host, _, media_id = mxc.removeprefix("mxc://").partition("/")
        if host != server.name:
            raise Said(f"{mxc} is not a file of this server")
        server.ask("POST", f"v1/media/{'unprotect' if off else 'protect'}/{segment(media_id)}")
        click.echo(f"{mxc} is {'not protected any more' if off else 'protected'}.")

    run(load(config_path), work)


@media.command()
@click.argument("mxc", required=False)
@click.option("--user", default=None, metavar="NAME", help="All that NAME uploaded.")
@click.option("--unused", type=click.FloatRange(0), default=None, metavar="DAYS", help="What nobody asked for so long.")
@click.option("--larger", type=click.IntRange(0), default=0, metavar="BYTES", help="With --unused: larger files alone.")
@click.option("--pictures", is_flag=True, help="With --unused: those of profiles and rooms, too.")
@click.confirmation_option(prompt="Deleted files cannot be had back. Delete?")
@CONFIG
def delete(
    mxc: str | None, user: str | None, unused: float | None, larger: int, pictures: bool, config_path: Path | None
) -> None:
    """Delete files of this server: one (MXC), those of somebody, or those that nobody needs."""
    if sum(one is not None for one in (mxc, user, unused)) != 1:
        raise click.UsageError("Name one file, or --user, or --unused")

    def work(server: Asking) -> None:
        count = 0
        if mxc is not None:
            count = server.ask("DELETE", f"v1/media/{_named(mxc)}")["total"]
        elif user is not None:
            path = f"v1/users/{server.user(user)}/media"
            while deleted := server.ask("DELETE", path, limit=_FILES_SHOWN)["total"]:
                count += deleted
        else:
            query = {"before_ts": before(unused or 0), "size_gt": larger, "keep_profiles": not pictures}
            count = server.ask("POST", "v1/media/delete", None, **query)["total"]
        click.echo(several(count, "file is deleted.", "files are deleted."))

    run(load(config_path), work)


@media.command()
@click.argument("days", type=click.FloatRange(0))
@CONFIG
def forget(days: float, config_path: Path | None) -> None:
    """Delete what is kept of other servers' files and nobody asked for in DAYS. It is fetched again when it is."""

    def work(server: Asking) -> None:
        count = server.ask("POST", "v1/purge_media_cache", before_ts=before(days))["deleted"]
        click.echo(several(count, "file is forgotten.", "files are forgotten."))

    run(load(config_path), work)


@media.command()
@CONFIG
def usage(config_path: Path | None) -> None:
    """Show who has uploaded how much, the most first."""

    def work(server: Asking) -> None:
        total = count = 0
        for one in server.pages("v1/statistics/users/media", "users", order_by="media_length", dir="b"):
            click.echo(f"{one['user_id']}: {several(one['media_count'], 'file')}, {one['media_length']:,} bytes")
            total += one["media_length"]
            count += one["media_count"]
        click.echo(f"{several(count, 'file')}, {total:,} bytes.")

    run(load(config_path), work)


@media.command()
@click.option("--to-disk", is_flag=True, help="From the bucket to data_dir, instead of the other way round.")
@click.option("--keep", is_flag=True, help="Leave them where they were, too; the server may be running.")
@CONFIG
def move(to_disk: bool, keep: bool, config_path: Path | None) -> None:
    """Carry all files from data_dir to the bucket that [media_s3] names. What is there already is not carried again.

    Stop the server, or use --keep while it runs and do it once more when it is stopped."""
    from tripoint.cli.media import move_files

    sys.exit(move_files(load(config_path), to_disk=to_disk, keep=keep))


@media.command()
@click.option("--delete", is_flag=True, help="Delete files without a name. Stop the server first.")
@CONFIG
def check(delete: bool, config_path: Path | None) -> None:
    """Say which files are missing, and which have no name any more (after a crash, or a store that was away)."""
    from tripoint.cli.media import check_files

    sys.exit(check_files(load(config_path), delete=delete))


def _named(mxc: str) -> str:
    """A file as two path segments."""
    server, slash, media_id = mxc.removeprefix("mxc://").partition("/")
    if not mxc.startswith("mxc://") or not slash:
        raise Said(f"{mxc} is no name of a file (mxc://server/id)")
    return f"{segment(server)}/{segment(media_id)}"


def _described(file: dict[str, object]) -> str:
    states = [f"quarantined by {file['quarantined_by']}"] if file["quarantined_by"] else []
    states += ["protected"] if file["safe_from_quarantine"] else []
    name = f" {file['upload_name']}" if file["upload_name"] else ""
    created = file["created_ts"]
    made = when(created if isinstance(created, int) else None)
    state = f" ({', '.join(states)})" if states else ""
    return f"{file['media_type']}{name}, {file['media_length']:,} bytes, {made}{state}"
