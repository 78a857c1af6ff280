"""The deepest falls of a run's equity below its last peak."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A stretch of equity below its last peak. recovered: None while it lasts at the end."""

    percent: float
    amount: float
    peak: datetime
    trough: datetime
    recovered: datetime | None


def deepest_drawdowns(equity: pl.DataFrame, deposit: float, count: int) -> list[Drawdown]:
    """The deepest stretches below a peak, by percent of that peak; the first peak is the deposit, at the first bar.

    equity: columns time and equity, in order of time. The deepest is the run's max_drawdown_pct.
    """
    if equity.height == 0:
        return []
    values = np.concatenate(([deposit], equity["equity"].to_numpy()))
    # Places count from the deposit, which is 0: where a peak is reached, a stretch below it begins, maybe of nothing.
    peaks = np.flatnonzero(values >= np.maximum.accumulate(values))
    lows = np.minimum.reduceat(values, peaks)
    amounts = np.round(values[peaks] - lows, 8)
    shares = np.divide(amounts, values[peaks], out=np.zeros_like(amounts), where=values[peaks] > 0.0) * 100.0
    deepest = np.argsort(-shares, kind="stable")[:count]
    ends = np.append(peaks[1:], values.size)
    times = equity["time"]

    def told(stretch: int) -> Drawdown:
        peak, end = int(peaks[stretch]), int(ends[stretch])
        trough = peak + int(np.argmin(values[peak:end]))
        recovered = times[end - 1] if end < values.size else None
        return Drawdown(
            float(shares[stretch]), float(amounts[stretch]), times[max(0, peak - 1)], times[trough - 1], recovered
        )

    return [told(int(stretch)) for stretch in deepest if shares[stretch] > 0.0]
