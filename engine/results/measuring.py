"""What one finished simulation comes to: its figures, and what a user should know about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.deciders.decisions import Decisions
from engine.market.conversion import pegged_warning
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.results.metrics import Metrics, compute_metrics
from engine.results.trail import Trail


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One finished simulation, and the decisions it carried out."""

    decisions: Decisions
    trail: Trail
    state: Any

    @property
    def ambiguous_bars(self) -> int:
        return int(self.state["ambiguous_bars"])


def measure(run: PreparedRun, trail: Trail) -> Metrics:
    """Return the metrics of one simulation."""
    simulated = trail.equity.size
    # The average over all bars is made once for all simulations of a run; after a stop-out it is one over fewer.
    spread_pips = run.spread_pips if simulated < run.bar_count else run.average_spread
    return compute_metrics(
        profits=trail.column("profit"),
        equity=trail.equity,
        days=run.days.of_first(simulated),
        deposit=run.specification.initial_balance,
        session=run.instrument.session,
        duration_us=run.duration_us,
        spread_pips=spread_pips[:simulated] if isinstance(spread_pips, np.ndarray) else spread_pips,
    )


def warnings_of(run: PreparedRun, finished: Pass) -> tuple[str, ...]:
    """Say what a user should know about the run, with counts."""
    state, said = finished.state, []
    pegged = pegged_warning(run.instrument, run.specification.account_currency)
    if pegged is not None:
        said.append(pegged)
    reasons = (
        ("refused_without_stop", "no stop to size the risk by"),
        ("refused_stop_beyond", "stop at or beyond the entry"),
        ("refused_below_step", "less than one lot step"),
    )
    counted = [(int(state[name]), reason) for name, reason in reasons if state[name]]
    if counted:
        total = sum(count for count, _ in counted)
        listed = ", ".join(f"{count} {reason}" for count, reason in counted)
        said.append(f"{total} decision{'s' if total > 1 else ''} opened nothing: {listed}")
    if finished.ambiguous_bars:
        count = finished.ambiguous_bars
        said.append(
            f"{count} bar{'s' if count > 1 else ''} reached both stop and target in an order not known:"
            " net_profit counts the stop first, net_profit_target_first the other way round"
        )
    if state["stopped_out"]:
        time = iso_time(int(run.time_us[finished.trail.equity.size - 1]))
        said.append(f"stopped out: no equity was left at the close of the bar at {time}, the run ended there")
    return tuple(said)
