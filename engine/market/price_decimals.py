"""Whether prices are written finer than an instrument's: those of another one given for it, mostly; for a warning."""

import numpy as np

from engine.market.bars import Bars
from engine.market.instruments import Instrument

_LOOKED_AT = 1_000
_OF_A_POINT = 0.01
"""Nearer to a whole point is binary noise, also that of prices kept in 32 bits."""
_MOST = 0.6
"""Of the closes; means of bid and ask have a decimal more in half of them."""


def finer_than_digits(bars: Bars, instrument: Instrument) -> str | None:
    """Say it where most closes have more decimals than `digits`; None where not. Looks at a thousand bars at most.

    Shares are left alone: adjusted for splits and dividends, their prices have decimals that no exchange quotes.
    """
    if instrument.session == "weekdays":
        return None
    closes = bars.close[:: -(-bars.height // _LOOKED_AT)]
    points = closes / instrument.point
    finer = np.abs(points - np.round(points)) > _OF_A_POINT
    if np.count_nonzero(finer) <= _MOST * closes.size:
        return None
    return (
        f"most prices, such as {closes[np.argmax(finer)]:.10g}, have more decimals than the {instrument.digits} of"
        f" {instrument.symbol}: are they another instrument's?"
    )
