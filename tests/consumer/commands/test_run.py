"""`backtest run` as a person or a program calls it: figures, files, exit status, and one clear line for a mistake."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from tests.engine.run_builders import sample_minutes_of_hours

DATA = Path(__file__).parents[2] / "data"
TRADE_COLUMNS = (
    "position_id,symbol,direction,entry_time,exit_time,entry_price,exit_price,volume,profit,commission,spread_cost,swap,"
    "equity_after,stop_loss,take_profit,exit_reason,pattern_name,pattern_metadata,source,"
    "entry_at,exit_at,stop_at_entry"
)
METRICS = {
    "total_trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "max_drawdown_pct",
    "recovery_factor",
    "sharpe_ratio",
    "sortino_ratio",
    "total_return_pct",
    "avg_win",
    "avg_loss",
    "max_consec_wins",
    "max_consec_losses",
    "avg_spread",
}
OTHERS = {
    "net_profit",
    "final_equity",
    "ambiguous_bars",
    "net_profit_stop_first",
    "net_profit_target_first",
    "result_digest",
    "strategy_version",
    "null_reasons",
    "warnings",
    "total_slippage_cost",
}


@dataclass(frozen=True)
class Ended:
    """One finished command."""

    status: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        assert self.status == 0, self.err
        figures: dict[str, Any] = json.loads(self.out)
        return figures


class Program:
    """`backtest` in this process; most tests need no process of their own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ended:
        status = run_program([str(each) for each in arguments])
        out, err = self._capsys.readouterr()
        return Ended(status, out, err)

    def run(self, *arguments: object) -> Ended:
        """A run over the EURUSD sample with a strategy, unless other ones are named; `--json`."""
        given = {str(each) for each in arguments}
        defaults: list[object] = [] if {"--bars", "--market-data"} & given else ["--bars", EURUSD_H1]
        defaults += [] if "--symbol" in given else ["--symbol", "EURUSD"]
        defaults += [] if "--timeframe" in given else ["--timeframe", "H1"]
        defaults += [] if {"--strategy", "--signals", "--rules"} & given else ["--strategy", "sma_cross"]
        return self("run", *defaults, "--json", *arguments)


RUN_ONLY: dict[str, tuple[object, ...]] = {"run": ("--bars", EURUSD_H1, "--strategy", "sma_cross"), "submit": ()}


@pytest.fixture
def backtest(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)


# --- results --------------------------------------------------------------------------------------------------------


def test_json_is_one_object_on_stdout_and_nothing_else(backtest: Program) -> None:
    ended = backtest.run()
    assert ended.err == ""
    assert ended.out.count("\n") == 1
    assert set(ended.figures) >= METRICS | OTHERS
    assert ended.figures["total_trades"] > 100


def test_without_json_stdout_stays_empty_and_the_table_goes_to_stderr(backtest: Program) -> None:
    ended = backtest("run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross")
    assert (ended.status, ended.out) == (0, "")
    assert "win rate" in ended.err
    assert (
        'sma_cross {"fast": 10, "slow": 30, "atr_length": 14} on EURUSD H1,'
        " 2015-01-01 22:00 to 2017-12-29 22:00 UTC\n"
        "close_price, spread 1.5 pips (0.00015), no commission, deposit 10,000.00 USD, 0.1 lots a trade\n" in ended.err
    )
    assert ended.err.index("warning: ") < ended.err.index("net profit")
    assert "-359.30 USD" in ended.err
    assert "Simulating" not in ended.err


