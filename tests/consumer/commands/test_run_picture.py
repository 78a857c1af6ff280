"""`--png`: one sheet with what a run came to, of files and of runs in the database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumer.commands.display.run_plot import RunPicture, plot_run
from consumer.commands.report import report_run
from consumer.demo_data import EURUSD_H1
from consumer.installed.strategy_code import strategy_version
from engine.errors import InputRefused
from tests.consumer.commands.test_optimize import is_picture
from tests.consumer.commands.test_report import reported
from tests.consumer.commands.test_run import Program

BARS = ("run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01")


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)


@pytest.mark.parametrize(
    "options",
    [
        ("--params", '{"fast": 5, "slow": 20}'),
        ("--params", '{"fast": 5, "slow": 20}', "--volume", "400"),  # ruined within days
        ("--params", '{"fast": 1000, "slow": 2400}'),  # no trade at all
    ],
)
def test_a_run_of_files_draws_its_picture_and_prints_what_it_always_does(
    program: Program, tmp_path: Path, options: tuple[str, ...]
) -> None:
    file = tmp_path / "run.png"
    drawn = program(*BARS, "--strategy", "sma_cross", *options, "--json", "--png", file)
    assert is_picture(file)
    assert drawn.figures == program(*BARS, "--strategy", "sma_cross", *options, "--json").figures


@pytest.mark.parametrize(("file", "said"), [("x.jpg", "written as .png"), ("nowhere/x.png", "there is no directory")])
def test_a_picture_that_cannot_be_written_is_refused_before_the_run(program: Program, file: str, said: str) -> None:
    ended = program(*BARS, "--strategy", "no_such_strategy", "--png", file)
    assert ended.status == 2
    assert said in ended.err


async def test_a_run_of_the_database_is_drawn_and_one_without_equity_says_why(tmp_path: Path) -> None:
    found = await reported(strategy_version("sma_cross"))
    began = datetime(2024, 1, 1, tzinfo=UTC)
    times = pl.Series("time", [began + timedelta(hours=hour) for hour in range(500)], pl.Datetime("us", "UTC"))
    equity = pl.DataFrame([times, pl.Series("equity", 10_000 + np.cumsum(np.sin(np.arange(500))))])
    file = tmp_path / "of-database.png"
    report_run(replace(found, equity=equity, missing=""), file, as_json=True)
    assert is_picture(file)
    with pytest.raises(InputRefused, match="has no equity to draw: none"):
        report_run(found, tmp_path / "none.png", as_json=True)


def test_a_million_bars_are_drawn_by_the_lowest_and_highest_of_each_stretch() -> None:
    began = datetime(2020, 1, 1, tzinfo=UTC)
    count = 1_000_000
    times = pl.datetime_range(began, began + timedelta(minutes=count - 1), "1m", time_unit="us", eager=True)
    equity = np.full(count, 10_000.0)
    equity[456_789] = 4_000.0  # one bar: thinned away it would be a lie
    exits = pl.DataFrame({"exit_time": [began], "profit": [-5.0]}).cast({"exit_time": pl.Datetime("us", "UTC")})
    picture = RunPicture(
        ["a run"], [], {"net_profit": -5.0}, "USD", 10_000.0, pl.DataFrame({"time": times, "equity": equity}), exits
    )
    smooth = replace(picture, equity=pl.DataFrame({"time": times, "equity": np.full(count, 10_000.0)}))
    assert plot_run(picture) != plot_run(smooth)
