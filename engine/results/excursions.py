"""How far the market went against each trade and in its favour while it was open, and what it earned by its risk.

Of a bar only what surely lies between the two fills counts: all of it where the position was open from its open to its
close; of the bar of a fill inside it, the close after an entry and the open before an exit. Never what a bar may have
done before the entry or after the exit.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.kernel.layout import CLOSE_FILL, LEVEL_FILL, OPEN_FILL
from engine.numeric.arrays import Floats, read_only
from engine.numeric.columns import Columns
from engine.numeric.compiled import compiled
from engine.numeric.rounding import round_money, round_price
from engine.prepared import PreparedRun

EXCURSION_COLUMNS: Final = ("mae", "mfe", "mae_price", "mfe_price", "r")


def excursions(rows: NDArray[Any], run: PreparedRun) -> Columns:
    """Return a row an exit, columns EXCURSION_COLUMNS.

    mae_price, mfe_price: how far, in price, the side at which the position could have left (bid of a long, ask of a
    short) was from the entry's fill at its worst and at its best, from the entry to this exit; 0 and up. mae, mfe: that
    in account currency, on the volume of the row, at the rate of the exit. r: profit / what the row's volume would have
    lost from the entry's fill to the stop that the position began with, at the rate of the entry; null without a stop,
    or with one that the fill was beyond.
    """
    fields = {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
    open_, high, low, close, spread, rate_open, rate_close = run.prices
    against, favour = _distances(
        fields["direction"],
        fields["entry_bar"],
        fields["exit_bar"],
        fields["entry_at"],
        fields["exit_at"],
        fields["entry_price"],
        fields["exit_price"],
        *(read_only(values) for values in (open_, high, low, close, spread)),  # so that it is compiled once
    )
    scale = run.instrument.price_scale
    against, favour = round_price(against, scale), round_price(favour, scale)
    worth = fields["volume"] * run.instrument.contract
    at_entry = np.where(
        fields["entry_at"] == CLOSE_FILL,
        _of_bars(rate_close, fields["entry_bar"]),
        _of_bars(rate_open, fields["entry_bar"]),
    )
    distance = (fields["entry_price"] - fields["stop_at_entry"]) * fields["direction"]
    risk = np.where(distance > 0.0, distance, np.nan) * worth * at_entry
    return {
        "mae": round_money(against * worth * fields["rate"]),
        "mfe": round_money(favour * worth * fields["rate"]),
        "mae_price": against,
        "mfe_price": favour,
        "r": fields["profit"] / risk,
    }


def _of_bars(values: Floats, bars: NDArray[np.int64]) -> Floats:
    """Values of bars, where one may stand for all."""
    return values[bars] if values.size > 1 else np.broadcast_to(values, bars.shape)


@compiled
def _distances(
    direction: NDArray[np.int64],
    entry_bar: NDArray[np.int64],
    exit_bar: NDArray[np.int64],
    entry_at: NDArray[np.int64],
    exit_at: NDArray[np.int64],
    entry_price: NDArray[np.float64],
    exit_price: NDArray[np.float64],
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each position went against itself and in its favour, up to the exit of the row."""
    against = np.zeros(direction.size)
    favour = np.zeros(direction.size)
    step = 1 if spread.size > 1 else 0
    for i in range(direction.size):
        side = direction[i]
        entered, left = entry_bar[i], exit_bar[i]
        was_open_at_open = entry_at[i] == OPEN_FILL or entered < left
        worst = min(0.0, (exit_price[i] - entry_price[i]) * side)
        best = max(0.0, (exit_price[i] - entry_price[i]) * side)
        if entry_at[i] == LEVEL_FILL and (entered < left or exit_at[i] == CLOSE_FILL):
            gain = (close[entered] + (spread[entered * step] if side < 0 else 0.0) - entry_price[i]) * side
            worst, best = min(worst, gain), max(best, gain)
        if exit_at[i] == LEVEL_FILL and was_open_at_open:
            gain = (open_[left] + (spread[left * step] if side < 0 else 0.0) - entry_price[i]) * side
            worst, best = min(worst, gain), max(best, gain)
        first = entered if entry_at[i] == OPEN_FILL else entered + 1
        end = left + 1 if exit_at[i] == CLOSE_FILL else left
        for bar in range(first, end):
            ask = spread[bar * step] if side < 0 else 0.0
            up = (high[bar] + ask - entry_price[i]) * side
            down = (low[bar] + ask - entry_price[i]) * side
            worst, best = min(worst, up, down), max(best, up, down)
        against[i], favour[i] = -worst, best
    return against, favour
