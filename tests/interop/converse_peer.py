"""converse.js in headless Chromium, over WebSocket or BOSH (js/converse.mjs): typed at and read from its page."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.interop.browser_peer import CHROMIUM, START_S, must_have_browser
from tests.interop.js_peer import FOLDER
from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, until
from tests.support.server import Server


class ConversePeer:
    """What is on its page is what it has seen. `profile` is the browser's folder."""

    shows_ids = True
    shows_own_at_once = True

    def __init__(self, account: str, profile: Path, *, bosh: bool = False) -> None:
        """`bosh`: it comes by BOSH (XEP-0206)."""
        self.account = account
        self.bosh = bosh
        self.profile = profile
        self.room: dict[str, Any] = {"messages": [], "people": [], "topic": "", "in_room": False, "dialog": ""}
        self.frames: list[tuple[str, str]] = []  # who sent it, and what
        self.complaints: list[str] = []  # what it wrote to the browser's console as errors
        self._ready = False
        self._asked = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._errors = b""

    @staticmethod
    def check() -> None:
        must_have_browser("converse.js")

    async def start(self, server: Server) -> None:
        assert CHROMIUM is not None
        server.register(self.account, PASSWORD)
        self.jid = f"{ROOM}@rooms.{server.name}"
        address = f"127.0.0.1:{server.ports['http']}"
        door = f"http://{address}/http-bind" if self.bosh else f"ws://{address}/xmpp-websocket"
        self.profile.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *("node", "converse.mjs", door, f"{self.account}@{server.name}", PASSWORD, CHROMIUM),
            str(self.profile),
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        await until(lambda: self._ready, lambda: f"converse.js does not log in: {self._errors.decode()}", START_S)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what = json.loads(line)
            if what["is"] == "ready":
                self._ready = True
            elif what["is"] == "room":
                self.room = what
            elif what["is"] == "frame":
                self.frames.append((what["by"], what["data"]))
            elif what["is"] == "console":
                self.complaints.append(what["text"])
            else:
                self._answers.pop(what["to"]).set_result(what)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._errors = (self._errors + line)[-4000:]

    async def do(self, do: str, **more: object) -> dict[str, Any]:
        """One command of js/converse.mjs, about the room where it is about one."""
        assert self._process.stdin is not None
        self._asked += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._asked] = answer
        command = {"do": do, "to": self._asked, "room": self.jid, **more}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        got = await asyncio.wait_for(answer, 2 * PATIENCE_S)
        assert "error" not in got, got["error"]
        return got

    async def join(self) -> None:
        await self.do("open")
        await until(self.in_room, lambda: f"converse.js is not in the room: {self.room}")

    async def say(self, text: str) -> None:
        await self.do("say", text=text)

    async def correct(self, text: str) -> None:
        """What was said last is changed to this."""
        await self.do("correct", text=text)

    async def react(self, text: str, emoji: str) -> None:
        await self.do("react", text=text, emoji=emoji)

    async def upload(self, path: Path) -> None:
        await self.do("upload", path=str(path))

    async def go_away(self) -> None:
        """Close the page."""
        await self.do("away")

    async def come_back(self) -> None:
        """Open it again; its rooms are bookmarked and entered anew."""
        await self.do("back")
        await until(self.in_room, lambda: f"converse.js is not in the room again: {self.room}")

    async def screenshot(self, path: Path) -> None:
        await self.do("screenshot", path=str(path))

    def shown(self, text: str) -> dict[str, Any]:
        """The one message of the page with this mark in it; empty while there is none."""
        found = [one for one in self.room["messages"] if text in marked(one["text"])]
        assert len(found) < 2, found
        return found[0] if found else {}

    def pictures(self) -> list[list[str]]:
        """The addresses of the pictures that are shown, by message."""
        return [one["pictures"] for one in self.room["messages"] if one["pictures"]]

    def seen(self) -> list[Seen]:
        return [Seen(text, one["by"], one["id"]) for one in self.room["messages"] for text in marked(one["text"])]

    def topic(self) -> str:
        return str(self.room["topic"])

    def people(self) -> set[str] | None:
        return set(self.room["people"])

    def in_room(self) -> bool:
        return bool(self.room["in_room"])

    async def leave(self) -> None:
        await self.do("leave")
        await until(lambda: not self.in_room(), lambda: "converse.js has not left")

    async def stop(self) -> None:
        if self._process.returncode is None:
            # The browser ends with the process that drives it, when that is told to end.
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE_S)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
