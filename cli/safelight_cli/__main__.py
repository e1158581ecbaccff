"""`safelight COMMAND`: finds the command, runs it, and turns what a person must change into a sentence.

A command is a module with `add_parser(commands)` and `run(arguments) -> int`; its name stands in `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

import httpx

from safelight import __version__
from safelight.errors import Failure
from safelight_cli.client import ProblemError
from safelight_cli.embedded.part import CannotStartError

COMMANDS = ("up", "demo", "submit", "watch", "jobs", "gates", "keys", "migrate")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage that nobody reads."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers its exit code: 2 where something has to be changed first."""
    parser = _Parser(prog="safelight", description="Long image jobs, watched live.")
    parser.add_argument("--version", action="version", version=f"safelight {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    # Each command brings libraries of its own; only the one that is meant is loaded, all for the help.
    meant = [name for name in argv[:1] if name in COMMANDS] or COMMANDS
    modules = {name: import_module(f"safelight_cli.{name}") for name in meant if _is_there(name)}
    for module in modules.values():
        module.add_parser(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(modules[arguments.command].run(arguments))
    except (CannotStartError, Failure) as error:
        sys.stderr.write(f"safelight: {_sentence(error)}\n")
        return 2
    except BrokenPipeError:
        return 141
    except ProblemError as problem:
        sys.stderr.write(f"safelight: {problem} ({problem.code})\n")
        return 1
    except (httpx.TransportError, OSError) as error:
        sys.stderr.write(f"safelight: {getattr(arguments, 'url', '')} {error or type(error).__name__}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _sentence(error: CannotStartError | Failure) -> str:
    if not isinstance(error, Failure):
        return str(error)
    # Whoever sits here may know what a client of the service is not told.
    cause = error.__cause__ if error.code == "unavailable" else None
    return f"{error.message} ({cause})" if cause else error.message


def _is_there(name: str) -> bool:
    return find_spec(f"safelight_cli.{name}") is not None


if __name__ == "__main__":
    sys.exit(main())
