"""The documents say what is: paths exist, commands exist, and what is generated is up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.config import OTHER_VARIABLES
from safelight_cli.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "protocol" / "README.md"])


def text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+?)\)", page.read_text())
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_path_of_the_code_map_exists():
    named = re.findall(
        r"`((?:core|api|processor|cli|clients|tests|protocol|docs)/[\w./-]+)`", text("ARCHITECTURE.md")
    )

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_make_target_and_command_that_is_named_exists():
    pages = "\n".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))

    assert (
        set(re.findall(r"`make ([a-z-]+)", pages)) | set(re.findall(r"^make ([a-z-]+)", pages, re.MULTILINE))
        <= targets
    )
    assert set(re.findall(r"`?safelight ([a-z]+)\b(?= |`)", text("docs/operations.md"))) <= set(COMMANDS)


def test_every_variable_that_the_code_reads_is_documented():
    code = "\n".join(
        path.read_text()
        for folder in ("core", "api", "processor", "cli", "tools")
        for path in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r"\bSAFELIGHT_[A-Z]+(?:_[A-Z]+)*\b", code))
    documented = set(re.findall(r"`(SAFELIGHT_[A-Z_]+)`", text("docs/reference.md")))

    assert documented >= OTHER_VARIABLES
    # Those that tests and error messages only play with are no settings.
    assert read - documented <= {"SAFELIGHT_PRT", "SAFELIGHT_LEESE", "SAFELIGHT_"}


def test_every_metric_is_set_somewhere():
    names = re.findall(
        r"^(\w+) = _(?:counter|sum|latest|histogram)\(",
        text("core/safelight/telemetry/metrics.py"),
        re.MULTILINE,
    )
    code = "\n".join(
        path.read_text()
        for folder in ("core", "api", "processor")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "metrics.py"
    )

    assert names
    assert [name for name in names if not re.search(rf"\bmetrics\.{name}\b", code)] == []


def test_what_is_generated_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
