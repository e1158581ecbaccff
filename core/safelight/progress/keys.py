"""The key space: every key, channel and life time in one place.

A job's keys share a hash tag, so that a script finds them on one node of a cluster.
"""

from safelight.wire.key import JobKey

LIVE = "safelight:live"  # news of jobs: "<key> <cursor> <kind>\n<frame>"
WAKE = "safelight:wake"  # a job was queued: processors look at once
CANCEL = "safelight:cancel"  # "<key>": a run was asked to stop

TOP_SECONDS = 24 * 3600  # how long the newest cursor of a job is kept
BODY_MS = 2000  # how old an answer may be when news of it was lost


def top(key: JobKey) -> str:
    """Hash: the newest cursor (`e`, `s`, `n`) and the newest progress frame (`f`)."""
    return f"safelight:{{{key}}}:top"


def body(key: JobKey) -> str:
    """String: the encoded answer to a poll, ETag, newline, body, until news makes it old."""
    return f"safelight:{{{key}}}:body"
