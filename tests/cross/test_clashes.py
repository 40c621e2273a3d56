"""Two people at the same moment, from any two protocols: proper answers, one state, and nothing odd for who looks on.

Every pair is played from each protocol against each, in both orders, on a store whose answers come late, so that each
action waits in the midst of the other. What must be so afterwards, whoever was first, stands with the pair.
spec: docs/mapping.md 25, 27.4; Matrix client-server errors, RFC2812 5.2, XEP-0045
"""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cross.clashes import ACTIONS, PROTOCOLS, Answer, Cast, Scene, no_bugs
from tests.cross.world import world
from tests.support.slow_store import SlowStore
from tripoint.core.ids import UserId
from tripoint.rooms.ports import RoomView

Outcome = Callable[[Scene, RoomView, Answer, Answer], None]


def membership(room: RoomView, name: str) -> str:
    return room.membership(UserId(f"@{name}:example.org"))


def _out(name: str, how: str) -> Outcome:
    def check(scene: Scene, room: RoomView, first: Answer, second: Answer) -> None:
        assert membership(room, name) == how

    return check


@dataclass(frozen=True)
class Pair:
    """Two actions; `before` are lines of IRC ("alice MODE ...") that the scene begins with."""

    first: str
    second: str
    after: Outcome | None = None
    before: tuple[str, ...] = field(default=())


def _kicked(scene: Scene, room: RoomView, kick: Answer, nick: Answer) -> None:
    # A kick of XMPP names a nick that may be gone by then.
    assert kick.done or (nick.done and "There is no such person" in kick.text)
    assert membership(room, "carol") == ("leave" if kick.done else "join")


def _banned(scene: Scene, room: RoomView, ban: Answer, other: Answer) -> None:
    assert ban.done
    assert membership(room, "dora") == "ban"


def _gone(scene: Scene, room: RoomView, one: Answer, other: Answer) -> None:
    """Two who take one message away: it is gone, and those who look on hear it once."""
    assert one.done or other.done
    assert sum("<retract " in stanza for stanza in scene.xmpp.stanzas) == 1
    assert sum(f" REDACT #{scene.name} " in line for line in scene.irc.lines) == 1
    _empty(scene, room, one, other)


def _empty(scene: Scene, room: RoomView, one: Answer, other: Answer) -> None:
    gone = [item for item in room.recent if item.event.event_id == scene.words["EVENT"]]
    assert [item.event.content for item in gone] == [{}]


def _left(scene: Scene, room: RoomView, leave: Answer, kick: Answer) -> None:
    assert leave.done or kick.done
    assert membership(room, "carol") == "leave"


def _joined(scene: Scene, room: RoomView, invite: Answer, join: Answer) -> None:
    assert join.done
    assert membership(room, "dora") == "join"


def _titled(scene: Scene, room: RoomView, hers: Answer, his: Answer) -> None:
    assert hers.done
    assert his.done
    assert room.topic in ("hers", "his")
    assert sum(" TOPIC " in line for line in scene.irc.lines) == 2
    assert sum("<subject>" in stanza for stanza in scene.xmpp.stanzas) == 2


def _heard_if_done(words: str, number: int) -> Outcome:
    """What was said is heard by wim on all three where its sender was told that it was said, else nowhere."""

    def check(scene: Scene, room: RoomView, first: Answer, second: Answer) -> None:
        done = (first, second)[number].done
        assert sum(f"PRIVMSG {scene.irc.channel} :{words}" in line for line in scene.irc.lines) == done
        assert sum(f"<body>{words}</body>" in stanza for stanza in scene.xmpp.stanzas) == done
        assert sum(event.get("content", {}).get("body") == words for event in scene.matrix) == done

    return check


def _hushed(scene: Scene, room: RoomView, moderated: Answer, say: Answer) -> None:
    assert moderated.done
    _heard_if_done("hello", 1)(scene, room, moderated, say)


def _closed(scene: Scene, room: RoomView, closed: Answer, join: Answer) -> None:
    assert closed.done
    assert membership(room, "dora") == ("join" if join.done else "leave")


def _unlike(scene: Scene, room: RoomView, grant: Answer, revoke: Answer) -> None:
    """Whoever came last has his way; an answer of refusal is right only for who was behind."""
    assert grant.done
    assert room.power.user(UserId("@carol:example.org")) in (0, 50)


def _along(scene: Scene, room: RoomView, upgrade: Answer, join: Answer) -> None:
    """Whoever comes in that moment gets to the new room, and is shown the old one once at the most."""
    assert upgrade.done
    assert join.done
    assert membership(room, "dora") == "join"
    for channel in re.findall(r" JOIN (#\S+)", join.text):
        assert join.text.count(f" JOIN {channel}") == 1


