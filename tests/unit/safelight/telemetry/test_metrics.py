"""The metrics as Prometheus reads them: of one process, and of several that write to one folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families

from safelight.telemetry import metrics

BASE_UNITS = re.compile(
    r"_(seconds|bytes|total|info|up|depth|slots|busy|alive|sockets|watches|transactions|tuples)$|^safelight_slots$"
)


def ours() -> list[Metric]:
    return [metric for metric in REGISTRY.collect() if metric.name.startswith("safelight_")]


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def test_the_text_is_what_prometheus_parses_and_holds_every_metric() -> None:
    media_type, text = metrics.render()
    assert media_type.startswith("text/plain; version=")
    assert {metric.name for metric in ours()} <= set(families(text))


def test_every_metric_has_a_help_text_and_a_name_by_the_conventions() -> None:
    assert len(ours()) > 30
    for metric in ours():
        full = metric.name + ("_total" if metric.type == "counter" else "")
        assert len(metric.documentation) > 5, full
        assert BASE_UNITS.search(full), full


def test_no_label_could_hold_an_id() -> None:
    allowed = {"pipeline", "state", "code", "verb", "reason", "method", "route", "status", "type", "outcome"}
    allowed |= {"loop", "version", "pillow", "table"}
    declared = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert declared <= allowed


def test_a_count_shows_in_the_text() -> None:
    before = REGISTRY.get_sample_value("safelight_jobs_rescued_total") or 0.0
    metrics.jobs_rescued_total.inc()
    (sample,) = [
        each
        for each in families(metrics.render()[1])["safelight_jobs_rescued"].samples
        if each.name.endswith("_total")
    ]
    assert sample.value == before + 1


WORKER = """
import sys, time
from safelight.telemetry import metrics
metrics.jobs_enqueued_total.labels(pipeline="p").inc(3)
metrics.live_sockets.set(5)
metrics.queue_depth.labels(pipeline="p", state="queued").set(int(sys.argv[1]))
metrics.redis_up.set(int(sys.argv[2]))
metrics.job_wait_seconds.labels(pipeline="p").observe(0.2)
print("ready", flush=True)
sys.stdin.read()
"""
READER = "import sys; from safelight.telemetry import metrics; sys.stdout.buffer.write(metrics.render()[1])"


def run(folder: Path, code: str, *arguments: str) -> bytes:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, check=True, capture_output=True, timeout=60
    ).stdout


def value(text: bytes, name: str) -> float:
    (found,) = [
        sample.value for family in families(text).values() for sample in family.samples if sample.name == name
    ]
    return found


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    started = []
    for depth, redis in (("7", "1"), ("8", "0")):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, depth, redis],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        started.append(worker)
    yield started
    for worker in started:
        worker.communicate(timeout=30)


def test_several_processes_add_up_as_each_metric_says(
    tmp_path: Path, workers: list[subprocess.Popen[bytes]]
) -> None:
    text = run(tmp_path, READER)
    assert value(text, "safelight_jobs_enqueued_total") == 6
    assert value(text, "safelight_job_wait_seconds_count") == 2
    assert value(text, "safelight_live_sockets") == 10
    assert value(text, "safelight_queue_depth") == 8  # the newest word, not the sum
    assert (
        value(text, "safelight_redis_up") == 0
    )  # the newest, too; the reader, which never looked, does not count


def test_a_process_that_ended_keeps_its_counts_and_loses_its_gauges(
    tmp_path: Path, workers: list[subprocess.Popen[bytes]]
) -> None:
    workers[1].kill()
    workers[1].wait(timeout=30)
    text = run(tmp_path, READER)
    assert value(text, "safelight_jobs_enqueued_total") == 6
    assert value(text, "safelight_live_sockets") == 5
