"""The tools of the other tests: what fails on purpose must fail exactly so, and nginx must be in between."""

import asyncio
import os
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import asyncpg
import pytest

from support.nginx import nginx
from support.ports import free_port
from support.processes import Process
from support.proxy import fault_proxy
from support.requires import require, requires


@asynccontextmanager
async def echo():
    """A server that sends back what it gets; yields its port and how often it was called."""
    calls = []

    async def answer(reader, writer):
        calls.append(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # what the proxy is for
        finally:
            writer.close()

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        for writer in calls:
            writer.transport.abort()


@asynccontextmanager
async def proxied():
    async with echo() as port, fault_proxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.transport.abort()


async def say(writer, text):
    writer.write(text)
    await writer.drain()


async def hears_nothing(reader) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_a_proxy_lets_everything_through_and_counts():
    async with proxied() as (proxy, reader, writer):
        await say(writer, b"x" * 300_000)
        assert len(await reader.readexactly(300_000)) == 300_000
        assert (proxy.accepted, proxy.connections, proxy.passed) == (1, 1, 600_000)
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_cut_is_a_reset_and_the_next_connection_works():
    async with proxied() as (proxy, reader, writer):
        await say(writer, b"one")
        await reader.readexactly(3)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        again, second = await asyncio.open_connection("127.0.0.1", proxy.port)
        await say(second, b"two")
        assert await again.readexactly(3) == b"two"
        second.close()


async def test_refused_until_healed():
    async with proxied() as (proxy, reader, writer):
        await say(writer, b"one")
        await reader.readexactly(3)
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.heal()
        _, second = await asyncio.open_connection("127.0.0.1", proxy.port)
        second.close()


async def test_what_waits_in_a_pause_arrives_after_it():
    async with proxied() as (proxy, reader, writer):
        proxy.pause()
        await say(writer, b"late")
        assert await hears_nothing(reader)
        await proxy.heal()
        assert await reader.readexactly(4) == b"late"


async def test_what_falls_into_a_black_hole_is_lost_and_the_connection_stays():
    async with proxied() as (proxy, reader, writer):
        proxy.blackhole()
        await say(writer, b"lost")
        assert await hears_nothing(reader)
        await proxy.heal()
        await say(writer, b"found")
        assert await reader.readexactly(5) == b"found"


@requires("nginx")
@pytest.mark.parametrize("websockets", [True, False])
async def test_nginx_passes_requests_on_and_upgrades_only_when_asked_to(websockets):
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"upgrade" if b"upgrade: websocket" in head.lower() else b"plain"
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server, nginx([f"http://127.0.0.1:{port}"], websockets=websockets) as front:

        def ask(headers):
            request = urllib.request.Request(front.url, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as found:
                    return found.status, found.read()
            except urllib.error.HTTPError as error:
                return error.code, b""

        assert await asyncio.to_thread(ask, {}) == (200, b"plain")
        asked = await asyncio.to_thread(ask, {"Upgrade": "websocket"})
        assert asked == ((200, b"upgrade") if websockets else (403, b""))


def test_a_missing_tool_skips_and_fails_where_everything_is_required(monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool is not installed"):
        require("no-such-tool")
    monkeypatch.setenv("REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is not installed, and REQUIRE_ALL=1"):
        require("no-such-tool")


async def test_a_process_that_ends_early_fails_the_wait_with_its_last_words():
    early = Process("early", ["sh", "-c", "echo famous last words; exit 3"], os.environ)
    try:
        with pytest.raises(AssertionError, match="early ended with 3:\nfamous last words"):
            await early.until(lambda: False, "anything", 30)
    finally:
        early.kill()


async def test_databases_are_copies_of_the_migrated_one(pool, postgres):
    await pool.execute("insert into tenant (name) values ('mine')")
    other = await postgres.create()
    connection = await asyncpg.connect(postgres.dsn(other))
    assert await connection.fetchval("select count(*) from tenant where name = 'mine'") == 0
    await connection.close()
    await postgres.drop(other)
