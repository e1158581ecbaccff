"""What one writes without Safelight: an upload into a file, under Litestar. FOLDER says where.

Served by areas/upload.py with one worker process of Granian. `/stream` writes chunks as they come, with
`?sync` it also does what durability takes; `/form` is the framework's own multipart parser and a copy.
"""

# ruff: noqa: PLC0415  each kind imports only what it needs, so that none pays for the others

import os
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

_folder = Path(os.environ["FOLDER"])


def litestar() -> Any:
    """The Litestar application."""
    from litestar import Litestar, Request, post, put
    from litestar.datastructures import UploadFile
    from litestar.enums import RequestEncodingType
    from litestar.params import Body

    @put("/stream", request_max_body_size=None)
    async def stream(request: Request) -> dict[str, int]:
        path = _folder / uuid4().hex
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
            if "sync" in request.query_params:
                file.flush()
                os.fsync(file.fileno())
        size = path.stat().st_size
        path.unlink()
        return {"bytes": size}

    @post("/form", request_max_body_size=None)
    async def form(
        data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
    ) -> None:
        path = _folder / uuid4().hex
        with path.open("wb") as file:
            while chunk := await data["file"].read(1024 * 1024):
                file.write(chunk)
        path.unlink()

    return Litestar([stream, form], openapi_config=None)
