"""The locks: everything with hashes, no address in them, and nothing in pyproject.toml that they lack."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROFILES = ("api", "processor", "up", "dev", "bench")


def entries(lock: Path) -> list[str]:
    """Each with its hashes, on one line."""
    joined = lock.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def locked(lock: Path) -> dict[str, list[str]]:
    """Versions of each package: there is more than one where platforms differ."""
    found: dict[str, list[str]] = {}
    for entry in entries(lock):
        name, version = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", entry).groups()  # type: ignore[union-attr]
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def wanted(extra: str) -> list[Requirement]:
    """What an extra asks for, with the extras that it contains."""
    found = []
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "safelight":
            found += [one for inner in requirement.extras for one in wanted(inner)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_is_pinned_with_hashes_and_no_address(lock):
    assert entries(lock)
    for entry in entries(lock):
        assert re.match(r"[A-Za-z0-9._-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in lock.read_text()
    assert not re.search(r"(?m)^\s*--(?!hash)", lock.read_text())


@pytest.mark.parametrize("profile", PROFILES)
def test_the_lock_answers_what_pyproject_asks(profile):
    versions = locked(ROOT / "requirements" / f"{profile}.txt")
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *wanted(profile)]:
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{requirement} is not in {profile}.txt: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions[name]), requirement


@pytest.mark.parametrize(("smaller", "larger"), [("up", "dev"), ("dev", "bench"), ("build", "up")])
def test_a_larger_profile_contains_the_smaller_one_in_the_same_versions(smaller, larger):
    inside, outside = (locked(ROOT / "requirements" / f"{name}.txt") for name in (smaller, larger))
    assert inside.items() <= outside.items()


def test_the_api_has_no_image_library_and_the_processor_no_web_framework():
    api, processor = (locked(ROOT / "requirements" / f"{name}.txt") for name in ("api", "processor"))
    assert not {"pillow", "numpy", "opencv-python-headless"} & api.keys()
    assert not {"litestar", "granian"} & processor.keys()
