"""Positions in groups: what each pattern, hour or way out earned. A position is all rows of one position_id."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from engine.market.zones import Zone
from engine.numeric.sums import exact_sum, sums_by_sign
from engine.results.metrics import expectancy, net_profit, profit_factor, win_rate

GROUPINGS: Final = (
    "pattern_name", "direction", "exit_reason", "hour", "weekday", "month", "source", "holding_time",
)  # fmt: skip
HOLDING_TIMES: Final = ("under 1 h", "to 4 h", "to 24 h", "to 7 d", "over")
FEW: Final = 30
"""Positions; what fewer say is mostly chance."""


def analytics(trades: pl.LazyFrame, by: Sequence[str], zone: Zone) -> dict[str, Any]:
    """Groups of positions that share the values of one or two of GROUPINGS, in order of those, nulls last.

    exit_reason is that of the last exit; hour, weekday (0 = Monday) and month (1 to 12) are of entry_time in the zone;
    holding_time from entry_time to the last exit_time. net: the sum of profit. win_rate to expectancy as of a run, with
    positions for trades.
    """
    positions = trades.group_by("position_id", maintain_order=True).agg(
        pl.col("direction", "pattern_name", "source", "entry_time").first(),
        pl.col("exit_reason", "exit_time").last(),
        pl.col("profit"),
    )
    found = positions.with_columns(_grouping(name, zone) for name in by).select("profit", *by).collect()
    profits = pl.Series("profit", [_sum(rows) for rows in found["profit"]], dtype=pl.Float64)
    groups = []
    ranked = [_rank(name) for name in by]
    joined = found.with_columns(profits).sort(ranked, nulls_last=True, maintain_order=True)
    for values, group in joined.group_by(list(by), maintain_order=True):
        groups.append({**dict(zip(by, values, strict=True)), **_figures(group["profit"])})
    return {"by": list(by), "groups": groups}


def _sum(profits: pl.Series) -> float:
    """A position with one row, as most have, has that row's profit."""
    return profits[0] if profits.len() == 1 else round(exact_sum(profits.to_numpy()), 8)


def _grouping(name: str, zone: Zone) -> pl.Expr:
    local = pl.col("entry_time").dt.convert_time_zone(zone.iana).dt.replace_time_zone(None)
    entry = local + pl.duration(microseconds=zone.ahead_us)
    match name:
        case "hour":
            return entry.dt.hour().cast(pl.Int64).alias(name)
        case "weekday":
            return (entry.dt.weekday() - 1).cast(pl.Int64).alias(name)
        case "month":
            return entry.dt.month().cast(pl.Int64).alias(name)
        case "holding_time":
            return _holding_time().alias(name)
        case _:
            return pl.col(name)


def _holding_time() -> pl.Expr:
    """Under an hour; then up to and with 4 h, 24 h and 7 d."""
    held = (pl.col("exit_time") - pl.col("entry_time")).dt.total_microseconds()
    hour_us = 3_600_000_000
    bounds = (held < hour_us, held <= 4 * hour_us, held <= 24 * hour_us, held <= 7 * 24 * hour_us)
    told = pl.lit(HOLDING_TIMES[-1])
    for within, words in zip(reversed(bounds), reversed(HOLDING_TIMES[:-1]), strict=True):
        told = pl.when(within).then(pl.lit(words)).otherwise(told)
    return told


def _rank(name: str) -> pl.Expr:
    if name == "holding_time":
        return pl.col(name).cast(pl.Enum(HOLDING_TIMES)).to_physical()
    return pl.col(name)


def _figures(profits: pl.Series) -> dict[str, Any]:
    signs = sums_by_sign(profits.to_numpy())
    count = profits.len()
    net = net_profit(signs)
    return {
        "trades": count,
        "net": net,
        "win_rate": win_rate(signs, count),
        "profit_factor": profit_factor(signs),
        "expectancy": expectancy(net, count),
        "few": count < FEW,
    }
