"""The page in a real browser, against the real service: what a person sees, on each kind of network."""

import io
import re
from typing import Any

import PIL.Image
import pytest
from playwright.async_api import Page, expect

from browser.person import DONE, PHONE, card, picture, seen, submit
from browser.recorder import OpenPage, Service
from support.images import truncated_jpeg

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_picture_is_uploaded_watched_live_and_comes_out(page: Page) -> None:
    await submit(page, picture("attic.jpg"), seconds=2)
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "succeeded")
    told = [one for one in await seen(page) if one["job"]]
    live = [one for one in told if one["state"] == "running"]
    assert {one["badge"] for one in live} <= {"gray", "green"}
    assert live[-1]["badge"] == "green"
    assert any(one["text"] == "Real-time" for one in live)
    percents = [one["percent"] for one in live]
    assert percents == sorted(percents)
    assert len(set(percents)) >= 5, "it moved in steps that can be seen"
    assert await page.evaluate("() => window.safeAfter") == 1, "safe to close only when there is a job"
    assert "Uploading 1 file… 100%" in await page.evaluate("() => window.uploads")
    await expect(page.locator("#safe")).to_be_hidden()


async def test_the_result_can_be_downloaded_and_is_what_the_pipeline_made(page: Page) -> None:
    await submit(page, picture("attic.jpg", 1), copies=2)
    links = card(page, "attic.jpg").locator(".files a")
    await expect(links).to_have_count(2)
    async with page.expect_download() as download:
        await links.first.click()
    saved = await (await download.value).path()
    with PIL.Image.open(io.BytesIO(saved.read_bytes())) as out:
        assert (out.size, out.mode, out.format) == ((640, 480), "L", "JPEG")
    assert (await download.value).suggested_filename == "print-1.jpg"


async def test_behind_a_box_that_refuses_sockets_the_badge_is_yellow_and_the_end_arrives(
    open_page: OpenPage, service: Service
) -> None:
    page = await open_page(service.polling_url)
    await submit(page, picture("attic.jpg", 2), seconds=4)
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "succeeded")
    told = await seen(page)
    assert any(one["badge"] == "yellow" and one["text"] == "Polling" for one in told)
    assert not any(one["badge"] == "green" for one in told)
    assert any(0 < one["percent"] < 100 for one in told if one["state"] == "running"), "progress arrives too"
    await expect(card(page, "attic.jpg").locator(".compare")).to_be_visible()


async def test_a_killed_socket_steps_down_and_comes_back_up_without_a_reload(open_page: OpenPage) -> None:
    page = await open_page()
    sockets: list[Any] = []

    async def through(route: Any) -> None:
        sockets.append(route)
        if 1 < len(sockets) < 4:
            await route.close(code=1011)
        else:
            route.connect_to_server()

    await page.route_web_socket(re.compile("/live"), through)
    await page.reload()  # only then is the route in effect
    await expect(page.locator("#pipelines")).to_be_visible()
    await page.evaluate("() => localStorage.setItem('debug', 'true')")
    async with page.expect_console_message(lambda line: "WebSocket connected" in line.text):
        await submit(page, picture("attic.jpg", 3), seconds=60)
    badge = card(page, "attic.jpg").locator(".badge")
    await expect(badge).to_have_text("Real-time")
    await sockets[0].close(code=1011)
    await expect(badge).to_have_text("Polling")
    await expect(badge).to_have_text("Real-time", timeout=60_000)
    await card(page, "attic.jpg").get_by_role("button", name="Cancel").click()
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "canceled")


async def test_several_pictures_are_several_jobs_and_the_text_counts_them(page: Page) -> None:
    names = [f"print-{n}.jpg" for n in range(3)]
    await submit(page, *(picture(name, seed) for seed, name in enumerate(names)), seconds=0.2)
    await expect(page.locator(DONE)).to_have_count(3)
    uploads = await page.evaluate("() => window.uploads")
    assert any(re.fullmatch(r"Uploading 2/3 files… \d+%", text) for text in uploads), uploads
    assert len({one["job"] for one in await seen(page) if one["job"]}) == 3


