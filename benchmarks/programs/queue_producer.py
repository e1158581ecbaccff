"""A producer of one queue: `KIND burst|bulk|pace DSN REDIS_URL SECONDS CALLERS [PER_SECOND [TENANT]]`.

Called by areas/queue.py. `burst`: so many callers, each with one job after the other, one durable call a
job. `bulk`: one caller, a thousand jobs a call. `pace`: so many jobs a second, each with the time of its
call in it.
"""

import asyncio
import json
import sys
import time

import uvloop
from queues import BULK, Place, Producer, load


async def burst(producer: Producer, seconds: float, callers: int) -> dict[str, float]:
    """Jobs per second of so many callers."""
    for _ in range(callers):
        await producer.put(None)  # connections are open, statements are prepared
    done, used, began = 0, time.process_time(), time.perf_counter()

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            await producer.put(None)
            done += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return _told(done, began, used)


async def bulk(producer: Producer, seconds: float, callers: int) -> dict[str, float]:
    """Jobs per second of one caller who puts a thousand at a time."""
    await producer.put_many(BULK)
    done, used, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() < began + seconds:
        await producer.put_many(BULK)
        done += BULK
    return _told(done, began, used)


async def pace(producer: Producer, seconds: float, per_second: float) -> dict[str, float]:
    """One job after the other at a steady pace, whatever the one before does."""
    loop = asyncio.get_running_loop()
    began, calls, used = loop.time(), [], time.process_time()
    for number in range(round(seconds * per_second)):
        await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))
        calls.append(asyncio.create_task(_call(producer)))
    await asyncio.gather(*calls)
    return {"jobs": len(calls), "rate": 0.0, "cpu": time.process_time() - used}


async def _call(producer: Producer) -> None:
    await producer.put(str(time.monotonic_ns()))


def _told(done: int, began: float, used: float) -> dict[str, float]:
    seconds = time.perf_counter() - began
    return {"jobs": done, "rate": done / seconds, "cpu": time.process_time() - used}


async def main() -> None:
    """Produces, and prints how fast."""
    kind, mode, dsn, redis_url, seconds, callers = sys.argv[1:7]
    options = {"tenant": int(sys.argv[8])} if len(sys.argv) > 8 else {}
    async with load(kind).producer(Place(dsn, redis_url), **options) as producer:
        if mode == "pace":
            told = await pace(producer, float(seconds), float(sys.argv[7]))
        else:
            told = await (burst if mode == "burst" else bulk)(producer, float(seconds), int(callers))
        print("result", json.dumps(told))


if __name__ == "__main__":
    uvloop.run(main())
