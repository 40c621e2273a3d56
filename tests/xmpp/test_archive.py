"""Paging through the archive of a room of 300 messages, both ways, without gap or overlap; what its fields mean.

spec: XEP-0313 4, 6.1.2; XEP-0059 2; docs/mapping.md 11.11, 14.1, 14.2
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xmpp.server import Client, TestServer, serve
from tripoint.core.ids import EventId, RoomAlias, RoomId, UserId
from tripoint.rooms.commands import CreateRoom, Join, Leave, Redact, SendEvent, SendState, Template
from tripoint.xmpp.archive_query import FIELDS, MAX_PAGE, ArchiveQuery, read_query
from tripoint.xmpp.dates import parse_date
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import DATA_FORMS_NS, MAM_NS, RSM_NS
from tripoint.xmpp.wire import CLIENT_NS, Element, escape_text, parse_fragment

ROOM = "tea@rooms.example.org"
MESSAGES = 300
# More than two pages of the server's largest size.
assert MESSAGES > 2 * MAX_PAGE


class Page:
    """What came of one query."""

    def __init__(self, results: list[str], answer: str) -> None:
        self.ids = [re.search(r"<result [^>]*\bid='([^']*)'", xml)[1] for xml in results]
        self.texts = [_text(xml) for xml in results]
        self.stamps = [re.search(r"stamp='([^']*)'", xml)[1] for xml in results]
        self.complete = "complete='true'" in answer
        first = re.search(r"<first>([^<]*)</first><last>([^<]*)</last>", answer)
        assert (first is None) == (not results), answer
        assert first is None or [first[1], first[2]] == [self.ids[0], self.ids[-1]]
        assert "<count>" not in answer and "index=" not in answer
        for xml, archive_id in zip(results, self.ids, strict=True):
            # The archive's id is the one that the message had live.
            assert f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='{archive_id}'/>" in xml


def _text(xml: str) -> str:
    """What was said; for a tombstone and for a retraction what they are."""
    for element in ("retracted", "retract"):
        if f"<{element} " in xml:
            return element
    return re.search(r"<body>([^<]*)</body>", xml)[1]


_number = 0


async def raw(client: Client, inside: str) -> tuple[list[str], str]:
    """The results and the answer of one query."""
    global _number
    _number += 1
    mark = f"mam{_number}"
    client.send(
        f"<iq type='set' id='{mark}' to='{ROOM}'><query xmlns='{MAM_NS}' queryid='{mark}'>{inside}</query></iq>"
    )
    results: list[str] = []
    while True:
        xml = await client.xml()
        if f" id='{mark}'" in xml and xml.startswith("<iq"):
            return results, xml
        if f"queryid='{mark}'" in xml:
            results.append(xml)


async def ask(client: Client, inside: str = "") -> Page:
    results, answer = await raw(client, inside)
    assert "<fin " in answer, answer
    return Page(results, answer)


def rsm(limit: int, inside: str = "") -> str:
    return f"<set xmlns='{RSM_NS}'><max>{limit}</max>{inside}</set>"


def form(**fields: str | list[str]) -> str:
    """A submitted form; `before_id` stands for before-id."""
    listed = ""
    for name, values in fields.items():
        inside = "".join(
            f"<value>{escape_text(value)}</value>" for value in ([values] if isinstance(values, str) else values)
        )
        listed += f"<field var='{name.replace('_', '-')}'>{inside}</field>"
    kind = f"<field var='FORM_TYPE' type='hidden'><value>{MAM_NS}</value></field>"
    return f"<x xmlns='{DATA_FORMS_NS}' type='submit'>{kind}{listed}</x>"


def user(name: str) -> UserId:
    return UserId(f"@{name}:example.org")


class Tea:
    """A room, and what is said in it from outside XMPP."""

    def __init__(self, server: TestServer, room_id: RoomId) -> None:
        self.do = server.middle.service.do
        self.room_id = room_id

    async def say(self, name: str, text: str) -> EventId:
        content = {"msgtype": "m.text", "body": text}
        command = SendEvent(actor=user(name), room_id=self.room_id, type="m.room.message", content=content)
        done = await self.do(command)
        assert done.event_id is not None
        return done.event_id

    async def show_history(self, visibility: str) -> None:
        await self.do(
            SendState(
                actor=user("alice"),
                room_id=self.room_id,
                type="m.room.history_visibility",
                state_key="",
                content={"history_visibility": visibility},
            )
        )


async def tea(server: TestServer) -> Tea:
    """#tea of alice."""
    await server.make_account("alice")
    done = await server.middle.service.do(
        CreateRoom(actor=user("alice"), template=Template.PUBLIC_CHAT, alias_localpart="tea")
    )
    assert done.room_id is not None
    assert await server.middle.reader.resolve_alias(RoomAlias("#tea:example.org")) == done.room_id
    return Tea(server, done.room_id)


