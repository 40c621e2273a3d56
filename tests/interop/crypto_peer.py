"""Somebody's device with encryption: matrix-js-sdk with matrix-sdk-crypto, in a Node process (js/crypto.mjs)."""

import asyncio
import json
import shutil
from typing import Any

from tests.interop.js_peer import FOLDER
from tests.interop.peer import PASSWORD, PATIENCE_S, must_have, until
from tests.support.server import Server


class CryptoPeer:
    """One device. `timeline` holds what can be read of the encrypted messages: (sender, text or None)."""

    def __init__(self, account: str, device: str) -> None:
        self.account = account
        self.device = device
        self.user = ""
        self.timeline: list[tuple[str, str | None]] = []
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._errors = b""

    @staticmethod
    def check() -> None:
        must_have(shutil.which("node") and (FOLDER / "node_modules" / "matrix-js-sdk").is_dir(), "matrix-js-sdk")

    async def start(self, server: Server, how: str) -> None:
        """`how`: register or login."""
        self._process = await asyncio.create_subprocess_exec(
            *("node", "crypto.mjs", server.http, self.account, PASSWORD, how, self.device),
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 22,
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        await until(lambda: self.user != "", lambda: f"{self.account} does not sync: {self._errors.decode()}")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what = json.loads(line)
            if what["is"] == "ready":
                self.user = what["user"]
            elif what["is"] == "timeline":
                self.timeline = [(event["sender"], event["body"]) for event in what["events"]]
            elif what["is"] == "answer":
                self._answers.pop(what["to"]).set_result(what)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result({"error": f"{self.account} has ended: {self._errors.decode()}"})

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._errors = (self._errors + line)[-4000:]

    async def ask(self, do: str, **more: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        self._process.stdin.write(json.dumps({"do": do, "to": self._number, **more}).encode() + b"\n")
        got = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in got, got["error"]
        return got

    async def becomes(self, do: str, what: dict[str, Any], **more: object) -> None:
        """Ask until the answer holds this."""
        got: dict[str, Any] = {}
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < deadline:
            got = await self.ask(do, **more)
            if what.items() <= got.items():
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"{self.account} {self.device}: {do} is {got}, not {what}")

    async def reads(self, *texts: str) -> None:
        """Until all of these can be read."""

        def there() -> bool:
            return set(texts) <= {text for _, text in self.timeline}

        await until(there, lambda: f"{self.account} {self.device} reads {self.timeline}, not {texts}")

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def verify_by_code(one: CryptoPeer, other: CryptoPeer) -> None:
    """`one` shows a code, and `other` scans it. Each has looked at the other's keys. spec: module end_to_end_encryption
    "QR codes" """
    await one.ask("verify", user=other.user, device=other.device)
    for peer in (one, other):
        await peer.becomes("phase", {"phase": "Ready"})
    code = (await one.ask("qr"))["code"]
    await other.ask("scan", code=code)
    await one.becomes("phase", {"scanned": True})
    await one.ask("seen")
    for peer in (one, other):
        await peer.becomes("phase", {"outcome": "verified"})


async def verify(one: CryptoPeer, other: CryptoPeer) -> None:
    """Two devices compare emoji. Each has looked at the other's keys."""
    await one.ask("verify", user=other.user, device=other.device)
    await one.becomes("phase", {"phase": "Ready"})
    await one.ask("start")
    shown: list[str] = []
    for peer in (one, other):
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while (emoji := (await peer.ask("phase"))["emoji"]) is None:
            assert asyncio.get_running_loop().time() < deadline, await peer.ask("phase")
            await asyncio.sleep(0.2)
        shown.append(emoji)
    assert shown[0] == shown[1] and len(shown[0].split()) == 7
    for peer in (one, other):
        await peer.ask("match")
    for peer in (one, other):
        await peer.becomes("phase", {"outcome": "verified"})
