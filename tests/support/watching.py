"""Watchers of jobs, for tests: over a socket or by polling, each keeping what it was told, in order."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets

from safelight.wire.cursor import Cursor

FINAL = {"succeeded", "failed", "canceled"}
Json = dict[str, Any]


@dataclass
class Told:
    """What a watcher was told, as (cursor, state) and (cursor, progress)."""

    states: list[tuple[Cursor, str]] = field(default_factory=list)
    progress: list[tuple[Cursor, float]] = field(default_factory=list)
    frames: list[Json] = field(default_factory=list)
    last: Json = field(default_factory=dict)

    def add(self, cursor: str, state: str | None, progress: float, frame: Json) -> None:
        at = Cursor.parse(cursor)
        if state is not None:
            self.states.append((at.durable, state))
        self.progress.append((at, progress))
        self.frames.append(frame)
        self.last = frame

    def add_frame(self, frame: Json) -> None:
        if frame["type"] == "snapshot":
            self.add(frame["cursor"], frame["data"]["state"], frame["data"]["progress"], frame)
        elif frame["type"] == "state":
            self.add(frame["cursor"], frame["state"], frame["progress"], frame)
        elif frame["type"] == "progress":
            self.add(frame["cursor"], None, frame["progress"], frame)

    @property
    def cursor(self) -> str | None:
        return str(self.progress[-1][0]) if self.progress else None

    @property
    def story(self) -> list[str]:
        """States in order, each once."""
        told: list[tuple[Cursor, str]] = []
        for at, state in self.states:
            if not told or told[-1][0] != at:
                told.append((at, state))
        return [state for _, state in told]

    def check_order(self) -> None:
        """Time never ran backwards, and progress never fell within a run."""
        cursors = [at for at, _ in self.progress]
        assert cursors == sorted(cursors), cursors
        for (a, before), (b, after) in zip(self.progress, self.progress[1:], strict=False):
            if a.durable == b.durable:
                assert before <= after


async def watch_socket(
    url: str, job: str, told: Told, *, after: str | None = None, token: str | None = None, seconds: float = 90
) -> Told:
    """Watches over one socket until it closes."""
    address = "ws" + url.removeprefix("http") + f"/api/jobs/{job}/live" + (f"?after={after}" if after else "")
    offers = ["safelight.v1", f"token.{token}"] if token else None
    async with (
        asyncio.timeout(seconds),
        websockets.connect(address, open_timeout=10, subprotocols=offers) as socket,
    ):
        async for text in socket:
            assert len(text) <= 4096
            told.add_frame(json.loads(text))
    return told


async def stream(
    url: str, job: str, *, after: str | None = None, token: str | None = None
) -> AsyncIterator[Json]:
    """The frames of one event stream, as a browser reads them; what it is told as an id stands under `id`."""
    headers = {"Accept": "text/event-stream"}
    headers |= {"Last-Event-ID": after} if after else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        http.stream("GET", f"/api/jobs/{job}/events", headers=headers) as answer,
    ):
        if answer.status_code == 204:
            return
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                frame = json.loads(fields["data"])
                assert fields["event"] == frame["type"]
                yield frame | {"id": fields.get("id")}
                fields = {}


async def watch_stream(
    url: str, job: str, told: Told, *, after: str | None = None, token: str | None = None, seconds: float = 90
) -> Told:
    """Watches by one event stream until it ends."""
    async with asyncio.timeout(seconds):
        async for frame in stream(url, job, after=after, token=token):
            told.add_frame(frame)
    return told


async def everything(socket: websockets.ClientConnection) -> list[str]:
    """What a socket says until it closes, whatever the code."""
    said: list[str] = []
    with suppress(websockets.ConnectionClosed):
        while True:
            said.append(str(await socket.recv()))
    return said


async def watch_polling(
    url: str, job: str, told: Told, *, wait: float = 0, pause: float = 0.05, seconds: float = 90
) -> Told:
    """Polls until the job has ended; with `wait` by long-polls. Never sees a 404."""
    etag = ""
    async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=url, timeout=40) as http:
        while True:
            query: Json = {"wait": wait, "after": told.cursor} if wait and told.cursor else {}
            answer = await http.get(
                f"/api/jobs/{job}", params=query, headers={"If-None-Match": etag} if etag else {}
            )
            assert answer.status_code in (200, 304), answer.text
            if answer.status_code == 200:
                found = answer.json()
                etag = answer.headers["etag"]
                told.add(found["cursor"], found["state"], found["progress"], found)
                if found["state"] in FINAL:
                    return told
            await asyncio.sleep(0 if wait else pause)


async def submit(url: str, pipeline: str, image: bytes, **params: Any) -> Json:
    """Submits an image; answers the job, which is a new one."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        answer = await http.post(
            "/api/jobs",
            params={"pipeline": pipeline, "params": json.dumps(params), "reuse": "false"},
            content=image,
        )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())


async def get(url: str, job: str) -> Json:
    """The job."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        return dict((await http.get(f"/api/jobs/{job}")).raise_for_status().json())


async def until(url: str, job: str, *states: str, seconds: float = 60) -> Json:
    """The job, as soon as it is in one of these states."""
    async with asyncio.timeout(seconds):
        while (found := await get(url, job))["state"] not in states:
            await asyncio.sleep(0.03)
        return found


def metric(text: str, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
