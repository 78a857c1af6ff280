"""How soon the page shows a long run, what it loads for it, and its frames while dragging beside an empty chart's.

python -m tests.benchmarks.service.page_speed http://127.0.0.1:8080 RUN_ID

At an API that runs already, such as devstack's; best for a run of 500 000 bars.
"""

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import dataclass

from playwright.async_api import BrowserContext, Page

from tests.page.browser import Window, chromium, open_browser

LIBRARY = "consumer/web/node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.js"
EMPTY = "<figure><div class=canvas style='height: 600px'></div></figure>"
MOVES = 160
_COUNT_FRAMES = """() => {
    window.frames_ = [];
    let before = performance.now();
    const count = now => { frames_.push(now - before); before = now; window.counting = requestAnimationFrame(count); };
    window.counting = requestAnimationFrame(count);
}"""


@dataclass(frozen=True, slots=True)
class Frames:
    """Milliseconds between frames; 95 of 100 were no longer than `most`."""

    count: int
    median: float
    most: float


async def measure(base_url: str, run_id: int) -> list[tuple[str, str]]:
    """What was measured, and its value in words."""
    executable = chromium()
    if executable is None:
        raise SystemExit("no Chromium on this machine")
    async with open_browser(executable) as browser:
        context = await browser.new_context(viewport={"width": 1280, "height": 1400}, bypass_csp=True)
        empty = await frames_of_an_empty_chart(context)
        window = Window(await context.new_page(), base_url)
        told = [("an empty chart, dragged", _words(empty))]
        rows = await _seconds(window, "/runs", "document.querySelector('table[aria-label=Runs] a') !== null")
        told.append(("first row of Runs", f"{rows:.2f} s"))
        shown = await _seconds(window, f"/runs/{run_id}/chart", "window.backtestPage?.chart?.bars().length > 0")
        await window.ready()
        loaded = await window.page.evaluate(
            "performance.getEntriesByType('resource').filter(({name}) => name.includes('/v1/'))"
            ".reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0)"
        )
        told.append(("the whole run shown", f"{shown:.2f} s, {loaded / 1e6:.2f} MB loaded"))
        told.append(
            (f"the whole run ({await _shown(window)}), dragged", _words(await frames_while_dragging(window.page)))
        )
        middle = await window.hook("(p.chart.visible.from + p.chart.visible.to) / 2")
        await window.show(f"/runs/{run_id}/chart?at={int(middle)}")
        told.append(
            (f"its own bars ({await _shown(window)}), dragged", _words(await frames_while_dragging(window.page)))
        )
        return told


async def frames_of_an_empty_chart(context: BrowserContext) -> Frames:
    """The library's own, with a series that has no data."""
    page = await context.new_page()
    await page.set_content(EMPTY)
    await page.add_script_tag(path=LIBRARY)
    await page.evaluate(
        "() => { const chart = LightweightCharts.createChart(document.querySelector('.canvas'), {autoSize: true});"
        " chart.addSeries(LightweightCharts.CandlestickSeries); }"
    )
    await page.wait_for_timeout(500)
    found = await frames_while_dragging(page)
    await page.close()
    return found


async def frames_while_dragging(page: Page) -> Frames:
    """To and fro over the first chart of the page."""
    box = await page.locator("figure .canvas").first.bounding_box()
    if box is None:
        raise SystemExit("there is no chart")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.evaluate(_COUNT_FRAMES)
    for move in range(MOVES):
        await page.mouse.move(x + 200 * abs(move % 40 / 20 - 1) - 100, y)
    frames: list[float] = await page.evaluate("() => { cancelAnimationFrame(window.counting); return frames_; }")
    await page.mouse.up()
    return Frames(len(frames), statistics.median(frames), sorted(frames)[int(len(frames) * 0.95)])


async def _seconds(window: Window, address: str, condition: str) -> float:
    """From the address to the condition."""
    began = time.perf_counter()
    await window.page.goto(window.base_url + address, wait_until="commit")
    await window.page.wait_for_function(condition)
    return time.perf_counter() - began


async def _shown(window: Window) -> str:
    return str(await window.hook("`${p.chart.bars().length} candles of ${p.chart.timeframe}`"))


def _words(frames: Frames) -> str:
    return f"median {frames.median:.1f} ms, 95 of 100 within {frames.most:.1f} ms ({frames.count} frames)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_url")
    parser.add_argument("run_id", type=int)
    given = parser.parse_args()
    for what, value in asyncio.run(measure(given.base_url.rstrip("/"), given.run_id)):
        sys.stdout.write(f"{what}: {value}\n")


if __name__ == "__main__":
    main()
