"""Finding people and the rooms shared with them; servers for calls; whom to ask about the server.

spec: Matrix client-server, modules "User directory", "Mutual rooms", "Voice over IP"; GET /.well-known/matrix/support
"""

import base64
import hashlib
import hmac
from typing import Any

import orjson

from tests.matrix.client import Client, Server, matrix
from tests.support.middle import run
from tripoint.core.turn import TurnServers, parse_turn_uri
from tripoint.matrix.client.server import ServerInfo

PRIVATE = {"preset": "private_chat"}
PUBLIC = {"preset": "public_chat"}


async def found(who: Client, term: str, limit: int | None = None) -> list[str]:
    body: dict[str, Any] = {"search_term": term}
    if limit is not None:
        body["limit"] = limit
    answer = await who.call("POST", "/user_directory/search", body)
    return [one["user_id"] for one in answer["results"]]


async def state(who: Client, room: str, kind: str, content: dict[str, str]) -> None:
    await who.call("PUT", f"/rooms/{room}/state/{kind}", content)


def test_who_is_found() -> None:
    """Those who share a room, and those in public or world-readable rooms; nobody else."""

    async def work() -> None:
        async with matrix() as server:
            alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
            assert await found(alice, "bob") == []
            room = await bob.create(**PRIVATE)
            assert await found(alice, "bob") == []
            await state(bob, room, "m.room.join_rules", {"join_rule": "public"})
            assert await found(alice, "bob") == [bob.user_id]
            await state(bob, room, "m.room.join_rules", {"join_rule": "invite"})
            assert await found(alice, "bob") == []
            await state(bob, room, "m.room.history_visibility", {"history_visibility": "world_readable"})
            assert await found(alice, "bob") == [bob.user_id]
            await state(bob, room, "m.room.history_visibility", {"history_visibility": "shared"})
            assert await found(alice, "bob") == []
            await bob.call("POST", f"/rooms/{room}/invite", {"user_id": alice.user_id})
            assert await found(alice, "bob") == []  # who is invited shares no room yet
            await alice.join(room)
            assert await found(alice, "bob") == [bob.user_id]
            assert await found(carol, "bob") == []
            await bob.call("POST", f"/rooms/{room}/leave", {})
            assert await found(alice, "bob") == []
            open_room = await bob.create(**PUBLIC)
            assert await found(alice, "bob") == [bob.user_id]
            await bob.call("POST", f"/rooms/{open_room}/leave", {})
            assert await found(alice, "bob") == []

    run(work)


def test_names_in_any_script_best_first() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            await alice.create(**PUBLIC)
            people = {}
            for name, shown in (
                ("anna", "Зоя Иванова"),
                ("bert", "田中太郎"),
                ("zo", None),
                ("zoe", "Zoë ZO"),
                ("carl", "Carl Zoom"),
            ):
                who = people[name] = await server.register(name)
                if shown is not None:
                    await who.call("PUT", f"/profile/{who.user_id}/displayname", {"displayname": shown})
                await who.create(**PUBLIC)
            assert await found(alice, "иван") == [people["anna"].user_id]
            assert await found(alice, "中太") == [people["bert"].user_id]
            # the whole name, then its beginning, then the beginning of a word
            order = [people[name].user_id for name in ("zo", "zoe", "carl")]
            assert await found(alice, "ZO") == order
            assert await found(alice, "@zoe:example.org") == [people["zoe"].user_id]
            answer = await alice.call("POST", "/user_directory/search", {"search_term": "zo", "limit": 2})
            assert answer == {
                "results": [
                    {"user_id": order[0], "display_name": "zo"},
                    {"user_id": order[1], "display_name": "Zoë ZO"},
                ],
                "limited": True,
            }
            assert await found(alice, "alice") == []  # oneself
            assert await found(alice, "   ") == []
            await server.party.middle.accounts.deactivate(people["zo"].user_id)  # type: ignore[arg-type]  # JSON is text
            assert await found(alice, "zo") == order[1:]
            for body in ({}, {"search_term": 3}, {"search_term": "x" * 256}, {"search_term": "x", "limit": "3"}):
                assert (await alice.refused("POST", "/user_directory/search", body))[0] == 400

    run(work)


def test_mutual_rooms() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = [await server.register(name) for name in ("alice", "bob")]
            rooms = sorted([await alice.create(**PUBLIC) for _ in range(3)])
            for room in rooms[:2]:
                await bob.join(room)

            async def ask(**query: str) -> tuple[int, Any]:
                response = await server.request(
                    "GET", "/_matrix/client/v1/mutual_rooms", token=alice.token, parameters=query
                )
                return response.status, orjson.loads(response.body)

            assert await ask(user_id="@bob:example.org") == (200, {"joined": rooms[:2], "count": 2})
            assert await ask(user_id="@bob:example.org", **{"from": rooms[0]}) == (
                200,
                {"joined": rooms[1:2], "count": 2},
            )
            assert await ask(user_id="@nobody:example.org") == (200, {"joined": [], "count": 0})
            for query in ({}, {"user_id": "bob"}, {"user_id": "@alice:example.org"}):
                assert (await ask(**query))[0] == 400
            assert (await ask(user_id="@bob:example.org", **{"from": "x"}))[0] == 400

    run(work)


def test_turn_credentials_that_the_turn_server_can_check() -> None:
    """spec: "TURN Credentials"; coturn's use-auth-secret: the password is HMAC-SHA1 of the name."""

    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            assert await alice.call("GET", "/voip/turnServer") == {}
        addresses = (
            "stun:turn.example.org",
            "turn:turn.example.org?transport=udp",
            "turns:[2001:db8::1]:443?transport=tcp",
        )
        parsed = [one for uri in addresses if (one := parse_turn_uri(uri)) is not None]
        async with matrix(turn=TurnServers(tuple(parsed), "s3cret", 600)) as server:
            alice = await server.register("alice")
            answer = await alice.call("GET", "/voip/turnServer")
            assert answer["uris"] == [
                "turn:turn.example.org:3478?transport=udp",
                "turns:[2001:db8::1]:443?transport=tcp",
            ]
            assert answer["ttl"] == 600
            assert "alice" not in answer["username"]
            expected = hmac.digest(b"s3cret", answer["username"].encode(), hashlib.sha1)
            assert base64.b64decode(answer["password"]) == expected

    run(work)


def test_whom_to_ask() -> None:
    """The contacts of XEP-0157, as far as Matrix has a form for them."""
    contacts = (
        ("admin", "mailto:admin@example.org?subject=chat"),
        ("abuse", "mailto:admin@example.org"),
        ("security", "https://matrix.to/#/%40ada%3Aexample.org"),
        ("admin", "matrix:u/ada:example.org"),
        ("support", "https://example.org/help"),
        ("admin", "xmpp:ada@example.org"),
    )

    async def work() -> None:
        info = ServerInfo("", contacts=contacts)
        response = await info.support(None)  # type: ignore[arg-type]  # it looks at no part of the call
        assert orjson.loads(response.body) == {
            "contacts": [
                {"role": "m.role.admin", "email_address": "admin@example.org"},
                {"role": "m.role.security", "matrix_id": "@ada:example.org"},
                {"role": "m.role.admin", "matrix_id": "@ada:example.org"},
            ],
            "support_page": "https://example.org/help",
        }
        async with matrix() as server:
            assert (await Server.request(server, "GET", "/.well-known/matrix/support")).status == 404

    run(work)
