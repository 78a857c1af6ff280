"""What the trades of each month came to."""

from typing import Final

import polars as pl

from engine.numeric.sums import exact_sum

_MONTH: Final = {
    "year": pl.Int64,
    "month": pl.Int64,
    "net": pl.Float64,
    "trades": pl.Int64,
    "return_pct": pl.Float64,
}


def months_of(trades: pl.DataFrame, deposit: float) -> pl.DataFrame:
    """Return year, month, net (sum of profit), trades and return_pct (net in per cent of the balance that the month
    began with, None where that is not above 0) of the exits in each month of UTC; no row for a month without any.

    trades: exit_time and profit, in any order.
    """
    month = pl.col("exit_time").dt.truncate("1mo")
    rows = []
    balance = deposit
    for (began,), group in trades.sort("exit_time", maintain_order=True).group_by(month, maintain_order=True):
        net = round(exact_sum(group["profit"].to_numpy()), 8)
        share = net / balance * 100.0 if balance > 0.0 else None
        rows.append((began.year, began.month, net, group.height, share))
        balance = round(balance + net, 8)
    return pl.DataFrame(rows, schema=_MONTH, orient="row")
