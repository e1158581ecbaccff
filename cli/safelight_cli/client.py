"""The terminal's client: submit, watch, download, over the same HTTP and sockets as every other client.

Called by `submit`, `watch`, `jobs` and `demo`. It watches by WebSocket and goes on by long-poll when
there is none; the cursor makes the two one story.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import websockets

from safelight.wire.cursor import Cursor

FINAL = {"succeeded", "failed", "canceled"}
_CHUNK = 256 * 1024
_TRIES = 3
_SILENCE = 15.0
Json = dict[str, Any]


class ProblemError(Exception):
    """The server said no: its code and its words."""

    def __init__(self, body: Json) -> None:
        self.code: str = body.get("code", "unknown")
        self.retryable: bool = bool(body.get("retryable"))
        errors = "".join(
            f"\n  {item['path'] or 'params'}: {item['message']}" for item in body.get("errors", [])
        )
        super().__init__(f"{body.get('detail', body.get('title', 'The request failed.'))}{errors}")


class Client:
    """One server, one key."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=self._headers, timeout=httpx.Timeout(35.0, connect=5.0)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def submit(self, path: Path, asked: Json, sent: Callable[[int], None] = lambda _: None) -> Json:
        """Uploads one image; tried three times under one id, so that it can only become one job.

        `asked` is `pipeline` and what else a submission takes.

        Raises:
            ProblemError: the server refused it. httpx.TransportError: it could not be reached.
        """
        job_id = uuid4()
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._put(job_id, path, asked, sent)
            except (httpx.TransportError, ProblemError) as error:
                if attempt == _TRIES or (isinstance(error, ProblemError) and not error.retryable):
                    raise
                await asyncio.sleep(2**attempt * random.uniform(0.25, 0.5))  # noqa: S311
        raise AssertionError

    async def _put(self, job_id: UUID, path: Path, asked: Json, sent: Callable[[int], None]) -> Json:
        async def body() -> AsyncIterator[bytes]:
            total = 0
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    yield chunk
                    total += len(chunk)
                    sent(total)

        answer = await self._http.put(
            f"/api/jobs/{job_id}",
            params={**asked, "name": path.name},
            headers={"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"},
            content=body(),
        )
        return _checked(answer)

    async def get(self, job: str, **query: Any) -> Json:
        """The job; with `wait` and `after`, when there is news."""
        return _checked(await self._http.get(f"/api/jobs/{job}", params=query))

    async def post(self, path: str, **query: Any) -> Json:
        """A verb: cancel, retry."""
        return _checked(await self._http.post(path, params=query))

    async def list(self, **query: Any) -> Json:
        """My jobs, newest first."""
        return _checked(await self._http.get("/api/jobs", params=query))

    async def download(self, href: str, target: Path) -> None:
        """An output into a file."""
        async with self._http.stream("GET", href) as answer:
            if answer.is_error:
                await answer.aread()
                _checked(answer)
            with target.open("wb") as file:
                async for chunk in answer.aiter_bytes(_CHUNK):
                    file.write(chunk)

    async def watch(self, job: str) -> AsyncIterator[Json]:
        """Every change of a job, to its end, as `snapshot`, `state` and `progress` frames.

        The last one is a `snapshot` of the ended job. Outages are waited out, once the server was reached.
        """
        told: str | None = None
        wait, reached = 0.5, False
        while True:
            try:
                async for frame in self._live(job, told):
                    wait, reached = 0.5, True
                    told = frame.get("cursor", told)
                    yield frame
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            try:
                found = await self.get(job, wait=5, after=told or "0:0")
            except httpx.TransportError:
                if not reached:
                    raise
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
                wait = min(wait * 2, 10.0)
                continue
            except ProblemError as problem:
                if not problem.retryable:
                    raise
                await asyncio.sleep(1.0)
                continue
            reached = True
            if told is None or Cursor.parse(found["cursor"]) > Cursor.parse(told) or found["state"] in FINAL:
                told = found["cursor"]
                yield {"type": "snapshot", "job": job, "cursor": told, "data": found}
            if found["state"] in FINAL:
                return

    async def _live(self, job: str, told: str | None) -> AsyncIterator[Json]:
        """The frames of one socket, until it closes."""
        url = (
            "ws"
            + self.url.removeprefix("http")
            + f"/api/jobs/{job}/live"
            + (f"?after={told}" if told else "")
        )
        async with websockets.connect(
            url,
            additional_headers=self._headers,
            subprotocols=[websockets.Subprotocol("safelight.v1")],
            open_timeout=5,
        ) as socket:
            while True:
                try:
                    async with asyncio.timeout(_SILENCE):
                        frame = json.loads(await socket.recv())
                except websockets.ConnectionClosed:
                    return
                if frame["type"] in ("snapshot", "state", "progress"):
                    yield frame


def _checked(answer: httpx.Response) -> Json:
    if answer.is_error:
        try:
            body = answer.json()
        except ValueError:
            body = {
                "title": f"{answer.status_code} {answer.reason_phrase}",
                "retryable": answer.status_code >= 500,
            }
        raise ProblemError(body)
    found: Json = answer.json()
    return found
