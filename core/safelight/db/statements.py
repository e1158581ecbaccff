"""Loads SQL from files: `load("safelight.jobs")["claim"]` is the text of `safelight/jobs/sql/claim.sql`.

SQL stands in files only, one file a verb, each with a header: purpose, parameters, the index it
relies on, what must not change. A test prepares every file and reads its plan.
"""

from collections.abc import Mapping
from importlib.resources import files


def load(package: str) -> Mapping[str, str]:
    """Every statement of a package's `sql` folder, by file name without its ending."""
    folder = files(package) / "sql"
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
