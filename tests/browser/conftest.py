"""A browser, and the whole service with a slow pipeline, both started once for all tests of this folder.

service     addresses: `url` of the API, `polling_url` of an nginx before it that refuses WebSockets
page        a page of a fresh browser profile on `service.url`; `open_page` opens others
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from browser.recorder import RECORDER, OpenPage, Service
from support.nginx import nginx
from support.processes import api_process, processor_process
from support.requires import require
from support.servers import PostgresServer, RedisServer

PIPELINES = "browser.darkroom:develop,safelight_processor.pipelines.transform:transform"
expect.set_options(timeout=20_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(shared_postgres: PostgresServer, shared_redis: RedisServer) -> AsyncIterator[Service]:
    shared_postgres.start()
    shared_redis.start()
    name = await shared_postgres.create()
    database, redis_url = shared_postgres.dsn(name), shared_redis.url
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=PIPELINES, slots=4),
        nginx([api.url], websockets=False) as proxy,
    ):
        yield Service(api.url, proxy.url)
    await shared_postgres.drop(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    chromium = require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(service: Service, browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens the page in a profile of its own; when the test is over, no script may have failed."""
    contexts, errors = [], []

    async def open_(url: str = service.url, path: str = "/", **options: Any) -> Page:
        context = await browser.new_context(**options)
        contexts.append(context)
        await context.add_init_script(RECORDER + await _without_earlier_jobs(service))
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: "Content Security Policy" in line.text and errors.append(line.text))
        await page.goto(url + path)
        await expect(page.locator("#pipelines")).to_be_visible()
        return page

    yield open_
    for context in contexts:
        await context.close()
    assert errors == []


@pytest_asyncio.fixture(loop_scope="module")
async def page(open_page: OpenPage) -> Page:
    return await open_page()


async def _without_earlier_jobs(service: Service) -> str:
    """The jobs of other tests are taken off the list, in the page's own way."""
    async with httpx.AsyncClient(base_url=service.url, timeout=20) as http:
        jobs = (await http.get("/api/jobs", params={"limit": 200})).raise_for_status().json()["jobs"]
    ids = " ".join(job["id"] for job in jobs)
    return f"localStorage.getItem('safelight.hidden') ?? localStorage.setItem('safelight.hidden', '{ids}');"


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    require("chromium")
