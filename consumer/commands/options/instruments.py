"""The instrument that a command is about: found in any case, made for a share, or shown how to add."""

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from consumer.errors import ConsumerError
from consumer.rules.instrument_guess import guessed_instrument, instruments_table
from engine.errors import EngineError, UnknownSymbol
from engine.market.bars import Bars
from engine.market.instruments import Instrument, instrument_for, share, symbol_in

InstrumentsFile = Annotated[
    Path | None,
    typer.Option(envvar="BACKTEST_INSTRUMENTS_FILE", help="TOML file that extends the packaged instruments."),
]


class InstrumentClass(StrEnum):
    """Instruments that need no table of their own."""

    STOCK = "stock"


CLASS_HELP = "What a symbol is that no instruments file has: stock (a lot is a share, prices in --quote)."
QUOTE_HELP = "Currency of prices, for --instrument-class."
InstrumentClassOption = Annotated[InstrumentClass | None, typer.Option(help=CLASS_HELP)]
QuoteOption = Annotated[str, typer.Option(help=QUOTE_HELP)]


def with_class(
    symbol: str, registry: Mapping[str, Instrument], instrument_class: InstrumentClass | None, quote: str
) -> Mapping[str, Instrument]:
    """The registry, with the symbol in it where a class says what it is and the registry does not know it."""
    if instrument_class is None or symbol_in(registry, symbol) is not None:
        return registry
    return {**registry, symbol: share(symbol, quote.upper())}


def found_instrument(
    symbol: str, registry: Mapping[str, Instrument], load_bars: Callable[[], Bars | None], *, as_json: bool
) -> Instrument:
    """The instrument of that symbol in any case.

    Raises UnknownSymbol, and without as_json prints on stdout what could stand in the instruments file for it.
    load_bars: some of its bars, asked for only then; where they cannot be read the name alone is guessed from.
    """
    try:
        return instrument_for(symbol, registry)
    except UnknownSymbol:
        if not as_json:
            print_guess(symbol, registry, load_bars)
        raise


def print_guess(symbol: str, registry: Mapping[str, Instrument], load_bars: Callable[[], Bars | None]) -> None:
    """Print a table for the instruments file on stdout."""
    try:
        bars = load_bars()
    except (EngineError, ConsumerError):
        bars = None
    seen = f"its name and {bars.height} bars" if bars is not None else "its name"
    guess = guessed_instrument(symbol, bars, registry)
    sys.stdout.write(f"# guessed from {seen}; put right what is wrong\n{instruments_table(guess)}\n")
