"""tools/boot.py: what `make` runs first, with nothing but Python."""

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent.parent / "tools"


@pytest.fixture
def boot(monkeypatch):
    """The module, as `python3 tools/boot.py` sees it."""
    monkeypatch.syspath_prepend(TOOLS)
    spec = importlib.util.spec_from_file_location("boot", TOOLS / "boot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("simd", None)


@pytest.fixture
def house(boot, tmp_path, monkeypatch):
    """A stamped environment in a folder of its own."""
    shutil.copytree(boot.LOCKS, tmp_path / "requirements")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    shutil.copy(boot.ROOT / "pyproject.toml", tmp_path)
    for name, value in {"ROOT": tmp_path, "LOCKS": tmp_path / "requirements", "PYTHON": python}.items():
        monkeypatch.setattr(boot, name, value)
    monkeypatch.setattr(boot, "STAMP", tmp_path / ".venv" / "boot.json")

    def stamp(profile):
        stamped = {"profile": profile, "pillow": "auto", "digest": boot.digest(profile)}
        boot.STAMP.write_text(json.dumps(stamped))

    stamp("dev")
    return tmp_path


@pytest.mark.parametrize("name", ["boot.py", "simd.py"])
def test_an_old_python_can_at_least_read_it(name):
    ast.parse((TOOLS / name).read_text(), feature_version=(3, 7))


def test_an_old_python_is_told_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    code = compile((TOOLS / "boot.py").read_text(), "boot.py", "exec")
    with pytest.raises(SystemExit) as end:
        exec(code, {"__name__": "__main__"})
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("Safelight needs Python 3.11 or newer; this is Python 3.9.")


def test_what_it_does_not_know_is_one_sentence():
    for arguments, setting in ((["nonsense"], "auto"), ([], "auto"), (["up"], "fast")):
        done = subprocess.run(
            [sys.executable, TOOLS / "boot.py", *arguments],
            env={"SAFELIGHT_PILLOW": setting},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_an_environment_that_holds_more_serves_a_smaller_profile(boot, house):
    assert boot.is_stamped("up", "auto")
    assert boot.is_stamped("dev", "auto")
    assert not boot.is_stamped("bench", "auto")
    assert not boot.is_stamped("dev", "simd")


@pytest.mark.parametrize("changed", ["requirements/dev.txt", "requirements/simd.txt", "pyproject.toml"])
def test_whatever_decides_what_is_installed_makes_the_stamp_void(boot, house, changed):
    with (house / changed).open("a") as file:
        file.write("\n")
    assert not boot.is_stamped("dev", "auto")


def test_an_environment_without_its_python_is_not_taken_for_whole(boot, house):
    boot.PYTHON.unlink()
    assert not boot.is_stamped("dev", "auto")


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("", {}),
        ("global.index-url='https://one/simple'", {"UV_DEFAULT_INDEX": "https://one/simple"}),
        (
            "global.extra-index-url='https://two/simple https://three/simple'\nglobal.find-links='/wheels'",
            {
                "UV_INDEX": "https://two/simple https://three/simple",
                "UV_FIND_LINKS": "/wheels",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
            },
        ),
        (":env:.cert='/b.pem'\nglobal.cert='/a.pem'", {"SSL_CERT_FILE": "/b.pem"}),
        ("global.disable-pip-version-check='1'", {}),
    ],
)
def test_the_indexes_of_pip_are_told_to_uv(boot, configured, expected):
    assert boot.in_uvs_words(configured, extra=True) == expected


def test_who_has_configured_uv_is_left_alone(boot, monkeypatch):
    monkeypatch.setenv("UV_INDEX_URL", "https://mine/simple")
    assert boot.uv_indexes(extra=True) == {}


def test_the_wheel_takes_the_place_of_pillow_and_of_nothing_else(boot, tmp_path):
    wheel = tmp_path / "pillow_simd-1.whl"
    wheel.write_bytes(b"wheel")
    lock = (boot.LOCKS / "up.txt").read_text()
    changed = boot.simd.instead_of_pillow(lock, wheel)
    gone, come = set(lock.splitlines()) - set(changed.splitlines()), changed.splitlines()
    assert [line for line in gone if "==" in line] == [line for line in gone if line.startswith("pillow==")]
    assert sum(line.startswith("pillow-simd @ file://") for line in come) == 1
    assert changed.count("==") == lock.count("==") - 1
