"""`tripoint server`, `status`, `motd` and `welcome`: other servers, and this one (asking.py)."""

from pathlib import Path

import click

from tripoint.cli.asking import Asking, run, segment, several, when
from tripoint.cli.options import CONFIG, load


@click.group()
def server() -> None:
    """Other Matrix servers. This server has to be running."""


@server.command("list")
@click.argument("text", required=False)
@click.option("--failing", is_flag=True, help="Those that do not answer alone.")
@CONFIG
def list_(text: str | None, failing: bool, config_path: Path | None) -> None:
    """Show the servers of which somebody is or was in a room; with TEXT, those in whose name that stands."""

    def work(asked: Asking) -> None:
        count = 0
        for one in asked.pages("v1/federation/destinations", "destinations", destination=text):
            if not failing or one["failure_ts"] is not None:
                click.echo(f"{one['destination']}: {_state(one)}")
                count += 1
        click.echo(several(count, "server") + ".")

    run(load(config_path), work)


@server.command()
@click.argument("name")
@CONFIG
def show(name: str, config_path: Path | None) -> None:
    """Show whether the server NAME answers, and the rooms that are shared with it."""

    def work(asked: Asking) -> None:
        path = f"v1/federation/destinations/{segment(name)}"
        click.echo(f"{name}: {_state(asked.get(path))}")
        count = 0
        for one in asked.pages(f"{path}/rooms", "rooms"):
            click.echo(f"  {one['room_id']}")
            count += 1
        click.echo(several(count, "room") + ".")

    run(load(config_path), work)


@server.command()
@click.argument("name")
@CONFIG
def retry(name: str, config_path: Path | None) -> None:
    """Try the server NAME, which did not answer, at once."""

    def work(asked: Asking) -> None:
        asked.ask("POST", f"v1/federation/destinations/{segment(name)}/reset_connection")
        click.echo(f"{name} is tried.")

    run(load(config_path), work)


@click.command()
@CONFIG
def status(config_path: Path | None) -> None:
    """Show whether the server runs, and how much there is on it."""

    def work(asked: Asking) -> None:
        version = asked.get("v1/server_version")["server_version"]
        click.echo(f"{asked.name}: {version}, {'running' if asked.runs else 'not running'}")
        accounts = asked.get("v3/users", deactivated=False, guests=False, limit=1)["total"]
        rooms = asked.get("v1/rooms", limit=1)["total_rooms"]
        reports = asked.get("v1/event_reports", limit=1)["total"] + asked.get("v1/user_reports", limit=1)["total"]
        click.echo(f"{several(accounts, 'account')}, {several(rooms, 'room')}, {several(reports, 'report')} waiting")

    run(load(config_path), work)


def _greeting(which: str, text: str | None, config_path: Path | None, *, none: bool, configured: bool) -> None:
    def work(asked: Asking) -> None:
        path = f"v1/greetings/{which}"
        if configured:
            found = asked.ask("DELETE", path)
        elif none or text is not None:
            found = asked.ask("PUT", path, {"text": "" if none else text})
        else:
            found = asked.get(path)
        said = found["text"]
        click.echo("As the configuration says." if said is None else said or "Nothing is said.")

    run(load(config_path), work)


@click.command()
@click.argument("text", required=False)
@click.option("--none", is_flag=True, help="There is none.")
@click.option("--configured", is_flag=True, help="The one of the configuration again.")
@CONFIG
def motd(text: str | None, none: bool, configured: bool, config_path: Path | None) -> None:
    """Show the message of the day that was set; with TEXT, set it, in the place of the configuration's."""
    _greeting("motd", text, config_path, none=none, configured=configured)


@click.command()
@click.argument("text", required=False)
@click.option("--none", is_flag=True, help="New accounts are told nothing.")
@CONFIG
def welcome(text: str | None, none: bool, config_path: Path | None) -> None:
    """Show what new accounts are told; with TEXT, tell them that."""
    _greeting("welcome", text, config_path, none=none, configured=False)


def _state(found: dict[str, int | None]) -> str:
    if found["failure_ts"] is None:
        return "answers"
    waits = (found["retry_interval"] or 0) // 1000
    last = when(found["retry_last_ts"])
    return f"does not answer since {when(found['failure_ts'])}; tried {last}, every {waits} s"
