"""The options of commands that run or audit a strategy: one spelling and one meaning for all of them."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands import options
from engine.specification import ExecutionMode, OnOpposite, SpreadSource

_BARS, _STRATEGY, _MONEY, _FILLS, _OUTPUT = "Bars", "Decisions", "Money", "Fills", "Output"

Symbol = Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.", rich_help_panel=_BARS)]
Timeframe = Annotated[str, typer.Option(help="Candle length, e.g. M15, H1, D1.", rich_help_panel=_BARS)]
Bars = Annotated[
    Path | None, typer.Option(help="CSV (own columns or a MetaTrader 5 export) or Parquet.", rich_help_panel=_BARS)
]
MarketData = Annotated[
    str | None,
    typer.Option(help="In place of --bars: path or URL of market data at rest.", rich_help_panel=_BARS),
]
ContextBars = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TIMEFRAME=FILE",
        help="Context bars from a file; of a shorter timeframe than the run's: what happens inside its bars.",
        rich_help_panel=_BARS,
    ),
]
ContextTimeframes = Annotated[
    str, typer.Option(help="Context made of the bars (or stored), e.g. H4,D1.", rich_help_panel=_BARS)
]
ConversionBars = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SYMBOL[:TIMEFRAME]=FILE",
        help="Bars that convert profit to the account currency.",
        rich_help_panel=_BARS,
    ),
]
BarsTimezone = Annotated[
    str,
    typer.Option(
        callback=options.zone_name,
        help="Zone of times without an offset, in every file (not in --start and --end).",
        rich_help_panel=_BARS,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="First open time, inclusive; UTC without an offset. Default: the first bar.", rich_help_panel=_BARS
    ),
]
End = Annotated[
    str | None,
    typer.Option(help="End, exclusive; UTC without an offset. Default: the last bar's close.", rich_help_panel=_BARS),
]
Instruments = Annotated[
    Path | None, typer.Option(help="TOML file that extends the packaged instruments.", rich_help_panel=_BARS)
]
Strategy = Annotated[
    str | None, typer.Option(help="Registered strategy (`backtest strategy list`).", rich_help_panel=_STRATEGY)
]
Params = Annotated[str | None, typer.Option(help="Its parameters, a JSON object.", rich_help_panel=_STRATEGY)]
Signals = Annotated[
    Path | None,
    typer.Option(help="In place of --strategy: decisions from a CSV or Parquet file.", rich_help_panel=_STRATEGY),
]
ExecutionMode = Annotated[ExecutionMode, typer.Option(help="When decisions are filled.", rich_help_panel=_FILLS)]
OnOpposite = Annotated[
    OnOpposite, typer.Option(help="What a signal against the open position does.", rich_help_panel=_FILLS)
]
SlPips = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Stop of decisions that bring none.", rich_help_panel=_FILLS),
]
TpPips = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Target of decisions that bring none.", rich_help_panel=_FILLS),
]
TpPartialCloseRatio = Annotated[
    float,
    typer.Option(callback=options.ratio, help="Share closed at each target but the last.", rich_help_panel=_FILLS),
]
StopToEntry = Annotated[
    bool,
    typer.Option("--stop-to-entry/--keep-stop", help="Move the stop after a target.", rich_help_panel=_FILLS),
]
InitialBalance = Annotated[float, typer.Option(callback=options.above_zero, help="Deposit.", rich_help_panel=_MONEY)]
AccountCurrency = Annotated[str, typer.Option(help="Currency of the account.", rich_help_panel=_MONEY)]
Volume = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Lots a trade. [default: 0.1]", rich_help_panel=_MONEY),
]
RiskPct = Annotated[
    float | None,
    typer.Option(
        callback=options.fraction_above_zero,
        help="Fraction of equity risked a trade (0.01 is 1 %); wins over --volume.",
        rich_help_panel=_MONEY,
    ),
]
SpreadPips = Annotated[
    float, typer.Option(callback=options.at_least_zero, help="Spread on every bar.", rich_help_panel=_MONEY)
]
SpreadSource = Annotated[
    SpreadSource, typer.Option(help="bars: the spread recorded in the bars.", rich_help_panel=_MONEY)
]
CommissionPerLot = Annotated[
    float,
    typer.Option(callback=options.at_least_zero, help="Round trip, account currency.", rich_help_panel=_MONEY),
]
Trades = Annotated[
    Path | None, typer.Option(help="Write the trades to this .csv or .parquet file.", rich_help_panel=_OUTPUT)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_OUTPUT)]
