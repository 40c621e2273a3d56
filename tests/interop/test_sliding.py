"""matrix-js-sdk by sliding sync, beside somebody on IRC and somebody who syncs as ever.

One story, told in order. spec: MSC4186, in the form that clients send
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.js_peer import JsPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import all_see, becomes, until
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop


@dataclass
class Story:
    server: Server
    runner: asyncio.Runner
    jess: JsPeer
    nina: NioPeer
    iris: IrcPeer


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    JsPeer.check()
    with ExitStack() as stack:
        server = stack.enter_context(running_server(tmp_path_factory.mktemp("sliding")))
        runner = stack.enter_context(asyncio.Runner())
        here = Story(server, runner, JsPeer("jess", sliding=True), NioPeer("nina"), IrcPeer("iris"))

        async def start() -> None:
            await here.nina.start(server)
            await here.nina.create()
            await here.nina.join()
            await here.iris.start(server)
            await here.iris.join()
            await here.jess.start(server)

        async def stop() -> None:
            everybody = (here.jess.stop(), here.nina.stop(), here.iris.stop())
            await asyncio.gather(*everybody, return_exceptions=True)

        stack.callback(lambda: runner.run(stop()))
        runner.run(start())
        yield here


def test_it_enters_and_talks(story: Story) -> None:
    async def work() -> None:
        await story.jess.join()
        await story.jess.say("says-jess-1")
        await story.iris.say("says-iris-1")
        await story.nina.say("says-nina-1")
        await all_see([story.jess, story.nina, story.iris], ["says-jess-1", "says-iris-1", "says-nina-1"])

    story.runner.run(work())


def test_edits_reactions_and_the_topic_come(story: Story) -> None:
    async def work() -> None:
        event_id = story.jess.shown("says-jess-1")["id"]
        relates = {"rel_type": "m.annotation", "event_id": event_id, "key": "🍵"}
        await story.nina.client.room_send(story.nina.room_id, "m.reaction", {"m.relates_to": relates})
        await until(lambda: story.jess.shown("says-jess-1")["reactions"], lambda: str(story.jess.timeline))
        content = {
            "msgtype": "m.text",
            "body": "* says-jess-2",
            "m.new_content": {"msgtype": "m.text", "body": "says-jess-2"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }
        await story.jess.send("m.room.message", content)
        await until(lambda: story.jess.shown("says-jess-2").get("edited"), lambda: str(story.jess.timeline))
        await story.nina.set_topic("Kettle on")
        await becomes(story.jess, lambda peer: peer.topic() == "Kettle on", "told the topic")

    story.runner.run(work())


def test_more_than_a_timeline_holds_is_paged_back(story: Story) -> None:
    async def work() -> None:
        for number in range(2, 30):
            await story.iris.say(f"says-iris-{number}")
        await all_see([story.jess], ["says-iris-29"])
        await story.jess.page_back()
        await all_see([story.jess], [f"says-iris-{number}" for number in range(2, 30)])
        texts = [one.text for one in story.jess.seen()]
        assert len(texts) == len(set(texts))

    story.runner.run(work())


def test_it_leaves(story: Story) -> None:
    async def work() -> None:
        await story.jess.leave()
        await until(lambda: "jess" not in (story.nina.people() or set()), lambda: str(story.nina.people()))

    story.runner.run(work())


def test_nothing_went_wrong_inside(story: Story) -> None:
    assert [line for line in story.server.output if "Traceback" in line or "[error" in line] == []
