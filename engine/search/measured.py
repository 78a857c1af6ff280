"""What a search keeps of one simulation: a row of figures, the returns of its days and their ratio."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.market.timeframes import DAY_US
from engine.numeric.arrays import Floats
from engine.prepared import PreparedRun
from engine.results.measuring import Pass, measure
from engine.results.metrics import Metrics, returns_by_day
from engine.results.metrics_extended import cagr_pct, calmar_ratio, longest_drawdown_days
from engine.results.trail import Trail
from engine.search.figures import FIGURES, row_of
from engine.search.statistics.sharpe import sharpe_ratios


class Measured(NamedTuple):
    """figures: a row (search.figures). ratio: mean / std(ddof=1) of the returns, NaN for none. returns: of every day of
    the run, 0 on those after a stop-out.
    """

    figures: Floats
    ratio: float
    returns: Floats


def measured(run: PreparedRun, finished: Pass) -> Measured:
    """Return a simulation's figures, each as a single run has it, to the last bit."""
    trail = finished.trail
    metrics = measure(run, trail)
    figures = exact_figures(metrics, finished.ambiguous_bars, run, trail)
    returns = padded_returns(run, trail)
    ratio = float(sharpe_ratios(returns[None, :])[0]) if metrics.total_trades else np.nan
    return Measured(row_of(figures), ratio, returns)


def exact_figures(metrics: Metrics, ambiguous_bars: int, run: PreparedRun, trail: Trail) -> dict[str, float | None]:
    """Return the figures of a results file by name."""
    figures: dict[str, float | None] = {name: getattr(metrics, name) for name in FIGURES if hasattr(metrics, name)}
    figures |= further_figures(
        metrics,
        trail.equity,
        trail.time_us[: trail.equity.size],
        run.duration_us,
        run.specification.initial_balance,
        trail.bars_in_position,
    )
    return {**figures, "ambiguous_bars": ambiguous_bars}


def further_figures(
    metrics: Metrics,
    equity: Floats,
    time_us: NDArray[np.int64],
    duration_us: int,
    deposit: float,
    bars_in_position: int,
) -> dict[str, float | None]:
    """Return those beyond the metrics, as engine.results.metrics_extended has them."""
    days = (int(time_us[-1]) + duration_us - int(time_us[0])) / DAY_US
    growth = cagr_pct(metrics.final_equity, deposit, days)
    return {
        "longest_drawdown_days": longest_drawdown_days(equity, time_us, duration_us, deposit),
        "exposure_pct": bars_in_position / equity.size * 100.0,
        "cagr_pct": growth,
        "calmar_ratio": calmar_ratio(growth, metrics.max_drawdown_pct),
    }


def padded_returns(run: PreparedRun, trail: Trail) -> Floats:
    """Return the return of each day of the run, 0 on those that a stop-out left out."""
    simulated = run.days.of_first(trail.equity.size)
    returns = np.zeros(run.days.label.size)
    of_days = returns_by_day(trail.equity[simulated.last_row], run.specification.initial_balance)
    returns[: of_days.size] = of_days
    return returns
