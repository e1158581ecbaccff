"""`safelight submit PICTURE...`: uploads, watches, and puts the results beside the pictures."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from safelight_cli.client import Client, Json
from safelight_cli.watch import add_server, show


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("submit", help="submit pictures, watch them, fetch the results")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--pipeline", default="restore", help="what to do (default: restore)")
    parser.add_argument("--priority", type=int, choices=range(4), default=1, help="3 is first (default: 1)")
    parser.add_argument("--params", default="{}", type=_params, help="the pipeline's parameters, as JSON")
    parser.add_argument("--out", type=Path, help="folder for the results (default: beside each picture)")
    parser.add_argument("--no-wait", action="store_true", help="print the job ids and leave")
    add_server(parser)


def _params(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return found


def run(args: argparse.Namespace) -> int:
    """0 when every job succeeded (or, with --no-wait, was accepted)."""
    return asyncio.run(_submit(args))


async def _submit(args: argparse.Namespace) -> int:
    console = Console()
    failed = 0
    asked = {"pipeline": args.pipeline, "priority": args.priority, "params": json.dumps(args.params)}
    async with Client(args.url, args.key) as client:
        for picture in args.pictures:
            job = await upload(client, picture, asked, console)
            console.print(f"{picture.name}: job {job['id']}", highlight=False)
            if args.no_wait:
                continue
            job = await show(client, job["id"], console)
            failed += job["state"] != "succeeded"
            for target in await fetch(client, job, args.out or picture.parent, picture.stem):
                console.print(f"  {target}", highlight=False)
    return 1 if failed else 0


async def upload(client: Client, picture: Path, asked: Json, console: Console) -> Json:
    """Uploads one picture with a bar, `asked` says for what; answers the job."""
    columns = (TextColumn("uploading"), BarColumn(bar_width=32), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=picture.stat().st_size)
        return await client.submit(picture, asked, lambda sent: bar.update(task, completed=sent))


async def fetch(client: Client, job: Json, folder: Path, stem: str) -> list[Path]:
    """Downloads every output of a job as `STEM-NAME`."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = []
    for output in job.get("outputs", []):
        target = folder / f"{stem}-{output['name']}"
        await client.download(output["href"], target)
        targets.append(target)
    return targets
