"""A multipart/form-data body as a stream of parts, nothing spooled: a file goes on while it comes in.

`receive` takes the parts one after the other; a part must be read to its end before the next.
The parsing itself is the `multipart` package's, which does no I/O; here are the bounds around it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import multipart  # type: ignore[import-untyped]

from safelight.errors import Failure

FILE = "file"
_MOST_FIELDS = 20
_LONGEST_BOUNDARY = 200
_KiB = 1024
_FIELD_SIZES = {"params": 64 * _KiB}
_FIELD_SIZE = 1 * _KiB
_OVERHEAD = 1024 * _KiB  # everything but the files: boundaries, headers, fields, what stands before and after


class Part:
    """A field or a file; iterating gives its bytes, once."""

    def __init__(self, name: str, filename: str | None, events: AsyncIterator[Any]) -> None:
        self.name = name
        self.filename = filename
        self._events = events

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        async for event in self._events:
            if event is None:
                return
            yield event

    async def text(self) -> str:
        """The value of a field.

        Raises:
            Failure: `multipart_invalid` when it is too long or not UTF-8.
        """
        value, longest = bytearray(), _FIELD_SIZES.get(self.name, _FIELD_SIZE)
        async for data in self:
            value += data
            if len(value) > longest:
                raise _invalid(f"The field {self.name[:50]!r} is longer than {longest} bytes.")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _invalid(f"The field {self.name[:50]!r} is not UTF-8.") from None


def is_multipart(content_type: str) -> bool:
    """Whether a body of this media type has parts."""
    return content_type.strip().lower().startswith("multipart/")


async def parts(body: AsyncIterator[bytes], content_type: str, most_files: int) -> AsyncGenerator[Part, None]:
    """The parts of a body, in their order.

    Raises:
        Failure: `multipart_invalid`, `body_incomplete` when it stops before its last boundary,
            `too_many_files`.
    """
    # One more than are allowed, so that it is us who say which limit was exceeded.
    events = _events(body, _parser(content_type, _MOST_FIELDS + most_files + 1))
    fields: set[str] = set()
    files = 0
    try:
        async for segment in events:
            if segment.name == FILE:
                files += 1
                if files > most_files:
                    raise Failure(
                        "too_many_files", f"At most {most_files} files are taken.", limit=most_files
                    )
            else:
                _check_field(segment, fields)
            yield Part(segment.name, segment.filename, events)
    finally:
        await events.aclose()


def _parser(content_type: str, most_parts: int) -> multipart.PushMultipartParser:
    kind, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise _invalid("It must be multipart/form-data with a boundary.")
    try:
        return multipart.PushMultipartParser(boundary, max_segment_count=most_parts)
    except multipart.MultipartError as error:
        raise _invalid(f"{error}.") from None


async def _events(
    body: AsyncIterator[bytes], parser: multipart.PushMultipartParser
) -> AsyncGenerator[Any, None]:
    """A segment, its bytes, and None at its end; for each part of the body."""
    overhead, in_file, begun = 0, False, False
    try:
        async for chunk in body:
            overhead += len(chunk)
            for event in parser.parse(chunk):
                if isinstance(event, multipart.MultipartSegment):
                    in_file, begun = event.name == FILE, True
                elif event is not None and in_file:
                    overhead -= len(event)
                yield event
            if overhead > _OVERHEAD:
                raise _invalid(f"It has more than {_OVERHEAD} bytes beside its files.")
    except multipart.MultipartError as error:
        raise _invalid(f"{error}.") from None
    _check_end(parser, begun)


def _check_end(parser: multipart.PushMultipartParser, begun: bool) -> None:
    try:
        parser.close()
    except multipart.MultipartError:
        raise Failure("body_incomplete") if begun else _invalid("There is no boundary in it.") from None


def _check_field(segment: multipart.MultipartSegment, fields: set[str]) -> None:
    if segment.filename is not None:
        raise _invalid(f"Files go into parts that are named {FILE!r}, not {segment.name[:50]!r}.")
    if segment.name in fields:
        raise _invalid(f"The field {segment.name[:50]!r} is there twice.")
    fields.add(segment.name)
    if len(fields) > _MOST_FIELDS:
        raise _invalid(f"There are more than {_MOST_FIELDS} fields.")


def _invalid(why: str) -> Failure:
    return Failure("multipart_invalid", f"The multipart body cannot be read. {why}")
