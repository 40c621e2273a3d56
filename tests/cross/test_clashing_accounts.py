"""One name, one room or one password that two clients want at the same moment, from any two protocols: one gets it.

spec: docs/mapping.md 1.1, 3.1, 4.1, 18.2, 25; IRCv3 account-registration, XEP-0077 3.1, Matrix client-server register
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.cross.clashes import PROTOCOLS, no_bugs
from tests.cross.world import PASSWORD, ROOMS, SERVER, IrcPerson, MatrixPerson, World, XmppPerson, world
from tests.support.slow_store import SlowStore
from tripoint.accounts.refusals import AccountRefused
from tripoint.core.ids import RoomAlias

PAIRS = [pytest.param(p, q, id=f"{p}, {q}") for p, q in itertools.product(PROTOCOLS, repeat=2)]
PATIENCE_S = 30


def play(folder: Path, work: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with world(folder, sockets=False, store=SlowStore()) as at:
            with no_bugs():
                await work(at)

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


async def _answer(person: IrcPerson, *beginnings: str) -> str:
    """The next line that has one of these words."""
    while True:
        line = await person.next()
        if any(word in line for word in beginnings):
            return line


Try = Callable[[], Awaitable[str]]


async def _registering(at: World, protocol: str, name: str, password: str) -> Try:
    """A client that is ready to ask for an account; what it returns asks, and says "" or how it was refused."""
    if protocol == "matrix":

        async def by_matrix() -> str:
            body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}}
            status, answer = await at.http("POST", "/register", body, None, "")
            return "" if status == 200 else f"{status} {answer['errcode']}"

        return by_matrix
    wire = await at.connect(protocol)
    if protocol == "irc":
        chatter = IrcPerson(wire)
        await chatter.send(f"CAP REQ :draft/account-registration standard-replies\r\nNICK {name}\r\nUSER u 0 * :u")
        await _answer(chatter, " ACK ")

        async def by_irc() -> str:
            await chatter.send(f"REGISTER * * :{password}")
            line = await _answer(chatter, " REGISTER ")
            return "" if " REGISTER SUCCESS " in line else line

        return by_irc
    jabberer = XmppPerson(wire)
    await jabberer.open()

    async def by_xmpp() -> str:
        await jabberer.send(
            f"<iq type='set' id='1' to='{SERVER}'><query xmlns='jabber:iq:register'><username>{name}</username>"
            f"<password>{password}</password></query></iq>"
        )
        stanza = await jabberer.next()
        return "" if "type='result'" in stanza else stanza

    return by_xmpp


REFUSED = {"matrix": "400 M_USER_IN_USE", "irc": "ACCOUNT_EXISTS", "xmpp": "<conflict "}


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_an_account_is_made_once(p: str, q: str, tmp_path: Path) -> None:
    async def work(at: World) -> None:
        tries = [await _registering(at, p, "nina", "password of one"), await _registering(at, q, "nina", "and other")]
        answers = await asyncio.gather(*(one() for one in tries))
        assert sorted(answer == "" for answer in answers) == [False, True], answers
        loser = 0 if answers[0] else 1
        assert REFUSED[(p, q)[loser]] in answers[loser]
        accounts = at.app.middle.accounts
        await accounts.check_password("nina", ("and other", "password of one")[loser], address="127.0.0.1")
        with pytest.raises(AccountRefused):
            await accounts.check_password("nina", ("password of one", "and other")[loser], address="127.0.0.1")

    play(tmp_path / "data", work)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_room_is_made_once(p: str, q: str, tmp_path: Path) -> None:
    """Both come into one room; a Matrix client, who did not ask to come in but to make it, is refused."""

    async def enter(at: World, name: str, protocol: str) -> str:
        person = await at.person(name, protocol, "account", [])
        if isinstance(person, IrcPerson):
            await person.send("JOIN #new")
            return await _answer(person, " 366 ", " 403 ", " 473 ")
        if isinstance(person, XmppPerson):
            presence = f"<presence to='new@{ROOMS}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            await person.send(presence)
            while True:
                stanza = await person.next()
                if "<status code='110'/>" in stanza or "type='error'" in stanza:
                    return stanza
        assert isinstance(person, MatrixPerson)
        status, answer = await person.call(
            "POST", "/createRoom", {"preset": "public_chat", "room_alias_name": "new"}
        )
        return f"{status} {answer}"

    async def work(at: World) -> None:
        told = await asyncio.gather(enter(at, "ann", p), enter(at, "ben", q))
        room_id = await at.app.middle.reader.resolve_alias(RoomAlias(f"#new:{SERVER}"))
        assert room_id is not None
        room = await at.app.middle.loaded.get(room_id)
        inside = {name for name in ("ann", "ben") if f"@{name}:{SERVER}" in room.joined()}
        for (name, protocol), answer in zip((("ann", p), ("ben", q)), told, strict=True):
            if protocol == "matrix":
                assert answer.startswith("200 ") is (name in inside), answer
                assert answer.startswith("200 ") or "M_ROOM_IN_USE" in answer
            elif name in inside:
                assert " 366 " in answer or "<status code='110'/>" in answer, answer
            else:
                # spec: XEP-0045 10.1.1: a room that was made by XMPP lets nobody in before it is configured.
                assert "xmpp" in (p, q)
                assert " 473 " in answer or "<item-not-found " in answer, answer
        assert inside

    play(tmp_path / "data", work)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_password_is_changed_to_one_of_two(p: str, q: str, tmp_path: Path) -> None:
    """Each change ends the other sessions (18.2): one may be cut off before it is answered, never both passwords be."""

    async def change(person: object, new: str) -> str:
        if isinstance(person, IrcPerson):
            await person.send(f"NS PASSWD {PASSWORD.replace(' ', '-')} {new}")
            return await _answer(person, "NickServ!")
        if isinstance(person, XmppPerson):
            await person.send(
                "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>ann</username>"
                f"<password>{new}</password></query></iq>"
            )
            return await person.next()
        assert isinstance(person, MatrixPerson)
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "ann"},
            "password": PASSWORD.replace(" ", "-"),
        }
        status, answer = await person.call("POST", "/account/password", {"new_password": new, "auth": auth})
        return f"{status} {answer}"

    async def work(at: World) -> None:
        accounts = at.app.middle.accounts
        people = [await at.person("ann", protocol, "account", []) for protocol in (p, q)]
        user_id = accounts.user_id("ann")
        # IRC has no blanks in a word.
        await accounts.change_password(
            user_id, PASSWORD.replace(" ", "-"), keep_device=None, logout_devices=False
        )
        news = ("first-new-one", "second-new-one")
        told = await asyncio.gather(
            *(change(person, new) for person, new in zip(people, news, strict=True)), return_exceptions=True
        )
        assert all(isinstance(one, str | EOFError) for one in told), told

        async def valid() -> list[str]:
            found = []
            for word in (*news, PASSWORD.replace(" ", "-")):
                try:
                    await accounts.check_password("ann", word, address="127.0.0.1")
                    found.append(word)
                except AccountRefused:
                    continue
            return found

        # Who was cut off may still be served: it is over when the answer stays as it is.
        before = await valid()
        while (now := await valid()) != before:
            before = now
        assert now in ([news[0]], [news[1]]), told

    play(tmp_path / "data", work)
