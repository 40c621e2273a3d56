"""Which other domains are Matrix servers too: what has to agree, for how long it is believed. docs/mapping.md 1.6"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping

import pytest

from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import RoomAlias, ServerName, UserId
from tripoint.core.signing import SigningKey
from tripoint.matrix.keys.document import SAME_IDENTITY, make_key_document
from tripoint.xmpp.identities import NOT_S, PROVEN_S, Identities
from tripoint.xmpp.jid import (
    Domains,
    InvalidJid,
    SameServers,
    parse_any_user_jid,
    parse_jid,
    parse_room_jid,
    parse_user_jid,
    user_jid,
)
from tripoint.xmpp.s2s.actions import Send
from tripoint.xmpp.s2s.incoming import IncomingStream
from tripoint.xmpp.s2s.outgoing import OutgoingStream
from tripoint.xmpp.s2s.pairs import Terms

FAR = "far.example"


class Table:
    """rooms.ports.NameTable"""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]:
        return dict(self.rows)

    def put_name(self, kind: str, scope: str, key: str, value: str) -> None:
        self.rows[key] = value


class Town:
    """What the other side says; every question is counted."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table or Table()
        self.claim: bool | None = True  # None: it does not answer
        self.confirm: bool | None = True
        self.asked = 0
        self.now = 1000.0
        self.same = SameServers()
        self.tasks: list[asyncio.Task[None]] = []
        self.identities = Identities(
            self.same, self.table, self.claims, self.confirms, self.spawn, lambda: self.now
        )

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def claims(self, server: ServerName) -> bool:
        await asyncio.sleep(0)
        if self.claim is None:
            raise RemoteFailed(server, "it does not answer")
        return self.claim

    async def confirms(self, domain: str) -> bool | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.confirm


def run(work: Callable[[Town], Awaitable[None]]) -> None:
    async def main() -> None:
        await work(Town())

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("claim", [True, False, None])
@pytest.mark.parametrize("confirm", [True, False, None])
def test_both_have_to_say_so(claim: bool | None, confirm: bool | None) -> None:
    async def work(town: Town) -> None:
        town.claim, town.confirm = claim, confirm
        proven = claim is True and confirm is True
        assert await town.identities.look(FAR) is proven
        assert (FAR in town.same.names) is proven
        assert town.identities.is_known(FAR)

    run(work)


def test_it_is_asked_once_at_a_time_and_not_for_ever() -> None:
    async def work(town: Town) -> None:
        assert await asyncio.gather(*(town.identities.look(FAR) for _ in range(20))) == [True] * 20
        assert await town.identities.look(FAR) and town.asked == 1
        town.now += PROVEN_S + 1
        town.confirm = False
        assert not await town.identities.look(FAR)
        assert town.asked == 2 and not town.same.names
        town.now += NOT_S - 1
        assert not await town.identities.look(FAR) and town.asked == 2
        town.now += 2
        town.confirm = True
        assert await town.identities.look(FAR)

    run(work)


def test_who_does_not_answer_has_not_changed_their_mind() -> None:
    async def work(town: Town) -> None:
        assert await town.identities.look(FAR)
        town.now += PROVEN_S + 1
        town.confirm = None
        assert await town.identities.look(FAR)
        town.now += NOT_S + 1
        town.confirm, town.claim = True, None
        assert await town.identities.look(FAR)

    run(work)


def test_who_asks_does_not_wait_for_ever() -> None:
    async def work(town: Town) -> None:
        never = asyncio.Event()

        async def confirms(domain: str) -> bool | None:
            await never.wait()
            return True

        identities = Identities(town.same, town.table, town.claims, confirms, town.spawn, lambda: town.now)
        assert not await identities.look(FAR, 0)
        never.set()
        assert await identities.look(FAR)

    run(work)


