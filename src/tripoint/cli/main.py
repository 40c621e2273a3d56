"""What `tripoint` understands. Each command imports what it needs when it runs."""

import sys
from pathlib import Path

import click

from tripoint import __version__
from tripoint.cli.media_group import media
from tripoint.cli.options import CONFIG, found, load
from tripoint.cli.room_group import room
from tripoint.cli.server_group import motd, server, status, welcome
from tripoint.cli.user_group import user


@click.group()
@click.version_option(__version__)
def main() -> None:
    """tripoint: every room is a Matrix room, an IRC channel and an XMPP multi-user chat."""


@main.command()
@CONFIG
def run(config_path: Path | None) -> None:
    """Run the server until it is told to stop (Ctrl-C, SIGTERM). SIGHUP takes up renewed certificates and most of
    a changed configuration."""
    from tripoint.cli.serve import serve

    sys.exit(serve(load(config_path), found(config_path)))


@main.command("try")
def try_() -> None:
    """Run a server with data that is thrown away afterwards, on free ports of this machine."""
    from tripoint.cli.serve import try_server

    sys.exit(try_server())


@main.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@CONFIG
def config_check(config_path: Path | None) -> None:
    """Say what is wrong with the configuration, and how to mend it."""
    from tripoint.config.load import registration_mode

    loaded = load(config_path)
    click.echo(f"The configuration is fine: server {loaded.server.name}, registration {registration_mode(loaded)}.")


@config.command("example")
def config_example() -> None:
    """Print an example file with every option and its default."""
    from tripoint.config.example import example

    click.echo(example())


@config.command("hash")
@click.option("--password", default=None, help="Asked for when not given.")
@CONFIG
def config_hash(password: str | None, config_path: Path | None) -> None:
    """Print the hash of a password, for an operator of IRC in the configuration."""
    from tripoint.accounts.passwords import make_hash
    from tripoint.accounts.sasl import PasswordRefused

    rounds = load(config_path).accounts.scram_iterations
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        click.echo(make_hash(password, rounds))
    except PasswordRefused as error:
        click.echo(str(error), err=True)
        sys.exit(1)


@config.command("mail")
@click.argument("address")
@CONFIG
def config_mail(address: str, config_path: Path | None) -> None:
    """Send a letter to ADDRESS by the mail server of the configuration, and say what came of it."""
    from tripoint.cli.mail import try_mail

    sys.exit(try_mail(load(config_path), address))


@main.command()
@click.option("--done", type=int, default=None, help="The number of a report that was dealt with.")
@CONFIG
def reports(done: int | None, config_path: Path | None) -> None:
    """Show what people reported to the administrators."""
    from tripoint.cli.users import show_reports

    sys.exit(show_reports(load(config_path), done))


@user.command("add")
@click.argument("name")
@click.option("--password", default=None, help="Asked for when not given.")
@click.option("--admin", is_flag=True, help="An administrator of this server.")
@CONFIG
def user_add(name: str, password: str | None, admin: bool, config_path: Path | None) -> None:
    """Make the account NAME, whatever the configuration says about registration."""
    from tripoint.cli.users import add_user

    loaded = load(config_path)
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    sys.exit(add_user(loaded, name, password, admin=admin))


@user.command("list")
@click.argument("name", required=False)
@click.option("--closed", is_flag=True, help="Those that were closed, too.")
@CONFIG
def user_list(name: str | None, closed: bool, config_path: Path | None) -> None:
    """Show the accounts; with NAME, those in whose name or display name that stands."""
    from tripoint.cli.users import list_users

    sys.exit(list_users(load(config_path), name, closed=closed))


@user.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@CONFIG
def user_import(file: Path, config_path: Path | None) -> None:
    """Make the accounts of FILE, which come from another server: a JSON object a line, with name and hash."""
    from tripoint.cli.importing import import_users

    sys.exit(import_users(load(config_path), file))


@user.command("invite")
@click.option("--uses", type=int, default=1, show_default=True, help="How often it may be used; 0: any number.")
@click.option("--days", type=int, default=30, show_default=True, help="How long it is good for; 0: for ever.")
@CONFIG
def user_invite(uses: int, days: int, config_path: Path | None) -> None:
    """Make a registration token, for accounts.registration = "token"."""
    from tripoint.cli.users import add_token

    sys.exit(add_token(load(config_path), uses, days))


@user.command("invitations")
@click.option("--drop", default=None, metavar="TOKEN", help="Take this token away.")
@CONFIG
def user_invitations(drop: str | None, config_path: Path | None) -> None:
    """Show the registration tokens that are good for something, or take one away."""
    from tripoint.cli.users import drop_token, show_tokens

    loaded = load(config_path)
    sys.exit(show_tokens(loaded) if drop is None else drop_token(loaded, drop))


@room.command("list")
@click.argument("text", required=False)
@CONFIG
def room_list(text: str | None, config_path: Path | None) -> None:
    """Show the rooms, the largest first; with TEXT, those in whose name or alias that stands."""
    from tripoint.cli.rooms import list_rooms

    sys.exit(list_rooms(load(config_path), text))


@main.group()
def db() -> None:
    """The database. Stop the server first."""


@db.command("compact")
@CONFIG
def db_compact(config_path: Path | None) -> None:
    """Give space back that purged and deleted rooms took. Needs as much free space as the database takes."""
    from tripoint.cli.database import compact

    sys.exit(compact(load(config_path)))


@main.group()
def keys() -> None:
    """The key with which this server signs. Stop the server first."""


@keys.command("rotate")
@CONFIG
def keys_rotate(config_path: Path | None) -> None:
    """Sign with a new key from now on. What the old one signed stays valid: it is published as retired."""
    from tripoint.cli.keys import rotate

    sys.exit(rotate(load(config_path)))


for one in (user, room, media, server, status, motd, welcome):
    main.add_command(one)
