"""One job over one socket: the golden order, resume by cursor, and a client that says strange things."""

import asyncio
import json

import httpx
import pytest
import websockets

from support.watching import Told, everything, submit, until, watch_socket


def live(service, job: str, query: str = "") -> websockets.connect:
    return websockets.connect(
        f"ws{service.url.removeprefix('http')}/api/jobs/{job}/live{query}", open_timeout=10
    )


async def read(socket) -> dict:
    async with asyncio.timeout(20):
        return json.loads(await socket.recv())


async def read_until(socket, kind: str) -> dict:
    while (frame := await read(socket))["type"] != kind:
        pass
    return frame


async def test_a_watcher_is_welcomed_told_everything_and_dismissed(service, image):
    job = (await submit(service.url, "slow", image, seconds=1, steps=10))["id"]
    async with live(service, job) as socket:
        kinds = [kind async for text in socket if (kind := json.loads(text)["type"]) != "ping"]

    assert kinds[:2] == ["connected", "snapshot"]
    assert kinds[-1] in ("state", "snapshot")
    assert "progress" in kinds
    assert socket.close_code == 1000


async def test_a_late_watcher_gets_the_whole_job_and_the_end(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    await until(service.url, job, "succeeded")

    told = await watch_socket(service.url, job, Told())

    assert told.story == ["succeeded"]
    assert told.last["data"]["outputs"]


async def test_a_resume_replays_what_was_missed_and_nothing_else(service, image):
    job = (await submit(service.url, "echo", image))["id"]
    await until(service.url, job, "succeeded")

    told = await watch_socket(service.url, job, Told(), after="1:1")

    assert [(frame["type"], frame["cursor"]) for frame in told.frames] == [("state", "1:2"), ("state", "1:3")]
    assert told.last["outputs"][0]["href"]


@pytest.mark.parametrize("after", ["7:1", "1:99"])
async def test_a_cursor_that_cannot_be_continued_is_a_gap_and_a_snapshot(service, image, after):
    job = (await submit(service.url, "echo", image))["id"]
    await until(service.url, job, "succeeded")
    async with live(service, job, f"?after={after}") as socket:
        kinds = [json.loads(text)["type"] async for text in socket]

    assert kinds == ["connected", "gap", "snapshot"]


@pytest.mark.parametrize("after", ["1:2.999999999", "1:999999999", "999999999:1"])
async def test_a_cursor_that_nobody_was_given_mutes_no_progress(service, image, after):
    job = (await submit(service.url, "slow", image, seconds=60, steps=600))["id"]
    await until(service.url, job, "running")
    async with live(service, job, f"?after={after}") as socket:
        assert [(await read(socket))["type"] for _ in range(3)] == ["connected", "gap", "snapshot"]
        assert await read_until(socket, "progress")
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        async with asyncio.timeout(20):  # and not 30, nor the 304 of somebody who knows it all
            answer = await http.get(
                f"/api/jobs/{job}",
                params={"wait": 30, "after": after},
                headers={"if-none-match": f'"{after}"'},
            )
        assert (answer.status_code, answer.json()["state"]) == (200, "running")
        await http.post(f"/api/jobs/{job}/cancel")


async def test_the_server_pings_with_the_newest_cursor_and_answers_the_client_s_ping(service, image):
    job = (await submit(service.url, "slow", image, seconds=60, steps=1))["id"]
    await until(service.url, job, "running")
    async with live(service, job) as socket:
        ping = await read_until(socket, "ping")
        assert ping["cursors"][job].startswith("1:2")
        await socket.send('{"type": "ping"}')
        assert (await read_until(socket, "pong"))["ts"]

        for strange in ("hello", "{}", '{"type": "dance"}', "[1]", "\x00", '{"type": 5}'):
            await socket.send(strange)
            assert (await read_until(socket, "error"))["code"] == "bad_request"
        await socket.send('{"type": "ping"}')
        assert await read_until(socket, "pong")
    async with httpx.AsyncClient(base_url=service.url) as http:
        await http.post(f"/api/jobs/{job}/cancel")


@pytest.mark.parametrize(
    ("job", "query", "code"),
    [
        ("11111111-2222-4333-8444-555555555555", "", 4501),
        ("11111111-2222-4333-8444-555555555555", "?after=soon", 4503),
    ],
)
async def test_what_cannot_be_watched_is_closed_with_a_code_that_says_why(service, job, query, code):
    async with live(service, job, query) as socket:
        kinds = [json.loads(text)["type"] for text in await everything(socket)]

    assert "error" in kinds
    assert socket.close_code == code


async def test_a_retried_job_is_a_new_epoch_for_those_who_watch_again(service, image):
    job = (await submit(service.url, "slow", image, seconds=60, steps=60))["id"]
    await until(service.url, job, "running")
    async with httpx.AsyncClient(base_url=service.url) as http:
        await http.post(f"/api/jobs/{job}/cancel")
        await until(service.url, job, "canceled")
        await http.post(f"/api/jobs/{job}/retry")
        async with live(service, job, "?after=1:3") as socket:
            assert (await read(socket))["type"] == "connected"
            assert (await read(socket))["type"] == "gap"
            assert (await read(socket))["cursor"].startswith("2:")
        await http.post(f"/api/jobs/{job}/cancel")


async def test_fifty_watchers_of_one_job_are_all_told_the_same(service, image):
    job = (await submit(service.url, "slow", image, seconds=2, steps=20))["id"]

    everybody = await asyncio.gather(*(watch_socket(service.url, job, Told()) for _ in range(50)))

    for told in everybody:
        told.check_order()
        assert told.story[-1] == "succeeded"


async def test_where_nobody_is_asked_for_a_key_another_site_s_page_can_neither_watch_nor_submit(
    service, image
):
    job = (await submit(service.url, "noop", image))["id"]
    address = f"ws{service.url.removeprefix('http')}/api/jobs/{job}/live"
    async with websockets.connect(address, origin=websockets.Origin("https://elsewhere.example")) as socket:
        assert "forbidden" in (await everything(socket))[-1]
    async with httpx.AsyncClient(
        base_url=service.url, headers={"origin": "https://elsewhere.example"}
    ) as http:
        assert (await http.post("/api/jobs?pipeline=noop", content=image)).status_code == 403
    async with websockets.connect(address, origin=websockets.Origin("http://127.0.0.1:3000")) as socket:
        assert "connected" in (await everything(socket))[0]
