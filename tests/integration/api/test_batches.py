"""Batches, reuse and priorities as a client sees them, on two API processes and a processor."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from support.images import jpeg
from support.watching import until


@pytest.fixture
async def http(service):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        yield http


BROKEN = '{"marker": "/nowhere/at/all"}'  # fails at once and for good


def code(answer):
    return answer.status_code, answer.json()["code"]


async def make(http, size):
    answer = await http.post("/api/batches", json={"size": size})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def submit(http, image, pipeline="noop", **query):
    answer = await http.post("/api/jobs", params={"pipeline": pipeline, **query}, content=image)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def test_a_batch_is_watched_as_one_and_ends_once(http, image):
    batch = await make(http, 3)
    assert (batch["ended"], batch["counts"]["queued"], batch["poll_after_ms"] > 0) == (False, 0, True)
    jobs = [await submit(http, image, "echo", batch=batch["id"], reuse="false") for _ in range(3)]

    ended = (await http.get(f"/api/batches/{batch['id']}", params={"wait": 30})).json()

    assert (ended["ended"], ended["progress"], ended["counts"]["succeeded"]) == (True, 100.0, 3)
    assert ended["ended_at"] is not None
    listed = (await http.get(batch["links"]["jobs"])).json()["jobs"]
    assert [job["id"] for job in listed] == [job["id"] for job in jobs]
    assert all(job["batch"] == batch["id"] and job["outputs"] for job in listed)


async def test_of_a_batch_only_what_failed_is_tried_again(http, service, image):
    batch = await make(http, 2)
    await submit(http, image, "echo", batch=batch["id"], reuse="false")
    bad = await submit(http, image, "flaky", batch=batch["id"], reuse="false", params=BROKEN)
    await until(service.url, bad["id"], "failed")

    answer = await http.post(batch["links"]["retry"])

    assert answer.json() == {"jobs": 1, "more": False}
    again = await until(service.url, bad["id"], "failed")
    assert again["cursor"].startswith("2:")


async def test_a_canceled_batch_has_ended(http, image):
    batch = await make(http, 4)
    for _ in range(4):
        await submit(http, image, "slow", batch=batch["id"], reuse="false", params='{"seconds": 60}')

    assert (await http.post(batch["links"]["cancel"])).json()["jobs"] == 4

    ended = (await http.get(f"/api/batches/{batch['id']}", params={"wait": 30})).json()
    assert (ended["ended"], ended["counts"]["canceled"]) == (True, 4)


async def test_a_batch_under_the_clients_own_id_is_made_once(http):
    path = f"/api/batches/{uuid4()}"

    assert [(await http.put(path, json={"size": 2})).status_code for _ in range(2)] == [201, 201]
    assert code(await http.put(path, json={"size": 3})) == (409, "id_taken")


async def test_what_is_no_batch_is_refused(http, image):
    nowhere = uuid4()

    assert code(await http.get(f"/api/batches/{nowhere}")) == (404, "batch_not_found")
    for batch in (str(nowhere), "nonsense"):
        answer = await http.post("/api/jobs", params={"pipeline": "noop", "batch": batch}, content=image)
        assert code(answer) == (404, "batch_not_found")
    for size in (0, -1, "many", 10_001):
        assert (await http.post("/api/batches", json={"size": size})).status_code == 400


async def test_the_same_image_is_worked_on_once_unless_it_is_asked_for(http, service):
    image = jpeg(111, 77)
    first = await submit(http, image, "echo")
    assert (await submit(http, image, "echo"))["id"] == first["id"]
    ended = await until(service.url, first["id"], "succeeded")

    again = await submit(http, image, "echo")
    other = await submit(http, image, "echo", reuse="false")
    own = await http.put(f"/api/jobs/{uuid4()}", params={"pipeline": "echo"}, content=image)

    assert (again["id"], again["outputs"]) == (first["id"], ended["outputs"])
    assert len({first["id"], other["id"], own.json()["id"]}) == 3
    assert (await http.get(again["outputs"][0]["href"])).content == image


async def test_other_params_or_another_pipeline_are_another_job(http):
    image = jpeg(112, 77)

    made = [
        await submit(http, image, "noop"),
        await submit(http, image, "echo"),
        await submit(http, image, "slow", params='{"seconds": 0.1}'),
        await submit(http, image, "slow", params='{"seconds": 0.2}'),
    ]

    assert len({job["id"] for job in made}) == 4


@pytest.mark.parametrize(
    "query", [{"priority": "4"}, {"priority": "-1"}, {"priority": "high"}, {"reuse": "maybe"}]
)
async def test_what_is_no_priority_and_no_answer_is_refused(http, image, query):
    answer = await http.post("/api/jobs", params={"pipeline": "noop", **query}, content=image)

    assert code(answer) == (400, "bad_request")


async def test_a_priority_is_kept(http, image):
    assert (await submit(http, image, priority="3", reuse="false"))["priority"] == 3


async def test_failed_jobs_are_listed_by_kind_and_tried_again_by_kind(http, service, image):
    bad = [await submit(http, image, "flaky", reuse="false", params=BROKEN) for _ in range(2)]
    ended = [await until(service.url, job["id"], "failed") for job in bad]
    kind = {"pipeline": "flaky", "code": ended[0]["error"]["code"]}

    listed = (await http.get("/api/jobs", params={"state": "failed", **kind})).json()["jobs"]
    page = (await http.get("/api/jobs", params={"state": "failed", "limit": 1, **kind})).json()
    rest = (
        await http.get("/api/jobs", params={"state": "failed", "limit": 50, "page": page["next"], **kind})
    ).json()

    assert {job["id"] for job in bad} <= {job["id"] for job in listed}
    assert [job["id"] for job in page["jobs"] + rest["jobs"]] == [job["id"] for job in listed]
    assert (await http.get("/api/jobs", params={"code": "no_such_code"})).json()["jobs"] == []
    answer = (await http.post("/api/jobs/retry", params=kind)).json()
    assert (answer["jobs"] >= 2, answer["more"]) == (True, False)
    assert (await http.post("/api/jobs/retry", params={"code": "no_such_code"})).json()["jobs"] == 0
    assert (await until(service.url, bad[0]["id"], "failed"))["cursor"].startswith("2:")


async def test_a_job_knows_its_place_and_its_times(http, service, image):
    """The processor has run this pipeline before, so it can tell how long it takes."""
    await until(
        service.url,
        (await submit(http, image, "slow", reuse="false", params='{"seconds": 1}'))["id"],
        "succeeded",
    )
    slow = [await submit(http, image, "slow", reuse="false", params='{"seconds": 20}') for _ in range(4)]

    async def asked(job):
        return (await http.get(f"/api/jobs/{job['id']}")).json()

    async with asyncio.timeout(30):
        while (last := await asked(slow[-1]))["eta"] is None or last["queue_position"] != 1:
            await asyncio.sleep(0.2)
    running = await asked(slow[0])

    assert last["eta"]["p90"] >= last["eta"]["p50"] > last["eta"]["wait_p50"] > 0
    assert (running["queue_position"], running["eta"]["wait_p50"]) == (None, 0.0)
    for job in slow:
        await http.post(f"/api/jobs/{job['id']}/cancel")


async def test_a_batch_of_equal_images_has_all_its_jobs(http, image):
    batch = await make(http, 2)
    jobs = [await submit(http, image, "echo", batch=batch["id"]) for _ in range(2)]

    ended = (await http.get(f"/api/batches/{batch['id']}", params={"wait": 30})).json()

    assert (ended["ended"], ended["counts"]["succeeded"]) == (True, 2)
    assert jobs[0]["id"] != jobs[1]["id"]


async def test_a_job_that_is_sent_again_for_another_batch_is_another_request(http, image):
    """The other batch would wait for it."""
    one, other = await make(http, 1), await make(http, 1)

    async def send(batch):
        query = {"pipeline": "noop", "batch": batch["id"]}
        return await http.post("/api/jobs", params=query, content=image, headers=key)

    key = {"idempotency-key": str(uuid4())}
    first = await send(one)

    assert (await send(one)).json()["id"] == first.json()["id"]
    assert code(await send(other)) == (422, "idempotency_key_reused")
