import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import msgspec
import numpy as np
import PIL.Image
import pytest

from safelight.pipelines import Image, Output, Pipeline, Report, Run

DEMO = Path(__file__).parents[4] / "demo"


class Ran(msgspec.Struct):
    """What came of a run."""

    result: dict[str, Any]
    outputs: list[Output]
    reports: list[Report]

    def picture(self, number: int = 0) -> PIL.Image.Image:
        return PIL.Image.open(self.outputs[number].path)

    def pixels(self, number: int = 0) -> np.ndarray:
        return np.asarray(self.picture(number))

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.result["steps"] if step["step"] == name)


@pytest.fixture(autouse=True)
def one_thread():
    cv2.setNumThreads(1)


@pytest.fixture
def call(tmp_path_factory) -> Callable[..., Ran]:
    def call(pipe: Pipeline, data: bytes, params: dict[str, Any] | None = None) -> Ran:
        folder = tmp_path_factory.mktemp("run")
        path = folder / "in.0"
        path.write_bytes(data)
        reports: list[Report] = []
        run = Run("job", [Image(path, "in.jpg", "image/jpeg", 1, 1, len(data))], folder, reports.append)
        result = pipe.call(run, json.dumps(params or {}).encode())
        return Ran(result, run.outputs, reports)

    return call


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def score() -> ModuleType:
    return _module("score")


@pytest.fixture(scope="session")
def damage() -> Callable[..., PIL.Image.Image]:
    return _module("make_photograph").damage


@pytest.fixture(scope="session")
def original() -> PIL.Image.Image:
    return PIL.Image.open(DEMO / "original.jpg").convert("RGB")


@pytest.fixture(scope="session")
def attic() -> bytes:
    return (DEMO / "attic.jpg").read_bytes()
