"""Publishes progress of jobs: `live_publisher.py safelight|bare REDIS_URL PER_SECOND SECONDS JOB...`.

Called by areas/live.py. Every job gets so many events a second, one after the other over all jobs, as the
processor's reporter does it. The frame's status is the time of the call, by a clock that all processes
share. `safelight` is Stream.publish; `bare` is a PUBLISH of the same frame, without anything around it.
"""

import asyncio
import json
import sys
import time
from uuid import UUID

import uvloop

from safelight.progress.stream import News, Stream, connect
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ProgressFrame, encode
from safelight.wire.key import JobKey

CHANNEL = "bench:live"
CLAIMED = (1, 2)  # epoch and seq of a job that was claimed once


def frame(job: str, n: int, total: int) -> ProgressFrame:
    """Progress that says when it was made."""
    return ProgressFrame(
        job=job,
        cursor=str(Cursor(*CLAIMED, n)),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        attempt=1,
        progress=round(99 * n / total, 1),
        stage="work",
        status=str(time.monotonic_ns()),
    )


async def main() -> None:
    """Publishes at an even pace and prints how many it were."""
    kind, url, rate, seconds, jobs = (
        sys.argv[1],
        sys.argv[2],
        float(sys.argv[3]),
        float(sys.argv[4]),
        sys.argv[5:],
    )
    redis = connect(url)
    stream, loop = Stream(redis), asyncio.get_running_loop()
    total, each = int(rate * seconds), 1 / (rate * len(jobs))
    began, sent = loop.time(), 0
    for n in range(1, total + 1):
        for job in jobs:
            if (early := began + sent * each - loop.time()) > 0:
                await asyncio.sleep(early)
            if kind == "safelight":
                await stream.publish(News(JobKey(1, UUID(job)), Cursor(*CLAIMED, n), frame(job, n, total)))
            else:
                await redis.publish(CHANNEL, job.encode() + b"\n" + encode(frame(job, n, total)))
            sent += 1
    print("result", json.dumps({"sent": sent, "seconds": loop.time() - began, "cpu": time.process_time()}))
    await redis.aclose()


if __name__ == "__main__":
    uvloop.run(main())
