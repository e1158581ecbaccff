"""A worker of one queue: `KIND drain|serve DSN REDIS_URL COUNTER NUMBER [OPTIONS]`.

Called by areas/queue.py, once for ours and once for each rival. It says `loaded`, begins at a line on its
standard input, and ends when that is closed. `drain` empties a queue that was filled before; `serve` is
told when each job was enqueued (by a clock that all processes share) and answers how long they took to
start. Handlers do nothing.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from queues import Place, Shift, load


async def main() -> None:
    """Runs the worker and prints what it has seen."""
    kind, mode, dsn, redis_url, counter, number = sys.argv[1:7]
    queue = load(kind)
    shift = Shift(
        place=Place(dsn, redis_url),
        serving=mode == "serve",
        counter=Path(counter),
        number=int(number),
        options=json.loads(sys.argv[7]) if len(sys.argv) > 7 else {},
    )
    print("loaded", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    shift.listen()
    await queue.work(shift)
    print("result", json.dumps(shift.told()))


if __name__ == "__main__":
    uvloop.run(main())
