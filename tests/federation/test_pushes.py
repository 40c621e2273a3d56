"""Whole servers and a push gateway over HTTPS: a message, an invitation of another server, a restart.

spec: Matrix push-gateway-api; docs/decisions/push.md
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.federation.servers import ADDRESS, Islands
from tests.net.https import make_certificate
from tests.support.middle import run
from tripoint.accounts.pushers import Pusher
from tripoint.config.options import Tls
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms.commands import CreateRoom, Invite, Join, SendEvent, Template
from tripoint.runtime.app import App

ONE, TWO = "one.example", "two.example"


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for is in several places
        await asyncio.sleep(0.01)


async def account(app: App, name: str) -> UserId:
    return (await app.middle.accounts.register(name, "correct horse", address="127.0.0.1")).user_id


async def say(app: App, actor: UserId, room_id: RoomId, text: str) -> str:
    content = {"msgtype": "m.text", "body": text}
    done = await app.middle.service.do(
        SendEvent(actor=actor, room_id=room_id, type="m.room.message", content=content)
    )
    assert done.event_id is not None
    return done.event_id


def test_a_gateway_hears_of_messages_and_invitations(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "push.example")
    told: list[Any] = []
    status = b"200 OK"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if status.startswith(b"200"):
            told.append(orjson.loads(body)["notification"])
        answer = b'{"rejected":[]}'
        writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(answer)) + answer)
        await writer.drain()
        writer.close()

    async def work() -> None:
        nonlocal status
        gateway = await asyncio.start_server(serve, ADDRESS, 0, ssl=certificate.context())
        url = f"https://push.example:{gateway.sockets[0].getsockname()[1]}/_matrix/push/v1/notify"
        made = Islands(tmp_path, (ONE, TWO))
        made.make_certificates()
        trusted = (*(str(tmp_path / name / "self-made.crt") for name in (ONE, TWO)), str(certificate.path))
        tls = Tls(extra_authorities=trusted)
        one, two = await made.start(ONE, tls=tls), await made.start(TWO, tls=tls)
        try:
            alice, bob, carol = await account(one, "alice"), await account(one, "bob"), await account(two, "carol")
            accounts = one.middle.accounts
            found = await accounts.account(bob)
            assert found is not None
            device = (await accounts.log_in(found, protocol="matrix", tokens=True)).device_id
            settings: Any = {"data": {"url": url}, "lang": "en"}
            await accounts.pushers.set(Pusher(bob, "app", "key", device, settings, 1, 0), append=False)
            done = await one.middle.service.do(CreateRoom(actor=alice, template=Template.PUBLIC_CHAT))
            room_id = done.room_id
            assert room_id is not None
            await one.middle.service.do(Join(actor=bob, room_id=room_id))
            first = await say(one, alice, room_id, "hello")
            await until(lambda: first in [one.get("event_id") for one in told])
            # Of a room that this server is not in.
            far = (await two.middle.service.do(CreateRoom(actor=carol, template=Template.PRIVATE_CHAT))).room_id
            assert far is not None
            await two.middle.service.do(Invite(actor=carol, room_id=far, target=bob))
            await until(lambda: any(one.get("room_id") == far for one in told))
            invited = next(one for one in told if one.get("room_id") == far)
            assert (invited["type"], invited["sender"], invited["user_is_target"]) == ("m.room.member", carol, True)
            # The gateway is out of order as the server stops.
            status = b"503 Busy"
            lost = await say(one, alice, room_id, "are you there?")
            await until(lambda: one.pushing.results["failed"] > 0)
            await made.stop(ONE)
            assert lost not in [one.get("event_id") for one in told]
            status = b"200 OK"
            one = await made.start(ONE, tls=tls)
            await until(lambda: lost in [one.get("event_id") for one in told])
            events = [one["event_id"] for one in told if "event_id" in one]
            assert len(events) == len(set(events)), "nothing is told twice"
        finally:
            await asyncio.gather(*(made.stop(name) for name in list(made.apps)))
            gateway.close()

    run(work, timeout_s=60)
