"""Alive and ready, with a clock of the test's own; and the small server, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from safelight.errors import Failure
from safelight.telemetry.health import Health, serving


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock=clock)


# Alive and ready


def test_a_process_is_not_ready_before_its_checks_have_passed(health: Health) -> None:
    assert health.ready() == (False, {})
    health.expect("database")
    assert health.ready() == (False, {"database": "not yet"})
    health.passed("database")
    assert health.ready() == (True, {"database": "ok"})


def test_redis_away_makes_no_process_unready(health: Health) -> None:
    health.passed("database")
    health.expect("redis")
    health.failed("redis")
    assert health.ready() == (True, {"database": "ok", "redis": "failing"})


def test_a_ready_process_stays_ready_through_a_blip_and_not_through_an_outage(
    health: Health, clock: Clock
) -> None:
    health.passed("database")
    for _ in range(14):
        health.failed("database")
        clock.now += 1
    assert health.ready() == (True, {"database": "failing"})
    clock.now += 1
    assert health.ready()[0] is False
    health.passed("database")
    assert health.ready()[0] is True


def test_a_check_that_hangs_is_no_better_than_one_that_fails(health: Health, clock: Clock) -> None:
    health.passed("database", 2.0)
    clock.now += 16.9
    assert health.ready() == (True, {"database": "ok"})
    clock.now += 0.2
    assert health.ready() == (False, {"database": "late"})
    health.passed("database", 2.0)
    assert health.ready() == (True, {"database": "ok"})


def test_patience_follows_the_time_limit_of_what_is_waited_for(clock: Clock) -> None:
    health = Health(clock=clock, patience=1.5)
    health.passed("database", 2.0)
    clock.now += 3.6
    assert health.ready()[0] is False


def test_blips_do_not_add_up(health: Health, clock: Clock) -> None:
    for _ in range(10):
        health.passed("database")
        health.failed("database")
        clock.now += 10
    assert health.ready()[0] is True


def test_a_process_that_never_reached_the_database_is_not_ready_but_alive(
    health: Health, clock: Clock
) -> None:
    health.failed("database")
    assert health.ready()[0] is False
    for _ in range(1000):
        clock.now += 10
        health.failed("database")
    assert health.live() == (True, {"database": "failing"})


def test_a_loop_that_no_longer_turns_is_stuck_and_the_process_not_alive(health: Health, clock: Clock) -> None:
    health.passed("heartbeat", 5.0)
    clock.now += 120
    assert health.live()[0] is True
    clock.now += 1
    assert health.live() == (False, {"heartbeat": "stuck"})


def test_a_loop_with_a_long_pause_is_not_stuck_during_it(health: Health, clock: Clock) -> None:
    health.passed("prune", 300.0)
    clock.now += 2999
    assert health.live()[0] is True
    clock.now += 2
    assert health.live()[0] is False


def test_a_stopping_process_is_alive_and_not_ready(health: Health) -> None:
    health.passed("database")
    health.stop()
    assert health.ready() == (False, {"stopping": "yes", "database": "ok"})
    assert health.live()[0] is True


# The server


@pytest.fixture
async def port(health: Health) -> AsyncIterator[int]:
    async with serving("127.0.0.1", 0, health) as port:
        yield port


async def say(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends a request as it stands; status, headers and body of the answer, until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in rest), body


async def get(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return await say(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_the_server_answers_alive_ready_and_metrics(port: int, health: Health) -> None:
    health.passed("database")
    status, headers, body = await get(port, "/livez?verbose")
    assert (status, headers["Content-Type"], json.loads(body)) == (
        200,
        "application/json",
        {"database": "ok"},
    )
    assert int(headers["Content-Length"]) == len(body)
    assert (await get(port, "/readyz"))[0] == 200
    status, headers, body = await get(port, "/metrics")
    assert (status, headers["Content-Type"].startswith("text/plain")) == (200, True)
    assert b"safelight_database_up 1.0" in body


async def test_the_server_says_503_when_the_process_is_not_ready(port: int, health: Health) -> None:
    health.expect("database")
    status, _, body = await get(port, "/readyz")
    assert (status, json.loads(body)) == (503, {"database": "not yet"})


async def test_head_answers_like_get_without_a_body(port: int, health: Health) -> None:
    health.passed("database")
    status, headers, body = await get(port, "/readyz", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(b'{"database":"ok"}')


async def test_another_method_is_refused_with_those_that_are_allowed(port: int) -> None:
    status, headers, _ = await get(port, "/livez", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/livez/", "/metrics2", "//livez", "/../livez"])
async def test_another_path_is_not_found(port: int, path: str) -> None:
    assert (await get(port, path))[0] == 404
    assert (await get(port, path, "DELETE"))[0] == 404


@pytest.mark.parametrize(
    "request_", [b"hello\r\n\r\n", b"\r\n\r\n", b"GET /livez\r\n\r\n", b"\xff\xfe \x00 x\r\n\r\n"]
)
async def test_what_is_no_http_is_a_bad_request(port: int, request_: bytes) -> None:
    assert (await say(port, request_))[0] == 400


async def test_a_head_without_end_is_cut_off(port: int) -> None:
    assert (await say(port, b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 2000))[0] == 431


async def test_a_connection_that_says_nothing_is_closed_and_others_are_served_meanwhile(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.telemetry.health._SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HT")
    assert (await get(port, "/livez"))[0] == 200
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_more_connections_than_expected_are_closed_at_once(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    ended = [asyncio.create_task(reader.read()) for reader, _ in silent]
    done, _ = await asyncio.wait(ended, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert done
    for _, writer in silent:
        writer.close()
    await asyncio.gather(*ended, return_exceptions=True)


async def test_a_port_that_is_taken_is_a_sentence(port: int, health: Health) -> None:
    sentence = f"SAFELIGHT_HEALTH_PORT: 127.0.0.1:{port}: address already in use"
    with pytest.raises(Failure, match=sentence):
        async with serving("127.0.0.1", port, health):
            pass
