"""What is told of a completed run beside its row and its metrics: figures by side, and the deepest drawdowns."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consumer.errors import ArtifactsUnavailable, FilesGone
from consumer.ports.run_tables import RunTables
from consumer.reports.completed import CompletedRun
from consumer.reports.curves import deepest_told, read_equity
from engine.numeric.sums import sums_by_sign
from engine.results.metrics import (
    average_loss,
    average_win,
    expectancy,
    longest_streaks,
    net_profit,
    profit_factor,
    win_rate,
)

SIDES: Final = {"long": "BUY", "short": "SELL"}


def run_view(run: CompletedRun, tables: RunTables) -> dict[str, Any]:
    """`all`, `long` and `short`: the figures of those trades; `drawdowns`: the ten deepest.

    Where what the run left is gone or away all of them are null, and `missing` says why.
    """
    try:
        with tables.table(run.run_id, run.epoch, "trades") as trades:
            found = trades.select("direction", "profit").collect()
        equity = read_equity(run, tables)
    except (FilesGone, ArtifactsUnavailable) as error:
        return {"all": None, "long": None, "short": None, "drawdowns": None, "missing": str(error)}
    directions, profits = found["direction"], found["profit"].to_numpy()
    sides = {name: trade_figures(profits[(directions == side).to_numpy()]) for name, side in SIDES.items()}
    drawdowns = deepest_told(equity, run.deposit)
    return {"all": trade_figures(profits), **sides, "drawdowns": drawdowns, "missing": None}


def trade_figures(profits: NDArray[np.float64]) -> dict[str, Any]:
    """The figures that trades alone make, as those of a run; profits in the order booked."""
    signs, trades = sums_by_sign(profits), profits.size
    net = net_profit(signs)
    wins, losses = longest_streaks(signs)
    return {
        "total_trades": trades,
        "net_profit": net,
        "win_rate": win_rate(signs, trades),
        "profit_factor": profit_factor(signs),
        "expectancy": expectancy(net, trades),
        "avg_win": average_win(signs),
        "avg_loss": average_loss(signs),
        "max_consec_wins": wins,
        "max_consec_losses": losses,
    }
