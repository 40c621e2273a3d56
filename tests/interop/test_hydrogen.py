"""An hour with Hydrogen, a Matrix client for browsers, beside somebody on IRC and somebody on XMPP.

One story, told in order: logged in on its page, invited, in, talk, back after the page was loaded anew.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.interop.browser_peer import CHROMIUM, Browser, must_have_browser
from tests.interop.irc_peer import IrcPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, all_see
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

@dataclass
class Hour:
    server: Server
    runner: asyncio.Runner
    hana: Browser
    nina: NioPeer
    iris: IrcPeer
    folder: Path


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    must_have_browser("hydrogen-view-sdk")
    assert CHROMIUM is not None
    folder = tmp_path_factory.mktemp("hydrogen")
    (folder / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        here = Hour(server, runner, Browser("hydrogen.mjs"), NioPeer("nina"), IrcPeer("iris"), folder)

        async def start() -> None:
            server.register("hana", PASSWORD)
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.iris.start(server)
            await here.iris.join()
            await here.hana.start(server.http, CHROMIUM, str(folder / "hana"))

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
