"""One run: fetch the images, let the child work, decide, tell the queue.

`claims` starts it. What the child does may be interrupted (cancel, lost lease, drain, deadline);
what follows is brought to its end: the slot is free again only when the queue has recorded or
refused how the run ended.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.eta import size_class
from safelight.jobs.gates import Gates
from safelight.jobs.job import Change, Ended, HandedBack, StoredFile
from safelight.jobs.queue import JobQueue
from safelight.jobs.retry import LONGEST, LONGEST_HANDED_BACK, delay
from safelight.jobs.workers import Paces
from safelight.progress.announcer import Announcer
from safelight.progress.stream import News
from safelight.storage.store import Store
from safelight.telemetry import metrics
from safelight.wire.resources import JobError, PipelineInfo
from safelight_processor import outcome
from safelight_processor.child.outputs import open_output
from safelight_processor.child.protocol import Failed, Finished, InputFile, Limits, OutputFile, Progress, Task
from safelight_processor.children import Children, Crashed, Ending, NoChildError, TimedOut
from safelight_processor.leases import Leases, Run
from safelight_processor.reporter import Reporter
from safelight_processor.scratch import Scratch

_READ = 1024 * 1024
_log = structlog.get_logger()


class Runs:
    """Everything that a run needs, shared by all of them."""

    def __init__(  # noqa: PLR0913, PLR0917  (the list of what a run needs, once)
        self,
        queue: JobQueue,
        gates: Gates,
        store: Store,
        children: Children,
        leases: Leases,
        paces: Paces,
        reporter: Reporter,
        announcer: Announcer,
        scratch: Scratch,
        settings: Settings,
    ) -> None:
        self._queue = queue
        self._gates = gates
        self._store = store
        self._children = children
        self._leases = leases
        self._paces = paces
        self._reporter = reporter
        self._announcer = announcer
        self._settings = settings
        self.offers: dict[str, PipelineInfo] = {}
        self.memory: dict[str, int] = {}
        self._scratch = scratch

    async def execute(self, run: Run) -> None:
        """A claimed job, from its claim to its recorded end. Raises nothing, or one run would end all."""
        log = _log.bind(job=str(run.lease.id), pipeline=run.lease.pipeline, attempt=run.lease.attempt)
        self._announce(run, _claimed(run))
        try:
            with self._folder() as folder:
                ending = await self._work(run, folder)
                self._reporter.over(run)
                decision = self._decide(run, ending)
                log.info("run.ended", decision=type(decision).__name__.lower(), **_describe(ending))
                await self._settle(run, decision)
        except Exception:
            # A bug of ours. The lease expires, and the job is rescued, with one attempt less.
            log.exception("run.broken")
        finally:
            self._leases.remove(run.lease.fence)

    @contextmanager
    def _folder(self) -> Iterator[Path | None]:
        """The run's own folder; None when there is no room for one."""
        try:
            folder = self._scratch.folder()
        except OSError:
            _log.exception("scratch.full")
            yield None
            return
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _work(self, run: Run, folder: Path | None) -> Ending | outcome.Interrupted:
        """The part that may be interrupted."""
        work = asyncio.ensure_future(self._run_child(run, folder))
        run.working(work)
        try:
            return await work
        except asyncio.CancelledError:
            if run.interruption is None:
                work.cancel()
                raise
            return outcome.Interrupted(run.interruption)
        except NoChildError as error:
            _log.error("child.missing", error=str(error))
            return outcome.Interrupted("no_child")
        except (Failure, OSError) as error:
            return _of_parent(run, error)

    async def _run_child(self, run: Run, folder: Path | None) -> Ending:
        if folder is None:
            raise Failure("storage_unavailable")
        info = self.offers[run.lease.pipeline]
        inputs = [await self._fetch(run, index, folder) for index in range(len(run.lease.inputs))]
        task = Task(
            job=str(run.lease.id),
            pipeline=info.name,
            params=run.lease.params.encode(),
            inputs=inputs,
            workdir=str(folder),
            limits=Limits(
                memory=self.memory[info.name],
                cpu=int(info.deadline) + 1,
                file=self._settings.max_upload_bytes * 4,
                pixels=info.max_pixels,
            ),
        )

        def moved(progress: Progress) -> None:
            run.advance(progress.progress, progress.stage, progress.status)
            self._reporter.moved(run)

        return await self._children.run(task, info.deadline, moved)

    async def _fetch(self, run: Run, index: int, folder: Path) -> InputFile:
        """An input's bytes, from the store into the run's own folder, under a name of our choice."""
        file = run.lease.inputs[index]
        path = folder / f"input-{index}"
        with path.open("wb") as target:
            async for chunk in self._store.read(run.lease.tenant, file.key):
                target.write(chunk)
        if path.stat().st_size != file.bytes:
            raise Failure("bytes_missing")
        return InputFile(
            path=str(path),
            name=file.name,
            media_type=file.media_type,
            width=file.width,
            height=file.height,
            bytes=file.bytes,
        )

    def _decide(self, run: Run, ending: Ending | outcome.Interrupted) -> outcome.Outcome:
        lease = run.lease
        counted = not isinstance(ending, outcome.Interrupted)
        wait = delay(
            lease.attempt if counted else lease.handed_back + 1,
            self._settings.retry_seconds,
            random.random(),  # noqa: S311
            LONGEST if counted else LONGEST_HANDED_BACK,
        )
        return outcome.decide(
            ending,
            attempt=lease.attempt,
            max_attempts=lease.max_attempts,
            crashes=lease.crashes,
            handed_back=lease.handed_back,
            delay=wait,
        )

    async def _settle(self, run: Run, decision: outcome.Outcome) -> None:
        """Tells the queue, for as long as it takes; says afterwards what became of it."""
        match decision:
            case outcome.Complete(outputs=outputs, result=result):
                try:
                    stored = [await self._keep(run, file) for file in outputs]
                except (Failure, OSError) as met:
                    # The work is lost, the job is not. What was stored of it goes: a store that is full
                    # would get fuller with every try.
                    await self._discard(run)
                    await self._settle(run, self._decide(run, _of_parent(run, met)))
                    return
                text = result.decode() if result is not None else None
                change = await self._end(run, "succeeded", "completed", result=text, outputs=stored)
                if change is None or change.state != "succeeded":
                    await self._discard(run)
            case outcome.Fail(code=code, message=message, retryable=retryable, reason=reason):
                change = await self._end(run, "failed", reason, error=JobError(code, message, retryable))
            case outcome.Cancel():
                change = await self._end(run, "canceled", "canceled")
            case outcome.Retry(code=code, message=message, delay_seconds=wait, crash=crash):
                error = JobError(code, message, retryable=True)
                change = await self._patiently(
                    run,
                    lambda: self._queue.retry(
                        run.lease.fence, wait, error, crash=crash, progress=run.progress
                    ),
                )
                metrics.jobs_retried_total.labels(pipeline=run.lease.pipeline, code=code).inc()
                self._report(run, "retry", change, error)
            case outcome.Park(reason=why):
                with suppress(Failure):  # then the others find out for themselves, and say it again
                    await self._gates.park(run.lease.pipeline, why)
                await self._settle(run, outcome.Release())
            case outcome.Release(delay_seconds=wait):
                handed = HandedBack(fence=run.lease.fence, progress=run.progress, delay_seconds=wait)
                change = await self._patiently(run, lambda: self._release(handed))
                metrics.jobs_released_total.labels(pipeline=run.lease.pipeline).inc()
                self._report(run, "release", change)
            case outcome.Drop():
                await self._discard(run)

    async def _end(
        self,
        run: Run,
        state: str,
        reason: str,
        *,
        result: str | None = None,
        outputs: list[StoredFile] | None = None,
        error: JobError | None = None,
    ) -> Change | None:
        ended = Ended(
            fence=run.lease.fence,
            state=state,  # type: ignore[arg-type]
            reason=reason,
            progress=100.0 if state == "succeeded" else run.progress,
            stage=run.stage,
            result=result,
            outputs=outputs or [],
            error=error,
        )

        change = await self._patiently(run, lambda: self._leases.complete(ended))
        if change is not None:
            labels = {"pipeline": run.lease.pipeline, "state": change.state}
            metrics.jobs_completed_total.labels(**labels).inc()
            metrics.job_run_seconds.labels(pipeline=run.lease.pipeline).observe(change.ran)
            if change.state == "succeeded":
                self._paces.note(run.lease.pipeline, size_class(run.lease.megapixels), change.ran)
        self._report(run, "complete", change, error)
        return change

    async def _patiently(self, run: Run, write: Callable[[], Awaitable[Change | None]]) -> Change | None:
        """A write of this run: tried until the database has recorded or refused it.

        When an answer was lost on the way, the second try is refused although the first was recorded;
        the job itself tells the two apart.
        """
        wait, doubtful = 0.1, False
        while True:
            try:
                change = await write()
                if change is None and doubtful:
                    change = await self._recorded(run)
            except Failure as failure:
                _log.warning("write.waits", job=str(run.lease.id), code=failure.code)
                doubtful = True
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)
                continue
            return change

    async def _recorded(self, run: Run) -> Change | None:
        job = await self._queue.get(run.lease.key)
        if job is None or job.finished_at is None or job.lease_epoch != run.lease.lease_epoch:
            return None
        return Change(
            key=job.key,
            cursor=job.cursor,
            state=job.state,
            reason=job.reason,
            attempt=job.attempt,
            progress=job.progress,
            lease_epoch=job.lease_epoch,
        )

    async def _release(self, handed: HandedBack) -> Change | None:
        changes = await self._queue.release([handed])
        return changes[0] if changes else None

    async def _keep(self, run: Run, file: OutputFile) -> StoredFile:
        """An output into the store, under a key that no other run can have."""
        key = f"{_output_prefix(run)}/{file.name}"
        stored = await self._store.put(run.lease.tenant, key, _chunks(file))
        return StoredFile(
            name=file.name,
            key=key,
            media_type=file.media_type,
            bytes=stored.bytes,
            width=file.width,
            height=file.height,
            sha256=stored.sha256.hex(),
        )

    async def _discard(self, run: Run) -> None:
        """Outputs that nobody will ever see."""
        with suppress(Failure):
            await self._store.delete(run.lease.tenant, _output_prefix(run) + "/")

    def _report(self, run: Run, verb: str, change: Change | None, error: JobError | None = None) -> None:
        if change is None:
            metrics.leases_lost_total.labels(verb=verb).inc()
            _log.warning("write.refused", job=str(run.lease.id), verb=verb, lease_epoch=run.lease.lease_epoch)
        else:
            self._announce(run, change, error)

    def _announce(self, run: Run, change: Change, error: JobError | None = None) -> None:
        frame = change.frame(run.lease.traceparent, error)
        self._announcer.publish(News(run.lease.key, change.cursor, frame))


