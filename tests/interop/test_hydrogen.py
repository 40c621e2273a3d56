"""An hour with Hydrogen, a Matrix client for browsers, beside somebody on IRC and somebody on XMPP.

One story, told in order: logged in on its page, invited, in, talk, back after the page was loaded anew.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.js_peer import FOLDER
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, PATIENCE_S, all_see, must_have
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Hydrogen:
    """The page, by js/hydrogen.mjs."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._asked = 0
        self.complaints: list[str] = []

    @staticmethod
    def check() -> None:
        installed = (FOLDER / "node_modules" / "hydrogen-view-sdk").is_dir()
        must_have(shutil.which("node") and installed and CHROMIUM, "Hydrogen (in Chromium)")

    async def start(self, server: Server) -> None:
        assert CHROMIUM is not None
        self._profile.mkdir()
        self._process = await asyncio.create_subprocess_exec(
            *("node", "hydrogen.mjs", f"http://127.0.0.1:{server.ports['http']}", CHROMIUM, str(self._profile)),
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        assert (await self._next())["is"] == "ready"

    async def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 90)
        assert line, "it ended"
        found: dict[str, Any] = json.loads(line)
        return found

    async def do(self, what: str, **more: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._asked += 1
        self._process.stdin.write(json.dumps({"do": what, "to": self._asked, **more}).encode() + b"\n")
        while (answer := await self._next())["is"] != "answer":
            self.complaints.append(answer["text"])
        assert "error" not in answer, answer["error"]
        return answer

    async def shows(self, text: str) -> None:
        """It stands on the page, sooner or later."""
        async with asyncio.timeout(4 * PATIENCE_S):
            while text not in (await self.do("text"))["text"]:  # noqa: ASYNC110  # a page is looked at, as by a person
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@dataclass
class Hour:
    server: Server
    runner: asyncio.Runner
    hana: Hydrogen
    nina: NioPeer
    iris: IrcPeer
    folder: Path


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    Hydrogen.check()
    folder = tmp_path_factory.mktemp("hydrogen")
    (folder / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        here = Hour(server, runner, Hydrogen(folder / "hana"), NioPeer("nina"), IrcPeer("iris"), folder)

        async def start() -> None:
            server.register("hana", PASSWORD)
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.iris.start(server)
            await here.iris.join()
            await here.hana.start(server)

        async def stop() -> None:
            everybody = (here.hana.stop(), here.nina.stop(), here.iris.stop())
            await asyncio.gather(*everybody, return_exceptions=True)

        stack.callback(lambda: runner.run(stop()))
        runner.run(start())
        yield here


def test_it_logs_in_and_shows_an_invitation(hour: Hour) -> None:
    async def work() -> None:
        await hour.hana.do("log_in", account="hana", password=PASSWORD)
        await hour.nina.client.room_invite(hour.nina.room_id, f"@hana:{hour.server.name}")
        await hour.hana.do("open", room="Tea")
        await hour.hana.do("accept")

    hour.runner.run(work())


def test_what_is_said_is_seen_on_both_sides(hour: Hour) -> None:
    async def work() -> None:
        await hour.iris.say("says-iris-1 hello from IRC")
        await hour.hana.shows("hello from IRC")
        await hour.hana.do("say", text="says-hana-1 hello from a browser")
        await all_see([hour.iris, hour.nina], ["says-hana-1"])
        await hour.nina.say("says-nina-1 hello from a phone")
        await hour.hana.shows("hello from a phone")
        await hour.hana.do("screenshot", path=str(hour.folder / "room.png"))

    hour.runner.run(work())


def test_it_is_all_there_when_the_page_is_loaded_anew(hour: Hour) -> None:
    async def work() -> None:
        await hour.hana.do("again")
        await hour.hana.do("open", room="Tea")
        for text in ("hello from IRC", "hello from a browser", "hello from a phone"):
            await hour.hana.shows(text)

    hour.runner.run(work())


def test_it_has_nothing_to_complain_of(hour: Hour) -> None:
    assert hour.hana.complaints == []
    assert [line for line in hour.server.output if "Traceback" in line or "[error" in line] == []
