"""What other servers answer: what passes as an event, and what does not.

spec: Matrix server-server-api "Validating hashes and signatures on received events"
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.event import Event, EventDraft, build_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.room_version import RoomVersion, get_room_version
from tripoint.core.signing import SigningKey
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.federation.questions import Questions
from tripoint.matrix.keys.document import VerifyKey

KEY = SigningKey("ed25519:a", bytes([7]) * 32)
OTHER = SigningKey("ed25519:a", bytes([8]) * 32)
THERE = ServerName("there.org")
ROOM = RoomId("!room:there.org")
V10 = get_room_version("10")


class Ring:
    """Knows one key of one server, valid until a time."""

    def __init__(self, valid_until_ts_ms: int = 10_000) -> None:
        self.valid_until_ts_ms = valid_until_ts_ms
        self.asked: list[tuple[str, Sequence[str], int]] = []

    async def keys(
        self, server: ServerName, key_ids: Sequence[str], minimum_valid_until_ts_ms: int
    ) -> Mapping[str, VerifyKey]:
        self.asked.append((server, tuple(key_ids), minimum_valid_until_ts_ms))
        if server != THERE or KEY.key_id not in key_ids:
            return {}
        return {KEY.key_id: VerifyKey(KEY.key_id, KEY.verify_key_b64, self.valid_until_ts_ms)}


def message(
    body: str = "hello", *, key: SigningKey = KEY, sender: str = "@a:there.org", ts_ms: int = 5000, version: str = "10"
) -> Event:
    return build_event(
        EventDraft("m.room.message", UserId(sender), {"body": body}),
        get_room_version(version),
        room_id=ROOM,
        prev_events=[EventId("$prev")],
        auth_events=[EventId("$auth")],
        depth=3,
        origin_server_ts=ts_ms,
        server=THERE,
        key=key,
    )


def pdu(event: Event) -> JsonObject:
    value: JsonObject = orjson.loads(event.json)
    return value


def test_a_good_event_passes_as_it_is() -> None:
    async def work() -> None:
        event = message()
        ring = Ring()
        assert await PduCheck(ring).check(pdu(event), V10) == event
        assert ring.asked == [("there.org", ("ed25519:a",), 5000)]

    run(work)


def test_a_changed_event_is_redacted_and_a_changed_signature_dropped() -> None:
    async def work() -> None:
        check = PduCheck(Ring())
        changed = {**pdu(message()), "content": {"body": "something else"}}
        event = await check.check(changed, V10)
        assert event.content == {}
        assert event.event_id == message().event_id
        for bad in (
            pdu(message(key=OTHER)),
            {**pdu(message()), "depth": 4},
            {**pdu(message()), "signatures": {}},
            {**pdu(message()), "sender": "@a:other.org"},
            {"type": "m.room.message"},
            [],
            "text",
            None,
        ):
            with pytest.raises(PeerError):
                await check.check(bad, V10)  # type: ignore[arg-type]
        good = pdu(message())
        assert [e.event_id for e in await check.check_all([None, good, {}], V10)] == [message().event_id]

    run(work)


def test_a_key_counts_while_it_was_valid_from_version_5_on() -> None:
    async def work() -> None:
        check = PduCheck(Ring(valid_until_ts_ms=4999))
        with pytest.raises(PeerError):
            await check.check(pdu(message()), V10)
        old = message(version="4")
        assert (await check.check(pdu(old), get_room_version("4"))).event_id == old.event_id

    run(work)


class Answers:
    """A server's answers by (method, target without its query)."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, JsonObject | None]] = []

    async def request(
        self, destination: ServerName, method: str, target: str, content: JsonObject | None = None, **limits: Any
    ) -> JsonObject:
        self.asked.append((method, target, content))
        name = target.split("?")[0].split("/")[4]
        answer = self.answers.get(name)
        if answer is None:
            raise RemoteFailed(destination, "404")
        found = answer(target) if callable(answer) else answer
        assert isinstance(found, dict)
        return found


def questions(answers: Answers) -> Questions:
    async def version_of(room_id: RoomId) -> RoomVersion:
        return V10

    return Questions(answers, PduCheck(Ring()), version_of)


def test_questions_go_out_and_answers_come_back_as_the_specification_has_them() -> None:
    async def work() -> None:
        one, two = message("one"), message("two")
        answers = Answers(
            get_missing_events={"events": [pdu(one), {"nonsense": 1}, pdu(two)]},
            state_ids={"pdu_ids": ["$a"], "auth_chain_ids": ["$b", "$c"]},
            event=lambda target: {"pdus": [pdu(one)]},
        )
        asking = questions(answers)
        got = await asking.missing_events(THERE, ROOM, [EventId("$x")], [EventId("$y")], 20)
        assert [e.event_id for e in got] == [one.event_id, two.event_id]
        assert await asking.state_ids(THERE, ROOM, EventId("$e")) == (["$a"], ["$b", "$c"])
        # The second answer is another event than the one that was asked for.
        got = await asking.events(THERE, ROOM, [one.event_id, two.event_id])
        assert [e.event_id for e in got] == [one.event_id]
        assert answers.asked[0] == (
            "POST",
            "/_matrix/federation/v1/get_missing_events/%21room%3Athere.org",
            {"earliest_events": ["$x"], "latest_events": ["$y"], "limit": 20, "min_depth": 0},
        )
        assert answers.asked[1][:2] == (
            "GET",
            "/_matrix/federation/v1/state_ids/%21room%3Athere.org?event_id=%24e",
        )

    run(work)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"get_missing_events": {}, "state_ids": {"pdu_ids": []}},
        {"get_missing_events": {"events": "x"}, "state_ids": {"pdu_ids": ["no id"], "auth_chain_ids": []}},
        {"get_missing_events": {"events": None}, "state_ids": {"pdu_ids": [5], "auth_chain_ids": []}},
    ],
)
def test_answers_that_are_none(answers: dict[str, Any]) -> None:
    async def work() -> None:
        asking = questions(Answers(**answers))
        with pytest.raises(RemoteFailed):
            await asking.missing_events(THERE, ROOM, [], [], 20)
        with pytest.raises(RemoteFailed):
            await asking.state_ids(THERE, ROOM, EventId("$e"))
        assert await asking.events(THERE, ROOM, [EventId("$e")]) == []

    run(work)
