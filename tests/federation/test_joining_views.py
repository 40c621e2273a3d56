"""Joining rooms of other servers from IRC and XMPP: what is said while they are asked, and afterwards.

spec: docs/mapping.md 3.2, 4.3, 4.10, 25
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.cross.world import IrcPerson, XmppPerson
from tests.federation.islands import Island, islands, make_room
from tests.federation.viewers import Elsewhere, Timers, connect, front_ends
from tests.support.middle import run
from tripoint.core.ids import RoomId, UserId
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.joining import MAX_PENDING
from tripoint.rooms.commands import Leave, SetTopic
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.frontend import XmppFrontEnd
from tripoint.xmpp.muc.joining import MAX_WAITING

MUC = "xmlns='http://jabber.org/protocol/muc'"
ROOM = "tea%a.org@rooms.b.org"


class Scene:
    """anna@a.org has the room #tea; alice@b.org is about to join it."""

    def __init__(
        self,
        one: Island,
        two: Island,
        room_id: RoomId,
        away: Elsewhere,
        timers: Timers,
        irc: IrcFrontEnd,
        xmpp: XmppFrontEnd,
    ) -> None:
        self.one = one
        self.two = two
        self.room_id = room_id
        self.away = away
        self.timers = timers
        self.irc = irc
        self.xmpp = xmpp
        self.alice = UserId("@alice:b.org")

    async def chatter(self, *caps: str) -> IrcPerson:
        person = IrcPerson(connect(self.irc))
        await person.log_in("alice", list(caps))
        return person

    async def jabberer(self) -> XmppPerson:
        person = XmppPerson(connect(self.xmpp), "b.org")
        await person.log_in("alice", [])
        return person

    async def answer(self, refused: Refused | None = None) -> None:
        """The other server answers, and everything that waits for it is done."""
        for _ in range(20):
            await asyncio.sleep(0)  # what was sent is on its way through the pipe
        self.away.refused = refused
        self.away.answers.set()
        await self.irc.settled()
        await self.xmpp.settled()
        self.away.answers.clear()

    async def membership(self) -> str | None:
        return (await self.two.party.middle.reader.memberships(self.alice)).get(self.room_id)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with islands("a.org", "b.org") as (one, two):
        (host,) = await one.party.accounts("anna")
        await two.party.accounts("alice", "bob")
        room_id = await make_room(one, host, "12", "tea")
        await one.party.do(SetTopic(actor=host, room_id=room_id, topic="Kettle on"))
        away, timers = Elsewhere(two, one, room_id), Timers()
        async with front_ends(two, away, timers) as (irc, xmpp):
            yield Scene(one, two, room_id, away, timers, irc, xmpp)


JOINED = [
    ":alice!alice@b.org JOIN #tea:a.org",
    ":b.org 332 alice #tea:a.org :Kettle on",
    ":b.org 353 alice @ #tea:a.org :~anna:a.org alice",
    ":b.org 366 alice #tea:a.org :End of /NAMES list",
    ":b.org NOTICE alice :[#tea:a.org] History is kept here (joined): members read what was said while they were here",
]


def without_times(lines: list[str]) -> list[str]:
    return [line for line in lines if " 333 " not in line]


def test_irc_hears_nothing_until_the_room_is_joined() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            await alice.send("JOIN #tea:a.org\r\nJOIN #TEA:a.org\r\nAWAY :tea")
            assert [line.split()[1] for line in await alice.pending()] == ["306"]
            assert at.away.asked == ["#tea:a.org"]
            await at.answer()
            assert without_times(await alice.pending()) == JOINED
            at.timers.move(10)
            assert await alice.pending() == []
            await alice.send("PRIVMSG #tea:a.org :hello\r\nJOIN #tea:a.org")
            assert await alice.pending() == []
            assert at.two.outgoing[-1].content["body"] == "hello"

    run(work)


def test_irc_is_told_after_five_seconds_that_it_waits() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter("standard-replies")
            await alice.send("JOIN #tea:a.org")
            await alice.pending()
            at.timers.move(4.9)
            assert await alice.pending() == []
            at.timers.move(0.1)
            note = ":b.org NOTE JOIN PENDING #tea:a.org :Asking a.org; you will be in the channel when it has answered"
            assert await alice.pending() == [note]
            await at.answer()
            assert without_times(await alice.pending()) == JOINED

    run(work)


