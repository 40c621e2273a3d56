"""Random grants from all sides: IRC, XMPP and Matrix show every rank as the auth rules have it, after every step.

Four people with a client of each protocol set modes, affiliations, roles, power levels and thresholds, kick, ban, come
back. A fifth one only looks, through all three: what he was told step by step, and what he is told when he asks, is
held against docs/mapping.md 7, worked out here anew from the room's events, and against what the rules let each one do.
spec: docs/mapping.md 7, 9.1, 9.6, 27.4; Matrix rooms/v12 authorisation rules
"""

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cross.truth import Truth, check_rules
from tests.cross.world import IrcPerson, MatrixPerson, Person, World, XmppPerson, world
from tripoint.core.ids import RoomAlias

ROOM = "tea@rooms.example.org"
PEOPLE = ("alice", "bob", "carol", "dora")
EVERYBODY = (*PEOPLE, "wim")
LEVELS = (-1, 0, 1, 10, 25, 26, 49, 50, 60, 75, 80, 99, 100)
PREFIXES = {"q": "~", "a": "&", "o": "@", "h": "%", "v": "+"}


class Watcher:
    """One who looks, through a client of each protocol, and what he knows by now."""

    def __init__(self, irc: IrcPerson, xmpp: XmppPerson, matrix: MatrixPerson) -> None:
        self.irc = irc
        self.xmpp = xmpp
        self.matrix = matrix
        self.letters: dict[str, set[str]] = {}
        self.standings: dict[str, tuple[str, str]] = {}
        self.moderated = False

    async def look(self) -> Truth:
        """Hear what has come, and read the room's state."""
        for line in await self.irc.pending():
            self._line(line)
        for stanza in await self.xmpp.pending():
            self._stanza(stanza)
        await self.matrix.send("GET /rooms/{#tea:example.org}/state")
        status, state = self.matrix.answer
        assert status == 200, state
        return Truth(state)

    def _line(self, line: str) -> None:
        source, command, *params = line.lstrip(":").split()
        if command == "JOIN":
            self.letters[source.partition("!")[0]] = set()
        elif command == "PART":
            self.letters.pop(source.partition("!")[0], None)
        elif command == "KICK":
            self.letters.pop(params[1], None)
        elif command == "MODE":
            self._modes(params[1].lstrip(":"), [word.lstrip(":") for word in params[2:]])

    def _modes(self, modes: str, args: list[str]) -> None:
        on = True
        for letter in modes:
            if letter in "+-":
                on = letter == "+"
            elif letter in PREFIXES:
                held = self.letters[args.pop(0)]
                # A line that says what was so already would be a lie about what happened.
                assert (letter in held) is not on, f"{modes} {args}"
                (held.add if on else held.discard)(letter)
            elif letter == "b":
                args.pop(0)
            elif letter == "m":
                assert self.moderated is not on
                self.moderated = on

    def _stanza(self, stanza: str) -> None:
        found = re.match(rf"<presence from='{ROOM}/(\w+)'", stanza)
        if found is None:
            return
        nick, gone = found[1], " type='unavailable'" in stanza.partition(">")[0]
        item = re.search(r"<item affiliation='(\w+)' role='(\w+)'", stanza)
        assert item is not None, stanza
        if gone:
            self.standings.pop(nick, None)
        else:
            self.standings[nick] = (item[1], item[2])

    async def asks(self) -> dict[str, str]:
        """NAMES: nick to prefixes."""
        await self.irc.send("NAMES #tea")
        found: dict[str, str] = {}
        for line in await self.irc.pending():
            if " 353 " in line:
                for word in line.rpartition(" :")[2].split():
                    nick = word.lstrip("~&@%+")
                    found[nick] = word[: len(word) - len(nick)]
            else:
                self._line(line)
        return found


