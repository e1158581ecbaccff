"""`safelight demo`: the main job, end to end, on real servers: a damaged photograph through all of Safelight.

It starts the service in a folder of its own, with two API pods. The picture is uploaded to one of them and
watched through the other. It leaves the restored picture, and a before/after picture with the measured gain.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from safelight.config import Settings
from safelight_cli.client import Client, Json
from safelight_cli.embedded.part import CannotStartError
from safelight_cli.embedded.supervisor import ServiceDownError, Supervisor
from safelight_cli.submit import fetch, upload
from safelight_cli.up import Service, free_port, start, stop_on_signals
from safelight_cli.watch import show

_DEMO = Path(__file__).parents[2] / "demo"


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("demo", help="restore a damaged photograph, from upload to download")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the pictures")


def run(args: argparse.Namespace) -> int:
    """0 when the photograph came back better than it went in.

    Raises:
        CannotStartError: this is no checkout, or a server cannot start.
    """
    if not (_DEMO / "attic.jpg").exists():
        raise CannotStartError("The demo needs the pictures of a checkout: run `make demo` there.")
    folder = Path(tempfile.mkdtemp(prefix="safelight-demo-"))
    folder.chmod(0o711)  # Postgres runs as another user when root starts it
    try:
        return asyncio.run(_demo(folder, args.out.absolute()))
    except ServiceDownError as error:
        raise CannotStartError(f"The service did not start: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _demo(folder: Path, out: Path) -> int:
    console = Console()
    first, second = free_port(), free_port()
    given = {"SAFELIGHT_AUTH": "off", **os.environ, "SAFELIGHT_WORKERS": "1", "SAFELIGHT_PORT": str(first)}
    service = Service(folder, Settings.load(given), given)
    supervisor = Supervisor(
        folder / "logs", lambda part, text: console.print(f"[dim]{part:<10} {text}[/dim]")
    )
    stop_on_signals(supervisor)
    (folder / "logs").mkdir()
    try:
        async with supervisor:
            await start(service, supervisor)
            await supervisor.start(service.api("api-b", second))
            job = await _restore(service.url, f"http://127.0.0.1:{second}", out, console)
    except asyncio.CancelledError:
        return 130
    finally:
        service.close()
    return await _compare(job, out, console)


async def _restore(first: str, second: str, out: Path, console: Console) -> Json:
    """Uploads at the first pod, watches and downloads at the second."""
    picture = _DEMO / "attic.jpg"
    async with Client(first) as a, Client(second) as b:
        job = await upload(a, picture, {"pipeline": "restore"}, console)
        console.print(f"accepted by {first}: job {job['id']}", highlight=False)
        console.print(f"watching it at {second}", highlight=False)
        job = await show(b, job["id"], console)
        if job["state"] == "succeeded":
            await fetch(b, job, out, "attic")
    return job


async def _compare(job: Json, out: Path, console: Console) -> int:
    """Measures the gain against the undamaged original, and draws it; 0 when there is one."""
    if job["state"] != "succeeded":
        return 1
    restored, sheet = out / f"attic-{job['outputs'][0]['name']}", out / "before-after.png"
    pictures = (_DEMO / "original.jpg", _DEMO / "attic.jpg", restored)
    # A process of its own: image libraries stay out of this one.
    score = await asyncio.create_subprocess_exec(sys.executable, _DEMO / "score.py", *pictures, sheet)
    worse = await score.wait()
    console.print(f"restored: {restored}\nbefore and after: {sheet}", highlight=False, soft_wrap=True)
    return worse
