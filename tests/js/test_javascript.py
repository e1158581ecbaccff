"""The tests of the JavaScript client, run by Node: one of Python's for each of its files."""

import subprocess
from pathlib import Path

import pytest

from support.requires import require

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "clients" / "js" / "src"


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name)
def test_the_client_behaves(file: Path) -> None:
    argv = [
        require("node"),
        "--experimental-websocket",
        "--no-warnings",
        "--test",
        "--test-reporter=spec",
        file,
    ]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]


def test_the_client_needs_nothing_but_itself() -> None:
    """No build step and no dependency: every import is a file beside it."""
    for source in SOURCES.glob("*.js"):
        for line in source.read_text().splitlines():
            if line.startswith(("import ", "export {")) and " from " in line:
                target = line.split(" from ")[1].strip("';")
                assert target.startswith("./"), line
                assert (SOURCES / target).is_file(), line
