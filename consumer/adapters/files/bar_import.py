"""Files of bars into market data at rest, and what whoever brings them should know: the command's and the API's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from consumer.adapters.files.bars import BarFile
from consumer.adapters.files.market_data_import import ImportedYear, IncomingBars, import_bars, incoming_bars
from engine.market.bar_length import usual_spacing_us
from engine.market.instruments import Instrument, closest_symbols, symbol_in
from engine.market.passport import data_passport
from engine.market.price_decimals import finer_than_digits
from engine.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class BarImport:
    """What was imported. doubts: of each file, about its own bars; notes: about what is stored now."""

    symbol: str
    timeframe: str
    years: Sequence[ImportedYear]
    sources: Sequence[IncomingBars]
    doubts: Sequence[str]
    notes: Sequence[str]
    unknown: str | None
    """Why runs cannot have the symbol yet; None where its instrument is known."""


def import_bar_files(
    url: str,
    symbol: str,
    timeframe: Timeframe,
    files: Sequence[BarFile],
    registry: Mapping[str, Instrument],
    *,
    replace: bool,
) -> BarImport:
    """Import files of one symbol, as it is spelled in the store. Raises what `incoming_bars` and `import_bars` do."""
    sources = [incoming_bars(file, timeframe) for file in files]
    years = import_bars(url, symbol, timeframe, sources, replace=replace)
    known = symbol_in(registry, symbol)
    instrument = None if known is None else registry[known]
    doubts = [
        f"{source.name}: {each}"
        for file, source in zip(files, sources, strict=True)
        for each in _doubts(file, source, instrument)
    ]
    unknown = None if known else unknown_note(symbol, registry)
    notes = [f"{symbol} {timeframe.name}: {each}" for each in _spreads_amiss(years)]
    return BarImport(symbol, timeframe.name, years, sources, doubts, notes, unknown)


def unknown_note(symbol: str, registry: Mapping[str, Instrument]) -> str:
    """Why runs cannot have a symbol that is not in the registry, and what may have been meant."""
    return f"{symbol} is no known instrument{closest_symbols(symbol, registry)}: runs need it in an instruments file"


def replaced_note(made: BarImport) -> str:
    """What replacing took away."""
    removed = sum(year.removed for year in made.years)
    return f"{made.symbol} {made.timeframe}: {removed} bars were stored in the months of these files and went"


def _doubts(file: BarFile, source: IncomingBars, instrument: Instrument | None) -> list[str]:
    """What the file itself makes doubtful: the length of its bars, the zone of its times, whose prices they are, what
    a run would say of its bars; and what its format adds."""
    said = [*file.notes]
    spacing_us, of = usual_spacing_us(source.bars), source.bars.timeframe
    if spacing_us is not None and spacing_us > of.duration_us:
        said.append(f"bars are mostly {timedelta(microseconds=spacing_us)} apart, which is more than {of.name}")
    finer = finer_than_digits(source.bars, instrument) if instrument else None
    said += [finer] if finer else []
    advice = file.zone_advice(source.bars.time_us, instrument.session if instrument else "fx")
    if advice is not None:
        said.append(f"{advice}, with --replace")
    if instrument is not None:
        said += data_passport(source.bars, instrument.session).warnings
    return said


def _spreads_amiss(years: Sequence[ImportedYear]) -> Iterator[str]:
    """Where spreads that a run may want are not there any more, or do not go on."""
    lost, lacking = sum(year.spreads_lost for year in years), sum(year.without_spread for year in years)
    if lost:
        yield f"{lost} bars had a spread, and those in their place have none: --spread-source bars refuses them"
    elif lacking:
        yield (
            f"{lacking} new bars have no spread, while stored ones have one: --spread-source bars refuses a range with"
            f" such bars"
        )
