"""Submits thumbnails over HTTP and fetches them: `thumbnail_client.py URL FILE COUNT CALLERS WIDTH HEIGHT`.

Called by areas/thumbnails.py. Every upload differs from the others by a comment in the JPEG, so that none is
a repeat. A caller uploads, long-polls until its job has ended, downloads the output, and begins anew.
"""

# ruff: noqa: ASYNC240  nobody else waits for this loop

import asyncio
import json
import sys
import time
from pathlib import Path

import httpx
import uvloop


def commented(image: bytes, number: int) -> bytes:
    """The same picture with a comment behind its first marker."""
    comment = f"{time.time_ns()} {number}".encode()
    return image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]


async def one(http: httpx.AsyncClient, image: bytes, params: str) -> int:
    """One job, from its upload to its output; answers the bytes of that."""
    answer = await http.post("/api/jobs", params={"pipeline": "transform", "params": params}, content=image)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    while job["state"] not in ("succeeded", "failed", "canceled"):
        answer = await http.get(f"/api/jobs/{job['id']}", params={"wait": 25, "after": job["cursor"]})
        job = answer.raise_for_status().json()
    assert job["state"] == "succeeded", job
    return len((await http.get(job["outputs"][0]["href"])).raise_for_status().content)


async def main() -> None:
    """All of them; the first ones of each caller are not counted."""
    url, path, count, callers, width, height = sys.argv[1:7]
    image, params = Path(path).read_bytes(), json.dumps({"width": int(width), "height": int(height)})
    numbers = iter(range(int(count)))

    async def caller() -> None:
        for number in numbers:
            await one(http, commented(image, number), params)

    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        await asyncio.gather(*(one(http, commented(image, -1 - at), params) for at in range(int(callers))))
        print("ready", flush=True)
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(int(callers))))
        print("result", json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