class Walk:
    """The people, and one seed's choices."""

    def __init__(self, at: World, seed: int) -> None:
        self.at = at
        self.dice = random.Random(seed)
        self.clients: dict[tuple[str, str], Person] = {}
        self.asked = 0

    async def begin(self, version: str) -> Watcher:
        for name in EVERYBODY:
            for protocol in ("irc", "xmpp", "matrix"):
                caps = ["multi-prefix"] if protocol == "irc" else []
                self.clients[name, protocol] = await self.at.person(name, protocol, "account", caps)
        body = {
            "preset": "public_chat",
            "room_alias_name": "tea",
            "room_version": version,
            "power_level_content_override": {"kick": 25, "invite": 50},
        }
        await self.do("alice", "matrix", f"POST /createRoom {orjson.dumps(body).decode()}")
        for name in EVERYBODY:
            await self.come(name)
        irc, xmpp, matrix = (self.clients["wim", protocol] for protocol in ("irc", "xmpp", "matrix"))
        assert isinstance(irc, IrcPerson)
        assert isinstance(xmpp, XmppPerson)
        assert isinstance(matrix, MatrixPerson)
        watcher = Watcher(irc, xmpp, matrix)
        truth = await watcher.look()
        # What he was told before he looked is not kept: he begins with what he is told when he asks.
        letters = {sign: letter for letter, sign in PREFIXES.items()}
        watcher.letters = {nick: {letters[sign] for sign in signs} for nick, signs in (await watcher.asks()).items()}
        await self.come("wim")
        for stanza in self.entered:
            watcher._stanza(stanza)
        watcher.moderated = truth.speak > 0
        return watcher

    async def do(self, name: str, protocol: str, text: str) -> list[str]:
        """Send something and wait until it is done with."""
        client = self.clients[name, protocol]
        await client.send(text)
        return await client.pending()

    async def come(self, name: str) -> None:
        await self.do(name, "irc", "JOIN #tea")
        presence = f"<presence to='{ROOM}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        self.entered = await self.do(name, "xmpp", presence)
        for _ in range(50):
            if any("<subject" in stanza for stanza in self.entered) or not self.entered:
                break
            self.entered += await self.do(name, "xmpp", "")

    async def step(self, truth: Truth) -> str:
        """One random wish of one random person, granted or not; what it was."""
        who = self.dice.choice(("alice",) * 8 + PEOPLE)
        # Who made the room does not take his own rights away: nobody could go on after that.
        whom = self.dice.choice(PEOPLE[1:] if who == "alice" else PEOPLE)
        kind = self.dice.choice(("irc",) * 4 + ("xmpp",) * 4 + ("matrix",) * 3 + ("out", "back", "door"))
        if kind == "irc":
            wish = self._mode(EVERYBODY[1:] if who == "alice" else EVERYBODY)
            await self.do(who, "irc", wish)
        elif kind == "xmpp":
            wish = self._admin(whom)
            await self.do(who, "xmpp", wish)
        elif kind == "matrix":
            content = orjson.dumps(self._levels(truth)).decode()
            wish = f"PUT /rooms/{{#tea:example.org}}/state/m.room.power_levels {content}"
            await self.do(who, "matrix", wish)
        elif kind == "door":
            wish = f"MODE #tea {self.dice.choice('+-')}i"
            await self.do("alice", "irc", wish)
        elif kind == "out":
            wish = self.dice.choice((f"KICK #tea {whom}", f"MODE #tea +b {whom}!*@*", f"MODE #tea -b ~a:{whom}"))
            await self.do(who, "irc", wish)
        else:
            wish = f"{whom} comes back"
            for command in (f"MODE #tea -b ~a:{whom}", f"INVITE {whom} #tea"):
                await self.do("alice", "irc", command)
            await self.come(whom)
        return f"{who} {kind}: {wish}"

    def _mode(self, nicks: tuple[str, ...]) -> str:
        changes = [
            (self.dice.choice("+++-"), self.dice.choice("qaohv"), self.dice.choice(nicks))
            for _ in range(self.dice.choice((1, 1, 1, 2, 3)))
        ]
        if self.dice.random() < 0.2:
            return f"MODE #tea {self.dice.choice('+-')}m"
        if self.dice.random() < 0.1:
            return f"MODE #tea {self.dice.choice('+-')}b ~m:{self.dice.choice(nicks)}"
        return "MODE #tea " + "".join(s + m for s, m, _ in changes) + " " + " ".join(nick for _, _, nick in changes)

    def _admin(self, whom: str) -> str:
        self.asked += 1
        if self.dice.random() < 0.5:
            wish = f"affiliation='{self.dice.choice(('owner', 'admin', 'member', 'none'))}'"
        else:
            wish = f"role='{self.dice.choice(('moderator', 'participant', 'visitor'))}'"
        item = f"<item nick='{whom}' {wish}/>"
        return (
            f"<iq type='set' id='a{self.asked}' to='{ROOM}'>"
            f"<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>"
        )

    def _levels(self, truth: Truth) -> dict[str, Any]:
        content = {**truth.levels, "users": dict(truth.levels.get("users", {}))}
        choice = self.dice.random()
        if choice < 0.6:
            content["users"][f"@{self.dice.choice(EVERYBODY[1:])}:example.org"] = self.dice.choice(LEVELS)
        elif choice < 0.8:
            content[self.dice.choice(("kick", "ban", "events_default", "users_default"))] = self.dice.choice(LEVELS)
        elif choice < 0.9:
            content["events"] = {**content.get("events", {}), "m.room.power_levels": self.dice.choice((50, 60, 100))}
        else:
            content.update(kick=25, ban=50, events_default=0, users_default=0)
        return content


