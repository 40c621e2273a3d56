"""Other servers as administrators see them, over whole servers. docs/operate/administration.md"""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from tests.federation.servers import islands
from tests.support.middle import run
from tripoint.core.ids import RoomId, UserId
from tripoint.net.http import Request
from tripoint.rooms.commands import CreateRoom, Join, SendEvent, Template
from tripoint.runtime.app import App

ONE, TWO = "one.example", "two.example"
PASSWORD = "correct horse"


async def ask(app: App, token: str, method: str, path: str, query: bytes = b"") -> tuple[int, Any]:
    headers = ((b"authorization", f"Bearer {token}".encode()),)
    response = await app.matrix.listener.handle(
        Request(method, f"/_synapse/admin/v1/federation{path}", query, headers, b"", "127.0.0.1", True)
    )
    return response.status, orjson.loads(response.body)


async def say(app: App, actor: UserId, room_id: RoomId) -> None:
    content = {"msgtype": "m.text", "body": "hello"}
    await app.middle.service.do(SendEvent(actor=actor, room_id=room_id, type="m.room.message", content=content))


def test_servers_are_listed_and_tried_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            ada = await one.middle.accounts.add_account("ada", PASSWORD, admin=True)
            log_in = await one.middle.accounts.log_in(ada, protocol="matrix", tokens=True)
            token = log_in.access_token or ""
            bob = await two.middle.accounts.add_account("bob", PASSWORD, admin=False)
            room = (await one.middle.service.do(CreateRoom(actor=ada.user_id, template=Template.PUBLIC_CHAT))).room_id
            assert room is not None
            assert await ask(one, token, "GET", "/destinations") == (200, {"destinations": [], "total": 0})
            eve = await one.middle.accounts.add_account("eve", PASSWORD, admin=False)
            hers = (await one.middle.accounts.log_in(eve, protocol="matrix", tokens=True)).access_token or ""
            for method, path in (
                ("GET", "/destinations"),
                ("GET", f"/destinations/{TWO}"),
                ("GET", f"/destinations/{TWO}/rooms"),
                ("POST", f"/destinations/{TWO}/reset_connection"),
            ):
                assert (await ask(one, hers, method, path))[0] == 403
            assert (await ask(one, token, "GET", f"/destinations/{TWO}"))[0] == 404
            await two.middle.service.do(Join(actor=bob.user_id, room_id=room, via=(ada.user_id.partition(":")[2],)))  # type: ignore[arg-type]
            status, found = await ask(one, token, "GET", "/destinations")
            assert (status, [line["destination"] for line in found["destinations"]]) == (200, [TWO])
            assert found["destinations"][0]["failure_ts"] is None
            assert (await ask(one, token, "GET", "/destinations", b"destination=nobody"))[1]["total"] == 0
            status, rooms = await ask(one, token, "GET", f"/destinations/{TWO}/rooms")
            assert (status, [line["room_id"] for line in rooms["rooms"]], rooms["total"]) == (200, [room], 1)
            again = f"/destinations/{TWO}/reset_connection"
            assert (await ask(one, token, "POST", again))[0] == 400
            await made.stop(TWO)
            await say(one, ada.user_id, room)
            while one.traffic.sender.failing_since(TWO) is None:  # type: ignore[arg-type]  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            status, line = await ask(one, token, "GET", f"/destinations/{TWO}")
            assert status == 200 and line["failure_ts"] and line["retry_interval"] > 0
            await made.start(TWO)
            assert await ask(one, token, "POST", again) == (200, {})
            while one.traffic.sender.failing_since(TWO) is not None:  # type: ignore[arg-type]  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (await ask(one, token, "GET", f"/destinations/{TWO}"))[1]["failure_ts"] is None

    run(work)
