"""What a search keeps of one simulation: a row of figures, the returns of its days and their ratio.

All sums over bars, days and trades are made in one compiled pass, that lets go of the interpreter once; formulas are
those of engine.results, fed with these sums, so that every figure is a single run's to the last bit.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.kernel.layout import ROW
from engine.kernel.loop import hash_parts
from engine.market.spread import average_spread
from engine.market.timeframes import DAY_US
from engine.numeric import sums as sums_module
from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled
from engine.numeric.sums import BySign, add_exactly, tally_by_sign
from engine.prepared import PreparedRun
from engine.results import metrics, metrics_extended
from engine.results.measuring import Pass
from engine.results.metrics import deepest_falls
from engine.results.metrics_extended import cagr_pct, calmar_ratio, longest_fall_us
from engine.results.trail import Trail
from engine.search.figures import FIGURES

_WORDS: Final = len(ROW.names or ())
_AT: Final = {name: at for at, name in enumerate(ROW.names or ())}


class Measured(NamedTuple):
    """figures: a row (search.figures). ratio: mean / std(ddof=1) of the returns, NaN for none. returns: of every day of
    the run, 0 on those after a stop-out.
    """

    figures: Floats
    ratio: float
    returns: Floats


def measured(run: PreparedRun, finished: Pass) -> Measured:
    """Return a simulation's figures, returns and ratio."""
    figures, ratio, returns = _measure(run, finished.trail, finished.ambiguous_bars)
    return Measured(np.array([np.nan if (each := figures[name]) is None else each for name in FIGURES]), ratio, returns)


def exact_figures(run: PreparedRun, finished: Pass) -> dict[str, float | None]:
    """Return the figures of a results file by name."""
    return _measure(run, finished.trail, finished.ambiguous_bars)[0]


class _Sums(NamedTuple):
    """What the compiled pass finds. returned: days until nothing is left. In the order in which it writes them."""

    total: float
    above: float
    below: float
    sum_above: float
    sum_below: float
    longest_above: float
    longest_below: float
    money_peak: float
    money_low: float
    share_peak: float
    share_low: float
    longest_us: float
    bars_in_position: float
    returned: float
    returns_total: float
    squares: float
    losing: float
    losing_squares: float
    lowest: float
    highest: float
    ratio: float


def _measure(run: PreparedRun, trail: Trail, ambiguous_bars: int) -> tuple[dict[str, float | None], float, Floats]:
    bars, trades, deposit = trail.equity.size, trail.rows.size, run.specification.initial_balance
    days = run.days.of_first(bars) if bars < run.bar_count else run.days
    returns = np.zeros(run.days.last_row.size)
    sums = np.empty(len(_Sums._fields))
    words = trail.rows.view(np.int64).reshape(trades, _WORDS)
    _pass(
        read_only(trail.equity),
        read_only(days.last_row),
        read_only(trail.time_us),
        run.duration_us,
        deposit,
        read_only(words),
        read_only(words.view(np.float64)),
        returns,
        sums,
    )
    found = _Sums(*sums.tolist())
    return _figures(run, found, trail, ambiguous_bars), found.ratio if trades else np.nan, returns


def _figures(run: PreparedRun, found: _Sums, trail: Trail, ambiguous_bars: int) -> dict[str, float | None]:
    bars, trades, deposit = trail.equity.size, trail.rows.size, run.specification.initial_balance
    signs = BySign(
        found.total,
        int(found.above),
        int(found.below),
        found.sum_above,
        found.sum_below,
        int(found.longest_above),
        int(found.longest_below),
    )
    net = metrics.net_profit(signs)
    fall = metrics.drawdown_of(found.money_peak, found.money_low, found.share_peak, found.share_low)
    yearly = metrics.returns_per_year(run.instrument.session, run.duration_us)
    count = int(found.returned)
    disperse = count >= 2 and metrics.differ(found.lowest, found.highest)
    losing = count >= 2 and found.losing > 0
    final = trail.equity.item(bars - 1)
    time_us = trail.time_us
    growth = cagr_pct(final, deposit, (time_us.item(bars - 1) + run.duration_us - time_us.item(0)) / DAY_US)
    spread = run.spread_pips[:bars] if isinstance(run.spread_pips, np.ndarray) else run.spread_pips
    return {
        "total_trades": trades,
        "win_rate": metrics.win_rate(signs, trades),
        "profit_factor": metrics.profit_factor(signs),
        "expectancy": metrics.expectancy(net, trades),
        "max_drawdown_pct": fall.percent,
        "recovery_factor": metrics.recovery_factor(net, fall.money) if trades else None,
        "sharpe_ratio": metrics.sharpe_of(found.returns_total, found.squares, count, yearly)
        if trades and disperse
        else None,
        "sortino_ratio": metrics.sortino_of(found.returns_total, found.losing_squares, count, yearly)
        if trades and losing
        else None,
        "total_return_pct": metrics.total_return_pct(net, deposit),
        "avg_win": metrics.average_win(signs),
        "avg_loss": metrics.average_loss(signs),
        "max_consec_wins": signs.longest_above,
        "max_consec_losses": signs.longest_below,
        "avg_spread": run.average_spread if bars == run.bar_count else average_spread(spread),
        "net_profit": net,
        "final_equity": final,
        "ambiguous_bars": ambiguous_bars,
        "longest_drawdown_days": int(found.longest_us) / DAY_US,
        "exposure_pct": int(found.bars_in_position) / bars * 100.0,
        "cagr_pct": growth,
        "calmar_ratio": calmar_ratio(growth, fall.percent),
    }


