"""The page, and the JavaScript client that it is made with: files of this package, read once."""

import mimetypes
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from litestar import Request, Response, get
from litestar.datastructures import State

from safelight.errors import Failure

_HERE = Path(str(files("safelight_api")))
# In a checkout the client stands where it is published from; a wheel carries a copy.
_CLIENT = next(
    folder
    for folder in (_HERE / "web" / "client", _HERE.parent.parent / "clients" / "js" / "src")
    if folder.is_dir()
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class _Asset:
    """A file, ready to be sent."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.etag = f'"{sha256(self.body).hexdigest()[:16]}"'
        guessed = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]
        self.media_type = guessed or "application/octet-stream"


def _assets(folder: Path) -> Mapping[str, _Asset]:
    return {
        path.name: _Asset(path)
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(("_", "."))
    }


_PAGE = _assets(_HERE / "web")
_MODULES = _assets(_CLIENT)


def _send(request: Request[None, None, State], assets: Mapping[str, _Asset], name: str) -> Response[bytes]:
    asset = assets.get(name)
    if asset is None:
        raise Failure("not_found")
    headers = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


@get("/", include_in_schema=False, sync_to_thread=False)
def index(request: Request[None, None, State]) -> Response[bytes]:
    """The page."""
    return _send(request, _PAGE, "index.html")


@get("/{name:str}", include_in_schema=False, sync_to_thread=False)
def asset(request: Request[None, None, State], name: str) -> Response[bytes]:
    """What the page is made of."""
    return _send(request, _PAGE, name)


@get("/client/{name:str}", include_in_schema=False, sync_to_thread=False)
def module(request: Request[None, None, State], name: str) -> Response[bytes]:
    """The JavaScript client, as plain modules."""
    return _send(request, _MODULES, name)


ROUTES = [index, asset, module]
