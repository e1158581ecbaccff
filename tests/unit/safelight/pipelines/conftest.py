from collections.abc import Callable
from pathlib import Path

import pytest

from safelight.pipelines import Image, Report, Run


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Image]:
    def make(data: bytes, name: str = "picture.jpg", **limits: int) -> Image:
        path = tmp_path / f"in.{name}"
        path.write_bytes(data)
        return Image(path, name, "image/jpeg", 1, 1, len(data), **limits)

    return make


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def run(tmp_path: Path, reports: list[Report]) -> Run:
    return Run("job", [], tmp_path, reports.append)
