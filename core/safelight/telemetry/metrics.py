"""Every metric of the project. Prefix `safelight_`; base units; no label ever holds an id.

The rooms count by name (`metrics.jobs_claimed_total.labels(pipeline=…).inc()`); `render` makes the
text that the API's `/metrics` and the processor's health server answer. An API of several processes
sets PROMETHEUS_MULTIPROC_DIR (an empty folder) before it imports this; each process then writes there and
`render` adds up all of them.

Things are counted at their end, and states are gauges. How several processes add up stands at each gauge.
"""

import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_NAMESPACE = "safelight"

# From a poll in a warm queue to a queue that is hours behind; from a thumbnail to a long restoration.
_WAIT = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_RUN = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, namespace=_NAMESPACE)


def _sum(name: str, text: str, *labels: str) -> Gauge:
    """A gauge of which each process has a share: living processes are added up."""
    return Gauge(name, text, labels, namespace=_NAMESPACE, multiprocess_mode="livesum")


def _latest(name: str, text: str, *labels: str) -> Gauge:
    """A gauge that means the same in every process: the newest value counts.

    Not the lowest: a process that has not said anything yet counts as 0.
    """
    return Gauge(name, text, labels, namespace=_NAMESPACE, multiprocess_mode="mostrecent")


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, namespace=_NAMESPACE, buckets=buckets)


# Jobs
jobs_enqueued_total = _counter("jobs_enqueued_total", "Jobs accepted, repeats not counted", "pipeline")
jobs_claimed_total = _counter("jobs_claimed_total", "Runs begun", "pipeline")
jobs_completed_total = _counter("jobs_completed_total", "Jobs ended by a run", "pipeline", "state")
jobs_retried_total = _counter("jobs_retried_total", "Runs that ended in a later attempt", "pipeline", "code")
jobs_released_total = _counter("jobs_released_total", "Runs handed back on purpose", "pipeline")
jobs_rescued_total = _counter("jobs_rescued_total", "Runs taken back after their lease expired")
jobs_canceled_total = _counter("jobs_canceled_total", "Cancellations that were accepted", "pipeline")
leases_lost_total = _counter("leases_lost_total", "Writes of a run refused as its lease was lost", "verb")
job_wait_seconds = _histogram("job_wait_seconds", "From due to claimed", _WAIT, "pipeline")
job_run_seconds = _histogram("job_run_seconds", "From claimed to ended", _RUN, "pipeline")
queue_depth = _latest("queue_depth", "Jobs that have not ended", "pipeline", "state")
queue_oldest_age_seconds = _latest(
    "queue_oldest_age_seconds", "For how long the oldest due job has waited", "pipeline"
)

# The processor
slots = _sum("slots", "Jobs that can run at once")
slots_busy = _sum("slots_busy", "Jobs that run")
children_alive = _sum("children_alive", "Sandboxed processes, warm or at work")
child_crashes_total = _counter("child_crashes_total", "Sandboxed processes that died at work", "reason")
children_recycled_total = _counter(
    "children_recycled_total", "Sandboxed processes replaced after their number of jobs"
)

# Retention
jobs_pruned_total = _counter("jobs_pruned_total", "Jobs forgotten as their time was over")
partitions_dropped_total = _counter("partitions_dropped_total", "Parts of history dropped", "table")
history_ahead_seconds = _latest("history_ahead_seconds", "For how long to come history has partitions")
orphans_removed_total = _counter("orphans_removed_total", "Stored files removed as no job referred to them")
orphan_bytes_removed_total = _counter("orphan_bytes_removed_total", "Bytes of those files")

# Uploads and HTTP
upload_bytes_total = _counter("upload_bytes_total", "Bytes of images received, refused ones too")
uploads_refused_total = _counter("uploads_refused_total", "Submissions refused", "code")
http_requests_total = _counter("http_requests_total", "Requests answered", "method", "route", "status")
http_request_seconds = _histogram(
    "http_request_seconds", "From request to the end of its answer", _REQUEST, "method", "route"
)

# Live
live_sockets = _sum("live_sockets", "Open live connections")
live_watches = _sum("live_watches", "Jobs watched by them")
live_frames_total = _counter("live_frames_total", "Frames sent", "type")
live_resumes_total = _counter("live_resumes_total", "Watches begun, by how they found their place", "outcome")
live_cut_total = _counter("live_cut_total", "Connections that did not go when their process went")
live_slow_consumers_total = _counter(
    "live_slow_consumers_total", "Connections closed as their reader was slow"
)
events_published_total = _counter("events_published_total", "News told to Redis", "type")
publish_failures_total = _counter("publish_failures_total", "News that Redis did not take")

# What it stands on
redis_up = _latest("redis_up", "1 when Redis answers")
database_up = _latest("database_up", "1 when Postgres answers")
database_horizon_seconds = _latest(
    "database_horizon_seconds", "For how long vacuum has been held back by what is open in the database"
)
database_horizon_transactions = _latest(
    "database_horizon_transactions", "Transactions begun since then, what they left is kept"
)
ready_dead_tuples = _latest("ready_dead_tuples", "Versions of rows of the queue that wait for vacuum")
loop_last_success_timestamp_seconds = _latest(
    "loop_last_success_timestamp_seconds", "When a supervised loop last went well", "loop"
)
build_info = _latest("build_info", "Always 1; versions are in the labels", "version", "pillow")


def render() -> tuple[str, bytes]:
    """Media type and text of all metrics, in Prometheus' format; of all processes, when there are several."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it registers itself
    return CONTENT_TYPE_LATEST, generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """What only the living have, open sockets for example, of a process that was killed is no more."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            continue  # it lives
