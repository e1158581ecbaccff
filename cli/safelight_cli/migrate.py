"""`safelight migrate`: brings the database schema up to date. A deployment runs it before new code."""

import argparse
import asyncio
import sys

from safelight.config import Settings
from safelight.db.migrate import migrate


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `migrate` to the command line."""
    commands.add_parser(
        "migrate", help="bring the database of SAFELIGHT_DATABASE_URL up to date", description=__doc__
    )


def run(arguments: argparse.Namespace) -> int:
    """Applies what is missing, and says what that was."""
    del arguments
    settings = Settings.load()
    applied = asyncio.run(migrate(settings.database_url, settings.server_limit))
    for name in applied:
        sys.stdout.write(f"applied {name}\n")
    if not applied:
        sys.stdout.write("the schema is up to date\n")
    return 0
