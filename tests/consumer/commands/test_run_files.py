"""`backtest run` over the files people have: the figures of the same bars, and a word where the zone is another's."""

import gzip
import json
from pathlib import Path
from typing import Any

import cramjam
import polars as pl
import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1

BARS = pl.read_parquet(EURUSD_H1).head(3000)
SERVER = pl.col("time").dt.convert_time_zone("America/New_York").dt.replace_time_zone(None).dt.offset_by("7h")
PRICES = [pl.col(name) for name in ("open", "high", "low", "close")]


def run(capsys: pytest.CaptureFixture[str], bars: Path, *more: object) -> dict[str, Any]:
    decided = () if "--signals" in more else ("--strategy", "sma_cross")
    arguments = ["--bars", bars, "--symbol", "EURUSD", "--timeframe", "H1", *decided, "--json", *more]
    status = run_program(["run", *(str(each) for each in arguments)])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    figures: dict[str, Any] = json.loads(out)
    return figures


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    given = ["--symbol", "EURUSD", "--timeframe", "H1", *arguments]
    assert run_program(["run", *(str(each) for each in given)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.parquet"
    BARS.write_parquet(path)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """MetaTrader 4's history in server time."""
    columns = [SERVER.dt.strftime("%Y.%m.%d"), SERVER.dt.strftime("%H:%M").alias("clock"), *PRICES, "volume"]
    path = tmp_path / "EURUSD60.csv"
    path.write_text(BARS.select(columns).write_csv(include_header=False))
    return path


def test_server_time_read_as_utc_is_doubted_and_the_zone_that_fits_named(
    capsys: pytest.CaptureFixture[str], server: Path
) -> None:
    figures = run(capsys, server)
    assert any("--bars-timezone America/New_York+7" in each for each in figures["warnings"])


def test_the_zone_that_was_named_gives_the_figures_of_utc(
    capsys: pytest.CaptureFixture[str], server: Path, plain: Path
) -> None:
    read_right = run(capsys, server, "--bars-timezone", "America/New_York+7")
    assert read_right["result_digest"] == run(capsys, plain)["result_digest"]
    assert not any("--bars-timezone" in each for each in read_right["warnings"])


def test_conversion_bars_in_another_zone_are_doubted_too(
    capsys: pytest.CaptureFixture[str], server: Path, plain: Path
) -> None:
    bars = BARS.with_columns(pl.col("open", "high", "low", "close") * 100)
    bars.write_parquet(plain.with_name("jpy.parquet"))
    options = ("--symbol", "USDJPY", "--account-currency", "EUR", "--conversion-bars", f"EURUSD={server}")
    warnings = run(capsys, plain.with_name("jpy.parquet"), *options, "--start", "2015-02-01")["warnings"]
    assert [each for each in warnings if str(server) in each and "America/New_York+7" in each]


def test_packed_bars_and_signals_are_the_same_as_plain_ones(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    signals = tmp_path / "signals.csv"
    signals.write_text("time;action;volume\n13/01/2015 10:00;BUY;0,5\n14/01/2015 10:00;CLOSE;\n")
    (tmp_path / "signals.zst").write_bytes(bytes(cramjam.zstd.compress(signals.read_bytes())))
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(BARS.write_csv().encode()))
    given = run(capsys, plain, "--signals", signals)
    packed = run(capsys, tmp_path / "bars.csv.gz", "--signals", tmp_path / "signals.zst")
    assert given["total_trades"] == 1
    assert packed["result_digest"] == given["result_digest"]


def test_signals_with_day_and_month_in_doubt_need_the_order(
    capsys: pytest.CaptureFixture[str], plain: Path, tmp_path: Path
) -> None:
    signals = tmp_path / "signals.csv"
    signals.write_text("time,action\n06/01/2015 10:00,BUY\n07/01/2015 10:00,CLOSE\n")
    message = refusal(capsys, "--bars", plain, "--signals", signals)
    assert "row 1 (time 06/01/2015 10:00): day and month are in doubt" in message
    assert run(capsys, plain, "--signals", signals, "--date-order", "dmy")["total_trades"] == 1


def test_a_format_that_was_named_and_is_another_is_refused(capsys: pytest.CaptureFixture[str], server: Path) -> None:
    message = refusal(capsys, "--bars", server, "--strategy", "sma_cross", "--format", "histdata")
    assert "is not HistData's generic ASCII" in message
    assert "--format mt4" in message
    message = refusal(capsys, "--bars", server, "--strategy", "sma_cross", "--format", "mt7")
    assert "'mt7' is no format; there are cryptodatadownload, dukascopy, mt5" in message


def test_closes_that_were_left_out_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    columns = ["time", *PRICES, pl.col("close").alias("Adj Close")]
    named = {"time": "Datetime"} | {name: name.title() for name in ("open", "high", "low", "close")}
    (tmp_path / "bars.csv").write_text(BARS.select(columns).rename(named).write_csv())
    assert any("Adj Close is ignored" in each for each in run(capsys, tmp_path / "bars.csv")["warnings"])


@pytest.mark.parametrize("options", [(), ("--start", "2015-01-05", "--end", "2015-02-01")])
def test_a_symbol_of_which_market_data_have_nothing_is_told_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, plain: Path, options: tuple[str, ...]
) -> None:
    stored = ("data", "import", str(plain), "--symbol", "EURUSD", "--timeframe", "H1", "--market-data", str(tmp_path))
    assert run_program(list(stored)) == 0
    capsys.readouterr()
    asked = ("--market-data", str(tmp_path), "--timeframe", "H1", "--strategy", "sma_cross", *options)
    assert run_program(["run", "--symbol", "EURAUD", *asked]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"backtest: no bars of 'EURAUD' in market data {tmp_path} (did you mean EURUSD?); ")
    assert run_program(["run", "--symbol", "EURUSD", *asked[: -len(options) or None], "--start", "2031-01-01"]) == 1
