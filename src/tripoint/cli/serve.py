"""`tripoint run` and `tripoint try`: a server until a signal, and what it tells whoever started it."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from tripoint.config.load import registration_mode
from tripoint.config.options import Config, Listen, Server
from tripoint.observe.log import configure
from tripoint.runtime.app import App, open_app
from tripoint.runtime.data_dir import DataDirError
from tripoint.runtime.garbage import settle_in
from tripoint.runtime.reload import read_again
from tripoint.store.interface import StoreError


def serve(config: Config, path: Path | None = None, *, note: str = "") -> int:
    """Run a server; returns the exit status: 0 after a signal, 1 where it could not start. `path` is the file
    that the configuration came from, read again on SIGHUP."""
    os.umask(0o077)  # whatever is written here is for its owner alone, also in a folder that was there before
    configure(config.log.level, as_json=config.log.json)
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:  # plain asyncio works too, slower
        runner = asyncio.Runner()
    with runner:
        return runner.run(_serve(config, path, note))


async def _serve(config: Config, path: Path | None, note: str) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        app = open_app(config)
    except DataDirError as error:
        click.echo(str(error), err=True)
        return 1
    try:
        await app.start()
    except (DataDirError, StoreError, OSError, ValueError) as error:
        click.echo(_explain(error), err=True)
        return 1
    settle_in()
    reloads: set[asyncio.Task[list[str]]] = set()

    async def rehash() -> list[str]:
        wished, mistakes = read_again(path, config)
        told = await app.reload(wished)
        return ["The file has mistakes; the options stay as they are:", *mistakes] if mistakes else told

    def hang_up() -> None:
        reloads.add(task := loop.create_task(rehash()))
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    app.on_rehash(rehash)
    click.echo(instructions(app) + note)
    sys.stdout.flush()
    await stop.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A second signal ends a drain that takes too long.
        loop.remove_signal_handler(number)
    await app.stop()
    click.echo("stopped")
    return 0


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"The server could not start: {error}. Is something else using this port? See [listen]."
    return f"The server could not start: {error}"


def try_server() -> int:
    """A server on free ports with a folder that is deleted afterwards."""
    free = ("127.0.0.1:0",)
    with tempfile.TemporaryDirectory(prefix="tripoint-try-") as folder:
        config = replace(
            Config(),
            server=Server(data_dir=folder),
            listen=Listen(http=free, irc=free, irc_tls=free, xmpp=free, xmpp_tls=free, federation=free, metrics=free),
        )
        with contextlib.suppress(KeyboardInterrupt):
            return serve(config, note="\nEverything here is thrown away when this server stops.\n")
        return 0


def instructions(app: App) -> str:
    """How to connect each kind of client, and how to make the first account."""
    server, ports = app.config.server.name, app.ports
    mode = registration_mode(app.config)

    def port(name: str) -> str:
        return str(ports[name][0]) if ports.get(name) else "off"

    lines = [f"tripoint is running as {server}.", ""]
    if mode == "open":
        lines += [
            f"Make an account:  open http://localhost:{port('http')}/ in a browser,",
            "                  or register in any client below,",
            "                  or: tripoint user add NAME",
        ]
    elif mode == "token":
        lines += ["Make an account:  tripoint user add NAME, or hand out tokens: tripoint user invite"]
    else:
        lines += ["Make an account:  tripoint user add NAME   (registration is closed)"]
    lines += [
        "",
        f"Matrix   homeserver http://localhost:{port('http')}   user @NAME:{server}",
        f"IRC      localhost {port('irc')} (TLS {port('irc_tls')})   SASL with NAME and password, or a nick as guest",
    ]
    room = f"Join #tea on IRC, #tea:{server} on Matrix"
    if ports.get("xmpp") or ports.get("xmpp_tls"):
        where = f"host localhost, port {port('xmpp')} (direct TLS {port('xmpp_tls')})"
        lines.append(f"XMPP     JID NAME@{server}, {where}")
        if ports.get("http"):
            lines.append(f"         web clients: WebSocket ws://localhost:{port('http')}/xmpp-websocket")
        room += f", tea@rooms.{server} on XMPP"
    if ports.get("federation"):
        lines.append(f"Servers  other Matrix servers reach this one on port {port('federation')}")
    if links := [port(name) for name in ("s2s", "s2s_tls") if ports.get(name)]:
        lines.append(f"         other XMPP servers on port {' and '.join(links)}")
    if ports.get("components"):
        lines.append(f"         XMPP components on port {port('components')}")
    lines += [
        "",
        f"{room}: it is one room.",
        "Stop with Ctrl-C.",
    ]
    return "\n".join(lines)