def test_a_label_is_answered_at_once_and_what_follows_has_none() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter("standard-replies", "labeled-response", "batch")
            await alice.send("@label=one JOIN #tea:a.org")
            (note,) = await alice.pending()
            assert note.startswith("@label=one :b.org NOTE JOIN PENDING #tea:a.org ")
            await at.answer()
            assert without_times(await alice.pending()) == JOINED

    run(work)


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (Refusal.REMOTE_TIMEOUT, ":b.org 437 alice #tea:a.org :The other server did not answer in time"),
        (Refusal.NOT_INVITED, ":b.org 473 alice #tea:a.org :You need an invitation to enter this room"),
        (Refusal.ROOM_INCOMPATIBLE, ":b.org 403 alice #tea:a.org :This server does not know the version of that room"),
    ],
)
def test_irc_hears_why_it_is_not_let_in(refusal: Refusal, line: str) -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            await alice.send("JOIN #tea:a.org")
            await at.answer(Refused(refusal))
            assert await alice.pending() == [line]
            # Nothing is left of it: it can be tried again.
            await alice.send("JOIN #tea:a.org")
            await at.answer()
            assert without_times(await alice.pending()) == JOINED

    run(work)


def test_a_name_that_is_none_there_makes_no_channel_here() -> None:
    async def work() -> None:
        async with scene() as at:
            alice, jabberer = await at.chatter(), await at.jabberer()
            await alice.send("JOIN #coffee:a.org")
            await jabberer.send(f"<presence to='coffee%a.org@rooms.b.org/alice'><x {MUC}/></presence>")
            await at.answer()
            assert await alice.pending() == [":b.org 403 alice #coffee:a.org :There is no such room"]
            (error,) = await jabberer.pending()
            assert "<item-not-found " in error
            assert await at.two.party.middle.reader.memberships(at.alice) == {}

    run(work)


def test_a_part_before_the_room_is_joined_comes_after_it() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            await alice.send("JOIN #tea:a.org\r\nPART #tea:a.org :changed my mind")
            assert await alice.pending() == []
            await at.answer()
            lines = without_times(await alice.pending())
            assert lines == [*JOINED, ":alice!alice@b.org PART #tea:a.org :changed my mind"]
            assert await at.membership() == "leave"

    run(work)


def test_the_join_goes_on_without_the_client() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            await alice.send("JOIN #tea:a.org")
            await alice.pending()
            await alice.send("QUIT")
            with pytest.raises(EOFError):
                while True:
                    await alice.next()
            await at.answer()
            assert await at.membership() == "join"
            again = IrcPerson(connect(at.irc))
            await again.log_in("alice", [])
            assert without_times(await again.pending()) == JOINED[:-1]

    run(work)


def test_a_guest_that_is_gone_joins_nothing() -> None:
    async def work() -> None:
        async with scene() as at:
            guest = IrcPerson(connect(at.irc))
            await guest.come_as_guest("zoe", [])
            await guest.send("JOIN #tea:a.org")
            await guest.pending()
            await guest.send("QUIT")
            with pytest.raises(EOFError):
                while True:
                    await guest.next()
            await at.answer()
            assert at.two.party.middle.loaded.peek(at.room_id) is None

    run(work)


def test_nobody_waits_for_any_number_of_rooms() -> None:
    async def work() -> None:
        async with scene() as at:
            alice, jabberer = await at.chatter("standard-replies"), await at.jabberer()
            for number in range(MAX_PENDING + 1):
                await alice.send(f"JOIN #r{number}:a.org")
            (line,) = await alice.pending()
            assert line.startswith(f":b.org FAIL JOIN RATE_LIMITED #r{MAX_PENDING}:a.org ")
            for number in range(MAX_WAITING + 1):
                await jabberer.send(f"<presence to='r{number}%a.org@rooms.b.org/alice'><x {MUC}/></presence>")
            (error,) = await jabberer.pending()
            assert f"from='r{MAX_WAITING}%a.org@rooms.b.org/alice'" in error
            assert "<resource-constraint " in error
            await at.answer()

    run(work)


def test_what_others_say_of_it_never_asks_another_server() -> None:
    """MODE, NAMES, PRIVMSG and INVITE of a room that we are not in are answered from here."""

    async def work() -> None:
        async with scene() as at:
            alice = await at.chatter()
            await alice.send("MODE #tea:a.org\r\nPRIVMSG #tea:a.org :hi\r\nPART #tea:a.org\r\nNAMES #tea:a.org")
            assert [line.split()[1] for line in await alice.pending()] == ["403", "403", "403", "366"]
            assert at.away.asked == []

    run(work)


