"""A body -> files and fields, over a real folder as the store."""

import asyncio
import hashlib
import io
import os
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import PIL.Image
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import Settings
from safelight.errors import Failure
from safelight.storage.files import FileStore
from safelight_api.upload import receive
from safelight_api.upload.receive import Caps, Submission, display_name, receive_body

MiB = 1024 * 1024
TENANT = 3
CAPS = Caps(bytes=4 * MiB, pixels=1_000_000, side=2_000, files=3, idle_seconds=5.0)


def picture(format_: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (90, 120, 30)).save(buffer, format_)
    return buffer.getvalue()


async def stream(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
    yield b""


async def unending(body: bytes) -> AsyncIterator[bytes]:
    """A body of which no more comes, and which does not end: a refusal must come from what is there."""
    yield body
    await asyncio.Event().wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight_api.upload.receive._LINGER_SECONDS", 0.05)


def form(*parts: tuple[str, str | None, bytes], boundary: str = "XyZ") -> bytes:
    body = []
    for name, filename, content in parts:
        extra = f'; filename="{filename}"' if filename is not None else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += [head.encode(), content, b"\r\n"]
    return b"".join(body) + f"--{boundary}--\r\n".encode()


MULTIPART = "multipart/form-data; boundary=XyZ"


class Desk:
    """Takes bodies into a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = FileStore(root)

    async def take(
        self, body: AsyncIterator[bytes] | bytes, content_type: str = "", **changes: Any
    ) -> Submission:
        given: dict[str, Any] = {
            "content_length": None,
            "fields": {},
            "store": self.store,
            "tenant": TENANT,
            "prefix": "job/in/1",
            "caps": CAPS,
        }
        source = stream(body) if isinstance(body, bytes) else body
        return await receive_body(source, content_type=content_type, **(given | changes))

    async def refusal(
        self, body: AsyncIterator[bytes] | bytes, content_type: str = "", **changes: Any
    ) -> Failure:
        """Why a body is refused; nothing of it may remain."""
        with pytest.raises(Failure) as caught:
            await self.take(body, content_type, **changes)
        assert self.files() == []
        return caught.value

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "store")


# Raw


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
async def test_a_raw_image_is_stored_and_described_by_its_content(desk: Desk, format_: str) -> None:
    body = picture(format_)
    got = await desk.take(body, "text/html", fields={"pipeline": "restore", "name": "attic.x"})
    assert got.fields == {"pipeline": "restore"}
    (file,) = got.files
    assert (file.media_type, file.width, file.height) == (f"image/{format_.lower()}", 64, 48)
    assert (file.bytes, file.sha256) == (len(body), hashlib.sha256(body).digest())
    assert (file.name, file.key) == ("attic.x", "job/in/1/0")
    assert b"".join([chunk async for chunk in desk.store.read(TENANT, file.key)]) == body


async def test_an_image_that_comes_byte_by_byte_is_the_same(desk: Desk) -> None:
    body = picture()
    got = await desk.take(stream(body, 1))
    assert got.files[0].sha256 == hashlib.sha256(body).digest()


async def test_a_large_image_is_never_held(desk: Desk) -> None:
    block, start = os.urandom(256 * 1024), picture()

    async def large() -> AsyncIterator[bytes]:
        yield start
        for _ in range(256):
            yield block

    process = psutil.Process()
    before = process.memory_info().rss
    got = await desk.take(
        large(), caps=Caps(bytes=128 * MiB, pixels=10**6, side=2000, files=1, idle_seconds=5)
    )
    assert got.files[0].bytes == len(start) + 64 * MiB
    assert process.memory_info().rss - before < 24 * MiB


async def test_an_empty_body_is_refused(desk: Desk) -> None:
    assert (await desk.refusal(b"")).code == "body_empty"


async def test_a_body_over_the_cap_is_refused_with_the_cap(desk: Desk) -> None:
    failure = await desk.refusal(stream(picture() + bytes(4 * MiB), 100_000))
    assert (failure.code, failure.extra["limit"]) == ("body_too_large", 4 * MiB)


async def test_a_refused_body_is_read_to_its_end_so_that_its_sender_gets_the_answer(desk: Desk) -> None:
    ended = False

    async def page() -> AsyncIterator[bytes]:
        nonlocal ended
        for _ in range(50):
            yield b"<!doctype html><p>no image"
        ended = True

    assert (await desk.refusal(page())).code == "image_unsupported"
    assert ended


async def test_a_refused_body_that_does_not_end_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight_api.upload.receive._LINGER_BYTES", 20 * MiB)
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        yield picture()
        while True:
            asked += 1
            yield bytes(MiB)

    assert (await desk.refusal(endless())).code == "body_too_large"
    assert asked == 4 + 21


async def test_a_body_that_is_exactly_at_the_cap_is_taken(desk: Desk) -> None:
    body = picture()
    body += bytes(4 * MiB - len(body))
    assert (await desk.take(body)).files[0].bytes == 4 * MiB


async def test_a_declared_length_over_the_cap_is_refused_before_a_byte_is_there(
    desk: Desk, impatient: None
) -> None:
    failure = await desk.refusal(unending(b""), content_length=4 * MiB + 1)
    assert failure.code == "body_too_large"


@pytest.mark.parametrize("difference", [-1, 1])
async def test_a_body_of_another_length_than_declared_is_incomplete(desk: Desk, difference: int) -> None:
    body = picture()
    failure = await desk.refusal(body, content_length=len(body) + difference)
    assert (failure.code, failure.retryable) == ("body_incomplete", True)


async def test_a_body_that_falls_silent_is_given_up(desk: Desk) -> None:
    caps = Caps(bytes=MiB, pixels=10**6, side=2000, files=1, idle_seconds=0.05)
    assert (await desk.refusal(unending(picture()), caps=caps)).code == "body_incomplete"


async def test_a_body_that_drips_just_before_each_time_out_is_given_up(desk: Desk) -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield picture()[:600]
        while True:
            await asyncio.sleep(0.02)
            yield b"x"

    caps = Caps(bytes=MiB, pixels=10**6, side=2000, files=1, idle_seconds=0.2)
    assert (await desk.refusal(drip(), caps=caps)).code == "body_incomplete"


async def test_a_body_that_lasts_as_long_as_bytes_are_kept_without_a_job_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight_api.upload.receive._LONGEST", -1.0)
    assert (await desk.refusal(picture())).code == "body_incomplete"


def test_an_upload_is_over_long_before_its_bytes_are_taken_for_left_behind() -> None:
    with pytest.raises(Failure):
        Settings.load({"SAFELIGHT_ORPHAN_DAYS": "0.9"})
    assert receive._LONGEST <= 86400 / 2


async def test_a_connection_that_breaks_is_an_incomplete_body_whatever_the_server_calls_it(
    desk: Desk,
) -> None:
    class ClientDisconnected(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield picture()
        raise ClientDisconnected

    assert (await desk.refusal(broken())).code == "body_incomplete"


async def test_a_canceled_request_leaves_nothing(desk: Desk) -> None:
    second = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        whole = form(("file", "a.jpg", picture()), ("file", "b.jpg", picture()))
        yield whole[:-100]
        second.set()
        await asyncio.Event().wait()

    taking = asyncio.create_task(desk.take(halting(), MULTIPART))
    await second.wait()
    assert desk.files() != []
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert desk.files() == []


@pytest.mark.parametrize(
    ("size", "code", "limit"),
    [((2001, 1), "image_side_too_long", 2000), ((1001, 1000), "image_too_many_pixels", 1_000_000)],
)
async def test_an_image_over_a_cap_is_refused_as_soon_as_its_header_is_there(
    desk: Desk, size: tuple[int, int], code: str, limit: int, impatient: None
) -> None:
    failure = await desk.refusal(unending(picture("PNG", size)))
    assert (failure.code, failure.extra["limit"]) == (code, limit)


async def test_what_is_no_image_is_refused_at_once(desk: Desk, impatient: None) -> None:
    body = unending(b"<!doctype html><p>no image")
    assert (await desk.refusal(body, "image/jpeg")).code == "image_unsupported"


async def test_an_image_that_ends_within_its_header_is_unreadable(desk: Desk) -> None:
    assert (await desk.refusal(picture()[:60])).code == "image_unreadable"


async def test_a_store_that_is_away_is_said_to_be(desk: Desk) -> None:
    desk.root.write_text("a file where the folder should be")
    with pytest.raises(Failure) as caught:
        await desk.take(picture())
    assert caught.value.code == "storage_unavailable"


# Multipart


@pytest.mark.parametrize("size", [1, 3, 1000, 10**9])
async def test_fields_and_files_come_in_any_order_and_any_cut(desk: Desk, size: int) -> None:
    first, second = picture("PNG"), picture("JPEG")
    body = form(
        ("file", "a.png", first),
        ("pipeline", None, b"restore"),
        ("file", "b.jpg", second),
        ("params", None, b"{}"),
    )
    got = await desk.take(stream(body, size), MULTIPART)
    assert got.fields == {"pipeline": "restore", "params": "{}"}
    assert [file.name for file in got.files] == ["a.png", "b.jpg"]
    assert [file.sha256 for file in got.files] == [hashlib.sha256(each).digest() for each in (first, second)]
    assert [file.key for file in got.files] == ["job/in/1/0", "job/in/1/1"]


async def test_a_field_of_the_body_goes_before_one_of_the_query(desk: Desk) -> None:
    body = form(("pipeline", None, b"restore"), ("file", "a.jpg", picture()))
    got = await desk.take(body, MULTIPART, fields={"pipeline": "transform", "params": "{}"})
    assert got.fields == {"pipeline": "restore", "params": "{}"}


async def test_files_of_the_same_name_get_different_names(desk: Desk) -> None:
    body = form(*[("file", "photo.jpg", picture())] * 2, ("file", None, picture("PNG")))
    got = await desk.take(body, MULTIPART)
    assert [file.name for file in got.files] == ["photo.jpg", "photo-2.jpg", "image.png"]


async def test_a_form_without_a_file_is_no_failure_of_the_body(desk: Desk) -> None:
    got = await desk.take(form(("pipeline", None, b"restore")), MULTIPART)
    assert (got.fields, got.files) == ({"pipeline": "restore"}, [])


async def test_each_file_has_the_cap_to_itself(desk: Desk) -> None:
    body = picture() + bytes(3 * MiB)
    got = await desk.take(stream(form(*[("file", "a.jpg", body)] * 3), 100_000), MULTIPART)
    assert [file.bytes for file in got.files] == [len(body)] * 3


async def test_one_bad_file_refuses_all_of_them(desk: Desk) -> None:
    body = form(("file", "a.jpg", picture()), ("file", "b.jpg", b"this is no image at all"))
    assert (await desk.refusal(body, MULTIPART)).code == "image_unsupported"


async def test_too_many_files_are_refused_with_the_limit(desk: Desk) -> None:
    failure = await desk.refusal(form(*[("file", "a.jpg", picture())] * 4), MULTIPART)
    assert (failure.code, failure.extra["limit"]) == ("too_many_files", 3)


@pytest.mark.parametrize("cut", [1, 3, 10, 60, 100, 400])
async def test_a_form_that_stops_before_its_end_is_incomplete(desk: Desk, cut: int) -> None:
    body = form(("pipeline", None, b"restore"), ("file", "a.jpg", picture()))[: -cut - 2]
    assert (await desk.refusal(body, MULTIPART)).code == "body_incomplete"


HEAD = b'--XyZ\r\nContent-Disposition: form-data; name="file"'
MALFORMED = {
    "no boundary in the type": (form(), "multipart/form-data"),
    "an endless boundary": (form(), "multipart/form-data; boundary=" + "x" * 201),
    "another kind of multipart": (form(), "multipart/mixed; boundary=XyZ"),
    "no boundary in the body": (b"hello" * 100, MULTIPART),
    "nothing": (b"", MULTIPART),
    "another boundary": (form(("a", None, b"x"), boundary="other"), MULTIPART),
    "a part without a name for what it is": (b"--XyZ\r\nX: y\r\n\r\nx\r\n--XyZ--", MULTIPART),
    "a header without end": (HEAD + b"; filename=" + b"x" * 6000, MULTIPART),
    "too many headers": (HEAD + b"\r\nX: y" * 20 + b"\r\n\r\nx\r\n--XyZ--", MULTIPART),
    "headers that are no text": (HEAD + b"\xff\xfe\r\n\r\nx\r\n--XyZ--", MULTIPART),
    "a line break of another kind": (HEAD + b"\n\nx\n--XyZ--", MULTIPART),
    "too many fields": (form(*[(f"f{n}", None, b"x") for n in range(21)]), MULTIPART),
    "a flood of parts": (form(*[("f", None, b"")] * 100_000), MULTIPART),
    "a field that is there twice": (form(("a", None, b"x"), ("a", None, b"y")), MULTIPART),
    "a field that is too long": (form(("pipeline", None, b"x" * 1025)), MULTIPART),
    "params that are too long": (form(("params", None, b"x" * 65_537)), MULTIPART),
    "a field that is no text": (form(("pipeline", None, b"\xff")), MULTIPART),
    "a file under another name": (form(("image", "a.jpg", b"x")), MULTIPART),
    "a flood before the first part": (b"x\r\n" * 500_000 + form(("a", None, b"x")), MULTIPART),
    "a flood after the last part": (form(("a", None, b"x")) + b"x" * 1_200_000, MULTIPART),
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_malformed_form_is_refused_within_bounds(desk: Desk, kind: str) -> None:
    body, content_type = MALFORMED[kind]
    process = psutil.Process()
    before = process.memory_info().rss
    failure = await desk.refusal(stream(body, 10_000), content_type)
    assert failure.code == "multipart_invalid"
    assert failure.message.startswith("The multipart body cannot be read.")
    assert process.memory_info().rss - before < 16 * MiB


async def test_params_may_be_long(desk: Desk) -> None:
    got = await desk.take(form(("params", None, b"x" * 65_536)), MULTIPART)
    assert len(got.fields["params"]) == 65_536


async def test_what_follows_the_last_boundary_is_passed_over(desk: Desk) -> None:
    body = b"\r\n" + form(("file", "a.jpg", picture())) + b"an epilogue\r\n"
    assert len((await desk.take(stream(body, 7), MULTIPART)).files) == 1


async def test_an_image_that_contains_most_of_a_boundary_arrives_whole(desk: Desk) -> None:
    body = picture() + b"\r\n--Xy\r\n--XyA\r\r\n--" * 50
    got = await desk.take(stream(form(("file", "a.jpg", body)), 3), MULTIPART)
    assert got.files[0].sha256 == hashlib.sha256(body).digest()


# Names


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("attic.jpg", "attic.jpg"),
        ("Großmutter 1950.jpeg", "Großmutter 1950.jpeg"),
        ("写真.png", "写真.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("a/b/", "image.jpg"),
        ("..", "image.jpg"),
        (".hidden.png", "hidden.png"),
        ("a\0b\n\tc.jpg", "abc.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("  a   b .jpg ", "a b.jpg"),
        ("e\u0301.jpg", "é.jpg"),
        ("", "image.jpg"),
        (None, "image.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
        ("x." + "y" * 300, "x." + "y" * 118),
    ],
)
def test_a_file_name_is_made_safe_to_show(claimed: str | None, name: str) -> None:
    assert display_name(claimed, "image/jpeg") == name


@given(st.text(max_size=400))
def test_every_file_name_is_short_and_free_of_paths_and_controls(claimed: str) -> None:
    name = display_name(claimed, "image/png")
    assert 0 < len(name) <= 120
    assert len(name.encode()) <= 200
    assert not set(name) & {"/", "\\"}
    assert not name.startswith(".")
    assert all(unicodedata.category(mark)[0] != "C" for mark in name)
