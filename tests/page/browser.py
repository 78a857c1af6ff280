"""Chromium for the tests of the page: where it is, how it is started, and what no test may leave behind."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.waiting import eventually

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
AXE = Path(__file__).parents[2] / "consumer" / "web" / "node_modules" / "axe-core" / "axe.min.js"
EXPECTED_NOISE = ("Failed to load resource", "net::ERR_")
"""The browser's own words on an answer that is an error, or on none: tests look at what the page makes of it."""


def chromium() -> str | None:
    """Debian's, or another one on the path."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@asynccontextmanager
async def open_browser(executable: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@dataclass(slots=True)
class Window:
    """A page in a context, with what its console said that nobody should see."""

    page: Page
    base_url: str
    complaints: list[str] = field(default_factory=list)

    async def show(self, address: str) -> None:
        await self.page.goto(self.base_url + address)
        await self.ready()

    async def ready(self, *, seconds: float = 30.0) -> None:
        """Everything that was asked for is on screen."""

        async def probe() -> bool:
            return bool(await self.page.evaluate("window.backtestPage !== undefined && window.backtestPage.ready"))

        await eventually(probe, f"{self.page.url} to be ready", seconds=seconds)

    async def settle(self) -> None:
        """Two frames: the charts have taken their new size and look."""
        await self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        await self.ready()

    async def hook(self, expression: str) -> Any:
        """`expression` over `p`, which is window.backtestPage."""
        return await self.page.evaluate(f"(() => {{ const p = window.backtestPage; return {expression}; }})()")

    async def until(self, expression: str, *, seconds: float = 30.0) -> None:
        async def probe() -> bool:
            return bool(await self.hook(expression))

        await eventually(probe, expression, seconds=seconds)


@asynccontextmanager
async def open_window(
    browser: Browser, base_url: str, *, context: BrowserContext | None = None, **options: Any
) -> AsyncIterator[Window]:
    """A window in a context of its own, or in `context`; at its end nothing stands in its console: no violation of the
    policy, no error.
    """
    own = context or await browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    window = Window(await own.new_page(), base_url)
    window.page.on("console", lambda message: _complain(window, message.type, message.text))
    window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
    try:
        yield window
    finally:
        await (window.page.close() if context is not None else own.close())
    assert window.complaints == []


def _complain(window: Window, kind: str, text: str) -> None:
    if kind in {"error", "warning"} and not text.startswith(EXPECTED_NOISE):
        window.complaints.append(text)


async def axe_complaints(window: Window) -> list[str]:
    """What axe-core finds that is serious or critical, as `rule: where`. The context must bypass the page's policy."""
    await window.page.add_script_tag(path=AXE)
    found = await window.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


def pictures_in(directory: Path) -> Path:
    place = directory / "pictures"
    place.mkdir(exist_ok=True)
    return place
