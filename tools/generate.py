"""Writes what is generated: protocol/*.json from core/safelight/wire, schema.sql from the migrations.

`make generate` writes, `make verify` (`--check`) compares and names what differs.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from safelight.config import Settings  # noqa: E402
from safelight.wire import frames  # noqa: E402
from safelight.wire.codes import CloseCode  # noqa: E402


def openapi() -> str:
    """protocol/openapi.json: what the routes say of themselves."""
    from safelight_api.app import build  # noqa: PLC0415

    return _json(build(Settings()).openapi_schema.to_schema())


def frame_schema() -> str:
    """protocol/frames.schema.json: every frame of both directions."""
    (server, client), components = msgspec.json.schema_components(
        [frames.ServerFrame, frames.ClientFrame], ref_template="#/$defs/{name}"
    )
    return _json(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Safelight frames",
            "$defs": {**components, "ServerFrame": server, "ClientFrame": client},
        }
    )


def codes() -> str:
    """protocol/codes.json: close codes and failure codes."""
    from safelight_api.problems import catalogue  # noqa: PLC0415

    return _json(
        {
            "close": [
                {
                    "code": int(code),
                    "name": code.name.lower(),
                    "explanation": code.explanation,
                    "reconnect": code.reconnect,
                }
                for code in CloseCode
            ],
            "failures": msgspec.to_builtins(catalogue()),
        }
    )


def schema() -> str:
    """core/safelight/db/schema.sql: the tables as the migrations leave them."""
    from support.servers import postgres_server  # noqa: PLC0415

    # Days and months are made by the date.
    without = [f"--exclude-table=public.{parent}_2*" for parent in ("done", "forgotten")]
    with postgres_server() as server:
        name = asyncio.run(server.create())
        dumped = subprocess.run(  # noqa: S603
            [
                server.binary("pg_dump"),
                "--schema-only",
                "--no-owner",
                "--no-privileges",
                *without,
                server.dsn(name),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
    # Its own settings, versions and the random marks of \restrict say nothing about our tables.
    kept = [
        line for line in dumped.splitlines() if not line.startswith(("--", "SET ", "SELECT pg_catalog", "\\"))
    ]
    text = "\n".join(kept)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return (
        "-- Generated from the migrations by `make generate`. Read it, never edit it.\n\n"
        + text.strip()
        + "\n"
    )


_ENDINGS = {"counter": "_total"}
_OTHERS = """
Beside these: `SAFELIGHT_PIPELINE_MODULES` (pipelines to load while you write them, `module:attribute` with
commas between), `SAFELIGHT_DATA` (folder of `safelight up`), `SAFELIGHT_URL` and `SAFELIGHT_KEY` (server and
key of the terminal client), `SAFELIGHT_PILLOW` (`auto`, `simd` or `stock`: which Pillow is installed)."""


def reference() -> str:
    """docs/reference.md: every setting, metric, failure and close code."""
    from prometheus_client import REGISTRY  # noqa: PLC0415

    from safelight.telemetry import metrics  # noqa: F401, PLC0415  (declares them)
    from safelight_api.problems import catalogue  # noqa: PLC0415

    fields = msgspec.structs.fields(Settings)
    hints = get_type_hints(Settings, include_extras=True)
    settings = [
        f"| `SAFELIGHT_{field.name.upper()}` | `{field.default}` | {_description(hints[field.name])} |"
        for field in fields
    ]
    families = [family for family in REGISTRY.collect() if family.name.startswith("safelight_")]
    numbers = [
        f"| `{family.name}{_ENDINGS.get(family.type, '')}` | {family.type} | {family.documentation} |"
        for family in sorted(families, key=lambda family: family.name)
    ]
    failures = [
        f"| `{kind.code}` | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.message} |"
        for kind in catalogue()
    ]
    closes = [
        f"| {int(code)} | `{code.name.lower()}` | {'yes' if code.reconnect else 'no'} | {code.explanation} |"
        for code in CloseCode
    ]
    parts = [
        "# Reference\n\nGenerated from the code by `make generate`.\n",
        "## Settings\n",
        "| variable | default | meaning |\n|---|---|---|",
        *settings,
        _OTHERS,
        "\n## Metrics\n",
        "| metric | kind | meaning |\n|---|---|---|",
        *numbers,
        "\n## Failures\n",
        "The status is that of an answer; a failure that ends a job stands in its `error` instead.\n",
        "| code | status | a retry helps | words |\n|---|---|---|---|",
        *failures,
        "\n## Close codes\n",
        "| code | name | reconnect | meaning |\n|---|---|---|---|",
        *closes,
    ]
    return "\n".join(parts) + "\n"


def _description(hint: Any) -> str:
    """What the annotation says of a setting; for people, so the longest of several."""
    found = [meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description]
    return str(max(found, key=len, default=""))


GENERATED = {
    "protocol/openapi.json": openapi,
    "protocol/frames.schema.json": frame_schema,
    "protocol/codes.json": codes,
    "docs/reference.md": reference,
    "core/safelight/db/schema.sql": schema,
}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Writes or compares everything that is generated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = []
    for name, make in GENERATED.items():
        path, text = ROOT / name, make()
        if check and (not path.exists() or path.read_text() != text):
            stale.append(name)
        elif not check:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"stale, run `make generate`: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
