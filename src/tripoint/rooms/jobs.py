"""Long work for administrators: begun by a request, done in the background, asked about by its id.

What is asked for is written down first and goes on after a restart, from its beginning: every kind of work is such that
doing again what was done changes nothing. One job runs after the other. What has ended can be asked about for a week.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutName

# The kind of names under which jobs are written down.
KEPT_AS: Final = "job"
KEPT_MS: Final = 7 * 86_400_000
MAX_WAITING: Final = 1000

SCHEDULED, ACTIVE, COMPLETE, FAILED = "scheduled", "active", "complete", "failed"


class Job(Struct, frozen=True):
    """`wish`: what was asked for; `result`: what has come of it so far. `ended_ms`: 0 while it is not done."""

    job_id: str
    kind: str
    wish: JsonObject
    status: str
    result: JsonObject
    began_ms: int
    ended_ms: int = 0
    error: str | None = None


class Progress:
    """How far a job has come: `result` is what it noted before a restart, {} where it begins."""

    def __init__(
        self, result: JsonObject | None = None, keep: Callable[[JsonObject], Awaitable[None]] | None = None
    ) -> None:
        self.result: JsonObject = dict(result or {})
        self._keep = keep

    async def note(self, result: JsonObject) -> None:
        """Write down what must not be done twice. Refused(SERVER_BUSY)."""
        self.result = result
        if self._keep is not None:
            await self._keep(result)


Work = Callable[[JsonObject, Progress], Awaitable[JsonObject]]


class Jobs:
    """`workers`: what is done for each kind. It takes the wish and returns the result, or raises Refused, whose text
    is what the administrator reads. start() once, before anything is added."""

    def __init__(
        self,
        store: RoomStore,
        writer: Writer,
        workers: Mapping[str, Work],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._store = store
        self._writer = writer
        self._workers = workers
        self._report = report
        self._jobs: dict[str, Job] = {}
        self._todo: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on with what was begun; forget what ended long ago."""
        now = self._writer.signer.clock_ms()
        for job_id, value in (await self._store.load_names(KEPT_AS, "")).items():
            job = Job(job_id, **orjson.loads(value))
            if job.ended_ms and job.ended_ms + KEPT_MS < now:
                await self._writer.write([PutName(KEPT_AS, "", job_id, None)])
                continue
            self._jobs[job_id] = job
            if not job.ended_ms:
                self._enqueue(job_id)

    async def add(self, kind: str, wish: JsonObject) -> str:
        """Ask for something; returns its id. Refused(SERVER_BUSY) where too much waits."""
        if sum(not job.ended_ms for job in self._jobs.values()) >= MAX_WAITING:
            raise Refused(Refusal.SERVER_BUSY, "Too much is waiting already; try again later")
        job = Job(secrets.token_urlsafe(12), kind, wish, SCHEDULED, {}, self._writer.signer.clock_ms())
        await self._keep(job)
        self._enqueue(job.job_id)
        return job.job_id

    def get(self, job_id: str, kind: str) -> Job | None:
        """A job of this kind, if it is known (still)."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.kind == kind else None

    def listed(self, kind: str) -> Sequence[Job]:
        """Those of one kind, the oldest first."""
        return sorted((job for job in self._jobs.values() if job.kind == kind), key=lambda job: job.began_ms)

    async def settled(self) -> None:
        """Wait until nothing is to be done."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """What is not done is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _enqueue(self, job_id: str) -> None:
        self._todo.put_nowait(job_id)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._todo.empty():
            job = self._jobs[self._todo.get_nowait()]
            self._jobs[job.job_id] = job = replace(job, status=ACTIVE)
            progress = Progress(job.result, self._keeper(job))
            try:
                result = await self._workers[job.kind](job.wish, progress)
                job = replace(job, status=COMPLETE, result=result)
            except Refused as refused:
                job = replace(job, status=FAILED, result=progress.result, error=refused.text)
            except Exception as error:  # the others go on; the bug is told
                self._report("jobs", error)
                job = replace(job, status=FAILED, error="Something went wrong on the server")
            try:
                await self._keep(replace(job, ended_ms=self._writer.signer.clock_ms()))
            except Refused:
                # A disk that is full: it is done again after the next start.
                self._jobs[job.job_id] = replace(job, ended_ms=self._writer.signer.clock_ms())

    def _keeper(self, job: Job) -> Callable[[JsonObject], Awaitable[None]]:
        async def keep(result: JsonObject) -> None:
            await self._keep(replace(job, result=result))

        return keep

    async def _keep(self, job: Job) -> None:
        fields = {name: getattr(job, name) for name in Job.__struct_fields__ if name != "job_id"}
        value = orjson.dumps(fields).decode()

        def kept() -> None:
            self._jobs[job.job_id] = job

        await self._writer.write([PutName(KEPT_AS, "", job.job_id, value)], kept)
