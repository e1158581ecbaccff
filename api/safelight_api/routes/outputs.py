"""GET of inputs and outputs: image bytes out, streamed, with ranges.

Bytes that came from strangers are served so that no browser takes them for anything but a picture.
"""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response, route
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.response import Stream

from safelight.errors import Failure
from safelight.jobs.job import StoredFile
from safelight.wire.key import JobKey
from safelight_api.services import Services

Req = Request[None, None, State]
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_Signature = Annotated[str | None, Parameter(description="opens this job's files")]


@route("/api/jobs/{job_id:uuid}/outputs/{name:str}", http_method=["GET", "HEAD"])
async def output(
    request: Req, services: Services, job_id: UUID, name: str, signature: _Signature = None
) -> Response[bytes]:
    """The bytes of an output."""
    key = await _key(request, services, job_id, signature)
    job = await services.job(key)
    return _send(request, services, key, _find(job.outputs, name, "output_not_found"))


@route("/api/jobs/{job_id:uuid}/inputs/{name:str}", http_method=["GET", "HEAD"])
async def input_(
    request: Req, services: Services, job_id: UUID, name: str, signature: _Signature = None
) -> Response[bytes]:
    """The bytes of what was uploaded."""
    key = await _key(request, services, job_id, signature)
    job = await services.job(key)
    return _send(request, services, key, _find(job.inputs, name, "input_not_found"))


async def _key(request: Req, services: Services, job_id: UUID, signature: str | None) -> JobKey:
    caller = await services.auth.reader(request.headers, signature)
    return caller.key(JobKey(caller.tenant, job_id), "read")


def _find(files: Sequence[StoredFile], name: str, missing: str) -> StoredFile:
    for file in files:
        if file.name == name:
            return file
    raise Failure(missing)


def _send(request: Req, services: Services, key: JobKey, file: StoredFile) -> Response[bytes]:
    etag = f'"{file.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(file.name)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(b"", status_code=304, headers=headers)
    part = _range(request, file.bytes, etag)
    start, end = part or (0, file.bytes)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(b"", status_code=status, headers=headers, media_type=file.media_type)
    body = services.store.read(key.tenant, file.key, start, end)
    return Stream(body, status_code=status, headers=headers, media_type=file.media_type)  # type: ignore[return-value]


def _range(request: Req, size: int, etag: str) -> tuple[int, int] | None:
    """The one range that is asked for, half-open; None for the whole, also when several are asked for."""
    condition = request.headers.get("if-range")
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match[0] == "bytes=-" or (condition is not None and condition != etag):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if start >= end:
        raise Failure("range_not_satisfiable")
    return start, end