_POSITION, _ENTRY, _EXIT, _PROFIT = (_AT[name] for name in ("position_id", "entry_bar", "exit_bar", "profit"))
_ROUNDING = 1e-15


def _pass_made_of(parts: int) -> Callable[..., None]:
    """Return the pass as plain Python. parts: of its code in other files; in the closure it is part of numba's key."""

    def run_pass(
        equity: Floats,
        last_row: NDArray[np.int64],
        time_us: NDArray[np.int64],
        duration_us: int,
        deposit: float,
        words: NDArray[np.int64],
        numbers: Floats,
        returns: Floats,
        sums: Floats,
    ) -> None:
        """Fill returns and sums (`_Sums`). words, numbers: the exit rows, as integers and as floats."""
        if parts < 0:
            return
        trades = words.shape[0]
        profits = np.empty(trades)
        held = 0
        for i in range(trades):
            profits[i] = numbers[i, _PROFIT]
            if i + 1 == trades or words[i + 1, _POSITION] != words[i, _POSITION]:
                held += words[i, _EXIT] - words[i, _ENTRY]
        of_trades = tally_by_sign(profits)
        sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6] = of_trades
        sums[7], sums[8], sums[9], sums[10] = deepest_falls(equity, deposit)
        sums[11] = longest_fall_us(equity, time_us, time_us[0] - duration_us, deposit)
        sums[12] = held
        count = 0
        before = deposit
        for i in range(last_row.size):
            if before <= 0.0:
                break
            now = equity[last_row[i]]
            # As numpy rounds.
            returns[i] = np.rint((now - before) * 1e8) / 1e8 / before
            before = now
            count += 1
        _add_returns(returns, count, sums)

    return run_pass


@compiled
def _add_returns(returns: Floats, count: int, sums: Floats) -> None:
    """Add up the first `count` returns, after which there are none; and the ratio, which is that of all of them."""
    total, errors, losing, losing_errors, lose = 0.0, 0.0, 0.0, 0.0, 0
    lowest, highest = np.inf, -np.inf
    for i in range(count):
        total, errors = add_exactly(total, errors, returns[i])
        lowest, highest = min(lowest, returns[i]), max(highest, returns[i])
        if returns[i] < 0.0:
            lose += 1
            losing, losing_errors = add_exactly(losing, losing_errors, returns[i] * returns[i])
    total += errors
    sums[13], sums[14], sums[16], sums[17] = count, total, lose, losing + losing_errors
    sums[15] = _squares(returns, count, total / count) if count else 0.0
    sums[18], sums[19] = lowest, highest
    size = returns.size
    if count < size:
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    sums[20] = np.nan
    if size >= 2 and highest - lowest > _ROUNDING * (1.0 + max(highest, -lowest)):
        mean = total / size
        sums[20] = mean / np.sqrt(_squares(returns, size, mean) / (size - 1))


@compiled
def _squares(returns: Floats, count: int, mean: float) -> float:
    total, errors = 0.0, 0.0
    for i in range(count):
        total, errors = add_exactly(total, errors, (returns[i] - mean) * (returns[i] - mean))
    return total + errors


def _fingerprint() -> int:
    hasher = hashlib.sha256()
    for module in (sums_module, metrics, metrics_extended):
        hash_parts(hasher, vars(module))
    return int.from_bytes(hasher.digest()[:6], "little")


_pass: Callable[..., None] = njit(cache=True, nogil=True, error_model="numpy")(_pass_made_of(_fingerprint()))
