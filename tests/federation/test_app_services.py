"""A user of an application service and people of another server: invited from there, before there is such a user, too.

spec: Matrix application-service-api "Querying", "Pushing events"; server-server-api "Inviting to a room"
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson

from tests.federation.servers import islands
from tests.federation.test_apps import say
from tests.federation.test_joining import ONE, TWO, account, make_room
from tests.support.app_service import TOKEN, Asked, registered
from tests.support.loopback_service import loopback_service
from tests.support.middle import run
from tripoint.config.options import Federation
from tripoint.core.ids import UserId
from tripoint.net.http import Request
from tripoint.rooms.commands import Invite
from tripoint.runtime.app import App

GHOST = UserId(f"@_irc_bob:{ONE}")


async def _ask(app: App, method: str, path: str, body: Any, query: str = "") -> Any:
    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    request = Request(method, f"/_matrix/client/v3{path}", query.encode(), headers, orjson.dumps(body), "127.0.0.1")
    response = await app.matrix.listener.handle(request)
    assert response.status == 200, response.body
    return orjson.loads(response.body)


def test_who_is_there_on_another_server_is_told(tmp_path: Path) -> None:
    """To the service that has somebody in a room with them, and to clients: in /sync, and where they ask."""

    async def work() -> None:
        async with loopback_service() as service:
            address = f"http://127.0.0.1:{service.port}"
            matrix = registered(tmp_path, url=address, receive_ephemeral=True).matrix
            told = Federation(presence=True)
            start: dict[str, dict[str, object]] = {
                ONE: {"matrix": matrix, "federation": told}, TWO: {"federation": told}
            }  # fmt: skip
            async with islands(tmp_path, ONE, TWO, start=start) as made:
                one, two = made.apps[ONE], made.apps[TWO]
                as_ghost = f"user_id={quote(GHOST)}"
                body = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
                await _ask(one, "POST", "/register", body)
                bob, carol = await account(two, "bob"), await account(two, "carol")
                room_id = await make_room(two, bob)
                await _ask(one, "POST", f"/join/{quote(room_id)}", {}, f"via={TWO}&{as_ghost}")
                before = (await _ask(one, "GET", "/sync", None, as_ghost))["next_batch"]
                await two.middle.reader.memberships(bob)
                two.middle.presence.set(carol, "phone", "online", "elsewhere")
                two.middle.presence.set(bob, "phone", "unavailable", "at tea")

                def heard() -> list[Any]:
                    return [e for e in service.passing() if e["type"] == "m.presence" and e["sender"] == bob]

                await service.until(heard)
                assert heard()[-1]["content"]["status_msg"] == "at tea"
                answer = await _ask(one, "GET", "/sync", None, f"since={before}&{as_ghost}")
                (event,) = answer["presence"]["events"]
                assert (event["sender"], event["content"]["presence"]) == (bob, "unavailable")
                answer = await _ask(one, "GET", f"/presence/{quote(bob)}/status", None, as_ghost)
                assert (answer["presence"], answer["status_msg"]) == ("unavailable", "at tea")

    run(work, timeout_s=60)


def test_somebody_of_another_server_invites_and_is_heard(tmp_path: Path) -> None:
    async def work() -> None:
        async with loopback_service() as service:
            matrix = registered(tmp_path, url=f"http://127.0.0.1:{service.port}").matrix
            async with islands(tmp_path, ONE, TWO, start={ONE: {"matrix": matrix}}) as made:
                one, two = made.apps[ONE], made.apps[TWO]

                async def made_so(asked: Asked) -> tuple[int, Any]:
                    if unquote(asked.path).endswith(f"/users/{GHOST}"):
                        body = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
                        await _ask(one, "POST", "/register", body)
                    return 200, {}

                service.answer = made_so
                bob = await account(two, "bob")
                room_id = await make_room(two, bob)
                await say(two, bob, room_id, "before it came")
                await two.middle.service.do(Invite(actor=bob, room_id=room_id, target=GHOST))
                await service.until(service.heard)
                (invited,) = service.heard()
                assert (invited["room_id"], invited["sender"], invited["state_key"]) == (room_id, bob, GHOST)
                assert invited["content"]["membership"] == "invite"
                await _ask(one, "POST", f"/join/{quote(room_id)}", {}, f"user_id={quote(GHOST)}")
                await say(two, bob, room_id, "hello from afar")
                await service.until(lambda: "hello from afar" in service.texts())
                assert service.texts() == ["hello from afar"], "and nothing of before"
                assert [e["content"]["membership"] for e in service.heard() if e.get("state_key") == GHOST] == [
                    "invite",
                    "join",
                ]

    run(work, timeout_s=60)
