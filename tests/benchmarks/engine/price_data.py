"""Made-up bars for measurements: a seeded random walk folded into a band, as .npy columns and as Parquet."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

_MONDAY_US = 1_578_268_800_000_000
"""2020-01-06T00:00Z."""
_MINUTE_US = 60_000_000
_STEP = 2e-3
"""Deviation of a bar's return: so wide that averages never tie within the tolerance by which crossings are judged."""
_BAND = 0.5


def write_bars(folder: Path, bars: int, seed: int = 1) -> Path:
    """Write M1 bars without holes to folder/<bars>, unless they are there, and return that folder."""
    into = folder / str(bars)
    if not into.exists():
        into.mkdir(parents=True)
        columns = make_bars(bars, seed)
        for name, values in columns.items():
            np.save(into / f"{name}.npy", values)
        times = pl.Series(columns.pop("time_us")).cast(pl.Datetime("us", "UTC"))
        pl.DataFrame({"time": times, **columns}).write_parquet(into / "bars.parquet")
    return into


def make_bars(bars: int, seed: int) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """Each bar opens at the close before, so that no program's rule for gaps matters; prices are on no tick grid."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.normal(0.0, _STEP, bars))
    folded = np.abs((walk + _BAND) % (4 * _BAND) - 2 * _BAND) - _BAND
    close = 1.1 * np.exp(folded)
    opens = np.append(1.1, close[:-1])
    reach = np.abs(random.normal(0.0, _STEP / 2, (2, bars)))
    return {
        "time_us": _MONDAY_US + np.arange(bars, dtype=np.int64) * _MINUTE_US,
        "open": opens,
        "high": np.maximum(opens, close) * (1 + reach[0]),
        "low": np.minimum(opens, close) * (1 - reach[1]),
        "close": close,
        "volume": random.integers(1, 1000, bars).astype(np.float64),
    }
