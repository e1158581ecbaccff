"""Images in: every way to submit, what is refused and how, and that nothing of what was refused remains."""

import asyncio
import json
import os
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest

from support import images
from support.watching import until


@pytest.fixture
async def http(service):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        yield client


async def stored_blobs(service) -> int:
    connection = await asyncpg.connect(service.database)
    count = await connection.fetchval("select count(*) from blob")
    await connection.close()
    return count


def refused(answer: httpx.Response, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status), body
    assert body["type"] == f"/api/problems#{code}"
    assert body["title"]
    assert body["detail"]
    return True


async def test_a_raw_body_becomes_a_job_and_its_bytes_come_back(http, service, image):
    answer = await http.post(
        "/api/jobs?pipeline=echo&name=attic.jpg", content=image, headers={"content-type": "image/png"}
    )

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    [file] = job["inputs"]
    # What it is, is decided by its content, whatever the request says.
    assert (file["name"], file["media_type"], file["width"], file["height"]) == (
        "attic.jpg",
        "image/jpeg",
        320,
        240,
    )
    assert (await http.get(file["href"])).content == image

    ended = await until(service.url, job["id"], "succeeded")
    output = await http.get(ended["outputs"][0]["href"])
    assert output.content == image
    assert output.headers["x-content-type-options"] == "nosniff"


async def test_multipart_takes_several_files_before_or_after_the_fields(http, service, image):
    png = images.png(40, 30)
    files = [("file", ("a.jpg", image)), ("file", ("b.png", png)), ("file", ("a.jpg", image))]

    answer = await http.post("/api/jobs", data={"pipeline": "echo"}, files=files)

    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert [file["media_type"] for file in job["inputs"]] == ["image/jpeg", "image/png", "image/jpeg"]
    assert len({file["name"] for file in job["inputs"]}) == 3
    assert (await http.get(job["inputs"][1]["href"])).content == png
    await until(service.url, job["id"], "succeeded")


async def test_a_put_creates_once_and_a_repeat_returns_the_job(http, service, image):
    job_id = str(uuid4())
    first = await http.put(f"/api/jobs/{job_id}?pipeline=echo", content=image)
    before = await stored_blobs(service)
    again = await http.put(f"/api/jobs/{job_id}?pipeline=echo", content=image)
    other = await http.put(f"/api/jobs/{job_id}?pipeline=echo", content=images.jpeg(50, 50))

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"] == job_id
    assert refused(other, 409, "id_taken")
    await until(service.url, job_id, "succeeded")
    assert await stored_blobs(service) <= before + 1  # the output, and no second input


