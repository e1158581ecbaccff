"""What the sandbox costs: `isolation.py FILE COUNT WIDTH HEIGHT`: a job in process and in a child, in turns.

Called by areas/thumbnails.py. The child is a warm one of the processor's own pool, with all its limits.
"""

# ruff: noqa: ASYNC240  nobody else waits for this loop

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from safelight.pipelines import Image, Run
from safelight_processor.child.protocol import InputFile, Limits, Task
from safelight_processor.children import Children, Finished
from safelight_processor.pipelines.transform import transform


async def main() -> None:
    """Both ways in turns."""
    path, count = Path(sys.argv[1]), int(sys.argv[2])
    params = json.dumps({"width": int(sys.argv[3]), "height": int(sys.argv[4])}).encode()
    described = {"name": "a.jpg", "media_type": "image/jpeg", "width": 4000, "height": 3000}
    inside, outside = [], []
    children = Children(1)
    await children.start()
    shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
    for _ in range(count + 1):
        with tempfile.TemporaryDirectory(dir=shm) as folder:
            image = Image(path=path, bytes=path.stat().st_size, **described)
            began = time.perf_counter()
            transform.call(Run("job", [image], Path(folder), lambda report: None), params)
            inside.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory(dir=shm) as folder:
            given = InputFile(path=str(path), bytes=path.stat().st_size, **described)
            limits = Limits(memory=transform.memory, cpu=60, file=1 << 30, pixels=transform.max_pixels)
            task = Task(
                job="job", pipeline="transform", params=params, inputs=[given], workdir=folder, limits=limits
            )
            began = time.perf_counter()
            ending = await children.run(task, 60.0, lambda progress: None)
            outside.append(time.perf_counter() - began)
            assert isinstance(ending, Finished), ending
    await children.close()
    answer = {"process": statistics.median(inside[1:]), "child": statistics.median(outside[1:])}
    print("result", json.dumps({**answer, "pillow": children.pillow}))


if __name__ == "__main__":
    uvloop.run(main())
