"""What other servers' people cannot have, and what is said where a server cannot be reached."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import ServerName, UserId
from tripoint.net.address_policy import AddressPolicy
from tripoint.net.resolver import SrvRecord
from tripoint.xmpp.c2s.foreign import Foreign
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.newcomers import Newcomers
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.s2s.intake import Receiving, Traffic
from tripoint.xmpp.s2s.links import FIRST_REST_S, MAX_QUEUED, MAX_QUEUED_BYTES, Links
from tripoint.xmpp.s2s.pairs import Terms
from tripoint.xmpp.wire import CLIENT_NS, Element

ALICE, BOB = f"alice@{ONE}", f"bob@{TWO}"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """spec: RFC6120 10.4.3, 8.3.3.15"""

    async def work(pair: Pair) -> None:
        alice = await pair.client("alice", ONE)
        for stanza in (
            "<message to='x@nowhere.example' type='chat' id='m'><body>Hello</body></message>",
            "<message to='x@nowhere.example' type='chat' id='m'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
            "<iq to='nowhere.example' type='get' id='m'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<presence to='x@nowhere.example' type='subscribe' id='m'/>",
            "<presence to='room@nowhere.example/me' id='m'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
        ):
            alice.send(stanza)
            got = await alice.xml()
            assert " type='error'" in got and "<remote-server-not-found " in got, got
        await alice.quiet()

    run(tmp_path, work)


def test_without_dialback_a_certificate_has_to_be_valid(tmp_path: Path) -> None:
    """spec: RFC6120 13.7.2, 8.3.3.16"""

    async def work(pair: Pair) -> None:
        alice = await pair.client("alice", ONE)
        alice.send(f"<message to='{BOB}' type='chat' id='m'><body>Hello</body></message>")
        await alice.expect("<message type='error' id='m' from…<remote-server-timeout …its certificate is not valid…")

    run(tmp_path, work, trusted=False, dialback=False)


REQUESTS = [
    ("get", f"bob@{ONE}", "<query xmlns='jabber:iq:roster'/>"),
    ("set", f"bob@{ONE}", "<query xmlns='jabber:iq:roster'><item jid='x@y.example'/></query>"),
    ("set", f"bob@{ONE}", "<vCard xmlns='vcard-temp'><FN>Bob</FN></vCard>"),
    ("get", f"bob@{ONE}", "<blocklist xmlns='urn:xmpp:blocking'/>"),
    ("set", f"bob@{ONE}", "<query xmlns='urn:xmpp:mam:2'/>"),
    ("set", f"bob@{ONE}", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'/></pubsub>"),
    ("get", ONE, "<query xmlns='jabber:iq:register'/>"),
    ("get", ONE, "<services xmlns='urn:xmpp:extdisco:2'/>"),
    ("get", ONE, "<request xmlns='urn:xmpp:http:upload:0' filename='a' size='1'/>"),
    ("set", ONE, "<command xmlns='http://jabber.org/protocol/commands' node='x'/>"),
    ("get", f"matrix.{ONE}", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
    ("get", f"nobody@{ONE}", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
    ("get", f"bob@{ONE}/r", "<ping xmlns='urn:xmpp:ping'/>"),
    ("get", f"_xmpp_bob=40{TWO}@{ONE}", "<vCard xmlns='vcard-temp'/>"),
]


def test_requests_that_are_not_for_other_servers(tmp_path: Path) -> None:
    """Of people with the same name as somebody here, least of all."""

    async def work(pair: Pair) -> None:
        await pair.client("bob", ONE)
        stranger = await pair.client("bob", TWO)
        for kind, to, payload in REQUESTS:
            got = await stranger.ask(f"<iq type='{kind}' id='i' to='{to}'>{payload}</iq>")
            assert " type='error'" in got and "<service-unavailable " in got, got
        disco = "<query xmlns='http://jabber.org/protocol/disco#{}'/>"
        for payload in (disco.format("info"), "<query xmlns='http://jabber.org/protocol/muc#owner'/>"):
            # Of rooms that are not there, or not for all, nobody learns.
            got = await stranger.ask(f"<iq type='get' id='i' to='tea@rooms.{ONE}'>{payload}</iq>")
            assert " type='error'" in got and "<item-not-found " in got, got
        for to, payload in (
            (ONE, "<ping xmlns='urn:xmpp:ping'/>"),
            (ONE, "<query xmlns='jabber:iq:version'/>"),
            (ONE, "<time xmlns='urn:xmpp:time'/>"),
            (ONE, disco.format("info")),
            (ONE, disco.format("items")),
            (f"rooms.{ONE}", disco.format("info")),
            (f"bob@{ONE}", "<vCard xmlns='vcard-temp'/>"),
        ):
            got = await stranger.ask(f"<iq type='get' id='i' to='{to}'>{payload}</iq>")
            assert " type='result'" in got, got
        # What only contacts may see says no more than that it is not for others.
        items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'/></pubsub>"
        for payload in (disco.format("info"), disco.format("items"), items):
            got = await stranger.ask(f"<iq type='get' id='i' to='bob@{ONE}'>{payload}</iq>")
            assert "internal-server-error" not in got, got

    run(tmp_path, work)


def test_people_who_are_not_here_and_people_who_are_blocked(tmp_path: Path) -> None:
    """spec: RFC6121 8.5.1, XEP-0191 3.3"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        for to in (f"nobody@{ONE}", f"_xmpp_bob=40{TWO}@{ONE}"):
            bob.send(f"<message to='{to}' type='chat' id='m'><body>Hello</body></message>")
            await bob.expect("<message …type='error'…<service-unavailable …")
        await alice.ask(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{BOB}'/></block></iq>")
        bob.send(f"<message to='{ALICE}' type='chat' id='m'><body>Hello</body></message>")
        await bob.expect("<message …type='error'…<service-unavailable …")
        bob.send(f"<presence to='{ALICE}' type='subscribe'/>")
        bob.send(f"<message to='{ALICE}' type='chat' id='n'><body>Hello</body></message>")
        await bob.expect("<message …type='error'…<service-unavailable …")
        await alice.quiet()
        # Nobody stands for who never got through.
        assert await pair.apps[ONE].middle.accounts.account(f"@_xmpp_bob=40{TWO}:{ONE}") is None

    run(tmp_path, work)


def test_who_is_blocked_by_the_name_that_they_have_on_matrix(tmp_path: Path) -> None:
    """docs/mapping.md 1.6, 16.1: one person, whichever way their stanzas come"""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        pair.apps[ONE].xmpp.domains.same.names.add(ServerName(TWO))
        await alice.ask(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{BOB}'/></block></iq>")
        accounts = pair.apps[ONE].middle.accounts
        ignored = await accounts.account_data(UserId(f"@alice:{ONE}"), None, "m.ignored_user_list")
        assert ignored == {"ignored_users": {f"@bob:{TWO}": {}}}
        bob.send(f"<message to='{ALICE}' type='chat' id='m'><body>Hello</body></message>")
        await bob.expect("<message …type='error'…<service-unavailable …")
        bob.send(f"<presence to='{ALICE}/r'/>")
        answer = await bob.ask(f"<iq type='get' id='i' to='{ALICE}'><vCard xmlns='vcard-temp'/></iq>")
        assert "<service-unavailable " in answer
        await alice.quiet()

    run(tmp_path, work)


def test_who_wrote_on_irc_is_told_that_it_did_not_arrive(tmp_path: Path) -> None:
    """Where there is no stanza to answer, it is said in the conversation: by our side, and by theirs."""

    async def work(pair: Pair) -> None:
        alice, bob = await pair.client("alice", ONE), await pair.client("bob", TWO)
        bob.send(f"<message to='{ALICE}' type='chat' id='m1'><body>Hello</body></message>")
        await alice.expect("<message…<body>Hello</body>…")
        await alice.close()
        read, write = await asyncio.open_connection("127.0.0.1", pair.apps[ONE].ports["irc"][0])
        write.write(b"PASS alice:secret-password\r\nNICK alice\r\nUSER alice 0 * :a\r\n")
        await asyncio.wait_for(read.readuntil(b" 376 "), 5)
        block = f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{ALICE}'/></block></iq>"
        await bob.ask(block)
        write.write(f"PRIVMSG bob|{TWO} :Are you there?\r\n".encode())
        line = await asyncio.wait_for(read.readuntil(b"Not delivered"), 5)
        assert line.splitlines()[-1].startswith(f":bob|{TWO}!".encode())
        assert b"NOTICE alice :" in line.splitlines()[-1]
        await read.readline()
        links = pair.apps[ONE].xmpp.servers.links
        await pair.apps[TWO].stop()
        del pair.apps[TWO]
        await links.settled()
        write.write(f"PRIVMSG bob|{TWO} :And now?\r\n".encode())
        line = await asyncio.wait_for(read.readuntil(b"Not delivered"), 5)
        assert "cannot be reached" in (await read.readline()).decode()
        write.close()

    run(tmp_path, work)


def test_an_address_that_is_too_long_to_have_a_stand_in(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        await pair.client("alice", ONE)
        answers: list[str] = []

        class Back:
            def send(self, stanza: bytes, ours: str, to: Jid, original: Element | None = None) -> None:
                answers.append(stanza.decode())

        front = pair.apps[ONE].xmpp
        newcomers = Newcomers(front.accounts, front.monotonic)
        foreign = Foreign(front._doors, front.users, Back(), newcomers, front.foreigners, front.sessions.visitor)
        long = "b" * 250 + f"@{TWO}"
        attributes = {"from": long, "to": ALICE, "type": "get", "id": "i"}
        await foreign.deliver(Element("iq", CLIENT_NS, attributes, [Element("ping", "urn:xmpp:ping")]))
        await foreign.deliver(Element("iq", CLIENT_NS, {**attributes, "type": "result"}))
        (answer,) = answers
        assert f"to='{long}'" in answer and "<policy-violation " in answer

    run(tmp_path, work)


# -- the queue


class Nowhere:
    """A DNS that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        self.asked += 1
        await self.let.wait()
        raise RemoteFailed(name, "nobody knows")

    async def addresses(self, name: str) -> Sequence[str]:
        raise AssertionError(name)


TERMS = Terms(frozenset({"a.example"}), b"s", require_tls=True, dialback=True, stanza_bytes=10_000)


async def nobody(_: object) -> None:
    """What comes back, and who asks: nothing and nobody."""


class NoTls:
    verified = unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.mark.parametrize(("size", "fit"), [(10, MAX_QUEUED), (MAX_QUEUED_BYTES // 4, 4)])
def test_the_queue_is_bounded_and_failures_are_remembered(size: int, fit: int) -> None:
    async def work() -> None:
        names, now, back = Nowhere(), [1000.0], list[tuple[str | None, str]]()

        def bounced(stanza: Element, problem: Problem) -> None:
            back.append((stanza.get("id"), problem.condition))

        policy = AddressPolicy(())
        receiving = Receiving(Traffic(0, 0, 0), nobody, nobody, lambda: now[0])
        links = Links(TERMS, NoTls(), names, policy, receiving, bounced)

        def send(number: int) -> None:
            stanza = Element("message", CLIENT_NS, {"id": str(number)})
            links.send("a.example", "b.example", b"x" * size, stanza)

        for number in range(fit + 1):
            send(number)
        assert back == [(str(fit), "resource-constraint")]
        names.let.set()
        await links.settled()
        assert len(back) == fit + 1
        assert {condition for _, condition in back[1:]} == {"remote-server-not-found"}
        asked = names.asked
        send(9999)
        assert back[-1] == ("9999", "remote-server-not-found")
        assert names.asked == asked
        now[0] += FIRST_REST_S + 1
        send(10_000)
        await links.settled()
        assert names.asked > asked
        # The second time it takes longer.
        now[0] += FIRST_REST_S + 1
        asked = names.asked
        send(10_001)
        assert names.asked == asked
        await links.close()
        send(10_002)
        assert back[-1] == ("10002", "remote-server-timeout")

    asyncio.run(asyncio.wait_for(work(), 20))


class NarrowWay:
    """A stream that is open, of a server that takes small stanzas alone."""

    confirms, how, is_open, broke, takes = None, "external", True, False, 100

    def __init__(self) -> None:
        self.on_end: list[Callable[[], None]] = []
        self.written: list[bytes] = []

    def write(self, stanza: bytes, original: Element | None = None) -> None:
        self.written.append(stanza)

    def lost(self) -> list[Element]:
        return []


def test_what_is_larger_than_the_other_server_takes() -> None:
    """It would end the stream for everybody. spec: XEP-0478 4"""

    async def work() -> None:
        names, back, way = Nowhere(), list[str | None](), NarrowWay()

        def bounced(stanza: Element, problem: Problem) -> None:
            assert problem.condition == "policy-violation" and "b.example takes at most 100 bytes" in problem.text
            back.append(stanza.get("id"))

        receiving = Receiving(Traffic(0, 0, 0), nobody, nobody, lambda: 1000.0)
        links = Links(TERMS, NoTls(), names, AddressPolicy(()), receiving, bounced)

        def send(its_id: str, size: int) -> None:
            links.send("a.example", "b.example", b"x" * size, Element("message", CLIENT_NS, {"id": its_id}))

        for when in ("waiting", "open"):
            send(f"{when} small", 100)
            send(f"{when} large", 101)
            links.goes_back("a.example", "b.example", way)
        assert [len(stanza) for stanza in way.written] == [100, 100]
        assert back == ["waiting large", "open large"]
        names.let.set()
        await links.settled()
        await links.close()

    asyncio.run(asyncio.wait_for(work(), 20))
