"""`tripoint room` as far as it asks the administrators' API (asking.py)."""

from pathlib import Path

import click
import orjson

from tripoint.cli.asking import Asking, Said, before, run, segment, several, when
from tripoint.cli.options import CONFIG, OFF, load


@click.group()
def room() -> None:
    """Rooms, by their ids or aliases. The server may be running or not."""


@room.command()
@click.argument("room_name", metavar="ROOM")
@CONFIG
def show(room_name: str, config_path: Path | None) -> None:
    """Show what a room is."""

    def work(server: Asking) -> None:
        found = server.get(f"v1/rooms/{_room(server, room_name)}")
        click.echo(f"{found['room_id']} {found['canonical_alias'] or ''} {found['name'] or ''}".strip())
        if found["topic"]:
            click.echo(f"  {found['topic']}")
        members = several(found["joined_members"], "member")
        click.echo(f"  {members}, {found['joined_local_members']} of this server; version {found['version']}")
        listed = "in the directory" if found["public"] else "not in the directory"
        secret = f"encrypted ({found['encryption']})" if found["encryption"] else "not encrypted"
        click.echo(f"  {found['join_rules'] or 'invite'}, history {found['history_visibility'] or 'shared'}, {listed}")
        click.echo(f"  {secret}, made by {found['creator']}")
        if found["tombstoned"]:
            click.echo(f"  replaced by {found['replacement_room']}")
        if server.get(f"v1/rooms/{segment(found['room_id'])}/block")["block"]:
            click.echo("  blocked: nobody of this server gets in")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@CONFIG
def members(room_name: str, config_path: Path | None) -> None:
    """Show who is in a room."""

    def work(server: Asking) -> None:
        found = server.get(f"v1/rooms/{_room(server, room_name)}/members")
        for user_id in sorted(found["members"]):
            click.echo(user_id)
        click.echo(several(found["total"], "member") + ".")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.option("--type", "type_", default=None, help="Events of this type alone.")
@CONFIG
def state(room_name: str, type_: str | None, config_path: Path | None) -> None:
    """Print the state events of a room, one JSON object a line."""

    def work(server: Asking) -> None:
        for event in server.get(f"v1/rooms/{_room(server, room_name)}/state", type=type_)["state"]:
            click.echo(orjson.dumps(event).decode())

    run(load(config_path), work)


@room.command()
@click.argument("event_id", metavar="EVENT")
@CONFIG
def event(event_id: str, config_path: Path | None) -> None:
    """Print one event, of whatever room, as JSON."""

    def work(server: Asking) -> None:
        click.echo(orjson.dumps(server.get(f"v1/fetch_event/{segment(event_id)}")["event"]).decode())

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@OFF
@CONFIG
def block(room_name: str, off: bool, config_path: Path | None) -> None:
    """Let nobody of this server into a room, known here or not."""

    def work(server: Asking) -> None:
        path = f"v1/rooms/{_room(server, room_name)}/block"
        server.ask("PUT", path, {"block": not off})
        click.echo("The room is open again." if off else "Nobody of this server gets in any more.")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.option("--message", default=None, help="What those are told who leave.")
@click.option("--block", "blocked", is_flag=True, help="Nobody of this server gets in any more.")
@click.option("--keep", is_flag=True, help="Keep on disk what was said.")
@click.option("--successor", default=None, metavar="USER", help="A new room for all, where USER alone speaks.")
@click.option("--successor-name", default=None, help="The name of the new room.")
@click.confirmation_option(prompt="Everybody of this server leaves, and what was said is deleted. Delete it?")
@CONFIG
def delete(
    room_name: str,
    message: str | None,
    blocked: bool,
    keep: bool,
    successor: str | None,
    successor_name: str | None,
    config_path: Path | None,
) -> None:
    """Delete a room. No right in it is needed; other servers keep what they have of it."""

    def work(server: Asking) -> None:
        body = {
            "block": blocked,
            "purge": not keep,
            "message": message,
            "new_room_user_id": None if successor is None else server.user_id(successor),
            "room_name": successor_name,
        }
        given = {key: value for key, value in body.items() if value is not None}
        delete_id = server.ask("DELETE", f"v2/rooms/{_room(server, room_name)}", given)["delete_id"]
        done = server.job(f"v2/rooms/delete_status/{segment(delete_id)}")["shutdown_room"]
        click.echo(f"The room is deleted; {several(len(done['kicked_users']), 'person', 'people')} left it.")
        for user_id in done["failed_to_kick_users"]:
            click.echo(f"still in it: {user_id}")
        if done.get("new_room_id"):
            click.echo(f"The new room is {done['new_room_id']}.")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.option("--days", type=click.FloatRange(0), default=None, help="What was said longer ago.")
@click.option("--before", "event_id", default=None, metavar="EVENT", help="What was said before this event.")
@click.option("--own", is_flag=True, help="What people of this server said, too: nobody else may have it.")
@CONFIG
def purge(room_name: str, days: float | None, event_id: str | None, own: bool, config_path: Path | None) -> None:
    """Delete what was said in a room, from this server. State and the last event stay."""
    if (days is None) == (event_id is None):
        raise click.UsageError("Name either --days or --before")

    def work(server: Asking) -> None:
        body: dict[str, object] = {"delete_local_events": own}
        if days is not None:
            body["purge_up_to_ts"] = before(days)
        if event_id is not None:
            body["purge_up_to_event_id"] = event_id
        purge_id = server.ask("POST", f"v1/purge_history/{_room(server, room_name)}", body)["purge_id"]
        server.job(f"v1/purge_history_status/{segment(purge_id)}")
        click.echo("It is deleted.")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.argument("user")
@CONFIG
def join(room_name: str, user: str, config_path: Path | None) -> None:
    """Take USER of this server into a room."""

    def work(server: Asking) -> None:
        server.ask("POST", f"v1/join/{segment(room_name)}", {"user_id": server.user_id(user)})
        click.echo(f"{server.user_id(user)} is in the room.")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.argument("user")
@CONFIG
def admin(room_name: str, user: str, config_path: Path | None) -> None:
    """Give USER the highest rank that anybody of this server can give in a room."""

    def work(server: Asking) -> None:
        body = {"user_id": server.user_id(user)}
        server.ask("POST", f"v1/rooms/{segment(room_name)}/make_room_admin", body)
        click.echo(f"{server.user_id(user)} has it.")

    run(load(config_path), work)


@room.command()
@click.argument("room_name", metavar="ROOM")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@CONFIG
def messages(room_name: str, limit: int, config_path: Path | None) -> None:
    """Show what was said last in a room."""

    def work(server: Asking) -> None:
        path = f"v1/rooms/{_room(server, room_name)}/messages"
        for found in reversed(server.get(path, dir="b", limit=limit)["chunk"]):
            body = found["content"].get("body")
            if isinstance(body, str):
                click.echo(f"{when(found['origin_server_ts'])} {found['sender']}: {body}")

    run(load(config_path), work)


def _room(server: Asking, name: str) -> str:
    """The id of a room as a path segment."""
    if not name.startswith("#"):
        return segment(name)
    for found in server.pages("v1/rooms", "rooms", search_term=name):
        if found["canonical_alias"] == name:
            return segment(found["room_id"])
    raise Said(f"There is no room whose main alias is {name}")
