"""News over a real Redis: never backwards, shared reads, and a subscription that always comes back."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError

from safelight.progress import keys
from safelight.progress.announcer import Announcer
from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import News, Stream, connect
from safelight.progress.tail import Message, Tail
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ProgressFrame, StateFrame
from safelight.wire.key import JobKey


def progress(key: JobKey, cursor: Cursor, percent: float = 1.0) -> News:
    frame = ProgressFrame(
        job=str(key.id), cursor=str(cursor), traceparent="", attempt=1, progress=percent, stage="s", status=""
    )
    return News(key, cursor, frame)


def state(key: JobKey, cursor: Cursor, name="running") -> News:
    frame = StateFrame(
        job=str(key.id), cursor=str(cursor), traceparent="", state=name, reason="x", attempt=1, progress=0.0
    )
    return News(key, cursor, frame)


@pytest.fixture
def key() -> JobKey:
    return JobKey(1, uuid4())


@pytest.fixture
async def stream(redis_url):
    redis = connect(redis_url)
    yield Stream(redis)
    await redis.aclose()


async def listen(redis_url, stop_after):
    """Messages as they come, from a Tail of our own, once it is subscribed."""
    got: asyncio.Queue = asyncio.Queue()
    subscribed = asyncio.Event()

    async def resync():
        subscribed.set()

    redis = connect(redis_url, timeout=5.0)
    tail = Tail(
        redis,
        [keys.LIVE, keys.WAKE, keys.CANCEL],
        lambda channel, data: got.put_nowait((channel, data)),
        resync,
    )
    task = asyncio.create_task(tail.run())
    await asyncio.wait_for(subscribed.wait(), 10)
    return got, tail, task, subscribed


async def test_news_is_told_once_and_never_backwards(stream, key):
    assert await stream.publish(progress(key, Cursor(1, 2, 5)))

    assert not await stream.publish(progress(key, Cursor(1, 2, 5)))
    assert not await stream.publish(progress(key, Cursor(1, 2, 4)))
    assert not await stream.publish(state(key, Cursor(1, 1)))
    assert await stream.publish(state(key, Cursor(1, 3)))
    assert not await stream.publish(progress(key, Cursor(1, 2, 99)))
    assert await stream.publish(state(key, Cursor(2, 1)))


async def test_the_latest_progress_is_that_of_the_run_under_way(stream, key):
    assert await stream.latest(key) is None
    await stream.publish(progress(key, Cursor(1, 2, 7), 42.0))
    latest = await stream.latest(key)
    assert latest is not None
    assert (latest.progress, latest.cursor) == (42.0, "1:2.7")

    await stream.publish(state(key, Cursor(1, 3)))
    assert await stream.latest(key) is None


async def test_a_remembered_answer_ends_with_the_next_news(stream, key):
    await stream.remember(key, Cursor(1, 2), '"1:2"', b"body")
    assert await stream.body(key) == ('"1:2"', b"body")

    await stream.publish(progress(key, Cursor(1, 2, 1)))
    assert await stream.body(key) is None


async def test_an_answer_that_was_read_before_the_news_is_not_remembered_after_it(stream, key):
    await stream.publish(state(key, Cursor(1, 3)))

    await stream.remember(key, Cursor(1, 2, 9), '"old"', b"old")

    assert await stream.body(key) is None


async def test_reads_of_one_moment_share_one_command(stream, redis_url):
    many = [JobKey(1, uuid4()) for _ in range(50)]
    for key in many[:25]:
        await stream.remember(key, Cursor(1, 1), str(key), b"x")
    redis = connect(redis_url)
    before = (await redis.info("commandstats")).get("cmdstat_mget", {"calls": 0})["calls"]

    answers = await asyncio.gather(*(stream.body(key) for key in many))

    after = (await redis.info("commandstats"))["cmdstat_mget"]["calls"]
    await redis.aclose()
    assert after - before == 1
    assert [answer is not None for answer in answers] == [True] * 25 + [False] * 25


async def test_a_reader_that_goes_away_does_not_take_the_others_with_it(stream, key):
    await stream.remember(key, Cursor(1, 1), "e", b"x")
    reads = [asyncio.create_task(stream.body(key)) for _ in range(3)]
    await asyncio.sleep(0)
    reads[0].cancel()

    assert await asyncio.gather(*reads[1:]) == [("e", b"x")] * 2


async def test_a_burst_of_wake_ups_is_told_at_once_and_once_more_a_moment_later(stream, redis_url):
    got, _, task, _ = await listen(redis_url, 3)
    announcer = Announcer(stream)
    telling = asyncio.create_task(announcer.run())
    for _ in range(100):
        announcer.wake()
    assert (await asyncio.wait_for(got.get(), 10))[0] == keys.WAKE
    for _ in range(100):
        announcer.wake()
    await announcer.flush()
    telling.cancel()

    assert (await asyncio.wait_for(got.get(), 10))[0] == keys.WAKE
    assert got.empty()
    task.cancel()


async def test_news_wakes_and_cancels_reach_the_tail(stream, key, redis_url):
    got, _, task, _ = await listen(redis_url, 3)
    announcer = Announcer(stream)
    telling = asyncio.create_task(announcer.run())
    announcer.publish(state(key, Cursor(1, 3), "succeeded"))
    announcer.wake()
    announcer.cancel(key)

    told = dict([await asyncio.wait_for(got.get(), 10) for _ in range(3)])

    message = Message(told[keys.LIVE])
    assert (message.key, message.cursor, message.kind) == (key, (1, 3, 0), "end")
    assert JobKey.parse(told[keys.CANCEL].decode()) == key
    assert keys.WAKE in told
    for running in (task, telling):
        running.cancel()


async def test_a_tail_comes_back_after_redis_was_killed_and_says_that_it_missed_something(
    stream, key, redis, redis_url
):
    got, tail, task, subscribed = await listen(redis_url, 1)
    subscribed.clear()
    redis.stop()
    redis.start()

    await asyncio.wait_for(subscribed.wait(), 20)
    assert tail.connected
    await stream.publish(state(key, Cursor(1, 9)))
    assert Message((await asyncio.wait_for(got.get(), 10))[1]).cursor == (1, 9, 0)
    task.cancel()


async def test_a_tail_whose_connection_is_killed_by_the_server_subscribes_again(key, redis_url):
    got, _, task, subscribed = await listen(redis_url, 1)
    redis = connect(redis_url)
    for _ in range(2):
        subscribed.clear()
        await redis.client_kill_filter(_type="pubsub")
        await asyncio.wait_for(subscribed.wait(), 20)

    await Stream(redis).publish(state(key, Cursor(1, 2)))

    assert Message((await asyncio.wait_for(got.get(), 10))[1]).cursor == (1, 2, 0)
    await redis.aclose()
    task.cancel()


async def test_without_redis_every_call_says_so_soon(redis, redis_url, key):
    client = connect(redis_url)
    stream = Stream(client)
    redis.stop()

    for call in (
        stream.body(key),
        stream.latest(key),
        stream.publish(state(key, Cursor(1, 1))),
        stream.wake(),
    ):
        with pytest.raises(OUTAGES):
            await call
    await client.aclose()


async def until_answered(stream, key):
    async with asyncio.timeout(20):
        while True:
            with suppress(*OUTAGES):
                return await stream.body(key)
            await asyncio.sleep(0.02)


async def test_only_the_first_who_asks_waits_for_a_redis_that_hangs_and_it_is_asked_again_when_it_answers(
    stream, key, redis
):
    await stream.remember(key, Cursor(1, 1), "etag", b"body")
    with redis.frozen():
        with pytest.raises(OUTAGES):
            await stream.body(key)

        # Each of these would take a second, had it to wait.
        async with asyncio.timeout(30):
            for _ in range(100):
                for call in (
                    stream.body(key),
                    stream.latest(key),
                    stream.remember(key, Cursor(1, 1), "e", b"b"),
                ):
                    with pytest.raises(OUTAGES):
                        await call

    await until_answered(stream, key)
    await stream.publish(progress(key, Cursor(1, 2, 7)))
    assert (await stream.latest(key)).cursor == "1:2.7"


async def test_connections_that_broke_cost_one_answer_and_not_those_that_follow(stream, key, redis_url):
    await stream.remember(key, Cursor(1, 1), "etag", b"body")
    killer = connect(redis_url)
    await killer.client_kill_filter(_type="normal", skipme=True)
    await killer.aclose()

    await until_answered(stream, key)
    for _ in range(10):
        await stream.remember(key, Cursor(1, 1), "etag", b"body")
        assert await stream.body(key) == ("etag", b"body")


async def test_an_error_that_redis_answers_with_is_no_reason_to_ask_it_nothing_more(stream, key, redis_url):
    other = connect(redis_url)
    await other.set(keys.top(key), "no hash")
    for _ in range(3):
        with pytest.raises(ResponseError):
            await stream.latest(key)
    await other.aclose()

    assert await stream.body(key) is None


async def test_an_announcer_outlives_an_outage_and_never_grows_without_bound(redis, redis_url, key, stream):
    announcer = Announcer(stream)
    redis.stop()
    for seq in range(1, 5000):
        announcer.publish(state(key, Cursor(1, seq)))
    telling = asyncio.create_task(announcer.run())
    redis.start()
    got, _, task, _ = await listen(redis_url, 1)

    announcer.publish(state(key, Cursor(9, 9)))

    while True:
        _, data = await asyncio.wait_for(got.get(), 20)
        if Message(data).cursor == (9, 9, 0):
            break
    for running in (task, telling):
        running.cancel()
