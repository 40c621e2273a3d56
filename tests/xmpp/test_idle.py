"""Client state indication: what waits while nobody looks, what does not, and that the order is kept.

spec: XEP-0352 3.2, 4, 5
"""

import asyncio

import pytest

from tests.xmpp.server import SERVER, TestServer, serve
from tests.xmpp.test_management import SM, drop, enable, resume
from tripoint.xmpp import idle
from tripoint.xmpp.idle import ALONE, Held, waits

INACTIVE, ACTIVE = "<inactive xmlns='urn:xmpp:csi:0'/>", "<active xmlns='urn:xmpp:csi:0'/>"
STATES, USER = "http://jabber.org/protocol/chatstates", "http://jabber.org/protocol/muc#user"
EVENT = "http://jabber.org/protocol/pubsub#event"
COMPOSING = f"<composing xmlns='{STATES}'/>"


def message(inside: str, more: str = " type='chat'") -> str:
    return f"<message from='bob@example.org/r'{more} to='alice@example.org'>{inside}</message>"


def carbon(inside: str) -> str:
    forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>{inside}</message></forwarded>"
    return message(f"<received xmlns='urn:xmpp:carbons:2'>{forwarded}</received>")


@pytest.mark.parametrize(
    ("stanza", "key"),
    [
        ("<presence from='bob@example.org/r'/>", ("presence", "bob@example.org/r")),
        ("<presence from='bob@example.org/r' type='unavailable'/>", ("presence", "bob@example.org/r")),
        (f"<presence from='r@x/bob'><x xmlns='{USER}'><item/></x></presence>", ("presence", "r@x/bob")),
        (message(COMPOSING), ("state", "bob@example.org/r")),
        (message(f"<paused xmlns='{STATES}'/><thread>t</thread>"), ("state", "bob@example.org/r")),
        (message("<received xmlns='urn:xmpp:receipts' id='1'/>"), ALONE),
        (message("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"), ALONE),
        (message(f"<event xmlns='{EVENT}'><items node='http://jabber.org/protocol/nick'/></event>", ""), ALONE),
        (carbon(COMPOSING), ALONE),
    ],
)
def test_what_waits(stanza: str, key: tuple[str, str]) -> None:
    assert waits(stanza.encode()) == key


@pytest.mark.parametrize(
    "stanza",
    [
        "<iq type='get' id='1'/>",
        "<presence from='bob@example.org' type='subscribe'/>",
        "<presence from='r@x/bob' type='error'><error/></presence>",
        f"<presence from='r@x/bob' type='unavailable'><x xmlns='{USER}'><item/><status code='307'/></x></presence>",
        f"<presence from='r@x/me'><x xmlns='{USER}'><item/><status code='110'/></x></presence>",
        message("<body>hello</body>"),
        message(f"<body>hello</body>{COMPOSING}"),
        message("<subject/>", " type='groupchat'"),
        message(""),
        message("<encrypted xmlns='urn:xmpp:omemo:2'/>"),
        message("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"),
        message("<x xmlns='jabber:x:conference' jid='r@x'/>", ""),
        message(f"{COMPOSING}<error/>", " type='error'"),
        message(f"<x xmlns='{USER}'><invite from='b@x'/></x>", ""),
        message("<result xmlns='urn:xmpp:mam:2' queryid='1' id='2'/>", ""),
        message("<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>"),
        message("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>"),
        message(f"<event xmlns='{EVENT}'><items node='urn:xmpp:mds:displayed:0'/></event>", ""),
        carbon("<body>hello</body>"),
        message("<received xmlns='urn:xmpp:carbons:2'/>"),
        "<message",
    ],
)
def test_what_does_not_wait(stanza: str) -> None:
    assert waits(stanza.encode()) is None


def presence(who: str, show: str) -> bytes:
    return f"<presence from='{who}'><show>{show}</show></presence>".encode()


