"""`safelight watch JOB`: a progress bar in the terminal, to the end of the job, whatever happens."""

import argparse
import asyncio
import os
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from safelight_cli.client import Client, Json


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("watch", help="watch a job to its end")
    parser.add_argument("job", help="the job's id")
    add_server(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """The options that every command has which talks to a server."""
    parser.add_argument(
        "--url", default=os.environ.get("SAFELIGHT_URL", "http://127.0.0.1:8080"), help="the server"
    )
    parser.add_argument("--key", default=os.environ.get("SAFELIGHT_KEY"), help="an API key, or a job's token")


def run(args: argparse.Namespace) -> int:
    """0 when the job succeeded, 1 when not."""
    return asyncio.run(_watch(args))


async def _watch(args: argparse.Namespace) -> int:
    async with Client(args.url, args.key) as client:
        job = await show(client, args.job)
    return 0 if job["state"] == "succeeded" else 1


async def show(client: Client, job_id: str, console: Console | None = None) -> Json:
    """Draws the bar until the job has ended; answers the job."""
    console = console or Console()
    columns = (
        TextColumn("[bold]{task.fields[state]:>9}"),
        BarColumn(bar_width=32, complete_style="red", finished_style="green"),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    job: Json = {}
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=100, state="queued")
        stage, said = "", 0.0
        async for frame in client.watch(job_id):
            now = frame.get("data") or frame
            job = frame["data"] if frame["type"] == "snapshot" else job | now
            text = now.get("status") or now.get("stage") or ""
            bar.update(task, completed=now["progress"], description=text, state=job.get("state", ""))
            # A file or a pipe shows no bar: there every tenth is a line.
            further = not console.is_terminal and now["progress"] >= said + 10
            if now.get("stage") and (now["stage"] != stage or further):
                stage, said = now["stage"], now["progress"]
                console.print(
                    f"{said:5.1f} %  [bold]{stage}[/bold]  {now.get('status') or ''}", highlight=False
                )
    if error := job.get("error"):
        console.print(f"[red]{error['message']}[/red] ({error['code']})", highlight=False)
    return job