async def test_a_bad_file_says_why_and_the_others_go_on(page: Page) -> None:
    bad = {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear Sir or Madam, " * 50}
    await submit(page, bad, picture("good.jpg", 4), seconds=0.2)
    await expect(card(page, "good.jpg")).to_have_attribute("data-state", "succeeded")
    letter = card(page, "letter.jpg")
    await expect(letter).to_have_attribute("data-code", "image_unsupported")
    await expect(letter).to_contain_text("not an image of a kind that is accepted")
    await expect(letter.get_by_role("button", name="Try again")).to_be_hidden()
    await expect(page.locator("#spoken")).not_to_be_empty()


async def test_a_damaged_picture_fails_its_job_with_a_typed_message(page: Page) -> None:
    await submit(page, picture("half.jpg", bytes_=truncated_jpeg()))
    half = card(page, "half.jpg")
    await expect(half).to_have_attribute("data-state", "failed")
    await expect(half).to_have_attribute("data-code", "image_damaged")
    await expect(half.locator(".text")).to_contain_text("damaged")


async def test_params_come_from_the_schema_and_reach_the_pipeline(page: Page) -> None:
    await submit(page, picture("attic.jpg", 5), paper="Glossy", contrast=0.8, seconds=0)
    done = card(page, "attic.jpg")
    await expect(done).to_have_attribute("data-state", "succeeded")
    await done.locator(".facts summary").click()
    await expect(done.locator(".facts pre")).to_contain_text('"paper": "glossy"')
    await expect(done.locator(".facts pre")).to_contain_text('"contrast": 0.8')


async def test_a_form_with_nested_params_makes_what_was_asked_for(page: Page) -> None:
    await page.locator("#pipelines strong", has_text="Transform").click()
    await page.locator("#options summary").first.click()
    await page.get_by_role("checkbox", name="Watermark").check()
    await page.locator("#param-watermark-text").fill("Attic")
    await page.locator("#param-width").fill("200")
    await page.locator("#param-format").select_option(label="Png")
    await page.locator("#picker").set_input_files([picture("attic.jpg", 6)])
    done = card(page, "attic.jpg")
    await expect(done).to_have_attribute("data-state", "succeeded")
    await expect(done.locator(".files a")).to_have_attribute("title", re.compile("^200 . 150 px"))
    await expect(done.locator(".files a")).to_have_attribute("download", "output.png")


async def test_params_that_do_not_fit_are_refused_before_the_upload(page: Page) -> None:
    await submit(page, picture("attic.jpg"), pipeline="transform", width=99_999)
    await expect(page.locator(".card")).to_have_count(0)
    assert not await page.locator("#param-width").evaluate("(field) => field.validity.valid")


async def test_cancel_and_try_again(page: Page) -> None:
    await submit(page, picture("attic.jpg", 7), seconds=60)
    attic = card(page, "attic.jpg")
    await expect(attic).to_have_attribute("data-state", "running")
    await attic.get_by_role("button", name="Cancel").click()
    await expect(attic).to_have_attribute("data-state", "canceled")
    await attic.get_by_role("button", name="Try again").click()
    await expect(attic).to_have_attribute("data-state", "running")
    await attic.get_by_role("button", name="Cancel").click()
    await expect(attic).to_have_attribute("data-state", "canceled")


async def test_a_reload_finds_the_running_job_and_the_finished_ones(page: Page) -> None:
    await submit(page, picture("first.jpg", 8), seconds=0)
    await expect(card(page, "first.jpg")).to_have_attribute("data-state", "succeeded")
    await submit(page, picture("second.jpg", 9), seconds=3)
    await expect(card(page, "second.jpg")).to_have_attribute("data-state", "running")
    await page.reload()
    await expect(card(page, "second.jpg")).to_have_attribute("data-state", "running")
    await expect(card(page, "second.jpg")).to_have_attribute("data-state", "succeeded")
    await card(page, "first.jpg").get_by_role("button", name="Show the result").click()
    await expect(card(page, "first.jpg").locator(".compare")).to_be_visible()
    await card(page, "first.jpg").get_by_role("button", name="Remove from the list").click()
    await page.reload()
    await expect(card(page, "second.jpg")).to_be_visible()
    await expect(card(page, "first.jpg")).to_have_count(0)


async def test_the_slider_follows_the_arrow_keys(page: Page) -> None:
    await submit(page, picture("attic.jpg", 10), seconds=0)
    slider = page.get_by_role("slider", name="Compare before and after")
    await slider.focus()
    await slider.press("ArrowRight")
    await slider.press("ArrowRight")
    await expect(slider).to_have_value("52")
    await expect(slider).to_have_attribute("aria-valuetext", "52 % before, 48 % after")
    await slider.press("Home")
    cut = await page.locator(".compare .seam").evaluate("(seam) => getComputedStyle(seam).left")
    assert cut == "0px"
    await expect(page.locator(".compare")).to_have_css("outline-style", "solid")


async def test_everything_can_be_reached_and_started_by_keyboard(page: Page) -> None:
    reached = []
    for _ in range(12):
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate("() => document.activeElement.id || document.activeElement.innerText")
        )
    assert reached[0] == "Skip to your prints"
    assert "picker" in reached
    assert "Adjust" in reached
    await page.locator("#picker").focus()
    ring = await page.locator("label[for=picker]").evaluate("(label) => getComputedStyle(label).outlineStyle")
    assert ring == "solid", "the focus on the hidden file field is seen on its label"


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_a_narrow_phone_has_no_horizontal_scroll(open_page: OpenPage, scheme: str) -> None:
    page = await open_page(color_scheme=scheme, **PHONE)
    await expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    await expect(page.get_by_text("Take a photo")).to_be_visible()
    name = "a-name-without-any-place-to-break-" + "x" * 60 + ".jpg"
    await submit(page, picture(name, 11), seconds=0)
    await expect(page.locator(".compare")).to_be_visible()
    await submit(page, picture("x.jpg", 12), pipeline="transform", width=50)
    await expect(page.locator(DONE)).to_have_count(2)
    assert await page.evaluate("() => document.documentElement.scrollWidth") == 360


