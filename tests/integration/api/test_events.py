"""One job by an event stream: the same story as over a socket, resumed by the last event id."""

import asyncio

import httpx

from support.watching import Told, stream, submit, until, watch_socket, watch_stream


async def test_the_stream_welcomes_tells_everything_and_ends_with_the_job(service, image):
    job = (await submit(service.url, "slow", image, seconds=1, steps=10))["id"]

    frames = [frame async for frame in stream(service.url, job)]

    kinds = [frame["type"] for frame in frames if frame["type"] != "ping"]
    assert kinds[:2] == ["connected", "snapshot"]
    assert "progress" in kinds
    assert kinds[-1] in ("state", "snapshot")
    assert all(
        frame["id"] == frame["cursor"]
        for frame in frames
        if frame["type"] in ("snapshot", "state", "progress")
    )


async def test_the_stream_and_the_socket_tell_the_same_story(service, image):
    job = (await submit(service.url, "slow", image, seconds=1, steps=10))["id"]
    streamed, heard = await asyncio.gather(
        watch_stream(service.url, job, Told()), watch_socket(service.url, job, Told())
    )
    streamed.check_order()
    assert streamed.story[-1] == heard.story[-1]
    assert streamed.states[-1] == heard.states[-1]


async def test_a_stream_that_is_taken_up_again_tells_what_was_missed_and_nothing_else(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    await until(service.url, job, "succeeded")

    told = await watch_stream(service.url, job, Told(), after="1:1")

    assert [(frame["type"], frame["cursor"]) for frame in told.frames] == [("state", "1:2"), ("state", "1:3")]
    assert told.last["outputs"][0]["href"]


async def test_who_knows_the_end_is_told_to_stay_away(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    ended = await until(service.url, job, "succeeded")

    async with httpx.AsyncClient(base_url=service.url) as http:
        for known in (ended["cursor"], ended["cursor"] + ".7"):
            answer = await http.get(
                f"/api/jobs/{job}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": known}
            )
            assert answer.status_code == 204


async def test_a_cursor_that_nobody_was_given_is_a_gap_and_the_whole_job(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    await until(service.url, job, "succeeded")

    frames = [frame async for frame in stream(service.url, job, after="1:99")]

    assert [frame["type"] for frame in frames] == ["connected", "gap", "snapshot"]
    assert frames[1]["id"] is None  # were the stream cut here, the snapshot would be missed


async def test_a_stream_asks_for_the_same_rights_as_a_read_and_for_a_cursor_that_is_one(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    ask = {"Accept": "text/event-stream"}
    async with httpx.AsyncClient(base_url=service.url) as http:
        strange = await http.get(f"/api/jobs/{job}/events", headers=ask | {"Last-Event-ID": "then"})
        unknown = await http.get("/api/jobs/00000000-0000-7000-8000-000000000000/events", headers=ask)
    assert (strange.status_code, strange.json()["code"]) == (400, "cursor_invalid")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")


async def test_without_news_there_are_pings_with_the_newest_cursor(service, image):
    job = (await submit(service.url, "slow", image, seconds=3, steps=1))["id"]
    async for frame in stream(service.url, job):
        if frame["type"] == "ping":
            assert list(frame["cursors"]) == [job]
            assert frame["id"] is None
            return
    raise AssertionError("no ping")


async def test_a_stream_that_is_cut_leaves_nothing_behind(service, image):
    job = (await submit(service.url, "slow", image, seconds=30, steps=30))["id"]

    async def sockets() -> float:
        async with httpx.AsyncClient(base_url=service.url) as http:
            text = (await http.get("/metrics")).text
        return sum(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith("safelight_live_sockets")
        )

    before = await sockets()
    reading = stream(service.url, job)
    await anext(reading)
    assert await sockets() == before + 1
    await reading.aclose()
    async with asyncio.timeout(10):
        while await sockets() != before:
            await asyncio.sleep(0.05)