def _destroyed(scene: Scene, room: RoomView, destroy: Answer, other: Answer) -> None:
    assert destroy.done
    assert not room.joined()
    assert membership(room, "dora") == "leave"


PAIRS = (
    Pair("kick", "nick", _kicked),
    Pair("ban", "join", _banned),
    Pair("redact", "edit", _empty),
    Pair("redact", "retract", _gone),
    Pair("leave", "kick", _left),
    Pair("invite", "join", _joined),
    Pair("invite", "ban", _out("dora", "ban")),
    Pair("topic", "topic2", _titled),
    Pair("moderated", "say", _hushed),
    Pair("closed", "join", _closed),
    Pair("password", "join", _closed),
    Pair("grant", "revoke", _unlike),
    Pair("kick", "say"),
    Pair("block", "say"),
    Pair("redact", "redact", _gone),
    Pair("destroy", "say", _destroyed, ("alice CS DROP #ROOM gone",)),
    Pair("destroy", "join", _destroyed, ("alice CS DROP #ROOM gone",)),
    Pair("rename", "join"),
    Pair("rename", "say"),
    Pair("upgrade", "say"),
    Pair("upgrade", "join", _along),
)


def _ways(pair: Pair) -> list[tuple[str, str]]:
    return [
        (p, q)
        for p in PROTOCOLS
        for q in PROTOCOLS
        if p in ACTIONS[pair.first].ways and q in ACTIONS[pair.second].ways
    ]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.first} x {pair.second}")
def test_at_the_same_moment(pair: Pair, tmp_path: Path) -> None:
    async def work() -> None:
        store = SlowStore()
        async with world(tmp_path / "data", sockets=False, store=store) as at:
            with no_bugs():
                cast = Cast(at)
                await cast.come()
                for p, q in _ways(pair):
                    for swapped in (False, True):
                        scene = Scene(cast)
                        try:
                            await _play(scene, pair, p, q, swapped=swapped)
                        except (AssertionError, TimeoutError) as error:
                            what = f"{pair.first} by {p}, {pair.second} by {q}"
                            raise AssertionError(_told(scene, what, error)) from error

    asyncio.run(asyncio.wait_for(work(), 120))


async def _play(scene: Scene, pair: Pair, p: str, q: str, *, swapped: bool) -> None:
    await scene.open(*pair.before)
    first, second = (pair.first, p), (pair.second, q)
    if swapped:
        other, one = await scene.at_once(second, first)
    else:
        one, other = await scene.at_once(first, second)
    await scene.settle()
    room = await scene.check()
    if pair.after is not None:
        pair.after(scene, room, one, other)


def _told(scene: Scene, what: str, error: BaseException) -> str:
    lines = "\n".join([*scene.story, *scene.irc.lines, *scene.xmpp.stanzas])
    return f"{what}: {type(error).__name__} {error}\n{lines}"


def _some(dice: random.Random) -> list[tuple[str, str]]:
    """Two to four actions, each by another client: one connection does one thing after the other."""
    wishes: dict[tuple[str, str], tuple[str, str]] = {}
    for _ in range(dice.choice((2, 2, 3, 4))):
        name = dice.choice(tuple(ACTIONS))
        protocol = dice.choice(tuple(ACTIONS[name].ways))
        wishes[ACTIONS[name].who, protocol] = (name, protocol)
    return list(wishes.values())


@pytest.mark.parametrize(
    ("seed", "scenes"),
    [
        *[(seed, 12) for seed in range(10)],
        *[pytest.param(seed, 300, marks=pytest.mark.soak) for seed in range(10, 30)],
    ],
)
def test_anything_at_the_same_moment(seed: int, scenes: int, tmp_path: Path) -> None:
    async def work() -> None:
        dice, store = random.Random(seed), SlowStore()
        async with world(tmp_path / "data", sockets=False, store=store) as at:
            with no_bugs():
                cast = Cast(at)
                await cast.come()
                for number in range(scenes):
                    store.before, store.after = dice.randrange(4), dice.randrange(4)
                    scene = Scene(cast)
                    wishes = _some(dice)
                    try:
                        await scene.open(*dice.choice(((), (), ("alice CS DROP #ROOM gone",))))
                        await scene.at_once(*wishes)
                        await scene.settle()
                        await scene.check()
                    except (AssertionError, TimeoutError) as error:
                        raise AssertionError(_told(scene, f"scene {number}", error)) from error

    asyncio.run(asyncio.wait_for(work(), 60 + scenes))
