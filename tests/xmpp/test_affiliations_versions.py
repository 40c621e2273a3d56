"""Versions of a room's list of affiliations: what a client is told between two visits, and that it can follow.

spec: XEP-0463 5.2, 6
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from tests.xmpp.server import Client, TestServer, serve
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms.commands import Ban, CreateRoom, Invite, Join, Leave, SetRanks, Template
from tripoint.xmpp.muc.affiliations import Affiliations
from tripoint.xmpp.muc.versions import KEPT, ToldVersions

ROOM = "tea@rooms.example.org"
ALIAS = RoomAlias("#tea:example.org")
MAV = "urn:xmpp:muc:affiliations:1"
ALICE, BOB, CAROL, DAVE = (UserId(f"@{name}:example.org") for name in ("alice", "bob", "carol", "dave"))


def play(work: Callable[[TestServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serve() as server:
            await work(server)

    asyncio.run(asyncio.wait_for(main(), 60))


class Follower:
    """What a client knows of the list by what it is sent. It is lost where a stanza does not follow the one before."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.known: dict[str, str] = {}
        self.lists = 0  # whole ones

    def hear(self, stanzas: list[str]) -> None:
        for text in stanzas:
            found = re.search(f"<mav xmlns='{MAV}'( since='([^']*)')? until='([^']*)'/>", text)
            if found is None:
                continue
            since, until = found.group(2), found.group(3)
            if since is not None:
                assert since == self.version, f"{text} does not follow {self.version}"
            elif text.startswith("<message"):
                self.known, self.lists = {}, self.lists + 1
            else:
                assert until == self.version, f"{text} is not of {self.version}"
                continue
            self.version = until
            for item in re.findall("<item [^>]*>", text):
                jid = re.search(r" jid='([^'/]*)", item).group(1)
                affiliation = re.search(" affiliation='([^']*)'", item).group(1)
                self.known.pop(jid, None)
                if affiliation not in ("none", "outcast"):
                    self.known[jid] = affiliation

    def asks(self) -> str:
        return f"<mav xmlns='{MAV}'/>" if self.version is None else f"<mav xmlns='{MAV}' since='{self.version}'/>"


async def make_room(server: TestServer, template: Template = Template.MUC) -> RoomId:
    await asyncio.gather(*(server.online(name) for name in ("alice", "bob", "carol", "dave")))
    made = await server.middle.service.do(CreateRoom(actor=ALICE, template=template, alias_localpart="tea"))
    assert made.room_id is not None
    return made.room_id


async def online(server: TestServer, name: str) -> Client:
    client = await server.online(name, "other")
    await client.skip()
    return client


def test_a_client_that_comes_back_hears_what_has_changed_while_nobody_was_there() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server)
        do = server.middle.service.do
        alice, follower = await online(server, "alice"), Follower()
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        assert follower.known == {"alice@example.org": "owner"} and follower.lists == 1
        await do(SetRanks(actor=ALICE, room_id=room_id, ranks=((BOB, Rank.OP), (CAROL, Rank.OP)), absent=True))
        follower.hear(await alice.skip())
        assert follower.known == {f"{one}@example.org": what for one, what in WITH_BOTH.items()}
        # What is as it was: nothing is said of it, but the version in one's own presence.
        alice.send(f"<presence type='unavailable' to='{ROOM}/alice'/>")
        await alice.skip()
        heard = await alice.join(ROOM, "alice", follower.asks())
        assert not any(text.startswith("<message") and MAV in text for text in heard)
        follower.hear(heard)
        alice.send(f"<presence type='unavailable' to='{ROOM}/alice'/>")
        await alice.skip()
        assert server.front.muc.view(room_id, ROOM) is None
        await do(SetRanks(actor=ALICE, room_id=room_id, ranks=((BOB, Rank.PLAIN),), absent=True))
        await do(Ban(actor=ALICE, room_id=room_id, target=CAROL))
        await do(Join(actor=DAVE, room_id=room_id))
        heard = await alice.join(ROOM, "alice", follower.asks())
        assert "dave@example.org' affiliation" not in heard[0]  # he is what he was
        follower.hear(heard)
        assert follower.known == {"alice@example.org": "owner"} and follower.lists == 1

    play(work)


WITH_BOTH = {"alice": "owner", "bob": "admin", "carol": "admin"}


def test_the_members_of_a_room_for_members_only_come_and_go() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server, Template.PRIVATE_CHAT)
        do = server.middle.service.do
        alice, follower = await online(server, "alice"), Follower()
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        await do(Invite(actor=ALICE, room_id=room_id, target=BOB))
        await do(Invite(actor=ALICE, room_id=room_id, target=CAROL))
        await do(Join(actor=CAROL, room_id=room_id))
        follower.hear(await alice.skip())
        assert follower.known == {f"{n}@example.org": a for n, a in IN_PRIVATE.items()}
        alice.send(f"<presence type='unavailable' to='{ROOM}/alice'/>")
        await alice.skip()
        await do(Leave(actor=CAROL, room_id=room_id))
        await do(Invite(actor=ALICE, room_id=room_id, target=DAVE))
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        assert follower.known == {f"{n}@example.org": a for n, a in AFTERWARDS.items()} and follower.lists == 1
        # Everybody is something else: one stanza after the other says so, and they follow each other.
        await alice.ask(configure("0"))
        await alice.ask(configure("1"))

    play(work)


IN_PRIVATE = {"alice": "owner", "bob": "member", "carol": "member"}
AFTERWARDS = {"alice": "owner", "bob": "member", "dave": "member"}


