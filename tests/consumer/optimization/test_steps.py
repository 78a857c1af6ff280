"""A search taken step by step, by children that know of each other only by files, is what one process finds."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.search_files import SearchArtifacts
from consumer.installed.strategy_code import strategy_version
from consumer.optimization import numbering, steps
from consumer.optimization.searching import RETURNS
from consumer.optimization.steps import SearchSteps
from consumer.ports.outcomes import Failed
from consumer.ports.searches import Asked, RangeDone, StepDied, StepTask, Surveyed, Surveying
from consumer.preparation.inputs import assemble
from consumer.preparation.snapshot import specification_to_json
from consumer.rules import searches
from consumer.rules.searches import SearchState, ShardState
from engine.errors import EngineError
from engine.market.instruments import packaged_instruments
from engine.search.answer import Answer
from engine.search.optimizing import optimize
from engine.specification import Specification
from engine.strategies.sma_cross import SmaCross
from engine.warm_up import WarmUp

BARS_FILE = Path(__file__).parents[2] / "data" / "gbpusd_h1.parquet"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
SPACE = {"fast": [5, 10, 20], "slow": {"from": 10, "to": 50, "step": 10}}
INTERVALS = {"fast": {"low": 3, "high": 20, "int": True}, "slow": {"low": 15, "high": 60, "int": True}}
SPECIFICATION = Specification(
    symbol="GBPUSD",
    timeframe="H1",
    start=datetime(2017, 3, 1, tzinfo=UTC),
    end=datetime(2017, 6, 1, tzinfo=UTC),
    strategy_key="sma_cross",
    strategy_params={},
)


@pytest.fixture(scope="module")
def market_data(tmp_path_factory: pytest.TempPathFactory) -> ParquetMarketData:
    root = tmp_path_factory.mktemp("market")
    (root / "GBPUSD" / "H1").mkdir(parents=True)
    (root / "GBPUSD" / "H1" / "2017.parquet").write_bytes(BARS_FILE.read_bytes())
    return ParquetMarketData(str(root))


def question(**changes: Any) -> dict[str, Any]:
    return {
        "param_grid": SPACE,
        "method": "grid",
        "samples": None,
        "seed": 7,
        "optimize_metric": "sharpe_ratio",
        "min_trades": 5,
        "walk_forward": None,
        "lower_is_better": False,
        **changes,
    }


def in_one_process(market_data: ParquetMarketData, search: Mapping[str, Any]) -> Answer:
    registry = packaged_instruments()
    data = assemble(SPECIFICATION, market_data, registry, WarmUp({"H1": 2400}, {}))
    return optimize(
        SPECIFICATION,
        registry["GBPUSD"],
        data,
        SmaCross,
        search["param_grid"],
        method=search["method"],
        samples=search["samples"],
        seed=search["seed"],
        metric=search["optimize_metric"],
        min_trades=search["min_trades"],
        walk_forward=search["walk_forward"],
        strategy_version=strategy_version("sma_cross"),
        threads=1,
    )


@dataclass
class Unwatched:
    """Marks lead nowhere."""

    marked: list[int] = field(default_factory=list)

    def mark(self, number: int) -> None:
        self.marked.append(number)


@dataclass
class Field:
    """Children that take a search's steps in turn."""

    children: list[SearchSteps]
    search: Mapping[str, Any]
    deadly: frozenset[int] = frozenset()
    """Positions whose process ends."""
    shards: dict[int, ShardState] = field(default_factory=dict)
    state: SearchState = field(default_factory=lambda: SearchState(1, "request"))

    def run(self) -> dict[str, Any]:
        self.note(searches.begin(self.state, NOW))
        for child in itertools.cycle(self.children):
            step = searches.next_step(self.state, self.open())
            assert step is not None
            self.note(step)
            [shard] = step.shards
            shard = searches.take(shard, "worker", NOW)
            others = [each for each in self.open() if each.number != shard.number]
            at_fault = sorted(self.deadly & set(range(shard.first, shard.last)))
            if at_fault:
                death = StepDied("SIGSEGV", at_fault[0], Failed("timeout", "too long"), is_final=True)
                self.note(searches.died(self.state, shard, death, others, 3))
                continue
            answer = child.take(self.task(shard), Unwatched(), lambda step: step())
            answer = dict(json.loads(json.dumps(answer, allow_nan=False)))
            if shard.kind == "gather":
                return dict(answer)
            kinds = {"survey": Surveyed, "range": RangeDone, "ask": Asked}
            result = Surveying(answer["surveying"]) if "surveying" in answer else kinds[shard.kind](**answer)
            self.note(searches.counted(self.state, shard, result, others))
        raise AssertionError

    def note(self, change: searches.Change) -> None:
        assert change.failed is None
        self.state = change.search
        self.shards.update({shard.number: shard for shard in change.shards})

    def open(self) -> list[ShardState]:
        return [shard for shard in self.shards.values() if shard.state in {"queued", "running"}]

    def task(self, shard: ShardState) -> StepTask:
        done = [each for each in self.shards.values() if each.kind == "range" and each.state == "done"]
        results = [
            {"first": each.first, "last": each.last, "file": each.results_file, "error": each.error}
            for each in sorted(done, key=lambda each: each.first)
        ]
        step = {
            "kind": shard.kind,
            "first": shard.first,
            "last": shard.last,
            "search": self.search,
            "plan": self.state.plan or {},
            "results": results,
            "trials_before": 0,
        }
        return StepTask(1, shard.number, shard.epoch, specification_to_json(SPECIFICATION), step)


