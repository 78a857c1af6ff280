"""What `backtest report --optimization-id` shows of a search's row."""

from datetime import UTC, datetime
from typing import Any

from consumer.commands.display.searches import search_sections


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "strategy_name": "cross",
        "symbol": "EURUSD",
        "timeframe": "H1",
        "start_date": datetime(2015, 1, 1, tzinfo=UTC),
        "end_date": datetime(2016, 1, 1, tzinfo=UTC),
        "method": "grid",
        "optimize_metric": "sharpe_ratio",
        "min_trades": 30,
        "status": "completed",
        "progress_pct": 100,
        "total_combinations": 12,
        "completed_combinations": 12,
        "failed_combinations": 1,
        "error_message": None,
        "best_value": 0.5,
        "best_params": {"fast": 5},
        "best_run_id": 9,
        "robust_params": {"fast": 6},
        "results": [{"params": {"fast": 5}, "rank": 1, "metrics": {"sharpe_ratio": 0.5, "total_trades": 40}}],
        "results_file_path": "/r.parquet",
        "result_digest": "ab" * 32,
        "statistics": {"verdict": "most likely luck", "trials": 12, "pbo": 0.25, "spa_p": None, "left_out": 2},
        **changes,
    }


def test_the_verdict_stands_first_and_figures_have_the_words_of_optimize() -> None:
    reasons = {"spa_p": "fewer than 64 returns"}
    statistics = {**row()["statistics"], "null_reasons": reasons, "parameter_sensitivity": {"fast": 0.75}}
    told = "\n\n".join(search_sections(row(statistics=statistics)))
    assert told.startswith("verdict: most likely luck\n")
    assert told.index("verdict") < told.index("best: 0.5 with fast 5, run 9")
    lines = {line.rpartition("  ")[0].strip(): line.rpartition("  ")[2] for line in told.splitlines()}
    assert lines["combinations tried"] == "12"
    assert lines["probability of overfitting"] == "25.0%"
    assert lines["p against doing nothing"] == "none: fewer than 64 returns"
    assert lines["fast explains"] == "75.0%"


def test_a_walk_forward_shows_its_folds_and_the_money_of_all() -> None:
    times = {"test_start": "2015-03-01T00:00:00Z", "test_end": "2015-04-01T00:00:00Z"}
    folds = [
        {"fold": 0, **times, "params": {"fast": 5}, "train_value": 2.5, "test_value": -0.5},
        {"fold": 1, **times, "params": None, "train_value": None, "test_value": None},
    ]
    statistics = {
        "verdict": "could well be luck",
        "pbo": None,
        "null_reasons": {"pbo": "walk_forward"},
        "folds": folds,
        "walk_forward": {"net_profit": -120.5, "total_trades": 40, "max_drawdown_pct": None},
    }
    told = "\n\n".join(search_sections(row(statistics=statistics, results=[], robust_params=None, best_run_id=None)))
    assert "overfitting" not in told
    assert [line.split() for line in told.splitlines() if "2015-03-01" in line] == [
        ["0", "2015-03-01", "2015-04-01", "fast", "5", "2.5", "-0.5"],
        ["1", "2015-03-01", "2015-04-01", "nothing", "was", "traded", "-", "-"],
    ]
    assert "all folds: net profit    -120.5" in told


def test_a_search_that_failed_says_why_and_has_no_table() -> None:
    ended = row(status="failed", error_message="no_data: none", results=None, statistics=None, best_value=None)
    told = list(search_sections({**ended, "best_params": None, "robust_params": None, "results_file_path": None}))
    assert len(told) == 1
    assert told[0].endswith("\nno_data: none")
