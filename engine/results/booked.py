"""The books of a run: every item that was booked, each with its moment, its position and the balance after it.

Derived from the exit rows, which hold all of it: what a row's commission has beyond the exit's half was booked at the
position's entry. An item of nothing (no commission, no swap) is no item; a gross profit always is one.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.market.bars import TIME
from engine.market.instruments import Instrument
from engine.numeric.arrays import Floats
from engine.numeric.rounding import in_whole_units, round_money, round_money_near
from engine.specification import Specification

KINDS: Final = ("entry_commission", "gross_profit", "swap", "exit_commission")
"""In the order in which those of one moment are booked."""
BOOKED_COLUMNS: Final = ("time", "position_id", "kind", "amount", "balance")
_KINDS: Final = pl.Series(list(KINDS))
_ENTRY, _GROSS, _SWAP, _EXIT = range(len(KINDS))


def booked_items(
    rows: NDArray[Any], time_us: NDArray[np.int64], deposit: float, exit_commissions: Floats
) -> pl.DataFrame:
    """One row an item, columns BOOKED_COLUMNS, in the order booked; the amounts add up to final balance - deposit.

    rows: kernel.layout.ROW records in the order of their exits. time_us: open times of the run's bars; an item's time
    is that of the bar of its fill. exit_commissions: of each row, see below. amount and balance: account currency,
    rounded to 1e-8.
    """
    swap = rows["swap"]
    entry_half = round_money(rows["commission"] - exit_commissions)
    gross = round_money(rows["profit"] + rows["commission"] - swap)
    amounts = np.empty((rows.size, len(KINDS)))
    amounts[:, _ENTRY], amounts[:, _GROSS], amounts[:, _SWAP], amounts[:, _EXIT] = 0.0, gross, swap, -exit_commissions
    bars = np.repeat(rows["exit_bar"][:, None], len(KINDS), axis=1)
    bars[:, _ENTRY] = rows["entry_bar"]
    stood = np.empty((rows.size, 1))
    if rows.size:
        opens = np.flatnonzero(np.diff(rows["position_id"], prepend=rows["position_id"][0] - 1))
        amounts[opens, _ENTRY] = -round_money(np.add.reduceat(entry_half, opens))
        stood[0], stood[1:, 0] = deposit, rows["equity_after"][:-1]
    is_item = amounts != 0.0
    is_item[:, _GROSS] = True
    row, kind = np.nonzero(is_item)
    return pl.DataFrame(
        [
            pl.Series("time", time_us[bars[is_item]]).cast(TIME),
            pl.Series("position_id", rows["position_id"][row]),
            _KINDS[kind].alias("kind"),
            pl.Series("amount", amounts[is_item]),
            pl.Series("balance", round_money(stood + np.cumsum(amounts, axis=1))[is_item]),
        ]
    )


def exit_commissions(rows: NDArray[Any], specification: Specification, instrument: Instrument) -> Floats:
    """Return what the exit of each row cost of its commission, to the bit as kernel.money.leave booked it."""
    half, share = specification.commission_per_lot / 2.0, specification.commission_pct / 100.0
    if share == 0.0:
        return round_money(half * rows["volume"])
    units = in_whole_units(rows["exit_price"], instrument.price_scale)
    a_lot = half + share * instrument.contract / instrument.price_scale * units * rows["rate"]
    return round_money_near(a_lot * rows["volume"])