async def test_fifty_submissions_under_one_idempotency_key_are_one_job(http, image):
    key = {"idempotency-key": str(uuid4())}

    answers = await asyncio.gather(
        *(http.post("/api/jobs?pipeline=noop", content=image, headers=key) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_another_body_under_a_used_idempotency_key_is_refused(http, image):
    key = {"idempotency-key": str(uuid4())}
    await http.post("/api/jobs?pipeline=noop", content=image, headers=key)

    assert refused(
        await http.post("/api/jobs?pipeline=slow", content=image, headers=key), 422, "idempotency_key_reused"
    )
    assert refused(
        await http.post("/api/jobs?pipeline=noop", content=image, headers={"idempotency-key": "x" * 201}),
        400,
        "bad_request",
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "body_empty"),
        (b"this is no image", 415, "image_unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "image_unsupported"),
        (b"%PDF-1.7", 415, "image_unsupported"),
        (b"\xff\xd8\xff\xe0", 422, "image_unreadable"),
        (images.gif_header_65535(), 422, "image_too_many_pixels"),
        (images.bomb_png(20_000), 422, "image_too_many_pixels"),
    ],
    ids=["empty", "text", "svg", "pdf", "cut off in its header", "a GIF of 65535 squared", "a bomb"],
)
async def test_what_is_no_acceptable_image_is_refused_with_its_code_and_leaves_nothing(
    http, service, body, status, code
):
    before = await stored_blobs(service)

    assert refused(await http.post("/api/jobs?pipeline=noop", content=body), status, code)

    assert await stored_blobs(service) == before


async def test_a_wrong_request_is_refused_in_words_that_help(http, image):
    unknown = await http.post("/api/jobs?pipeline=nope", content=image)
    assert refused(unknown, 404, "pipeline_unknown")
    assert "echo" in unknown.json()["detail"]

    params = json.dumps({"seconds": -1, "surprise": True})
    wrong = await http.post("/api/jobs", params={"pipeline": "slow", "params": params}, content=image)
    assert refused(wrong, 422, "params_invalid")
    assert {error["path"] for error in wrong.json()["errors"]} == {"seconds", ""}

    assert refused(
        await http.post("/api/jobs", params={"pipeline": "slow", "params": "{"}, content=image),
        400,
        "json_invalid",
    )
    assert refused(
        await http.post("/api/jobs?pipeline=noop", files=[("name", (None, "x"))]), 400, "file_missing"
    )
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert refused(await http.post("/api/jobs", content=b"--y\r\n", headers=broken), 400, "multipart_invalid")


async def test_the_text_of_an_escaped_nul_reaches_the_pipeline(http, service, image):
    params = json.dumps({"watermark": {"text": r"\u0000"}})
    answer = await http.post("/api/jobs", params={"pipeline": "transform", "params": params}, content=image)

    assert answer.status_code == 202
    assert (await until(service.url, answer.json()["id"], "succeeded", "failed"))["error"] is None


async def test_too_many_files_for_a_pipeline_are_refused(http, service, image):
    before = await stored_blobs(service)
    two = [("file", ("a.jpg", image)), ("file", ("b.jpg", image))]

    assert refused(await http.post("/api/jobs", data={"pipeline": "slow"}, files=two), 422, "too_many_files")

    assert await stored_blobs(service) == before


async def test_a_body_beyond_the_cap_is_refused_whether_it_says_its_length_or_not(http, service):
    head = images.jpeg(100, 100)

    async def endless():
        yield head
        for _ in range(100):
            yield bytes(1_000_000)

    before = await stored_blobs(service)
    assert refused(await http.post("/api/jobs?pipeline=noop", content=endless()), 413, "body_too_large")
    assert refused(
        await http.post("/api/jobs?pipeline=noop", content=bytes(100_000_000)), 413, "body_too_large"
    )
    assert await stored_blobs(service) == before


async def test_an_upload_that_breaks_off_leaves_nothing(service, image):
    connection = await asyncpg.connect(service.database)
    chunks = "select count(*) from blob_chunk"
    before = await connection.fetchval(chunks), await stored_blobs(service)
    host, port = service.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/jobs?pipeline=noop HTTP/1.1\r\nHost: x\r\nContent-Length: {10 * 1024 * 1024}\r\n\r\n"
    writer.write(head.encode() + image + bytes(3 * 1024 * 1024))
    await writer.drain()
    async with asyncio.timeout(20):
        while await connection.fetchval(chunks) == before[0]:
            await asyncio.sleep(0.02)
        writer.close()
        while (await connection.fetchval(chunks), await stored_blobs(service)) != before:
            await asyncio.sleep(0.02)
    await connection.close()


async def test_a_hundred_megapixels_pass_through_without_being_held(http, service):
    big = images.big_jpeg(100, 60_000_000)
    pod = psutil.Process(service.api.pid)
    family = [pod, *pod.children(recursive=True)]
    peak, before = 0, sum(process.memory_info().rss for process in family)

    async def watch_memory():
        nonlocal peak
        while True:
            peak = max(peak, sum(process.memory_info().rss for process in family))
            await asyncio.sleep(0.01)

    async def chunks():
        with big.open("rb") as source:
            while chunk := source.read(256 * 1024):
                yield chunk

    watching = asyncio.create_task(watch_memory())
    answer = await http.post(
        "/api/jobs?pipeline=noop", content=chunks(), headers={"content-length": str(os.path.getsize(big))}
    )
    watching.cancel()

    assert answer.status_code == 202, answer.text
    [file] = answer.json()["inputs"]
    assert file["bytes"] >= 60_000_000
    assert file["width"] * file["height"] >= 100_000_000
    assert peak - before < 32 * 1024 * 1024


async def test_the_framework_s_own_errors_are_problems_too(http):
    assert refused(await http.get("/api/nothing/here"), 404, "not_found")
    assert refused(await http.delete("/api/jobs"), 405, "method_not_allowed")
    assert refused(await http.get("/api/jobs?limit=many"), 400, "bad_request")
    assert refused(await http.get(f"/api/jobs/{uuid4()}"), 404, "job_not_found")
