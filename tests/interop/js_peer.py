"""matrix-js-sdk, the library under most Matrix web clients, in a Node process (js/client.mjs)."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, must_have, until
from tests.support.server import Server

FOLDER = Path(__file__).parent / "js"


class JsPeer:
    """Registers by itself with the dummy stage; lazy-loads members as web clients do. `sliding`: by MSC4186."""

    shows_ids = True
    shows_own_at_once = False

    def __init__(self, account: str, *, sliding: bool = False) -> None:
        self.account = account
        self._more = ("sliding",) if sliding else ()
        self.room_id = ""
        self._seen: list[Seen] = []
        # The timeline as it is shown; client.mjs says what is in it.
        self.timeline: list[dict[str, Any]] = []
        self._topic = ""
        self._people: set[str] = set()
        self._ready = False
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._errors = b""

    @staticmethod
    def check() -> None:
        must_have(shutil.which("node") and (FOLDER / "node_modules" / "matrix-js-sdk").is_dir(), "matrix-js-sdk")

    async def start(self, server: Server) -> None:
        self.server = server.name
        self._process = await asyncio.create_subprocess_exec(
            *("node", "client.mjs", server.http, self.account, PASSWORD, *self._more),
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        await until(lambda: self._ready, lambda: f"matrix-js-sdk does not sync: {self._errors.decode()}")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._take(json.loads(line))

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._errors = (self._errors + line)[-4000:]

    def _take(self, what: dict[str, Any]) -> None:
        kind = what["is"]
        if kind == "ready":
            self._ready = True
        elif kind == "timeline":
            self.timeline = what["events"]
            self._seen = [
                Seen(text, one["sender"], one["id"]) for one in self.timeline for text in marked(one["body"])
            ]
        elif kind == "topic":
            self._topic = what["topic"]
        elif kind == "member":
            account = what["user"].split(":")[0][1:]
            (self._people.add if what["membership"] == "join" else self._people.discard)(account)
        elif kind == "answer":
            self._answers.pop(what["to"]).set_result(what)

    async def _ask(self, do: str, **more: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        number = len(self._answers) + id(more)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._process.stdin.write(json.dumps({"do": do, "to": number, **more}).encode() + b"\n")
        got = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in got, got["error"]
        return got

    async def join(self) -> None:
        self.room_id = (await self._ask("join", room=f"#{ROOM}:{self.server}"))["room"]
        await until(self.in_room, lambda: f"matrix-js-sdk is not in the room: {self._people}")

    async def say(self, text: str) -> None:
        await self._ask("say", room=self.room_id, text=text)

    async def set_topic(self, topic: str) -> None:
        await self._ask("topic", room=self.room_id, topic=topic)

    async def send(self, event_type: str, content: dict[str, Any]) -> str:
        """Any event; returns its id."""
        return str((await self._ask("send", room=self.room_id, type=event_type, content=content))["id"])

    async def page_back(self) -> None:
        """Until the room's beginning is in the timeline."""
        assert (await self._ask("back", room=self.room_id))["whole"]

    def shown(self, text: str) -> dict[str, Any]:
        """The one event of the timeline with this mark in it; empty while there is none."""
        found = [one for one in self.timeline if text in marked(one["body"])]
        assert len(found) < 2, found
        return found[0] if found else {}

    def seen(self) -> list[Seen]:
        return list(self._seen)

    def topic(self) -> str:
        return self._topic

    def people(self) -> set[str] | None:
        return None  # lazy-loaded: it need not know everybody

    def in_room(self) -> bool:
        return self.account in self._people

    async def leave(self) -> None:
        await self._ask("leave", room=self.room_id)
        await until(lambda: not self.in_room(), lambda: "matrix-js-sdk has not left")

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
