"""Servers read rooms that they share: questions on one side, endpoints on the other, everything but the socket.

spec: Matrix server-server-api "Retrieving events", "Backfilling and retrieving missing events"
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
import pytest

from tests.federation.islands import Island, bring_in, islands, make_room
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.event import parse_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.room_version import RoomVersion
from tripoint.matrix import refusals
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.federation.pdus import PduCheck
from tripoint.matrix.federation.questions import Questions
from tripoint.matrix.federation.reading import ReadingEndpoints
from tripoint.matrix.keys.document import VerifyKey
from tripoint.matrix.registry import Call, Router
from tripoint.net.http import Request
from tripoint.rooms.accept import Verdict
from tripoint.rooms.catch_up import CatchUp
from tripoint.rooms.commands import Leave, Redact, SendState
from tripoint.rooms.refusals import Refused


class Ring:
    """Every island's key."""

    def __init__(self, servers: list[Island]) -> None:
        self._keys = {island.name: island.signer.key for island in servers}

    async def keys(
        self, server: ServerName, key_ids: Collection[str], minimum_valid_until_ts_ms: int
    ) -> Mapping[str, VerifyKey]:
        key = self._keys[server]
        return {key.key_id: VerifyKey(key.key_id, key.verify_key_b64, 10**15)} if key.key_id in key_ids else {}


class Neighbour:
    """The federation client of one island towards another: straight into its endpoints."""

    def __init__(self, asking: Island, asked: Island) -> None:
        self._origin = asking.name
        self._router = Router()
        self._router.add(ReadingEndpoints(asked.party.middle.serving, asked.name, asked.party.clock.ms))

    async def answer(self, method: str, target: str, content: JsonObject | None = None) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        body = b"" if content is None else orjson.dumps(content)
        request = Request(method, path, query.encode(), [], body, "127.0.0.1")
        try:
            _, handler, parameters = self._router.find(method, path)
            response = await handler(Call(request, parameters, None, origin=self._origin))
        except MatrixError as error:
            response = error.response()
        except Refused as refused:
            response = refusals.of_room(refused).response()
        return response.status, orjson.loads(response.body)

    async def request(
        self, destination: ServerName, method: str, target: str, content: JsonObject | None = None, **limits: Any
    ) -> JsonObject:
        status, answer = await self.answer(method, target, content)
        if status != 200:
            raise RemoteFailed(destination, f"{status} {answer}")
        assert isinstance(answer, dict)
        return answer


async def pair(servers: list[Island]) -> tuple[RoomId, UserId, UserId, Questions, Neighbour]:
    one, two = servers[:2]
    alice, bob = await one.party.account("alice"), await two.party.account("bob")
    room_id = await make_room(one, alice, "12")
    await bring_in(one, two, bob, room_id)
    one.outgoing.clear()

    async def version_of(room_id: RoomId) -> RoomVersion:
        return (await two.party.middle.loaded.get(room_id)).version

    neighbour = Neighbour(two, one)
    return room_id, alice, bob, Questions(neighbour, PduCheck(Ring(servers)), version_of), neighbour


@pytest.mark.parametrize("missed", [3, 160])
def test_a_gap_is_filled_over_the_endpoints(missed: int) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, _, asking, _ = await pair(servers)
            for number in range(missed):
                content = {"topic": str(number)}
                await servers[0].party.do(
                    SendState(actor=alice, room_id=room_id, type="m.room.topic", state_key="", content=content)
                )
            await servers[0].party.say(alice, room_id, "last")
            middle = servers[1].party.middle
            catching = CatchUp(middle.loaded, middle.accept, middle.outliers, middle.store, asking)
            last = servers[0].outgoing[-1]
            copy = parse_event(last.json, last.version)
            assert await catching.take(copy, servers[0].name) is Verdict.ACCEPTED
            assert await servers[0].state(room_id) == await servers[1].state(room_id)

    run(work)


def test_events_states_and_chains_are_those_of_the_room() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, alice, _, _, neighbour = await pair(servers)
            before = set((await servers[0].state(room_id)).values())
            said = [await servers[0].party.say(alice, room_id, str(n)) for n in range(3)]
            base, room = "/_matrix/federation/v1", room_id.replace("!", "%21")
            status, answer = await neighbour.answer("GET", f"{base}/event/{said[1]}")
            assert (status, answer["origin"], len(answer["pdus"])) == (200, "a.org", 1)
            assert answer["pdus"][0]["content"]["body"] == "1"
            _, answer = await neighbour.answer("GET", f"{base}/state_ids/{room}?event_id={said[0]}")
            assert set(answer["pdu_ids"]) == before
            assert set(answer["auth_chain_ids"]) <= before | {EventId(i) for i in answer["auth_chain_ids"]}
            _, whole = await neighbour.answer("GET", f"{base}/state/{room}?event_id={said[0]}")
            assert len(whole["pdus"]) == len(before)
            assert {"origin", "auth_events"} & whole["pdus"][0].keys()
            _, answer = await neighbour.answer("GET", f"{base}/event_auth/{room}/{said[2]}")
            assert {pdu["type"] for pdu in answer["auth_chain"]} >= {"m.room.member", "m.room.power_levels"}
            _, answer = await neighbour.answer("GET", f"{base}/backfill/{room}?v={said[2]}&limit=2")
            assert [pdu["content"]["body"] for pdu in answer["pdus"]] == ["2", "1"]
            body = {"earliest_events": [said[0]], "latest_events": [said[2]], "limit": 10}
            _, answer = await neighbour.answer("POST", f"{base}/get_missing_events/{room}", body)
            assert [pdu["content"]["body"] for pdu in answer["events"]] == ["1"]

    run(work)


