"""A small load generator, for machines without wrk: `status_load.py URL CONNECTIONS SECONDS REQUESTS_FILE`.

Called by areas/status.py. Each line of the file is a path and, perhaps, an ETag. One request at a time on
each connection, kept alive.
"""

# ruff: noqa: ASYNC240  nobody else waits for this loop

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

import uvloop

_waits: list[float] = []


async def client(host: str, port: int, requests: "itertools.cycle[bytes]", until: float) -> int:
    """Requests of one connection until the time is over; answers how many were no success."""
    reader, writer = await asyncio.open_connection(host, port)
    wrong = 0
    while (began := time.perf_counter()) < until:
        writer.write(next(requests))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length:" in head and b" 304 " not in head.split(b"\r\n", 1)[0]:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        wrong += head[9:12] not in (b"200", b"304")
        _waits.append(time.perf_counter() - began)
    writer.close()
    return wrong


async def main() -> None:
    """Loads, and prints the same as wrk.lua does."""
    host, _, port = sys.argv[1].removeprefix("http://").partition(":")
    lines = [line.split(" ") for line in Path(sys.argv[4]).read_text().splitlines()]
    requests = itertools.cycle(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode()
        + (f"If-None-Match: {etag[0]}\r\n".encode() if etag else b"")
        + b"\r\n"
        for path, *etag in lines
    )
    until = time.perf_counter() + float(sys.argv[3])
    wrong = await asyncio.gather(*(client(host, int(port), requests, until) for _ in range(int(sys.argv[2]))))
    ordered = sorted(_waits)
    found = {
        "requests": len(ordered),
        "seconds": float(sys.argv[3]),
        "p50": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[int(0.99 * len(ordered))] * 1e3,
        "errors": sum(wrong),
    }
    print("result", json.dumps(found))


if __name__ == "__main__":
    uvloop.run(main())
