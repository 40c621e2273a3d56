"""IRC on a page of a browser, with nothing between it and the server: irc-framework over WebSocket, in Chromium.

One story, told in order: logged in, in, talk, back through history, a file by FILEHOST, away and back.
spec: IRCv3 websocket, draft/chathistory, IRCv3 filehost
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.interop.browser_peer import CHROMIUM, Browser, must_have_browser
from tests.interop.irc_peer import CHANNEL
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, all_see
from tests.interop.slix_peer import SlixPeer
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

ACCOUNT = {"name": "wendy", "password": PASSWORD}


@dataclass
class Hour:
    server: Server
    runner: asyncio.Runner
    wendy: Browser
    nina: NioPeer
    sam: SlixPeer

    async def said(self) -> list[tuple[str, str, str]]:
        """Who said what on the page, and in which kind of batch it came."""
        lines = (await self.wendy.do("lines"))["lines"]
        return [(one["by"], one["text"], one["batch"]) for one in lines if one["kind"] == "message"]


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    must_have_browser("irc-framework")
    assert CHROMIUM is not None
    folder = tmp_path_factory.mktemp("irc")
    (folder / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        here = Hour(server, runner, Browser("irc.mjs"), NioPeer("nina"), SlixPeer("sam"))

        async def start() -> None:
            server.register("wendy", PASSWORD)
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.sam.start(server)
            await here.sam.join()
            for number in range(10):
                await here.nina.say(f"says-nina-{number}")
            await here.wendy.start("127.0.0.1", str(server.ports["http"]), CHROMIUM, str(folder / "profile"))

        async def stop() -> None:
            everybody = (here.wendy.stop(), here.nina.stop(), here.sam.stop())
            await asyncio.gather(*everybody, return_exceptions=True)

        stack.callback(lambda: runner.run(stop()))
        runner.run(start())
        yield here


def test_it_logs_in(hour: Hour) -> None:
    async def work() -> None:
        caps = (await hour.wendy.do("connect", nick="wendy", account=ACCOUNT, protocol="text.ircv3.net"))["caps"]
        assert {"draft/chathistory", "message-tags", "server-time", "batch"} <= set(caps)
        await hour.wendy.do("raw", words=["WHOIS", "wendy"])
        await hour.wendy.do("join", channel=CHANNEL)

    hour.runner.run(work())


def test_what_is_said_is_seen_on_all_sides(hour: Hour) -> None:
    async def work() -> None:
        await hour.wendy.do("say", channel=CHANNEL, text="says-wendy-1 hello from a page 🫖")
        await all_see([hour.nina, hour.sam], ["says-wendy-1"])
        await hour.sam.say("says-sam-1 hello from XMPP")
        await hour.wendy.shows("says-sam-1 hello from XMPP")
        said = await hour.said()
        assert ("wendy", "says-wendy-1 hello from a page 🫖", "") in said
        assert ("sam", "says-sam-1 hello from XMPP", "") in said

    hour.runner.run(work())


def test_history_is_paged(hour: Hour) -> None:
    async def work() -> None:
        pages: list[list[str]] = []
        before = "*"
        for _ in range(3):
            seen = len((await hour.wendy.do("lines"))["lines"])
            which = ["LATEST", CHANNEL, "*"] if before == "*" else ["BEFORE", CHANNEL, f"msgid={before}"]
            await hour.wendy.do("raw", words=["CHATHISTORY", *which, "4"])
            page: list[dict[str, str]] = []
            async with asyncio.timeout(20):
                while len(page) < 4:
                    lines = (await hour.wendy.do("lines"))["lines"][seen:]
                    page = [one for one in lines if one["batch"] == "chathistory" and one["kind"] == "message"]
                    await asyncio.sleep(0.05)
            before = next(one["id"] for one in page if one["id"])
            pages.insert(0, [one["text"].split()[0] for one in page])
        gathered = [text for page in pages for text in page]
        assert gathered[-2:] == ["says-wendy-1", "says-sam-1"]
        nina = [text for text in gathered if text.startswith("says-nina-")]
        assert nina == [f"says-nina-{number}" for number in range(10)]

    hour.runner.run(work())


def test_a_file_is_given_to_the_room(hour: Hour) -> None:
    """The place is named in ISUPPORT; a page of another origin may post to it, and reads Location."""

    async def work() -> None:
        url = (await hour.wendy.do("isupport", name="DRAFT/FILEHOST"))["value"]
        refused = await hour.wendy.do("upload", url=url, name="list.txt", text="tea")
        assert (refused["status"], refused["location"]) == (401, None)
        token = (await hour.wendy.do("token"))["token"]
        bearer = f"Bearer {token}"
        done = await hour.wendy.do("upload", url=url, name="list.txt", text="tea, milk", authorization=bearer)
        assert done["status"] == 201
        await hour.wendy.do("say", channel=CHANNEL, text=f"says-wendy-2 {done['location']}")
        await all_see([hour.nina, hour.sam], ["says-wendy-2"])

    hour.runner.run(work())


def test_it_comes_back(hour: Hour) -> None:
    """Still in its channel, and what was said meanwhile is there to be asked for."""

    async def work() -> None:
        await hour.wendy.do("close")
        await hour.nina.say("says-nina-99 while nobody looked")
        await hour.wendy.do("connect", nick="wendy", account=ACCOUNT, protocol="text.ircv3.net")
        await hour.wendy.do("raw", words=["CHATHISTORY", "LATEST", CHANNEL, "*", "1"])
        await hour.wendy.shows("says-nina-99 while nobody looked")
        joined = [one["where"] for one in (await hour.wendy.do("lines"))["lines"] if one["kind"] == "join"]
        assert joined == [CHANNEL]

    hour.runner.run(work())


def test_nobody_has_anything_to_complain_of(hour: Hour) -> None:
    assert hour.wendy.complaints == []
    assert [line for line in hour.server.output if "Traceback" in line or "[error" in line] == []
