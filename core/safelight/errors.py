"""The failure catalogue: every way in which Safelight says no, with one stable code each.

Everybody raises `Failure`; only the API turns it into problem+json and close codes, only the
processor turns it into the end of a job. A test walks this catalogue against the docs.

    Failure                 a typed failure: code, public message, whether a retry helps
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the catalogue.

    `message` is for the person whose request or job failed; `retryable` says whether the same
    thing can succeed when it is tried again unchanged.
    """

    code: str
    message: str
    retryable: bool = False


_KINDS = (
    # The request
    Kind("bad_request", "The request cannot be understood."),
    Kind("unauthorized", "A valid API key or job token is needed."),
    Kind("forbidden", "This key may not do that."),
    Kind("not_found", "There is nothing at this address."),
    Kind("method_not_allowed", "This address does not answer that method."),
    Kind("json_invalid", "The JSON cannot be read."),
    Kind("multipart_invalid", "The multipart body cannot be read."),
    Kind("cursor_invalid", "The cursor cannot be read; ask for the job and use the one in it."),
    Kind("range_not_satisfiable", "The requested range lies outside the file."),
    Kind("body_too_large", "The upload is larger than allowed."),
    Kind("body_incomplete", "The upload stopped before its end.", retryable=True),
    Kind("body_empty", "The upload is empty."),
    Kind("too_many_files", "There are more files than this pipeline takes."),
    Kind("file_missing", "At least one image is needed."),
    Kind("idempotency_key_reused", "This idempotency key was used for another request."),
    Kind("id_taken", "This job id was used for another request."),
    Kind("queue_full", "There are as many jobs waiting as there may be; try again later.", retryable=True),
    Kind("rate_limited", "Too many requests; try again later.", retryable=True),
    Kind("unavailable", "The service cannot do this right now; try again in a moment.", retryable=True),
    Kind("internal", "Something went wrong on our side.", retryable=True),
    # The image, as far as its header tells
    Kind("image_unsupported", "This is not an image of a kind that is accepted."),
    Kind("image_unreadable", "The header of the image is damaged."),
    Kind("image_too_many_pixels", "The image has more pixels than allowed."),
    Kind("image_side_too_long", "The image is wider or taller than allowed."),
    # The job
    Kind("pipeline_unknown", "There is no such pipeline."),
    Kind("params_invalid", "The parameters do not fit the pipeline."),
    Kind("job_not_found", "There is no such job."),
    Kind("batch_not_found", "There is no such batch."),
    Kind("dependency_unavailable", "Something that the pipeline needs is away.", retryable=True),
    Kind("job_expired", "This job is over and its time of storage has passed."),
    Kind("job_finished", "The job has already ended."),
    Kind("job_not_finished", "The job has not ended yet."),
    Kind("input_not_found", "The job has no such input."),
    Kind("output_not_found", "The job has no such output."),
    # The run
    Kind("image_damaged", "The image is damaged and cannot be decoded."),
    Kind("image_too_many_frames", "The animation has more frames than allowed."),
    Kind("pipeline_failed", "The pipeline failed on this image."),
    Kind("pipeline_crashed", "The image brought the pipeline down.", retryable=True),
    Kind("memory_exceeded", "The image needs more memory than the pipeline may use."),
    Kind("deadline_exceeded", "The work took longer than the pipeline may take."),
    Kind("output_invalid", "The pipeline produced something that is not a valid output."),
    Kind(
        "storage_unavailable",
        "The image could not be read or written; it will be tried again.",
        retryable=True,
    ),
    Kind("bytes_missing", "The bytes of the image are gone."),
    Kind("attempts_exhausted", "The job was interrupted too often."),
    Kind(
        "quarantined", "The image brought the pipeline down twice, in the same way, and is not tried again."
    ),
    Kind("canceled", "The job was canceled."),
    # The queue's own answers, never the end of a job
    Kind("lease_lost", "The lease on the job is held by another run."),
    Kind("setting_invalid", "A setting is missing or wrong."),
    Kind("schema_mismatch", "The database schema does not fit this version."),
)

CATALOGUE: dict[str, Kind] = {kind.code: kind for kind in _KINDS}


class Failure(Exception):
    """A typed failure.

    With a code of the catalogue, message and retryable default to what stands there. A pipeline
    author may use a code of their own, and then gives the message too.

    Raises:
        ValueError: the code is not in the catalogue and no message is given.
    """

    def __init__(
        self, code: str, message: str | None = None, *, retryable: bool | None = None, **extra: Any
    ) -> None:
        kind = CATALOGUE.get(code)
        if kind is None and message is None:
            raise ValueError(f"{code} is not in the catalogue; give it a message")
        self.code = code
        self.message: str = message if message is not None else (kind.message if kind else "")
        self.retryable: bool = retryable if retryable is not None else bool(kind and kind.retryable)
        self.extra = extra
        super().__init__(f"{code}: {self.message}")
