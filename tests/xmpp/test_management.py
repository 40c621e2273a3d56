"""Stream management over sockets, TCP and WebSocket: acks, sessions that wait, come back, or are given up.

spec: XEP-0198 3-7, 10
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.xmpp.server import OPTIONS, SERVER, Client, TestServer, serve
from tripoint.core.server_bans import BanKind, ServerBan

SM = "xmlns='urn:xmpp:sm:3'"
R, ENABLE = f"<r {SM}/>", f"<enable {SM} resume='true'/>"
ROOM = f"tea@rooms.{SERVER}"
Work = Callable[[TestServer, "Clock"], Awaitable[None]]
BOTH = pytest.mark.parametrize("web", [False, True], ids=["tcp", "websocket"])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def on_server(work: Work, *, web: bool = False, **options: object) -> None:
    async def go() -> None:
        clock = Clock()
        async with serve(web=web, options=replace(OPTIONS, **options), monotonic=clock) as server:
            await work(server, clock)

    asyncio.run(go())


async def enable(client: Client, more: str = "resume='true'") -> str:
    """Switch it on; the SM-ID ("" where there is none)."""
    client.send(f"<enable {SM} {more}/>")
    text = await client.xml()
    assert text.startswith(f"<enabled {SM}"), text
    found = re.search(r" id='([^']*)'", text)
    return "" if found is None else found.group(1)


async def acked(client: Client) -> int:
    """What the server says it has handled."""
    client.send(R)
    while True:
        element = await client.stanza()
        if (element.name, element.namespace) == ("a", "urn:xmpp:sm:3"):
            return int(element.get("h") or "")


async def again(server: TestServer, name: str) -> Client:
    """A new connection of the same account, logged in and not bound."""
    client = await server.connect()
    await client.open()
    await client.authenticate(name, "correct horse")
    await client.open()
    return client


async def resume(server: TestServer, name: str, sm_id: str, h: int) -> Client:
    client = await again(server, name)
    client.send(f"<resume {SM} previd='{sm_id}' h='{h}'/>")
    return client


async def drop(server: TestServer, client: Client) -> None:
    """The network breaks: no end of the stream."""
    count = server.front.connections
    client.transport.abort()
    await client.lost()
    await server.fewer_than(count)
    await server.front.settled()


def say(to: Client, number: int) -> str:
    return f"<message to='{to.jid.partition('/')[0]}' type='chat' id='m{number}'><body>word {number}</body></message>"


def bodies(stanzas: list[str]) -> list[str]:
    return [found for stanza in stanzas for found in re.findall(r"<body>([^<]*)</body>", stanza)]


# -- acks


@BOTH
def test_stanzas_are_counted_and_nothing_else(web: bool) -> None:
    """spec: XEP-0198 4: example 7"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        # What came before is not counted, handled or not.
        for number in range(3):
            alice.send(f"<iq type='get' id='{number}' to='{SERVER}'><ping xmlns='urn:xmpp:ping'/></iq>")
        alice.send(f"<enable {SM}/>")
        for number in range(3):
            await alice.expect(f"<iq type='result' id='{number}'…/>")
        await alice.expect(f"<enabled {SM}/>")
        assert await acked(alice) == 0
        await alice.quiet()
        alice.send("<presence><show>away</show></presence>")
        assert await acked(alice) == 2
        assert await acked(alice) == 2
        # An ack of what was sent: the pong, and the presence to ourselves.
        alice.send(f"<a {SM} h='2'/>")
        await alice.quiet()

    on_server(work, web=web)


def test_what_is_handled_is_in_the_room_before_it_is_acknowledged() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        await enable(alice)
        alice.send(say(bob, 1))
        alice.send(R)
        await alice.expect(f"<a {SM} h='1'/>")
        assert bodies([await bob.xml()]) == ["word 1"]

    on_server(work)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (ENABLE, f"<failed {SM}><unexpected-request …"),  # example 6
        (f"<a {SM}/>", f"<failed {SM}><bad-request …"),
        (f"<a {SM} h='-1'/>", f"<failed {SM}><bad-request …"),
        (f"<a {SM} h='many'/>", f"<failed {SM}><bad-request …"),
        (f"<a {SM} h='99999999999'/>", f"<failed {SM}><bad-request …"),
        (f"<resume {SM} previd='x' h='0'/>", f"<failed {SM}><unexpected-request …"),
        (f"<enabled {SM}/>", f"<failed {SM}><unexpected-request …"),
        (f"<nonsense {SM}/>", f"<failed {SM}><unexpected-request …"),
    ],
)
def test_misuse_is_told(sent: str, answer: str) -> None:
    """spec: XEP-0198 6"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        await enable(alice)
        alice.send(sent)
        await alice.expect(answer)
        assert await acked(alice) == 0
        await alice.quiet()

    on_server(work)


@pytest.mark.parametrize("sent", [R, f"<a {SM} h='0'/>"])
def test_acks_without_management_are_told(sent: str) -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        alice.send(sent)
        await alice.expect(f"<failed {SM}><unexpected-request …")

    on_server(work)


@BOTH
def test_who_acknowledges_what_was_not_sent_is_closed(web: bool) -> None:
    """spec: XEP-0198 6, example 17"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        await alice.quiet()
        alice.send(f"<a {SM} h='10'/>")
        await alice.expect(
            "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            f"<handled-count-too-high {SM} h='10' send-count='1'/><text …>"
            "You acknowledged 10 stanzas, but I only sent you 1 so far.</text></stream:error>"
        )
        await alice.lost()
        # That was the end of the session.
        client = await resume(server, "alice", sm_id, 1)
        await client.expect(f"<failed {SM} h='1'><item-not-found …")

    on_server(work, web=web)


