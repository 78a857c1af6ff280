"""A strategy's code is edited while workers run: the next run has the new code, and says which code it had."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consumer.devstack import StackKind
from tests.support.front_door import FrontDoor, open_front_door

pytestmark = pytest.mark.integration

STRATEGY = """
from engine.strategy import Decision, StrategyParams

class Mine:
    class Params(StrategyParams):
        pass

    def __init__(self, params, instrument):
        self.asked = 0

    def decide(self, view):
        from mine_levels import BARS

        self.asked += 1
        return Decision("BUY" if self.asked // BARS % 2 else "SELL") if self.asked % BARS == 0 else None
"""


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("code"), stack_kind) as opened:
        yield opened


class Editable:
    """A strategy in an editable install: a project's folder, and site-packages with its metadata."""

    def __init__(self, folder: Path) -> None:
        self.project, self.site = folder / "project", folder / "site"
        metadata = self.site / "mine-1.0.dist-info"
        for each in (self.project, metadata):
            each.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (metadata / "RECORD").write_text("_editable_impl_mine.pth,,\n")
        (metadata / "entry_points.txt").write_text("[backtest_consumer.strategies]\nmine = mine_strategy:Mine\n")
        (self.project / "mine_strategy.py").write_text(STRATEGY)
        self.trade_every(20)

    def trade_every(self, bars: int, comment: str = "") -> None:
        """Edit a module that only a function of the strategy imports."""
        (self.project / "mine_levels.py").write_text(f"BARS = {bars}\n{comment}")


async def run(door: FrontDoor, strategy_id: int) -> dict[str, Any]:
    """One run's row with what its execution says."""
    request_id = await door.request(strategy_id)
    assert (await door.terminal_event(request_id)).kind == "completed"
    row = await door.row_of(request_id)
    execution = await door.database.fetchrow(
        "SELECT result_digest, strategy_version FROM backtest_executions WHERE run_id = $1", row["id"]
    )
    return {**row, **dict(execution), "request_id": request_id}


async def test_every_run_after_an_edit_has_the_new_code_in_every_worker_and_child(
    door: FrontDoor, tmp_path: Path
) -> None:
    mine = Editable(tmp_path)
    strategy_id = await door.add_strategy("mine")
    async with (
        door.worker(mine.site, mine.project, slots="2") as one,
        door.worker(mine.site, mine.project) as other,
    ):
        before = [await run(door, strategy_id) for _ in range(6)]
        mine.trade_every(40)
        after = [await run(door, strategy_id) for _ in range(6)]
        mine.trade_every(20)
        back = await run(door, strategy_id)
        logged = [event for worker in (one, other) for event in worker.log_events("run_finished")]

    trades = [{each["total_trades"] for each in runs} for runs in (before, after)]
    assert [len(each) for each in trades] == [1, 1]
    assert trades[0] != trades[1]
    for name in ("strategy_version", "result_digest"):
        assert len({each[name] for each in before}) == len({each[name] for each in after}) == 1
        assert before[0][name] != after[0][name]
        assert back[name] == before[0][name]
    assert len(before[0]["strategy_version"]) == 64
    told = {event["request_id"]: event["strategy_version"] for event in logged}
    assert {each["request_id"]: each["strategy_version"] for each in [*before, *after, back]} == told
    event = await door.terminal_event(after[0]["request_id"])
    assert event.data["metrics"]["strategy_version"] == after[0]["strategy_version"]


async def test_a_strategy_installed_while_a_worker_is_up_runs(door: FrontDoor, tmp_path: Path) -> None:
    """Its .pth file came after the warm child began, which alone would never find the module."""
    hook, site = tmp_path / "hook", tmp_path / "site"
    for folder in (hook, site):
        folder.mkdir()
    (hook / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(site)!r})\n")
    own, added = await door.add_strategy("sma_cross"), await door.add_strategy("mine")
    async with door.worker(hook):
        await run(door, own)  # the child is warm
        mine = Editable(tmp_path)
        (site / "_editable_impl_mine.pth").write_text(f"{mine.project}\n")
        before = await run(door, added)
        mine.trade_every(40)
        after = await run(door, added)

    assert before["total_trades"] != after["total_trades"]
    assert before["strategy_version"] != after["strategy_version"]


async def test_two_workers_with_different_code_for_one_key_never_go_unnoticed(door: FrontDoor, tmp_path: Path) -> None:
    """Even where it decides alike."""
    one, other = Editable(tmp_path / "one"), Editable(tmp_path / "other")
    other.trade_every(20, "# another release\n")
    strategy_id = await door.add_strategy("mine")
    found = []
    for package in (one, other):
        async with door.worker(package.site, package.project):
            found.append(await run(door, strategy_id))

    assert found[0]["total_trades"] == found[1]["total_trades"]
    assert found[0]["strategy_version"] != found[1]["strategy_version"]
    assert found[0]["result_digest"] != found[1]["result_digest"]


async def test_a_request_after_an_edit_is_checked_by_the_new_parameters(door: FrontDoor, tmp_path: Path) -> None:
    mine = Editable(tmp_path)
    strategy_id = await door.add_strategy("mine")
    async with door.worker(mine.site, mine.project):
        refused = await door.terminal_event(await door.request(strategy_id, strategy_params={"length": 5}))
        (mine.project / "mine_strategy.py").write_text(STRATEGY.replace("        pass", "        length: int = 3", 1))
        taken = await door.terminal_event(await door.request(strategy_id, strategy_params={"length": 5}))
    assert (refused.kind, refused.data["error"]["code"]) == ("rejected", "invalid_params")
    assert taken.kind == "completed"


async def test_doctor_says_which_version_of_every_strategy_there_is(door: FrontDoor) -> None:
    told = (await door.command("doctor")).stdout
    lines = {line.split()[2]: line for line in told.splitlines() if "strategies:" in line and ", version " in line}
    assert {"sma_cross", "nearest_patterns", "test_gate"} <= set(lines)
    assert len(lines["sma_cross"].rpartition(" ")[2]) == 64
