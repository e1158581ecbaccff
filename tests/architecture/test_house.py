"""The house: who may import whom, where things lie, and that the repository is nobody's machine."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("core", "api", "processor", "operator", "cli", "tools")
MACHINES = [
    r"/work/(main|shared)\b",
    r"/(home|Users)/[A-Za-z]\w*/",
    r"/root/",
    r"/opt/(pypi|wheels)",
    r"pypi\.org|pythonhosted\.org|registry\.npmjs",
]


def tracked() -> list[Path]:
    """Files of the repository, also those not yet added; without what .gitignore names."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_import_law_is_kept():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [5-9]\d* kept, 0 broken|Contracts: \d{2,} kept, 0 broken", done.stdout)


def test_the_operator_folder_never_shadows_the_standard_library():
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_tests_are_no_packages():
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def test_no_module_is_a_drawer_for_everything():
    drawers = {"utils", "util", "common", "helpers", "misc"}
    assert [str(path) for path in modules() if path.stem in drawers or path.parent.name in drawers] == []


def test_no_module_is_longer_than_five_hundred_lines():
    long = {str(path): len(path.read_text().splitlines()) for path in modules()}
    assert {path: lines for path, lines in long.items() if lines > 500} == {}


def test_every_module_says_what_it_is():
    texts = {path: path.read_text() for path in modules()}
    silent = [path for path, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []


def patterns(text: str) -> list[str]:
    """What stands as an expression for `re`, or as a `pattern`; f-strings as far as they are written out."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    given = [node for call in calls if ast.unparse(call.func).startswith("re.") for node in call.args[:1]]
    given += [word.value for call in calls for word in call.keywords if word.arg == "pattern"]
    parts = [part for node in given for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [part.value for part in parts if isinstance(part.value, str)]


def test_no_expression_ends_with_a_dollar_which_lets_a_line_break_follow():
    assert patterns('re.compile("a$"); Meta(pattern="^b" + "c$")') == ["a$", "^b", "c$"]

    found = [(path.name, pattern) for path in modules() for pattern in patterns(path.read_text())]

    assert len(found) > 10
    assert [(name, pattern) for name, pattern in found if pattern.endswith("$")] == []


@pytest.mark.parametrize("pattern", MACHINES)
def test_no_file_knows_a_machine_or_an_index(pattern):
    found = []
    for path in set(tracked()) - {Path(__file__)}:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures
        found += [f"{path}: {line[:200]}" for line in text.splitlines() if re.search(pattern, line)]
    assert found == []


def test_the_targets_that_the_text_names_exist_and_say_what_they_do():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):.*?## \S", makefile))
    phony = re.search(r"(?m)^\.PHONY: (.*)$", makefile)
    assert phony is not None
    assert set(phony[1].split()) == targets
    texts = [path for path in tracked() if path.suffix == ".md"]
    assert texts
    named = {
        (path.name, target)
        for path in texts
        for target in re.findall(r"(?m)(?:`|^\s*\$? ?)make ([a-z][a-z-]+)", path.read_text())
    }
    assert {(name, target) for name, target in named if target not in targets} == set()


def test_the_wheel_holds_what_the_code_reads(tmp_path):
    """SQL, Lua and the page are read through importlib.resources: they must travel with the code."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if not name.endswith("/")}
    roots = {"core/safelight", "api/safelight_api", "processor/safelight_processor", "cli/safelight_cli"}
    needed = {
        str(path.relative_to((ROOT / root).parent))
        for root in roots
        for path in tracked()
        if path.is_relative_to(ROOT / root)
    }
    needed |= {
        f"safelight_api/web/client/{path.name}" for path in (ROOT / "clients" / "js" / "src").iterdir()
    }
    assert needed - packed == set()
    assert any(name.endswith(".sql") for name in needed)
    assert any(name.endswith(".lua") for name in needed)
