"""Paging through a history of 300 messages, every way, without gap or overlap.

spec: IRCv3 chathistory; docs/mapping.md 11.11, 14.1, 14.2
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from tests.irc.server import Client, TestServer, serve
from tripoint.core.ids import EventId, RoomAlias, RoomId, UserId
from tripoint.rooms.commands import Redact, SendEvent, SendState
from tripoint.runtime.middle import clock_ms

CAPS = ("message-tags", "server-time", "batch", "draft/chathistory", "standard-replies")
LINE = re.compile(r"@batch=\S+?;time=([^;]+);msgid=([^; ]+)\S* :\S+ (?:PRIVMSG|NOTICE) \S+ :(.*)")
MESSAGES = 300


class Told(tuple):
    """(time, msgid, text) of one line of history."""

    time = property(lambda self: self[0])
    msgid = property(lambda self: self[1])
    text = property(lambda self: self[2])


async def ask(client: Client, words: str) -> list[Told]:
    """The messages in the batch that answers `CHATHISTORY words`."""
    lines = await client.answer(f"CHATHISTORY {words}")
    assert re.fullmatch(r":\S+ BATCH \+\S+ chathistory \S+", lines[0]), lines
    assert re.fullmatch(r":\S+ BATCH -\S+", lines[-1]), lines
    found = [LINE.fullmatch(line) for line in lines[1:-1]]
    assert all(found), lines
    return [Told(match.groups()) for match in found if match is not None]


async def room_of(server: TestServer, alias: str = "#tea:example.org") -> RoomId:
    room_id = await server.middle.reader.resolve_alias(RoomAlias(alias))
    assert room_id is not None
    return room_id


def user(name: str) -> UserId:
    return UserId(f"@{name}:example.org")


async def say(server: TestServer, name: str, text: str, **more: object) -> str:
    content = {"msgtype": "m.text", "body": text, **more}
    command = SendEvent(actor=user(name), room_id=await room_of(server), type="m.room.message", content=content)
    done = await server.middle.service.do(command)
    assert done.event_id is not None
    return done.event_id


async def channel(server: TestServer, *names: str) -> list[Client]:
    """These people in #tea."""
    clients = []
    for name in names:
        client = await server.account(name, *CAPS)
        await client.answer("JOIN #tea")
        clients.append(client)
    return clients


