"""Log lines: one event a line, as JSON for machines or in color for people, with secrets taken out.

Every module says `_log = structlog.get_logger()` and `_log.info("job.claimed", job=…)`: the event is a name,
everything else a field. `configure` is called once per process, by its role; lines of libraries, which
use the standard library's logging, come out the same way.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LONGEST = 8_000  # characters of one value
_DEEPEST = 6  # levels of nested values
_HIDDEN = "***"
_SECRET_FIELDS = re.compile(
    r"authorization|cookie|passwo?r?d|secret|token|signature|api_?key|credential", re.IGNORECASE
)
# Each repetition that can begin anywhere is bounded, so that the search takes time in proportion to the text.
_SECRET_TEXTS = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,100}):[^\s/@]+@", re.IGNORECASE), rf"\1:{_HIDDEN}@"),
    (re.compile(r"\bsl_([0-9a-z]+)_[A-Za-z0-9-]+"), rf"sl_\1_{_HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(token\.)[\w-]{16,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"([?&](?:token|signature|key)=)[^&\s'\"]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
)


def configure(
    level: Literal["debug", "info", "warning", "error"], style: Literal["json", "console"], role: str
) -> None:
    """Sends every log line of this process to standard output.

    Args:
        level: the least severe that is written; libraries start at `info`.
        style: `json` or, for people, `console`.
        role: `api`, `processor`: a field of every line.
    """
    least = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _Role(role),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer = _renderer(style)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.INFO))
    logging.captureWarnings(True)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The last processor before the line is written: no secret passes, and no endless value."""
    for name, value in event.items():
        event[name] = _HIDDEN if _SECRET_FIELDS.search(name) and value else _clean(value)
    return event


def _clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, int | float | None):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(name): _HIDDEN if _SECRET_FIELDS.search(str(name)) and each else _clean(each, depth + 1)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, depth + 1) for each in value]
    return _clean_text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _clean_text(text: str) -> str:
    # Cut before the search, so that the search is bounded as well.
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    for secret, shown in _SECRET_TEXTS:
        cut = secret.sub(shown, cut)
    return cut


def _renderer(style: str) -> Processor:
    if style == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(),
        timestamp_key="ts",
        # The pretty one prints local variables, and with them whatever secrets they hold.
        exception_formatter=structlog.dev.plain_traceback,
    )


class _Role:
    """Adds the role to every line; not a context variable, as threads and callbacks may have lost that."""

    def __init__(self, role: str) -> None:
        self._role = role

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("role", self._role)
        return event