@pytest.fixture
def stepwise(market_data: ParquetMarketData, tmp_path: Path) -> Callable[..., Field]:
    def made(search: Mapping[str, Any], children: int = 2, deadly: frozenset[int] = frozenset()) -> Field:
        files, registry = SearchArtifacts(str(tmp_path)), packaged_instruments()
        clock = itertools.count().__next__
        return Field([SearchSteps(market_data, registry, files, clock, "1") for _ in range(children)], search, deadly)

    return made


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "random", "samples": 12, "param_grid": INTERVALS},
        {"method": "random", "samples": 100},
        {"method": "tpe", "samples": 24, "param_grid": INTERVALS},
        {"walk_forward": {"train_days": 30, "test_days": 20}},
        {"walk_forward": {"train_days": 30, "test_days": 20}, "method": "tpe", "samples": 18, "param_grid": INTERVALS},
        {"optimize_metric": "max_drawdown_pct", "lower_is_better": True},
    ],
    ids=["grid", "random", "random, whole", "tpe", "folds", "folds of tpe", "lower is better"],
)
def test_step_by_step_is_what_one_process_finds(
    stepwise: Callable[..., Field], market_data: ParquetMarketData, changes: dict[str, Any]
) -> None:
    here = in_one_process(market_data, question(**changes))
    field = stepwise(question(**changes))

    answer = field.run()

    assert answer["result_digest"] == here.result_digest
    columns = answer["columns"]
    assert columns["best_params"] == here.best_params
    assert columns["best_value"] == here.best_value
    assert columns["results"] == json.loads(json.dumps(here.results))
    assert (field.state.total, field.state.done) == (here.total, here.completed)
    told = {name: value for name, value in columns["statistics"].items() if name != RETURNS}
    told["null_reasons"] = {name: why for name, why in told["null_reasons"].items() if name != RETURNS}
    assert told == json.loads(json.dumps(here.statistics))
    table = pl.read_parquet(columns["results_file_path"])
    assert table.height == here.completed
    assert field.state.best_value is not None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "random", "samples": 30, "param_grid": INTERVALS},
        {"method": "random", "samples": 100},
    ],
    ids=["grid", "random", "random, whole"],
)
def test_a_large_search_is_numbered_in_parts_and_comes_to_the_same(
    stepwise: Callable[..., Field],
    market_data: ParquetMarketData,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    here = in_one_process(market_data, question(**changes))
    monkeypatch.setattr(steps, "SURVEYED_AT_ONCE", 4)
    monkeypatch.setattr(steps, "SURVEY_SECONDS", 0.0)
    monkeypatch.setattr(numbering, "LOOKED_AT_TOGETHER", 4)
    monkeypatch.setattr("engine.search.combinations._DRAWN_TOGETHER", 4)
    field = stepwise(question(**changes))

    answer = field.run()

    assert sum(each.kind == "survey" for each in field.shards.values()) > 2
    assert answer["result_digest"] == here.result_digest
    assert answer["columns"]["results"] == json.loads(json.dumps(here.results))
    assert answer["columns"]["statistics"]["left_out"] == here.statistics["left_out"]


def test_the_digest_is_the_same_whoever_computed_what(stepwise: Callable[..., Field]) -> None:
    alone, shared = stepwise(question(), children=1).run(), stepwise(question(), children=3).run()
    assert alone["result_digest"] == shared["result_digest"]
    assert alone["columns"]["results_file_path"] == shared["columns"]["results_file_path"]


def test_a_combination_that_ended_its_process_stands_in_the_file_with_its_error(
    stepwise: Callable[..., Field],
) -> None:
    field = stepwise(question(), deadly=frozenset({3}))

    answer = field.run()

    table = pl.read_parquet(answer["columns"]["results_file_path"])
    assert table["error"].to_list()[3] == "timeout: too long"
    assert table["error"].null_count() == table.height - 1
    assert table["total_trades"][3] is None
    assert (field.state.done, field.state.failed) == (table.height, 1)


def test_code_that_changed_fails_the_step(stepwise: Callable[..., Field]) -> None:
    field = stepwise(question())
    field.note(searches.begin(field.state, NOW))
    survey = field.children[0].take(field.task(field.shards[0]), Unwatched(), lambda step: step())
    field.state = replace(field.state, plan={**survey["plan"], "strategy_version": "other"})
    with pytest.raises(EngineError, match="code was changed"):
        field.children[1].take(field.task(ShardState(1, "range", 0, 1)), Unwatched(), lambda step: step())
    field.state = replace(field.state, plan={**survey["plan"], "bars": "other"})
    with pytest.raises(EngineError, match="bars were changed"):
        field.children[1].take(field.task(ShardState(1, "range", 0, 1)), Unwatched(), lambda step: step())
