"""Accounts with names that could not be made here today: they log in, speak and are addressed everywhere.

# rows: 1.3, 1.4, 1.11
spec: docs/mapping.md 1.3, 1.4, 1.11, 2.2; XEP-0106 3.2, 5; Matrix appendices "Historical User IDs"
"""

import asyncio
import base64
import re
from pathlib import Path

import orjson
import pytest

from tests.cross.world import PASSWORD, PATIENCE_S, ROOMS, SERVER, IrcPerson, MatrixPerson, World, XmppPerson, world
from tripoint.core.ids import UserId
from tripoint.store.writes import PutAccount

# localpart -> (nick on IRC, localpart of the JID)
NAMES = {
    "x=y": (rf"x-y~\w{{4}}:{SERVER}", "x=y"),
    "a/b": (rf"a-b~\w{{4}}:{SERVER}", r"a\2fb"),
    "o'neil+tea": (rf"o-neil-tea~\w{{4}}:{SERVER}", r"o\27neil+tea"),
    "a&b<c>\"d": (rf"a-b-c-d~\w{{4}}:{SERVER}", r"a\26b\3cc\3e\22d"),
    "at@home": (rf"at-home~\w{{4}}:{SERVER}", r"at\40home"),
    # A backslash is escaped only where it would be read as an escape.
    r"back\slash": (rf"back-slash~\w{{4}}:{SERVER}", r"back\slash"),
    r"look\20here": (rf"look-20here~\w{{4}}:{SERVER}", r"look\5c20here"),
    "9lives": (rf"9lives~\w{{4}}:{SERVER}", "9lives"),
    "u" * 64: (rf"{'u' * 20}~\w{{4}}:{SERVER}", "u" * 64),
    "v" * 200: (rf"{'v' * 20}~\w{{4}}:{SERVER}", "v" * 200),
}


async def _imported(at: World, localpart: str) -> UserId:
    """As an import would leave it: the row and the forms of the password, with no look at the name."""
    user_id = UserId(f"@{localpart}:{SERVER}")
    row = PutAccount(user_id, localpart, False, False, False, False, 0)
    await at.app.middle.stream.commit([row, *await at.app.middle.passwords.forms(user_id, PASSWORD)])
    return user_id


async def _on_matrix(at: World, user_id: UserId) -> MatrixPerson:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": PASSWORD}
    status, answer = await at.http("POST", "/login", body, None, "")
    assert (status, answer.get("user_id")) == (200, user_id)
    someone = MatrixPerson(at, answer["access_token"], user_id)
    await someone.start()
    return someone


async def _on_irc(at: World, localpart: str) -> tuple[IrcPerson, str]:
    person = IrcPerson(await at.connect("irc"))
    secret = base64.b64encode(f"\0{localpart}\0{PASSWORD}".encode()).decode()
    pieces = [secret[i : i + 400] for i in range(0, len(secret), 400)]
    await person.send("CAP REQ :sasl account-tag\r\nNICK somebody\r\nUSER x 0 * :x\r\nAUTHENTICATE PLAIN")
    for piece in pieces:
        await person.send(f"AUTHENTICATE {piece}")
    await person.send("CAP END")
    async with asyncio.timeout(PATIENCE_S):
        while (found := re.match(r"\S+ 001 (\S+) ", await person.next())) is None:
            pass
    await person.welcome()
    return person, found[1]


async def _play(at: World, localpart: str, nick_pattern: str, jid_local: str) -> None:
    user_id = await _imported(at, localpart)
    bare = f"{jid_local}@{SERVER}".replace("&", "&amp;")
    alice = await at.person("alice", "irc", "account", ["account-tag"])
    carol = await at.person("carol", "xmpp", "account", [])
    assert isinstance(carol, XmppPerson)
    await alice.send("JOIN #tea")
    await carol.send(f"<presence to='tea@{ROOMS}/carol'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    while "<subject" not in await carol.next():
        pass
    await alice.pending()
    # He comes by each protocol, and is one member.
    matrix = await _on_matrix(at, user_id)
    irc, nick = await _on_irc(at, localpart)
    assert re.fullmatch(nick_pattern, nick), nick
    xmpp = XmppPerson(await at.connect("xmpp"))
    await xmpp.log_in(jid_local, [])
    await irc.send("JOIN #tea")
    assert (await alice.next()).startswith(f"@account={_account(localpart, nick)} :{nick}!")
    presence = await carol.next()
    assert f"jid='{bare}'" in presence or f'jid="{bare}"' in presence, presence
    # He speaks by each ...
    await irc.pending()
    await irc.send("PRIVMSG #tea :from irc")
    assert f":{nick}!" in await alice.next()
    assert ">from irc<" in await carol.next()
    await matrix.send(f"say #tea:{SERVER} from matrix")
    assert f":{nick}!" in await alice.next()
    assert ">from matrix<" in await carol.next()
    await xmpp.send(f"<presence to='tea@{ROOMS}/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    while "<subject" not in await xmpp.next():
        pass
    await carol.pending()
    await xmpp.send(f"<message to='tea@{ROOMS}' type='groupchat' id='m'><body>from xmpp</body></message>")
    assert f":{nick}!" in await alice.next()
    assert ">from xmpp<" in await carol.next()
    # ... and is addressed by each.
    await matrix.pending()
    await alice.send(f"PRIVMSG #tea :{nick}: over here")
    event = orjson.loads(await matrix.next())
    assert event["content"]["m.mentions"] == {"user_ids": [user_id]}
    await irc.pending()
    await alice.send(f"PRIVMSG {nick} :psst")
    while ":psst" not in await irc.next():
        pass
    to = bare.replace("'", "&apos;")
    await carol.send(f"<message to='{to}' type='chat' id='p'><body>psst too</body></message>")
    while ":psst too" not in await irc.next():
        pass
    while ">psst too<" not in await xmpp.next():
        pass


def _account(localpart: str, nick: str) -> str:
    """As tags have it: the whole name; one that would fill an extended JOIN is shown as the nick (1.11)."""
    return nick if len(localpart) > 100 else localpart.replace("\\", "\\\\")


@pytest.mark.parametrize("localpart", NAMES, ids=range(len(NAMES)))
def test_they_are_here_as_everybody_is(localpart: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            await _play(at, localpart, *NAMES[localpart])

    asyncio.run(asyncio.wait_for(work(), 60))
