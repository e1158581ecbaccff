"""The pool: a server that has gone silent holds nobody for ever, and is left as soon as that is known."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import pytest

from safelight.config import Settings
from safelight.db.pool import Pool, open_pool, outages
from safelight.errors import Failure
from support.proxy import FaultProxy, fault_proxy

LIMIT = 0.5


@pytest.fixture
async def proxy(postgres) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(postgres.port) as proxy:
        yield proxy


@asynccontextmanager
async def pool_through(proxy: FaultProxy, database: str, connections: int = 4) -> AsyncIterator[Pool]:
    name = urlsplit(database).path.lstrip("/")
    settings = Settings(
        database_url=f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?sslmode=disable",
        database_pool=connections,
        database_timeout=LIMIT,
    )
    async with open_pool(settings) as pool:
        yield pool


async def ask(pool: Pool) -> bool:
    """Whether there was an answer."""
    try:
        async with outages():
            return bool(await pool.fetchval("select $1::integer", 1) == 1)
    except Failure as failure:
        return failure.code != "unavailable"


async def warm(pool: Pool) -> None:
    """All its connections are open, and idle."""
    await asyncio.gather(*(pool.fetchval("select pg_sleep(0.05)") for _ in range(pool.get_max_size())))
    assert pool.get_idle_size() == pool.get_max_size()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    assert loop.time() - began < seconds


async def test_a_statement_that_gets_no_answer_is_given_up_in_time(proxy, database):
    async with pool_through(proxy, database) as pool:
        await warm(pool)
        proxy.blackhole()
        with within(4 * LIMIT):
            assert await asyncio.gather(*(ask(pool) for _ in range(4))) == [False] * 4


async def test_after_one_silent_connection_the_others_are_not_tried_one_by_one(proxy, database):
    async with pool_through(proxy, database) as pool:
        await warm(pool)
        proxy.forget()

        assert [await ask(pool) for _ in range(5)] == [False, True, True, True, True]


async def test_a_slow_statement_costs_no_connection(proxy, database):
    async with pool_through(proxy, database) as pool:
        await warm(pool)
        accepted = proxy.accepted

        with pytest.raises(TimeoutError):
            await pool.fetchval("select pg_sleep(10)")
        await warm(pool)

    # One more, to say that it is to be canceled.
    assert proxy.accepted == accepted + 1


async def test_when_the_hole_is_over_there_are_answers_again(proxy, database):
    async with pool_through(proxy, database) as pool:
        await warm(pool)
        proxy.blackhole()
        assert not await ask(pool)
        await proxy.heal()
        assert await ask(pool)


async def test_nobody_waits_for_ever_for_a_connection(proxy, database):
    async with pool_through(proxy, database, connections=2) as pool:
        async with pool.acquire(), pool.acquire():
            with within(3 * LIMIT):
                assert not await ask(pool)
        assert await ask(pool)


async def test_nobody_waits_for_ever_for_a_server_that_takes_connections_and_says_nothing(proxy, database):
    proxy.blackhole()
    async with pool_through(proxy, database) as pool:
        with within(3 * LIMIT):
            assert not await ask(pool)


async def test_a_process_can_end_although_its_statements_hang(proxy, database):
    hanging = None
    with within(8):
        async with pool_through(proxy, database) as pool:
            await warm(pool)
            proxy.blackhole()
            hanging = asyncio.create_task(ask(pool))
            await asyncio.sleep(0)
    assert await hanging is False


async def test_the_kernel_ends_connections_whose_other_side_has_vanished(proxy, database):
    async with pool_through(proxy, database) as pool, pool.acquire() as connection:
        of_it = connection._con._transport.get_extra_info("socket")

        assert of_it.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert of_it.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LIMIT / 2 * 1000
