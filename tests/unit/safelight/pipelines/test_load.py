"""`load()`: installed pipelines, those of the environment, and mistakes in it."""

import sys

import pytest

from safelight.pipelines import Failure, load, pipeline


@pipeline("own")
def own(run):
    """Found through the environment."""


@pipeline("restore", version="mine")
def mine(run):
    """Takes the place of an installed one."""


not_one = 42


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    module = type(sys)("a_module_of_pipelines")
    module.own, module.mine, module.not_one = own, mine, not_one
    monkeypatch.setitem(sys.modules, "a_module_of_pipelines", module)


def test_installed_pipelines_are_found_by_their_entry_points():
    assert {"transform", "restore"} <= load({}).keys()


def test_the_environment_adds_pipelines_and_may_replace_one():
    found = load({"SAFELIGHT_PIPELINE_MODULES": " a_module_of_pipelines:own , a_module_of_pipelines:mine,"})
    assert found["own"] is own
    assert found["restore"] is mine
    assert "transform" in found


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("no_such_module:x", "cannot be imported"),
        ("a_module_of_pipelines:missing", "cannot be imported"),
        ("a_module_of_pipelines", "cannot be imported"),
        (":x", "cannot be imported"),
        ("a_module_of_pipelines:not_one", "put @pipeline above"),
    ],
)
def test_a_mistake_in_the_environment_is_said_by_name(address, hint):
    with pytest.raises(Failure, match="setting_invalid") as caught:
        load({"SAFELIGHT_PIPELINE_MODULES": address})
    assert hint in caught.value.message
    assert address in caught.value.message
