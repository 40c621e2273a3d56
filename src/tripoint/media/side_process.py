"""Work on what strangers made, in a process beside this one: little memory, no network in its hands, a certain end.

Started when there is something to do; ends when nothing was asked for a while. One job at a time: a JSON object a line
in, one out. What takes too long or dies of its job is killed, and is one failed job.
"""

import asyncio
import json
import os
import sys
from typing import Any, Final

import structlog

from tripoint.media.refusals import MediaRefusal, MediaRefused

log = structlog.get_logger("tripoint.media")

# Jobs that may wait for it, and how long.
MAX_WAITING: Final = 200
WAIT_S: Final = 60.0
# It ends when nothing was asked for so long.
IDLE_S: Final = 60.0


class SideProcess:
    """A process of `module`. `job_s`: what one job may take; `failed`: what is said of one that did not end well."""

    def __init__(self, module: str, job_s: float, failed: MediaRefusal) -> None:
        self._module = module
        self._job_s = job_s
        self._failed = failed
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer. MediaRefused(`failed`) where it died of the job or took too long, SERVER_BUSY where
        others were before."""
        if self._waiting >= MAX_WAITING:
            raise MediaRefused(MediaRefusal.SERVER_BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise MediaRefused(MediaRefusal.SERVER_BUSY) from None
        finally:
            self._waiting -= 1
        try:
            return await self._do(job)
        finally:
            self._turn.release()

    async def _do(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._idle is not None:
            self._idle.cancel()
        finished = False
        try:
            async with asyncio.timeout(self._job_s):
                process = await self._started()
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(json.dumps(job).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            if not line:
                raise ConnectionError("it ended")
            answer: dict[str, Any] = json.loads(line)
            finished = True
            return answer
        except (TimeoutError, OSError, ValueError) as error:
            log.warning("media.side_process_failed", module=self._module, error=f"{type(error).__name__}: {error}")
            raise MediaRefused(self._failed) from error
        finally:
            # After a job that did not end (or whose asker has gone) the next one must not read its answer.
            if not finished:
                await self._end()
            else:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._retire)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            # Nothing of this process's environment but where Python finds its modules.
            environment = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LC_ALL")}
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _retire(self) -> None:
        """Nothing was asked for a while: the process reads the end of its input and ends."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        await self._end()
