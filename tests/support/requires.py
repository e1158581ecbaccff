"""Tools that not every machine has: a test that needs one is skipped, or fails where REQUIRE_ALL=1.

@requires("nginx")                      on a test
path = require("chromium")              in a fixture
"""

import os
import shutil

import pytest

# Debian keeps servers where an ordinary user's PATH does not look.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def requires(*tools: str) -> pytest.MarkDecorator:
    """Marks a test that needs these programs."""
    return pytest.mark.requires(*tools)


def require(tool: str) -> str:
    """Path of the program; skips or fails the test where there is none."""
    found = shutil.which(tool, path=_PATH)
    if found:
        return found
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"{tool} is not installed, and REQUIRE_ALL=1", pytrace=False)
    pytest.skip(f"{tool} is not installed")
