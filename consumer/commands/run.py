"""`backtest run`: one backtest of files or of market data at rest, without Kafka and without a database."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import typer

from consumer.adapters.table_output import check_table_path, write_table
from consumer.commands import run_options as given
from consumer.commands.run_output import print_json, print_table, progress_bar
from consumer.commands.run_request import RunRequest, read_run
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, OnOpposite, SpreadSource

app = typer.Typer(add_completion=False)


@app.command()
def run(
    symbol: given.SymbolOption,
    timeframe: given.TimeframeOption,
    bars: given.BarsOption = None,
    market_data: given.MarketDataOption = None,
    context_bars: given.ContextBarsOption = None,
    context_timeframes: given.ContextTimeframesOption = "",
    conversion_bars: given.ConversionBarsOption = None,
    bars_timezone: given.BarsTimezoneOption = "UTC",
    start: given.StartOption = None,
    end: given.EndOption = None,
    instruments: given.InstrumentsOption = None,
    strategy: given.StrategyOption = None,
    params: given.ParamsOption = None,
    signals: given.SignalsOption = None,
    execution_mode: given.ExecutionModeOption = ExecutionMode.CLOSE_PRICE,
    on_opposite: given.OnOppositeOption = OnOpposite.REVERSE,
    sl_pips: given.SlPipsOption = None,
    tp_pips: given.TpPipsOption = None,
    tp_partial_close_ratio: given.TpPartialCloseRatioOption = 0.5,
    stop_to_entry: given.StopToEntryOption = True,
    initial_balance: given.InitialBalanceOption = 10_000.0,
    account_currency: given.AccountCurrencyOption = "USD",
    volume: given.VolumeOption = None,
    risk_pct: given.RiskPctOption = None,
    spread_pips: given.SpreadPipsOption = 1.5,
    spread_source: given.SpreadSourceOption = SpreadSource.FIXED,
    commission_per_lot: given.CommissionPerLotOption = 0.0,
    trades: given.TradesOption = None,
    as_json: given.AsJsonOption = False,
) -> None:
    """Run one backtest here and now, without any server.

    Bars before --start warm indicators up. Exit status: 0 done, 1 the run failed, 2 bad input.
    """
    if trades is not None:
        named = [text.partition("=")[2] for text in (*(context_bars or ()), *(conversion_bars or ()))]
        check_table_path(trades, spare=(bars, signals, instruments, *map(Path, named)))
    request = RunRequest(
        symbol=symbol,
        timeframe=timeframe,
        bars=bars,
        market_data=market_data,
        context_bars=tuple(context_bars or ()),
        context_timeframes=context_timeframes,
        conversion_bars=tuple(conversion_bars or ()),
        bars_timezone=bars_timezone,
        start=start,
        end=end,
        instruments=instruments,
        strategy=strategy,
        params=params,
        signals=signals,
        execution_mode=execution_mode,
        on_opposite=on_opposite,
        sl_pips=sl_pips,
        tp_pips=tp_pips,
        tp_partial_close_ratio=tp_partial_close_ratio,
        stop_to_entry=stop_to_entry,
        initial_balance=initial_balance,
        account_currency=account_currency,
        volume=volume,
        risk_pct=risk_pct,
        spread_pips=spread_pips,
        spread_source=spread_source,
        commission_per_lot=commission_per_lot,
    )
    # What a strategy prints is not the result: stdout holds nothing but that.
    with redirect_stdout(sys.stderr), progress_bar() as show:
        ready = read_run(request)
        result = run_backtest(ready.specification, ready.instrument, ready.data, ready.decider, on_progress=show)
    if trades is not None:
        write_table(result.trades, trades)
    (print_json if as_json else print_table)(result)
