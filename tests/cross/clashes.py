"""Two people who want two things in the same moment, each by a protocol, and three who look on: test_clashes.py.

What an action is on each protocol is a row of ACTIONS; which of them meet is test_clashes.py's. A scene has a room of
its own with the same people in it, so that a thousand clashes need one server.
spec: docs/mapping.md 25, 27.4
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import orjson
from structlog.testing import capture_logs

from tests.cross.world import PATIENCE_S, ROOMS, SERVER, IrcPerson, MatrixPerson, World, XmppPerson
from tests.federation.viewers import CAPS, IrcViewer, XmppViewer
from tripoint.core.ids import RoomAlias, RoomId
from tripoint.rooms.ports import RoomView
from tripoint.xmpp.wire import Element, render

PEOPLE = ("alice", "bob", "carol", "dora", "wim")
PROTOCOLS = ("irc", "xmpp", "matrix")
_ACTOR_CAPS = [
    *("labeled-response", "batch", "echo-message", "message-tags", "standard-replies", "setname"),
    *("draft/message-redaction", "draft/channel-rename", "tripoint.dev/edit"),
]
ROOM_JID = f"ROOM@{ROOMS}"
_MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"
# What docs/mapping.md 25 has, and what the specification has for a state that is there already.
ERRCODES = {"M_FORBIDDEN", "M_NOT_FOUND", "M_ROOM_IN_USE", "M_USER_IN_USE", "M_BAD_STATE", "M_INVALID_PARAM"}
CONDITIONS = {
    *("forbidden", "not-allowed", "item-not-found", "not-acceptable", "conflict", "registration-required"),
    *("not-authorized", "gone"),
}


@dataclass(frozen=True)
class Action:
    """What one person does. ROOM, RID, EVENT, NEW and LEVELS stand for what the scene has; a protocol that is missing
    has no way to do it. IRC: a line. XMPP: a stanza, its id is ID. Matrix: `METHOD path body`."""

    who: str
    ways: dict[str, str] = field(default_factory=dict)


def _admin(item: str) -> str:
    return _iq(ROOM_JID, f"<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>")


def _iq(to: str, inside: str) -> str:
    return f"<iq type='set' id='ID' to='{to}'>{inside}</iq>"


def _form(name: str, value: str) -> str:
    given = f"<field var='{name}'><value>{value}</value></field>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{given}</x>"
    return _iq(ROOM_JID, f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>")


def _said(inside: str) -> str:
    return f"<message to='{ROOM_JID}' type='groupchat' id='ID'>{inside}</message>"


ACTIONS = {
    "kick": Action(
        "bob",
        {
            "irc": "KICK #ROOM carol :out",
            "xmpp": _admin("<item nick='CAROL' role='none'/>"),
            "matrix": 'POST /rooms/RID/kick {"user_id": "@carol:example.org"}',
        },
    ),
    "nick": Action(
        "carol",
        {
            "irc": "SETNAME :Carol NEW",
            "xmpp": f"<presence id='ID' to='{ROOM_JID}/Caro'/>",
            "matrix": 'PUT /profile/@carol:example.org/displayname {"displayname": "Carola NEW"}',
        },
    ),
    "ban": Action(
        "bob",
        {
            "irc": "MODE #ROOM +b dora!*@*",
            "xmpp": _admin("<item jid='dora@example.org' affiliation='outcast'/>"),
            "matrix": 'POST /rooms/RID/ban {"user_id": "@dora:example.org"}',
        },
    ),
    "join": Action(
        "dora",
        {
            "irc": "JOIN #ROOM",
            "xmpp": f"<presence id='ID' to='{ROOM_JID}/dora'>{_MUC}</presence>",
            "matrix": "POST /join/RID {}",
        },
    ),
    "redact": Action(
        "bob",
        {
            "irc": "REDACT #ROOM EVENT :bad",
            "xmpp": _iq(
                ROOM_JID,
                "<moderate id='EVENT' xmlns='urn:xmpp:message-moderate:1'><retract xmlns='urn:xmpp:message-retract:1'/>"
                "</moderate>",
            ),
            "matrix": "PUT /rooms/RID/redact/EVENT/TXN {}",
        },
    ),
    "retract": Action(
        "carol",
        {
            "irc": "REDACT #ROOM EVENT",
            "xmpp": _said("<retract id='EVENT' xmlns='urn:xmpp:message-retract:1'/>"),
            "matrix": "PUT /rooms/RID/redact/EVENT/TXN {}",
        },
    ),
    "edit": Action(
        "carol",
        {
            "irc": "@+tripoint.dev/edit=EVENT PRIVMSG #ROOM :edited",
            "xmpp": _said("<body>edited</body><replace xmlns='urn:xmpp:message-correct:0' id='EVENT'/>"),
            "matrix": 'PUT /rooms/RID/send/m.room.message/TXN {"msgtype": "m.text", "body": "* edited",'
            ' "m.new_content": {"msgtype": "m.text", "body": "edited"},'
            ' "m.relates_to": {"rel_type": "m.replace", "event_id": "EVENT"}}',
        },
    ),
    "leave": Action(
        "carol",
        {
            "irc": "PART #ROOM :bye",
            "xmpp": _iq(ROOM_JID, "<query xmlns='jabber:iq:register'><remove/></query>"),
            "matrix": "POST /rooms/RID/leave {}",
        },
    ),
    "invite": Action(
        "alice",
        {
            "irc": "INVITE dora #ROOM",
            "matrix": 'POST /rooms/RID/invite {"user_id": "@dora:example.org"}',
        },
    ),
    "topic": Action(
        "alice",
        {
            "irc": "TOPIC #ROOM :hers",
            "xmpp": _said("<subject>hers</subject>"),
            "matrix": 'PUT /rooms/RID/state/m.room.topic/ {"topic": "hers"}',
        },
    ),
    "topic2": Action(
        "bob",
        {
            "irc": "TOPIC #ROOM :his",
            "xmpp": _said("<subject>his</subject>"),
            "matrix": 'PUT /rooms/RID/state/m.room.topic/ {"topic": "his"}',
        },
    ),
    "moderated": Action(
        "alice",
        {
            "irc": "MODE #ROOM +m",
            "xmpp": _form("muc#roomconfig_moderatedroom", "1"),
            "matrix": "PUT /rooms/RID/state/m.room.power_levels/ MUTED",
        },
    ),
    "closed": Action(
        "alice",
        {
            "irc": "MODE #ROOM +i",
            "xmpp": _form("muc#roomconfig_membersonly", "1"),
            "matrix": 'PUT /rooms/RID/state/m.room.join_rules/ {"join_rule": "invite"}',
        },
    ),
    "password": Action(
        "alice",
        {"irc": "MODE #ROOM +k oolong", "xmpp": _form("muc#roomconfig_roomsecret", "oolong")},
    ),
    "say": Action(
        "carol",
        {
            "irc": "PRIVMSG #ROOM :hello",
            "xmpp": _said("<body>hello</body>"),
            "matrix": 'PUT /rooms/RID/send/m.room.message/TXN {"msgtype": "m.text", "body": "hello"}',
        },
    ),
    "grant": Action(
        "alice",
        {
            "irc": "MODE #ROOM +o carol",
            "xmpp": _admin("<item jid='carol@example.org' affiliation='admin'/>"),
            "matrix": "PUT /rooms/RID/state/m.room.power_levels/ GRANTED",
        },
    ),
    "revoke": Action(
        "bob",
        {
            "irc": "MODE #ROOM -o carol",
            "xmpp": _admin("<item jid='carol@example.org' affiliation='none'/>"),
            "matrix": "PUT /rooms/RID/state/m.room.power_levels/ LEVELS",
        },
    ),
    "destroy": Action(
        "alice",
        {
            "irc": "CS DROP #ROOM gone",
            "xmpp": _iq(ROOM_JID, "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>"),
        },
    ),
    "upgrade": Action("alice", {"matrix": 'POST /rooms/RID/upgrade {"new_version": "11"}'}),
    "rename": Action("alice", {"irc": "RENAME #ROOM #NEW :better"}),
    "block": Action(
        "bob",
        {
            "irc": "SILENCE +carol",
            "xmpp": _iq("bob@example.org", "<block xmlns='urn:xmpp:blocking'><item jid='carol@example.org'/></block>"),
            "matrix": "PUT /user/@bob:example.org/account_data/m.ignored_user_list"
            ' {"ignored_users": {"@carol:example.org": {}}}',
        },
    ),
    "speak": Action(
        "bob",
        {
            "irc": "PRIVMSG #ROOM :mine",
            "xmpp": _said("<body>mine</body>"),
            "matrix": 'PUT /rooms/RID/send/m.room.message/TXN {"msgtype": "m.text", "body": "mine"}',
        },
    ),
}


@dataclass
class Answer:
    """What an actor was told: whether it was done, and all of it."""

    done: bool
    text: str


class Cast:
    """The people, with a client of each protocol, in one world."""

    def __init__(self, at: World) -> None:
        self.at = at
        self.irc: dict[str, IrcPerson] = {}
        self.xmpp: dict[str, XmppPerson] = {}
        self.matrix: dict[str, MatrixPerson] = {}
        self.scenes = 0

    async def come(self) -> None:
        for name in PEOPLE:
            caps = [*CAPS, "draft/message-redaction"] if name == "wim" else _ACTOR_CAPS
            irc = await self.at.person(name, "irc", "account", caps)
            xmpp = await self.at.person(name, "xmpp", "account", [])
            matrix = await self.at.person(name, "matrix", "account", [])
            assert isinstance(irc, IrcPerson)
            assert isinstance(xmpp, XmppPerson)
            assert isinstance(matrix, MatrixPerson)
            self.irc[name], self.xmpp[name], self.matrix[name] = irc, xmpp, matrix


class Scene:
    """A room with everybody but dora in it, bob an owner beside alice, a message of carol's; and wim looks on."""

    def __init__(self, cast: Cast) -> None:
        cast.scenes += 1
        self.cast = cast
        self.at = cast.at
        self.name = f"r{cast.scenes}"
        self.room_id = RoomId("")
        self.words: dict[str, str] = {}
        self.irc = ChannelViewer(self.at.app.irc, cast.irc["wim"], "wim", f"#{self.name}")
        self.xmpp = OccupantViewer(self.at.app.xmpp, cast.xmpp["wim"], "wim", f"{self.name}@{ROOMS}")
        self.matrix: list[dict[str, Any]] = []
        self.story: list[str] = []
        self._sent = 0

    async def open(self, *before: str, also: tuple[str, ...] = ()) -> None:
        """`before`: lines of IRC ("alice MODE ...") of what happens before wim comes; `also`: who is in besides."""
        cast = self.cast
        for name in ("alice", "bob", "carol", *also):
            await cast.irc[name].send(f"JOIN #{self.name}")
            await cast.irc[name].pending()
            await cast.xmpp[name].send(f"<presence to='{self.name}@{ROOMS}/{name}'>{_MUC}</presence>")
        await cast.irc["alice"].send(f"MODE #{self.name} +q bob")
        await cast.irc["alice"].pending()
        found = await self.at.app.middle.reader.resolve_alias(RoomAlias(f"#{self.name}:{SERVER}"))
        assert found is not None
        self.room_id = found
        status, said = await self._call("carol", "PUT", f"/rooms/{quote(found)}/send/m.room.message/{self.name}", _TEXT)
        assert status == 200, said
        levels = (await self.room()).power.content
        users = levels["users"]
        assert isinstance(users, dict)
        self.words = {
            "ROOM": self.name,
            "RID": quote(found),
            "EVENT": said["event_id"],
            "NEW": f"new{self.name}",
            "LEVELS": orjson.dumps(levels).decode(),
            "MUTED": orjson.dumps({**levels, "events_default": 1}).decode(),
            "GRANTED": orjson.dumps({**levels, "users": {**users, "@carol:example.org": 50}}).decode(),
        }
        for one in before:
            who, _, line = one.partition(" ")
            await cast.irc[who].send(self._filled(line))
            await cast.irc[who].pending()
        await cast.irc["wim"].send(f"JOIN #{self.name}")
        await self.xmpp.enter()
        await self.settle()
        await self.check()
        self.words["CAROL"] = next(nick for nick, jid in self.xmpp.jids.items() if jid.startswith("carol@"))
        self.forget()

    def forget(self) -> None:
        """What wim has heard so far does not matter."""
        self.irc.lines.clear()
        self.xmpp.stanzas.clear()
        self.matrix.clear()

    def _filled(self, text: str) -> str:
        return re.sub("|".join(self.words), lambda found: self.words[found[0]], text)

    async def room(self) -> RoomView:
        """The room, or the one that took its place."""
        room_id = await self.at.app.middle.reader.newest(self.room_id)
        return await self.at.app.middle.loaded.get(room_id)

    async def _call(self, who: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        return await self.cast.matrix[who].call(method, path, body)

    # -- acting

    async def at_once(self, *wishes: tuple[str, str]) -> list[Answer]:
        """Actions, each (name, protocol), sent in one turn of the loop; what each actor was answered."""
        acts = [asyncio.ensure_future(self.act(name, protocol)) for name, protocol in wishes]
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.gather(*acts)
        finally:
            for wish, act in zip(wishes, acts, strict=True):
                cut_off = act.cancelled() or not act.done()
                self.story.append(f"{wish}: {'no answer' if cut_off else act.exception() or act.result()}")

    async def act(self, name: str, protocol: str, who: str | None = None, **instead: str) -> Answer:
        """Do it, and wait for the answer that its protocol has for it: nothing is silent.

        `who` does it in the place of whom the table names; `instead` are words for others.
        """
        action = ACTIONS[name] if who is None else replace(ACTIONS[name], who=who)
        self._sent += 1
        key = f"{self.name}x{self._sent}"
        # The key first: the id of an event can hold these three letters by chance.
        text = self._filled(action.ways[protocol].replace("TXN", key))
        for word, other in instead.items():
            text = text.replace(word, other)
        if protocol == "irc":
            return await self._on_irc(self.cast.irc[action.who], text, key)
        if protocol == "xmpp":
            return await self._on_xmpp(self.cast.xmpp[action.who], text.replace("'ID'", f"'{key}'"), key)
        method, path, body = text.split(" ", 2)
        status, answer = await self._call(action.who, method, path, orjson.loads(body))
        assert status == 200 or answer["errcode"] in ERRCODES, answer
        assert status < 500, answer
        return Answer(status == 200, f"{status} {answer}")

    async def _on_irc(self, person: IrcPerson, line: str, label: str) -> Answer:
        tags, _, rest = line.partition(" ") if line.startswith("@") else ("@", "", line)
        await person.send(f"{tags}{';' if len(tags) > 1 else ''}label={label} {rest}")
        told: list[str] = []
        end = None
        while True:
            got = await person.next()
            if end is None and f"label={label}" not in got.partition(" ")[0]:
                continue
            told.append(got)
            opened = re.search(r" BATCH \+(\S+) labeled-response", got)
            if end is None and opened is not None:
                end = f"BATCH -{opened[1]}"
            if end is None or got.endswith(end):
                break
        text = "\n".join(told)
        assert " 400 " not in text, text
        return Answer(re.search(r"(^| ):\S+ ([45]\d\d|FAIL) ", text, re.M) is None, text)

    async def _on_xmpp(self, person: XmppPerson, stanza: str, key: str) -> Answer:
        await person.send(stanza)
        kind = stanza[1:].partition(" ")[0]
        while True:
            got = await person.stanza()
            refused = got.get("type") == "error"
            if got.name != kind or not (got.get("from") or "").startswith((self.name, "bob")):
                continue
            if got.get("id") != key and (kind != "presence" or refused or not _is_own(got)):
                continue
            if refused:
                (error,) = (one for one in got.elements() if one.name == "error")
                assert next(error.elements()).name in CONDITIONS, render(got)
            return Answer(not refused, render(got).decode())

    # -- looking on

    async def settle(self) -> None:
        """Until nobody has heard anything new for a while."""
        quiet = 0
        async with asyncio.timeout(PATIENCE_S):
            while quiet < 3:
                for _ in range(20):
                    await asyncio.sleep(0)
                before = len(self.irc.lines), len(self.xmpp.stanzas), len(self.matrix)
                await self.irc.look()
                await self.xmpp.look()
                self.matrix += [orjson.loads(event) for event in await self.cast.matrix["wim"].pending()]
                news = [
                    await client.pending()
                    for clients in (self.cast.irc, self.cast.xmpp)
                    for name, client in clients.items()
                    if name != "wim"
                ]
                after = len(self.irc.lines), len(self.xmpp.stanzas), len(self.matrix)
                quiet = quiet + 1 if before == after and not any(news) else 0

    async def check(self) -> RoomView:
        """The pictures that wim's clients have, and what they are told when they ask, are the room."""
        room = await self.room()
        self.irc.check(room)
        self.xmpp.check(room)
        assert self.xmpp.inside is (room.membership(self.at.app.middle.accounts.user_id("wim")) == "join")
        ids = [event["event_id"] for event in self.matrix if "event_id" in event]
        assert len(set(ids)) == len(ids), "told twice"
        if self.irc.inside:
            path = f"/rooms/{quote(room.room_id)}/state"
            status, state = await self._call("wim", "GET", path, None)
            assert status == 200, state
            assert {event["event_id"] for event in state} == {event.event_id for event in room.state.values()}
            asked = IrcViewer(self.at.app.irc, self.cast.irc["wim"], "wim", self.irc.channel)
            await self.cast.irc["wim"].send(f"NAMES {self.irc.channel}")
            await asked.look()
            assert asked.members == self.irc.members
        return room


class ChannelViewer(IrcViewer):
    """A client whose channel may get another name, and who hears only of it."""

    def _take(self, line: str) -> None:
        words = line.split(" ")
        if words[1] == "JOIN" and words[0].startswith(f":{self.nick}!"):
            self.channel = words[2].lstrip(":")
        super()._take(line)
        if words[1] in ("PRIVMSG", "NOTICE", "TAGMSG", "TOPIC", "MODE") and "!" in words[0]:
            assert words[0][1:].partition("!")[0] in self.members, f"from nobody who is here: {line}"
        # Who sees it knows that there is a key; it is none of the flags that the room has.
        self.flags = self.flags.replace("k", "")


class OccupantViewer(XmppViewer):
    """A client to whom nobody speaks who is not there."""

    def _take(self, stanza: ElementTree.Element, text: str) -> None:
        room, _, nick = stanza.get("from", "").partition("/")
        late = stanza.find("{urn:xmpp:delay}delay") is not None
        if self.inside and room == self.room_jid and stanza.tag == "message" and nick and not late:
            assert nick in self.members, f"from nobody who is here: {text}"
        super()._take(stanza, text)


def _is_own(presence: Element) -> bool:
    x = presence.child("x", "http://jabber.org/protocol/muc#user")
    return x is not None and any(child.get("code") == "110" for child in x.elements())


@contextmanager
def no_bugs() -> Iterator[None]:
    """Nothing that the server has to report happens inside."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    with capture_logs() as logs:
        yield
    assert not unhandled
    bad = [entry for entry in logs if entry["log_level"] in ("error", "critical") or "exc_info" in entry]
    assert not bad


_TEXT = {"msgtype": "m.text", "body": "the message"}
