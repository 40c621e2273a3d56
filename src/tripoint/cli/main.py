"""What `tripoint` understands. Each command imports what it needs when it runs."""

import sys
from pathlib import Path

import click

from tripoint import __version__
from tripoint.config.options import Config

_CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Configuration file. Without it: ./tripoint.toml if it exists, else a server on this machine alone.",
)


@click.group()
@click.version_option(__version__)
def main() -> None:
    """tripoint: every room is a Matrix room, an IRC channel and an XMPP multi-user chat."""


@main.command()
@_CONFIG
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
@_CONFIG
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
@_CONFIG
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
@_CONFIG
def config_mail(address: str, config_path: Path | None) -> None:
    """Send a letter to ADDRESS by the mail server of the configuration, and say what came of it."""
    from tripoint.cli.mail import try_mail

    sys.exit(try_mail(load(config_path), address))


@main.command()
@click.option("--done", type=int, default=None, help="The number of a report that was dealt with.")
@_CONFIG
def reports(done: int | None, config_path: Path | None) -> None:
    """Show what people reported to the administrators."""
    from tripoint.cli.users import show_reports

    sys.exit(show_reports(load(config_path), done))


@main.group()
def user() -> None:
    """Accounts. The server may be running or not."""


@user.command("add")
@click.argument("name")
@click.option("--password", default=None, help="Asked for when not given.")
@click.option("--admin", is_flag=True, help="An administrator of this server.")
@_CONFIG
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
@_CONFIG
def user_list(name: str | None, closed: bool, config_path: Path | None) -> None:
    """Show the accounts; with NAME, those in whose name or display name that stands."""
    from tripoint.cli.users import list_users

    sys.exit(list_users(load(config_path), name, closed=closed))


@user.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_CONFIG
def user_import(file: Path, config_path: Path | None) -> None:
    """Make the accounts of FILE, which come from another server: a JSON object a line, with name and hash."""
    from tripoint.cli.importing import import_users

    sys.exit(import_users(load(config_path), file))


@user.command("invite")
@click.option("--uses", type=int, default=1, show_default=True, help="How often it may be used; 0: any number.")
@click.option("--days", type=int, default=30, show_default=True, help="How long it is good for; 0: for ever.")
@_CONFIG
def user_invite(uses: int, days: int, config_path: Path | None) -> None:
    """Make a registration token, for accounts.registration = "token"."""
    from tripoint.cli.users import add_token

    sys.exit(add_token(load(config_path), uses, days))


@user.command("invitations")
@click.option("--drop", default=None, metavar="TOKEN", help="Take this token away.")
@_CONFIG
def user_invitations(drop: str | None, config_path: Path | None) -> None:
    """Show the registration tokens that are good for something, or take one away."""
    from tripoint.cli.users import drop_token, show_tokens

    loaded = load(config_path)
    sys.exit(show_tokens(loaded) if drop is None else drop_token(loaded, drop))


@main.group()
def media() -> None:
    """Files that people uploaded. The server may be running or not."""


@media.command("quarantine")
@click.argument("mxc")
@click.option("--release", is_flag=True, help="Give it out again.")
@_CONFIG
def media_quarantine(mxc: str, release: bool, config_path: Path | None) -> None:
    """Give the file MXC (mxc://server/id) out to nobody any more: not by Matrix, not by links, not to other
    servers. Its bytes stay on disk."""
    from tripoint.cli.media import quarantine

    sys.exit(quarantine(load(config_path), mxc, on=not release))


@main.group()
def room() -> None:
    """Rooms. The server may be running or not."""


@room.command("list")
@click.argument("text", required=False)
@_CONFIG
def room_list(text: str | None, config_path: Path | None) -> None:
    """Show the rooms, the largest first; with TEXT, those in whose name or alias that stands."""
    from tripoint.cli.rooms import list_rooms

    sys.exit(list_rooms(load(config_path), text))


@main.group()
def db() -> None:
    """The database. Stop the server first."""


@db.command("compact")
@_CONFIG
def db_compact(config_path: Path | None) -> None:
    """Give space back that purged and deleted rooms took. Needs as much free space as the database takes."""
    from tripoint.cli.database import compact

    sys.exit(compact(load(config_path)))


@main.group()
def keys() -> None:
    """The key with which this server signs. Stop the server first."""


@keys.command("rotate")
@_CONFIG
def keys_rotate(config_path: Path | None) -> None:
    """Sign with a new key from now on. What the old one signed stays valid: it is published as retired."""
    from tripoint.cli.keys import rotate

    sys.exit(rotate(load(config_path)))


def found(path: Path | None) -> Path | None:
    """The configuration file: the one named, or the one of this folder, or none."""
    return Path("tripoint.toml") if path is None and Path("tripoint.toml").exists() else path


def load(path: Path | None) -> Config:
    """The configuration, or the end of the program with every mistake on standard error."""
    from tripoint.config.load import ConfigError, load_config

    try:
        return load_config(found(path))
    except ConfigError as error:
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        sys.exit(2)