def test_xmpp_enters_when_the_room_is_joined() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            await alice.send(f"<presence id='p' to='{ROOM}/Allie'><x {MUC}/></presence>")
            assert await alice.pending() == []
            at.timers.move(54.9)
            assert await alice.pending() == []
            await at.answer()
            host, own, subject = await alice.pending()
            assert f"from='{ROOM}/anna'" in host
            assert "jid='anna%a.org@matrix.b.org'" in host
            assert f"from='{ROOM}/alice'" in own
            assert "<status code='110'/>" in own
            assert "<subject>Kettle on</subject>" in subject
            at.timers.move(60)
            assert await alice.pending() == []

    run(work)


def test_xmpp_is_told_to_come_again_and_then_invited() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            await alice.send(f"<presence id='p' to='{ROOM}/alice'><x {MUC}/></presence>")
            await alice.pending()
            at.timers.move(55)
            (error,) = await alice.pending()
            assert f"<presence type='error' id='p' from='{ROOM}/alice'" in error
            assert "type='wait'><remote-server-timeout " in error
            await at.answer()
            (invitation,) = await alice.pending()
            assert invitation.startswith(f"<message from='{ROOM}' to='alice@b.org/desk'><x ")
            assert f"xmlns='jabber:x:conference' jid='{ROOM}'" in invitation
            assert await at.membership() == "join"
            await alice.send(f"<presence to='{ROOM}/alice'><x {MUC}/></presence>")
            assert len(await alice.pending()) == 3

    run(work)


def test_xmpp_that_left_meanwhile_is_not_shown_the_room() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            await alice.send(
                f"<presence to='{ROOM}/alice'><x {MUC}/></presence><presence type='unavailable' to='{ROOM}/alice'/>"
            )
            assert await alice.pending() == []
            await at.answer()
            assert await alice.pending() == []
            assert await at.membership() == "join"

    run(work)


@pytest.mark.parametrize(
    ("refusal", "condition"),
    [
        (Refusal.REMOTE_TIMEOUT, "type='wait'><remote-server-timeout "),
        (Refusal.NOT_INVITED, "type='auth'><registration-required "),
    ],
)
def test_xmpp_hears_why_it_is_not_let_in(refusal: Refusal, condition: str) -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            await alice.send(f"<presence id='p' to='{ROOM}/alice'><x {MUC}/></presence>")
            await at.answer(Refused(refusal))
            (error,) = await alice.pending()
            assert f"from='{ROOM}/alice'" in error
            assert f"<x {MUC}/>" in error
            assert condition in error

    run(work)


def test_a_client_that_asks_what_the_room_is_does_not_wait_for_the_answer() -> None:
    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            for number, room in enumerate((ROOM, "coffee%a.org@rooms.b.org")):
                query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
                await alice.send(f"<iq type='get' id='{number}' to='{room}'>{query}</iq>")
            assert await alice.pending() == []
            await at.answer()
            known, unknown = sorted(await alice.pending())[::-1]
            assert "type='result' id='0'" in known
            assert "<identity category='conference' type='text' name='#tea:a.org'/>" in known
            assert "<item-not-found " in unknown

    run(work)


def test_a_room_is_found_by_its_name_while_its_server_is_gone() -> None:
    """A member comes back to a room of another server without asking it; the last to leave can ask again."""

    async def work() -> None:
        async with scene() as at:
            alice = await at.jabberer()
            await alice.send(f"<presence to='{ROOM}/alice'><x {MUC}/></presence>")
            await at.answer()
            await alice.pending()
            await alice.send(f"<presence type='unavailable' to='{ROOM}/alice'/>")
            await alice.send(f"<presence to='{ROOM}/alice'><x {MUC}/></presence>")
            assert len(await alice.pending()) == 4
            chatter = await at.chatter()
            assert without_times(await chatter.pending()) == JOINED[:-1]
            assert at.away.asked == ["#tea:a.org"]
            # docs/mapping.md 21.8: the last local member leaves; what was heard stays, and nobody listens.
            await at.two.party.do(Leave(actor=at.alice, room_id=at.room_id))
            assert (await chatter.pending())[-1] == ":alice!alice@b.org PART #tea:a.org"
            assert "type='unavailable'" in (await alice.pending())[-1]
            assert not at.two.party.middle.hub.is_watched(at.room_id)
            page = await at.two.party.middle.loaded.get(at.room_id)
            assert page.membership(at.alice) == "leave"

    run(work)
