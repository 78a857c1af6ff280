"""Real servers with a worker and the API, a browser, and runs to look at, which all tests of the page share."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from consumer.devstack import StackKind
from tests.page.browser import Window, chromium, open_browser, open_window
from tests.support.api_process import Api, api_process
from tests.support.front_door import FrontDoor, open_front_door
from tests.support.scripted_model import Received, Says, ScriptedModel
from tests.support.waiting import eventually

DIST = Path(__file__).parents[2] / "consumer" / "web" / "dist"
RULES = """{
  "params": {"fast": 10, "slow": 30},
  "indicators": {"f": "sma(close, fast)", "s": "sma(close, slow)", "strength": "rsi(close, 14)"},
  "buy": "crosses_above(f, s) and strength < 75",
  "sell": "crosses_below(f, s)",
  "stop_loss": "2 * atr(14)",
  "take_profit": ["2 * atr(14)", "4 * atr(14)"]
}"""
PARAMETERS = '{"fast": 10, "slow": 30, "stop_loss_pips": 30.0, "take_profit_pips": 60.0}'


@dataclass(frozen=True, slots=True)
class Site:
    """The API over real servers. averages, rules: ids of strategies; run: of a completed run of the rules."""

    door: FrontDoor
    api: Api
    averages: int
    rules: int
    run: int

    async def completed_run(self, strategy_id: int, **data: Any) -> int:
        posted = await self.api.post_run(strategy_id, **data)
        assert posted.status_code == 202, posted.text
        run_id = int(posted.json()["run_id"])

        async def probe() -> bool:
            row = (await self.api.get(f"/v1/backtest/{run_id}")).json()
            assert row["status"] not in {"failed", "cancelled"}, row
            return bool(row["status"] == "completed")

        await eventually(probe, f"run {run_id} to complete", seconds=90)
        return run_id


def agrees(received: Received) -> Says:
    """What a rule wants, in words that a page must not take for its own."""
    action = "BUY" if '"rule":{"action":"BUY"' in received.prompt else "SELL"
    return Says({"action": action, "confidence": 0.5, "reason": "<b>as the rule</b>"})


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: .ci/run installs Debian's")
    if not (DIST / "index.html").is_file():
        pytest.skip("the page was not built: npm's packages are not here")
    async with open_browser(executable) as opened:
        yield opened


@pytest.fixture(scope="session")
async def site(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind
) -> AsyncIterator[Site]:
    async with open_front_door(tmp_path_factory.mktemp("page"), stack_kind) as door:
        averages = await door.add_strategy(name="Averages cross", strategy_params=PARAMETERS)
        rules = await door.add_strategy("rules", name="Rules of mine", strategy_params=RULES)
        with ScriptedModel(agrees) as model:
            asks = {"llm_model": "openai:scripted", "llm_base_url": model.url}
            async with door.worker(**asks), api_process(door, **asks) as api:
                opened = Site(door, api, averages, rules, 0)
                run = await opened.completed_run(rules, end_date="2017-04-01T00:00:00Z", execution_mode="intra_candle")
                yield Site(door, api, averages, rules, run)


@pytest.fixture(scope="session")
async def search(site: Site) -> int:
    """A completed search over fast and slow, of the strategy of averages."""
    space = {"fast": [5, 10], "slow": [30, 40, 50]}
    body = {"strategy_id": site.averages, "symbol": "EURUSD", "timeframe": "H1", "param_grid": space, "min_trades": 1}
    posted = await site.api.post(
        "/v1/optimization", {**body, "start_date": "2016-06-01T00:00:00Z", "end_date": "2017-02-01T00:00:00Z"}
    )
    number = int(posted.json()["optimization_id"])

    async def probe() -> bool:
        return bool((await site.api.get(f"/v1/optimization/{number}")).json()["status"] == "completed")

    await eventually(probe, f"search {number} to complete", seconds=90)
    return number


@pytest.fixture
async def window(browser: Browser, site: Site) -> AsyncIterator[Window]:
    async with open_window(browser, site.api.base_url) as opened:
        yield opened
