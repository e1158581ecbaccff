"""What a person does with the page and sees on it, for the browser tests."""

from typing import Any

from playwright.async_api import Locator, Page

from support.images import jpeg

DONE = ".card[data-state=succeeded]"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def picture(name: str, seed: int = 0, bytes_: bytes | None = None) -> Any:
    return {"name": name, "mimeType": "image/jpeg", "buffer": bytes_ or jpeg(640, 480, seed)}


async def submit(page: Page, *pictures: Any, pipeline: str = "develop", **params: Any) -> None:
    """What a person does: choose, adjust, pick files."""
    await page.locator("#pipelines strong", has_text=pipeline.title()).click()
    await page.locator("#options").evaluate("(details) => { details.open = true; }")
    for name, value in params.items():
        field = page.locator(f"#param-{name}")
        if isinstance(value, bool):
            await field.set_checked(value)
        elif await field.evaluate("(field) => field.tagName") == "SELECT":
            await field.select_option(label=value)
        else:
            await field.fill(str(value))
    await page.locator("#picker").set_input_files(list(pictures))


async def seen(page: Page) -> list[dict[str, Any]]:
    """Everything that the cards have said about themselves, in order."""
    told: list[dict[str, Any]] = await page.evaluate("() => window.seen")
    return told


def card(page: Page, name: str) -> Locator:
    return page.locator(".card", has=page.get_by_role("heading", name=name, exact=True))
