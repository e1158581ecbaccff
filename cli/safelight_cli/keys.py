"""`safelight keys`: API keys, made and revoked by whoever can reach the database."""

import argparse
import asyncio
from typing import Any

from rich.console import Console
from rich.table import Table

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.keys.keys import SCOPES, ApiKeys


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("keys", help="create, list and revoke API keys")
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="a new key; it is shown this once")
    create.add_argument("tenant", help="whose it is; made when unknown")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument("--scopes", default=",".join(SCOPES), help=f"some of {','.join(SCOPES)}")
    create.add_argument("--days", type=float, help="how long it works (default: until revoked)")
    listing = verbs.add_parser("list", help="every key, without its secret")
    listing.add_argument("tenant", nargs="?")
    revoke = verbs.add_parser("revoke", help="a key stops working within half a minute")
    revoke.add_argument("id", help="its public part, as `list` shows it")


def run(args: argparse.Namespace) -> int:
    """0, or 1 when there is no such key."""
    return asyncio.run(_keys(args))


async def _keys(args: argparse.Namespace) -> int:
    console = Console()
    async with open_pool(Settings.load()) as pool:
        keys = ApiKeys(pool)
        if args.verb == "create":
            # The bare key on standard output, so that a script can take it.
            print(await keys.create(args.tenant, args.name, args.scopes.split(","), args.days))
            return 0
        if args.verb == "revoke":
            return 0 if await keys.revoke(args.id) else 1
        table = Table(box=None, pad_edge=False)
        for title in ("id", "tenant", "name", "scopes", "created", "state"):
            table.add_column(title)
        for key in await keys.list(args.tenant):
            state = "revoked" if key.revoked_at else "valid"
            table.add_row(
                key.id, key.tenant_name, key.name, ",".join(key.scopes), f"{key.created_at:%Y-%m-%d}", state
            )
        console.print(table)
    return 0
