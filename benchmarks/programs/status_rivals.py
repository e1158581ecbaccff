"""What one writes without Safelight: a handler that GETs a key from Redis, under Litestar and under FastAPI.

Served by areas/status.py, each by one worker process: Litestar by Granian, FastAPI by uvicorn, both on
uvloop. The key holds what our own API answers for that job, with its ETag before it. REDIS_URL says where.
"""

# ruff: noqa: PLC0415  each kind imports only what it needs, so that none pays for the others

import os
from typing import Any

from redis.asyncio import Redis

_redis = Redis.from_url(os.environ["REDIS_URL"])


async def _found(job_id: str) -> tuple[str, bytes]:
    value = await _redis.get(f"bench:status:{job_id}")
    etag, _, body = value.partition(b"\n")
    return etag.decode(), body


def litestar() -> Any:
    """The Litestar application."""
    from litestar import Litestar, Request, Response, get

    @get("/api/jobs/{job_id:str}")
    async def status(request: Request, job_id: str) -> Response:
        etag, body = await _found(job_id)
        if request.headers.get("if-none-match") == etag:
            return Response(None, status_code=304, headers={"ETag": etag})
        return Response(body, media_type="application/json", headers={"ETag": etag})

    return Litestar([status], openapi_config=None)


def fastapi() -> Any:
    """The FastAPI application."""
    from fastapi import FastAPI, Request, Response

    app = FastAPI(openapi_url=None)

    @app.get("/api/jobs/{job_id}")
    async def status(request: Request, job_id: str) -> Response:
        etag, body = await _found(job_id)
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return Response(body, media_type="application/json", headers={"ETag": etag})

    return app
