"""Keeps this release as a wheel, for the test that it and the next one run side by side: tests/compat.

`make freeze`, once, in the commit that makes a release. One release is kept: the one before is all that the
next one has to get along with.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tests" / "compat"


def main() -> int:
    """Builds it, and removes the one before."""
    for former in KEPT.glob("*.whl"):
        former.unlink()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(KEPT)]
    done = subprocess.run(build, cwd=ROOT, check=False)  # noqa: S603
    for wheel in KEPT.glob("*.whl"):
        sys.stdout.write(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size // 1024} KiB; commit it\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
