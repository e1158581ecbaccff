"""Failure -> problem+json and close code. The only place that knows HTTP's words for our failures.

Everything that is raised below a route ends here, the framework's own errors too.
"""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from safelight.errors import CATALOGUE, Failure
from safelight.telemetry import metrics
from safelight.wire.codes import CloseCode
from safelight.wire.resources import ParamError, Problem, ProblemInfo

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger()

# What is not named here happens in a run, and stands in a job, not in an answer; it would be a 500.
STATUS: dict[str, int] = {
    "bad_request": 400,
    "json_invalid": 400,
    "multipart_invalid": 400,
    "cursor_invalid": 400,
    "body_incomplete": 400,
    "body_empty": 400,
    "file_missing": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "job_not_found": 404,
    "batch_not_found": 404,
    "input_not_found": 404,
    "output_not_found": 404,
    "pipeline_unknown": 404,
    "method_not_allowed": 405,
    "id_taken": 409,
    "job_finished": 409,
    "job_not_finished": 409,
    "job_expired": 410,
    "bytes_missing": 410,
    "body_too_large": 413,
    "image_unsupported": 415,
    "range_not_satisfiable": 416,
    "too_many_files": 422,
    "idempotency_key_reused": 422,
    "image_unreadable": 422,
    "image_too_many_pixels": 422,
    "image_side_too_long": 422,
    "params_invalid": 422,
    "rate_limited": 429,
    "queue_full": 429,
    "unavailable": 503,
    "storage_unavailable": 503,
}

_CLOSE: dict[str, CloseCode] = {
    "unauthorized": CloseCode.UNAUTHORIZED,
    "forbidden": CloseCode.UNAUTHORIZED,
    "job_not_found": CloseCode.JOB_NOT_FOUND,
    "job_expired": CloseCode.JOB_EXPIRED,
    "cursor_invalid": CloseCode.BAD_REQUEST,
    "bad_request": CloseCode.BAD_REQUEST,
}

# The framework's own errors, by status.
_FRAMEWORK = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    422: "bad_request",
    429: "rate_limited",
}


def catalogue() -> list[ProblemInfo]:
    """Every failure there is, with the status that an answer would have."""
    return [
        ProblemInfo(kind.code, kind.message, kind.retryable, STATUS.get(kind.code, 500))
        for kind in CATALOGUE.values()
    ]


def close_code(failure: Failure) -> CloseCode:
    """The code a socket is closed with."""
    return _CLOSE.get(failure.code, CloseCode.UNAVAILABLE)


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    failure = error if isinstance(error, Failure) else _translate(error)
    status = STATUS.get(failure.code, 500)
    if status == 500:
        _log.error("request.failed", path=request.url.path, exc_info=error)
    if request.method in ("POST", "PUT"):
        metrics.uploads_refused_total.labels(code=failure.code).inc()
    return problem(failure, _headers(status, error))


def problem(failure: Failure, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A failure as RFC 9457 tells it."""
    status = STATUS.get(failure.code, 500)
    body = Problem(
        type=f"/api/problems#{failure.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=failure.message,
        code=failure.code,
        retryable=failure.retryable,
        reason=failure.extra.get("reason"),
        errors=[ParamError(*pair) for pair in failure.extra.get("errors", ())],
    )
    return Response(
        msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers or {}
    )


def _translate(error: Exception) -> Failure:
    if isinstance(error, HTTPException) and error.status_code in _FRAMEWORK:
        code = _FRAMEWORK[error.status_code]
        # The framework's detail says which field is wrong; elsewhere the catalogue says it better.
        detail = error.detail if code == "bad_request" else None
        wrong = [(str(item.get("key", "")), str(item.get("message", ""))) for item in _items(error)]
        return Failure(code, detail or None, errors=wrong)
    return Failure("internal")


def _items(error: HTTPException) -> list[dict[str, Any]]:
    extra = error.extra
    return [item for item in extra if isinstance(item, dict)] if isinstance(extra, list) else []


def _headers(status: int, error: Exception) -> dict[str, str]:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = "2"
    return headers