@pytest.mark.parametrize(
    ("symbol", "spread"),
    [("BTCUSD", "spread 15 pips (15), a pip is 1,"), ("BTCUSDT", "spread 15 pips (1.5), a pip is 0.1,")],
)
def test_fifteen_pips_of_a_coin_say_what_they_come_to(backtest: Program, symbol: str, spread: str) -> None:
    """A pip of BTCUSD is ten times one of BTCUSDT, and the heading showed the same 15 pips for both."""
    asked = ("--bars", EURUSD_H1, "--symbol", symbol, "--timeframe", "H1", "--strategy", "sma_cross")
    assert spread in backtest("run", *asked, "--spread-pips", "15").err


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_start_that_ends_with_its_year_is_told_to_write_the_year_first(backtest: Program, command: str) -> None:
    """It named --date-order, which is of files and did not help."""
    ended = backtest(command, "--symbol", "EURUSD", "--timeframe", "H1", *RUN_ONLY[command], "--start", "01/02/2016")
    assert ended.status == 2
    assert "'--start'" in ended.err
    assert "write 2016-02-01 or 2016-01-02 (year first)" in ended.err
    assert "--date-order" not in ended.err


def test_digest_and_warnings_stand_whole_on_lines_of_their_own(
    backtest: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    figures = backtest.run().figures
    ended = backtest("run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross")
    lines = ended.err.splitlines()
    assert f"result digest: {figures['result_digest']}" in lines
    assert f"strategy version: {figures['strategy_version']}" in lines
    assert {f"warning: {warning}" for warning in figures["warnings"]} <= set(lines)


def test_a_trade_by_signals_comes_to_the_cent(backtest: Program, tmp_path: Path) -> None:
    """BUY 1 lot at 1.1000 with 1 pip spread: ask 1.1001. CLOSE at 1.1050. 49 pips, 490 USD, less 7 commission."""
    (tmp_path / "bars.csv").write_text(
        "time,open,high,low,close\n"
        "2024-01-02 00:00,1.1000,1.1010,1.0990,1.1000\n2024-01-02 01:00,1.1000,1.1030,1.0990,1.1020\n"
        "2024-01-02 02:00,1.1020,1.1060,1.1010,1.1050\n2024-01-02 03:00,1.1050,1.1060,1.1040,1.1050\n"
    )
    (tmp_path / "signals.csv").write_text(
        "time,action,volume\n2024-01-02T00:00:00Z,BUY,1\n2024-01-02T02:00:00Z,CLOSE,\n"
    )
    arguments = ("--bars", tmp_path / "bars.csv", "--signals", tmp_path / "signals.csv", "--trades", tmp_path / "t.csv")
    figures = backtest.run(*arguments, "--spread-pips", 1, "--commission-per-lot", 7).figures
    assert figures["net_profit"] == pytest.approx(483.0, abs=1e-8)
    assert figures["final_equity"] == pytest.approx(10_483.0, abs=1e-8)
    header, row = (tmp_path / "t.csv").read_text().splitlines()
    assert header == TRADE_COLUMNS
    assert row.startswith("1,EURUSD,BUY,2024-01-02T00:00:00Z,2024-01-02T02:00:00Z,1.1001,1.105,1.0,483.0,7.0,")
    assert row.endswith(",,,signal,,,signals,close,close,")


def test_an_entry_order_of_a_signal_file_comes_to_the_cent(backtest: Program, tmp_path: Path) -> None:
    """BUY stop at 1.1020, reached by 02:00's ask inside the bar, a pip of slippage: 1.1021. Its stop begins at 1.1020 -
    0.0050. max_bars 2: 01:00 is the first, so out at 02:00's close, 1.1050 less a pip: 28 pips, 280 USD. The slippage
    is 2 pips of 10 USD; the commission 0.01 % of 110 210 and of 110 490."""
    (tmp_path / "bars.csv").write_text(
        "time,open,high,low,close\n"
        "2024-01-02 00:00,1.1000,1.1010,1.0990,1.1000\n2024-01-02 01:00,1.1000,1.1030,1.0990,1.1020\n"
        "2024-01-02 02:00,1.1020,1.1060,1.1010,1.1050\n2024-01-02 03:00,1.1050,1.1060,1.1040,1.1050\n"
    )
    (tmp_path / "signals.csv").write_text(
        "time,action,volume,order,price,expires_bars,trailing_stop,max_bars\n"
        "2024-01-02T00:00:00Z,BUY,1,stop,1.1020,3,0.0050,2\n2024-01-02T02:00:00Z,CANCEL,,,,,,\n"
    )
    files = ("--bars", tmp_path / "bars.csv", "--signals", tmp_path / "signals.csv", "--trades", tmp_path / "t.csv")
    costs = ("--spread-pips", 1, "--slippage-pips", 1, "--commission-pct", 0.01, "--execution-mode", "intra_candle")
    figures = backtest.run(*files, *costs, "--leverage", 30, "--stop-out-pct", 50).figures
    assert figures["net_profit"] == pytest.approx(280.0 - 11.021 - 11.049, abs=1e-8)
    assert figures["total_slippage_cost"] == pytest.approx(20.0, abs=1e-8)
    row = pl.read_csv(tmp_path / "t.csv").row(0, named=True)
    assert (row["entry_price"], row["exit_price"], row["exit_reason"]) == (1.1021, 1.1049, "time")
    assert (row["entry_at"], row["exit_at"], row["stop_at_entry"]) == ("level", "close", 1.097)

    refused = backtest.run(*files, *costs, "--leverage", 1).figures
    assert refused["total_trades"] == 0
    why = "it needed more margin than the balance covers (leverage, volume)"
    assert f"1 decision opened nothing: {why}" in refused["warnings"]


def test_a_heading_says_what_a_run_costs_beside_the_spread(backtest: Program) -> None:
    costs = ("--slippage-pips", 0.2, "--commission-per-lot", 7, "--commission-pct", 0.01)
    asked = ("--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross", *costs)
    ended = backtest("run", *asked, "--leverage", 30, "--stop-out-pct", 50)
    assert (
        "close_price, spread 1.5 pips (0.00015), slippage 0.2 pips, commission 7.00 USD a lot and 0.01 % a side,"
        " leverage 30, stop-out at 50 % of margin, deposit 10,000.00 USD" in ended.err
    )


def test_trades_add_up_to_the_figures(backtest: Program, tmp_path: Path) -> None:
    figures = backtest.run("--trades", tmp_path / "trades.csv", "--commission-per-lot", 7).figures
    trades = pl.read_csv(tmp_path / "trades.csv")
    assert trades.height == figures["total_trades"]
    assert trades["profit"].sum() == pytest.approx(figures["net_profit"], abs=1e-6)
    assert trades["equity_after"][-1] == pytest.approx(figures["final_equity"], abs=1e-6)


def test_trades_in_csv_and_parquet_are_the_same(backtest: Program, tmp_path: Path) -> None:
    for name in ("trades.csv", "trades.parquet"):
        assert backtest.run("--trades", tmp_path / name).status == 0
    from_csv = pl.read_csv(tmp_path / "trades.csv", try_parse_dates=True)
    from_parquet = pl.read_parquet(tmp_path / "trades.parquet")
    for name in ("entry_time", "exit_time", "entry_price", "profit", "equity_after", "exit_reason"):
        assert from_csv[name].to_list() == from_parquet[name].to_list()


def test_no_trades_is_a_header_and_figures_without_them(backtest: Program, tmp_path: Path) -> None:
    (tmp_path / "signals.csv").write_text("time,action\n")
    figures = backtest.run("--signals", tmp_path / "signals.csv", "--trades", tmp_path / "trades.csv").figures
    assert (figures["total_trades"], figures["net_profit"], figures["win_rate"]) == (0, 0, None)
    assert "win_rate" in figures["null_reasons"]
    assert (tmp_path / "trades.csv").read_text() == TRADE_COLUMNS + "\n"


def test_an_unknown_symbol_is_answered_with_its_table_which_is_all_a_run_needs(
    backtest: Program, tmp_path: Path
) -> None:
    unknown = ("--bars", EURUSD_H1, "--symbol", "EURUSDm", "--timeframe", "H1", "--strategy", "sma_cross")
    ended = backtest("run", *unknown)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith("backtest: unknown symbol 'EURUSDm' (did you mean EURUSD")
    assert "[EURUSDm]" in ended.out
    (tmp_path / "mine.toml").write_text(ended.out)
    assert backtest("run", *unknown, "--json", "--instruments", tmp_path / "mine.toml").figures["total_trades"] > 100
    assert backtest("run", *unknown, "--json").out == ""
    assert "[EURUSDm]" in backtest("audit", *unknown).out


def test_a_share_is_traded_by_the_piece(backtest: Program) -> None:
    share = ("--symbol", "NOVELTY", "--instrument-class", "stock", "--volume", "7", "--spread-pips", "0")
    priced = backtest.run(*share).figures["net_profit"]
    assert priced == pytest.approx(
        backtest.run("--volume", "0.1", "--spread-pips", "0").figures["net_profit"] * 7 / 1e4
    )
    assert backtest.run(*share[:-4], "--volume", "0.5").status == 2
    assert "NOVELTY is in EUR" in backtest.run(*share, "--quote", "eur").err


def test_hourly_bars_run_as_half_hourly_ones_are_refused(backtest: Program) -> None:
    """They exited 0, and each was known half an hour before its close."""
    ended = backtest.run("--timeframe", "M30")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert f"{EURUSD_H1}: these are H1 bars, not M30: run them with --timeframe H1\n" in ended.err
    gbpusd = ("--bars", DATA / "gbpusd_h1.parquet", "--symbol", "GBPUSD", "--account-currency", "EUR")
    pair = backtest.run(*gbpusd, "--conversion-bars", f"EURUSD:M30={EURUSD_H1}")
    assert f"{EURUSD_H1}: these are H1 bars, not M30" in pair.err


def test_hourly_bars_run_as_four_hourly_ones_are_told_what_they_are(backtest: Program, tmp_path: Path) -> None:
    """It said only that a time is closer than H4 to the row before; and the way that is named must work."""
    ended = backtest.run("--timeframe", "H4")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert (
        "these are H1 bars, not H4: run them with --timeframe H1, or import them as H1: run --market-data" in ended.err
    )
    place = ("--market-data", tmp_path)
    assert backtest("data", "import", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", *place).status == 0
    asked = ("--symbol", "EURUSD", "--timeframe", "H4", "--strategy", "sma_cross", "--json")
    assert backtest("run", *place, *asked).figures["total_trades"] > 10


def test_csv_metatrader_parquet_and_data_at_rest_give_one_digest(backtest: Program, tmp_path: Path) -> None:
    bars = pl.read_parquet(EURUSD_H1).head(3000)
    bars.write_parquet(tmp_path / "bars.parquet")
    bars.write_csv(tmp_path / "bars.csv")
    athens = pl.col("time").dt.convert_time_zone("Europe/Athens")
    bars.select(
        athens.dt.strftime("%Y.%m.%d").alias("<DATE>"),
        athens.dt.strftime("%H:%M:%S").alias("<TIME>"),
        *(pl.col(name).alias(f"<{name.upper()}>") for name in ("open", "high", "low", "close")),
        pl.col("volume").cast(pl.Int64).alias("<TICKVOL>"),
    ).write_csv(tmp_path / "mt5.csv", separator="\t")
    imported = backtest(
        "data", "import", tmp_path / "bars.csv", "--symbol", "EURUSD", "--timeframe", "H1",
        "--market-data", tmp_path / "market",
    )  # fmt: skip
    assert imported.status == 0, imported.err
    digests = {
        backtest.run(*source).figures["result_digest"]
        for source in (
            ("--bars", tmp_path / "bars.parquet"),
            ("--bars", tmp_path / "bars.csv"),
            ("--bars", tmp_path / "mt5.csv", "--bars-timezone", "Europe/Athens"),
            ("--market-data", tmp_path / "market"),
            ("--market-data", tmp_path / "market", "--symbol", "eurusd"),
            ("--market-data", f"file://{tmp_path / 'market'}"),
        )
    }
    assert len(digests) == 1


def test_bars_before_the_start_warm_up_and_none_after_the_end_are_traded(backtest: Program, tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    backtest.run("--start", "2016-03-01", "--end", "2016-04-01T00:00:00+00:00", "--trades", path)
    trades = pl.read_parquet(path)
    assert trades["entry_time"].min() >= datetime(2016, 3, 1, tzinfo=UTC)  # type: ignore[operator]  # a time
    assert trades["exit_time"].max() == datetime(2016, 3, 31, 23, tzinfo=UTC)
    whole = tmp_path / "whole.parquet"
    backtest.run("--trades", whole)
    inside = pl.col("entry_time").is_between(datetime(2016, 3, 1, tzinfo=UTC), datetime(2016, 3, 30, tzinfo=UTC))
    entries = [pl.read_parquet(each).filter(inside)["entry_time"].to_list() for each in (path, whole)]
    assert entries[0] == entries[1] != []


def test_finer_bars_settle_what_the_run_s_own_bars_leave_open(backtest: Program, tmp_path: Path) -> None:
    minutes = tmp_path / "minutes.parquet"
    sample_minutes_of_hours().frame.write_parquet(minutes)
    arguments = (
        "--bars", DATA / "usdjpy_h1.parquet", "--symbol", "USDJPY", "--execution-mode", "intra_candle",
        "--params", '{"fast":2,"slow":3}', "--sl-pips", 5, "--tp-pips", 5,
        "--start", "2013-02-01", "--end", "2013-02-12",
    )  # fmt: skip
    coarse = backtest.run(*arguments).figures
    finer = backtest.run(*arguments, "--context-bars", f"M1={minutes}").figures
    assert coarse["ambiguous_bars"] > finer["ambiguous_bars"]
    low, high = coarse["net_profit_stop_first"], coarse["net_profit_target_first"]
    assert low < finer["net_profit"] <= high


def test_conversion_bars_turn_profit_into_the_account_currency(backtest: Program) -> None:
    start = ("--start", "2017-01-03")
    dollars = backtest.run(*start).figures
    pounds = backtest.run(
        *start, "--account-currency", "GBP", "--conversion-bars", f"GBPUSD={DATA / 'gbpusd_h1.parquet'}"
    ).figures
    assert dollars["total_trades"] == pounds["total_trades"]
    assert 1.15 < dollars["avg_win"] / pounds["avg_win"] < 1.40


def test_risk_sizing_wins_over_a_volume(backtest: Program) -> None:
    risk = ("--risk-pct", 0.01, "--sl-pips", 20)
    assert backtest.run(*risk).figures == backtest.run(*risk, "--volume", 0.5).figures


def test_own_instruments_can_be_traded(backtest: Program, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[MYPAIR]\nbase = "EUR"\nquote = "USD"\npip = 0.0001\ncontract = 1000\ndigits = 5\nsession = "fx"\n'
    )
    mine = backtest.run("--symbol", "MYPAIR", "--instruments", tmp_path / "mine.toml").figures
    assert mine["net_profit"] == pytest.approx(backtest.run().figures["net_profit"] / 100, rel=1e-6)


def test_context_from_a_file_and_from_the_bars_are_both_accepted(backtest: Program, tmp_path: Path) -> None:
    pl.read_parquet(EURUSD_H1).group_by_dynamic("time", every="1d").agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()
    ).write_parquet(tmp_path / "d1.parquet")
    figures = backtest.run("--context-bars", f"D1={tmp_path / 'd1.parquet'}", "--context-timeframes", "H4").figures
    plain = backtest.run().figures
    assert figures["net_profit"] == plain["net_profit"]
    assert figures["result_digest"] != plain["result_digest"]


@pytest.mark.parametrize("option", ["--bars", "--signals", "--instruments", "--context-bars"])
def test_trades_are_never_written_over_a_file_that_the_run_reads(
    backtest: Program, tmp_path: Path, option: str
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("precious")
    value = f"D1={file}" if option == "--context-bars" else file
    ended = backtest.run(option, value, "--trades", file)
    assert (ended.status, ended.out, file.read_text()) == (2, "", "precious")
    assert f"{file}: is read by this run and would be written over" in ended.err


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--spread-pips", "nan"), 2, "Invalid value for '--spread-pips': nan is not a finite number of at least 0."),
        (("--spread-pips", "-1"), 2, "Invalid value for '--spread-pips': -1.0 is not a finite number of at least 0."),
        (("--initial-balance", "inf"), 2, "Invalid value for '--initial-balance': inf is not a finite number above 0."),
        (("--commission-per-lot", "-inf"), 2, "Invalid value for '--commission-per-lot'"),
        (("--volume", "0"), 2, "Invalid value for '--volume'"),
        (("--volume", "0.015"), 2, "volume 0.015 is not in whole lot steps of 0.01"),
        (("--risk-pct", "2"), 2, "Invalid value for '--risk-pct'"),
        (("--tp-partial-close-ratio", "1.5"), 2, "Invalid value for '--tp-partial-close-ratio'"),
        (("--sl-pips", "0"), 2, "Invalid value for '--sl-pips'"),
        (("--execution-mode", "tick"), 2, "'close_price', 'intra_candle', 'next_open'"),
        (("--on-opposite", "hedge"), 2, "'reverse', 'close', 'ignore'"),
        (("--params", "[1]"), 2, "Invalid value for '--params': must be a JSON object"),
        (("--params", "{"), 2, "Invalid value for '--params': is not JSON"),
        (("--params", '{"fast":NaN}'), 2, "NaN is not a JSON number"),
        (("--params", '{"fast":5,"fast":6}'), 2, "key 'fast' is there twice"),
        (("--params", '{"fasst":5}'), 2, "strategy 'sma_cross': fasst: "),
        (("--strategy", "nope"), 2, "unknown strategy 'nope'; registered are: "),
        (
            ("--strategy", "sma_cross", "--signals", "x.csv"),
            2,
            "give either --strategy KEY, --rules FILE or --signals FILE",
        ),
        (("--signals", "none.csv"), 2, "none.csv: there is no such file"),
        (("--symbol", "EURUSX"), 2, "unknown symbol 'EURUSX'"),
        (("--timeframe", "H9"), 2, "Invalid value for '--timeframe': unknown timeframe 'H9'"),
        (("--bars", "none.csv"), 2, "none.csv: there is no such file"),
        (("--bars", str(DATA)), 2, "is a directory, not a file"),
        (("--bars", "none.csv", "--market-data", "x"), 2, "give either --bars FILE or --market-data URL"),
        (("--market-data", "/no/such/place"), 2, "/no/such/place: there is no such directory"),
        (("--instruments", "none.toml"), 2, "none.toml: there is no such file"),
        (("--bars-timezone", "Mars/Base"), 2, "Invalid value for '--bars-timezone': 'Mars/Base' is no time zone"),
        (("--start", "2016-13-01"), 2, "Invalid value for '--start': '2016-13-01': there is no such date"),
        (("--end", "soon"), 2, "Invalid value for '--end': 'soon': time is not ISO 8601"),
        (("--start", "2017-01-01", "--end", "2016-01-01"), 2, "start: must lie before end"),
        (("--start", "2020-01-01"), 1, "no EURUSD H1 bars in that range"),
        (("--start", "2020-01-01", "--end", "2021-01-01"), 1, "no EURUSD H1 bars from 2020-01-01T00:00:00Z to"),
        (("--context-bars", "H4"), 2, "Invalid value for '--context-bars': 'H4' is not TIMEFRAME=FILE"),
        (("--context-bars", "Q4=x"), 2, "Invalid value for '--context-bars': unknown timeframe 'Q4'"),
        (("--context-bars", "H1=x"), 2, "there are bars of H1 already"),
        (("--context-bars", "M1=none.csv"), 2, "none.csv: there is no such file"),
        (("--context-timeframes", "H4,M15"), 2, "context M15: there are no such bars of EURUSD"),
        (("--conversion-bars", "USDJYP=x"), 2, "--conversion-bars: unknown symbol 'USDJYP'"),
        (("--account-currency", "GBP"), 2, "cannot be converted to GBP: no bars of GBPUSD"),
        (
            ("--account-currency", "GBP", "--conversion-bars", f"GBPUSD={DATA / 'gbpusd_h1.parquet'}"),
            1,
            "no rate from USD to GBP is known yet at 2015-",
        ),
        (("--stop-out-pct", "50"), 2, "stop_out_pct: needs leverage, of whose margin it is"),
        (("--leverage", "0"), 2, "0.0 is not a finite number above 0."),
        (("--commission-pct", "101"), 2, "commission_pct: must be from 0 to 100, not 101.0"),
        (("--spread-source", "bars"), 2, "bars have no recorded spread"),
        (("--trades", "trades.xlsx"), 2, "trades.xlsx: tables are written as .csv or .parquet"),
        (("--trades", "no/such/trades.csv"), 2, "there is no directory no/such"),
        (("--no-such-option",), 2, "No such option: --no-such-option"),
        (("more",), 2, "unexpected extra argument"),
    ],
)
def test_a_mistake_is_one_clear_line_on_stderr(
    backtest: Program, arguments: tuple[str, ...], status: int, message: str
) -> None:
    ended = backtest.run(*arguments)
    assert (ended.status, ended.out) == (status, "")
    assert message in ended.err
    assert ended.err.startswith("backtest: ")
    assert ended.err.count("\n") == 1


def test_bad_bars_are_refused_with_file_row_and_time(backtest: Program, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("time,open,high,low,close\n2024-01-02,1,1,1,1\n2024-01-02 01:00,1,1,2,1\n")
    ended = backtest.run("--bars", path)
    assert (ended.status, ended.err) == (
        2,
        f"backtest: {path}: row 2 (time 2024-01-02T01:00:00Z): low 2.0 is above high 1.0\n",
    )


def test_a_bad_signal_is_refused_with_file_row_and_time(backtest: Program, tmp_path: Path) -> None:
    path = tmp_path / "signals.csv"
    path.write_text("time,action,stop_loss\n2016-03-01T00:00:00Z,BUY,9\n")
    ended = backtest.run("--signals", path)
    assert ended.status == 2
    assert ended.err.startswith(f"backtest: {path}: row 1 (time 2016-03-01T00:00:00Z): BUY needs its stop_loss below")


def test_params_beside_signals_are_refused(backtest: Program, tmp_path: Path) -> None:
    path = tmp_path / "signals.csv"
    path.write_text("time,action\n")
    assert backtest.run("--signals", path, "--params", "{}").status == 2


@pytest.mark.parametrize("arguments", [(), ("--help",), ("run", "--help"), ("--version",)])
def test_help_and_version_need_nothing_else(backtest: Program, arguments: tuple[str, ...]) -> None:
    assert backtest(*arguments).status == (0 if arguments else 2)


def test_an_unknown_command_is_bad_input(backtest: Program) -> None:
    ended = backtest("rnu")
    assert ended.status == 2
    assert "No such command 'rnu'" in ended.err


# --- the process ----------------------------------------------------------------------------------------------------

SERVICE_CLIENTS = ("aiokafka", "sqlalchemy", "asyncpg", "opentelemetry", "obstore", "starlette", "uvicorn")


def test_a_run_imports_no_client_of_any_server() -> None:
    program = (
        "import sys; from consumer.cli import run_program; status = run_program(sys.argv[1:]);"
        f" print([name for name in {SERVICE_CLIENTS} if name in sys.modules], status)"
    )
    arguments = ["run", "--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.stdout == "[] 0\n", ended.stderr


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "consumer", "run", "--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1",
         "--strategy", "sma_cross", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stderr is not None
    with program:
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(timeout=120) == 1
