"""matrix-nio: a Matrix client library in Python."""

import asyncio
import io
from typing import Any

from nio import (
    AsyncClient,
    AsyncClientConfig,
    Event,
    JoinResponse,
    LoginResponse,
    RegisterResponse,
    RoomCreateResponse,
    RoomLeaveResponse,
    RoomMessagesResponse,
    RoomMessageText,
    RoomPreset,
    RoomPutStateResponse,
    RoomSendResponse,
    UploadResponse,
)
from nio.rooms import MatrixRoom
from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, until
from tests.support.server import Server


class NioPeer:
    """Registers by itself, or logs in to an account that exists. `create` makes the room instead of joining it."""

    shows_ids = True
    shows_own_at_once = False

    def __init__(self, account: str, *, registers: bool = True) -> None:
        self.account = account
        self.registers = registers
        self.room_id = ""
        self._seen: list[Seen] = []
        # Every event of the timeline as it came.
        self.events: list[dict[str, Any]] = []

    async def start(self, server: Server) -> None:
        await self.start_with(server, PASSWORD)

    async def start_with(self, server: Server, password: str) -> None:
        config = AsyncClientConfig(encryption_enabled=False, request_timeout=30)
        self.client = AsyncClient(server.http, self.account, device_id="", config=config)
        self.server = server.name
        if self.registers:
            answer = await self.client.register(self.account, password, "nio")
            assert isinstance(answer, RegisterResponse), answer
        else:
            answer = await self.client.login(password, "nio")
            assert isinstance(answer, LoginResponse), answer
        assert answer.user_id == f"@{self.account}:{server.name}"
        self.client.add_event_callback(self._message, RoomMessageText)
        self.client.add_event_callback(self._keep, Event)
        await self.client.sync(timeout=0, full_state=True)
        self._task = asyncio.create_task(self.client.sync_forever(timeout=10_000))

    async def pause(self) -> None:
        """Stop syncing; what was seen and the token stay."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def go_on(self, server: Server) -> None:
        """Sync from the token that was had, with a server that was started again."""
        self.client.homeserver = server.http
        self._task = asyncio.create_task(self.client.sync_forever(timeout=10_000))

    async def create(self) -> None:
        answer = await self.client.room_create(alias=ROOM, name="Tea", preset=RoomPreset.public_chat)
        assert isinstance(answer, RoomCreateResponse), answer
        self.room_id = answer.room_id

    async def join(self) -> None:
        answer = await self.client.join(f"#{ROOM}:{self.server}")
        assert isinstance(answer, JoinResponse), answer
        self.room_id = answer.room_id
        await until(self.in_room, lambda: f"nio is not in the room: {self.client.rooms}")

    async def _keep(self, room: MatrixRoom, event: Event) -> None:
        self.events.append(event.source)

    async def _message(self, room: MatrixRoom, event: RoomMessageText) -> None:
        if event.source["content"].get("m.relates_to", {}).get("rel_type") == "m.replace":
            return  # what it was, said again
        for text in marked(event.body):
            self._seen.append(Seen(text, event.sender, event.event_id))

    async def say(self, text: str) -> None:
        await self.send("m.room.message", {"msgtype": "m.text", "body": text})

    async def send(self, event_type: str, content: dict[str, Any]) -> str:
        """Any event; returns its id."""
        answer = await self.client.room_send(self.room_id, event_type, content)
        assert isinstance(answer, RoomSendResponse), answer
        return answer.event_id

    async def upload(self, data: bytes, media_type: str, name: str) -> str:
        """A file into the server's media; returns its mxc address."""
        answer, _ = await self.client.upload(lambda *_: io.BytesIO(data), media_type, name, filesize=len(data))
        assert isinstance(answer, UploadResponse), answer
        return answer.content_uri

    async def page_back(self, limit: int = 7) -> list[Event]:
        """Every event of the room, newest first, in pages of `limit`."""
        found: list[Event] = []
        token: str | None = self.client.next_batch
        for _ in range(200):
            answer = await self.client.room_messages(self.room_id, token, limit=limit)
            assert isinstance(answer, RoomMessagesResponse), answer
            found += answer.chunk
            token = answer.end
            if not token:
                return found
        raise AssertionError("the room has no beginning")

    async def set_topic(self, topic: str) -> None:
        answer = await self.client.room_put_state(self.room_id, "m.room.topic", {"topic": topic})
        assert isinstance(answer, RoomPutStateResponse), answer

    async def kick(self, user_id: str, reason: str) -> None:
        answer = await self.client.room_kick(self.room_id, user_id, reason)
        assert not hasattr(answer, "status_code"), answer

    async def rename(self, name: str) -> None:
        answer = await self.client.set_displayname(name)
        assert not hasattr(answer, "status_code"), answer

    def _room(self) -> MatrixRoom | None:
        return self.client.rooms.get(self.room_id)

    def seen(self) -> list[Seen]:
        return list(self._seen)

    def topic(self) -> str:
        room = self._room()
        return (room.topic or "") if room else ""

    def people(self) -> set[str] | None:
        room = self._room()
        return {user_id.split(":")[0][1:] for user_id in room.users} if room else set()

    def names(self) -> dict[str, str]:
        """Display names by account."""
        room = self._room()
        users = room.users if room else {}
        return {user_id.split(":")[0][1:]: user.display_name or "" for user_id, user in users.items()}

    def in_room(self) -> bool:
        return self.room_id in self.client.rooms

    async def leave(self) -> None:
        answer = await self.client.room_leave(self.room_id)
        assert isinstance(answer, RoomLeaveResponse), answer
        await until(lambda: not self.in_room(), lambda: "nio has not left", PATIENCE_S)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()
