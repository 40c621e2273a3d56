"""What one may not do, and what was done already: the reply of section 25 on each protocol, and nobody else notices.

spec: docs/mapping.md 25; RFC2812 5.2, XEP-0045 7.4, 8, 9, 10; Matrix client-server standard errors
"""

import asyncio
from pathlib import Path

import pytest

from tests.cross.clashes import ACTIONS, Cast, Scene, no_bugs
from tests.cross.world import world

# What needs a rank: by a member who has none, and by somebody who is not in the room.
RANKED = ("kick", "ban", "redact", "topic", "moderated", "closed", "password", "grant", "destroy", "upgrade", "rename")
INSIDE = (*RANKED, "say", "leave", "invite")
# What makes no difference the second time.
TWICE = ("kick", "ban", "leave", "redact", "destroy", "closed", "moderated", "grant", "topic", "join", "block")
LACKING = {
    "matrix": ("403 {'errcode': 'M_FORBIDDEN'",),
    "irc": (" 482 ", "REDACT_FORBIDDEN", "Only an owner "),
    "xmpp": ("<forbidden ", "<not-allowed "),
}
OUTSIDE = {
    "matrix": ("403 {'errcode': 'M_FORBIDDEN'",),
    "irc": (" 442 ", " 404 ", "FAIL REDACT ", " 401 ", "Only an owner ", "You are not in "),
    "xmpp": ("<not-acceptable ", "<forbidden ", "<item-not-found "),
}


def _play(folder: Path, name: str, how: str) -> None:
    async def work() -> None:
        async with world(folder, sockets=False) as at:
            with no_bugs():
                cast = Cast(at)
                await cast.come()
                for protocol in ACTIONS[name].ways:
                    await _scene(Scene(cast), name, protocol, how)

    asyncio.run(asyncio.wait_for(work(), 60))


async def _scene(scene: Scene, name: str, protocol: str, how: str) -> None:
    asked = ("alice CS DROP #ROOM gone",) if (name, protocol) == ("destroy", "irc") else ()
    await scene.open(*asked, also=("dora",) if how == "lacking" else ())
    if how == "twice":
        assert (await scene.act(name, protocol)).done
        await scene.settle()
        await scene.check()
        scene.forget()
        await scene.act(name, protocol)
    else:
        answer = await scene.act(name, protocol, "dora", dora="carol")
        wanted = (LACKING if how == "lacking" else OUTSIDE)[protocol]
        assert any(words in answer.text for words in wanted), answer.text
    await scene.settle()
    await scene.check()
    assert not scene.irc.lines
    assert not scene.xmpp.stanzas
    # Matrix has in the graph what was asked for again by who may: a redaction.
    assert not [event for event in scene.matrix if event["type"] != "m.room.redaction"]


@pytest.mark.parametrize("name", RANKED)
def test_without_the_right(name: str, tmp_path: Path) -> None:
    _play(tmp_path / "data", name, "lacking")


@pytest.mark.parametrize("name", INSIDE)
def test_from_outside(name: str, tmp_path: Path) -> None:
    _play(tmp_path / "data", name, "outside")


@pytest.mark.parametrize("name", TWICE)
def test_twice(name: str, tmp_path: Path) -> None:
    _play(tmp_path / "data", name, "twice")
