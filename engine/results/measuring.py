"""What one finished simulation comes to: its figures, and what a user should know about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.deciders.decisions import Decisions
from engine.prepared import PreparedRun
from engine.results.metrics import Metrics, compute_metrics
from engine.results.trail import Trail


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One finished simulation, and the decisions it carried out. state, orders: the kernel's records; orders None where
    nothing needed them.
    """

    decisions: Decisions
    trail: Trail
    state: Any
    orders: Any

    @property
    def ambiguous_bars(self) -> int:
        return int(self.state["ambiguous_bars"])

    @property
    def slippage_cost(self) -> float:
        """Over all exits, what the slippage of entry and exit cost, account currency."""
        return 0.0 if self.orders is None else float(self.orders["slippage_cost"])


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