def test_acks_are_asked_for() -> None:
    """spec: XEP-0198 8.2: after some stanzas, or by the sweep; once until there is an answer"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        await enable(bob)
        for number in range(7):
            alice.send(say(bob, number))
        got = [await bob.xml() for _ in range(8)]
        assert [text for text in got if text == R] == [R] and got.index(R) == 5
        bob.send(f"<a {SM} h='7'/>")
        await bob.quiet()
        server.front.sweep()
        await bob.expect(R)
        server.front.sweep()
        await bob.quiet()

    on_server(work)


# -- coming back


@BOTH
def test_a_session_goes_on_where_it_was(web: bool) -> None:
    """spec: XEP-0198 5: nobody sees that it was away, and what it did not have comes once"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        await alice.join(ROOM, "alice")
        await alice.ask(
            f"<iq type='set' id='c' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
            "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
        )
        sm_id = await enable(bob)
        await bob.join(ROOM, "bob")
        alice.send(say(bob, 1))
        while "word 1" not in await bob.xml():
            pass
        await alice.skip()
        unacked = server.front.users.session(bob.jid).managed.unacked
        had = unacked.sent
        await drop(server, bob)
        alice.send(say(bob, 2))
        alice.send(f"<message to='{ROOM}' type='groupchat' id='g'><body>word 3</body></message>")
        assert bodies(await alice.skip()) == ["word 3"]  # and no presence
        back = await resume(server, "bob", sm_id, had)
        await back.expect(f"<resumed {SM} previd='{sm_id}' h='1'/>")
        assert bodies([await back.xml(), await back.xml()]) == ["word 2", "word 3"]
        await back.expect(R)
        # Everything works: rooms, conversations, counters.
        back.send(f"<message to='{ROOM}' type='groupchat' id='g2'><body>word 4</body></message>")
        assert bodies([await back.xml(), await alice.xml()]) == ["word 4", "word 4"]
        assert await acked(back) == 2
        back.send(f"<a {SM} h='{had + 3}'/>")
        await back.quiet()
        assert await alice.skip() == []

    on_server(work, web=web)


def test_from_one_transport_to_the_other() -> None:
    """spec: RFC7395 3.10"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.bound("alice")
        sm_id = await enable(alice)
        await drop(server, alice)
        server.web = True
        back = await resume(server, "alice", sm_id, 0)
        await back.expect(f"<resumed {SM} previd='{sm_id}' h='0'/>")
        await back.quiet()
        await drop(server, back)
        server.web = False
        third = await resume(server, "alice", sm_id, 1)
        await third.expect(f"<resumed {SM} previd='{sm_id}' h='1'/>")

    on_server(work)


@BOTH
def test_the_old_connection_is_closed_when_the_new_one_resumes(web: bool) -> None:
    """spec: XEP-0198 5, example 15"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        back = await resume(server, "alice", sm_id, 0)
        await back.expect(f"<resumed {SM} previd='{sm_id}' h='0'/>")
        await alice.expect("<stream:error><conflict …")
        await alice.lost()
        await back.quiet()
        assert len(server.front.users) == 1 and len(server.front.sessions.resumptions) == 0

    on_server(work, web=web)


def test_what_is_being_handled_is_counted_before_it_goes_on() -> None:
    """What was sent and is not counted would be sent twice."""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        sm_id = await enable(alice)
        alice.send("".join(say(bob, number) for number in range(30)))
        await bob.stanza()
        back = await resume(server, "alice", sm_id, 0)
        element = await back.stanza()
        assert element.name == "resumed"
        handled = int(element.get("h") or "")
        for number in range(handled, 30):
            back.send(say(bob, number))
        await back.quiet()
        assert bodies(await bob.skip()) == [f"word {number}" for number in range(1, 30)]

    on_server(work)


