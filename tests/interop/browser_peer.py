"""A client on a page in headless Chromium, behind a program in js/ that does what it is told (js/browser.mjs)."""

import asyncio
import json
import shutil
from typing import Any

from tests.interop.js_peer import FOLDER
from tests.interop.peer import PATIENCE_S, must_have

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# A browser starts slowly on a busy machine.
START_S = 90.0


def must_have_browser(package: str) -> None:
    """Skip, or fail where every client has to be there, without Node, Chromium or this package of js/."""
    installed = (FOLDER / "node_modules" / package).is_dir()
    must_have(shutil.which("node") and installed and CHROMIUM, f"{package} (in Chromium)")


class Browser:
    """One page. `complaints` is what went wrong on it: errors of scripts, answers of servers from 500 on."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._asked = 0
        self.complaints: list[str] = []

    async def start(self, *arguments: str) -> None:
        """Start js/PROGRAM with these arguments; returns when the page is there."""
        self._process = await asyncio.create_subprocess_exec(
            *("node", self._program, *arguments),
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        assert (await self._next())["is"] == "ready"

    async def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        assert line, "it ended"
        found: dict[str, Any] = json.loads(line)
        return found

    async def do(self, what: str, **more: object) -> dict[str, Any]:
        """One command, and its answer."""
        assert self._process.stdin is not None
        self._asked += 1
        self._process.stdin.write(json.dumps({"do": what, "to": self._asked, **more}).encode() + b"\n")
        while (answer := await self._next())["is"] != "answer":
            self.complaints.append(answer["text"])
        assert "error" not in answer, "\n".join([answer["error"], *self.complaints])
        return answer

    async def shows(self, text: str) -> None:
        """It stands on the page, sooner or later."""
        shown = ""
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                while text not in shown:
                    shown = (await self.do("text"))["text"]
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown, but:\n{shown}") from None

    async def stop(self) -> None:
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
