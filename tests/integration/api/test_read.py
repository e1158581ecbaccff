"""Jobs out: status with its cursor, long-polls, pages, the timeline, cancel and retry, bytes with ranges."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from support.watching import submit, until


@pytest.fixture
async def http(service):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture
async def done(service, image):
    job = await submit(service.url, "echo", image)
    return await until(service.url, job["id"], "succeeded")


async def test_the_etag_is_the_cursor_and_gives_304(http, done):
    first = await http.get(f"/api/jobs/{done['id']}")

    assert first.headers["etag"] == f'"{done["cursor"]}"'
    again = await http.get(f"/api/jobs/{done['id']}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await http.get(f"/api/jobs/{done['id']}", headers={"if-none-match": '"1:1"'})
    assert other.status_code == 200


async def test_a_client_that_heard_more_than_postgres_did_is_not_told_less(http, service, image):
    job = await submit(service.url, "slow", image, seconds=30, steps=3)
    running = await until(service.url, job["id"], "running")
    ahead = running["cursor"].split(".")[0] + ".999"

    assert (
        await http.get(f"/api/jobs/{job['id']}", headers={"if-none-match": f'"{ahead}"'})
    ).status_code == 304
    await http.post(f"/api/jobs/{job['id']}/cancel")


async def test_a_long_poll_answers_when_there_is_news(http, service, image):
    job = await submit(service.url, "slow", image, seconds=1, steps=2)
    running = await until(service.url, job["id"], "running")
    cursor = running["cursor"]
    while True:
        answer = (await http.get(f"/api/jobs/{job['id']}", params={"wait": 20, "after": cursor})).json()
        assert answer["cursor"] != cursor
        cursor = answer["cursor"]
        if answer["state"] == "succeeded":
            break


async def test_a_long_poll_without_news_answers_when_its_time_is_over(http, service, image):
    job = await submit(service.url, "slow", image, seconds=60, steps=1)
    running = await until(service.url, job["id"], "running")

    answer = await http.get(
        f"/api/jobs/{job['id']}",
        params={
            "wait": 0.3,
            "after": running["cursor"] + "9" if "." in running["cursor"] else running["cursor"] + ".9",
        },
    )

    assert answer.status_code == 200
    assert answer.json()["state"] == "running"
    await http.post(f"/api/jobs/{job['id']}/cancel")


async def test_a_long_poll_on_what_has_ended_answers_at_once(http, done):
    async with asyncio.timeout(10):
        answer = await http.get(f"/api/jobs/{done['id']}", params={"wait": 30, "after": done["cursor"]})

    assert answer.json()["state"] == "succeeded"


async def test_a_broken_cursor_is_refused(http, done):
    answer = await http.get(f"/api/jobs/{done['id']}", params={"wait": 1, "after": "soon"})

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


async def test_jobs_are_listed_newest_first_in_pages(http, service, image):
    made = [(await submit(service.url, "noop", image))["id"] for _ in range(5)]

    first = (await http.get("/api/jobs", params={"limit": 3, "pipeline": "noop"})).json()
    second = (
        await http.get("/api/jobs", params={"limit": 3, "pipeline": "noop", "page": first["next"]})
    ).json()

    listed = [job["id"] for job in first["jobs"] + second["jobs"]]
    assert listed[:5] == made[::-1]
    assert len(set(listed)) == len(listed)
    assert {job["state"] for job in (await http.get("/api/jobs?state=succeeded")).json()["jobs"]} == {
        "succeeded"
    }


async def test_the_timeline_tells_every_event_in_order(http, service, image, tmp_path):
    job = await submit(service.url, "flaky", image, marker=str(tmp_path / "marker"), failures=1)
    ended = await until(service.url, job["id"], "succeeded", "failed")

    events = (await http.get(f"/api/jobs/{job['id']}/events")).json()["events"]

    assert [event["cursor"] for event in events] == [f"1:{number}" for number in range(1, len(events) + 1)]
    assert [event["reason"] for event in events] == ["submitted", "claimed", "retry", "claimed", "completed"]
    assert events[2]["error"]["retryable"] is True
    assert {event["traceparent"] for event in events} == {ended["traceparent"]}


async def test_a_canceled_job_is_canceled_once_and_can_be_taken_up_again(http, service, image):
    job = await submit(service.url, "slow", image, seconds=60, steps=60)
    await until(service.url, job["id"], "running")

    assert (await http.post(f"/api/jobs/{job['id']}/cancel")).status_code == 200
    await until(service.url, job["id"], "canceled")
    again = await http.post(f"/api/jobs/{job['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "job_finished")

    retried = await http.post(f"/api/jobs/{job['id']}/retry")
    assert retried.status_code == 202
    assert retried.json()["cursor"].startswith("2:")
    twice = await http.post(f"/api/jobs/{job['id']}/retry")
    assert (twice.status_code, twice.json()["code"]) == (409, "job_not_finished")
    await http.post(f"/api/jobs/{job['id']}/cancel")


async def test_the_trace_of_the_client_goes_with_the_job(http, image):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await http.post("/api/jobs?pipeline=noop", content=image, headers={"traceparent": trace})

    assert answer.json()["traceparent"] == trace


@pytest.mark.parametrize(
    ("asked", "status", "slice_"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=0-999999999", 206, slice(0, None)),
        ("bytes=0-1,5-6", 200, slice(0, None)),
        ("lines=1-2", 200, slice(0, None)),
    ],
)
async def test_ranges_are_honoured(http, done, image, asked, status, slice_):
    href = done["outputs"][0]["href"]

    answer = await http.get(href, headers={"range": asked})

    assert (answer.status_code, answer.content) == (status, image[slice_])


async def test_a_range_beyond_the_end_is_refused_and_head_tells_the_size(http, done, image):
    href = done["outputs"][0]["href"]

    assert (await http.get(href, headers={"range": "bytes=9999999-"})).status_code == 416
    head = await http.head(href)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(image)), b"")
    assert (await http.get(href, headers={"if-none-match": head.headers["etag"]})).status_code == 304


async def test_an_output_that_is_not_there_is_named(http, done):
    answer = await http.get(f"/api/jobs/{done['id']}/outputs/nope.jpg")

    assert (answer.status_code, answer.json()["code"]) == (404, "output_not_found")
    assert (await http.get(f"/api/jobs/{uuid4()}/outputs/nope.jpg")).json()["code"] == "job_not_found"


async def test_pipelines_come_with_their_schema_and_problems_with_their_words(http):
    found = {info["name"]: info for info in (await http.get("/api/pipelines")).json()["pipelines"]}
    assert {"transform", "restore", "echo"} <= set(found)
    assert found["slow"]["params"]["properties"]["seconds"]

    problems = (await http.get("/api/problems")).json()["problems"]
    assert {"job_not_found", "image_damaged"} <= {problem["code"] for problem in problems}


async def test_health_and_metrics_answer(http):
    assert (await http.get("/livez")).status_code == 200
    assert (await http.get("/readyz")).status_code == 200
    text = (await http.get("/metrics")).text
    assert "safelight_http_requests_total{" in text
    assert (await http.get("/api/openapi.json")).json()["openapi"].startswith("3.1")
