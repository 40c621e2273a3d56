"""`tripoint user` as far as it asks the administrators' API (asking.py); making accounts and tokens is users.py's."""

from pathlib import Path

import click

from tripoint.cli.asking import Asking, run, segment, several, when
from tripoint.cli.options import CONFIG, OFF, load


@click.group()
def user() -> None:
    """Accounts. The server may be running or not."""


@user.command()
@click.argument("name")
@CONFIG
def show(name: str, config_path: Path | None) -> None:
    """Show the account NAME (or @NAME:SERVER)."""

    def work(server: Asking) -> None:
        found = server.get(f"v2/users/{server.user(name)}")
        states = [
            what
            for what in ("admin", "deactivated", "erased", "locked", "suspended", "shadow_banned", "is_guest")
            if found[what]
        ]
        click.echo(f"{found['name']}{' ' + found['displayname'] if found['displayname'] else ''}")
        click.echo(f"  {', '.join(states).replace('_', '-') or 'in good standing'}")
        click.echo(f"  made {when(found['creation_ts'] * 1000)}, last seen {when(found['last_seen_ts'])}")
        for identity in found["external_ids"]:
            click.echo(f"  logs in by {identity['auth_provider']} as {identity['external_id']}")
        for terms in found["accepted_terms"]:
            click.echo(f"  accepted {terms['id']} {terms['version']}, {when(terms['accepted_ts'])}")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.option("--password", default=None, help="Asked for when not given.")
@click.option("--keep-sessions", is_flag=True, help="Whoever is logged in stays so.")
@CONFIG
def password(name: str, password: str | None, keep_sessions: bool, config_path: Path | None) -> None:
    """Set a new password for NAME, and log out all sessions."""
    config = load(config_path)
    new = password if password is not None else _new_password()

    def work(server: Asking) -> None:
        body = {"new_password": new, "logout_devices": not keep_sessions}
        server.ask("POST", f"v1/reset_password/{server.user(name)}", body)
        click.echo(f"{server.user_id(name)} has a new password.")

    run(config, work)


@user.command()
@click.argument("name")
@OFF
@CONFIG
def admin(name: str, off: bool, config_path: Path | None) -> None:
    """Make NAME an administrator of this server, or one no more."""

    def work(server: Asking) -> None:
        server.ask("PUT", f"v1/users/{server.user(name)}/admin", {"admin": not off})
        click.echo(f"{server.user_id(name)} is {'no administrator' if off else 'an administrator'}.")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@OFF
@CONFIG
def lock(name: str, off: bool, config_path: Path | None) -> None:
    """Let nobody in as NAME, on any protocol, until it is taken back. Sessions and rooms stay."""
    _changed(config_path, name, {"locked": not off}, "is not locked any more" if off else "is locked")


@user.command()
@click.argument("name")
@OFF
@CONFIG
def suspend(name: str, off: bool, config_path: Path | None) -> None:
    """Let NAME read and leave, and say nothing, until it is taken back."""
    _changed(config_path, name, {"suspended": not off}, "may speak again" if off else "is suspended")


@user.command("shadow-ban")
@click.argument("name")
@OFF
@CONFIG
def shadow_ban(name: str, off: bool, config_path: Path | None) -> None:
    """Show what NAME says to NAME alone, who is not told of it."""

    def work(server: Asking) -> None:
        server.ask("DELETE" if off else "POST", f"v1/users/{server.user(name)}/shadow_ban", {})
        click.echo(f"{server.user_id(name)} is {'heard again' if off else 'heard by nobody'}.")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.argument("displayname")
@CONFIG
def rename(name: str, displayname: str, config_path: Path | None) -> None:
    """Show NAME to others as DISPLAYNAME, in all rooms."""
    _changed(config_path, name, {"displayname": displayname}, "has another name")


@user.command()
@click.argument("name")
@click.option("--erase", is_flag=True, help="Redact what it said, in the rooms that it is in.")
@click.confirmation_option(prompt="It leaves all rooms, and what it kept here is deleted. Close it?")
@CONFIG
def close(name: str, erase: bool, config_path: Path | None) -> None:
    """Close the account NAME. Nobody else can have the name."""

    def work(server: Asking) -> None:
        server.ask("POST", f"v1/deactivate/{server.user(name)}", {"erase": erase})
        click.echo(f"{server.user_id(name)} is closed.")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.option("--password", default=None, help="Asked for when not given.")
@CONFIG
def reopen(name: str, password: str | None, config_path: Path | None) -> None:
    """Open the closed account NAME again. What went when it was closed stays gone."""
    config = load(config_path)
    new = password if password is not None else _new_password()

    def work(server: Asking) -> None:
        server.ask("PUT", f"v2/users/{server.user(name)}", {"deactivated": False, "password": new})
        click.echo(f"{server.user_id(name)} is open again.")

    run(config, work)


@user.command()
@click.argument("name")
@click.option("--end", default=None, metavar="SESSION", help='End this one; "all" for every one.')
@CONFIG
def sessions(name: str, end: str | None, config_path: Path | None) -> None:
    """Show where NAME is logged in, on all protocols, or end a session."""

    def work(server: Asking) -> None:
        path = f"v2/users/{server.user(name)}/devices"
        found = server.get(path)["devices"]
        if end is None:
            for one in found:
                shown = f" {one['display_name']}" if one["display_name"] else ""
                click.echo(f"{one['device_id']}{shown}: last seen {when(one['last_seen_ts'])}")
            click.echo(several(len(found), "session") + ".")
        elif end == "all":
            body = {"devices": [one["device_id"] for one in found]}
            server.ask("POST", f"v2/users/{server.user(name)}/delete_devices", body)
            click.echo(several(len(found), "session is ended.", "sessions are ended."))
        else:
            server.ask("DELETE", f"{path}/{segment(end)}")
            click.echo("The session is ended.")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@CONFIG
