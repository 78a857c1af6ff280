"""A walk-forward trains before it trades, and carries one account over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from engine.deciders.chosen import choose_strategy
from engine.errors import InvalidSpace
from engine.market.bars import bars_from_frame
from engine.prepared import RunData
from engine.search import optimize
from engine.search.answer import Answer
from engine.search.folds import WalkForward, folds_of, read_walk_forward
from engine.strategies.sma_cross import SmaCross
from tests.engine.run_builders import EURUSD, backtest, opened, sample, specification_of

BARS = sample("eurusd_h1", 4000)
SPACE = {"fast": [3, 8], "slow": [20, 40]}
SPLIT = {"train_days": 60, "test_days": 30}
DAY_0 = datetime(2020, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return DAY_0 + timedelta(days=day)


def days_of(split: WalkForward, days: float) -> list[tuple[float, ...]]:
    return [
        tuple(
            (each - DAY_0) / timedelta(days=1)
            for each in (fold.train_start, fold.train_end, fold.test_start, fold.test_end)
        )
        for fold in folds_of(split, DAY_0, at(days))
    ]


def test_folds_step_by_their_test_and_the_last_one_ends_at_the_end() -> None:
    assert days_of(WalkForward(10, 4), 21) == [(0, 10, 10, 14), (4, 14, 14, 18), (8, 18, 18, 21)]


def test_anchored_training_begins_at_the_start_and_purged_days_are_in_neither() -> None:
    assert days_of(WalkForward(10, 4, anchored=True, purge_days=2), 20) == [(0, 10, 12, 16), (0, 14, 16, 20)]


def test_without_a_fold_it_is_refused() -> None:
    assert len(folds_of(WalkForward(10, 4), DAY_0, at(10.5))) == 1
    with pytest.raises(InvalidSpace, match="walk_forward: no fold fits: training and purge take 10 days"):
        folds_of(WalkForward(10, 4), DAY_0, at(10))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "must be an object"),
        ({"train_days": 10, "test_days": None}, "test_days: must be a whole number"),
        ({"train_days": 0, "test_days": 1}, "train_days: must be a whole number"),
        ({"train_days": 1.5, "test_days": 1}, "train_days: must be a whole number"),
        ({"train_days": 1, "test_days": 1, "purge_days": -1}, "purge_days: must be"),
        ({"train_days": 1, "test_days": 1, "anchored": 1}, "anchored: must be true or false"),
        ({"train_days": 1, "test_days": 1, "days": 1}, "days: is unknown"),
    ],
)
def test_what_is_wrong_in_it_is_said(given: Any, said: str) -> None:
    with pytest.raises(InvalidSpace, match=f"walk_forward: {said}"):
        read_walk_forward(given)


@pytest.fixture(scope="module")
def walked() -> Answer:
    specification = specification_of(BARS, spread_pips=0.5)
    return optimize(specification, EURUSD, RunData(bars=BARS), SmaCross, SPACE, walk_forward=SPLIT, min_trades=5)


def test_each_fold_trades_what_was_best_before_it(walked: Answer) -> None:
    folds = walked.statistics["folds"]
    assert (walked.total, walked.completed) == (4 * len(folds), 4 * len(folds))
    balance = 10_000.0
    for row in folds:
        start, end = (datetime.fromisoformat(row[name]) for name in ("train_start", "train_end"))
        trained = optimize(
            specification_of(BARS, spread_pips=0.5, start=start, end=end), EURUSD, RunData(bars=BARS), SmaCross, SPACE,
            min_trades=5,
        )  # fmt: skip
        assert row["params"] == trained.best_params
        assert row["train_value"] == trained.best_value
        test_start, test_end = (datetime.fromisoformat(row[name]) for name in ("test_start", "test_end"))
        ran = backtest(
            BARS, choose_strategy(SmaCross, "test", row["params"]), spread_pips=0.5, start=test_start, end=test_end,
            initial_balance=balance,
        )  # fmt: skip
        assert row["test_value"] == ran.metrics.sharpe_ratio
        balance = ran.final_equity
    assert walked.statistics["walk_forward"]["final_equity"] == balance
    assert walked.best_params == folds[-1]["params"]
    assert walked.best_value == walked.statistics["walk_forward"]["sharpe_ratio"]


def test_its_curve_was_not_selected_and_says_so(walked: Answer) -> None:
    found = walked.statistics
    unknown = {
        "effective_trials",
        "expected_max_sharpe",
        "deflated_sharpe",
        "pbo",
        "pbo_loss_share",
        "pbo_slope",
        "spa_p",
    }
    assert {name for name in found if found[name] is None} == unknown
    assert set(found["null_reasons"].values()) == {"walk_forward"}
    assert 0.0 < found["probabilistic_sharpe"] < 1.0
    assert walked.results == []
    assert walked.robust_params is None


def test_nothing_is_traded_where_training_has_no_best() -> None:
    specification = specification_of(BARS, spread_pips=0.5)
    idle = optimize(specification, EURUSD, RunData(bars=BARS), SmaCross, SPACE, walk_forward=SPLIT, min_trades=10_000)
    found = idle.statistics
    assert [row["params"] for row in found["folds"]] == [None] * len(found["folds"])
    assert found["walk_forward"]["total_trades"] == 0
    assert found["walk_forward"]["final_equity"] == 10_000.0
    assert idle.best_params is None
    assert found["probabilistic_sharpe"] is None


def test_a_fold_that_trains_on_days_without_a_bar_trades_nothing() -> None:
    holes = BARS.frame.filter(~pl.col("time").is_between(opened(BARS, 1000), opened(BARS, 3000)))
    bars = bars_from_frame(holes, BARS.timeframe, "with a hole")
    split = {"train_days": 20, "test_days": 20}
    specification = specification_of(bars, spread_pips=0.5)
    found = optimize(specification, EURUSD, RunData(bars=bars), SmaCross, SPACE, walk_forward=split, min_trades=1)
    folds = found.statistics["folds"]
    assert [row["params"] for row in folds].count(None) >= 3
    assert folds[-1]["params"] is not None
    assert found.failed == 4 * sum(row["params"] is None for row in folds)
    failure = next(each.first_failure for each in found.gathered if each.first_failure is not None)
    assert failure.code == "no_data"


def test_an_account_that_is_gone_trades_no_more() -> None:
    specification = specification_of(BARS, spread_pips=0.5, volume=300.0)
    ruined = optimize(specification, EURUSD, RunData(bars=BARS), SmaCross, SPACE, walk_forward=SPLIT, min_trades=1)
    assert ruined.statistics["walk_forward"]["final_equity"] <= 0.0
    assert ruined.statistics["folds"][-1]["test_value"] is None
    assert ruined.curve is not None
    assert ruined.curve.returns.size > 60


def test_a_walk_forward_by_tpe_learns_anew_in_each_fold() -> None:
    space = {"fast": {"low": 2, "high": 15, "int": True}, "slow": {"low": 20, "high": 60, "int": True}}
    specification = specification_of(BARS, spread_pips=0.5)
    one, two = (
        optimize(
            specification, EURUSD, RunData(bars=BARS), SmaCross, space, method="tpe", samples=20, min_trades=5,
            walk_forward={"train_days": 60, "test_days": 60}, threads=threads,
        )
        for threads in (1, 2)
    )  # fmt: skip
    assert one.result_digest == two.result_digest
    assert one.completed == one.total == 20 * len(one.question.folds)
