"""`safelight gates`: what a tenant or a pipeline may have, and work that is stopped for a while.

Done by whoever can reach the database, like `safelight keys`.
"""

import argparse
import asyncio
import getpass
import re
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.gates import Gates
from safelight.jobs.queue import JobQueue

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("gates", help="limits and pauses of tenants and pipelines")
    verbs = parser.add_subparsers(dest="verb", required=True)
    tenant = verbs.add_parser("limit-tenant", help="all that a tenant may have; not said is no limit")
    tenant.add_argument("name")
    tenant.add_argument("--weight", type=int, default=1, help="its share where tenants compete (default: 1)")
    tenant.add_argument("--max-priority", type=int, default=3, help="what it asks beyond that counts as this")
    pipeline = verbs.add_parser("limit-pipeline", help="all that a pipeline may have, over all tenants")
    pipeline.add_argument("name")
    for limit in (tenant, pipeline):
        limit.add_argument("--running", type=int, help="jobs at once")
        limit.add_argument("--queued", type=int, help="jobs that have not ended")
    pause = verbs.add_parser("pause", help="nothing more of a tenant or pipeline begins; what runs goes on")
    _subject(pause)
    pause.add_argument("--reason", required=True)
    pause.add_argument("--owner", default=getpass.getuser(), help="who does this (default: you)")
    pause.add_argument("--for", dest="seconds", type=_seconds, help="30m, 2h, 1d (default: until `resume`)")
    _subject(verbs.add_parser("resume", help="ends a pause"))
    verbs.add_parser("list", help="what is paused, by whom and why")


def _subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["tenant", "pipeline"])
    parser.add_argument("name")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError("expected a number and s, m, h or d: 30m")
    return float(found[1]) * _UNITS[found[2]]


def run(args: argparse.Namespace) -> int:
    """0, or 1 when there was nothing to resume."""
    return asyncio.run(_gates(args))


async def _gates(args: argparse.Namespace) -> int:
    async with open_pool(Settings.load()) as pool:
        queue = JobQueue(pool)
        gates = Gates(pool, queue)
        match args.verb:
            case "limit-tenant":
                await gates.limit_tenant(
                    args.name,
                    weight=args.weight,
                    max_priority=args.max_priority,
                    max_running=args.running,
                    max_queued=args.queued,
                )
            case "limit-pipeline":
                await gates.limit_pipeline(args.name, max_running=args.running, max_queued=args.queued)
            case "pause":
                pause = gates.pause_tenant if args.kind == "tenant" else gates.pause_pipeline
                await pause(args.name, args.owner, args.reason, args.seconds)
                if args.kind == "pipeline" and args.name not in {one.name for one in await queue.pipelines()}:
                    sys.stderr.write(f"No processor has ever offered {args.name}; the pause waits for one.\n")
            case "resume":
                resume = gates.resume_tenant if args.kind == "tenant" else gates.resume_pipeline
                if not await resume(args.name):
                    sys.stderr.write(f"{args.name} was not paused.\n")
                    return 1
            case _:
                await _list(gates)
    return 0


async def _list(gates: Gates) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("what", "name", "owner", "reason", "since", "until"):
        table.add_column(title)
    for pause in await gates.pauses():
        kind = "tenant" if pause.tenant else "pipeline"
        until = f"{pause.expires_at:%Y-%m-%d %H:%M:%S}" if pause.expires_at else "resumed"
        name = pause.tenant or pause.pipeline or ""
        owner, reason = escape(pause.owner), escape(pause.reason)
        table.add_row(kind, escape(name), owner, reason, f"{pause.created_at:%Y-%m-%d %H:%M:%S}", until)
    Console().print(table)
