"""Two people with one odd name: both speak and are addressed on all three, and neither is taken for the other.

spec: docs/mapping.md 2.2, 2.6, 2.10, 27.6; XEP-0045 7.5, RFC7613 (OpaqueString)
"""

import asyncio
import re
from pathlib import Path
from xml.sax.saxutils import quoteattr

import orjson
import pytest

from tests.cross.world import PATIENCE_S, ROOMS, IrcPerson, MatrixPerson, World, XmppPerson, world

NAMES = {
    "equal": "Sam",
    "emoji": "🍵🫖",
    "one emoji of several": "👩‍👩‍👧‍👦",
    "right to left": "שלום עליכם",
    "override": "\u202enimda\u202c",
    "isolate": "\u2067abc\u2069 def",
    "nothing to see": "\u200b\u2060\u200d",
    "200 bytes": "é" * 100,
    "200 bytes of four each": "𝔄" * 50,
    "marks": "Z" + "\u0301" * 99,
    "a slash": "Sam/Sam",
    "markup": "<b>&amp;\"'</b>",
    "another's account": "Carol",
    "a mask": "sam!sam@example.org",
}
JOIN = f"<presence to='tea@{ROOMS}/NICK'><x xmlns='http://jabber.org/protocol/muc'/></presence>"


class Tea:
    """ann and ben are called the same, carol is not; each has a client of each protocol."""

    def __init__(self, at: World) -> None:
        self.at = at
        self.irc: dict[str, IrcPerson] = {}
        self.xmpp: dict[str, XmppPerson] = {}
        self.matrix: dict[str, MatrixPerson] = {}
        self.nicks: dict[str, str] = {}  # account -> nick in the MUC, as carol's client has it

    async def open(self, displayname: str) -> None:
        for name in ("carol", "ann", "ben"):
            irc = await self.at.person(name, "irc", "account", ["message-tags"])
            xmpp = await self.at.person(name, "xmpp", "account", [])
            matrix = await self.at.person(name, "matrix", "account", [])
            assert isinstance(irc, IrcPerson)
            assert isinstance(xmpp, XmppPerson)
            assert isinstance(matrix, MatrixPerson)
            self.irc[name], self.xmpp[name], self.matrix[name] = irc, xmpp, matrix
            if name != "carol":
                body = {"displayname": displayname}
                status, answer = await matrix.call("PUT", f"/profile/{matrix.user_id}/displayname", body)
                assert status == 200, answer
            await irc.send("JOIN #tea")
            await irc.pending()
        # First carol by XMPP, then the others: hers hears all of them come.
        for name in ("carol", "ann", "ben"):
            await self.xmpp[name].send(JOIN.replace("NICK", name))
            await self._until_inside(name)
        for stanza in await self.xmpp["carol"].pending():
            self._note(stanza)
        await self.quiet()

    async def _until_inside(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                stanza = await self.xmpp[name].next()
                assert "type='error'" not in stanza, stanza
                if name == "carol":
                    self._note(stanza)
                if "<subject" in stanza:
                    return

    def _note(self, stanza: str) -> None:
        found = re.match(rf"<presence from=(['\"])tea@{re.escape(ROOMS)}/(.*?)\1", stanza)
        jid = re.search(r"jid='(\w+)@", stanza)
        if found is not None and jid is not None and "type='unavailable'" not in stanza:
            self.nicks[jid[1]] = _plain(found[2])

    async def quiet(self) -> None:
        for people in (self.irc, self.xmpp, self.matrix):
            for person in people.values():
                await person.pending()


def _plain(text: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text


async def _tea(tea: Tea) -> None:
    # Everybody has a nick of his own on both sides, and one that can be written down.
    assert set(tea.nicks) == {"ann", "ben", "carol"}
    assert len({nick.casefold() for nick in tea.nicks.values()}) == 3
    for name in ("ann", "ben"):
        nick = tea.nicks[name]
        assert nick.strip() and not set(nick) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
        assert nick.casefold() != "carol"
    await tea.irc["carol"].send("NAMES #tea")
    (names, _) = await tea.irc["carol"].pending()
    assert {word.lstrip("~@") for word in names.rpartition(" :")[2].split()} == {"ann", "ben", "carol"}
    for name in ("ann", "ben"):
        await _speaks(tea, name)
        await _is_addressed(tea, name)


async def _speaks(tea: Tea, name: str) -> None:
    """From each protocol, heard on each as this person's."""
    ways = {
        "irc": (tea.irc[name], "PRIVMSG #tea :from irc"),
        "xmpp": (
            tea.xmpp[name],
            f"<message to='tea@{ROOMS}' type='groupchat' id='m'><body>from xmpp</body></message>",
        ),
        "matrix": (tea.matrix[name], "say #tea:example.org from matrix"),
    }
    for protocol, (person, text) in ways.items():
        await person.send(text)
        assert f":{name}!{name}@example.org PRIVMSG #tea :from {protocol}" in await tea.irc["carol"].next()
        stanza = await tea.xmpp["carol"].next()
        said = re.match(r"<message from=(['\"])(.*?)\1", stanza)
        assert said is not None
        assert _plain(said[2]) == f"tea@{ROOMS}/{tea.nicks[name]}"
        event = orjson.loads(await tea.matrix["carol"].next())
        assert (event["sender"], event["content"]["body"]) == (f"@{name}:example.org", f"from {protocol}")
        await tea.quiet()


async def _is_addressed(tea: Tea, name: str) -> None:
    """In the room by the name that the speaker sees, and in private."""
    nick = tea.nicks[name]
    await tea.irc["carol"].send(f"PRIVMSG #tea :{name}: over here")
    await _mentions(tea, name)
    body = f"{nick}: over here".replace("&", "&amp;").replace("<", "&lt;")
    await tea.xmpp["carol"].send(f"<message to='tea@{ROOMS}' type='groupchat' id='c'><body>{body}</body></message>")
    await _mentions(tea, name)
    await tea.irc["carol"].send(f"PRIVMSG {name} :psst")
    assert ":carol!carol@example.org PRIVMSG" in await tea.irc[name].next()
    await tea.quiet()
    to = quoteattr(f"tea@{ROOMS}/{nick}")
    await tea.xmpp["carol"].send(f"<message to={to} type='chat' id='p'><body>psst again</body></message>")
    assert "psst again" in await tea.xmpp[name].next()
    await tea.quiet()


async def _mentions(tea: Tea, name: str) -> None:
    event = orjson.loads(await tea.matrix[name].next())
    assert event["content"]["m.mentions"] == {"user_ids": [f"@{name}:example.org"]}, event
    await tea.quiet()


@pytest.mark.parametrize("displayname", NAMES.values(), ids=NAMES.keys())
def test_both_speak_and_are_addressed(displayname: str, tmp_path: Path) -> None:
    assert len(displayname.encode()) <= 200

    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            tea = Tea(at)
            await tea.open(displayname)
            await _tea(tea)

    asyncio.run(asyncio.wait_for(work(), 60))
