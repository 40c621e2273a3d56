"""How commands reach the administrators' API: of the server that runs on the data folder, or of none.

A running server listens on a socket in its folder (runtime/control.py). Where none runs, this process is one that
nobody can reach (runtime/offline.py), as long as the command takes.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import click
import orjson

from tripoint.config.options import Config

# Deleting a large room is waited for by asking again; one answer takes no longer than this.
ANSWER_S: Final = 600.0
POLL_S: Final = 0.2
_PAGE: Final = 500

Answer = dict[str, Any]
# (method, target, body): status and body of the answer.
Send = Callable[[str, str, bytes], tuple[int, bytes]]


class Said(Exception):
    """The server says no; the text is for the person at the terminal."""


class Asking:
    """One server, asked as its administrators ask. Paths are below /_synapse/admin/."""

    def __init__(self, name: str, send: Send, wait: Callable[[float], None], *, runs: bool) -> None:
        self.name = name
        self.runs = runs
        self._send = send
        self._wait = wait

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: object) -> Answer:
        """The answer. Raises Said."""
        given = {name: _as_query(value) for name, value in query.items() if value is not None}
        target = f"/_synapse/admin/{path}" + (f"?{urlencode(given)}" if given else "")
        status, data = self._send(method, target, b"" if body is None else orjson.dumps(body))
        answer: Answer = orjson.loads(data)
        if status >= 400:
            if answer.get("errcode") == "M_UNRECOGNIZED" and status in (404, 405) and not self.runs:
                raise Said("That can be asked of a running server alone: start it first")
            raise Said(str(answer.get("error", f"The server answered {status}")))
        return answer

    def get(self, path: str, **query: object) -> Answer:
        return self.ask("GET", path, None, **query)

    def pages(self, path: str, key: str, **query: object) -> Iterator[Answer]:
        """The entries of a list, however many pages it has."""
        start = 0
        while True:
            found = self.get(path, **{**query, "from": start, "limit": _PAGE})[key]
            yield from found
            if len(found) < _PAGE:
                return
            start += len(found)

    def job(self, path: str) -> Answer:
        """What has come of long work, when it has ended. Raises Said where it failed."""
        while (answer := self.get(path))["status"] not in ("complete", "failed"):
            self._wait(POLL_S)
        if answer["status"] == "failed":
            raise Said(f"It did not succeed: {answer.get('error', 'the log says why')}")
        return answer

    def user(self, name: str) -> str:
        """A path segment for an account: its name, or its whole user id."""
        return segment(self.user_id(name))

    def user_id(self, name: str) -> str:
        return name if name.startswith("@") else f"@{name}:{self.name}"


def segment(text: str) -> str:
    return quote(text, safe="")


def when(ts_ms: int | None) -> str:
    """A time for people; of none, "never"."""
    return "never" if not ts_ms else datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def before(days: float) -> int:
    """So many days ago, in ms since 1970."""
    return int((time.time() - days * 86_400) * 1000)


def several(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def run(config: Config, work: Callable[[Asking], int | None]) -> None:
    """Do something with a server, and end the program: with what `work` returns, or 1 where the server says no."""
    from tripoint.runtime.data_dir import DataDirError
    from tripoint.store.interface import StoreError

    os.umask(0o077)
    try:
        with _server(config) as asking:
            sys.exit(work(asking) or 0)
    except (Said, DataDirError, StoreError, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


@contextmanager
def _server(config: Config) -> Iterator[Asking]:
    from tripoint.cli.control_client import ControlClient
    from tripoint.runtime.control import connect_control

    folder = Path(config.server.data_dir)
    if not (folder / "tripoint.db").exists():
        raise Said(f"There is no database in {config.server.data_dir}")
    sock = connect_control(folder, ANSWER_S)
    if sock is None:
        yield from _without(config, folder)
        return
    client = ControlClient(sock, ANSWER_S)

    def send(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        try:
            return client.ask(method, target, body)
        except OSError as error:
            raise Said(f"The server went away: {error}") from error

    try:
        yield Asking(config.server.name, send, time.sleep, runs=True)
    finally:
        client.close()


def _without(config: Config, folder: Path) -> Iterator[Asking]:
    """Where no server runs: this process is one."""
    import asyncio

    from tripoint.net.http import Request
    from tripoint.observe.log import configure
    from tripoint.runtime.data_dir import DataDir
    from tripoint.runtime.offline import offline

    configure("error", as_json=False)
    with ExitStack() as stack:
        held = DataDir(folder)
        stack.callback(held.close)
        runner = stack.enter_context(asyncio.Runner())
        context = offline(config, held)
        made = runner.run(context.__aenter__())
        stack.callback(lambda: runner.run(context.__aexit__(None, None, None)))

        def send(method: str, target: str, body: bytes) -> tuple[int, bytes]:
            path, _, query = target.partition("?")
            request = Request(method, path, query.encode(), ((b"content-type", b"application/json"),), body, "")
            answer = runner.run(made.ask(request))
            return answer.status, answer.body

        yield Asking(config.server.name, send, lambda seconds: runner.run(asyncio.sleep(seconds)), runs=False)


def _as_query(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
