"""`make chaos`: a hundred thousand jobs, every fault in turn, a table. Exit code 1 when anything went wrong.

    python -m chaos.campaign [--short]

Its servers are its own, in a folder that goes with it.
"""

import argparse
import sys

import uvloop

from chaos.campaign.campaign import run
from chaos.campaign.plan import LONG, SHORT
from support.servers import postgres_server, redis_server


def main() -> int:
    """Runs it and prints what it found."""
    parser = argparse.ArgumentParser(description="Let everything fail in turn, and count the jobs.")
    parser.add_argument("--short", action="store_true", help="the sizes of the test in the suite")
    options = parser.parse_args()
    try:
        with postgres_server() as postgres, redis_server() as redis:
            report = uvloop.run(run(SHORT if options.short else LONG, postgres, redis, _say))
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(report.text() + "\n")
    return 1 if report.troubles() else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
