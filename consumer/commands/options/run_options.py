"""The options of commands that run or audit a strategy: one spelling and one meaning for all of them."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.options import values as options
from consumer.commands.options.instruments import CLASS_HELP, QUOTE_HELP, InstrumentClass
from consumer.wiring.times import DateOrder
from engine.specification import ExecutionMode, OnOpposite, SpreadSource

_BARS, _STRATEGY, _MONEY, _FILLS, _OUTPUT = "Bars", "Decisions", "Money", "Fills", "Output"
_MODEL = "Language model"

SymbolOption = Annotated[str, typer.Option(help="Instrument, e.g. EURUSD.", rich_help_panel=_BARS)]
TimeframeOption = Annotated[
    str | None,
    typer.Option(
        help="Candle length, e.g. M15, H1, D1.",
        show_default="required; with --strategy-id the row's",
        rich_help_panel=_BARS,
    ),
]
BarsOption = Annotated[
    Path | None,
    typer.Option(
        help="A file of bars: CSV of any program, Parquet, Arrow; also .gz, .zst, .zip.", rich_help_panel=_BARS
    ),
]
MarketDataOption = Annotated[
    str | None,
    typer.Option(
        help="In place of --bars: path or URL of market data at rest. Else BACKTEST_MARKET_DATA_URL.",
        rich_help_panel=_BARS,
    ),
]
ContextBarsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TIMEFRAME=FILE",
        help="Context bars from a file; of a shorter timeframe than the run's: what happens inside its bars.",
        rich_help_panel=_BARS,
    ),
]
ContextTimeframesOption = Annotated[
    str, typer.Option(help="Context made of the bars (or stored), e.g. H4,D1.", rich_help_panel=_BARS)
]
ConversionBarsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SYMBOL[:TIMEFRAME]=FILE",
        help="Bars that convert profit to the account currency.",
        rich_help_panel=_BARS,
    ),
]
BarsTimezoneOption = Annotated[
    str,
    typer.Option(
        callback=options.zone_name,
        help="Zone of times without an offset, in every file (not in --start and --end): Europe/Athens, or with hours"
        " added: America/New_York+7, MetaTrader's usual.",
        rich_help_panel=_BARS,
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        callback=options.format_name,
        help="Format of every file of bars (mt5, binance, ...: `backtest data check` names it).",
        show_default="found out",
        rich_help_panel=_BARS,
    ),
]
DateOrderOption = Annotated[
    DateOrder | None,
    typer.Option(help="Of dates such as 02/01/2024, in every file.", show_default="found out", rich_help_panel=_BARS),
]
StartOption = Annotated[
    str | None,
    typer.Option(
        help="First open time, inclusive; UTC without an offset. Default: the first bar.", rich_help_panel=_BARS
    ),
]
EndOption = Annotated[
    str | None,
    typer.Option(help="End, exclusive; UTC without an offset. Default: the last bar's close.", rich_help_panel=_BARS),
]
InstrumentsOption = Annotated[
    Path | None,
    typer.Option(
        help="TOML file that extends the packaged instruments. Else BACKTEST_INSTRUMENTS_FILE.", rich_help_panel=_BARS
    ),
]
InstrumentClassOption = Annotated[InstrumentClass | None, typer.Option(help=CLASS_HELP, rich_help_panel=_BARS)]
QuoteOption = Annotated[str, typer.Option(help=QUOTE_HELP, rich_help_panel=_BARS)]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        help="Registered strategy (`backtest strategy list`), or path/to/file.py:Class.", rich_help_panel=_STRATEGY
    ),
]
StrategyIdOption = Annotated[
    int | None,
    typer.Option(
        metavar="ID",
        help="In place of --strategy: a row of `strategies` (needs BACKTEST_DATABASE_URL); options that are given win"
        " over its columns.",
        rich_help_panel=_STRATEGY,
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(
        help="In place of --strategy: rules as data, a JSON or TOML file (`backtest strategy new NAME --rules`).",
        rich_help_panel=_STRATEGY,
    ),
]
ParamsOption = Annotated[
    str | None,
    typer.Option(help="Its parameters, a JSON object; of --rules the params to change.", rich_help_panel=_STRATEGY),
]
SignalsOption = Annotated[
    Path | None,
    typer.Option(help="In place of --strategy: decisions from a CSV or Parquet file.", rich_help_panel=_STRATEGY),
]
DecidedByOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="rule_only, llm_only, rule_then_llm, hybrid_validator or multi_agent (docs/models.md).",
        show_default="rule_only, or the row's",
        rich_help_panel=_MODEL,
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="What is asked how: an object of model, every, bars, indicators, roles, blind, min_confidence.",
        rich_help_panel=_MODEL,
    ),
]
MaxLlmCallsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**31 - 1,
        help="Calls that may ever be sent for the run.",
        show_default="100",
        rich_help_panel=_MODEL,
    ),
]
CustomPromptOption = Annotated[
    str | None, typer.Option(help="What the model is told beside its task.", rich_help_panel=_MODEL)
]
CustomPromptFileOption = Annotated[
    Path | None, typer.Option(help="In place of --custom-prompt: a file of UTF-8 text.", rich_help_panel=_MODEL)
]
LlmLedgerOption = Annotated[
    Path | None,
    typer.Option(
        help="File that keeps calls and answers (SQLite, made where there is none): a run that was broken off goes on"
        " from it, and a repetition asks nobody. With --strategy-id the database does, where no file is named.",
        rich_help_panel=_MODEL,
    ),
]
LlmReplayOption = Annotated[
    bool,
    typer.Option(
        "--llm-replay", help="Ask nobody: a question without a kept answer fails the run.", rich_help_panel=_MODEL
    ),
]
SkipLlmOption = Annotated[
    bool, typer.Option("--skip-llm", help="Let the rule decide alone, whatever the mode.", rich_help_panel=_MODEL)
]
ExecutionModeOption = Annotated[ExecutionMode, typer.Option(help="When decisions are filled.", rich_help_panel=_FILLS)]
OnOppositeOption = Annotated[
    OnOpposite, typer.Option(help="What a signal against the open position does.", rich_help_panel=_FILLS)
]
SlPipsOption = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Stop of decisions that bring none.", rich_help_panel=_FILLS),
]
TpPipsOption = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Target of decisions that bring none.", rich_help_panel=_FILLS),
]
TpPartialCloseRatioOption = Annotated[
    float,
    typer.Option(callback=options.ratio, help="Share closed at each target but the last.", rich_help_panel=_FILLS),
]
StopToEntryOption = Annotated[
    bool,
    typer.Option("--stop-to-entry/--keep-stop", help="Move the stop after a target.", rich_help_panel=_FILLS),
]
InitialBalanceOption = Annotated[
    float, typer.Option(callback=options.above_zero, help="Deposit.", rich_help_panel=_MONEY)
]
AccountCurrencyOption = Annotated[
    str | None,
    typer.Option(
        help="Currency of the account. Else BACKTEST_ACCOUNT_CURRENCY.", show_default="USD", rich_help_panel=_MONEY
    ),
]
VolumeOption = Annotated[
    float | None,
    typer.Option(callback=options.above_zero, help="Lots a trade.", show_default="0.1", rich_help_panel=_MONEY),
]
RiskPctOption = Annotated[
    float | None,
    typer.Option(
        callback=options.fraction_above_zero,
        help="Fraction of equity risked a trade (0.01 is 1 %); wins over --volume.",
        rich_help_panel=_MONEY,
    ),
]
SpreadPipsOption = Annotated[
    float, typer.Option(callback=options.at_least_zero, help="Spread on every bar.", rich_help_panel=_MONEY)
]
SpreadSourceOption = Annotated[
    SpreadSource, typer.Option(help="bars: the spread recorded in the bars.", rich_help_panel=_MONEY)
]
WarmUpBarsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=1_000_000,
        help="Bars before the start that the strategy sees.",
        show_default="as it needs",
        rich_help_panel=_BARS,
    ),
]
CommissionPerLotOption = Annotated[
    float,
    typer.Option(callback=options.at_least_zero, help="Round trip, account currency.", rich_help_panel=_MONEY),
]
SlippagePipsOption = Annotated[
    float,
    typer.Option(
        callback=options.at_least_zero,
        help="By how much fills at a close, at an open and at stops are worse.",
        rich_help_panel=_MONEY,
    ),
]
CommissionPctOption = Annotated[
    float,
    typer.Option(
        callback=options.at_least_zero,
        help="Per cent of the notional on each side (0.01 is a hundredth of one per cent), beside the other.",
        rich_help_panel=_MONEY,
    ),
]
LeverageOption = Annotated[
    float | None,
    typer.Option(
        callback=options.above_zero,
        help="Margin is the notional over it; an entry that the balance does not cover opens nothing.",
        show_default="no margin",
        rich_help_panel=_MONEY,
    ),
]
StopOutPctOption = Annotated[
    float,
    typer.Option(
        callback=options.at_least_zero,
        help="Equity at this many per cent of the margin ends the run; needs --leverage.",
        rich_help_panel=_MONEY,
    ),
]
TradesOption = Annotated[
    Path | None,
    typer.Option(
        help="Write the trades to this .csv or .parquet file. Their entry_time and exit_time are when the bar of the"
        " fill opened, in UTC: what was filled at a close (entry_at, exit_at) was filled when that bar closed.",
        rich_help_panel=_OUTPUT,
    ),
]
PngOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Draw equity, drawdown, months and key figures, warnings first.",
        rich_help_panel=_OUTPUT,
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write the report: one file with chart, trades and figures that opens without a network.",
        rich_help_panel=_OUTPUT,
    ),
]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_OUTPUT)]