def run(work: Callable[[TestServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serve() as server:
            await work(server)

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.fixture(scope="module")
def told() -> tuple[list[str], dict[str, list[Told]]]:
    """The texts that are to be read, and what every way of paging found of them."""
    pages: dict[str, list[Told]] = {}
    kept: list[str] = []

    async def work(server: TestServer) -> None:
        (alice,) = await channel(server, "alice")
        room_id = await room_of(server)
        ids = []
        for number in range(MESSAGES):
            if number % 25 == 7:
                # What says nothing on IRC stands in between, and is not counted.
                state = {"topic": f"t{number}"}
                await server.middle.service.do(
                    SendState(
                        actor=user("alice"), room_id=room_id, type="m.room.topic", state_key="", content=state
                    )
                )
            ids.append(await say(server, "alice", f"m{number}"))
        # A whole stretch longer than a page is redacted, and some others: first and last among them.
        gone = {0, MESSAGES - 1, *range(100, 160), *range(5, MESSAGES, 40)}
        for number in gone:
            await server.middle.service.do(Redact(actor=user("alice"), room_id=room_id, event_id=ids[number]))
        kept.extend(f"m{number}" for number in range(MESSAGES) if number not in gone)
        await alice.answer("PING after")
        for limit in (1, 7, 50, 100):
            backward: list[Told] = await ask(alice, f"LATEST #tea * {limit}")
            page = backward
            while page:
                assert len(page) <= limit
                page = await ask(alice, f"BEFORE #tea msgid={backward[0].msgid} {limit}")
                backward = page + backward
            pages[f"LATEST, BEFORE {limit}"] = backward
            if limit == 1:
                continue
            forward: list[Told] = await ask(alice, f"AFTER #tea timestamp=2000-01-01T00:00:00.000Z {limit}")
            page = forward
            while page:
                page = await ask(alice, f"AFTER #tea msgid={forward[-1].msgid} {limit}")
                forward += page
            pages[f"AFTER {limit}"] = forward
            first, last = backward[0], backward[-1]
            between = [first]
            while page := await ask(alice, f"BETWEEN #tea msgid={between[-1].msgid} msgid={last.msgid} {limit}"):
                between += page
            pages[f"BETWEEN {limit}"] = [*between, last]
            between = [last]
            while page := await ask(alice, f"BETWEEN #tea msgid={between[0].msgid} msgid={first.msgid} {limit}"):
                between = page + between
            pages[f"BETWEEN backwards {limit}"] = [first, *between]
        # A redacted message is still a place.
        for gap in (120, 159, 100):
            older = await ask(alice, f"BEFORE #tea msgid={ids[gap]} 100")
            newer = await ask(alice, f"AFTER #tea msgid={ids[gap]} 100")
            assert older[-1].text == "m99" and newer[0].text == "m160"
        around = await ask(alice, f"AROUND #tea msgid={ids[200]} 11")
        texts = [line.text for line in around]
        assert len(texts) == 11 and "m200" in texts
        assert texts == kept[kept.index(texts[0]) :][:11]
        assert [line.text for line in await ask(alice, f"AROUND #tea msgid={ids[200]} 1")] == ["m200"]
        at_end = [line.text for line in await ask(alice, f"AROUND #tea msgid={ids[MESSAGES - 2]} 10")]
        assert at_end == kept[-len(at_end) :] and len(at_end) >= 5
        assert [line.text for line in await ask(alice, f"LATEST #tea msgid={ids[290]} 100")] == [
            text for text in kept if int(text[1:]) > 290
        ]
        assert [line.text for line in await ask(alice, f"LATEST #tea msgid={ids[250]} 3")] == kept[-3:]

    run(work)
    return kept, pages


def test_every_way_of_paging_finds_everything_once(told: tuple[list[str], dict[str, list[Told]]]) -> None:
    kept, pages = told
    assert len(pages) == 13
    for way, lines in pages.items():
        assert [line.text for line in lines] == kept, way
        assert len({line.msgid for line in lines}) == len(kept), way


def test_times_are_bounds_that_are_not_included() -> None:
    async def work(server: TestServer) -> None:
        (alice,) = await channel(server, "alice")
        for text in "abcde":
            await say(server, "alice", text)
            now = clock_ms()
            while clock_ms() == now:  # the server's clock is real: no two are said in one millisecond
                pass
        await alice.answer("PING x")
        a, b, c, d, e = await ask(alice, "LATEST #tea * 100")
        for words, wanted in [
            (f"BEFORE #tea timestamp={c.time} 10", "ab"),
            (f"AFTER #tea timestamp={c.time} 10", "de"),
            (f"LATEST #tea timestamp={c.time} 10", "de"),
            (f"BETWEEN #tea timestamp={a.time} timestamp={e.time} 10", "bcd"),
            (f"BETWEEN #tea timestamp={a.time} timestamp={e.time} 2", "bc"),
            (f"BETWEEN #tea timestamp={e.time} timestamp={a.time} 2", "cd"),
            (f"BETWEEN #tea msgid={b.msgid} timestamp={e.time} 10", "cd"),
            (f"BETWEEN #tea timestamp={d.time} msgid={a.msgid} 10", "bc"),
            (f"BETWEEN #tea timestamp={c.time} timestamp={c.time} 10", ""),
            (f"BETWEEN #tea msgid={c.msgid} msgid={c.msgid} 10", ""),
            (f"AROUND #tea timestamp={c.time} 3", "bcd"),
            ("BEFORE #tea timestamp=1970-01-01T00:00:00.000Z 10", ""),
            ("AFTER #tea timestamp=9999-12-31T23:59:59.999Z 10", ""),
            ("AROUND #tea timestamp=9999-12-31T23:59:59.999Z 4", "de"),
        ]:
            assert "".join(line.text for line in await ask(alice, words)) == wanted, words

    run(work)


@pytest.mark.parametrize(("visibility", "wanted"), [("joined", "24"), ("shared", "1234"), ("world_readable", "1234")])
def test_who_left_and_came_back_reads_what_was_visible(visibility: str, wanted: str) -> None:
    async def work(server: TestServer) -> None:
        alice, _ = await channel(server, "alice", "carl")
        state = {"history_visibility": visibility}
        await server.middle.service.do(
            SendState(
                actor=user("alice"),
                room_id=await room_of(server),
                type="m.room.history_visibility",
                state_key="",
                content=state,
            )
        )
        await say(server, "alice", "1")
        (bob,) = await channel(server, "bob")
        await say(server, "alice", "2")
        await bob.answer("PART #tea")
        middle = await say(server, "alice", "3")
        refused = await bob.answer("CHATHISTORY LATEST #tea * 10")
        if visibility == "world_readable":
            assert "PRIVMSG #tea :3" in refused[-2]
        else:
            assert refused == [
                ":example.org FAIL CHATHISTORY INVALID_TARGET LATEST #tea "
                ":There is no such channel or nick, or none whose messages you may read"
            ]
        await bob.answer("JOIN #tea")
        await say(server, "alice", "4")
        await bob.answer("PING x")
        for words in ("LATEST #tea * 10", "BEFORE #tea timestamp=2040-01-01T00:00:00.000Z 10"):
            assert "".join(line.text for line in await ask(bob, words)) == wanted
        # One by one, over the gap.
        got: list[Told] = await ask(bob, "LATEST #tea * 1")
        while page := await ask(bob, f"BEFORE #tea msgid={got[0].msgid} 1"):
            got = page + got
        assert "".join(line.text for line in got) == wanted
        # What may not be seen is not there as a reference either.
        answer = await bob.answer(f"CHATHISTORY AFTER #tea msgid={middle} 10")
        assert ("MESSAGE_ERROR" in answer[0]) == (visibility == "joined")
        # A ban ends it, whatever others may read.
        await alice.answer("MODE #tea +b bob")
        refused = await bob.answer("CHATHISTORY LATEST #tea * 10")
        assert "INVALID_TARGET" in refused[-1], refused

    run(work)


def test_the_lines_of_a_message_stay_together_and_count() -> None:
    async def work(server: TestServer) -> None:
        (alice,) = await channel(server, "alice")
        await say(server, "alice", "short")
        await say(server, "alice", "\n".join(f"l{number}" for number in range(4)))
        await say(server, "alice", "end")
        await alice.answer("PING x")

        async def texts(words: str) -> list[str]:
            return [line.rpartition(":")[2] for line in (await alice.answer(f"CHATHISTORY {words}"))[1:-1]]

        assert await texts("LATEST #tea * 4") == ["end"]
        assert await texts("LATEST #tea * 5") == ["l0", "l1", "l2", "l3", "end"]
        assert await texts("AFTER #tea timestamp=2000-01-01T00:00:00.000Z 4") == ["short"]
        # One that is larger than what was asked for is still shown: else there would be no way past it.
        latest = await ask(alice, "LATEST #tea * 1")
        assert await texts(f"BEFORE #tea msgid={latest[0].msgid} 2") == ["l0", "l1", "l2", "l3"]

    run(work)


def test_a_client_is_not_played_to_unasked() -> None:
    """spec: chathistory: with the capability nothing is played back automatically."""

    async def work(server: TestServer) -> None:
        await channel(server, "alice")
        await say(server, "alice", "hello")
        again = await server.account("alice", *CAPS)
        assert not [line for line in await again.answer("PING x") if "PRIVMSG" in line]
        tokens = [line for line in await again.answer("VERSION") if " 005 " in line]
        assert any(" CHATHISTORY=100 " in line for line in tokens) and any(
            " MSGREFTYPES=msgid,timestamp " in line for line in tokens
        )
        assert any("draft/chathistory " in line for line in await again.answer("CAP LS 302"))

    run(work)


def test_encrypted_rooms_have_no_history_here() -> None:
    async def work(server: TestServer) -> None:
        (alice,) = await channel(server, "alice")
        await say(server, "alice", "hello")
        await server.middle.service.do(
            SendState(
                actor=user("alice"),
                room_id=await room_of(server),
                type="m.room.encryption",
                state_key="",
                content={"algorithm": "m.megolm.v1.aes-sha2"},
            )
        )
        assert "INVALID_TARGET" in (await alice.answer("CHATHISTORY LATEST #tea * 10"))[-1]
        targets = await alice.answer(
            "CHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2040-01-01T00:00:00.000Z 10"
        )
        assert not [line for line in targets if "TARGETS #tea" in line]

    run(work)


def test_a_guest_who_is_gone_has_no_account() -> None:
    """Else whoever reads account tags would take it for somebody who was logged in."""

    async def work(server: TestServer) -> None:
        alice = await server.account("alice", *CAPS, "account-tag")
        await alice.answer("JOIN #tea")
        await alice.answer("MODE #tea -R")
        guest = await server.guest("zoe")
        await guest.answer("JOIN #tea")
        guest.send("PRIVMSG #tea :hi", "QUIT :bye")
        await alice.until(" QUIT ")
        await server.front.settled()
        lines = await alice.answer("CHATHISTORY LATEST #tea * 10")
        assert "PRIVMSG #tea :hi" in lines[1] and "account=" not in lines[1]
        # It is shown under the nick that it had, which is free again.
        assert " :zoe!guest-1@guest.example.org PRIVMSG " in lines[1]
        assert "401" in (await alice.answer("PRIVMSG guest-1 :are you there"))[0]
        another = await server.guest("zoe")
        assert " :zoe!guest-1@guest.example.org PRIVMSG " in (await alice.answer("CHATHISTORY LATEST #tea * 10"))[1]
        await another.answer("JOIN #tea")

    run(work)


def test_what_was_said_last_is_told_of_many_conversations() -> None:
    async def work(server: TestServer) -> None:
        alice, bob = await channel(server, "alice", "bob")
        for number in range(5):
            await alice.answer(f"JOIN #c{number}")
            await alice.answer(f"PRIVMSG #c{number} :hello")
        await bob.answer("PRIVMSG alice :hello")
        await alice.answer("JOIN #empty")

        async def targets(words: str) -> list[str]:
            lines = await alice.answer(f"CHATHISTORY TARGETS {words}")
            assert " draft/chathistory-targets" in lines[0]
            return [line.split()[4] for line in lines[1:-1]]

        ever, later = "timestamp=2000-01-01T00:00:00.000Z", "timestamp=2100-01-01T00:00:00.000Z"
        assert await targets(f"{ever} {later} 100") == [*(f"#c{number}" for number in range(5)), "bob"]
        assert await targets(f"{ever} {later} 2") == ["#c0", "#c1"]
        assert await targets(f"{later} {ever} 2") == ["#c4", "bob"]
        assert await targets(f"{later} {later} 2") == []

    run(work)


def test_paging_holds_while_the_room_goes_on() -> None:
    """New messages come and old ones are redacted between two pages, the one that is paged from among them."""

    async def work(server: TestServer) -> None:
        (alice,) = await channel(server, "alice")
        room_id = await room_of(server)
        ids = [await say(server, "alice", f"m{number}") for number in range(100)]
        await alice.answer("PING x")
        got: list[Told] = await ask(alice, "LATEST #tea * 9")
        redacted: set[str] = set()
        page = got
        while page:
            anchor = page[0]
            for number in (int(anchor.text[1:]), int(anchor.text[1:]) - 2):
                if number >= 0:
                    redacted.add(f"m{number}")
                    await server.middle.service.do(
                        Redact(actor=user("alice"), room_id=room_id, event_id=EventId(ids[number]))
                    )
            await say(server, "alice", "later")
            await alice.answer("PING x")
            page = await ask(alice, f"BEFORE #tea msgid={anchor.msgid} 9")
            assert not redacted & {line.text for line in page}
            got = page + got
        texts = [line.text for line in got]
        assert len(set(texts)) == len(texts)
        assert texts == [f"m{number}" for number in range(100) if f"m{number}" in texts]
        # Missing are those alone that were redacted before their page was asked for.
        assert {f"m{number}" for number in range(100)} - set(texts) <= redacted
        forward: list[Told] = await ask(alice, "AFTER #tea timestamp=2000-01-01T00:00:00.000Z 9")
        while page := await ask(alice, f"AFTER #tea msgid={forward[-1].msgid} 9"):
            forward += page
        assert [line.text for line in forward if line.text != "later"] == [
            f"m{number}" for number in range(100) if f"m{number}" not in redacted
        ]

    run(work)
