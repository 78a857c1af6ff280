"""`backtest optimize --strategy-id`: a row's strategy searched here and now, its columns in force, tries counted."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest

from consumer.demo_data import EURUSD_H1
from tests.consumer.commands.test_optimize import InThisProcess
from tests.consumer.commands.test_run import Program

pytestmark = pytest.mark.integration

BARS = ("--bars", EURUSD_H1, "--symbol", "EURUSD", "--end", "2015-06-01", "--workers", "1", "--min-trades", "5")
GRID = ("--grid", '{"fast": [5, 10], "slow": [20, 40]}')


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], database_url: str, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("BACKTEST_DATABASE_URL", database_url)
    monkeypatch.setattr("consumer.commands.optimize.start_search_processes", lambda *_: InThisProcess())
    called = Program(capsys)
    assert called("migrate").status == 0
    return called


def added(program: Program, name: str, *options: object) -> str:
    ended = program("strategy", "add", name, "--primary-tf", "H1", *options)
    assert ended.status == 0, ended.err
    return ended.out.strip()


def spelled_out(program: Program, *options: object) -> Any:
    return program("optimize", *BARS, "--timeframe", "H1", "--strategy", "sma_cross", "--json", *options).figures


def test_a_row_is_searched_with_its_columns_and_options_win_over_them(program: Program, tmp_path: Path) -> None:
    columns = ("--sl-pips", 40, "--on-opposite", "ignore", "--lot-size", 0.3)
    params = '{"fast": 7, "slow": 30, "stop_loss_pips": 60}'
    row = added(program, "mine", "--key", "sma_cross", "--params", params, *columns)

    of_row = program("optimize", *BARS, *GRID, "--strategy-id", row, "--json").figures

    same = ("--sl-pips", 40, "--on-opposite", "ignore", "--volume", 0.3, "--params", '{"stop_loss_pips": 60}')
    assert of_row["result_digest"] == spelled_out(program, *GRID, *same)["result_digest"]
    over = ("--on-opposite", "reverse", "--volume", 0.1, "--params", '{"stop_loss_pips": 20}', "--warm-up-bars", 50)
    file = tmp_path / "all.parquet"
    changed = program("optimize", *BARS, *GRID, "--strategy-id", row, *over, "--results", file, "--json").figures
    assert changed["result_digest"] == spelled_out(program, *GRID, "--sl-pips", 40, *over)["result_digest"]
    assert pl.read_parquet(file).height == 4
    drawn = ("--grid", '{"fast": {"low": 3, "high": 15, "int": true}}', "--random", 3)
    folds = ("--walk-forward", '{"train_days": 60, "test_days": 30}')
    walked = program("optimize", *BARS, *drawn, *folds, "--strategy-id", row, "--json")
    assert walked.figures["completed_combinations"] == 3 * 4


def test_tries_that_the_database_knows_count_against_the_best_of_a_row(program: Program, database_url: str) -> None:
    row = added(program, "mine", "--key", "sma_cross")
    alike = added(program, "same code", "--key", "sma_cross")
    other = added(program, "other", "--key", "donchian_breakout")
    span = ("2015-02-01T00:00:00Z", "2015-03-01T00:00:00Z")
    asyncio.run(
        execute(
            database_url,
            *(_run(each, *span) for each in (row, alike, other)),
            _run(row, "2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z"),
            "INSERT INTO optimization_runs (strategy_id, symbol, timeframe, start_date, end_date, param_grid, status,"
            " completed_combinations)"
            f" VALUES ({alike}, 'EURUSD', 'H1', '{span[0]}', '{span[1]}', '{{}}', 'failed', 30)",
        )
    )
    statistics = program("optimize", *BARS, *GRID, "--strategy-id", row, "--json").figures["statistics"]
    assert (statistics["trials"], statistics["trials_known"]) == (4, 4 + 30 + 2)
    assert spelled_out(program, *GRID)["statistics"]["trials_known"] == 4


def test_rules_of_a_row_are_searched_by_the_names_of_their_params(program: Program) -> None:
    rules = (
        '{"params": {"fast": 5, "slow": 20}, "buy": "crosses_above(sma(close, fast), sma(close, slow))",'
        ' "sell": "crosses_below(sma(close, fast), sma(close, slow))"}'
    )
    row = added(program, "written", "--key", "rules", "--params", rules)
    found = program("optimize", *BARS, *GRID, "--strategy-id", row, "--json").figures
    assert found["completed_combinations"] == 4
    twice = program("optimize", *BARS, *GRID, "--strategy-id", row, "--params", '{"params": {"fast": 6}}')
    assert (twice.status, "strategy_params.params.fast" in twice.err) == (2, True)


def test_what_cannot_be_searched_of_a_row_is_one_line(program: Program, database_url: str) -> None:
    asks = added(program, "asks", "--key", "sma_cross")
    asyncio.run(execute(database_url, f"UPDATE strategies SET execution_mode = 'hybrid_validator' WHERE id = {asks}"))
    row = added(program, "mine", "--key", "sma_cross")
    cases = {
        ("--strategy-id", 999): "there is no strategy 999",
        ("--strategy-id", asks): "language model",
        ("--strategy-id", row, "--strategy", "sma_cross"): "stands beside --strategy-id",
        ("--strategy-id", row, "--params", '{"fast": 3}'): "must not stand in param_grid too",
        ("--strategy-id", row, "--params", '{"quick": 3}'): "quick",
    }
    for options, told in cases.items():
        ended = program("optimize", *BARS, *GRID, *options, "--json")
        assert (ended.status, ended.out) == (2, ""), options
        assert told in ended.err, options


def _run(strategy_id: str, start: str, end: str) -> str:
    return (
        "INSERT INTO backtest_runs (strategy_id, symbol, timeframe, start_date, end_date, primary_tf, status)"
        f" VALUES ({strategy_id}, 'EURUSD', 'H1', '{start}', '{end}', 'H1', 'completed')"
    )


async def execute(database_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
