"""Watches jobs: `live_watcher.py socket|redis URL PATH JOB...`; prints `ready`, then latencies in ms.

Called by areas/live.py. `socket`: one WebSocket for each job, at URL + PATH with {job} in it. `redis`: one
bare subscription for all of them. It ends when nothing has come for a second.
"""

import asyncio
import json
import sys
import time

import hiredis
import msgspec
import uvloop
import websockets
from live_publisher import CHANNEL

SILENCE = 1.0  # seconds


class Progress(msgspec.Struct):
    """What is of interest in a frame."""

    type: str = ""
    status: str | None = None


_decode = msgspec.json.Decoder(Progress).decode
latencies: list[float] = []
last = [0.0]


def note(frame: bytes | str) -> None:
    """Notes how old a progress frame is."""
    now = time.monotonic_ns()
    found = _decode(frame)
    if found.type == "progress" and found.status:
        latencies.append((now - int(found.status)) / 1e6)
        last[0] = time.monotonic()


async def watch_socket(url: str, ready: asyncio.Semaphore) -> None:
    """Notes everything that comes; the first two frames of a job are `connected` and its snapshot."""
    async with websockets.connect(url, compression=None, open_timeout=30) as socket:
        ready.release()
        async for message in socket:
            note(message)


async def watch_redis(url: str, ready: asyncio.Semaphore) -> None:
    """A subscription with as little as possible around it."""
    host, _, port = url.removeprefix("redis://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"SUBSCRIBE {CHANNEL}\r\n".encode())
    replies = hiredis.Reader()
    while data := await reader.read(65536):
        replies.feed(data)
        while (reply := replies.gets()) is not False:
            if reply[0] == b"subscribe":
                ready.release()
            else:
                note(reply[2].partition(b"\n")[2])


async def main() -> None:
    """Watches until it is quiet."""
    kind, url, path, jobs = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    ready = asyncio.Semaphore(0)
    if kind == "socket":
        watches = [asyncio.create_task(watch_socket(url + path.format(job=job), ready)) for job in jobs]
    else:
        watches = [asyncio.create_task(watch_redis(url, ready))]
    for _ in watches:
        await ready.acquire()
    await asyncio.sleep(0.3)  # snapshots are on their way
    print("ready", flush=True)
    while not last[0] or time.monotonic() - last[0] < SILENCE:
        await asyncio.sleep(0.1)
        for watch in watches:
            if watch.done():
                watch.result()
    print("result", json.dumps({"latencies": latencies}), flush=True)
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main())
