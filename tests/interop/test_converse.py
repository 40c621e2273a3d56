"""A day with converse.js in a browser, over WebSocket and again over BOSH, beside somebody on Matrix.

One story, told in order: in, talk, correct, react, files, out, back.
spec: RFC7395, XEP-0124, XEP-0206, XEP-0045, XEP-0308, XEP-0313, XEP-0363, XEP-0444, XEP-0249
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.interop.converse_peer import ConversePeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import ROOM, all_see, becomes
from tests.interop.test_media import fetched, picture
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

# By BOSH it looks for a session to go on with although none is kept, asks whether it is still in a room before it has
# entered it, and notifies of messages that come while it still builds its page.
_BOSH_EXPECTED = ("no restoreable session", "Error while pinging", "You are not in this room", "handleMessageStanza")


@dataclass
class Day:
    server: Server
    runner: asyncio.Runner
    cora: ConversePeer
    nina: NioPeer


@pytest.fixture(scope="module", params=["websocket", "bosh"])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    ConversePeer.check()
    bosh = request.param == "bosh"
    folder = tmp_path_factory.mktemp("converse")
    (folder / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        here = Day(server, runner, ConversePeer("cora", folder / "cora", bosh=bosh), NioPeer("nina"))

        async def start() -> None:
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.cora.start(server)

        async def stop() -> None:
            await asyncio.gather(here.cora.stop(), here.nina.stop(), return_exceptions=True)

        stack.callback(lambda: runner.run(stop()))
        runner.run(start())
        yield here


def test_it_logs_in_by_scram_over_the_websocket(day: Day) -> None:
    if day.cora.bosh:
        assert day.cora.frames == [], "no WebSocket"
        return
    client = [data for by, data in day.cora.frames if by == "client"]
    server = [data for by, data in day.cora.frames if by == "server"]
    assert client[0].startswith("<open ") and server[0].startswith("<open ")
    assert any('mechanism="SCRAM-SHA-256"' in data for data in client)


def test_it_enters_and_both_talk(day: Day) -> None:
    async def story() -> None:
        await day.cora.join()
        await becomes(day.cora, lambda one: one.people() == {"cora", "nina"}, "among both")
        for peer in (day.nina, day.cora):
            await peer.say(f"says-{peer.account}-1")
            await all_see([day.nina, day.cora], [f"says-{peer.account}-1"])
        await day.nina.say("says-nina-2, is it tea time, cora?")
        await becomes(day.cora, lambda one: one.shown("says-nina-2").get("highlighted"), "called by name")
        assert not day.cora.shown("says-nina-1")["highlighted"]

    day.runner.run(story())
    ids = {one.text: one.msgid for one in day.nina.seen()}
    assert {one.text: one.msgid for one in day.cora.seen()} == ids


def test_corrections_go_both_ways(day: Day) -> None:
    async def story() -> None:
        await day.cora.say("says-cora-3 caek")
        await all_see([day.nina, day.cora], ["says-cora-3"])
        await day.cora.correct("says-cora-3 cake")
        await becomes(day.nina, lambda one: _edits(one, "says-cora-3 cake"), "shown the edit")
        await becomes(day.cora, lambda one: one.shown("says-cora-3")["edited"], "shown its own edit")
        await day.nina.say("says-nina-3 suger")
        await all_see([day.cora], ["says-nina-3"])
        right = {"msgtype": "m.text", "body": "says-nina-3 sugar"}
        relation = {"rel_type": "m.replace", "event_id": _id(day, "says-nina-3")}
        await day.nina.send(
            "m.room.message", {**right, "body": "* says-nina-3 sugar", "m.new_content": right, "m.relates_to": relation}
        )
        await becomes(day.cora, lambda one: one.shown("says-nina-3")["text"] == right["body"], "shown the edit")

    day.runner.run(story())


def _edits(nina: NioPeer, body: str) -> bool:
    return any(one["content"].get("m.new_content", {}).get("body") == body for one in nina.events)


def _id(day: Day, text: str) -> str:
    (msgid,) = (one.msgid for one in day.nina.seen() if one.text == text)
    assert msgid is not None
    return msgid


def test_reactions_go_both_ways(day: Day) -> None:
    async def story() -> None:
        about = {"rel_type": "m.annotation", "event_id": _id(day, "says-cora-1"), "key": "🍰"}
        await day.nina.send("m.reaction", {"m.relates_to": about})
        await becomes(day.cora, lambda one: one.shown("says-cora-1")["reactions"], "shown the cake")
        assert day.cora.shown("says-cora-1")["reactions"][0].split() == ["🍰", "1"]
        await day.cora.react("says-nina-1", "👍")
        await becomes(
            day.nina,
            lambda one: any(e["type"] == "m.reaction" and e["sender"].startswith("@cora:") for e in one.events),
            "shown the thumb",
        )
        await becomes(day.cora, lambda one: one.shown("says-nina-1")["reactions"], "shown its own thumb")

    day.runner.run(story())


def test_pictures_go_both_ways(day: Day) -> None:
    data = picture((120, 60, 0))

    async def story() -> None:
        uri = await day.nina.upload(data, "image/png", "cake.png")
        info = {"mimetype": "image/png", "size": len(data), "w": 200, "h": 200}
        await day.nina.send("m.room.message", {"msgtype": "m.image", "body": "cake.png", "url": uri, "info": info})
        await becomes(day.cora, lambda one: one.pictures(), "shown a picture")
        assert await fetched(day.cora.pictures()[0][0]) == (200, data)
        path = day.cora.profile / "pie.png"
        path.write_bytes(data)
        await day.cora.upload(path)
        await becomes(day.nina, lambda one: _images(one) == ["cake.png", "pie.png"], "shown both")
        await becomes(day.cora, lambda one: len(one.pictures()) == 2, "shown both")
        assert [len(pictures) for pictures in day.cora.pictures()] == [1, 1]

    day.runner.run(story())


def _images(nina: NioPeer) -> list[str]:
    return [one["content"]["body"] for one in nina.events if one["content"].get("msgtype") == "m.image"]


def test_it_finds_what_was_said_while_the_page_was_closed(day: Day) -> None:
    async def story() -> None:
        await day.cora.go_away()
        await day.nina.say("says-nina-4 while you are away")
        await all_see([day.nina], ["says-nina-4"])
        await day.cora.come_back()
        await all_see([day.cora], ["says-nina-4"])
        texts = [one.text for one in day.cora.seen()]
        assert len(texts) == len(set(texts)), texts

    day.runner.run(story())


def test_it_is_invited_and_leaves_and_returns(day: Day) -> None:
    async def story() -> None:
        await day.cora.leave()
        await day.nina.say("says-nina-5 without you")
        await all_see([day.nina], ["says-nina-5"])
        await day.cora.join()
        await all_see([day.cora], ["says-nina-5"])
        await day.cora.say("says-cora-5 here again")
        await all_see([day.nina, day.cora], ["says-cora-5"])
        await day.nina.client.room_create(name="Cellar", invite=[f"@cora:{day.server.name}"])
        await becomes(day.cora, lambda one: "has invited you to join" in one.room["dialog"], "asked to join")

    day.runner.run(story())


def test_nothing_went_wrong(day: Day) -> None:
    bad = [line for line in day.server.output if "Traceback" in line or "[error" in line]
    assert bad == [], "".join(day.server.output[-80:])
    # What the browser could not fetch lies on other machines.
    expected = ("DEPRECATED", "Failed to load", *(_BOSH_EXPECTED if day.cora.bosh else ()))
    complaints = [one for one in day.cora.complaints if not any(words in one for words in expected)]
    assert complaints == [], "\n".join(complaints)
    assert ROOM in day.cora.jid