def test_the_last_of_each_goes_out_in_order() -> None:
    sent: list[bytes] = []
    held = Held(sent.append)
    state, words = message(COMPOSING).encode(), message("<body>at last</body>").encode()
    receipt = message("<received xmlns='urn:xmpp:receipts' id='1'/>").encode()
    for stanza in (presence("b", "away"), presence("c", "dnd"), receipt, state, presence("b", "xa"), receipt):
        held.send(stanza)
    assert sent == []
    held.send(words)
    assert sent == [presence("c", "dnd"), receipt, state, presence("b", "xa"), receipt, words]
    held.flush()
    assert len(sent) == 6


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "MAX_STANZAS", 10)
    sent: list[bytes] = []
    held = Held(sent.append)
    for number in range(11):
        held.send(presence(f"p{number}", "away"))
    assert len(sent) == 11
    monkeypatch.setattr(idle, "MAX_BYTES", 100)
    for _ in range(5):  # one place, however often
        held.send(presence("b", "away"))
    assert len(sent) == 11
    held.send(presence("c", "x" * 100))
    assert len(sent) == 13


@pytest.mark.parametrize("web", [False, True], ids=["tcp", "websocket"])
def test_an_inactive_client_is_left_alone(web: bool) -> None:
    """spec: XEP-0352 4.1, 4.2, 5.1, examples 2, 3, 4"""

    async def go() -> None:
        async with serve(web=web) as server:
            one, two = await server.online("alice", "one"), await server.online("alice", "two")
            await one.skip()
            one.send(INACTIVE)
            one.send(INACTIVE)
            await one.quiet()
            for show in ("away", "dnd", "xa"):
                two.send(f"<presence><show>{show}</show></presence>")
            await two.skip()
            await server.front.settled()
            one.send(ACTIVE)
            one.send(f"<iq type='get' id='p' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
            await one.expect("<presence from='alice@example.org/two'…<show>xa</show></presence>")
            await one.expect("<iq type='result' id='p'…/>")
            one.send(ACTIVE)
            two.send("<presence/>")
            await one.expect("<presence from='alice@example.org/two' to='alice@example.org'/>")

    asyncio.run(go())


def test_rooms_are_quiet_too() -> None:
    async def go() -> None:
        async with serve() as server:
            alice, bob = await in_room(server, "alice"), await in_room(server, "bob")
            await alice.skip()
            bob.send(INACTIVE)
            await bob.quiet()
            room = f"tea@rooms.{SERVER}"
            for show in ("away", "dnd"):
                alice.send(f"<presence to='{room}/alice'><show>{show}</show></presence>")
            await alice.skip()
            alice.send(f"<message to='{room}' type='groupchat' id='1'><body>cake</body></message>")
            await bob.expect(f"<presence from='{room}/alice'…<show>dnd</show>…")
            await bob.expect(f"<message from='{room}/alice'…<body>cake</body>…")
            await bob.quiet()

    asyncio.run(go())


async def in_room(server: TestServer, name: str):
    client = await server.online(name)
    room = f"tea@rooms.{SERVER}"
    entered = await client.join(room, name)
    if any("code='201'" in text for text in entered):
        await client.ask(
            f"<iq type='set' id='c' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
            "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
        )
    return client


def test_who_resumes_is_active() -> None:
    """spec: XEP-0352 5.2: what waited comes behind what was not acknowledged, and is counted"""

    async def go() -> None:
        async with serve() as server:
            one, two = await server.online("alice", "one"), await server.online("alice", "two")
            await one.skip()
            one.send(INACTIVE)
            sm_id = await enable(one)
            two.send("<presence><show>away</show></presence>")
            await two.skip()
            await drop(server, one)
            back = await resume(server, "alice", sm_id, 0)
            await back.expect(f"<resumed {SM} previd='{sm_id}' h='0'/>")
            await back.expect("<presence from='alice@example.org/two'…<show>away</show></presence>")
            two.send("<presence/>")
            await back.expect("<presence from='alice@example.org/two' to='alice@example.org'/>")
            managed = server.front.users.session(one.jid).managed
            assert managed.unacked.sent == 2

    asyncio.run(go())