def test_it_outlives_a_restart_and_ends_when_the_domain_says_so_no_more() -> None:
    async def work(town: Town) -> None:
        await town.identities.look(FAR)
        again = Town(town.table)
        await again.identities.start()
        assert again.same.names == {FAR}
        again.identities.connected(FAR, None)
        again.identities.connected("other.example", False)
        assert not again.tasks
        again.confirm = False
        again.identities.connected(FAR, False)
        await asyncio.gather(*again.tasks)
        assert not again.same.names
        third = Town(again.table)
        await third.identities.start()
        assert not third.same.names
        third.identities.connected(FAR, True)
        third.identities.connected(FAR, True)
        await asyncio.gather(*third.tasks)
        assert third.same.names == {FAR} and third.asked == 1

    run(work)


def test_addresses() -> None:
    domains = Domains.of(ServerName("example.org"))
    bob, room = parse_jid(f"bob@{FAR}"), parse_jid(f"tea@rooms.{FAR}/nick")
    stand_in = UserId(f"@_xmpp_bob=40{FAR}:example.org")
    assert parse_user_jid(bob, domains) is None
    assert parse_any_user_jid(bob, domains) == stand_in
    assert parse_room_jid(room, domains) is None
    assert user_jid(UserId(f"@bob:{FAR}"), domains) == f"bob%{FAR}@matrix.example.org"
    domains.same.names.add(ServerName(FAR))
    assert parse_user_jid(bob, domains) == parse_any_user_jid(bob, domains) == f"@bob:{FAR}"
    assert parse_room_jid(room, domains) == RoomAlias(f"#tea:{FAR}")
    assert user_jid(UserId(f"@bob:{FAR}"), domains) == f"bob@{FAR}"
    # What no address of a person there can be stays as it was; the other name is understood too.
    assert user_jid(UserId(f"@B!b:{FAR}"), domains).endswith("@matrix.example.org")
    assert parse_user_jid(parse_jid(f"bob%{FAR}@matrix.example.org"), domains) == f"@bob:{FAR}"
    assert parse_any_user_jid(parse_jid(f"bob@sub.{FAR}"), domains) == f"@_xmpp_bob=40sub.{FAR}:example.org"
    for local in ("!abc", "a%b.example"):
        assert parse_room_jid(parse_jid(f"{local}@rooms.{FAR}"), domains) is None
    with pytest.raises(InvalidJid):
        parse_room_jid(parse_jid(f"{'x' * 250}@rooms.{FAR}"), domains)


def test_the_keys_say_it() -> None:
    key, server = SigningKey("ed25519:a", bytes(32)), ServerName(FAR)
    assert SAME_IDENTITY not in make_key_document(server, key, [], 0)
    assert make_key_document(server, key, [], 0, same_identity=True)[SAME_IDENTITY] is True


def test_the_domain_says_it_inside_tls_of_its_people_alone() -> None:
    """Of the domain of rooms nothing is said, nor to who has not begun TLS; who connects reads it there alone."""
    names = frozenset({FAR, f"rooms.{FAR}"})
    terms = Terms(names, b"s", require_tls=False, dialback=True, stanza_bytes=10_000, identity=FAR)
    head = (
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
        "xmlns:db='jabber:server:dialback' from='here.example' version='1.0' to='{}'>"
    )
    for domain in sorted(names):
        for secure in (True, False):
            stream = IncomingStream(terms, lambda: "id", secure=secure)
            answer = b"".join(act.data for act in stream.receive(head.format(domain).encode()) if isinstance(act, Send))
            says = b"<identity xmlns='https://tripoint.dev/ns#same_identity'/>" in answer
            assert says is (secure and domain == FAR)
            out = OutgoingStream("here.example", domain, terms, secure=True)
            out.receive(answer)
            assert out.same_identity is says
    out = OutgoingStream("here.example", FAR, terms, secure=False)
    out.receive(
        b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='x'>"
        b"<stream:features><identity xmlns='https://tripoint.dev/ns#same_identity'/></stream:features>"
    )
    assert not out.same_identity
