"""The page where the service asks for an API key; and the jobs that a browser may still see without one."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from browser.conftest import PIPELINES
from browser.person import card, picture, seen, submit
from browser.recorder import RECORDER
from safelight.keys.keys import ApiKeys
from support.processes import api_process, processor_process
from support.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def key(shared_postgres: PostgresServer, shared_redis: RedisServer) -> AsyncIterator[tuple[str, str]]:
    """Address of a service that asks for keys, and a key."""
    shared_postgres.start()
    shared_redis.start()
    name = await shared_postgres.create()
    database, redis_url = shared_postgres.dsn(name), shared_redis.url
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    made = await ApiKeys(pool).create("studio", "browser", ["read", "write"])
    await pool.close()
    async with (
        api_process(database, redis_url, auth="keys") as api,
        processor_process(database, redis_url, auth="keys", modules=PIPELINES),
    ):
        yield api.url, made
    await shared_postgres.drop(name)


async def test_the_key_is_asked_for_once_and_the_token_opens_the_job_later(
    key: tuple[str, str], browser: Browser
) -> None:
    url, secret = key
    context = await browser.new_context()
    await context.add_init_script(RECORDER)
    page: Page = await context.new_page()
    await page.goto(url)
    await submit(page, picture("attic.jpg"), seconds=2)
    await expect(card(page, "attic.jpg")).to_have_attribute("data-code", "unauthorized")
    await page.get_by_label("Key", exact=True).fill(secret)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator("#pipelines")).to_be_visible()

    await submit(page, picture("attic.jpg"), seconds=2)
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "succeeded")
    assert any(one["badge"] == "green" for one in await seen(page)), "the socket was let in"
    await _result_is_shown(page)

    # Whoever has no key any more still has the token of the job, and sees that one.
    await page.evaluate("() => localStorage.removeItem('safelight.key')")
    await page.reload()
    await card(page, "attic.jpg").get_by_role("button", name="Show the result").click()
    await _result_is_shown(page)
    await context.close()


async def _result_is_shown(page: Page) -> None:
    picture_ = page.locator(".compare .after")
    await expect(picture_).to_be_visible()
    await expect(picture_).to_have_js_property("naturalWidth", 640)
