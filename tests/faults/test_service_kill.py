"""What an application service has to hear survives a kill: the server is killed while it tells it, again and again.

Each message arrives, in order; a transaction that comes twice is the same under the same id. spec: Matrix
application-service-api "Pushing events"
"""

import asyncio
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.faults.test_kill import UNLIMITED, Http, http
from tests.support.app_service import TOKEN, registered
from tests.support.loopback_service import LoopbackService, loopback_service
from tests.support.server import Server, start_server

ROUNDS = 3
SAID = 25
BODY: dict[str, Any] = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}


async def _started(folder: Path, config: str) -> Server:
    return await asyncio.to_thread(start_server, folder, more=config)


async def _said(connection: Http, room_id: str, tag: str) -> list[str]:
    """What was acknowledged, in order, until the server is gone."""
    said = []
    for number in range(SAID):
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/send/m.room.message/{tag}-{number}"
        text = f"{tag}-{number}"
        try:
            status, _ = await connection.call("PUT", path, {"msgtype": "m.text", "body": text}, TOKEN)
        except (EOFError, OSError):
            break
        assert status == 200
        said.append(text)
    return said


async def _kill_under_load(folder: Path, config: str, service: LoopbackService, room_id: str, tag: str) -> list[str]:
    server = await _started(folder, config)
    connection = await http(server)
    try:
        saying = asyncio.create_task(_said(connection, room_id, tag))
        # In the middle of a transaction: the service has it, the server does not know.
        await service.until(lambda: any(tag in text for text in service.texts()))
        server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(server.process.wait)
        return await saying
    finally:
        connection.close()
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.mark.timeout(180)
def test_a_service_hears_everything_however_often_the_server_dies(tmp_path: Path) -> None:
    async def work() -> None:
        async with loopback_service() as service:
            registered(tmp_path, url=f"http://127.0.0.1:{service.port}")
            config = f'{UNLIMITED}\n[matrix]\napp_services = ["{tmp_path / "service0.yaml"}"]\n'
            server = await _started(tmp_path, config)
            try:
                connection = await http(server)
                assert (await connection.call("POST", "/_matrix/client/v3/register", BODY, TOKEN))[0] == 200
                create = {"preset": "public_chat"}
                _, made = await connection.call("POST", "/_matrix/client/v3/createRoom", create, TOKEN)
                connection.close()
                await service.until(service.heard)
            finally:
                assert await asyncio.to_thread(server.stop) == 0
            said: list[str] = []
            for number in range(ROUNDS):
                said += await _kill_under_load(tmp_path, config, service, made["room_id"], f"round{number}")
            server = await _started(tmp_path, config)
            try:
                await service.until(lambda: set(said) <= set(service.texts()))
            finally:
                assert await asyncio.to_thread(server.stop) == 0
            heard = [text for text in service.texts() if text in said]
            assert heard == said, "in order, each once"
            same: dict[str, Any] = {}
            for asked in service.transactions:
                assert same.setdefault(asked.path, asked.body) == asked.body, "the same id is the same transaction"

    asyncio.run(work())