def _of_parent(run: Run, error: Failure | OSError) -> Failed | outcome.Interrupted:
    _log.warning("run.parent_failed", job=str(run.lease.id), error=str(error), cause=repr(error.__cause__))
    return outcome.of_parent(error, run.lease.handed_back)


def _claimed(run: Run) -> Change:
    lease = run.lease
    return Change(
        key=lease.key,
        cursor=lease.cursor,
        state="running",
        reason="claimed",
        attempt=lease.attempt,
        progress=0.0,
    )


def _output_prefix(run: Run) -> str:
    return f"{run.lease.id}/out/{run.lease.lease_epoch}"


async def _chunks(file: OutputFile) -> AsyncIterator[bytes]:
    with open_output(file) as source:
        while chunk := source.read(_READ):
            yield chunk


def _describe(ending: Ending | outcome.Interrupted) -> dict[str, str]:
    """For the log: what happened, with what the child said of it."""
    match ending:
        case Finished():
            return {"ending": "finished"}
        case Failed(code=code, detail=detail):
            return {"ending": code, "detail": detail}
        case Crashed(detail=detail, stderr=stderr):
            return {"ending": "crashed", "detail": detail, "stderr": stderr}
        case TimedOut():
            return {"ending": "timed out"}
        case outcome.Interrupted(why=why):
            return {"ending": why}
