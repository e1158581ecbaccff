"""What the queue is told about a run that has ended. Pure: values in, a decision out.

`runs` calls `decide` with how the child's run ended, or why it was interrupted, and then says the one verb
of the queue that the answer names.
"""

from typing import Final, Literal, assert_never

from msgspec import Struct

from safelight.errors import CATALOGUE
from safelight_processor.child.ending import Crashed, Ending, TimedOut
from safelight_processor.child.protocol import Failed, Finished, OutputFile

QUARANTINE_AFTER: Final = 2  # crashes of one job


Why = Literal["cancel", "drain", "lease_lost", "no_child"]


class Interrupted(Struct, frozen=True):
    """The run was stopped by us: `cancel` asked, `drain` of this processor, `lease_lost`, or `no_child`."""

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
    """`retry` it after so many seconds; `crashed` counts towards the quarantine."""

    code: str
    message: str
    delay_seconds: float
    crashed: bool = False


class Release(Struct, frozen=True):
    """`release` it: another processor runs it at once, and the attempt is given back."""


class Cancel(Struct, frozen=True):
    """End it as `canceled`."""


class Drop(Struct, frozen=True):
    """Say nothing: somebody else holds the lease, and with it the word."""


Outcome = Complete | Fail | Retry | Release | Cancel | Drop


def decide(
    ending: Ending | Interrupted, *, attempt: int, max_attempts: int, crashes: int, delay: float
) -> Outcome:
    """What becomes of the job.

    Args:
        ending: how the run ended.
        attempt: the number of this run, from 1.
        max_attempts: after how many runs a job is not tried again.
        crashes: how often the job has crashed its child before this run.
        delay: seconds until the next attempt, should there be one (`safelight.jobs.retry.delay`).
    """
    later = delay if attempt < max_attempts else None
    match ending:
        case Interrupted():
            return _interrupted(ending)
        case Finished():
            return Complete(ending.outputs, ending.result)
        case Failed():
            return _failed(ending, later)
        case TimedOut():
            return _fail("deadline_exceeded", "failed")
        case Crashed():
            return _crashed(crashes + 1, later)
        case _:
            assert_never(ending)


def _interrupted(interrupted: Interrupted) -> Outcome:
    match interrupted.why:
        case "cancel":
            return Cancel()
        case "drain" | "no_child":
            return Release()
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


def _crashed(crashes: int, later: float | None) -> Outcome:
    if crashes >= QUARANTINE_AFTER:
        return _fail("quarantined", "quarantined")
    if later is None:
        return _fail("pipeline_crashed", "exhausted")
    return Retry("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, later, crashed=True)


def _fail(code: str, reason: Literal["failed", "exhausted", "quarantined"]) -> Fail:
    kind = CATALOGUE[code]
    return Fail(code, kind.message, kind.retryable, reason)