def rooms(name: str, config_path: Path | None) -> None:
    """Show the rooms of NAME and how NAME stands there."""

    def work(server: Asking) -> None:
        found = server.get(f"v1/users/{server.user(name)}/memberships")["memberships"]
        for room_id, membership in sorted(found.items(), key=lambda entry: (entry[1], entry[0])):
            click.echo(f"{room_id}: {membership}")
        click.echo(several(len(found), "room") + ".")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.option("--room", "rooms", multiple=True, metavar="ROOM", help="In this room alone; can be given again.")
@click.option("--reason", default=None, help="What the rooms are told.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Messages in each room; 1000 if not said.")
@click.option("--as-server", is_flag=True, help="In the name of the server instead of the user's.")
@CONFIG
def redact(
    name: str,
    rooms: tuple[str, ...],
    reason: str | None,
    limit: int | None,
    as_server: bool,
    config_path: Path | None,
) -> None:
    """Take back what NAME said; of other servers' users (@NAME:SERVER) too."""

    def work(server: Asking) -> None:
        body = {"rooms": list(rooms), "reason": reason, "limit": limit, "use_admin": as_server}
        given = {key: value for key, value in body.items() if value is not None}
        redact_id = server.ask("POST", f"v1/user/{server.user(name)}/redact", given)["redact_id"]
        done = server.job(f"v1/user/redact_status/{segment(redact_id)}")
        click.echo(f"What {server.user_id(name)} said is taken back.")
        for event_id, why in (done.get("failed_redactions") or {}).items():
            click.echo(f"not {event_id}: {why}")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.option("--per-second", type=click.IntRange(0), default=None, help="Messages a second; 0: no limit.")
@click.option("--burst", type=click.IntRange(0), default=0, help="Messages at once.")
@OFF
@CONFIG
def limit(name: str, per_second: int | None, burst: int, off: bool, config_path: Path | None) -> None:
    """Show how fast NAME may speak, give NAME a limit of its own, or (--off) that of everybody."""

    def work(server: Asking) -> None:
        path = f"v1/users/{server.user(name)}/override_ratelimit"
        if off:
            server.ask("DELETE", path)
        elif per_second is not None:
            server.ask("POST", path, {"messages_per_second": per_second, "burst_count": burst})
        found = server.get(path)
        if not found:
            click.echo(f"{server.user_id(name)} has the limit of everybody.")
        elif not found["messages_per_second"]:
            click.echo(f"{server.user_id(name)} has no limit.")
        else:
            rate, at_once = found["messages_per_second"], found["burst_count"]
            click.echo(f"{server.user_id(name)} may say {rate} a second, {at_once} at once.")

    run(load(config_path), work)


@user.command()
@click.argument("name")
@click.argument("text")
@CONFIG
def notice(name: str, text: str, config_path: Path | None) -> None:
    """Tell NAME something in the server's name, on whatever protocol NAME is."""

    def work(server: Asking) -> None:
        body = {"user_id": server.user_id(name), "content": {"msgtype": "m.text", "body": text}}
        server.ask("POST", "v1/send_server_notice", body)
        click.echo(f"{server.user_id(name)} is told.")

    run(load(config_path), work)


@user.command("log-in-as")
@click.argument("name")
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="How long.")
@CONFIG
def log_in_as(name: str, hours: float, config_path: Path | None) -> None:
    """Print an access token for NAME's account on Matrix. NAME sees that session among the others."""
    import time

    def work(server: Asking) -> None:
        until = int((time.time() + hours * 3600) * 1000)
        found = server.ask("POST", f"v1/users/{server.user(name)}/login", {"valid_until_ms": until})
        click.echo(found["access_token"])

    run(load(config_path), work)


@user.command("invitation")
@click.argument("token")
@click.option("--uses", type=click.IntRange(0), default=None, help="How often in all it may be used; 0: any number.")
@click.option("--days", type=click.IntRange(0), default=None, help="How long from now it is good for; 0: for ever.")
@CONFIG
def invitation(token: str, uses: int | None, days: int | None, config_path: Path | None) -> None:
    """Show one registration token, or change what it is good for."""
    import time

    def work(server: Asking) -> None:
        path, body = f"v1/registration_tokens/{segment(token)}", {}
        if uses is not None:
            body["uses_allowed"] = uses or None
        if days is not None:
            body["expiry_time"] = int((time.time() + days * 86_400) * 1000) if days else None
        found = server.ask("PUT", path, body) if body else server.get(path)
        allowed = "any number of times" if found["uses_allowed"] is None else f"{found['uses_allowed']} times"
        until = "for ever" if found["expiry_time"] is None else f"until {when(found['expiry_time'])}"
        click.echo(f"{token}: {allowed}, {until}; used {several(found['completed'], 'time')}.")

    run(load(config_path), work)


def _changed(config_path: Path | None, name: str, body: dict[str, object], said: str) -> None:
    def work(server: Asking) -> None:
        server.get(f"v2/users/{server.user(name)}")  # one that is not there would be made
        server.ask("PUT", f"v2/users/{server.user(name)}", body)
        click.echo(f"{server.user_id(name)} {said}.")

    run(load(config_path), work)


def _new_password() -> str:
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


