"""The least that a live server can be: `live_relay.py PORT REDIS_PORT`. `websockets` and a bare Redis reader.

Called by areas/live.py as the yardstick. No authorization, no snapshot, no resume, no slow consumers: what is
published for a job goes to every socket at /JOB.
"""

import asyncio
import sys

import hiredis
import uvloop
from live_publisher import CHANNEL
from websockets.asyncio.server import ServerConnection, broadcast, serve

watchers: dict[str, set[ServerConnection]] = {}


async def watch(socket: ServerConnection) -> None:
    """One client, for as long as it stays."""
    assert socket.request is not None
    mine = watchers.setdefault(socket.request.path[1:], set())
    mine.add(socket)
    try:
        await socket.wait_closed()
    finally:
        mine.discard(socket)


async def main() -> None:
    """Relays for ever."""
    port, redis_port = int(sys.argv[1]), int(sys.argv[2])
    async with serve(watch, "127.0.0.1", port, compression=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", redis_port)
        writer.write(f"SUBSCRIBE {CHANNEL}\r\n".encode())
        replies = hiredis.Reader()
        print("ready", flush=True)
        while data := await reader.read(65536):
            replies.feed(data)
            while (reply := replies.gets()) is not False:
                if reply[0] == b"message":
                    job, _, frame = reply[2].partition(b"\n")
                    broadcast(watchers.get(job.decode(), set()), frame.decode())


if __name__ == "__main__":
    uvloop.run(main())
