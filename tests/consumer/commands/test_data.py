"""`backtest data`: import, list and check."""

import json
from pathlib import Path

import polars as pl
import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1

EURUSD = ("--symbol", "EURUSD", "--timeframe", "H1")


def run(*arguments: object) -> int:
    return run_program(["data", *(str(each) for each in arguments)])


def test_what_was_imported_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path) == 0
    imported = capsys.readouterr()
    assert [line.split()[1:] for line in imported.out.splitlines()[1:]] == [
        ["6201", "6201", "0"],
        ["6109", "6109", "0"],
        ["6155", "6155", "0"],
    ]
    assert run("list", "--market-data", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "symbol": "EURUSD",
            "timeframe": "H1",
            "first": "2015-01-01T22:00:00Z",
            "last": "2017-12-29T21:00:00Z",
            "bars": 18465,
        }
    ]
    assert run("list", "--market-data", tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "EURUSD",
        "H1",
        "2015-01-01T22:00:00Z",
        "2017-12-29T21:00:00Z",
        "18465",
    ]


def test_the_place_may_come_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(tmp_path))
    assert run("import", EURUSD_H1, *EURUSD) == 0
    assert run("list", "--json") == 0
    assert '"EURUSD"' in capsys.readouterr().out


def test_several_files_are_imported_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = pl.read_parquet(EURUSD_H1)
    bars.slice(4000, 6000).write_csv(tmp_path / "second.csv")
    bars.slice(0, 5000).write_parquet(tmp_path / "first.parquet")
    files = (tmp_path / "second.csv", tmp_path / "first.parquet")
    assert run("import", *files, *EURUSD, "--market-data", tmp_path / "market") == 0
    assert run("list", "--market-data", tmp_path / "market", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["bars"] == 10_000


def test_a_bar_that_differs_is_refused_until_replacing_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    pl.read_parquet(EURUSD_H1).head(10).with_columns(pl.col("high") + 1).write_csv(other)
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path / "market") == 0
    capsys.readouterr()
    assert run("import", other, *EURUSD, "--market-data", tmp_path / "market") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"backtest: {other}: row 1 (time 2015-01-01T22:00:00Z): high ")
    assert error.count("\n") == 1
    assert run("import", other, *EURUSD, "--market-data", tmp_path / "market", "--replace") == 0


def test_bars_of_a_longer_timeframe_than_named_bring_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "M15", "--market-data", tmp_path) == 0
    assert "bars are mostly 1:00:00 apart, which is more than M15" in capsys.readouterr().err


def test_bars_of_a_shorter_timeframe_than_named_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H4", "--market-data", tmp_path) == 2
    assert "row 2 (time 2015-01-01T23:00:00Z): time is closer than H4" in capsys.readouterr().err


def test_check_says_what_is_odd_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", EURUSD_H1, *EURUSD, "--json") == 0
    passport = json.loads(capsys.readouterr().out)
    assert (passport["count"], passport["timeframe"]) == (18465, "H1")
    assert passport["gaps"] > 0
    assert run("check", EURUSD_H1, *EURUSD) == 0
    assert "bars are missing" in capsys.readouterr().err
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path) == 0
    capsys.readouterr()
    assert run("check", *EURUSD, "--market-data", tmp_path, "--json") == 0
    stored = json.loads(capsys.readouterr().out)
    assert {name: passport[name] for name in stored} == stored


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("check", *EURUSD), 2, "give a FILE or --market-data URL"),
        (("check", "none.csv", *EURUSD), 2, "none.csv: there is no such file"),
        (("check", *EURUSD, "--market-data", "/no/such/place"), 2, "/no/such/place: there is no such directory"),
        (("import", "none.csv", *EURUSD, "--market-data", "x"), 2, "none.csv: there is no such file"),
        (("import", EURUSD_H1, "--symbol", "..", "--timeframe", "H1", "--market-data", "x"), 2, "cannot be a symbol"),
        (("import", EURUSD_H1, *EURUSD), 2, "Missing option '--market-data'"),
        (("list", "--market-data", "/no/such/place"), 2, "/no/such/place: there is no such directory"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], status: int, message: str
) -> None:
    assert run(*arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bad_bars_are_found_with_their_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bars.csv").write_text("time,open,high,low,close\n2024-01-02,1,1,1,-1\n")
    assert run("check", tmp_path / "bars.csv", *EURUSD) == 2
    assert "bars.csv: row 1 (time 2024-01-02T00:00:00Z): " in capsys.readouterr().err
