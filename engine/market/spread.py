"""What the spread of a run's bars comes to."""

from engine.numeric.arrays import Floats
from engine.numeric.sums import exact_sum


def average_spread(spread_pips: Floats | float) -> float:
    """Return the mean spread in pips over the bars simulated. spread_pips: of each bar, or of all."""
    if isinstance(spread_pips, float | int):
        return float(spread_pips)
    return exact_sum(spread_pips) / spread_pips.size
