"""What application services are told, in what order, and what becomes of it when they do not answer.

spec: Matrix application-service-api "Pushing events", "Pushing ephemeral data", "Legacy routes"
"""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from tests.matrix.appservice.test_identity import GHOST, ask, ghost
from tests.matrix.client import Server, matrix, q
from tests.support.app_service import BOT, HS_TOKEN, URL, Asked, Service, registered
from tests.support.middle import reopened, run
from tripoint.core.ids import UserId
from tripoint.store.memory import MemoryStore
from tripoint.store.writes import PutMeta


async def enter(server: Server, room_id: str, user_id: str = GHOST) -> None:
    await ask(server, "POST", f"/join/{q(room_id)}", {}, user_id=user_id)


def test_rooms_of_its_users_are_heard_and_others_are_not(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            tea, other = await alice.create(preset="public_chat"), await alice.create(preset="public_chat")
            await alice.say(tea, "before it came")
            await enter(server, tea)
            await alice.say(other, "not for it")
            await alice.say(tea, "hello")
            await service.until(lambda: "hello" in service.texts())
            assert service.texts() == ["hello"]
            joined, said = service.heard()
            assert (joined["type"], joined["state_key"], joined["room_id"]) == ("m.room.member", GHOST, tea)
            assert set(said) == {"type", "sender", "event_id", "origin_server_ts", "content", "room_id"}
            first = service.transactions[0]
            assert first.method == "PUT" and first.path.startswith("/_matrix/app/v1/transactions/1.")
            assert first.authorization == f"Bearer {HS_TOKEN}" and "access_token" not in first.path
            # State comes with what it replaced.
            await alice.call("PUT", f"/rooms/{q(tea)}/state/m.room.topic", {"topic": "one"})
            await alice.call("PUT", f"/rooms/{q(tea)}/state/m.room.topic", {"topic": "two"})
            await service.until(lambda: any(e["content"].get("topic") == "two" for e in service.heard()))
            assert service.heard()[-1]["unsigned"]["prev_content"]["topic"] == "one"
            # What happens after it has gone is not for it; that it went is.
            await ask(server, "POST", f"/rooms/{q(tea)}/leave", {}, user_id=GHOST)
            await alice.say(tea, "after it went")
            await enter(server, other)
            await alice.say(other, "here it is")
            await service.until(lambda: "here it is" in service.texts())
            assert service.texts() == ["hello", "here it is"]
            assert [e["content"]["membership"] for e in service.heard() if e.get("state_key") == GHOST] == [
                "join",
                "leave",
                "join",
            ]

    run(work)


def test_who_is_invited_and_who_speaks_counts_too(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(invite=[GHOST])
            await service.until(service.heard)
            (invited,) = service.heard()
            assert (invited["content"]["membership"], invited["state_key"]) == ("invite", GHOST)
            # The sender's own rooms are the service's.
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", {"user_id": BOT})
            await ask(server, "POST", f"/join/{q(room_id)}", {})
            await alice.say(room_id, "to the bot")
            await service.until(lambda: "to the bot" in service.texts())

    run(work)


def test_rooms_and_names_in_namespaces(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        spaces: dict[str, Any] = {"aliases": [{"regex": "#log.*", "exclusive": False}], "rooms": []}
        async with matrix(registered(tmp_path, url=URL, namespaces=spaces), ask=service.ask) as server:
            alice = await server.register("alice")
            logged = await alice.create(room_alias_name="logged")
            await alice.say(await alice.create(room_alias_name="other"), "not heard")
            await alice.say(logged, "heard")
            await service.until(lambda: "heard" in service.texts())
            assert service.texts() == ["heard"]
        room = {"users": [], "rooms": [{"regex": "!.*", "exclusive": False}]}
        everywhere = Service()
        async with matrix(registered(tmp_path, url=URL, namespaces=room), ask=everywhere.ask) as server:
            alice = await server.register("alice")
            await alice.say(await alice.create(), "all of it")
            await everywhere.until(lambda: "all of it" in everywhere.texts())
            assert everywhere.heard()[0]["type"] == "m.room.create"

    run(work)


def test_what_was_not_answered_is_sent_again_as_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        service.gone = True
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            await enter(server, room_id)
            await alice.say(room_id, "one")
            await service.until(lambda: len(service.transactions) >= 2)
            await alice.say(room_id, "two")
            await service.until(lambda: len(service.transactions) >= 4)
            first = service.transactions[0]
            assert all(asked == first for asked in service.transactions), "the same, under the same id"
            service.gone = False
            await service.until(lambda: "two" in service.texts())
            assert service.texts() == ["one", "two"]
            assert server.front.bridges is not None and server.front.bridges.counts()["down"] == 0
            assert server.front.bridges.results()["failed"] >= 3

    run(work)


def test_nothing_is_lost_over_a_kill(tmp_path: Path) -> None:
    """The transaction that was on its way is sent again under its id, then what came while the server was down for the
    service; what was acknowledged does not come again."""

    async def work() -> None:
        service = Service()
        config = registered(tmp_path, url=URL)
        store = MemoryStore()
        killed = asyncio.Event()

        async def never(asked: Asked) -> tuple[int, Any]:
            await killed.wait()
            return 200, {}

        async with matrix(config, store, ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            await enter(server, room_id)
            await alice.say(room_id, "acknowledged")
            await service.until(lambda: "acknowledged" in service.texts())
            # What is before this is on disk, the acknowledgement too.
            await server.party.middle.stream.commit([PutMeta("x", "x")])
            service.answer = never
            await alice.say(room_id, "on its way")
            await service.until(lambda: "on its way" in service.texts())
            await alice.say(room_id, "not packed yet")
            # As a kill leaves it: what is on disk now, and nothing of what is in memory.
            left = reopened(store)
        before, again = service.transactions[-1], Service()
        async with matrix(config, left, ask=again.ask):
            await again.until(lambda: "not packed yet" in again.texts())
            assert (again.transactions[0].path, again.transactions[0].body) == (before.path, before.body)
            assert again.texts() == ["on its way", "not packed yet"]

    run(work)


def test_a_new_service_begins_with_now_and_then_misses_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        store, service = MemoryStore(), Service()
        without = registered(tmp_path, url=None)
        async with matrix(without, store, ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            await enter(server, room_id)
            await alice.say(room_id, "before it had an address")
            token = alice.token
            assert not service.asked
        left = reopened(store)
        async with matrix(registered(tmp_path, url=URL), left, ask=service.ask) as server:
            await _say(server, token, room_id, "one")
            await service.until(lambda: "one" in service.texts())
        async with matrix(registered(tmp_path, url=None), reopened(left)) as server:
            await _say(server, token, room_id, "while it was not there")
        async with matrix(registered(tmp_path, url=URL), reopened(left), ask=service.ask):
            await service.until(lambda: "while it was not there" in service.texts())
        assert service.texts() == ["one", "while it was not there"]

    run(work)


async def _say(server: Server, token: str, room_id: str, text: str) -> None:
    path = f"/_matrix/client/v3/rooms/{q(room_id)}/send/m.room.message/{q(text)}"
    response = await server.request("PUT", path, {"msgtype": "m.text", "body": text}, token=token)
    assert response.status == 200, response.body


def test_who_was_there_is_asked_of_the_past_where_it_has_changed(tmp_path: Path) -> None:
    """A service that was down hears what was said while its user was in the room, and no more."""

    async def work() -> None:
        store, service = MemoryStore(), Service()
        async with matrix(registered(tmp_path, url=URL), store, ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            token = alice.token
        left = reopened(store)
        async with matrix(registered(tmp_path, url=None), left) as server:
            await _say(server, token, room_id, "too early")
            await enter(server, room_id)
            await _say(server, token, room_id, "inside")
            await ask(server, "POST", f"/rooms/{q(room_id)}/leave", {}, user_id=GHOST)
            await _say(server, token, room_id, "in between")
            await enter(server, room_id)
            await _say(server, token, room_id, "inside again")
            await ask(server, "POST", f"/rooms/{q(room_id)}/leave", {}, user_id=GHOST)
            await _say(server, token, room_id, "too late")
            await ghost(server, "_irc_end")
            await enter(server, room_id, "@_irc_end:example.org")
        async with matrix(registered(tmp_path, url=URL), reopened(left), ask=service.ask):
            await service.until(lambda: any(e.get("state_key") == "@_irc_end:example.org" for e in service.heard()))
            assert service.texts() == ["inside", "inside again"]

    run(work)


def test_many_events_go_in_several_transactions(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        service.gone = True
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            await enter(server, room_id)
            for number in range(250):
                await alice.say(room_id, f"{number}")
            large = [await alice.say(room_id, "x" * 60_000) for _ in range(20)]
            service.gone = False
            await service.until(lambda: len(service.heard()) == 271)
            assert [text for text in service.texts() if len(text) < 10] == [str(n) for n in range(250)]
            assert len(large) == 20
            bodies = {asked.path: asked.body for asked in service.transactions}.values()
            assert all(len(body["events"]) <= 100 for body in bodies)
            assert sum(len(e["content"].get("body", "")) > 10 for e in list(bodies)[-1]["events"]) < 17

    run(work)


def test_blocked_people_and_the_shadow_banned_are_not_heard(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice, bob, mallory = [await server.register(name) for name in ("alice", "bob", "mallory")]
            await ghost(server)
            room_id = await alice.create(preset="public_chat")
            await enter(server, room_id)
            for other in (bob, mallory):
                await other.join(room_id)
            ignored = {"ignored_users": {bob.user_id: {}}}
            await ask(server, "PUT", f"/user/{q(GHOST)}/account_data/m.ignored_user_list", ignored, user_id=GHOST)
            await server.party.middle.accounts.administration.set_shadow_banned(UserId(mallory.user_id), True)
            await bob.say(room_id, "blocked")
            await mallory.say(room_id, "banned")
            await alice.say(room_id, "fine")
            await service.until(lambda: "fine" in service.texts())
            assert service.texts() == ["fine"]

    run(work)


def test_what_is_in_no_history(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=URL, receive_ephemeral=True), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            tea, other = await alice.create(preset="public_chat"), await alice.create(preset="public_chat")
            await enter(server, tea)
            event_id = await alice.say(tea, "hello")
            for room_id in (other, tea):
                path = f"/rooms/{q(room_id)}/typing/{q(alice.user_id)}"
                await alice.call("PUT", path, {"typing": True, "timeout": 9000})
            await service.until(lambda: any(e["type"] == "m.typing" for e in service.passing()))
            typing = [e for e in service.passing() if e["type"] == "m.typing"]
            assert typing == [{"type": "m.typing", "room_id": tea, "content": {"user_ids": [alice.user_id]}}]
            # Private receipts of others are nobody's business; its own users' are its.
            await alice.call("POST", f"/rooms/{q(tea)}/receipt/m.read.private/{q(event_id)}", {})
            await alice.call("POST", f"/rooms/{q(tea)}/receipt/m.read/{q(event_id)}", {"thread_id": "main"})
            path = f"/rooms/{q(tea)}/receipt/m.read.private/{q(event_id)}"
            await ask(server, "POST", path, {}, user_id=GHOST)

            def receipts() -> list[Any]:
                return [e for e in service.passing() if e["type"] == "m.receipt"]

            await service.until(lambda: len(receipts()) == 2)
            kinds = {kind: list(users) for e in receipts() for kind, users in e["content"][event_id].items()}
            assert kinds == {"m.read": [alice.user_id], "m.read.private": [GHOST]}
            assert all(e["room_id"] == tea for e in receipts())
            status = {"presence": "unavailable", "status_msg": "tea"}
            await alice.call("PUT", f"/presence/{q(alice.user_id)}/status", status)
            await service.until(lambda: any(e["content"].get("status_msg") == "tea" for e in service.passing()))
            presence = next(e for e in service.passing() if e["content"].get("status_msg") == "tea")
            assert (presence["type"], presence["sender"]) == ("m.presence", alice.user_id)
            assert presence["content"]["presence"] == "unavailable" and "room_id" not in presence

    run(work)


def test_who_does_not_ask_for_it_hears_events_alone(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            tea = await alice.create(preset="public_chat")
            await enter(server, tea)
            await alice.call("PUT", f"/rooms/{q(tea)}/typing/{q(alice.user_id)}", {"typing": True, "timeout": 9000})
            await alice.say(tea, "hello")
            await service.until(lambda: "hello" in service.texts())
            assert all(set(asked.body) == {"events"} for asked in service.transactions)

    run(work)


def test_old_services_are_reached_by_the_old_path(tmp_path: Path) -> None:
    """spec: "Legacy routes": and the new ones are tried again now and then."""

    async def work() -> None:
        service = Service()

        async def old(asked: Asked) -> tuple[int, Any]:
            return (404, {"errcode": "M_UNRECOGNIZED"}) if asked.path.startswith("/_matrix/") else (200, {})

        service.answer = old
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            await ghost(server)
            tea = await alice.create(preset="public_chat")
            await enter(server, tea)
            await service.until(lambda: len(service.transactions) == 2)
            new, legacy = service.transactions
            assert new.path.startswith("/_matrix/app/v1/transactions/1.")
            assert legacy.path == new.path.removeprefix("/_matrix/app/v1") + f"?access_token={HS_TOKEN}"
            assert legacy.authorization == f"Bearer {HS_TOKEN}" and legacy.body == new.body
            await alice.say(tea, "one")
            await service.until(lambda: len(service.transactions) == 3)
            assert service.transactions[2].path.startswith("/transactions/2.")
            server.party.clock.now += 3601
            await alice.say(tea, "two")
            await service.until(lambda: len(service.transactions) == 5)
            assert service.transactions[3].path.startswith("/_matrix/app/v1/transactions/3.")

    run(work)


def test_two_services_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def work() -> None:
        up, down = Service("http://up.example"), Service("http://down.example")
        down.gone = True
        more = {
            "id": "log",
            "url": down.url,
            "as_token": "another-token",
            "sender_localpart": "logbot",
            "namespaces": {"rooms": [{"regex": "!.*", "exclusive": False}]},
        }

        async def either(method: str, url: str, body: bytes = b"", **named: Any) -> Any:
            return await (up if url.startswith(up.url) else down).ask(method, url, body, **named)

        async with matrix(registered(tmp_path, more, url=up.url), ask=either) as server:
            alice = await server.register("alice")
            await ghost(server)
            tea = await alice.create(preset="public_chat")
            await enter(server, tea)
            await alice.say(tea, "hello")
            await up.until(lambda: "hello" in up.texts())
            down.gone = False
            await down.until(lambda: "hello" in down.texts())

    run(work)


def test_a_ping_says_whether_the_service_is_reached(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        quiet = {"id": "quiet", "url": None, "as_token": "q", "sender_localpart": "q", "namespaces": {}}
        async with matrix(registered(tmp_path, quiet, url=URL), ask=service.ask) as server:

            async def ping(name: str = "irc", token: str = "the-token-of-the-service", body: Any = None) -> Any:
                path = f"/_matrix/client/v1/appservice/{name}/ping"
                response = await server.request("POST", path, body or {"transaction_id": "meow"}, token=token)
                return response.status, orjson.loads(response.body)

            status, answer = await ping()
            assert status == 200 and answer["duration_ms"] >= 0
            assert service.asked[-1] == Asked(
                "POST", "/_matrix/app/v1/ping", {"transaction_id": "meow"}, f"Bearer {HS_TOKEN}"
            )

            async def refuses(asked: Asked) -> tuple[int, Any]:
                return 403, {"errcode": "M_FORBIDDEN"}

            service.answer = refuses
            status, answer = await ping()
            assert (status, answer["errcode"], answer["status"]) == (502, "M_BAD_STATUS", 403)
            assert answer["body"] == '{"errcode":"M_FORBIDDEN"}'
            service.gone = True
            assert (await ping())[1]["errcode"] == "M_CONNECTION_FAILED"
            assert (await ping("quiet", "q"))[1]["errcode"] == "M_URL_NOT_SET"
            assert (await ping("quiet"))[0] == 403
            alice = await server.register("alice")
            assert (await ping(token=alice.token))[0] == 403
            assert (await ping(body={"transaction_id": 7}))[1]["errcode"] == "M_INVALID_PARAM"

    run(work)