def test_who_is_not_in_the_room_learns_nothing() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org", "c.org") as servers:
            room_id, alice, bob, _, neighbour = await pair(servers)
            said = await servers[0].party.say(alice, room_id, "inside")
            base, room = "/_matrix/federation/v1", room_id.replace("!", "%21")
            stranger = Neighbour(servers[2], servers[0])
            targets = (
                f"{base}/event/{said}",
                f"{base}/state/{room}?event_id={said}",
                f"{base}/state_ids/{room}?event_id={said}",
                f"{base}/event_auth/{room}/{said}",
                f"{base}/backfill/{room}?v={said}&limit=5",
            )
            for target in targets:
                status, answer = await stranger.answer("GET", target)
                assert (status, answer["errcode"]) == (403, "M_FORBIDDEN"), target
            body = {"earliest_events": [], "latest_events": [said]}
            status, _ = await stranger.answer("POST", f"{base}/get_missing_events/{room}", body)
            assert status == 403
            # Later than the join: of two that conflict in the same millisecond the event id decides.
            servers[1].party.clock.now += 1
            await servers[1].party.do(Leave(actor=bob, room_id=room_id))
            assert await servers[0].deliver(servers[1].outgoing[-1]) is Verdict.ACCEPTED
            for target in targets:
                assert (await neighbour.answer("GET", target))[0] == 403

    run(work)


def test_what_nobody_of_a_server_could_see_comes_without_its_words() -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            one, two = servers
            alice, bob = await one.party.account("alice"), await two.party.account("bob")
            room_id = await make_room(one, alice, "12")  # history from joining on, as IRC has it
            early = await one.party.say(alice, room_id, "before they came")
            await bring_in(one, two, bob, room_id)
            late = await one.party.say(alice, room_id, "with them here")
            neighbour = Neighbour(two, one)
            base = "/_matrix/federation/v1"
            _, answer = await neighbour.answer("GET", f"{base}/event/{early}")
            assert answer["pdus"][0]["content"] == {}
            _, answer = await neighbour.answer("GET", f"{base}/event/{late}")
            assert answer["pdus"][0]["content"]["body"] == "with them here"
            target = f"{base}/backfill/{room_id.replace('!', '%21')}?v={late}&limit=50"
            _, answer = await neighbour.answer("GET", target)
            assert "before they came" not in orjson.dumps(answer).decode()
            await one.party.do(Redact(actor=alice, room_id=room_id, event_id=EventId(late)))
            _, answer = await neighbour.answer("GET", f"{base}/event/{late}")
            assert answer["pdus"][0]["content"] == {}

    run(work)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "errcode"),
    [
        ("GET", "/event/$nothing", None, 404, "M_NOT_FOUND"),
        ("GET", "/state_ids/ROOM", None, 400, "M_MISSING_PARAM"),
        ("GET", "/state_ids/ROOM?event_id=$nothing", None, 404, "M_NOT_FOUND"),
        ("GET", "/state_ids/%21nowhere?event_id=$x", None, 404, "M_NOT_FOUND"),
        ("GET", "/backfill/ROOM?limit=5", None, 400, "M_MISSING_PARAM"),
        ("GET", "/backfill/ROOM?v=$x", None, 400, "M_MISSING_PARAM"),
        ("GET", "/backfill/ROOM?v=$x&limit=-1", None, 400, "M_INVALID_PARAM"),
        ("POST", "/get_missing_events/ROOM", {}, 400, "M_BAD_JSON"),
        ("POST", "/get_missing_events/ROOM", {"earliest_events": [1], "latest_events": []}, 400, "M_BAD_JSON"),
        (
            "POST",
            "/get_missing_events/ROOM",
            {"earliest_events": [], "latest_events": [], "limit": "many"},
            400,
            "M_BAD_JSON",
        ),
    ],
)
def test_bad_questions(method: str, path: str, body: Any, status: int, errcode: str) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as servers:
            room_id, _, _, _, neighbour = await pair(servers)
            target = "/_matrix/federation/v1" + path.replace("ROOM", room_id.replace("!", "%21"))
            got, answer = await neighbour.answer(method, target, body)
            assert (got, answer["errcode"]) == (status, errcode), answer

    run(work)