def test_presence_and_carbons_and_rosters_stay() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.bound("alice", "one")
        await alice.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        await alice.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        alice.send("<presence><show>dnd</show></presence>")
        await alice.skip()
        sm_id = await enable(alice)
        await drop(server, alice)
        two = await server.bound("alice", "two")
        two.send("<presence/>")
        assert any("<show>dnd</show>" in text for text in await two.skip())
        await two.ask(f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@{SERVER}'/></query></iq>")
        back = await resume(server, "alice", sm_id, 0)
        await back.expect(f"<resumed {SM} …")
        got = await back.skip()
        assert sum("jabber:iq:roster" in text for text in got) == 1
        assert sum(text.startswith("<presence") for text in got) == 1

    on_server(work)


@pytest.mark.parametrize(
    ("who", "change", "answer"),
    [
        ("alice", "x", f"<failed {SM}><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"),
        ("eve", "", f"<failed {SM}><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"),
    ],
)
def test_nobody_resumes_what_is_not_his(who: str, change: str, answer: str) -> None:
    """spec: XEP-0198 5, 10; and a resource may be bound after it"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        await server.make_account("eve")
        sm_id = await enable(alice)
        await drop(server, alice)
        client = await resume(server, who, sm_id + change, 0)
        await client.expect(answer)
        await client.bind("other")
        await client.quiet()
        back = await resume(server, "alice", sm_id, 0)
        await back.expect(f"<resumed {SM} …")

    on_server(work)


def test_without_being_asked_for_there_is_no_resumption() -> None:
    """spec: XEP-0198 3, 5, example 10"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        assert await enable(alice, "") == ""
        await drop(server, alice)
        assert len(server.front.users) == 0

    on_server(work)


def test_a_stream_that_is_closed_is_over() -> None:
    """spec: XEP-0198 7"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        alice.send("</stream:stream>")
        await alice.lost()
        assert len(server.front.users) == 0
        client = await resume(server, "alice", sm_id, 0)
        await client.expect(f"<failed {SM} h='0'><item-not-found …")

    on_server(work)


@pytest.mark.parametrize("h", [3, 4_294_967_295])
def test_wrong_counts_do_not_resume(h: int) -> None:
    """spec: XEP-0198 6: more than was sent; the session goes on waiting for somebody who knows better"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        await alice.quiet()
        alice.send(f"<a {SM} h='1'/>")
        await alice.quiet()
        await drop(server, alice)
        client = await resume(server, "alice", sm_id, h)
        if h == 3:
            await client.expect(
                f"<stream:error><undefined-condition …/><handled-count-too-high {SM} h='3' send-count='2'/>…"
            )
        else:  # an old count: what it asks for is gone
            await client.expect(f"<failed {SM} h='2'><item-not-found …")
        back = await resume(server, "alice", sm_id, 2)
        await back.expect(f"<resumed {SM} previd='{sm_id}' h='2'/>")

    on_server(work)


# -- not coming back


def test_who_does_not_come_back_in_time_is_gone() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        await alice.join(ROOM, "alice")
        await alice.ask(
            f"<iq type='set' id='c' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
            "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
        )
        client = await server.bound("bob", "two")
        client.send(f"<enable {SM} resume='true' max='60'/>")
        enabled = await client.stanza()
        assert enabled.get("max") == "60"
        await client.join(ROOM, "bob")
        await alice.skip()
        await drop(server, client)
        clock.now += 59
        server.front.sweep()
        assert await alice.skip() == []
        clock.now += 2
        server.front.sweep()
        assert len(server.front.users) == 2 and len(server.front.sessions.resumptions) == 0
        back = await resume(server, "bob", enabled.get("id") or "", 0)
        await back.expect(f"<failed {SM} h='1'><item-not-found …")
        await bob.quiet()

    on_server(work)


@BOTH
def test_messages_that_were_not_acknowledged_come_at_the_next_login(web: bool) -> None:
    """spec: XEP-0198 4: committed to offline storage, delayed; what was acknowledged does not come again"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        await enable(bob)
        alice.send(say(bob, 1))
        assert bodies([await bob.xml()]) == ["word 1"]
        bob.send(f"<a {SM} h='1'/>")
        await bob.quiet()
        alice.send(say(bob, 2))
        assert bodies([await bob.xml()]) == ["word 2"]
        await drop(server, bob)
        alice.send(say(bob, 3))
        alice.send(f"<message to='{bob.jid}' type='chat' id='s'><composing xmlns='{STATES}'/></message>")
        await alice.quiet()
        clock.now += 1000
        server.front.sweep()
        back = await server.bound("bob", "other")
        back.send("<presence/>")
        got = [text for text in await back.skip() if text.startswith("<message")]
        assert bodies(got) == ["word 2", "word 3"]
        assert all("<delay xmlns='urn:xmpp:delay'" in text for text in got)

    on_server(work, web=web)


STATES = "http://jabber.org/protocol/chatstates"


def test_messages_that_were_not_acknowledged_come_to_who_is_there() -> None:
    """spec: XEP-0198 4: delivery to an alternate resource; who heard them already does not hear them twice"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, one = await server.online("alice"), await server.online("bob", "one")
        await enable(one)
        await drop(server, one)
        alice.send(say(one, 1))
        await alice.quiet()
        two = await server.bound("bob", "two")
        two.send("<presence/>")
        assert bodies(await two.skip()) == []
        alice.send(say(one, 2))
        assert bodies([await two.xml()]) == ["word 2"]
        clock.now += 1000
        server.front.sweep()
        await server.front.settled()
        assert bodies(await two.skip()) == ["word 1"]

    on_server(work)


def test_requests_that_were_not_acknowledged_are_answered() -> None:
    """spec: RFC6121 8.5.3.2.3, XEP-0198 4"""

    async def work(server: TestServer, clock: Clock) -> None:
        one, two = await server.online("bob", "one"), await server.online("bob", "two")
        await one.skip()
        await enable(one)
        await drop(server, one)
        await two.skip()
        two.send(f"<iq type='get' id='v' to='{one.jid}'><query xmlns='jabber:iq:version'/></iq>")
        await two.quiet()
        clock.now += 1000
        server.front.sweep()
        got = await two.skip()
        (error,) = (text for text in got if "id='v'" in text)
        assert error.startswith(f"<iq type='error' id='v' from='{one.jid}'") and "<recipient-unavailable " in error

    on_server(work)


def test_a_silent_client_is_cut_off_and_waited_for() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        await alice.quiet()
        server.front.sweep()  # asks for an ack
        clock.now += 121
        server.front.sweep()
        await alice.lost()
        await server.front.settled()
        assert len(server.front.sessions.resumptions) == 1
        back = await resume(server, "alice", sm_id, 1)
        await back.expect(f"<resumed {SM} previd='{sm_id}' h='1'/>")

    on_server(work)


def test_another_client_takes_the_resource() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        sm_id = await enable(alice)
        await drop(server, alice)
        await server.online("alice")
        assert len(server.front.users) == 1 and len(server.front.sessions.resumptions) == 0
        client = await resume(server, "alice", sm_id, 0)
        await client.expect(f"<failed {SM} h='0'><item-not-found …")

    on_server(work)


def test_who_is_banned_while_away_is_gone() -> None:
    """docs/mapping.md 9.4"""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        for client in (alice, bob):
            await enable(client)
            await drop(server, client)
        bans = server.middle.accounts.bans
        await bans.put(ServerBan(BanKind.KLINE, "alice@*", "spam", server.middle.accounts.user_id("bob"), 0))
        assert [session.jid.local for session in server.front.users] == ["bob"]

    on_server(work)


def test_sessions_that_wait_give_way() -> None:
    """An account has at most twenty resources; those that nobody uses do not keep others out."""

    async def work(server: TestServer, clock: Clock) -> None:
        for number in range(22):
            client = await server.bound("alice", f"r{number}")
            await enable(client)
            await drop(server, client)
        assert len(server.front.users) == len(server.front.sessions.resumptions) == 20

    on_server(work)


def test_what_is_kept_is_bounded() -> None:
    """The oldest go first; a session that nobody can resume any more does not wait."""

    async def work(server: TestServer, clock: Clock) -> None:
        alice, bob = await server.online("alice"), await server.online("bob")
        sm_id = await enable(bob)
        await drop(server, bob)
        for number in range(12):
            alice.send(say(bob, number))
        await alice.quiet()
        unacked = server.front.users.session(bob.jid).managed.unacked
        assert len(unacked.kept()) == 10 and unacked.outstanding == 12
        client = await resume(server, "bob", sm_id, 0)
        await client.expect(f"<failed {SM} h='0'><item-not-found …")
        server.front.sweep()
        assert len(server.front.sessions.resumptions) == 0
        client.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        await client.stanza()
        client.send("<presence/>")
        assert bodies(await client.skip()) == [f"word {number}" for number in range(12)]

    on_server(work, unacked_stanzas=10)


def test_the_server_stops_while_somebody_is_away() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        await enable(alice)
        await drop(server, alice)
        await server.front.drain()
        assert len(server.front.users) == len(server.front.sessions.resumptions) == 0

    on_server(work)


def test_it_can_be_switched_off() -> None:
    async def work(server: TestServer, clock: Clock) -> None:
        alice = await server.online("alice")
        assert await enable(alice) == ""
        await alice.quiet()
        assert await acked(alice) == 1

    on_server(work, resume_s=0.0)
