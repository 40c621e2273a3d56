"""Spaces whose rooms are spread over servers. spec: Matrix GET /hierarchy of both APIs, GET /room_summary"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from tests.federation.servers import islands
from tests.federation.test_joining import ONE, TWO, account, make_room, rules
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.net.http import Request
from tripoint.rooms.commands import Invite, Join, SendState, SetAlias, Template
from tripoint.runtime.app import App

SPACE: dict[str, object] = {"creation_content": {"type": "m.space"}}


async def put_child(app: App, who: UserId, space: RoomId, child: RoomId, *via: str, **more: object) -> None:
    content: JsonObject = {"via": list(via), **more}  # type: ignore[dict-item]
    await app.middle.service.do(
        SendState(actor=who, room_id=space, type="m.space.child", state_key=child, content=content)
    )


async def ask(app: App, who: UserId | None, path: str, **query: str) -> tuple[int, Any]:
    """A request of a user's client."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if who is not None:
        name = who[1:].partition(":")[0]
        body = orjson.dumps(
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": name},
                "password": "correct horse",
            }
        )
        log_in = Request("POST", "/_matrix/client/v3/login", b"", (), body, "127.0.0.1", False)
        token = orjson.loads((await app.matrix.listener.handle(log_in)).body)["access_token"]
        headers = ((b"authorization", b"Bearer " + token.encode()),)
    request = Request("GET", path, urlencode(query).encode(), headers, b"", "127.0.0.1", False)
    answer = await app.matrix.listener.handle(request)
    return answer.status, orjson.loads(answer.body)


async def below(app: App, who: UserId, space: RoomId, **query: str) -> list[str]:
    status, body = await ask(app, who, f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy", **query)
    assert status == 200, body
    return [room["room_id"] for room in body["rooms"]]


def test_a_space_is_walked_over_two_servers(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            space = await make_room(one, alice, name="Top", **SPACE)
            tea, milk = await make_room(one, alice, name="Tea"), await make_room(one, alice, name="Milk")
            secret = await make_room(one, alice, template=Template.PRIVATE_CHAT)
            members = await make_room(one, alice, initial_state=rules("restricted", space))
            under = await make_room(one, alice, name="Under", **SPACE)
            deep = await make_room(one, alice, name="Deep")
            theirs = await make_room(two, bob, name="Theirs")
            await put_child(one, alice, space, milk, ONE, order="b")
            await put_child(one, alice, space, tea, ONE, order="a", suggested=True)
            await put_child(one, alice, space, secret, ONE, order="c")
            await put_child(one, alice, space, members, ONE, order="d")
            await put_child(one, alice, space, under, ONE, order="e")
            # What has no order comes last.
            await put_child(one, alice, space, theirs, TWO)
            await put_child(one, alice, under, deep, ONE, order="a")
            await put_child(one, alice, under, space, ONE)
            everything = [space, tea, milk, secret, members, under, deep, theirs]
            assert await below(one, alice, space) == everything
            assert await below(one, alice, space, suggested_only="true") == [space, tea]
            assert await below(one, alice, space, max_depth="1") == [r for r in everything if r != deep]
            # From another server, which is in none of these but its own: what anybody could enter.
            path = f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy"
            assert (await ask(two, bob, path))[0] == 403
            await two.middle.reader.resolve_alias(await named(one, alice, space))
            assert await below(two, bob, space) == [space, tea, milk, under, deep, theirs]
            # As a member of the space one may enter what its members may, and is shown it.
            await two.middle.service.do(Join(actor=bob, room_id=space))
            assert await below(two, bob, space) == [space, tea, milk, members, under, deep, theirs]
            await one.middle.service.do(Invite(actor=alice, room_id=secret, target=bob))
            status, body = await ask(two, bob, path, limit="2")
            assert [room["room_id"] for room in body["rooms"]] == [space, tea]
            status, body = await ask(two, bob, path, limit="10", **{"from": body["next_batch"]})
            # Whoever is invited is shown what for.
            assert [room["room_id"] for room in body["rooms"]] == [milk, secret, members, under, deep, theirs]
            assert "next_batch" not in body
            status, body = await ask(two, bob, path, **{"from": "h2.3.1"})
            assert (status, body["errcode"]) == (400, "M_INVALID_PARAM")

    run(work)


async def named(app: App, who: UserId, room_id: RoomId) -> RoomAlias:
    alias = RoomAlias(f"#space:{app.config.server.name}")
    await app.middle.service.do(SetAlias(actor=who, alias=alias, room_id=room_id))
    return alias


def test_a_room_is_summed_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            tea = await make_room(one, alice, name="Tea", topic="Kettle on", alias_localpart="tea")
            secret = await make_room(one, alice, template=Template.PRIVATE_CHAT)
            path = "/_matrix/client/v1/room_summary/"
            status, own = await ask(one, alice, path + quote(tea))
            assert (status, own["membership"], own["num_joined_members"]) == (200, "join", 1)
            status, seen = await ask(two, bob, path + quote(f"#tea:{ONE}"))
            assert (status, seen["name"], seen["topic"], seen["room_version"]) == (200, "Tea", "Kettle on", "12")
            assert "membership" not in seen and "children_state" not in seen
            status, seen = await ask(two, bob, path + quote(tea), via=ONE)
            assert (status, seen["room_id"]) == (200, tea)
            assert (await ask(two, bob, path + quote(secret), via=ONE))[0] == 404
            # Nobody in particular sees what anybody may enter, and has nobody asked.
            assert (await ask(one, None, path + quote(tea)))[0] == 200
            assert (await ask(two, None, path + quote(tea), via=ONE))[0] == 404

    run(work)
