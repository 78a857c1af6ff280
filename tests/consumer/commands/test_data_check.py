"""`backtest data check`: which format a file is in, its bars as understood, and what does not fit."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from tests.consumer.adapters.files import written_bars as written


def check(*arguments: object) -> int:
    return run_program(["data", "check", *(str(each) for each in arguments)])


@pytest.fixture
def mt5_file(tmp_path: Path) -> Path:
    """A MetaTrader export in server time: New York and seven hours."""
    bars = pl.read_parquet(EURUSD_H1).head(3000)
    clock = pl.col("time").dt.convert_time_zone("America/New_York").dt.offset_by("7h")
    columns = [
        clock.dt.strftime("%Y.%m.%d").alias("<DATE>"),
        clock.dt.strftime("%H:%M:%S").alias("<TIME>"),
        *(pl.col(name).alias(f"<{name.upper()}>") for name in ("open", "high", "low", "close")),
        pl.col("volume").cast(pl.Int64).alias("<TICKVOL>"),
        pl.lit(0).alias("<VOL>"),
        pl.lit(2).alias("<SPREAD>"),
    ]
    path = tmp_path / "EURUSD_H1.csv"
    path.write_bytes(bars.select(columns).write_csv(separator="\t").encode("utf-16"))
    return path


def test_a_file_alone_is_named_and_shown(mt5_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(mt5_file) == 0
    out, err = capsys.readouterr()
    assert "a MetaTrader 5 export" in out
    assert "UTF-16, fields between tabs" in out
    assert "without an offset, taken as UTC" in out
    assert "1:00:00 (H1)" in out
    assert out.splitlines()[-5].split()[:2] == ["2015-01-02T00:00:00Z", "1.21002"]
    assert "--symbol and --timeframe would tell more: gaps in the trading week and whether its times are in UTC" in err
    assert "warning" not in err


def test_a_symbol_lets_the_zone_be_judged(mt5_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(mt5_file, "--symbol", "EURUSD", "--timeframe", "H1") == 0
    assert "--bars-timezone America/New_York+7" in capsys.readouterr().err
    assert check(mt5_file, "--symbol", "EURUSD", "--bars-timezone", "America/New_York+7") == 0
    out, err = capsys.readouterr()
    assert "America/New_York+7" not in err
    assert "2015-01-01T22:00:00Z" in out


def test_json_leaves_out_what_needs_a_timeframe(mt5_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(mt5_file, "--symbol", "EURUSD", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["format"] == "mt5"
    assert described["first_bars"][0]["time"] == "2015-01-02T00:00:00Z"
    assert len(described["first_bars"]) == 5
    assert any("America/New_York+7" in each for each in described["warnings"])
    assert "gaps" not in described


def test_times_that_name_their_offset_are_not_advised_to_take_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = pl.col("time").dt.convert_time_zone("America/New_York").dt.offset_by("7h").dt.replace_time_zone(None)
    bars = pl.read_parquet(EURUSD_H1).with_columns(clock.dt.replace_time_zone("UTC"))
    bars.write_parquet(tmp_path / "bars.parquet")
    assert check(tmp_path / "bars.parquet", "--symbol", "EURUSD") == 0
    warning = capsys.readouterr().err
    assert "applies only to times without an offset, and this file's are with their offset from UTC" in warning


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv", "epoch.csv"])
def test_server_time_that_claims_to_be_utc_has_a_way_on(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning named an option that does nothing to such a file. What it says now is done here, and helps."""
    right = pl.read_parquet(EURUSD_H1)
    clock = pl.col("time").dt.convert_time_zone("America/New_York").dt.offset_by("7h").dt.replace_time_zone(None)
    local = right.with_columns(clock)
    claims = local.with_columns(pl.col("time").dt.replace_time_zone("UTC"))
    if name == "bars.parquet":
        claims.write_parquet(tmp_path / name)
        said, mended = "drop the Z or +00:00 in text, the time zone of a Parquet column", local
    elif name == "bars.csv":
        claims.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(tmp_path / name)
        said, mended = "drop the Z or +00:00 in text", local
    else:
        claims.with_columns(pl.col("time").dt.epoch("s")).write_csv(tmp_path / name)
        said, mended = "write them as dates without an offset (2024-01-02 03:04:05)", local
    place = ("--market-data", tmp_path / "market")
    given = ("--symbol", "EURUSD", "--timeframe", "H1", *place)
    assert run_program(["data", "import", *map(str, (tmp_path / name, *given))]) == 0
    warning = capsys.readouterr().err
    assert said in warning
    assert "then give --bars-timezone America/New_York+7, with --replace" in warning
    mended.write_parquet(tmp_path / "mended.parquet")
    again = (tmp_path / "mended.parquet", *given, "--bars-timezone", "America/New_York+7", "--replace")
    assert run_program(["data", "import", *map(str, again)]) == 0
    assert "--bars-timezone" not in capsys.readouterr().err
    stored = pl.read_parquet(tmp_path / "market/EURUSD/H1/*.parquet")
    assert stored.sort("time")["time"].to_list() == right["time"].to_list()


def test_the_first_of_no_outliers_is_no_word_of_pythons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`first outlier  None`."""
    pl.read_parquet(EURUSD_H1).head(50).write_csv(tmp_path / "bars.csv")
    assert check(tmp_path / "bars.csv", "--symbol", "EURUSD", "--timeframe", "H1") == 0
    out = capsys.readouterr().out
    assert "None" not in out
    assert "first outlier" in out


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a,b,c\n1,2,3\n", (), "the header line lacks time, open, high, low, close; it has: a, b, c; expected e.g."),
        (written.mt4(written.rows_of(2, start=written.START, step=timedelta(hours=1))), ("--format", "mt5"), (
            "is not a MetaTrader 5 export; expected e.g."
        )),
        ("time,open,high,low,close\n01/02/2024,1,1,1,1\n", (), "--date-order dmy or --date-order mdy"),
        ("time,open,high,low,close\n2024-01-02,1,1,1,1\n", ("--format", "mt6"), "'mt6' is no format; there are"),
        ("time,open,high,low,close\n2024-01-02,1,1,1,1\n", ("--bars-timezone", "EET+x"), "is no time zone"),
        ("time,open,high,low,close\n2024-01-02,1,1,2,1\n", (), "row 1 (time 2024-01-02T00:00:00Z): low 2.0 is above"),
        ("", (), "the file is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "bars.csv").write_text(content)
    assert check(tmp_path / "bars.csv", *arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("way", written.TEXTS)
def test_every_format_is_checked_without_a_symbol(tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str) -> None:
    name, write = written.TEXTS[way]
    rows = written.rows_of(4, start=written.START, step=timedelta(hours=1))
    (tmp_path / "bars.csv").write_text(write(rows))
    assert check(tmp_path / "bars.csv", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["format"], described["count"], described["first_time"]) == (name, 4, "2024-01-22T05:00:00Z")
    assert [float(described["first_bars"][0][each]) for each in ("open", "close")] == [1.1, 1.10001]
