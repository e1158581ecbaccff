"""The metrics of several processes: their room is taken before it is needed, in files without holes."""

import os
import subprocess
import sys

import pytest

MEETING = """
import os, resource, sys
from pathlib import Path
from safelight_api import tally

with tally.meeting_place(2):
    folder = Path(os.environ[tally.VARIABLE])
    if sys.argv[1] == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    reserved = tally.reserve()
    from safelight.telemetry import metrics

    for route in range(12):
        labels = {"method": "GET", "route": f"/api/jobs/{{job_id}}/outputs/{{name}}/{route}"}
        metrics.http_request_seconds.labels(**labels).observe(1)
        for status in range(10):
            metrics.http_requests_total.labels(**labels, status=status).inc()
    for file in folder.glob("*.db"):
        found = file.stat()
        print(file.stem.rpartition("_")[0], found.st_size, found.st_blocks * 512 >= found.st_size)
    print("counted", b'safelight_http_request_seconds_count{method="GET"' in metrics.render()[1])
print(reserved, folder.exists(), folder.parent)
"""


def meeting(how: str, **environ: str) -> list[str]:
    """What a process says that has counted with many labels."""
    done = subprocess.run(
        [sys.executable, "-c", MEETING, how],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_no_page_of_the_metrics_is_still_to_be_given_and_all_labels_fit():
    *files, counted, last = meeting("roomy")

    assert sorted(files) == [
        f"{kind} {256 * 1024} True" for kind in ("counter", "gauge_livesum", "gauge_mostrecent", "histogram")
    ]
    assert counted == "counted True"
    assert last.startswith("True False")


def test_without_room_a_process_counts_for_itself_and_maps_no_file():
    assert meeting("full")[:-1] == ["counted True"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no RAM disk")
def test_the_metrics_are_on_the_ram_disk_and_not_with_the_data(tmp_path):
    assert meeting("roomy", TMPDIR=str(tmp_path))[-1] == "True False /dev/shm"
