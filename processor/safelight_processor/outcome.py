"""What the queue is told about a run that has ended. Pure: values in, a decision out.

`runs` calls `decide` with how the child's run ended, or why it was interrupted, and then says the one verb
of the queue that the answer names.
"""

from collections.abc import Sequence
from typing import Final, Literal, assert_never

from msgspec import Struct

from safelight.errors import CATALOGUE, Failure
from safelight_processor.child.ending import Crashed, Ending, TimedOut
from safelight_processor.child.protocol import Failed, Finished, OutputFile

QUARANTINE_AFTER: Final = 2  # crashes of one job that are the same
# Times that a job is handed back for want of storage until it is the job's own fault: more than two hours.
MOST_HANDED_BACK: Final = 200

Why = Literal["cancel", "drain", "lease_lost", "no_child", "no_storage"]


class Interrupted(Struct, frozen=True):
    """The run was stopped by us: `cancel` asked, `drain` of this processor, `lease_lost`, or something lacks.

    `no_child`, or `no_storage`: the store or the folder for running jobs is away, or full.
    """

    why: Why


class Complete(Struct, frozen=True):
    """`complete` it with these outputs and this result (JSON)."""

    outputs: list[OutputFile]
    result: bytes | None


class Fail(Struct, frozen=True):
    """`fail` it, for good. `retryable` tells the customer whether another try of their own can help."""

    code: str
    message: str
    retryable: bool
    reason: Literal["failed", "exhausted", "quarantined"]


class Retry(Struct, frozen=True):
    """`retry` it after so many seconds; `crash`, what its child died of, counts towards the quarantine."""

    code: str
    message: str
    delay_seconds: float
    crash: str | None = None


class Release(Struct, frozen=True):
    """`release` it: the attempt is given back, and it may run again after so many seconds."""

    delay_seconds: float = 0.0


class Park(Struct, frozen=True):
    """`release` it and `park` its pipeline: what that depends on is away, for all its jobs alike."""

    reason: str


class Cancel(Struct, frozen=True):
    """End it as `canceled`."""


class Drop(Struct, frozen=True):
    """Say nothing: somebody else holds the lease, and with it the word."""


Outcome = Complete | Fail | Retry | Release | Park | Cancel | Drop


def decide(
    ending: Ending | Interrupted,
    *,
    attempt: int,
    max_attempts: int,
    crashes: Sequence[str],
    delay: float,
    handed_back: int = 0,
) -> Outcome:
    """What becomes of the job.

    Args:
        ending: how the run ended.
        attempt: the number of this run, from 1.
        max_attempts: after how many runs a job is not tried again.
        crashes: what its children died of before this run (`Crashed.kind`). Two that are the same are no
            chance; one by memory and one by a fault may be, where the machine was short of it.
        delay: seconds until the next run, should it not be due at once (`safelight.jobs.retry.delay`).
        handed_back: how often it was released before this run.
    """
    later = delay if attempt < max_attempts else None
    match ending:
        case Interrupted():
            return _interrupted(ending, delay)
        case Finished():
            return Complete(ending.outputs, ending.result)
        case Failed(code="dependency_unavailable") if handed_back < MOST_HANDED_BACK:
            return Park(ending.message)
        case Failed():
            return _failed(ending, later)
        case TimedOut():
            return _fail("deadline_exceeded", "failed")
        case Crashed():
            return _crashed(ending.kind, crashes, later)
        case _:
            assert_never(ending)


def of_parent(error: Failure | OSError, handed_back: int) -> Failed | Interrupted:
    """The ending of a run whose parent failed, not its child; `handed_back` is how often the job was before.

    Storage that is away says nothing about the job, so it waits without losing an attempt. When it has waited
    long enough the attempts count: there may be bytes that no store will ever take.
    """
    failure = error if isinstance(error, Failure) else Failure("storage_unavailable")
    if failure.code == "storage_unavailable" and handed_back < MOST_HANDED_BACK:
        return Interrupted("no_storage")
    return Failed(failure.code, failure.message, failure.retryable)


def _interrupted(interrupted: Interrupted, delay: float) -> Outcome:
    match interrupted.why:
        case "cancel":
            return Cancel()
        case "drain":
            return Release()
        case "no_child" | "no_storage":
            return Release(delay)
        case "lease_lost":
            return Drop()
        case _:
            assert_never(interrupted.why)


def _failed(failed: Failed, later: float | None) -> Outcome:
    if not failed.retryable:
        return Fail(failed.code, failed.message, False, "failed")
    if later is None:
        return Fail(failed.code, failed.message, True, "exhausted")
    return Retry(failed.code, failed.message, later)


def _crashed(kind: str, before: Sequence[str], later: float | None) -> Outcome:
    if before.count(kind) + 1 >= QUARANTINE_AFTER:
        return _fail("quarantined", "quarantined")
    if later is None:
        return _fail("pipeline_crashed", "exhausted")
    return Retry("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, later, crash=kind)


def _fail(code: str, reason: Literal["failed", "exhausted", "quarantined"]) -> Fail:
    kind = CATALOGUE[code]
    return Fail(code, kind.message, kind.retryable, reason)