async def check(walk: Walk, watcher: Watcher, truth: Truth, *, ask: bool) -> None:
    """All that is shown of everybody is what the table says, and the rules let everybody do what that means."""
    inside = {name for name in EVERYBODY if truth.members.get(f"@{name}:example.org") == "join"}
    letters = {name: set(truth.letters(f"@{name}:example.org")) for name in inside}
    assert watcher.letters == letters
    assert watcher.standings == {name: truth.standing(f"@{name}:example.org") for name in inside}
    assert watcher.moderated is (truth.speak > 0)
    if ask:
        signs = {name: "".join(PREFIXES[one] for one in "qaohv" if one in held) for name, held in letters.items()}
        assert await watcher.asks() == signs
    middle = walk.at.app.middle
    room_id = await middle.reader.resolve_alias(RoomAlias("#tea:example.org"))
    assert room_id is not None
    room = await middle.loaded.get(room_id)
    check_rules(middle.writer, room, truth, [f"@{name}:example.org" for name in inside])


@pytest.mark.parametrize(
    ("seed", "version", "steps"),
    [
        (1, "12", 200),
        (9, "11", 200),
        *[pytest.param(seed, version, 2500, marks=pytest.mark.soak) for seed in (3, 4) for version in ("11", "12")],
    ],
)
def test_three_protocols_show_the_same_ranks(tmp_path: Path, seed: int, version: str, steps: int) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            walk = Walk(at, seed)
            watcher = await walk.begin(version)
            truth = await watcher.look()
            changed, seen = 0, set()
            for number in range(steps):
                what = await walk.step(truth)
                before, truth = truth, await watcher.look()
                try:
                    await check(walk, watcher, truth, ask=number % 10 == 0)
                except AssertionError as error:
                    raise AssertionError(f"step {number}, {what}\n{truth.levels}\n{error}") from error
                changed += before.__dict__ != truth.__dict__
                seen |= {truth.rank(f"@{name}:example.org") for name in EVERYBODY}
            # A walk that goes nowhere shows nothing.
            assert changed > steps / 5
            assert seen == {"owner", "admin", "op", "halfop", "voice", "plain", "unvoiced", "muted"}

    asyncio.run(asyncio.wait_for(work(), 60 + steps))
