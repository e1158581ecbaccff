"""`safelight jobs`: list, show, cancel, retry one, or every failed one of a kind."""

import argparse
import asyncio
from typing import Any

from rich.console import Console
from rich.table import Table

from safelight_cli.client import Client, Json
from safelight_cli.watch import add_server

_COLORS = {"succeeded": "green", "failed": "red", "canceled": "yellow", "running": "cyan", "queued": "white"}


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("jobs", help="list jobs; show, cancel or retry one")
    parser.add_argument(
        "verb", nargs="?", default="list", choices=["list", "show", "cancel", "retry", "retry-failed"]
    )
    parser.add_argument("job", nargs="?", help="the job's id")
    parser.add_argument("--state", choices=list(_COLORS))
    parser.add_argument("--pipeline", help="jobs of this pipeline")
    parser.add_argument("--code", help="failed jobs with this error code")
    parser.add_argument("--limit", type=int, default=20)
    add_server(parser)


def run(args: argparse.Namespace) -> int:
    """0, or 1 with the server's words, or 2 when the job's id is missing."""
    console = Console()
    if args.verb not in {"list", "retry-failed"} and not args.job:
        console.print(f"Which job? safelight jobs {args.verb} JOB", highlight=False)
        return 2
    asyncio.run(_jobs(args, console))
    return 0


async def _jobs(args: argparse.Namespace, console: Console) -> None:
    async with Client(args.url, args.key) as client:
        if args.verb == "list":
            query = {"limit": args.limit, "state": args.state, **_kind(args)}
            given = {name: value for name, value in query.items() if value is not None}
            _table(console, (await client.list(**given))["jobs"])
        elif args.verb == "retry-failed":
            more = True
            while more:
                answer = await client.post("/api/jobs/retry", **_kind(args))
                more = answer["more"] and answer["jobs"] > 0
                console.print(f"{answer['jobs']} jobs are queued again", highlight=False)
        elif args.verb == "show":
            console.print_json(data=await client.get(args.job))
        else:
            job = await client.post(f"/api/jobs/{args.job}/{args.verb}")
            console.print(f"{job['id']} is {job['state']} ({job['reason']})", highlight=False)


def _kind(args: argparse.Namespace) -> Json:
    return {name: value for name in ("pipeline", "code") if (value := getattr(args, name)) is not None}


def _table(console: Console, jobs: list[Json]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("job", "pipeline", "state", "%", "attempt", "created", "error"):
        table.add_column(title)
    for job in jobs:
        error = (job["error"] or {}).get("code", "")
        state = f"[{_COLORS[job['state']]}]{job['state']}[/]"
        created = job["created_at"][:19].replace("T", " ")
        table.add_row(
            job["id"], job["pipeline"], state, f"{job['progress']:.0f}", str(job["attempt"]), created, error
        )
    console.print(table)