def configure(members_only: str) -> str:
    return (
        f"<iq type='set' id='c{members_only}' to='{ROOM}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
        "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_membersonly'>"
        f"<value>{members_only}</value></field></x></query></iq>"
    )


def test_a_room_that_is_opened_to_everybody_has_other_members_and_the_stanzas_follow_each_other() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server, Template.PRIVATE_CHAT)
        for who in (BOB, CAROL):
            await server.middle.service.do(Invite(actor=ALICE, room_id=room_id, target=who))
        await server.middle.service.do(Join(actor=BOB, room_id=room_id))
        alice, follower = await online(server, "alice"), Follower()
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        before, known = follower.version, dict(follower.known)
        alice.send(configure("0"))
        follower.hear(await alice.skip())
        assert follower.known == {"alice@example.org": "owner"}
        alice.send(configure("1"))
        follower.hear(await alice.skip())
        # The same list is the same version.
        assert follower.known == known and follower.version == before and follower.lists == 1

    play(work)


def test_who_was_not_there_at_that_version_is_refused_and_enters_all_the_same() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server)
        alice, follower = await online(server, "alice"), Follower()
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        await server.middle.service.do(SetRanks(actor=ALICE, room_id=room_id, ranks=((CAROL, Rank.OP),), absent=True))
        bob = await online(server, "bob")
        bob.send(
            f"<presence id='j' to='{ROOM}/bob'><x xmlns='http://jabber.org/protocol/muc'>{follower.asks()}</x></presence>"
        )
        await bob.expect(
            f"<message type='error' id='j' from='{ROOM}' to='bob@example.org/other'><error by='{ROOM}' type='auth'>"
            "<forbidden …</message>"
        )
        await bob.expect(f"<presence from='{ROOM}/alice'…")

    play(work)


def test_a_version_is_known_to_who_came_after_it_was_made() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server)
        alice = await online(server, "alice")
        await alice.join(ROOM, "alice")
        bob, follower = await online(server, "bob"), Follower()
        follower.hear(await bob.join(ROOM, "bob", follower.asks()))
        bob.send(f"<presence type='unavailable' to='{ROOM}/bob'/>")
        await bob.skip()
        await server.middle.service.do(SetRanks(actor=ALICE, room_id=room_id, ranks=((CAROL, Rank.OP),), absent=True))
        follower.hear(await bob.join(ROOM, "bob", follower.asks()))
        assert follower.known == {"alice@example.org": "owner", "carol@example.org": "admin"}
        assert follower.lists == 1

    play(work)


def test_a_long_list_is_several_messages_that_follow_each_other() -> None:
    async def work(server: TestServer) -> None:
        room_id = await make_room(server)
        many = tuple((UserId(f"@guest{number}:elsewhere.org"), Rank.OP) for number in range(450))
        alice, follower = await online(server, "alice"), Follower()
        follower.hear(await alice.join(ROOM, "alice", follower.asks()))
        await server.middle.service.do(SetRanks(actor=ALICE, room_id=room_id, ranks=many, absent=True))
        follower.hear(await alice.skip())
        assert len(follower.known) == 451
        other = Follower()
        heard = await alice.join(ROOM, "alice", other.asks())
        assert sum(text.startswith("<message") and MAV in text for text in heard) == 3
        other.hear(heard)
        assert other.known == follower.known and other.version == follower.version

    play(work)


class Names:
    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def load_names(self, kind: str, scope: str) -> dict[str, str]:
        return self.kept

    def put_name(self, kind: str, scope: str, key: str, value: str) -> None:
        self.kept[key] = value


def test_the_last_versions_are_kept_and_no_more() -> None:
    names, room_id = Names(), RoomId("!r:example.org")
    told = ToldVersions(room_id, names, ())
    for number in range(KEPT + 5):
        told.record(f"v{number % (KEPT + 3)}", number)
    assert len(names.kept) == KEPT
    again = ToldVersions(room_id, names, names.kept.values())
    for one in (told, again):
        assert one.times("v4") == [] and one.times("v5") == [(5, 6)]
        assert one.times("v1") == [(KEPT + 4, None)]  # the older time is forgotten
    again.record("v1", 1000)
    assert again.times("v1") == [(KEPT + 4, None)]


def test_a_version_says_what_the_list_is_and_not_how_it_came_about() -> None:
    async def work(server: TestServer) -> None:
        room = await server.middle.reader.room(await make_room(server))
        do = server.middle.service.do
        slow = Affiliations(b"secret", room.room_id, room)
        other = Affiliations(b"other secret", room.room_id, room)
        elsewhere = Affiliations(b"secret", RoomId("!other:example.org"), room)
        assert len({slow.version, other.version, elsewhere.version}) == 3
        await do(SetRanks(actor=ALICE, room_id=room.room_id, ranks=((BOB, Rank.OP), (CAROL, Rank.OWNER)), absent=True))
        slow.look(room, (CAROL, BOB))
        first = slow.take(CAROL)
        assert first == f"<mav xmlns='{MAV}' since='{other_version(first)}' until='{slow.version}'/>"
        assert slow.take(CAROL) == "" and slow.take(DAVE) == ""
        slow.take(BOB)
        assert slow.version == Affiliations(b"secret", room.room_id, room).version

    play(work)


def other_version(xml: str) -> str:
    found = re.search("since='([0-9a-f]{32})'", xml)
    assert found is not None
    return found.group(1)
