"""The test ranges of a walk-forward, one after the other on one account, as one curve."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.market.sessions import session_days
from engine.market.timeframes import DAY_US
from engine.numeric.arrays import Floats
from engine.prepared import PreparedRun, prepare_run
from engine.results.metrics import compute_metrics, returns_by_day
from engine.results.metrics_extended import cagr_pct, calmar_ratio, longest_drawdown_days
from engine.search.figures import FIGURES
from engine.search.folds import Fold
from engine.search.measured import exact_figures
from engine.search.question import Question
from engine.simulate import simulate_once
from engine.specification import BALANCES
from engine.warm_up import WarmUp, signals_warm_up
from engine.watch import CHUNK_BARS, Watch


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """One fold's test range. value: of the metric there alone, None for none. equity: of every bar."""

    fold: Fold
    value: float | None
    time_us: NDArray[np.int64]
    equity: Floats
    profits: Floats
    spread_pips: Floats
    bars_in_position: int
    ambiguous_bars: int

    @property
    def balance(self) -> float | None:
        """What is left on the account; None where there was no bar."""
        return float(self.equity[-1]) if self.equity.size else None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """All test ranges. figures: by name, None for none. returns: of every day; yearly: how many a year has."""

    time_us: NDArray[np.int64]
    equity: Floats
    figures: Mapping[str, float | None]
    returns: Floats


def trade_fold(question: Question, fold: Fold, params: Mapping[str, Any] | None, balance: float) -> Tested:
    """Trade a fold's test range with these parameters on an account of `balance`; with None nothing is traded.

    An account on which nothing is left trades no more. After a stop-out equity stays what it was. Raises what a run
    raises, but for a range without a bar, which is empty.
    """
    specification = replace(question.specification, start=fold.test_start, end=fold.test_end)
    idle = params is None or balance < BALANCES[0]
    try:
        if idle or params is None:
            run = _prepared(question, specification, signals_warm_up(specification))
            equity = np.full(run.bar_count, balance)
            return Tested(fold, None, run.time_us, equity, np.empty(0), _spreads(run), 0, 0)
        specification = replace(specification, initial_balance=balance)
        decider = question.choose(params)
        run = _prepared(question, specification, decider.warm_up(specification))
    except NoData:
        nothing = np.empty(0)
        return Tested(fold, None, np.empty(0, np.int64), nothing, nothing, nothing, 0, 0)
    finished = simulate_once(run, decider, Watch(run, None, CHUNK_BARS))
    trail = finished.trail
    figures = exact_figures(run, finished)
    after = np.full(run.bar_count - trail.equity.size, trail.equity[-1])
    return Tested(
        fold,
        figures[question.metric],
        run.time_us,
        np.concatenate([trail.equity, after]),
        trail.column("profit"),
        _spreads(run),
        trail.bars_in_position,
        finished.ambiguous_bars,
    )


def join(question: Question, tested: list[Tested]) -> Curve:
    """Return the curve of all test ranges, in order. Raises NoData where none of them has a bar."""
    time_us = np.concatenate([each.time_us for each in tested])
    if not time_us.size:
        raise NoData("no bars in any test range of the walk-forward")
    equity, profits, spreads = (
        np.concatenate([getattr(each, name) for each in tested]) for name in ("equity", "profits", "spread_pips")
    )
    deposit, session = question.specification.initial_balance, question.instrument.session
    duration_us = question.data.bars.timeframe.duration_us
    days = session_days(time_us, session)
    metrics = compute_metrics(
        profits=profits,
        equity=equity,
        days=days,
        deposit=deposit,
        session=session,
        duration_us=duration_us,
        spread_pips=spreads,
    )
    figures: dict[str, float | None] = {name: getattr(metrics, name) for name in FIGURES if hasattr(metrics, name)}
    growth = cagr_pct(metrics.final_equity, deposit, (int(time_us[-1]) + duration_us - int(time_us[0])) / DAY_US)
    figures |= {
        "ambiguous_bars": sum(each.ambiguous_bars for each in tested),
        "longest_drawdown_days": longest_drawdown_days(equity, time_us, duration_us, deposit),
        "exposure_pct": sum(each.bars_in_position for each in tested) / equity.size * 100.0,
        "cagr_pct": growth,
        "calmar_ratio": calmar_ratio(growth, metrics.max_drawdown_pct),
    }
    returns = np.zeros(days.label.size)
    of_days = returns_by_day(equity[days.last_row], deposit)
    returns[: of_days.size] = of_days
    return Curve(time_us, equity, {name: figures[name] for name in FIGURES}, returns)


def _prepared(question: Question, specification: Any, warm_up: WarmUp) -> PreparedRun:
    return prepare_run(specification, question.instrument, question.data, warm_up)


def _spreads(run: PreparedRun) -> Floats:
    return run.spread_pips if isinstance(run.spread_pips, np.ndarray) else np.full(run.bar_count, run.spread_pips)