async def test_a_screen_reader_is_told_what_matters(page: Page) -> None:
    await submit(page, picture("attic.jpg", 13), seconds=2)
    bar = card(page, "attic.jpg").get_by_role("progressbar", name="Progress of attic.jpg")
    await expect(bar).to_have_attribute("aria-valuetext", re.compile(r"\d+ %, Develop · bath \d+ of 20"))
    await expect(page.locator("#spoken")).to_have_text("attic.jpg is done")


async def test_the_debug_switch_prints_stable_events_and_shows_the_panel(open_page: OpenPage) -> None:
    page = await open_page(path="/?debug")
    lines: list[str] = []
    page.on("console", lambda line: lines.append(line.text))
    await page.evaluate("() => localStorage.setItem('debug', 'safelight:*')")
    await submit(page, picture("attic.jpg", 14), seconds=5)
    await expect(page.locator("#debug")).to_contain_text("websocket")
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "succeeded")
    mode = ["Starting polling mode for job updates...", "WebSocket connected", "Stopped polling mode"]
    for event in ["Job created", *mode]:
        assert any(event in line for line in lines), (event, lines)


async def test_polling_can_be_chosen(open_page: OpenPage) -> None:
    page = await open_page(path="/?debug")
    await page.get_by_role("checkbox", name="Polling only").check()
    await submit(page, picture("attic.jpg", 15), seconds=2)
    await expect(card(page, "attic.jpg")).to_have_attribute("data-state", "succeeded")
    assert {one["badge"] for one in await seen(page) if one["percent"] > 0 and one["job"]} == {"yellow"}
