"""Reads the golden cases of resampling: which candles are made of a stretch of bars, and when each of them closes.

The source bars are a ramp, so that a candle's prices say which bars it holds: the n-th hour (or whatever the source's
length is) since the first bar opens at 1000 + n and closes one higher, with half a unit above and below.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.engine.goldens.cases import INSTRUMENTS, TIMEFRAMES_US
from tests.engine.reference.model import Bar, Instrument, Series

BASE_PRICE = 1_000
KEYS = {"name", "why", "source", "to", "session", "day_start", "data", "candles"}


@dataclass(frozen=True, slots=True)
class Candle:
    """What a candle must be. opens_with, closes_with: the numbers of its first and last source bars."""

    open_us: int
    close_us: int
    opens_with: int
    closes_with: int

    def is_that(self, bar: Bar, close_us: int) -> bool:
        first, last = BASE_PRICE + self.opens_with, BASE_PRICE + self.closes_with
        prices = (bar.open, bar.high, bar.low, bar.close)
        return (bar.time_us, close_us, prices) == (
            self.open_us,
            self.close_us,
            (first, last + 1.5, first - 0.5, last + 1),
        )


@dataclass(frozen=True, slots=True)
class Resampling:
    """One case: source bars, what they are made into, and for which instrument."""

    name: str
    source: Series
    timeframe_us: int
    instrument: Instrument
    candles: Sequence[Candle]


def load_resamplings() -> list[Resampling]:
    """Every case of every file in the folder `resampling`. Raises ValueError for one that cannot be read."""
    return [
        _read(table)
        for path in sorted((Path(__file__).parent / "resampling").glob("*.toml"))
        for table in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]


def _read(table: dict[str, Any]) -> Resampling:
    if unknown := table.keys() - KEYS:
        raise ValueError(f"case {table.get('name')}: unknown keys {sorted(unknown)}")
    length_us = TIMEFRAMES_US[table.get("source", "H1")]
    symbol = "BTCUSD" if table.get("session") == "always" else "EURUSD"
    base = INSTRUMENTS[symbol]
    instrument = Instrument(session=base.session, digits=base.digits, day_start=table.get("day_start"))
    return Resampling(
        name=table["name"],
        source=Series(length_us, _ramp(table["data"], length_us)),
        timeframe_us=TIMEFRAMES_US[table["to"]],
        instrument=instrument,
        candles=[_read_candle(line.split()) for line in table["candles"].splitlines() if line.strip()],
    )


def _ramp(stretches: Sequence[str], length_us: int) -> tuple[Bar, ...]:
    """Bars of stretches like `2024-01-07 22:00 to 2024-01-12 22:00`, the end not included."""
    bars: list[Bar] = []
    for stretch in stretches:
        start, _, end = stretch.partition(" to ")
        for time_us in range(_moment(start), _moment(end), length_us):
            n = (time_us - (bars[0].time_us if bars else time_us)) // length_us + BASE_PRICE
            bars.append(Bar(time_us, n, n + 1.5, n - 0.5, n + 1))
    return tuple(bars)


def _read_candle(words: Sequence[str]) -> Candle:
    open_us, close_us = _moment(" ".join(words[:2])), _moment(" ".join(words[2:4]))
    return Candle(open_us, close_us, int(words[4]), int(words[5]))


def _moment(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000
