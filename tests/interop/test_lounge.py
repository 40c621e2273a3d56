"""An hour with The Lounge, an IRC client in the browser with a server of its own, which many networks put before them.

One story, told in order: logged in by SASL over TLS, in, what was said before, talk, a file, its server restarted.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.interop.browser_peer import CHROMIUM, Browser, must_have_browser
from tests.interop.irc_peer import CHANNEL, IrcPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, all_see, must_have, until
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

INSTALLED = Path(__file__).parent / "lounge" / "node_modules" / "thelounge"


@dataclass
class Hour:
    server: Server
    runner: asyncio.Runner
    lou: Browser
    nina: NioPeer
    iris: IrcPeer
    folder: Path


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    must_have_browser("playwright-core")
    must_have(INSTALLED.is_dir(), "The Lounge")
    assert CHROMIUM is not None
    folder = tmp_path_factory.mktemp("lounge")
    (folder / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        here = Hour(server, runner, Browser("lounge.mjs"), NioPeer("nina"), IrcPeer("iris"), folder)

        async def start() -> None:
            server.register("lou", PASSWORD)
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.iris.start(server)
            await here.iris.join()
            for number in range(10, 13):
                await here.nina.say(f"says-nina-{number} before anybody came")
            await here.lou.start(str(folder / "home"), "lou", PASSWORD, CHROMIUM, str(folder / "profile"))

        async def stop() -> None:
            everybody = (here.lou.stop(), here.nina.stop(), here.iris.stop())
            await asyncio.gather(*everybody, return_exceptions=True)

        stack.callback(lambda: runner.run(stop()))
        runner.run(start())
        yield here


def test_it_logs_in_and_is_in_the_channel(hour: Hour) -> None:
    async def work() -> None:
        await hour.lou.do("log_in")
        await hour.lou.do("connect", host="127.0.0.1", port=hour.server.ports["irc_tls"])
        await hour.lou.shows("Logged in as: lou")
        await hour.lou.do("join", channel=CHANNEL)
        people = (await hour.lou.do("people"))["people"]
        assert {name.lstrip("~&@%+") for name in people} >= {"lou", "nina", "iris"}
        await hour.lou.do("lobby")
        assert "Unknown command" not in (await hour.lou.do("text"))["text"]
        await hour.lou.do("open")

    hour.runner.run(work())


def test_what_was_said_before_is_shown(hour: Hour) -> None:
    """It asks by ZNC's command for what was said in a channel that is new to it (znc.in/playback)."""

    async def work() -> None:
        await hour.lou.shows("says-nina-12")
        texts = [one["text"].split()[0] for one in (await hour.lou.do("messages"))["messages"]]
        assert texts == ["says-nina-10", "says-nina-11", "says-nina-12"]

    hour.runner.run(work())


def test_what_is_said_is_seen_on_all_sides(hour: Hour) -> None:
    async def work() -> None:
        await hour.nina.say("says-nina-1 hello from Matrix")
        await hour.iris.say("says-iris-1 lou: hello from IRC")
        await hour.lou.shows("hello from Matrix")
        await hour.lou.shows("hello from IRC")
        await hour.lou.do("say", text="says-lou-1 hello from a browser")
        await all_see([hour.iris, hour.nina], ["says-lou-1"])
        await hour.lou.do("say", text="/me says-lou-2 waves")
        lines = hour.iris.lines
        await until(lambda: any(" action lou" in line and "waves" in line for line in lines), lambda: "\n".join(lines))
        messages = (await hour.lou.do("messages"))["messages"]
        assert [one["text"].split()[0] for one in messages if one["highlighted"]] == ["says-iris-1"]
        await hour.lou.do("screenshot", path=str(hour.folder / "talk.png"))

    hour.runner.run(work())


def test_a_file_is_sent(hour: Hour) -> None:
    async def work() -> None:
        path = hour.folder / "list.txt"
        path.write_text("tea, milk, biscuits")
        link = (await hour.lou.do("upload", path=str(path)))["link"]
        assert link.endswith("list.txt")
        await until(lambda: any(link in line for line in hour.iris.lines), lambda: "\n".join(hour.iris.lines))

    hour.runner.run(work())


def test_its_own_server_is_started_anew(hour: Hour) -> None:
    """It comes back to the channel by itself; it asks for nothing then, as with a bouncer (models/chan.js)."""

    async def work() -> None:
        await hour.lou.do("stop")
        await hour.lou.do("start")
        await hour.lou.do("log_in")
        await hour.lou.do("open")
        await hour.iris.say("says-iris-9 and on")
        await hour.lou.shows("says-iris-9")

    hour.runner.run(work())


def test_it_is_all_there_when_the_page_is_loaded_anew(hour: Hour) -> None:
    async def work() -> None:
        await hour.lou.do("again")
        for text in ("hello from Matrix", "hello from a browser", "says-nina-12", "says-iris-9"):
            await hour.lou.shows(text)
        await hour.lou.do("screenshot", path=str(hour.folder / "again.png"))

    hour.runner.run(work())


def test_nobody_has_anything_to_complain_of(hour: Hour) -> None:
    assert hour.lou.complaints == []
    assert [line for line in hour.server.output if "Traceback" in line or "[error" in line] == []
