"""The queue's job -> the job that a client sees: links, signed files, the latest progress."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import quote

import msgspec

from safelight.config import Settings
from safelight.jobs.batches import Batch
from safelight.jobs.job import Event, Job, StoredFile
from safelight.wire import resources
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ProgressFrame, StateFrame
from safelight_api.auth import Auth
from safelight_api.forecast import Forecasts

_MOST_OUTPUTS = 6  # of a state frame, which must stay small; the job itself has all of them


class Presenter:
    """Knows where things are and who may follow a link."""

    def __init__(self, settings: Settings, auth: Auth, forecasts: Forecasts) -> None:
        self._auth = auth
        self._forecasts = forecasts
        self._poll_after_ms = settings.poll_after_ms
        self._retention = timedelta(days=settings.retention_days)

    async def job(
        self, job: Job, token: str | None = None, *, reads: bool = True, alone: bool = True
    ) -> resources.Job:
        """A job, whole; for whoever may not read, without what came out of it and what opens its files.

        One that is shown `alone`, and not in a list, with its place in the queue and its times.
        """
        here = f"/api/jobs/{job.key.id}"
        live = job.state in ("queued", "running")
        position, eta = await self._forecasts.of(job) if live and alone else (None, None)
        return resources.Job(
            id=str(job.key.id),
            pipeline=job.pipeline,
            priority=job.priority,
            batch=str(job.batch) if job.batch else None,
            state=job.state,
            reason=job.reason,
            stage=job.stage,
            status=job.status,
            progress=round(job.progress, 1),
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            cursor=str(job.cursor),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            expires_at=job.finished_at + self._retention if job.finished_at else None,
            inputs=await self._files(job, "inputs", job.inputs, signed=reads),
            outputs=await self._files(job, "outputs", job.outputs) if reads else [],
            result=job.result if reads else None,
            # While it runs again, what ended the attempt before is history: the timeline has it.
            error=job.error if job.state != "running" else None,
            links=resources.Links(
                self=here,
                live=f"{here}/live",
                events=f"{here}/events",
                cancel=f"{here}/cancel",
                retry=f"{here}/retry",
            ),
            poll_after_ms=self._poll_after_ms if live else 0,
            traceparent=job.traceparent,
            token=token,
            queue_position=position,
            eta=eta,
        )

    def batch(self, batch: Batch) -> resources.Batch:
        """A batch, without its jobs."""
        here = f"/api/batches/{batch.key.id}"
        return resources.Batch(
            id=str(batch.key.id),
            size=batch.size,
            ended=batch.ended_at is not None,
            progress=round(batch.progress, 1),
            counts=resources.BatchCounts(
                queued=batch.queued,
                running=batch.running,
                succeeded=batch.succeeded,
                failed=batch.failed,
                canceled=batch.canceled,
            ),
            created_at=batch.created_at,
            ended_at=batch.ended_at,
            round=batch.round,
            links=resources.BatchLinks(
                self=here, jobs=f"{here}/jobs", cancel=f"{here}/cancel", retry=f"{here}/retry"
            ),
            poll_after_ms=self._poll_after_ms if batch.ended_at is None else 0,
        )

    async def _files(
        self, job: Job, kind: str, files: Sequence[StoredFile], *, signed: bool = True
    ) -> list[resources.File]:
        since = job.created_at.timestamp()
        signature = await self._auth.signature(job.key, since) if files and signed else None
        query = f"?signature={signature}" if signature else ""
        return [
            resources.File(
                name=file.name,
                media_type=file.media_type,
                bytes=file.bytes,
                width=file.width,
                height=file.height,
                sha256=file.sha256,
                href=f"/api/jobs/{job.key.id}/{kind}/{quote(file.name)}{query}",
            )
            for file in files
        ]

    async def event(self, job: Job, event: Event) -> StateFrame:
        """A durable event of a job, as a live watcher is told it."""
        last = event.cursor == job.cursor.durable and job.finished_at is not None
        return StateFrame(
            ts=event.at,
            job=str(job.key.id),
            cursor=str(event.cursor),
            traceparent=job.traceparent,
            state=event.state,
            reason=event.reason,
            attempt=event.attempt,
            progress=round(event.progress, 1),
            error=event.error,
            outputs=(await self._files(job, "outputs", job.outputs))[:_MOST_OUTPUTS] if last else [],
        )

    def progress(self, job: Job) -> ProgressFrame:
        """The progress of a running job, as the truth last heard of it."""
        return ProgressFrame(
            job=str(job.key.id),
            cursor=str(job.cursor),
            traceparent=job.traceparent,
            attempt=job.attempt,
            progress=round(job.progress, 1),
            stage=job.stage or "",
            status=job.status or "",
        )


def overlay(job: Job, latest: ProgressFrame | None) -> Job:
    """The job with the newest progress that Redis knows, if that belongs to the run that is under way."""
    if latest is None:
        return job
    cursor = Cursor.parse(latest.cursor)
    if cursor.durable != job.cursor.durable or cursor <= job.cursor:
        return job
    return msgspec.structs.replace(
        job, cursor=cursor, progress=latest.progress, stage=latest.stage, status=latest.status
    )