def run(work: Callable[[TestServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serve() as server:
            await work(server)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_both_ways_through_300_messages() -> None:
    async def work(server: TestServer) -> None:
        room = await tea(server)
        ids = [await room.say("alice", f"m{number}") for number in range(MESSAGES)]
        gone = {0, MESSAGES - 1, *range(100, 160), *range(5, MESSAGES, 40)}
        for number in gone:
            await room.do(Redact(actor=user("alice"), room_id=room.room_id, event_id=ids[number]))
        kept = ["retracted" if number in gone else f"m{number}" for number in range(MESSAGES)]
        kept += ["retract"] * len(gone)
        # Nobody is in the room by XMPP: members need not enter to read.
        alice = await server.online("alice")
        for limit in (1, 7, 50, 100):
            page = await ask(alice, rsm(limit))
            forward = [page]
            while not page.complete:
                assert len(page.texts) == limit
                page = await ask(alice, rsm(limit, f"<after>{page.ids[-1]}</after>"))
                forward.append(page)
            assert [text for page in forward for text in page.texts] == kept
            page = await ask(alice, rsm(limit, "<before/>"))
            backward = [page]
            while not page.complete:
                assert len(page.texts) == limit
                page = await ask(alice, rsm(limit, f"<before>{page.ids[0]}</before>"))
                backward.insert(0, page)
            assert [text for page in backward for text in page.texts] == kept
            # The last page is known to be the last: there is no empty one behind it.
            assert all(page.texts for page in forward + backward)
        # What the server gives unasked, and at most.
        assert (await ask(alice)).texts == kept[:50]
        assert (await ask(alice, rsm(10_000))).texts == kept[:100]
        # A redacted message is still a place, with nothing of what it said.
        assert (await ask(alice, rsm(3, f"<after>{ids[158]}</after>"))).texts == ["retracted", "m160", "m161"]
        assert (await ask(alice, rsm(3, f"<before>{ids[101]}</before>"))).texts == ["m98", "m99", "retracted"]
        results, _ = await raw(alice, form(ids=[ids[120]]))
        assert len(results) == 1 and "<retracted " in results[0] and "m120" not in results[0]
        # Between two ids; the way of paging does not matter.
        between = form(after_id=ids[90], before_id=ids[163])
        wanted = kept[91:163]
        assert (await ask(alice, between + rsm(100))).texts == wanted
        page = await ask(alice, between + rsm(5, "<before/>"))
        assert page.texts == wanted[-5:] and not page.complete
        page = await ask(alice, between + rsm(5, f"<after>{page.ids[0]}</after>"))
        assert page.texts == wanted[-4:] and page.complete
        assert (await ask(alice, form(after_id=ids[163], before_id=ids[90]))).texts == []
        # By id, in the order of the archive; twice is once.
        some = [ids[200], ids[3], ids[50], ids[3]]
        page = await ask(alice, form(ids=some))
        assert page.texts == ["m3", "m50", "m200"] and page.complete
        page = await ask(alice, form(ids=some) + rsm(2, "<before/>"))
        assert page.texts == ["m50", "m200"] and not page.complete
        _, answer = await raw(alice, form(ids=[ids[3], "$nothing"]))
        assert "<item-not-found " in answer

    run(work)


def test_times_are_bounds_that_are_included() -> None:
    """spec: XEP-0313 4.1.2: "equal to or later than", "equal to or earlier than"."""

    async def work(server: TestServer) -> None:
        room = await tea(server)
        for text in "abcde":
            now = datetime.now(UTC)
            while datetime.now(UTC) - now < timedelta(milliseconds=2):  # the server's clock is real
                pass
            await room.say("alice", text)
        alice = await server.online("alice")
        a, b, c, d, e = (await ask(alice)).stamps
        for fields, wanted in [
            ({"start": c}, "cde"),
            ({"end": c}, "abc"),
            ({"start": b, "end": d}, "bcd"),
            ({"start": d, "end": b}, ""),
            ({"start": a, "end": e}, "abcde"),
            ({"start": c, "end": c}, "c"),
            ({"end": "2002-10-13T23:58:37Z"}, ""),
            ({"start": "2002-10-13T23:58:37+02:00", "end": "9999-12-31T23:59:59Z"}, "abcde"),
        ]:
            assert "".join((await ask(alice, form(**fields))).texts) == wanted, fields
            backward = await ask(alice, form(**fields) + rsm(2, "<before/>"))
            assert "".join(backward.texts) == wanted[-2:] and backward.complete == (len(wanted) <= 2)

    run(work)


def test_with_names_the_writer() -> None:
    """spec: XEP-0313 4.1.1"""

    async def work(server: TestServer) -> None:
        room = await tea(server)
        await server.make_account("bob")
        await room.do(Join(actor=user("bob"), room_id=room.room_id))
        for number in range(6):
            await room.say("alice" if number % 2 else "bob", str(number))
        alice = await server.online("alice")
        for who, wanted in [
            ("bob@example.org", "024"),
            ("bob@example.org/desk", "024"),
            (f"{ROOM}/alice", "135"),
            (ROOM, "012345"),
            ("carl@example.org", ""),
            (f"{ROOM}/carl", ""),
            ("bob@elsewhere.org", ""),
        ]:
            page = await ask(alice, form(**{"with": who}))
            assert "".join(page.texts) == wanted and page.complete, who
        page = await ask(alice, form(**{"with": "bob@example.org"}) + rsm(2, "<before/>"))
        assert page.texts == ["2", "4"] and not page.complete
        _, answer = await raw(alice, form(**{"with": "@"}))
        assert "<jid-malformed " in answer

    run(work)


@pytest.mark.parametrize(("visibility", "wanted"), [("joined", "24"), ("shared", "1234"), ("world_readable", "1234")])
def test_who_left_and_came_back_reads_what_was_visible(visibility: str, wanted: str) -> None:
    async def work(server: TestServer) -> None:
        room = await tea(server)
        await room.show_history(visibility)
        await room.say("alice", "1")
        bob = await server.online("bob")
        await room.do(Join(actor=user("bob"), room_id=room.room_id))
        await room.say("alice", "2")
        await room.do(Leave(actor=user("bob"), room_id=room.room_id))
        third = await room.say("alice", "3")
        results, answer = await raw(bob, "")
        if visibility == "world_readable":
            assert len(results) == 3
        else:
            assert not results and "<forbidden " in answer
        await room.do(Join(actor=user("bob"), room_id=room.room_id))
        await room.say("alice", "4")
        assert "".join((await ask(bob)).texts) == wanted
        page = await ask(bob, rsm(1, "<before/>"))
        got = page.texts
        while not page.complete:
            page = await ask(bob, rsm(1, f"<before>{page.ids[0]}</before>"))
            got = page.texts + got
        assert "".join(got) == wanted
        _, answer = await raw(bob, rsm(1, f"<after>{third}</after>"))
        assert ("<item-not-found " in answer) == (visibility == "joined")

    run(work)


def test_a_page_of_very_long_messages_ends_early() -> None:
    """What waits for one client stays within its send queue; paging goes on from there."""

    async def work(server: TestServer) -> None:
        room = await tea(server)
        ids = [await room.say("alice", f"{number} " + "\u00e4" * 30_000) for number in range(40)]
        alice = await server.online("alice")
        page = await ask(alice, rsm(100))
        got = list(page.texts)
        assert 1 < len(got) < 20
        while not page.complete:
            page = await ask(alice, rsm(100, f"<after>{page.ids[-1]}</after>"))
            got += page.texts
        assert [text.split()[0] for text in got] == [str(number) for number in range(40)]
        page = await ask(alice, form(ids=ids) + rsm(100, "<before/>"))
        assert 1 < len(page.texts) < 20 and not page.complete and page.ids[-1] == ids[-1]

    run(work)


# -- reading the request


def request(inside: str) -> Element:
    (query,) = parse_fragment(f"<query xmlns='{MAM_NS}'>{inside}</query>")
    return Element("iq", CLIENT_NS, {"type": "set", "id": "q"}, [query])


def test_an_empty_request_is_everything() -> None:
    assert read_query(request("")) == ArchiveQuery()


@pytest.mark.parametrize(
    "inside",
    [
        f"<x xmlns='{DATA_FORMS_NS}' type='submit'/>",
        f"<x xmlns='{DATA_FORMS_NS}' type='cancel'/>",
        form().replace(MAM_NS, "urn:xmpp:mam:1"),
        form(end="2010-13-07T00:00:00Z"),
        form(ids=[str(number) for number in range(MAX_PAGE + 1)]),
        rsm(1).replace("<max>1", "<max>-1"),
        rsm(1).replace("<max>1", "<max>"),
    ],
)
def test_what_cannot_be_read(inside: str) -> None:
    with pytest.raises(Problem):
        read_query(request(inside))


_values = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"))


@given(
    fields=st.dictionaries(st.sampled_from([*FIELDS, "FORM_TYPE", "other"]), st.lists(_values, max_size=3)),
    limit=_values | st.integers(-5, 10**12).map(str),
    ends=st.lists(st.tuples(st.sampled_from(["before", "after", "index", "max"]), _values), max_size=3),
)
def test_garbage_is_a_problem_or_a_query(
    fields: dict[str, list[str]], limit: str, ends: list[tuple[str, str]]
) -> None:
    inside = "".join(f"<{name}>{escape_text(value)}</{name}>" for name, value in [("max", limit), *ends])
    try:
        asked = read_query(request(form(**fields) + f"<set xmlns='{RSM_NS}'>{inside}</set>"))
    except Problem:
        return
    assert 0 <= asked.limit <= MAX_PAGE and len(asked.ids) <= MAX_PAGE


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-14, 14))
def test_dates_come_back(at: datetime, zone_h: int) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    sign, hours = "-" if zone_h < 0 else "+", abs(zone_h)
    text = f"{at.isoformat(timespec='milliseconds')}{sign}{hours:02}:00"
    ts_ms = parse_date(text)
    assert ts_ms is not None
    assert datetime(1970, 1, 1) + timedelta(milliseconds=ts_ms) == at - timedelta(hours=zone_h)


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = parse_date(text)
    assert found is None or isinstance(found, int)
